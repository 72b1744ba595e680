/* SPDX-License-Identifier: MIT */
/*
 * Mail transactions: MAIL, RCPT, the message by DATA or BDAT.
 *
 * A transfer with more recipients than a transaction may have, or than the server takes at once (452), is several of them, one after the other.
 * Each settles one recipient at least. DATA is not sent ahead of the answers to RCPT: a message that nobody gets is not sent, and a server that
 * mixes up its answers cannot take envelope for message.
 */
#include "core/delivery/client/client_private.h"
#include "core/event/loop.h"
#include "core/net/tls.h"
#include "postern/envelope.h"
#include "postern/error.h"

enum {
	AHEAD = 256 * 1024,      /* octets of the message that wait for the socket, or make a chunk */
	SLOWEST = 512,           /* octets a second */
	PATIENCE_MS = 10 * 60000 /* and this more for each message */
};

static struct trouble reply_trouble(const struct smtp_session *session)
{
	const struct smtp_reply *reply = &session->reply;
	enum ps_send_outcome outcome = reply->code < 300   ? PS_SEND_DELIVERED
				       : reply->code < 500 ? PS_SEND_DEFERRED
							   : PS_SEND_FAILED;

	return (struct trouble){outcome, reply->code, smtp_reply_enhanced(reply),
				ps_buf_cstr(&((struct smtp_session *)(uintptr_t)session)->reply.text), session->host};
}

static bool is_nonsense(const struct smtp_session *session)
{
	return session->reply.code / 100 == 3;
}

static void nonsense(struct smtp_session *session)
{
	message_cut(session, "an answer that makes no sense");
}

static void settle(struct smtp_session *session, size_t recipient, const struct trouble *what)
{
	struct smtp_transfer *transfer = session->transfer;

	smtp_transfer_settle(transfer, recipient, what);
	if (what->outcome == PS_SEND_DELIVERED)
		transfer->results[recipient].relayed_dsn = session->caps.flags & CAP_DSN;
}

static void settle_accepted(struct smtp_session *session, const struct trouble *what)
{
	for (size_t i = 0; i < session->transfer->count; i++)
		if (session->transfer->recipients[i].state == RCPT_ACCEPTED)
			settle(session, i, what);
}

/* Nothing is under way any more: the rest in another transaction, or the end. */
static void next_transaction(struct smtp_session *session)
{
	if (session->transfer->open == 0)
		smtp_session_release(session);
	else
		message_begin(session);
}

/* ---- may it be sent as it is? -------------------------------------------------------------------- */

static void refuse_all(struct smtp_session *session, const char *enhanced, const char *text)
{
	const struct trouble trouble = {PS_SEND_FAILED, 0, enhanced, text, session->host};

	smtp_transfer_settle_open(session->transfer, &trouble);
}

static bool look(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;
	const struct trouble trouble = {PS_SEND_DEFERRED, 0, "4.3.0", "the message cannot be read here", NULL};
	bool header = false, body = false;
	int r = 0;

	if (transfer->looked)
		return true;
	r = outgoing_look(transfer->file, transfer->size, OUTGOING_LINES, &transfer->eight_header,
			  &transfer->eight_body);
	if (r == 0 && (transfer->eight_body || (transfer->options & PS_MAIL_BINARYMIME))) {
		r = outgoing_look(transfer->file, transfer->size, OUTGOING_SEVEN, &header, &body);
		transfer->converts = !body;
	}
	if (r < 0) {
		smtp_transfer_settle_open(transfer, &trouble);
		return false;
	}
	transfer->looked = true;
	return true;
}

static bool wants_utf8(const struct smtp_transfer *transfer)
{
	if ((transfer->options & PS_MAIL_SMTPUTF8) || !envelope_is_ascii(transfer->reverse_path))
		return true;
	for (size_t i = 0; i < transfer->count; i++)
		if (transfer->recipients[i].state != RCPT_SETTLED &&
		    !envelope_is_ascii(transfer->recipients[i].address))
			return true;
	return false;
}

