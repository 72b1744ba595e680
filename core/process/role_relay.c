/* SPDX-License-Identifier: MIT */
/*
 * The relay role: takes mail that fronts receive, finds out who it is for, and has it delivered. It sees no mailboxes and no
 * passwords; what the messages hold it sees.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/delivery/transactions.h"
#include "core/process/role.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

static struct ps_transactions *transactions_of(void *arg)
{
	return ((struct ps_role *)arg)->state;
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
	struct ps_msg_deliver message = {
		.number = question,
		.ticket = delivery->ticket,
		.sid = delivery->sid,
		.mailbox = delivery->mailbox,
		.token = delivery->token,
		.reverse_path = delivery->reverse_path,
		.recipient = delivery->recipient,
		.size = delivery->size,
	};

	if (!mail)
		return ps_fail(PS_E_CLOSED, "mail process %u is not there", delivery->mail);
	message.file = fcntl(delivery->file, F_DUPFD_CLOEXEC, 0);
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
	ps_transactions_found(transactions_of(arg), &message->lookup_answer);
}

static void on_delivered(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	ps_transactions_delivered(transactions_of(arg), message->delivered.number, (int)message->delivered.error);
}

static void on_pass_key(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	ps_transactions_set_key(transactions_of(arg), message->pass_key.key);
}

/* ---- the role -------------------------------------------------------------------------------- */

static int start(struct ps_role *role)
{
	const struct ps_transaction_hooks hooks = {
		.reply = reply, .give_file = give_file, .find_user = find_user, .deliver = deliver, .arg = role};

	role->state = ps_transactions_create(role->conf, &hooks);
	return 0;
}

static int serve(struct ps_role *role)
{
	ps_role_ready(role);
	return 0;
}

static void reconfigure(struct ps_role *role)
{
	ps_transactions_reconfigure(role->state, role->conf);
}

static void peer_went(struct ps_role *role, uint32_t peer, unsigned index)
{
	uint32_t mail = index;

	if (peer == PS_ROLE_FRONT)
		ps_transactions_drop_front(role->state, index);
	else
		ps_transactions_lost(role->state, peer == PS_ROLE_MAIL ? &mail : NULL);
}

/* What was not answered with 250 the clients still have. */
static void stop(struct ps_role *role)
{
	ps_role_end(role, EXIT_SUCCESS);
}

static const struct ps_handler from_master[] = {
	{PS_MSG_PASS_KEY, on_pass_key},
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
