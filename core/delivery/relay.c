/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "core/delivery/attempts.h"
#include "core/delivery/notice.h"
#include "core/delivery/relay.h"
#include "core/delivery/spool.h"
#include "core/delivery/trace/trace.h"
#include "core/dns/resolver.h"
#include "core/event/workers.h"
#include "core/store/index/renew.h"
#include "postern/error.h"
#include "postern/io.h"
#include "postern/log.h"

enum {
	TICK_MS = 1000
};

struct ps_relay {
	struct ps_loop *loop;
	const struct ps_conf *conf;
	struct ps_local *local;
	struct ps_transactions *transactions;
	struct ps_route *route;
	struct ps_limits *limits;
	struct ps_resolver *resolver;
	struct ps_sender *sender;
	struct ps_attempts *attempts;
	struct ps_queue *queue;
	struct ps_timer *timer;
	struct ps_buf aliases, password; /* as last read: a new route gets them, too */
	struct ps_buf fresh;             /* aliases that have not been read; empty: none */
	char *aliases_path;
	bool serving;
	struct ps_workers *maker; /* one thread, which reads aliases, and tends the queue's index */
	struct making *making;    /* NULL: no route is being made */
	bool make_again;          /* as soon as that one is there */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* ---- into the queue -------------------------------------------------------------------------- */

/* A message of which the transaction came to its end twice is there already. */
struct adding {
	void (*done)(void *done_arg, int error);
	void *done_arg;
};

static void added(void *arg, int error)
{
	struct adding *adding = arg;

	adding->done(adding->done_arg, error == PS_E_EXISTS ? 0 : error);
	free(adding);
}

static const char *destination_of(struct ps_relay *relay, struct ps_pool *pool, const struct ps_parcel_recipient *to)
{
	struct ps_hop hop;

	if (!to->domain)
		return ps_pool_printf(pool, PS_DESTINATION_LOCAL ":%u", to->mail);
	return ps_route_hop(relay->route, pool, to->domain, &hop) < 0 ? NULL : ps_pool_strdup(pool, hop.key);
}

static int fill_recipients(struct ps_relay *relay, struct ps_pool *pool, const struct ps_parcel *parcel,
			   struct ps_queue_recipient **ret_recipients)
{
	struct ps_queue_recipient *recipients = PS_NEWV(pool, struct ps_queue_recipient, parcel->recipient_count);

	for (size_t i = 0; i < parcel->recipient_count; i++) {
		const struct ps_parcel_recipient *to = &parcel->recipients[i];

		recipients[i] = (struct ps_queue_recipient){.address = to->address,
							    .orcpt = to->orcpt,
							    .notify = to->notify,
							    .destination = destination_of(relay, pool, to),
							    .mailbox = to->mailbox};
		if (!recipients[i].destination)
			return ps_fail(PS_E_INTERNAL, "no way to %s", to->address);
	}
	*ret_recipients = recipients;
	return 0;
}

static int enqueue(void *arg, const struct ps_parcel *parcel, void (*done)(void *done_arg, int error), void *done_arg)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("enqueue");
	struct ps_relay *relay = arg;
	struct adding *adding;
	struct ps_queue_message message = {
		.id = parcel->id,
		.reverse_path = parcel->reverse_path,
		.envid = parcel->envid,
		.user = parcel->user,
		.sid = parcel->sid,
		.options = parcel->options,
		.source = parcel->source,
		.arrival = (int64_t)time(NULL),
		.size = parcel->size,
		.count = parcel->recipient_count,
		.file = parcel->file,
	};
	int r = fill_recipients(relay, pool, parcel, &message.recipients);

	if (r < 0)
		return r;
	adding = ps_malloc(sizeof *adding);
	*adding = (struct adding){done, done_arg};
	ps_queue_add(relay->queue, &message, added, adding);
	return 0;
}

/* ---- notices --------------------------------------------------------------------------------- */

struct notice {
	char id[PS_ID_LENGTH + 1];
	int file;
};

static void notice_destroy(struct notice *notice)
{
	ps_closep(&notice->file);
	free(notice);
}

