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
#include "core/delivery/relay.h"
#include "core/delivery/trace/trace.h"
#include "core/net/https.h"
#include "core/process/placing.h"
#include "core/process/relay_ask.h"
#include "core/process/role.h"
#include "core/process/sessions.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	STOP_MS = 5000
};

static struct ps_placing *placing;

static struct ps_relay *relay_of(void *arg)
{
	return ((struct ps_role *)arg)->state;
}

static struct ps_transactions *transactions_of(void *arg)
{
	return ps_relay_transactions(relay_of(arg));
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
	struct ps_msg_mail_no_file none = {.number = client.number, .turn = client.turn};
	int r = 0;

	if (!front)
		ps_closep(&file);
	else if (file < 0)
		r = ps_channel_send(front, PS_MSG_MAIL_NO_FILE, &none);
	else
		r = ps_channel_send(front, PS_MSG_MAIL_FILE, &message);
	if (r < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
}

static int find_user(void *arg, uint64_t question, const char *name, const char *sid, bool ticket)
{
	struct ps_channel *auth = ps_role_peer(arg, PS_ROLE_AUTH, 0);
	struct ps_msg_lookup message = {.number = question, .name = name, .sid = sid, .ticket = ticket};

	return auth ? ps_channel_send(auth, PS_MSG_LOOKUP, &message) : ps_fail(PS_E_CLOSED, "auth is not there");
}

static int probe(struct ps_channel *mail, uint64_t question, const struct ps_delivery *delivery)
{
	struct ps_msg_probe message = {
		.number = question,
		.ticket = delivery->ticket,
		.sid = delivery->errand->id,
		.mailbox = delivery->errand->mailbox,
		.size = delivery->errand->size,
	};

	return ps_channel_send(mail, PS_MSG_PROBE, &message);
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
	if (delivery->probe)
		return probe(mail, question, delivery);
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

static void on_mail_room(void *arg, struct ps_channel *from, union ps_message *message)
{
	ps_transactions_room(transactions_of(arg), client_of(from, message->mail_room.number, message->mail_room.turn));
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
	const struct ps_msg_lookup_answer *answer = &message->lookup_answer;

	(void)from;
	if (ps_placing_must(placing, answer->ticket))
		ps_placing_ask(placing, PS_MSG_LOOKUP_ANSWER, answer, answer->ticket);
	else
		ps_local_found(ps_relay_local(relay_of(arg)), answer);
}

static void placed(struct ps_role *role, union ps_message *message, int error, uint32_t mail)
{
	struct ps_msg_lookup_answer *answer = &message->lookup_answer;

	answer->mail = mail;
	if (error)
		answer->status = PS_LOOKUP_TEMPFAIL;
	ps_local_found(ps_relay_local(relay_of(role)), answer);
}

static void on_placed(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)arg;
	(void)from;
	ps_placing_answer(placing, &message->placed);
}

static void on_delivered(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	ps_local_delivered(ps_relay_local(relay_of(arg)), message->delivered.number, -(int)message->delivered.error);
}

/* Sessions that it opened the fronts end; what they would show for it counts for nothing from now on. */
static void on_revoked(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_hash credential;
	struct ps_session_choice choice = sessions_revoked(&message->revoked, &credential);
	struct ps_revocation revocation = {message->revoked.user, choice.credential, message->revoked.at};

	(void)from;
	ps_transactions_revoke(transactions_of(arg), &revocation);
}

static void on_notice(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	ps_relay_notice(relay_of(arg), message->notice.user, message->notice.subject, message->notice.text);
}

static void on_pass_key(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	ps_transactions_set_key(transactions_of(arg), message->pass_key.key);
}

static void on_secret(void *arg, struct ps_channel *from, union ps_message *message)
{
	const struct ps_msg_secret *secret = &message->secret;
	struct ps_buf text = {0};

	(void)from;
	if (ps_passwd_read_fd(secret->file, secret->path, &text) < 0)
		ps_log(PS_LOG_ERROR, "secret_unreadable", "msg", ps_last_error(), NULL);
	else if (secret->kind == PS_SECRET_ALIASES)
		ps_relay_set_aliases(relay_of(arg), &text, secret->path);
	else
		ps_relay_set_password(relay_of(arg), &text);
	ps_buf_wipe(&text);
}

/* ---- the role -------------------------------------------------------------------------------- */

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

static int load(const struct ps_conf *conf)
{
	int r = ps_conf_bool(ps_conf_section(conf, "relay", 0), "mta_sts") ? https_load() : 0;

	return r < 0 ? ps_fail(r, "%s (relay { mta_sts = no } does without)", ps_last_error()) : r;
}

static int start(struct ps_role *role)
{
	const struct ps_relay_hooks hooks = {
		.local = {find_user, deliver, role}, .reply = reply, .give_file = give_file, .arg = role};
	struct ps_relay *relay;
	int r;

	placing = ps_placing_create(role, placed);
	r = ps_relay_create(role->loop, role->conf, &hooks, &relay);

	open_trace(role);
	if (r == 0) {
		role->state = relay;
		relay_ask_of(relay);
	}
	return r;
}

static int serve(struct ps_role *role)
{
	ps_relay_start(role->state);
	ps_role_ready(role);
	return 0;
}

static void reconfigure(struct ps_role *role)
{
	const struct ps_conf *conf = ps_conf_section(role->conf, "relay", 0);

	ps_trace_configure((uint64_t)ps_conf_int(conf, "trace_time"), (uint64_t)ps_conf_int(conf, "trace_size"));
	ps_relay_reconfigure(role->state, role->conf);
}

static void peer_went(struct ps_role *role, uint32_t peer, unsigned index)
{
	uint32_t mail = index;

	if (peer == PS_ROLE_FRONT)
		ps_transactions_drop_front(transactions_of(role), index);
	else
		ps_local_lost(ps_relay_local(role->state), peer == PS_ROLE_MAIL ? &mail : NULL);
}

static void end(void *arg)
{
	ps_trace_close();
	ps_role_end(arg, EXIT_SUCCESS);
}

/* Messages that are whole get their answer, or their clients would send them again; but nobody waits for long. What was not answered with 250
 * the clients still have, and the queue has what was. */
static void stop(struct ps_role *role)
{
	struct ps_timer *timer;

	if (ps_timer_open(role->loop, end, role, &timer) < 0)
		end(role);
	ps_timer_set(timer, STOP_MS, 0);
	relay_ask_of(NULL);
	ps_relay_stop(role->state, end, role);
}

static const struct ps_handler from_master[] = {
	{PS_MSG_ASK, relay_on_ask},   {PS_MSG_PASS_KEY, on_pass_key}, {PS_MSG_PLACED, on_placed},
	{PS_MSG_REVOKED, on_revoked}, {PS_MSG_SECRET, on_secret},     {0, NULL},
};

static const struct ps_handler from_peers[] = {
	{PS_MSG_MAIL_FROM, on_mail_from},         {PS_MSG_MAIL_RCPT, on_mail_rcpt},
	{PS_MSG_MAIL_DATA, on_mail_data},         {PS_MSG_MAIL_ROOM, on_mail_room},
	{PS_MSG_MAIL_END, on_mail_end},           {PS_MSG_MAIL_RESET, on_mail_reset},
	{PS_MSG_LOOKUP_ANSWER, on_lookup_answer}, {PS_MSG_NOTICE, on_notice},
	{PS_MSG_DELIVERED, on_delivered},         {0, NULL},
};

const struct ps_role_ops ps_role_relay = {
	.role = PS_ROLE_RELAY,
	.from_master = from_master,
	.from_peers = from_peers,
	.load = load,
	.start = start,
	.serve = serve,
	.reconfigure = reconfigure,
	.peer_went = peer_went,
	.stop = stop,
};
