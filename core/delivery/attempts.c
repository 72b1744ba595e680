/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>
#include "core/delivery/attempts.h"
#include "core/delivery/report/report.h"
#include "core/delivery/spool.h"
#include "core/delivery/trace/trace.h"
#include "core/event/workers.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	WRITERS = 2,              /* threads that write reports */
	STORE_MS = 2 * 60 * 1000, /* a mailbox has so long: one that hangs must not keep others' mail waiting */
};

struct ps_attempts {
	struct ps_attempts_args args;
	struct ps_queue *queue;
	struct ps_route *route;
	struct ps_workers *writers;
	LIST_HEAD(, work) storing, all;
	void (*closed)(void *arg); /* NULL: it is not being closed */
	void *closed_arg;
};

/* One recipient of an attempt. */
struct errand {
	struct work *work;
	size_t index;
	struct ps_errand what;
	struct ps_asking *asking; /* NULL: it is answered */
};

/* An attempt that is under way. */
struct work {
	LIST_ENTRY(work) entry;
	bool settling; /* nobody else is waited for; it comes to its end by itself */
	struct ps_attempts *attempts;
	struct ps_queue_attempt *attempt;
	struct ps_pool *pool;
	char original[PS_ID_LENGTH + 1]; /* the message's id, of which the attempt's parcel is */
	struct ps_queue_result *results;
	bool *relayed; /* the next server reports success itself */
	enum ps_queue_verdict verdict;
	struct errand *errands;
	size_t open;
	LIST_ENTRY(work) storing;
	uint64_t patience_ends; /* 0: it is not in that list */
	struct ps_parcel parcel;
	/* The report. */
	struct ps_report report;
	struct ps_queue_message message;
	char id[PS_ID_LENGTH + 1];
	bool told_delay;
	int written;
};

int ps_attempts_create(const struct ps_attempts_args *args, struct ps_attempts **ret_attempts)
{
	struct ps_attempts *attempts = ps_zalloc(sizeof *attempts);
	int r;

	attempts->args = *args;
	r = ps_workers_create(args->loop, WRITERS, &attempts->writers);
	if (r < 0)
		free(attempts);
	else
		*ret_attempts = attempts;
	return r;
}

void ps_attempts_set_queue(struct ps_attempts *attempts, struct ps_queue *queue)
{
	attempts->queue = queue;
}

void ps_attempts_set_conf(struct ps_attempts *attempts, const struct ps_conf *conf)
{
	attempts->args.conf = conf;
}

void ps_attempts_set_route(struct ps_attempts *attempts, struct ps_route *route)
{
	attempts->route = route;
}

static bool is_local(const char *destination)
{
	size_t len = strlen(PS_DESTINATION_LOCAL);

	return strncmp(destination, PS_DESTINATION_LOCAL, len) == 0 && (destination[len] == ':' || !destination[len]);
}