static void notice_queued(void *arg, int error)
{
	struct notice *notice = arg;

	if (error < 0)
		ps_log(PS_LOG_ERROR, "notice_failed", "id", notice->id, "error", ps_err_name(error), NULL);
	notice_destroy(notice);
}

static int spool_notice(struct ps_relay *relay, const struct ps_notice *what, struct notice *notice, uint64_t *ret_size)
{
	PS_CLEANUP(ps_buf_finish) struct ps_buf octets = {0};
	int r = ps_spool_open(ps_conf_str(relay->conf, "spool_dir"), &notice->file);

	if (r < 0)
		return r;
	ps_notice_write(what, &octets);
	*ret_size = octets.len;
	return ps_io_write_all(notice->file, ps_buf_view(&octets));
}

/* A mail process says this; it can make the server write to nobody but its users. */
static bool is_ours(const struct ps_relay *relay, const char *user)
{
	const char *at = strrchr(user, '@');

	return at && relay->route && ps_route_is_local(relay->route, at + 1);
}

void ps_relay_notice(struct ps_relay *relay, const char *user, const char *subject, const char *text)
{
	struct notice *notice = ps_malloc(sizeof *notice);
	struct ps_notice what = {.user = user,
				 .subject = subject,
				 .text = text,
				 .hostname = ps_conf_str(relay->conf, "hostname"),
				 .id = notice->id,
				 .time = (int64_t)time(NULL)};
	struct ps_queue_recipient to = {
		.address = user, .notify = PS_NOTIFY_NEVER, .destination = PS_DESTINATION_ROUTE};
	struct ps_queue_message message = {
		.id = notice->id, .reverse_path = "", .arrival = what.time, .recipients = &to, .count = 1};
	int r = is_ours(relay, user) ? 0 : ps_fail(PS_E_INVALID, "%s is no address of this server", user);

	notice->file = -1;
	ps_make_id(notice->id);
	if (r == 0)
		r = spool_notice(relay, &what, notice, &message.size);
	if (r < 0) {
		ps_log(PS_LOG_ERROR, "notice_failed", "user", user, "msg", ps_last_error(), NULL);
		notice_destroy(notice);
		return;
	}
	message.file = notice->file;
	ps_trace(&(struct ps_trace_event){
		.kind = PS_TRACE_RECEIVED, .id = notice->id, .sender = "", .source = "notice", .size = message.size});
	ps_queue_add(relay->queue, &message, notice_queued, notice);
}

/* ---- routes ---------------------------------------------------------------------------------- */

/* A route that takes the place of the former when its aliases are read, which may take seconds. */
struct making {
	struct ps_relay *relay;
	struct ps_route *route;
	struct ps_bytes text; /* of the file: the relay's, or this: */
	struct ps_buf fresh;
	char *path;  /* NULL: there is no file */
	bool strict; /* it has been changed: where it is wrong, what is there stays */
	struct ps_buf errors;
	int error;
};

static void read_aliases(void *arg)
{
	struct making *making = arg;

	if (making->path)
		making->error = ps_route_set_aliases(making->route, making->text, making->path, &making->errors);
	if (making->error < 0 && making->errors.len == 0)
		ps_buf_str(&making->errors, ps_last_error());
}

static void read_password(struct ps_relay *relay)
{
	if (relay->password.len > 0 && ps_route_set_password(relay->route, ps_buf_view(&relay->password)) < 0)
		ps_log(PS_LOG_ERROR, "smarthost_password", "msg", ps_last_error(), NULL);
}

static void take_route(struct ps_relay *relay, struct making *making)
{
	struct ps_route *former = relay->route;

	relay->route = making->route;
	making->route = former;
	ps_transactions_set_route(relay->transactions, relay->route);
	ps_attempts_set_route(relay->attempts, relay->route);
	read_password(relay);
	if (making->fresh.len == 0)
		return;
	ps_buf_finish(&relay->aliases);
	relay->aliases = making->fresh;
	making->fresh = (struct ps_buf){0};
}

static void making_destroy(void *arg)
{
	struct making *making = arg;

	ps_route_destroy(making->route);
	ps_buf_finish(&making->fresh);
	ps_buf_finish(&making->errors);
	free(making->path);
	free(making);
}

static void nothing(void *arg)
{
	(void)arg;
}