/* Parts of 8 bits, or binary ones, become base64 for who does not take them (RFC 6152 section 3). */
static void choose_form(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;
	const struct smtp_caps *caps = &session->caps;
	const unsigned binary = CAP_BINARYMIME | CAP_CHUNKING;
	bool is_binary = transfer->options & PS_MAIL_BINARYMIME;

	session->form = OUTGOING_LINES;
	if (is_binary && (caps->flags & binary) == binary && !transfer->lmtp)
		session->form = OUTGOING_RAW;
	else if (is_binary || !(caps->flags & CAP_8BITMIME))
		session->form = OUTGOING_SEVEN;
	if (session->form != OUTGOING_SEVEN || !look(session))
		return;
	if (!is_binary && !transfer->eight_body)
		session->form = OUTGOING_LINES;
	else if (!transfer->converts)
		refuse_all(session, "5.6.3", "the message has 8-bit data, which the server does not take");
}

/* False: all are settled. */
static bool check_message(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;
	const struct smtp_caps *caps = &session->caps;
	bool utf8 = wants_utf8(transfer);

	session->utf8 = utf8 && (caps->flags & CAP_SMTPUTF8);
	if (caps->size_max && transfer->size > caps->size_max) {
		refuse_all(session, "5.3.4", "the message is larger than the server takes");
	} else if (!session->utf8 && (utf8 || !(caps->flags & CAP_8BITMIME))) {
		if (!look(session))
			return false;
		if (transfer->eight_header)
			refuse_all(session, "5.6.7",
				   "the message has a header in UTF-8, which the server does not take");
	}
	if (transfer->open > 0)
		choose_form(session);
	return transfer->open > 0;
}

/* ---- MAIL and RCPT -------------------------------------------------------------------------------- */

/* Asks for the next recipient of this transaction; false when all were. */
static bool ask_next(struct smtp_session *session)
{
	static const struct trouble unable = {PS_SEND_FAILED, 0, "5.6.7",
					      "the address is in UTF-8, which the server does not take", NULL};
	struct smtp_transfer *transfer = session->transfer;

	for (size_t i = 0; i < transfer->count && session->asked < session->batch_max; i++) {
		struct recipient *recipient = &transfer->recipients[i];

		if (recipient->state != RCPT_OPEN || recipient->asked)
			continue;
		recipient->asked = true;
		if (envelope_rcpt(session, recipient, wire_out(session->wire)) < 0) {
			smtp_transfer_settle(transfer, i, &unable);
			continue;
		}
		session->asked++;
		smtp_session_expect(session, CMD_RCPT, i);
		return true;
	}
	return false;
}

static void set_batch(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;

	for (size_t i = 0; i < transfer->count; i++) {
		transfer->recipients[i].asked = false;
		if (transfer->recipients[i].state == RCPT_ACCEPTED)
			transfer->recipients[i].state = RCPT_OPEN;
	}
	session->asked = session->accepted = 0;
	session->sending = session->ended = false;
	if (session->batch_max == 0)
		session->batch_max = BATCH_MAX;
	if (session->caps.rcpt_max && session->caps.rcpt_max < session->batch_max)
		session->batch_max = session->caps.rcpt_max;
}

static void begin_transaction(struct smtp_session *session)
{
	if (envelope_mail(session, wire_out(session->wire)) < 0) {
		refuse_all(session, "5.6.7", "the sender's address is in UTF-8, which the server does not take");
		smtp_session_release(session);
		return;
	}
	smtp_session_expect(session, CMD_MAIL, 0);
	if (session->caps.flags & CAP_PIPELINING)
		while (ask_next(session))
			;
	smtp_session_flush(session);
}

