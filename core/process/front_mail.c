/* SPDX-License-Identifier: MIT */
#include "core/process/front_mail.h"
#include "postern/error.h"

_Static_assert(PS_MAIL_PATH_MAX == PS_PATH_MAX, "a path goes into a message");

static int ask(void *arg, uint32_t type, const void *message)
{
	struct ps_role *role = *(struct ps_role **)arg;
	struct ps_channel *relay = ps_role_peer(role, PS_ROLE_RELAY, 0);

	return relay ? ps_channel_send(relay, type, message) : ps_fail(PS_E_CLOSED, "relay is not there");
}

/* It is behind the number of a mail process: role_front.c. Who has not logged in has none. */
static struct ps_bytes pass_of(struct ps_bytes ticket)
{
	return ps_bytes_skip(ticket, ticket.len < sizeof(uint32_t) ? ticket.len : sizeof(uint32_t));
}

int front_mail_from(void *arg, uint64_t number, uint32_t turn, struct ps_session *s,
		    const struct ps_mail_sender *sender, struct ps_bytes ticket)
{
	struct ps_msg_mail_from message = {
		.number = number,
		.turn = turn,
		.sid = ps_session_sid(s),
		.source = sender->source,
		.reverse_path = sender->reverse_path,
		.helo = sender->helo,
		.remote = ps_session_remote(s),
		.is_tls = ps_session_is_tls(s),
		.options = sender->options,
		.size = sender->size,
		.envid = sender->envid,
		.pass = pass_of(ticket),
	};

	return ask(arg, PS_MSG_MAIL_FROM, &message);
}

int front_mail_rcpt(void *arg, uint64_t number, uint32_t turn, const struct ps_mail_recipient *recipient)
{
	struct ps_msg_mail_rcpt message = {
		.number = number,
		.turn = turn,
		.forward_path = recipient->forward_path,
		.notify = recipient->notify,
		.orcpt = recipient->orcpt,
	};

	return ask(arg, PS_MSG_MAIL_RCPT, &message);
}

int front_mail_data(void *arg, uint64_t number, uint32_t turn)
{
	struct ps_msg_mail_data message = {.number = number, .turn = turn};

	return ask(arg, PS_MSG_MAIL_DATA, &message);
}

int front_mail_room(void *arg, uint64_t number, uint32_t turn)
{
	struct ps_msg_mail_room message = {.number = number, .turn = turn};

	return ask(arg, PS_MSG_MAIL_ROOM, &message);
}

int front_mail_end(void *arg, uint64_t number, uint32_t turn, uint64_t size, bool whole, struct ps_bytes octets)
{
	struct ps_msg_mail_end message = {
		.number = number, .turn = turn, .size = size, .whole = whole, .octets = octets};

	_Static_assert(PS_MAIL_SMALL_MAX == PS_FRONT_SMALL, "what the one gathers fits into the other's message");

	return ask(arg, PS_MSG_MAIL_END, &message);
}

void front_mail_reset(void *arg, uint64_t number, uint32_t turn)
{
	struct ps_msg_mail_reset message = {.number = number, .turn = turn};

	ask(arg, PS_MSG_MAIL_RESET, &message);
}
