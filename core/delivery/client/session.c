/* SPDX-License-Identifier: MIT */
/* A connection: its events, what it waits for and how long, and what becomes of it and of its transfer at its end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "core/delivery/client/client_private.h"
#include "core/event/loop.h"
#include "postern/error.h"

static void on_wire(void *arg, enum wire_event event, struct ps_bytes data);

/* ---- beginning and end -------------------------------------------------------------------------- */

static struct smtp_session *session_create(struct smtp_transfer *transfer, const struct sockaddr_storage *to,
					   const char *host)
{
	struct smtp_session *session = ps_zalloc(sizeof *session);
	struct ps_sender *sender = transfer->sender;
	const void *octets = to->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)to)->sin6_addr
						       : (const void *)&((const struct sockaddr_in *)to)->sin_addr;

	session->sender = sender;
	session->transfer = transfer;
	session->need = transfer->need;
	session->fresh = true;
	snprintf(session->key, sizeof session->key, "%s", transfer->hop.key);
	snprintf(session->host, sizeof session->host, "%s", host);
	inet_ntop(to->ss_family, octets, session->address, sizeof session->address);
	smtp_reply_init(&session->reply);
	session->next = sender->sessions;
	session->at = &sender->sessions;
	if (session->next)
		session->next->at = &session->next;
	sender->sessions = session;
	transfer->session = session;
	return session;
}

void smtp_session_open(struct smtp_transfer *transfer, const struct sockaddr_storage *to, const char *host)
{
	struct smtp_session *session = session_create(transfer, to, host);
	int r = wire_create(transfer->sender->loop, to, on_wire, session, &session->wire);

	/* That we are out of descriptors says nothing of the host. */
	if (r != PS_E_SCARCE)
		smtp_transfer_seen(transfer, PS_SEND_HOST_DEAD);
	if (r == PS_E_SCARCE)
		smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.3.0", "%s", ps_last_error());
	else if (r < 0)
		smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.4.1", "%s", ps_last_error());
	else
		wire_set_limit(session->wire, transfer->sender->options.times.connect);
}

void smtp_session_destroy(struct smtp_session *session)
{
	if (!session->gone) {
		session->gone = true;
		*session->at = session->next;
		if (session->next)
			session->next->at = session->at;
		if (session->transfer)
			session->transfer->session = NULL;
		session->transfer = NULL;
		wire_destroy(session->wire);
		smtp_reply_finish(&session->reply);
		outgoing_finish(&session->body);
	}
	if (session->busy == 0)
		free(session);
}

struct smtp_session *smtp_session_idle(struct ps_sender *sender, const char *key)
{
	for (struct smtp_session *session = sender->sessions; session; session = session->next)
		if (!session->transfer && session->pending_count == 0 && strcmp(session->key, key) == 0)
			return session;
	return NULL;
}

void smtp_session_take(struct smtp_session *session, struct smtp_transfer *transfer)
{
	session->transfer = transfer;
	session->fresh = session->answered = false;
	transfer->session = session;
	message_begin(session);
}

void smtp_session_quit(struct smtp_session *session)
{
	session->transfer = NULL;
	session->key[0] = '\0';
	smtp_session_send(session, CMD_QUIT, 0, "QUIT\r\n");
	smtp_session_flush(session);
}

void smtp_session_release(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;
	uint32_t most = session->sender->options.connection_messages;

	session->transfer = NULL;
	transfer->session = NULL;
	session->messages++;
	if (session->caps.mail_max && session->caps.mail_max < most)
		most = session->caps.mail_max;
	if (session->messages >= most || !session->key[0])
		smtp_session_quit(session);
	else
		wire_set_limit(session->wire, session->sender->options.times.idle);
	smtp_transfer_finish(transfer);
}

/* ---- what is expected ---------------------------------------------------------------------------- */

static const struct pending *oldest(const struct smtp_session *session)
{
	return &session->pending[session->pending_first];
}

static void set_limit(struct smtp_session *session)
{
	const struct ps_sender_times *times = &session->sender->options.times;
	unsigned limit = times->command;

	if (session->pending_count == 0)
		limit = times->block;
	else if (oldest(session)->command == CMD_GREETING)
		limit = times->greeting;
	else if (oldest(session)->command == CMD_DATA)
		limit = times->data;
	else if (oldest(session)->command == CMD_END || oldest(session)->command == CMD_BDAT)
		limit = times->end;
	else if (oldest(session)->command == CMD_QUIT)
		limit = times->quit;
	wire_set_limit(session->wire, limit);
}

void smtp_session_expect(struct smtp_session *session, enum command command, size_t recipient)
{
	size_t at = (session->pending_first + session->pending_count++) % PENDING_MAX;

	session->pending[at] = (struct pending){command, recipient};
	if (session->pending_count == 1)
		set_limit(session);
}

