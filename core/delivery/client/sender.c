/* SPDX-License-Identifier: MIT */
/* The sender, and the beginning and end of a transfer. */
#include <stdlib.h>
#include "core/delivery/client/client_private.h"
#include "core/event/loop.h"
#include "core/net/tls.h"
#include "postern/error.h"
#include "postern/log.h"

/* TLS 1.0 and 1.1 encrypt worse than they seem to; who has nothing else gets mail as from one that offers no TLS. */
#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA"

static const struct ps_sender_times default_times = {
	.connect = 30 * 1000,
	.greeting = 300 * 1000,
	.handshake = 30 * 1000,
	.command = 300 * 1000,
	.data = 120 * 1000,
	.block = 180 * 1000,
	.end = 600 * 1000,
	.quit = 10 * 1000,
	.idle = 10 * 1000,
};

static unsigned or_default(unsigned value, unsigned otherwise)
{
	return value ? value : otherwise;
}

static void set_times(struct ps_sender_times *times)
{
	const struct ps_sender_times *d = &default_times;

	times->connect = or_default(times->connect, d->connect);
	times->greeting = or_default(times->greeting, d->greeting);
	times->handshake = or_default(times->handshake, d->handshake);
	times->command = or_default(times->command, d->command);
	times->data = or_default(times->data, d->data);
	times->block = or_default(times->block, d->block);
	times->end = or_default(times->end, d->end);
	times->quit = or_default(times->quit, d->quit);
	times->idle = or_default(times->idle, d->idle);
}

int ps_sender_create(struct ps_loop *loop, const struct ps_sender_options *options, struct ps_sender **ret_sender)
{
	struct ps_sender *sender = ps_zalloc(sizeof *sender);
	int r;

	sender->loop = loop;
	sender->options = *options;
	sender->options.hostname = sender->hostname = ps_strdup(options->hostname);
	sender->options.ca_file = sender->ca_file = options->ca_file ? ps_strdup(options->ca_file) : NULL;
	sender->options.mx_port = options->mx_port ? options->mx_port : 25;
	sender->options.connection_messages = or_default(options->connection_messages, 100);
	set_times(&sender->options.times);
	r = tls_trust_create(PRIORITY, sender->ca_file, &sender->trust);
	if (r == 0 && options->mta_sts)
		r = sts_create(&(struct sts_options){.loop = loop,
						     .resolver = options->resolver,
						     .ca_file = sender->ca_file,
						     .folder = options->sts_folder,
						     .port = options->sts_port,
						     .timeout_ms = 2 * sender->options.times.connect},
			       &sender->sts);
	if (r < 0) {
		ps_sender_destroy(sender);
		return r;
	}
	if (options->report_folder)
		sender->report = tlsrpt_create(loop, options->report_folder);
	*ret_sender = sender;
	return 0;
}

static void transfer_destroy(struct smtp_transfer *transfer)
{
	ps_lookup_cancel(transfer->lookup);
	sts_cancel(transfer->wait);
	json_decref(transfer->story);
	ps_timer_close(transfer->timer);
	*transfer->at = transfer->next;
	if (transfer->next)
		transfer->next->at = transfer->at;
	ps_pool_destroy(transfer->pool);
}

void ps_sender_destroy(struct ps_sender *sender)
{
	if (!sender)
		return;
	while (sender->sessions)
		smtp_session_destroy(sender->sessions);
	while (sender->transfers)
		transfer_destroy(sender->transfers);
	sts_destroy(sender->sts);
	tlsrpt_destroy(sender->report);
	tls_trust_destroy(sender->trust);
	free(sender->hostname);
	free(sender->ca_file);
	free(sender);
}

void ps_sender_forget(struct ps_sender *sender)
{
	struct smtp_session *session = sender->sessions;

	while (session) {
		struct smtp_session *next = session->next;

		session->key[0] = '\0'; /* no hop has this one: those at work end with their work */
		if (!session->transfer)
			smtp_session_quit(session);
		session = next;
	}
}

void ps_sender_set_hostname(struct ps_sender *sender, const char *hostname)
{
	free(sender->hostname);
	sender->options.hostname = sender->hostname = ps_strdup(hostname);
}

int ps_sender_tls_report(struct ps_sender *sender, const char *day, const char *after, size_t most, json_t **ret_page)
{
	return sender->report ? tlsrpt_page(sender->report, day, after, most, ret_page)
			      : ps_fail(PS_E_UNSUPPORTED, "results of TLS are not counted");
}

/* ---- a transfer -------------------------------------------------------------------------------- */

void smtp_transfer_settle(struct smtp_transfer *transfer, size_t recipient, const struct trouble *what)
{
	struct ps_pool *pool = transfer->pool;

	if (transfer->recipients[recipient].state == RCPT_SETTLED)
		return;
	transfer->recipients[recipient].state = RCPT_SETTLED;
	transfer->open--;
	transfer->results[recipient] = (struct ps_send_result){
		.outcome = what->outcome,
		.code = what->code,
		.enhanced = ps_pool_strdup(pool, what->enhanced),
		.text = ps_pool_strdup(pool, what->text),
		.host = ps_pool_strdup(pool, what->host),
	};
}