void message_begin(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;

	if (session->secured)
		transfer->tls = ps_pool_strdup(transfer->pool, tls_describe(wire_tls(session->wire)));
	set_batch(session);
	if (session->open_mail) {
		smtp_session_send(session, CMD_RSET, 0, "RSET\r\n");
		smtp_session_flush(session);
	} else if (check_message(session)) {
		begin_transaction(session);
	} else {
		smtp_session_release(session);
	}
}

static void send_message(struct smtp_session *session);

/* All answers to RCPT are there. */
static void all_asked(struct smtp_session *session)
{
	if (session->accepted > 0)
		send_message(session);
	else
		next_transaction(session);
}

/* The answers to what was sent together with a MAIL that was refused come still, and mean nothing. */
static void after_envelope(struct smtp_session *session)
{
	if (session->pending_count > 0)
		return;
	if (session->open_mail && ask_next(session))
		smtp_session_flush(session);
	else
		all_asked(session);
}

void message_on_mail(struct smtp_session *session)
{
	const struct trouble trouble = reply_trouble(session);

	if (is_nonsense(session)) {
		nonsense(session);
		return;
	}
	session->open_mail = trouble.outcome == PS_SEND_DELIVERED;
	if (trouble.outcome != PS_SEND_DEFERRED)
		smtp_transfer_seen(session->transfer, PS_SEND_HOST_GOOD);
	if (!session->open_mail)
		smtp_transfer_settle_open(session->transfer, &trouble);
	after_envelope(session);
}

/* RFC 5321 section 4.5.3.1.10; what was accepted goes on without it. */
static bool is_too_many(const struct smtp_session *session)
{
	const struct smtp_reply *reply = &session->reply;

	return session->accepted > 0 &&
	       (reply->code == 452 || reply->code == 552 || strcmp(reply->enhanced, "4.5.3") == 0);
}

void message_on_rcpt(struct smtp_session *session, size_t at)
{
	struct recipient *recipient = &session->transfer->recipients[at];
	const struct trouble trouble = reply_trouble(session);

	if (is_nonsense(session)) {
		nonsense(session);
		return;
	}
	if (recipient->state == RCPT_OPEN && trouble.outcome == PS_SEND_DELIVERED) {
		recipient->state = RCPT_ACCEPTED;
		session->accepted++;
	} else if (recipient->state == RCPT_OPEN && is_too_many(session)) {
		session->batch_max = session->accepted;
	} else {
		smtp_transfer_settle(session->transfer, at, &trouble);
	}
	after_envelope(session);
}

/* ---- the message ---------------------------------------------------------------------------------- */

static bool by_chunks(const struct smtp_session *session)
{
	return (session->caps.flags & CAP_CHUNKING) && !session->transfer->lmtp;
}

/* It is our file that fails; no other host would be better off. */
static void unreadable(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;
	const struct trouble trouble = {PS_SEND_DEFERRED, 0, "4.3.0", "the message cannot be read here", NULL};

	smtp_transfer_settle_open(transfer, &trouble);
	smtp_session_destroy(session);
	smtp_transfer_finish(transfer);
}

/* Fills what waits to be sent: 1 at the end of the message. */
static int fill(struct smtp_session *session, struct ps_buf *to)
{
	int r = 0;

	while (r == 0 && to->len < AHEAD)
		r = outgoing_fill(&session->body, to);
	return r;
}

static void expect_end(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;

	session->ended = true;
	if (!transfer->lmtp)
		smtp_session_expect(session, CMD_END, 0);
	for (size_t i = 0; transfer->lmtp && i < transfer->count; i++)
		if (transfer->recipients[i].state == RCPT_ACCEPTED)
			smtp_session_expect(session, CMD_END, i);
}

static void send_chunk(struct smtp_session *session)
{
	struct ps_buf chunk = {0};
	int r = fill(session, &chunk);

	if (r < 0) {
		ps_buf_finish(&chunk);
		unreadable(session);
		return;
	}
	ps_buf_printf(wire_out(session->wire), "BDAT %zu%s\r\n", chunk.len, r > 0 ? " LAST" : "");
	ps_buf_bytes(wire_out(session->wire), ps_buf_view(&chunk));
	ps_buf_finish(&chunk);
	if (r > 0)
		expect_end(session);
	else
		smtp_session_expect(session, CMD_BDAT, 0);
	wire_flush(session->wire, false);
}