static int make_route(struct ps_relay *relay);

static void on_made(void *arg)
{
	struct making *making = arg;
	struct ps_relay *relay = making->relay;
	bool kept = making->error < 0 && making->strict;

	if (making->error < 0)
		ps_log(PS_LOG_ERROR, "aliases", "kept", kept ? "the former" : NULL, "msg", ps_buf_cstr(&making->errors),
		       NULL);
	if (!kept)
		take_route(relay, making);
	relay->making = NULL;
	/* What was replaced may be large, too. */
	if (relay->serving && !relay->stopped)
		ps_workers_run(relay->maker, making_destroy, nothing, making);
	else
		making_destroy(making);
	if (relay->make_again && make_route(relay) < 0)
		ps_log(PS_LOG_ERROR, "route", "msg", ps_last_error(), NULL);
}

/* One at a time, so that the last to be asked for is the last to come. Before anybody is served it is waited for. */
static int make_route(struct ps_relay *relay)
{
	struct making *making;
	struct ps_route *route;
	int r;

	relay->make_again = relay->making != NULL;
	if (relay->making || relay->stopped)
		return 0;
	r = ps_route_create(relay->conf, &route);
	if (r < 0)
		return r;
	making = relay->making = ps_zalloc(sizeof *making);
	*making = (struct making){.relay = relay, .route = route, .fresh = relay->fresh, .errors = {.limit = 4000}};
	making->strict = relay->fresh.len > 0 && relay->aliases.len > 0;
	making->text = ps_buf_view(relay->fresh.len > 0 ? &making->fresh : &relay->aliases);
	making->path = relay->aliases_path ? ps_strdup(relay->aliases_path) : NULL;
	relay->fresh = (struct ps_buf){0};
	if (relay->serving) {
		ps_workers_run(relay->maker, read_aliases, on_made, making);
	} else {
		read_aliases(making);
		on_made(making);
	}
	return 0;
}

void ps_relay_set_aliases(struct ps_relay *relay, struct ps_buf *text, const char *path)
{
	ps_buf_finish(&relay->fresh);
	free(relay->aliases_path);
	relay->fresh = *text;
	relay->aliases_path = ps_strdup(path);
	*text = (struct ps_buf){0};
	if (relay->fresh.len == 0)
		ps_buf_char(&relay->fresh, '\n'); /* an empty file is one, too */
	if (make_route(relay) < 0)
		ps_log(PS_LOG_ERROR, "route", "msg", ps_last_error(), NULL);
}

void ps_relay_set_password(struct ps_relay *relay, struct ps_buf *text)
{
	ps_buf_wipe(&relay->password);
	relay->password = *text;
	*text = (struct ps_buf){0};
	read_password(relay);
}

/* ---- settings -------------------------------------------------------------------------------- */

static unsigned number(const struct ps_conf *conf, const char *name)
{
	return (unsigned)ps_conf_int(ps_conf_section(conf, "relay", 0), name);
}

/* "example.org" stands for its servers, "mx:example.org". */
static struct ps_queue_rule *make_rules(const struct ps_conf *conf, struct ps_pool *pool, size_t count)
{
	struct ps_queue_rule *rules = PS_NEWV(pool, struct ps_queue_rule, count);

	for (size_t i = 0; i < count; i++) {
		const struct ps_conf *section = ps_conf_section(conf, "destination", i);
		const char *title = ps_conf_title(section);

		rules[i].destination = strchr(title, ':') || strcmp(title, PS_DESTINATION_LOCAL) == 0
					       ? title
					       : ps_pool_printf(pool, "mx:%s", title);
		rules[i].concurrency = (unsigned)ps_conf_int(section, "connections");
		rules[i].per_minute = (unsigned)ps_conf_int(section, "attempts_per_minute");
	}
	return rules;
}

/* What it points to is the pool's. */
static struct ps_queue_settings queue_settings(const struct ps_conf *conf, struct ps_pool *pool)
{
	struct ps_queue_settings settings = ps_queue_defaults;

