/* SPDX-License-Identifier: MIT */
/*
 * The relay role: takes mail that fronts receive, finds out who it is for, and has it delivered. It sees no mailboxes and no
 * passwords; what the messages hold it sees.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "auth/passwdfile.h"
#include "core/delivery/trace/trace.h"
#include "core/delivery/transactions.h"
#include "core/process/relay_ask.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	TICK_MS = 1000
};

struct relay {
	struct ps_role *role;
	struct ps_local *local;
	struct ps_transactions *transactions;
	struct ps_route *route;
	struct ps_buf aliases, password; /* as last read: a new route gets them, too */
	char *aliases_path;
	struct ps_timer *timer;
};

static struct relay *relay_of(void *arg)
{
	return ((struct ps_role *)arg)->state;
}

static struct ps_transactions *transactions_of(void *arg)
{
	return relay_of(arg)->transactions;
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static void reply(void *arg, struct ps_client client, const struct ps_answer *answer)
{
	struct ps_channel *front = ps_role_peer(arg, PS_ROLE_FRONT, client.front);
	struct ps_msg_mail_reply message = {
		.number = client.number,
		.turn = client.turn,
		.code = answer->code,
		.enhanced = answer->enhanced,
		.text = answer->text,
		.id = answer->id,
	};

	if (front && ps_channel_send(front, PS_MSG_MAIL_REPLY, &message) < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
}

static void give_file(void *arg, struct ps_client client, int file)
{
	struct ps_channel *front = ps_role_peer(arg, PS_ROLE_FRONT, client.front);
	struct ps_msg_mail_file message = {.number = client.number, .turn = client.turn, .file = file};

	if (!front)
		close(file);
	else if (ps_channel_send(front, PS_MSG_MAIL_FILE, &message) < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
}

static int find_user(void *arg, uint64_t question, const char *name, const char *sid, bool ticket)
{
	struct ps_channel *auth = ps_role_peer(arg, PS_ROLE_AUTH, 0);
	struct ps_msg_lookup message = {.number = question, .name = name, .sid = sid, .ticket = ticket};

	return auth ? ps_channel_send(auth, PS_MSG_LOOKUP, &message) : ps_fail(PS_E_CLOSED, "auth is not there");
}

static int deliver(void *arg, uint64_t question, const struct ps_delivery *delivery)
{
	struct ps_channel *mail = ps_role_peer(arg, PS_ROLE_MAIL, delivery->mail);
	const struct ps_errand *errand = delivery->errand;
	struct ps_msg_deliver message = {
		.number = question,
		.ticket = delivery->ticket,
		.sid = errand->id,
		.mailbox = errand->mailbox,
		.token = delivery->token,
		.reverse_path = errand->reverse_path,
		.recipient = errand->recipient,
		.refuse_loop = errand->refuse_loop,
		.size = errand->size,
	};

	if (!mail)
		return ps_fail(PS_E_CLOSED, "mail process %u is not there", delivery->mail);
	message.file = fcntl(errand->file, F_DUPFD_CLOEXEC, 0);
	if (message.file < 0)
		return ps_fail_errno("duplicate a descriptor");
	return ps_channel_send(mail, PS_MSG_DELIVER, &message);
}

/* ---- what others say ------------------------------------------------------------------------- */

static struct ps_client client_of(struct ps_channel *from, uint64_t number, uint32_t turn)
{
	return (struct ps_client){ps_channel_index(from), number, turn};
}

static void on_mail_from(void *arg, struct ps_channel *from, union ps_message *message)
{
	ps_transactions_from(transactions_of(arg), client_of(from, message->mail_from.number, message->mail_from.turn),
			     &message->mail_from);
}

static void on_mail_rcpt(void *arg, struct ps_channel *from, union ps_message *message)
{
	ps_transactions_rcpt(transactions_of(arg), client_of(from, message->mail_rcpt.number, message->mail_rcpt.turn),
			     &message->mail_rcpt);
}

static void on_mail_data(void *arg, struct ps_channel *from, union ps_message *message)
{
	ps_transactions_data(transactions_of(arg), client_of(from, message->mail_data.number, message->mail_data.turn));
}

static void on_mail_end(void *arg, struct ps_channel *from, union ps_message *message)
{
	ps_transactions_end(transactions_of(arg), client_of(from, message->mail_end.number, message->mail_end.turn),
			    &message->mail_end);
}

static void on_mail_reset(void *arg, struct ps_channel *from, union ps_message *message)
{
	ps_transactions_reset(transactions_of(arg),
			      client_of(from, message->mail_reset.number, message->mail_reset.turn));
}

static void on_lookup_answer(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	ps_local_found(relay_of(arg)->local, &message->lookup_answer);
}

static void on_delivered(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	ps_local_delivered(relay_of(arg)->local, message->delivered.number, -(int)message->delivered.error);
}

static void on_pass_key(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	ps_transactions_set_key(transactions_of(arg), message->pass_key.key);
}

/* ---- where mail goes ------------------------------------------------------------------------- */

/* What is wrong in the file is told. A table that is there stays if the new one has errors. */
static int set_aliases(struct relay *relay, const struct ps_buf *text, const char *path, bool keep)
{
	struct ps_buf errors = {.limit = 4000};
	int r = ps_route_set_aliases(relay->route, ps_buf_view(text), path, keep, &errors);

	if (r < 0)
		ps_log(PS_LOG_ERROR, "aliases", "kept", keep ? "the former" : NULL, "msg",
		       errors.len ? ps_buf_cstr(&errors) : ps_last_error(), NULL);
	ps_buf_finish(&errors);
	return r;
}

static void make_route(struct relay *relay)
{
	struct ps_route *route;

	if (ps_route_create(relay->role->conf, &route) < 0) {
		ps_log(PS_LOG_ERROR, "route", "msg", ps_last_error(), NULL);
		return;
	}
	ps_transactions_set_route(relay->transactions, route);
	ps_route_destroy(relay->route);
	relay->route = route;
	if (relay->aliases_path)
		set_aliases(relay, &relay->aliases, relay->aliases_path, false);
	if (relay->password.len > 0)
		ps_route_set_password(route, ps_buf_view(&relay->password));
}

/* Takes the text over. */
static void take_aliases(struct relay *relay, struct ps_buf text, const char *path)
{
	bool keep = relay->aliases_path && relay->route;

	if (relay->route && set_aliases(relay, &text, path, keep) < 0 && keep) {
		ps_buf_finish(&text);
		return;
	}
	ps_buf_finish(&relay->aliases);
	free(relay->aliases_path);
	relay->aliases = text;
	relay->aliases_path = ps_strdup(path);
}

static void on_secret(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct relay *relay = relay_of(arg);
	const struct ps_msg_secret *secret = &message->secret;
	struct ps_buf text = {0};

	(void)from;
	if (ps_passwd_read_fd(secret->file, secret->path, &text) < 0) {
		ps_log(PS_LOG_ERROR, "secret_unreadable", "msg", ps_last_error(), NULL);
		ps_buf_wipe(&text);
	} else if (secret->kind == PS_SECRET_ALIASES) {
		take_aliases(relay, text, secret->path);
	} else {
		ps_buf_wipe(&relay->password);
		relay->password = text;
		if (relay->route)
			ps_route_set_password(relay->route, ps_buf_view(&relay->password));
	}
}

/* ---- the role -------------------------------------------------------------------------------- */

static void on_tick(void *arg)
{
	struct relay *relay = arg;

	ps_transactions_tick(relay->transactions, ps_monotonic_ms());
}

/* The journal explains; mail goes without it, too. */
static void open_trace(struct ps_role *role)
{
	const struct ps_conf *conf = ps_conf_section(role->conf, "relay", 0);
	const char *spool_dir = ps_conf_str(role->conf, "spool_dir");
	uint64_t seconds = (uint64_t)ps_conf_int(conf, "trace_time");
	PS_CLEANUP(ps_freep) char *dir = NULL;

	if (!spool_dir || seconds == 0 || asprintf(&dir, "%s/trace", spool_dir) < 0)
		return;
	if (ps_trace_open(role->loop, dir, seconds, (uint64_t)ps_conf_int(conf, "trace_size")) < 0)
		ps_log(PS_LOG_ERROR, "trace", "msg", ps_last_error(), NULL);
}

static int start(struct ps_role *role)
{
	const struct ps_local_hooks local_hooks = {find_user, deliver, role};
	const struct ps_transaction_hooks hooks = {.reply = reply, .give_file = give_file, .arg = role};
	struct relay *relay = ps_zalloc(sizeof *relay);
	int r;

	role->state = relay;
	relay->role = role;
	relay->local = ps_local_create(&local_hooks);
	relay->transactions = ps_transactions_create(role->conf, relay->local, &hooks);
	make_route(relay);
	open_trace(role);
	r = ps_timer_open(role->loop, on_tick, relay, &relay->timer);
	if (r == 0)
		ps_timer_set(relay->timer, TICK_MS, TICK_MS);
	return r;
}

static int serve(struct ps_role *role)
{
	ps_role_ready(role);
	return 0;
}

static void reconfigure(struct ps_role *role)
{
	const struct ps_conf *conf = ps_conf_section(role->conf, "relay", 0);
	struct relay *relay = role->state;

	ps_transactions_reconfigure(relay->transactions, role->conf);
	ps_trace_configure((uint64_t)ps_conf_int(conf, "trace_time"), (uint64_t)ps_conf_int(conf, "trace_size"));
	make_route(relay);
}

static void peer_went(struct ps_role *role, uint32_t peer, unsigned index)
{
	struct relay *relay = role->state;
	uint32_t mail = index;

	if (peer == PS_ROLE_FRONT)
		ps_transactions_drop_front(relay->transactions, index);
	else
		ps_local_lost(relay->local, peer == PS_ROLE_MAIL ? &mail : NULL);
}

/* What was not answered with 250 the clients still have. */
static void stop(struct ps_role *role)
{
	ps_trace_close();
	ps_role_end(role, EXIT_SUCCESS);
}

static const struct ps_handler from_master[] = {
	{PS_MSG_ASK, relay_on_ask},
	{PS_MSG_PASS_KEY, on_pass_key},
	{PS_MSG_SECRET, on_secret},
	{0, NULL},
};

static const struct ps_handler from_peers[] = {
	{PS_MSG_MAIL_FROM, on_mail_from},   {PS_MSG_MAIL_RCPT, on_mail_rcpt},
	{PS_MSG_MAIL_DATA, on_mail_data},   {PS_MSG_MAIL_END, on_mail_end},
	{PS_MSG_MAIL_RESET, on_mail_reset}, {PS_MSG_LOOKUP_ANSWER, on_lookup_answer},
	{PS_MSG_DELIVERED, on_delivered},   {0, NULL},
};

const struct ps_role_ops ps_role_relay = {
	.role = PS_ROLE_RELAY,
	.from_master = from_master,
	.from_peers = from_peers,
	.start = start,
	.serve = serve,
	.reconfigure = reconfigure,
	.peer_went = peer_went,
	.stop = stop,
};