void message_send_more(struct smtp_session *session)
{
	int r;

	if (!session->sending || session->ended || by_chunks(session))
		return;
	if (ps_loop_now(session->sender->loop) > session->body_limit) {
		message_cut(session, "the server takes the message too slowly");
		return;
	}
	r = fill(session, wire_out(session->wire));
	if (r < 0) {
		unreadable(session);
		return;
	}
	if (r > 0) {
		ps_buf_str(wire_out(session->wire), ".\r\n");
		expect_end(session);
	} else {
		wire_set_limit(session->wire, session->sender->options.times.block);
	}
	smtp_session_flush(session);
}

static void begin_body(struct smtp_session *session)
{
	const struct smtp_transfer *transfer = session->transfer;

	session->sending = true;
	session->body_limit = ps_loop_now(session->sender->loop) + PATIENCE_MS + transfer->size / SLOWEST * 1000;
	outgoing_finish(&session->body);
	outgoing_init(&session->body, transfer->file, transfer->size, session->form, !by_chunks(session));
}

static void send_message(struct smtp_session *session)
{
	if (by_chunks(session)) {
		begin_body(session);
		send_chunk(session);
		return;
	}
	smtp_session_send(session, CMD_DATA, 0, "DATA\r\n");
	smtp_session_flush(session);
}

/* The message as a whole is refused before it was sent. */
static void refused(struct smtp_session *session)
{
	const struct trouble trouble = reply_trouble(session);

	session->sending = false;
	settle_accepted(session, &trouble);
	next_transaction(session);
}

void message_on_data(struct smtp_session *session)
{
	if (session->reply.code == 354) {
		begin_body(session);
		message_send_more(session);
	} else if (session->reply.code < 400) {
		nonsense(session);
	} else {
		refused(session);
	}
}

void message_on_bdat(struct smtp_session *session)
{
	if (session->reply.code / 100 == 2)
		send_chunk(session);
	else if (is_nonsense(session))
		nonsense(session);
	else
		refused(session);
}

void message_on_end(struct smtp_session *session, size_t recipient)
{
	const struct trouble trouble = reply_trouble(session);

	if (is_nonsense(session)) {
		nonsense(session);
		return;
	}
	if (wire_out(session->wire)->len > 0 && trouble.outcome == PS_SEND_DELIVERED) {
		message_cut(session, "the server took the message before it had all of it");
		return;
	}
	if (session->transfer->lmtp)
		settle(session, recipient, &trouble);
	else
		settle_accepted(session, &trouble);
	if (session->pending_count > 0)
		return;
	session->open_mail = session->sending = false;
	next_transaction(session);
}

void message_interrupted(struct smtp_session *session)
{
	const struct trouble trouble = reply_trouble(session);

	if (session->reply.code < 400) {
		nonsense(session);
		return;
	}
	if (session->reply.code != 421)
		settle_accepted(session, &trouble);
	message_cut(session, "the server broke in while the message was sent");
}

void message_cut(struct smtp_session *session, const char *reason)
{
	struct smtp_transfer *transfer = session->transfer;
	const char *enhanced = session->connected ? "4.4.2" : "4.4.1";
	const struct trouble trouble = {PS_SEND_DEFERRED, 0, enhanced, ps_pool_strdup(transfer->pool, reason),
					ps_pool_strdup(transfer->pool, session->host)};

	/* It may have been delivered, so it is not given to another host on the spot. */
	if (session->ended)
		settle_accepted(session, &trouble);
	smtp_session_destroy(session);
	if (transfer->open == 0)
		smtp_transfer_finish(transfer);
	else
		hosts_failed(transfer, &trouble);
}
