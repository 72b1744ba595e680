/* SPDX-License-Identifier: MIT */
/*
 * The message is whole. What must leave is queued, mailboxes get it, what they could not take just now is queued, and then it is answered.
 */
#include <stdio.h>
#include "core/delivery/trace/trace.h"
#include "core/delivery/transactions_private.h"
#include "postern/error.h"
#include "postern/log.h"

/* ---- targets, one after the other ------------------------------------------------------------ */

static struct target *first_of(struct recipient *recipient)
{
	while (recipient && !recipient->targets)
		recipient = recipient->next;
	return recipient ? recipient->targets : NULL;
}

static struct target *after(struct target *target)
{
	return target->next ? target->next : first_of(target->recipient->next);
}

/* Of the one recipient; NULL: of all. */
static struct target *begin(struct transaction *t, struct recipient *only)
{
	return only ? only->targets : first_of(t->recipients);
}

static struct target *next(struct target *target, struct recipient *only)
{
	return only ? target->next : after(target);
}

static bool is_meant(const struct target *target)
{
	return target->accepted && target->recipient->accepted;
}

static bool is_remote(const struct target *target)
{
	return target->to.kind == PS_TARGET_REMOTE;
}

/* ---- the journal ----------------------------------------------------------------------------- */

static void trace_message(const struct transaction *t)
{
	static const char *const sources[] = {
		[PS_MAIL_MX] = "mx", [PS_MAIL_SUBMISSION] = "submission", [PS_MAIL_LMTP] = "lmtp"};
	struct ps_buf id = {0};

	ps_trace_message_id(t->file, &id);
	ps_trace(&(struct ps_trace_event){
		.kind = PS_TRACE_RECEIVED,
		.id = t->id,
		.message_id = id.len ? ps_buf_cstr(&id) : NULL,
		.sender = t->reverse_path,
		.source = sources[t->source],
		.user = t->user,
		.sid = t->sid,
		.size = t->size,
	});
	ps_buf_finish(&id);
}

static void trace_target(const struct target *target, enum ps_trace_kind kind, const struct ps_answer *why)
{
	const struct recipient *recipient = target->recipient;
	bool stored = kind == PS_TRACE_STORED;

	ps_trace(&(struct ps_trace_event){
		.kind = kind,
		.id = recipient->transaction->id,
		.recipient = target->to.address,
		.orcpt = recipient->orcpt ? recipient->orcpt : target->to.orcpt,
		.user = is_remote(target) ? NULL : target->to.user,
		.mailbox = !stored             ? NULL
			   : target->to.detail ? target->to.detail
					       : "INBOX",
		.code = why && !stored ? why->code : 0,
		.enhanced = why && !stored ? why->enhanced : NULL,
		.text = why && !stored ? why->text : NULL,
	});
}

/* ---- parcels --------------------------------------------------------------------------------- */

static struct ps_parcel_recipient parcel_recipient(const struct target *target)
{
	const struct recipient *recipient = target->recipient;
	bool remote = is_remote(target);

	return (struct ps_parcel_recipient){
		.address = remote ? target->to.address : target->to.user,
		.orcpt = recipient->orcpt ? recipient->orcpt : target->to.orcpt,
		.notify = recipient->notify,
		.domain = remote ? target->to.domain : NULL,
		.mailbox = remote ? NULL : target->to.detail,
		.mail = target->mail,
	};
}

/* Those of which `wanted` says so. The suffix tells parcels of one message apart: the queue has each id once. */
static void pack(struct transaction *t, bool (*wanted)(const struct target *target), const char *suffix)
{
	struct ps_parcel_recipient *recipients = ps_pool_alloc(t->pool, (t->target_count + 1) * sizeof *recipients);
	size_t n = 0;

	for (struct target *target = begin(t, NULL); target; target = after(target))
		if (is_meant(target) && wanted(target))
			recipients[n++] = parcel_recipient(target);
	t->parcel = (struct ps_parcel){
		.id = ps_pool_printf(t->pool, "%s%s", t->id, suffix),
		.sid = t->sid,
		.source = t->source,
		.user = t->user,
		.reverse_path = t->reverse_path,
		.options = t->options,
		.envid = t->envid,
		.recipients = recipients,
		.recipient_count = n,
		.file = t->file,
		.size = t->size,
	};
}

static void on_queued(void *arg, int error);