void smtp_session_send(struct smtp_session *session, enum command command, size_t recipient, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	ps_buf_vprintf(wire_out(session->wire), format, ap);
	va_end(ap);
	smtp_session_expect(session, command, recipient);
}

void smtp_session_flush(struct smtp_session *session)
{
	wire_flush(session->wire, session->sending && !session->ended);
}

/* ---- failures ------------------------------------------------------------------------------------ */

static bool may_go_clear(const struct smtp_session *session)
{
	const struct smtp_transfer *transfer = session->transfer;

	return session->need == NEED_NOTHING && !session->implicit_tls && !transfer->hop.user;
}

void smtp_session_failed(struct smtp_session *session, enum ps_send_outcome outcome, unsigned code,
			 const char *enhanced, const char *format, ...)
{
	struct smtp_transfer *transfer = session->transfer;
	struct trouble trouble = {outcome, code, ps_pool_strdup(transfer->pool, enhanced), NULL, NULL};
	struct ps_buf text = {.limit = REPLY_TEXT_MAX};
	char line[REPLY_TEXT_MAX];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	ps_buf_str(&text, line);
	trouble.text = ps_pool_strdup(transfer->pool, ps_buf_cstr(&text));
	trouble.host = ps_pool_strdup(transfer->pool, session->host);
	ps_buf_finish(&text);
	smtp_session_destroy(session);
	hosts_failed(transfer, &trouble);
}

void smtp_session_refused(struct smtp_session *session)
{
	const struct smtp_reply *reply = &session->reply;
	bool final = reply->code >= 500;

	smtp_session_failed(session, final ? PS_SEND_FAILED : PS_SEND_DEFERRED, reply->code, smtp_reply_enhanced(reply),
			    "%s", ps_buf_cstr(&session->reply.text));
}

/* The connection has ended, or is not worth going on with. `reason` is ours. */
static void lost(struct smtp_session *session, const char *reason)
{
	struct smtp_transfer *transfer = session->transfer;

	if (!transfer) {
		smtp_session_destroy(session);
	} else if (!session->fresh && !session->answered) {
		/* It was closed while it lay idle: that says nothing about the host. */
		smtp_session_destroy(session);
		hosts_begin(transfer);
	} else if (session->handshaking && may_go_clear(session)) {
		policy_count(transfer, "validation-failure");
		smtp_session_destroy(session);
		hosts_again_clear(transfer);
	} else if (session->handshaking) {
		policy_count(transfer, "validation-failure");
		smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.7.5", "%s", reason);
	} else {
		message_cut(session, reason);
	}
}

/* ---- events -------------------------------------------------------------------------------------- */

static void on_reply(struct smtp_session *session)
{
	struct pending pending;

	if (session->pending_count == 0 && session->sending) {
		message_interrupted(session);
		return;
	}
	if (session->pending_count == 0) {
		lost(session, "the server says something unasked");
		return;
	}
	pending = *oldest(session);
	session->pending_first = (session->pending_first + 1) % PENDING_MAX;
	session->pending_count--;
	if (session->pending_count > 0)
		set_limit(session);
	if (session->reply.code == 421 && !session->fresh && !session->answered && session->transfer) {
		lost(session, "the connection was closed while idle");
		return;
	}
	session->answered = true;
	dialogue_reply(session, pending);
}

static void on_input(struct smtp_session *session, struct ps_bytes data)
{
	while (data.len > 0 && !session->gone) {
		int r = smtp_reply_feed(&session->reply, &data);

		if (r < 0) {
			lost(session, ps_last_error());
			return;
		}
		if (r == 0)
			return;
		/* What is behind the answer to STARTTLS was said by somebody who has not shown who he is. */
		if (session->pending_count > 0 && oldest(session)->command == CMD_STARTTLS && data.len > 0) {
			smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.7.0",
					    "the server went on talking after its answer to STARTTLS");
			return;
		}
		on_reply(session);
	}
}

static void on_timeout(struct smtp_session *session)
{
	if (session->transfer)
		lost(session, session->handshaking ? "TLS handshake: took too long" : "the server took too long");
	else if (session->pending_count == 0)
		smtp_session_quit(session);
	else
		smtp_session_destroy(session);
}

static void on_wire(void *arg, enum wire_event event, struct ps_bytes data)
{
	struct smtp_session *session = arg;

	session->busy++;
	switch (event) {
	case WIRE_CONNECTED: dialogue_connected(session); break;
	case WIRE_SECURED: dialogue_secured(session); break;
	case WIRE_INPUT: on_input(session, data); break;
	case WIRE_DRAINED: message_send_more(session); break;
	case WIRE_BROKEN: lost(session, ps_last_error()); break;
	case WIRE_TIMEOUT: on_timeout(session); break;
	}
	if (--session->busy == 0 && session->gone)
		free(session);
}