	settings.attempts = number(conf, "connections");
	settings.concurrency = number(conf, "connections_per_destination");
	settings.retry_first = number(conf, "retry_first");
	settings.retry_most = number(conf, "retry_most");
	settings.probe_first = settings.retry_first;
	settings.delay_notice = number(conf, "delay_notice");
	settings.expiry = number(conf, "expiry");
	settings.rule_count = ps_conf_section_count(conf, "destination");
	settings.rules = make_rules(conf, pool, settings.rule_count);
	return settings;
}

static int make_resolver(struct ps_relay *relay)
{
	const struct ps_conf *conf = ps_conf_section(relay->conf, "relay", 0);
	PS_CLEANUP(ps_buf_finish) struct ps_buf servers = {0};
	struct ps_resolver_options options = {.validating = ps_conf_bool(conf, "resolvers_validate")};

	for (size_t i = 0; i < ps_conf_list_size(conf, "resolvers"); i++)
		ps_buf_printf(&servers, "%s%s", i ? "," : "", ps_conf_list_nth(conf, "resolvers", i));
	if (servers.len > 0)
		options.servers = ps_buf_cstr(&servers);
	return ps_resolver_create(relay->loop, &options, &relay->resolver);
}

static int make_sender(struct ps_relay *relay)
{
	const struct ps_conf *conf = ps_conf_section(relay->conf, "relay", 0);
	PS_CLEANUP(ps_buf_finish) struct ps_buf sts_folder = {0}, report_folder = {0};
	struct ps_sender_options options = {
		.hostname = ps_conf_str(relay->conf, "hostname"),
		.resolver = relay->resolver,
		.ca_file = ps_conf_str(conf, "ca_file"),
		.allow_loopback = ps_conf_bool(conf, "allow_loopback"),
		.mx_port = (uint16_t)ps_conf_int(conf, "mx_port"),
		.mta_sts = ps_conf_bool(conf, "mta_sts"),
	};

	ps_buf_printf(&sts_folder, "%s/mta-sts", ps_conf_str(relay->conf, "spool_dir"));
	ps_buf_printf(&report_folder, "%s/tls-reports", ps_conf_str(relay->conf, "spool_dir"));
	options.sts_folder = ps_buf_cstr(&sts_folder);
	options.report_folder = ps_buf_cstr(&report_folder);
	return ps_sender_create(relay->loop, &options, &relay->sender);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void on_tick(void *arg)
{
	struct ps_relay *relay = arg;

	ps_transactions_tick(relay->transactions, ps_monotonic_ms());
	ps_attempts_tick(relay->attempts, ps_monotonic_ms());
}

static void tend_queue(void *arg)
{
	(void)arg;
	ps_indexes_renew(PS_RENEW_SECONDS);
}

static int open_queue(struct ps_relay *relay)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("queue settings");
	const struct ps_queue_settings settings = queue_settings(relay->conf, pool);
	const struct ps_queue_hooks hooks = {ps_attempts_begin, relay->attempts};
	PS_CLEANUP(ps_buf_finish) struct ps_buf dir = {0};
	int r;

	ps_buf_printf(&dir, "%s/queue", ps_conf_str(relay->conf, "spool_dir"));
	r = ps_queue_open(relay->loop, ps_buf_cstr(&dir), &settings, &hooks, &relay->queue);
	if (r == 0)
		ps_attempts_set_queue(relay->attempts, relay->queue);
	return r;
}

static int make_attempts(struct ps_relay *relay)
{
	const struct ps_attempts_args args = {
		.loop = relay->loop,
		.conf = relay->conf,
		.spool_dir = ps_conf_str(relay->conf, "spool_dir"),
		.local = relay->local,
		.transactions = relay->transactions,
		.sender = relay->sender,
	};

	return ps_attempts_create(&args, &relay->attempts);
}

int ps_relay_create(struct ps_loop *loop, const struct ps_conf *conf, const struct ps_relay_hooks *hooks,
		    struct ps_relay **ret_relay)
{
	struct ps_relay *relay = ps_zalloc(sizeof *relay);
	const struct ps_transaction_hooks transaction_hooks = {.reply = hooks->reply,
							       .give_file = hooks->give_file,
							       .enqueue = enqueue,
							       .arg = hooks->arg,
							       .queue_arg = relay};
	int r;