static int enqueue(struct transaction *t)
{
	const struct ps_transaction_hooks *hooks = &t->transactions->hooks;
	int r = hooks->enqueue(hooks->queue_arg, &t->parcel, on_queued, t);

	if (r < 0)
		ps_log(PS_LOG_ERROR, "queue_failed", "id", t->id, "msg", ps_last_error(), NULL);
	return r;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* How it stands with those that have one reply together. */
struct tally {
	size_t stored, deferred, failed;
	size_t no_room;                                 /* of the deferred */
	const struct target *deferred_one, *failed_one; /* of which the client is told */
};

static struct tally count(struct transaction *t, struct recipient *only)
{
	struct tally tally = {0};

	for (struct target *target = begin(t, only); target; target = next(target, only)) {
		if (!is_meant(target))
			continue;
		tally.stored += target->fate == STORED;
		tally.deferred += target->fate == DEFERRED;
		tally.failed += target->fate == FAILED;
		tally.no_room += target->fate == DEFERRED && target->why.code == 452;
		if (target->fate == DEFERRED && !tally.deferred_one)
			tally.deferred_one = target;
		if (target->fate == FAILED && !tally.failed_one)
			tally.failed_one = target;
	}
	return tally;
}

static void say(struct transaction *t, const struct ps_answer *answer)
{
	char text[160];

	snprintf(text, sizeof text, "%s (%s)", answer->text, t->id);
	if (answer->code != 250)
		ps_trace(&(struct ps_trace_event){
			.kind = PS_TRACE_REFUSED,
			.id = t->id,
			.code = answer->code,
			.enhanced = answer->enhanced,
			.text = answer->text,
		});
	transaction_say(t, answer->code, answer->enhanced, text);
}

static void reply(struct transaction *t, struct recipient *only)
{
	static const struct ps_answer done = {250, "2.0.0", "Stored", ""};
	struct tally tally = count(t, only);

	if (tally.deferred)
		say(t, &tally.deferred_one->why);
	else if (tally.failed)
		say(t, &tally.failed_one->why);
	else
		say(t, &done);
}

static void finish(struct transaction *t)
{
	for (struct recipient *r = t->source == PS_MAIL_LMTP ? t->recipients : NULL; r; r = r->next)
		if (r->accepted)
			reply(t, r);
	if (t->source != PS_MAIL_LMTP)
		reply(t, NULL);
	transaction_drop(t);
}

/* ---- what remains goes into the queue ---------------------------------------------------------- */

static bool is_for_queue(const struct target *target)
{
	return target->to_queue;
}

/* Its sender wants to hear of success. The queue's try finds that it is stored, and reports. */
static bool wants_report(const struct target *target)
{
	return target->fate == STORED && !is_remote(target) && (target->recipient->notify & PS_NOTIFY_SUCCESS) &&
	       *target->recipient->transaction->reverse_path;
}

/* Whoever can be told is told, if nobody has the message yet: of LMTP, of what failed for good, and when the disk is full. What failed while
 * others have it goes into the queue, too, which tries once more and reports. */
static void choose(struct transaction *t, struct recipient *only)
{
	struct tally tally = count(t, only);
	bool alone = only && only->targets && !only->targets->next;
	bool told =
		tally.stored == 0 && (tally.deferred == 0 || (tally.failed == 0 && tally.no_room == tally.deferred));

	for (struct target *target = begin(t, only); target; target = next(target, only))
		target->to_queue = (target->fate != STORED && !alone && !told) || wants_report(target);
}

static void queue_rest(struct transaction *t)
{
	for (struct recipient *r = t->source == PS_MAIL_LMTP ? t->recipients : NULL; r; r = r->next)
		choose(t, r);
	if (t->source != PS_MAIL_LMTP)
		choose(t, NULL);
	pack(t, is_for_queue, t->done ? "-3" : "-2");
	t->state = DEFERRING;
	if (t->parcel.recipient_count == 0 || !t->transactions->hooks.enqueue || enqueue(t) < 0)
		finish(t);
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

static const struct outcome {
	int error;
	enum fate fate;
	struct ps_answer why;
} outcomes[] = {
	{0, STORED, {250, "2.0.0", "Stored", ""}},
	{PS_E_FULL, DEFERRED, {452, "4.3.1", "The disk is full; try again later", ""}},
	{PS_E_QUOTA, FAILED, {552, "5.2.2", "The mailbox is full", ""}},
	{PS_E_LIMIT, FAILED, {552, "5.3.4", "The message is too large", ""}},
	{PS_E_CONFLICT, FAILED, {554, "5.4.6", "The message goes in circles", ""}},
};
static const struct outcome not_now = {0, DEFERRED, {451, "4.3.0", "It cannot be stored now; try again later", ""}};

static const struct outcome *outcome_of(int error)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(outcomes); i++)
		if (outcomes[i].error == error)
			return &outcomes[i];
	return &not_now;
}