static bool is_routed(const char *destination)
{
	return strcmp(destination, PS_DESTINATION_ROUTE) == 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void close_now(void *arg)
{
	struct ps_attempts *attempts = arg;
	void (*closed)(void *arg) = attempts->closed;
	void *closed_arg = attempts->closed_arg;

	ps_workers_destroy(attempts->writers);
	free(attempts);
	closed(closed_arg);
}

static void work_destroy(struct work *work)
{
	struct ps_attempts *attempts = work->attempts;

	LIST_REMOVE(work, entry);
	ps_closep(&work->message.file);
	ps_pool_destroy(work->pool);
	free(work);
	if (attempts->closed && LIST_EMPTY(&attempts->all))
		ps_loop_post(attempts->args.loop, close_now, attempts);
}

static void finished(void *arg, int error)
{
	struct work *work = arg;

	if (error < 0)
		ps_log(PS_LOG_ERROR, "queue_failed", "id", work->id, "error", ps_err_name(error), NULL);
	work_destroy(work);
}

/* What goes through the routes is told of by them. */
static void trace_result(const struct work *work, const struct ps_queue_recipient *to,
			 const struct ps_queue_result *result)
{
	static const enum ps_trace_kind kinds[] = {[PS_QUEUE_DEFERRED] = PS_TRACE_DEFERRED,
						   [PS_QUEUE_DELIVERED] = PS_TRACE_SENT,
						   [PS_QUEUE_FAILED] = PS_TRACE_FAILED};
	bool local = is_local(work->attempt->destination), stored = local && result->outcome == PS_QUEUE_DELIVERED;

	if (is_routed(work->attempt->destination))
		return;
	ps_trace(&(struct ps_trace_event){
		.kind = stored ? PS_TRACE_STORED : kinds[result->outcome],
		.id = work->original,
		.recipient = to->address,
		.orcpt = to->orcpt,
		.user = local ? to->address : NULL,
		.mailbox = !stored       ? NULL
			   : to->mailbox ? to->mailbox
					 : "INBOX",
		.host = result->host,
		.code = stored ? 0 : result->code,
		.enhanced = stored ? NULL : result->enhanced,
		.text = stored ? NULL : result->text,
	});
}

static void log_results(const struct work *work)
{
	static const char *const words[] = {
		[PS_QUEUE_DEFERRED] = "deferred", [PS_QUEUE_DELIVERED] = "delivered", [PS_QUEUE_FAILED] = "failed"};
	const struct ps_queue_message *message = &work->attempt->message;

	for (size_t i = 0; i < message->count; i++) {
		const struct ps_queue_result *result = &work->results[i];

		trace_result(work, &message->recipients[i], result);
		ps_log(result->outcome == PS_QUEUE_DELIVERED ? PS_LOG_INFO : PS_LOG_WARNING, "attempt", "id",
		       message->id, "to", message->recipients[i].address, "by", work->attempt->destination, "outcome",
		       words[result->outcome], "code", ps_num(result->code), "status",
		       result->enhanced ? result->enhanced : "", "host", result->host ? result->host : "", "msg",
		       result->text ? result->text : "", NULL);
	}
}

static void finish(struct work *work)
{
	struct ps_queue_finish finish = {
		.results = work->results,
		.verdict = work->verdict,
		.told_delay = work->told_delay,
		.reports = &work->message,
		.report_count = work->message.file >= 0,
	};

	log_results(work);
	ps_queue_finish(work->attempts->queue, work->attempt, &finish, finished, work);
}

/* ---- reports --------------------------------------------------------------------------------- */

static void write_report(void *arg)
{
	struct work *work = arg;
	uint32_t options = 0;

	work->written = ps_report_write(&work->report, work->message.file, &work->message.size, &options);
	work->message.options = options;
}

/* Who has the message does not get it again; who failed is tried again: nobody's mail fails without a word. */
static void do_without_report(struct work *work)
{
	ps_closep(&work->message.file);
	work->message.file = -1;
	work->told_delay = false;
	for (size_t i = 0; i < work->attempt->message.count; i++)
		if (work->results[i].outcome == PS_QUEUE_FAILED)
			work->results[i].outcome = PS_QUEUE_DEFERRED;
	finish(work);
}

static void report_written(void *arg)
{
	struct work *work = arg;

	if (work->written < 0) {
		ps_log(PS_LOG_ERROR, "report_failed", "id", work->attempt->message.id, NULL);
		do_without_report(work);
		return;
	}
	ps_log(PS_LOG_INFO, "report", "id", work->id, "of", work->attempt->message.id, "to",
	       work->attempt->message.reverse_path, NULL);
	ps_trace(&(struct ps_trace_event){.kind = PS_TRACE_REPORTED,
					  .id = work->original,
					  .recipient = work->attempt->message.reverse_path,
					  .other = work->id});
	ps_trace(&(struct ps_trace_event){.kind = PS_TRACE_RECEIVED,
					  .id = work->id,
					  .sender = "",
					  .source = "report",
					  .size = work->message.size});
	finish(work);
}

static enum ps_report_action action_of(const struct work *work, size_t i)
{
	if (work->results[i].outcome == PS_QUEUE_FAILED)
		return PS_REPORT_FAILED;
	if (work->results[i].outcome == PS_QUEUE_DEFERRED)
		return PS_REPORT_DELAYED;
	return is_local(work->attempt->destination) ? PS_REPORT_DELIVERED : PS_REPORT_RELAYED;
}

static bool is_due(const struct work *work, size_t i)
{
	const struct ps_queue_message *message = &work->attempt->message;
	bool delivered = work->results[i].outcome == PS_QUEUE_DELIVERED;

	/* Of what goes through the routes, those tell of success who deliver it. */
	if (delivered && (work->relayed[i] || is_routed(work->attempt->destination)))
		return false;
	if (work->results[i].outcome == PS_QUEUE_DEFERRED && !work->told_delay)
		return false;
	return ps_report_is_due(message->reverse_path, message->recipients[i].notify, action_of(work, i));
}

static size_t fill_recipients(struct work *work, struct ps_report_recipient *recipients)
{
	const struct ps_queue_message *message = &work->attempt->message;
	int64_t expiry = ps_conf_int(ps_conf_section(work->attempts->args.conf, "relay", 0), "expiry");
	size_t n = 0;

	for (size_t i = 0; i < message->count; i++) {
		const struct ps_queue_result *result = &work->results[i];

		if (!is_due(work, i))
			continue;
		recipients[n++] = (struct ps_report_recipient){
			.action = action_of(work, i),
			.address = message->recipients[i].address,
			.orcpt = message->recipients[i].orcpt,
			.code = result->code,
			.enhanced = result->enhanced,
			.text = result->text,
			.host = result->host,
			.attempted = (int64_t)time(NULL),
			.retried_until = message->arrival + expiry,
		};
	}
	return n;
}

static void describe(struct work *work, const struct ps_report_recipient *recipients, size_t n)
{
	const struct ps_queue_message *message = &work->attempt->message;
	const struct ps_conf *conf = work->attempts->args.conf;
	struct ps_queue_recipient *to = PS_NEW(work->pool, struct ps_queue_recipient);

	ps_make_id(work->id);
	work->report = (struct ps_report){
		.hostname = ps_conf_str(conf, "hostname"),
		.id = work->id,
		.time = (int64_t)time(NULL),
		.reverse_path = message->reverse_path,
		.envid = message->envid,
		.original_id = work->original,
		.options = message->options,
		.arrival = message->arrival,
		.file = message->file,
		.size = message->size,
		.returned_max = (uint64_t)ps_conf_int(ps_conf_section(conf, "relay", 0), "report_message_size"),
		.recipients = recipients,
		.count = n,
	};
	*to = (struct ps_queue_recipient){
		.address = message->reverse_path, .notify = PS_NOTIFY_NEVER, .destination = PS_DESTINATION_ROUTE};
	work->message = (struct ps_queue_message){
		.id = work->id,
		.reverse_path = "",
		.arrival = work->report.time,
		.recipients = to,
		.count = 1,
		.file = -1,
	};
}

/* What is put off for so long that it is over, or that its sender is to be told of it. */
static void settle_deferred(struct work *work)
{
	const struct ps_queue_attempt *attempt = work->attempt;
	unsigned owes = ps_queue_owes(work->attempts->queue, attempt);

	work->told_delay = owes & PS_QUEUE_DELAYED;
	for (size_t i = 0; i < attempt->message.count; i++) {
		struct ps_queue_result *result = &work->results[i];

		if (result->outcome != PS_QUEUE_DEFERRED || !(owes & (PS_QUEUE_EXPIRED | PS_QUEUE_RETURNED)))
			continue;
		result->outcome = PS_QUEUE_FAILED;
		if (!result->enhanced)
			result->enhanced = "4.4.7";
		if (!result->text)
			result->text = owes & PS_QUEUE_EXPIRED ? "The message waited for too long"
							       : "The administrator returned the message";
	}
}

static void settle(struct work *work)
{
	struct ps_report_recipient *recipients =
		PS_NEWV(work->pool, struct ps_report_recipient, work->attempt->message.count + 1);
	size_t n;

	work->settling = true;
	settle_deferred(work);
	n = fill_recipients(work, recipients);
	if (n == 0) {
		finish(work);
		return;
	}
	describe(work, recipients, n);
	work->written = ps_spool_open(work->attempts->args.spool_dir, &work->message.file);
	if (work->written < 0)
		report_written(work);
	else
		ps_workers_run(work->attempts->writers, write_report, report_written, work);
}

/* ---- into a mailbox -------------------------------------------------------------------------- */

/* What is not here is put off. */
static const struct {
	int error;
	enum ps_queue_outcome outcome;
	unsigned code;
	const char *enhanced, *text;
} endings[] = {
	{0, PS_QUEUE_DELIVERED, 250, "2.0.0", "Stored"},
	{PS_E_NOTFOUND, PS_QUEUE_FAILED, 550, "5.1.1", "There is no such user"},
	{PS_E_QUOTA, PS_QUEUE_FAILED, 552, "5.2.2", "The mailbox is full"},
	{PS_E_LIMIT, PS_QUEUE_FAILED, 552, "5.3.4", "The message is too large"},
	{PS_E_CONFLICT, PS_QUEUE_FAILED, 554, "5.4.6", "The message goes in circles"},
	{PS_E_FULL, PS_QUEUE_DEFERRED, 452, "4.3.1", "The disk is full"},
};

static void set_ending(struct ps_queue_result *result, int error)
{
	*result = (struct ps_queue_result){PS_QUEUE_DEFERRED, 451, "4.3.0", "It could not be stored", NULL};
	for (size_t i = 0; i < PS_ARRAY_LEN(endings); i++)
		if (endings[i].error == error)
			*result = (struct ps_queue_result){endings[i].outcome, endings[i].code, endings[i].enhanced,
							   endings[i].text, NULL};
}

static void close_one(struct work *work)
{
	if (--work->open > 0)
		return;
	if (work->patience_ends)
		LIST_REMOVE(work, storing);
	settle(work);
}

static void on_stored(void *arg, int error)
{
	struct errand *errand = arg;

	errand->asking = NULL;
	set_ending(&errand->work->results[errand->index], error);
	close_one(errand->work);
}

static void store_all(struct work *work)
{
	const struct ps_queue_message *message = &work->attempt->message;

	work->verdict = PS_QUEUE_REACHED;
	work->errands = PS_NEWV(work->pool, struct errand, message->count);
	work->open = message->count + 1; /* until all are begun */
	work->patience_ends = ps_monotonic_ms() + STORE_MS;
	LIST_INSERT_HEAD(&work->attempts->storing, work, storing);
	for (size_t i = 0; i < message->count; i++) {
		struct errand *errand = &work->errands[i];

		*errand = (struct errand){
			.work = work,
			.index = i,
			.what = {.id = message->id,
				 .user = message->recipients[i].address,
				 .mailbox = message->recipients[i].mailbox,
				 .reverse_path = message->reverse_path,
				 .recipient = message->recipients[i].address,
				 .refuse_loop = message->source != PS_MAIL_LMTP,
				 .file = message->file,
				 .size = message->size},
		};
		errand->asking = ps_local_store(work->attempts->args.local, &errand->what, on_stored, errand);
		if (!errand->asking)
			on_stored(errand, PS_E_CLOSED);
	}
	close_one(work);
}

/* What comes late is stored all the same, and not again at the next attempt. */
static void give_up(struct work *work)
{
	work->open++; /* so that it stays until all are told */
	work->verdict = PS_QUEUE_BUSY;
	for (size_t i = 0; i < work->attempt->message.count; i++) {
		struct errand *errand = &work->errands[i];

		if (!errand->asking)
			continue;
		ps_local_cancel(errand->asking);
		on_stored(errand, PS_E_AGAIN);
	}
	close_one(work);
}

void ps_attempts_tick(struct ps_attempts *attempts, uint64_t now_ms)
{
	struct work *work = LIST_FIRST(&attempts->storing), *next;

	for (; work; work = next) {
		next = LIST_NEXT(work, storing);
		if (now_ms >= work->patience_ends)
			give_up(work);
	}
}

/* ---- through the routes ---------------------------------------------------------------------- */

static void on_submitted(void *arg, const struct ps_answer *answer)
{
	struct work *work = arg;
	struct ps_queue_result result = {
		.outcome = answer->code >= 500   ? PS_QUEUE_FAILED
			   : answer->code >= 400 ? PS_QUEUE_DEFERRED
						 : PS_QUEUE_DELIVERED,
		.code = answer->code,
		.enhanced = ps_pool_strdup(work->pool, answer->enhanced),
		.text = ps_pool_strdup(work->pool, answer->text),
	};

	for (size_t i = 0; i < work->attempt->message.count; i++)
		work->results[i] = result;
	work->verdict = PS_QUEUE_REACHED;
	settle(work);
}

/* There is one recipient to each such message: a report's. */
static void submit(struct work *work)
{
	const struct ps_queue_message *message = &work->attempt->message;
	struct ps_parcel_recipient *recipients = PS_NEWV(work->pool, struct ps_parcel_recipient, message->count);

	for (size_t i = 0; i < message->count; i++)
		recipients[i] = (struct ps_parcel_recipient){.address = message->recipients[i].address,
							     .orcpt = message->recipients[i].orcpt,
							     .notify = message->recipients[i].notify};
	work->parcel = (struct ps_parcel){
		.id = message->id,
		.reverse_path = message->reverse_path,
		.options = message->options,
		.envid = message->envid,
		.recipients = recipients,
		.recipient_count = message->count,
		.file = message->file,
		.size = message->size,
	};
	ps_transactions_submit(work->attempts->args.transactions, &work->parcel, on_submitted, work);
}

/* ---- to another server ----------------------------------------------------------------------- */

/* Recipients of an attempt whose mail goes the same way. It is one such group, unless the settings have changed since they were queued. */
struct group {
	struct work *work;
	struct ps_hop hop;
	struct ps_send_recipient *recipients;
	size_t *places; /* which of the attempt's recipients they are */
	size_t count;
};

static void on_sent(void *arg, const struct ps_send_report *report)
{
	static const enum ps_queue_outcome outcomes[] = {[PS_SEND_DELIVERED] = PS_QUEUE_DELIVERED,
							 [PS_SEND_DEFERRED] = PS_QUEUE_DEFERRED,
							 [PS_SEND_FAILED] = PS_QUEUE_FAILED};
	static const enum ps_queue_verdict verdicts[] = {[PS_SEND_HOST_GOOD] = PS_QUEUE_REACHED,
							 [PS_SEND_HOST_BUSY] = PS_QUEUE_BUSY,
							 [PS_SEND_HOST_DEAD] = PS_QUEUE_UNREACHABLE,
							 [PS_SEND_HOST_UNKNOWN] = PS_QUEUE_UNKNOWN};
	struct group *group = arg;
	struct work *work = group->work;

	for (size_t i = 0; i < group->count; i++) {
		const struct ps_send_result *result = &report->results[i];

		work->results[group->places[i]] = (struct ps_queue_result){
			.outcome = outcomes[result->outcome],
			.code = result->code,
			.enhanced = ps_pool_strdup(work->pool, result->enhanced),
			.text = ps_pool_strdup(work->pool, result->text),
			.host = result->host ? ps_pool_strdup(work->pool, result->host) : NULL,
		};
		work->relayed[group->places[i]] = result->relayed_dsn;
	}
	/* Of other ways nothing is learned about this one. */
	if (strcmp(group->hop.key, work->attempt->destination) == 0)
		work->verdict = verdicts[report->verdict];
	close_one(work);
}

static int find_hop(struct work *work, const char *path, struct ps_hop *ret_hop)
{
	struct ps_mail_address address;
	int r = ps_mail_address_parse(ps_bytes_str(path), work->pool, &address);

	if (r == 0 && (!address.domain || !work->attempts->route))
		r = ps_fail(PS_E_INVALID, "no way to %s", path);
	return r < 0 ? r : ps_route_hop(work->attempts->route, work->pool, address.domain, ret_hop);
}

static struct group *group_of(struct work *work, const struct ps_hop *hop, struct group *groups, size_t *count)
{
	size_t most = work->attempt->message.count;
	struct group *group = groups;

	for (; group < groups + *count; group++)
		if (strcmp(group->hop.key, hop->key) == 0)
			return group;
	*group = (struct group){
		.work = work,
		.hop = *hop,
		.recipients = PS_NEWV(work->pool, struct ps_send_recipient, most),
		.places = PS_NEWV(work->pool, size_t, most),
	};
	++*count;
	return group;
}

/* Those to whom there is no way stay as they are. */
static size_t make_groups(struct work *work, struct group *groups)
{
	const struct ps_queue_message *message = &work->attempt->message;
	size_t count = 0;

	for (size_t i = 0; i < message->count; i++) {
		const struct ps_queue_recipient *to = &message->recipients[i];
		struct group *group;
		struct ps_hop hop;

		if (find_hop(work, to->address, &hop) < 0) {
			ps_log(PS_LOG_ERROR, "route", "id", message->id, "msg", ps_last_error(), NULL);
			continue;
		}
		group = group_of(work, &hop, groups, &count);
		group->recipients[group->count] =
			(struct ps_send_recipient){.address = to->address, .notify = to->notify, .orcpt = to->orcpt};
		group->places[group->count++] = i;
	}
	return count;
}

static void send_group(struct work *work, struct group *group)
{
	const struct ps_queue_message *message = &work->attempt->message;
	const struct ps_send send = {
		.hop = &group->hop,
		.reverse_path = message->reverse_path,
		.options = message->options,
		.envid = message->envid,
		.recipients = group->recipients,
		.count = group->count,
		.file = message->file,
		.size = message->size,
		.id = message->id,
	};

	ps_send(work->attempts->args.sender, &send, on_sent, group);
}

static void send_all(struct work *work)
{
	struct group *groups = PS_NEWV(work->pool, struct group, work->attempt->message.count);
	size_t count = make_groups(work, groups);

	work->open = count + 1; /* until all are begun */
	for (size_t i = 0; i < count; i++)
		send_group(work, &groups[i]);
	close_one(work);
}

/* ---- the beginning --------------------------------------------------------------------------- */

void ps_attempts_begin(void *arg, struct ps_queue_attempt *attempt)
{
	struct work *work = ps_zalloc(sizeof *work);
	size_t n = attempt->message.count;

	work->attempts = arg;
	work->attempt = attempt;
	LIST_INSERT_HEAD(&work->attempts->all, work, entry);
	work->pool = ps_pool_create("attempt");
	work->results = PS_NEWV(work->pool, struct ps_queue_result, n);
	work->relayed = PS_NEWV(work->pool, bool, n);
	work->message.file = -1;
	snprintf(work->original, sizeof work->original, "%s", attempt->message.id);
	for (size_t i = 0; i < n; i++)
		work->results[i] = attempt->last;
	if (!attempt->send)
		settle(work);
	else if (is_local(attempt->destination))
		store_all(work);
	else if (is_routed(attempt->destination))
		submit(work);
	else
		send_all(work);
}

/* ---- the last of them ------------------------------------------------------------------------ */

/* Nobody answers it any more: it is made again by the next start. */
static void drop(struct work *work)
{
	for (size_t i = 0; work->errands && i < work->attempt->message.count; i++)
		ps_local_cancel(work->errands[i].asking);
	if (work->patience_ends)
		LIST_REMOVE(work, storing);
	ps_queue_drop(work->attempts->queue, work->attempt);
	work_destroy(work);
}

void ps_attempts_close(struct ps_attempts *attempts, void (*done)(void *arg), void *arg)
{
	struct work *work = LIST_FIRST(&attempts->all), *next;

	for (; work; work = next) {
		next = LIST_NEXT(work, entry);
		if (!work->settling)
			drop(work);
	}
	attempts->closed = done;
	attempts->closed_arg = arg;
	if (LIST_EMPTY(&attempts->all))
		ps_loop_post(attempts->args.loop, close_now, attempts);
}