void smtp_transfer_settle_open(struct smtp_transfer *transfer, const struct trouble *what)
{
	for (size_t i = 0; i < transfer->count; i++)
		smtp_transfer_settle(transfer, i, what);
}

void smtp_transfer_seen(struct smtp_transfer *transfer, enum ps_send_verdict verdict)
{
	if (verdict < transfer->verdict)
		transfer->verdict = verdict;
}

void smtp_transfer_finish(struct smtp_transfer *transfer)
{
	const struct ps_send_report report = {
		.results = transfer->results, .verdict = transfer->verdict, .tls = transfer->tls};

	if (transfer->story) {
		explain_end(transfer);
		transfer->explained(transfer->arg, json_incref(transfer->story));
	} else {
		transfer->done(transfer->arg, &report);
	}
	transfer_destroy(transfer);
}

/* Nobody may put a line of his own into the dialogue. */
static bool is_clean(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static void refuse_unclean(struct smtp_transfer *transfer)
{
	const struct trouble sender = {PS_SEND_FAILED, 0, "5.1.7", "the sender's address has control characters", NULL};
	const struct trouble recipient = {PS_SEND_FAILED, 0, "5.1.3", "the address has control characters", NULL};

	if (!is_clean(transfer->reverse_path))
		smtp_transfer_settle_open(transfer, &sender);
	for (size_t i = 0; i < transfer->count; i++)
		if (!is_clean(transfer->recipients[i].address))
			smtp_transfer_settle(transfer, i, &recipient);
}

static void begin(void *arg)
{
	struct smtp_transfer *transfer = arg;
	struct smtp_session *session;

	refuse_unclean(transfer);
	if (transfer->open == 0) {
		smtp_transfer_finish(transfer);
		return;
	}
	session =
		transfer->options & PS_MAIL_REQUIRETLS ? NULL : smtp_session_idle(transfer->sender, transfer->hop.key);
	if (session)
		smtp_session_take(session, transfer);
	else
		hosts_begin(transfer);
}

static struct smtp_transfer *transfer_create(struct ps_sender *sender, const struct ps_send *send)
{
	struct ps_pool *pool = ps_pool_create("transfer");
	struct smtp_transfer *t = PS_NEW(pool, struct smtp_transfer);

	t->sender = sender;
	t->pool = pool;
	t->hop = *send->hop;
	t->hop.domain = ps_pool_strdup(pool, send->hop->domain);
	t->hop.host = ps_pool_strdup(pool, send->hop->host);
	t->hop.user = ps_pool_strdup(pool, send->hop->user);
	t->hop.password = ps_pool_strdup(pool, send->hop->password);
	t->lmtp = send->lmtp;
	t->reverse_path = ps_pool_strdup(pool, send->reverse_path);
	t->envid = ps_pool_strdup(pool, send->envid);
	t->id = ps_pool_strdup(pool, send->id);
	t->options = send->options;
	t->file = send->file;
	t->size = send->size;
	t->verdict = PS_SEND_HOST_UNKNOWN;
	t->count = t->open = send->count;
	t->results = PS_NEWV(pool, struct ps_send_result, send->count);
	t->recipients = PS_NEWV(pool, struct recipient, send->count);
	for (size_t i = 0; i < send->count; i++)
		t->recipients[i] = (struct recipient){.address = ps_pool_strdup(pool, send->recipients[i].address),
						      .orcpt = ps_pool_strdup(pool, send->recipients[i].orcpt),
						      .notify = send->recipients[i].notify};
	return t;
}

static void start(struct ps_sender *sender, struct smtp_transfer *transfer)
{
	transfer->next = sender->transfers;
	transfer->at = &sender->transfers;
	if (transfer->next)
		transfer->next->at = &transfer->next;
	sender->transfers = transfer;
	if (ps_timer_open(sender->loop, begin, transfer, &transfer->timer) < 0)
		abort(); /* memory: as ps_malloc() */
	ps_timer_set(transfer->timer, 0, 0);
}

void ps_send(struct ps_sender *sender, const struct ps_send *send, ps_sent_fn done, void *arg)
{
	struct smtp_transfer *transfer = transfer_create(sender, send);

	transfer->done = done;
	transfer->arg = arg;
	start(sender, transfer);
}

void ps_explain(struct ps_sender *sender, const struct ps_hop *hop, const char *recipient, uint32_t options,
		ps_explained_fn done, void *arg)
{
	const struct ps_send_recipient to = {.address = recipient};
	const struct ps_send send = {
		.hop = hop, .reverse_path = "", .options = options, .recipients = &to, .count = 1, .file = -1};
	struct smtp_transfer *transfer = transfer_create(sender, &send);

	transfer->story = json_pack("{s:[]}", "hosts");
	transfer->explained = done;
	transfer->arg = arg;
	start(sender, transfer);
}