static void set_fate(struct target *target, const struct outcome *outcome)
{
	const struct transaction *t = target->recipient->transaction;

	target->fate = outcome->fate;
	target->why = outcome->why;
	trace_target(target,
		     outcome->fate == STORED   ? PS_TRACE_STORED
		     : outcome->fate == FAILED ? PS_TRACE_FAILED
					       : PS_TRACE_DEFERRED,
		     &outcome->why);
	ps_log(outcome->fate == STORED ? PS_LOG_INFO : PS_LOG_WARNING, "delivered", "sid", t->sid, "id", t->id, "to",
	       target->to.user, "code", ps_num(outcome->why.code), "status", outcome->why.enhanced, NULL);
}

static void store_more(struct transaction *t);

/* Who has gone is started again soon; the next tick tries. */
static void set_again(struct target *target)
{
	target->again = true;
	target->recipient->transaction->again++;
}

static void on_stored(void *arg, int error)
{
	struct target *target = arg;
	struct transaction *t = target->recipient->transaction;

	target->asking = NULL;
	t->storing--;
	if (error == PS_E_CLOSED)
		set_again(target);
	else
		set_fate(target, outcome_of(error));
	store_more(t);
}

static void store(struct transaction *t, struct target *target)
{
	target->errand = (struct ps_errand){
		.id = t->id,
		.user = target->to.user,
		.mailbox = target->to.detail,
		.reverse_path = t->reverse_path,
		.recipient = target->to.address,
		.refuse_loop =
			t->source != PS_MAIL_LMTP, /* others write the field before they pass a message on by LMTP */
		.file = t->file,
		.size = t->size,
	};
	target->asking = ps_local_store(t->transactions->local, &target->errand, on_stored, target);
	if (target->asking)
		t->storing++;
	else
		set_again(target);
}

static void store_more(struct transaction *t)
{
	struct target *target;

	while (t->storing < STORING_MAX && (target = t->unstored)) {
		t->unstored = after(target);
		if (is_meant(target) && !is_remote(target))
			store(t, target);
	}
	if (t->storing == 0 && t->again == 0 && !t->unstored)
		queue_rest(t);
}

/* Those that have not begun, or are tried again; with `asked` those, too, of which an answer is awaited. */
static void give_up_on(struct transaction *t, bool asked)
{
	for (struct target *target = begin(t, NULL); target; target = after(target)) {
		if (!is_meant(target) || target->fate != OPEN || (target->asking && !asked))
			continue;
		ps_local_cancel(target->asking);
		t->storing -= target->asking != NULL;
		t->again -= target->again;
		target->asking = NULL;
		target->again = false;
		set_fate(target, &not_now);
	}
	t->unstored = NULL;
}

void transaction_tick(struct transaction *t, uint64_t now_ms)
{
	bool may_queue = t->source != PS_MAIL_LMTP && t->transactions->hooks.enqueue;

	if (now_ms >= t->patience_ends) {
		give_up_on(t, may_queue); /* a client of LMTP waits, as it is told of each */
	} else {
		for (struct target *target = begin(t, NULL); target; target = after(target)) {
			if (!target->again || t->storing >= STORING_MAX)
				continue;
			target->again = false;
			t->again--;
			store(t, target);
		}
	}
	store_more(t);
}

/* ---- what must leave ------------------------------------------------------------------------- */

static void start_storing(struct transaction *t)
{
	t->state = STORING;
	t->patience_ends = ps_monotonic_ms() + PS_STORE_PATIENCE_MS;
	t->unstored = begin(t, NULL);
	store_more(t);
}

/* Nobody has it yet. */
static void give_up(struct transaction *t)
{
	static const struct ps_answer no_queue = {451, "4.3.0", "The message cannot be queued now; try again later",
						  ""};

	for (struct target *target = begin(t, NULL); target; target = after(target)) {
		target->fate = DEFERRED;
		target->why = no_queue;
	}
	finish(t);
}

static void settle_queued(struct transaction *t, bool (*queued)(const struct target *target))
{
	for (struct target *target = begin(t, NULL); target; target = after(target)) {
		if (!is_meant(target) || !queued(target))
			continue;
		target->fate = STORED;
		trace_target(target, PS_TRACE_QUEUED, NULL);
	}
}

static void on_queued(void *arg, int error)
{
	struct transaction *t = arg;
	bool first = t->state == QUEUEING;

	if (error == 0)
		settle_queued(t, first ? is_remote : is_for_queue);
	else
		ps_log(PS_LOG_ERROR, "queue_failed", "id", t->id, "error", ps_err_name(error), NULL);
	if (!first)
		finish(t);
	else if (error < 0)
		give_up(t);
	else
		start_storing(t);
}

void transaction_settle(struct transaction *t)
{
	t->state = QUEUEING;
	if (!t->done)
		trace_message(t);
	pack(t, is_remote, t->done ? "-1" : "");
	if (t->parcel.recipient_count == 0)
		start_storing(t);
	else if (enqueue(t) < 0)
		give_up(t);
}