	relay->loop = loop;
	relay->conf = conf;
	relay->local = ps_local_create(&hooks->local);
	relay->transactions = ps_transactions_create(conf, relay->local, &transaction_hooks);
	relay->limits = ps_limits_create(conf, PS_LIMITS_USERS);
	ps_transactions_set_limits(relay->transactions, relay->limits);
	/* The process ends when one of these fails. */
	if ((r = make_resolver(relay)) < 0 || (r = make_sender(relay)) < 0 || (r = make_attempts(relay)) < 0 ||
	    (r = ps_workers_create(loop, 1, &relay->maker)) < 0 || (r = make_route(relay)) < 0 ||
	    (r = open_queue(relay)) < 0 ||
	    (r = ps_workers_tend(relay->maker, PS_RENEW_EVERY_MS, tend_queue, relay)) < 0 ||
	    (r = ps_timer_open(loop, on_tick, relay, &relay->timer)) < 0)
		return r;
	ps_timer_set(relay->timer, TICK_MS, TICK_MS);
	*ret_relay = relay;
	return 0;
}

void ps_relay_start(struct ps_relay *relay)
{
	relay->serving = true;
	ps_queue_start(relay->queue);
}

void ps_relay_reconfigure(struct ps_relay *relay, const struct ps_conf *conf)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("queue settings");
	const struct ps_queue_settings settings = queue_settings(conf, pool);

	relay->conf = conf;
	ps_transactions_reconfigure(relay->transactions, conf);
	ps_attempts_set_conf(relay->attempts, conf);
	ps_limits_configure(relay->limits, conf);
	ps_queue_reconfigure(relay->queue, &settings);
	ps_sender_set_hostname(relay->sender, ps_conf_str(conf, "hostname"));
	ps_sender_forget(relay->sender);
	if (make_route(relay) < 0)
		ps_log(PS_LOG_ERROR, "route", "msg", ps_last_error(), NULL);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void on_queue_closed(void *arg)
{
	struct ps_relay *relay = arg;
	void (*stopped)(void *arg) = relay->stopped;
	void *stopped_arg = relay->stopped_arg;

	ps_transactions_destroy(relay->transactions);
	ps_limits_destroy(relay->limits);
	ps_route_destroy(relay->route);
	ps_local_destroy(relay->local);
	ps_resolver_destroy(relay->resolver);
	ps_buf_finish(&relay->aliases);
	ps_buf_finish(&relay->fresh);
	ps_buf_wipe(&relay->password);
	free(relay->aliases_path);
	free(relay);
	stopped(stopped_arg);
}

static void on_attempts_closed(void *arg)
{
	struct ps_relay *relay = arg;

	ps_queue_close(relay->queue, on_queue_closed, relay);
}

static void on_idle(void *arg);

/* A route that is being made is waited for, and dropped when its function has been called. */
static void take_down(void *arg)
{
	struct ps_relay *relay = arg;

	if (!ps_transactions_idle(relay->transactions)) {
		ps_transactions_stop(relay->transactions, on_idle, relay);
		return;
	}
	ps_timer_close(relay->timer);
	ps_sender_destroy(relay->sender);
	ps_transactions_drop(relay->transactions);
	ps_attempts_close(relay->attempts, on_attempts_closed, relay);
}

/* It is called by a transaction that ends, so nothing may go here. */
static void on_idle(void *arg)
{
	struct ps_relay *relay = arg;

	ps_loop_post(relay->loop, take_down, relay);
}

void ps_relay_stop(struct ps_relay *relay, void (*done)(void *arg), void *arg)
{
	relay->stopped = done;
	relay->stopped_arg = arg;
	ps_queue_stop(relay->queue);
	ps_workers_destroy(relay->maker);
	ps_transactions_stop(relay->transactions, on_idle, relay);
}

struct ps_transactions *ps_relay_transactions(struct ps_relay *relay)
{
	return relay->transactions;
}

struct ps_local *ps_relay_local(struct ps_relay *relay)
{
	return relay->local;
}

struct ps_queue *ps_relay_queue(struct ps_relay *relay)
{
	return relay->queue;
}

struct ps_sender *ps_relay_sender(struct ps_relay *relay)
{
	return relay->sender;
}
