/* SPDX-License-Identifier: MIT */
/* What is said before the first MAIL: greeting, EHLO or HELO, STARTTLS, AUTH. */
#include "core/delivery/client/client_private.h"
#include "core/net/tls.h"
#include "postern/error.h"

enum {
	PORT_SUBMISSIONS = 465 /* TLS from the first octet, RFC 8314 */
};

static void say_hello(struct smtp_session *session)
{
	smtp_session_send(session, CMD_EHLO, 0, "%s %s\r\n", session->transfer->lmtp ? "LHLO" : "EHLO",
			  session->sender->hostname);
	smtp_session_flush(session);
}

static void start_handshake(struct smtp_session *session)
{
	int r;

	session->handshaking = true;
	wire_set_limit(session->wire, session->sender->options.times.handshake);
	r = wire_secure(session->wire, session->sender->trust, dns_is_hostname(session->host) ? session->host : NULL);
	if (r < 0)
		smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.7.5", "%s", ps_last_error());
}

void dialogue_connected(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;

	if (transfer->by_mx && !transfer->sender->options.allow_loopback && wire_is_local(session->wire)) {
		const char *host = ps_pool_strdup(transfer->pool, session->host);

		smtp_session_destroy(session);
		hosts_ourselves(transfer, host);
		hosts_next(transfer);
		return;
	}
	session->connected = true;
	smtp_transfer_seen(transfer, PS_SEND_HOST_BUSY);
	session->implicit_tls = hosts_port(transfer) == PORT_SUBMISSIONS;
	if (session->implicit_tls)
		start_handshake(session);
	else
		smtp_session_expect(session, CMD_GREETING, 0);
}

void dialogue_secured(struct smtp_session *session)
{
	struct smtp_transfer *transfer = session->transfer;

	session->handshaking = false;
	session->secured = true;
	transfer->tls = ps_pool_strdup(transfer->pool, tls_describe(wire_tls(session->wire)));
	if (policy_verify(session) < 0) {
		smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.7.5", "%s", ps_last_error());
		return;
	}
	/* What was said in the clear is forgotten: RFC 3207 section 4.2. */
	session->caps = (struct smtp_caps){0};
	if (session->implicit_tls)
		smtp_session_expect(session, CMD_GREETING, 0);
	else
		say_hello(session);
}

static bool is_positive(const struct smtp_session *session)
{
	return session->reply.code / 100 == 2;
}

/* Neither yes nor no where only these are answers. */
static bool is_nonsense(const struct smtp_session *session)
{
	return session->reply.code / 100 == 3;
}

static void nonsense(struct smtp_session *session)
{
	smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.5.0", "an answer that makes no sense: %u %s",
			    session->reply.code, ps_buf_cstr(&session->reply.text));
}

static void on_greeting(struct smtp_session *session)
{
	if (session->reply.code == 220)
		say_hello(session);
	else if (session->reply.code < 400)
		nonsense(session);
	else
		smtp_session_refused(session);
}

/* ---- AUTH ---------------------------------------------------------------------------------------- */

static void put_base64(struct smtp_session *session, const char *text, size_t len)
{
	ps_base64_encode(wire_out(session->wire), ps_bytes(text, len));
}

static void auth_plain(struct smtp_session *session)
{
	const struct ps_hop *hop = &session->transfer->hop;
	struct ps_buf secret = {0};

	ps_buf_char(&secret, '\0');
	ps_buf_append(&secret, hop->user, strlen(hop->user) + 1);
	ps_buf_str(&secret, hop->password);
	ps_buf_str(wire_out(session->wire), "AUTH PLAIN ");
	put_base64(session, (const char *)secret.ptr, secret.len);
	smtp_session_send(session, CMD_AUTH, 0, "\r\n");
	ps_buf_wipe(&secret);
}

static void log_in(struct smtp_session *session)
{
	if (session->caps.flags & CAP_AUTH_PLAIN) {
		auth_plain(session);
	} else if (session->caps.flags & CAP_AUTH_LOGIN) {
		session->login = true;
		smtp_session_send(session, CMD_AUTH, 0, "AUTH LOGIN\r\n");
	} else {
		smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.7.0",
				    "the server offers no log-in by PLAIN or LOGIN");
		return;
	}
	smtp_session_flush(session);
}

static void on_auth(struct smtp_session *session)
{
	const struct ps_hop *hop = &session->transfer->hop;

	if (is_positive(session)) {
		session->logged_in = true;
		message_begin(session);
	} else if (session->reply.code == 334 && session->login && session->auth_step < 2) {
		const char *answer = session->auth_step++ == 0 ? hop->user : hop->password;

		put_base64(session, answer, strlen(answer));
		smtp_session_send(session, CMD_AUTH, 0, "\r\n");
		smtp_session_flush(session);
	} else if (is_nonsense(session)) {
		nonsense(session);
	} else {
		/* A password can be put right; the mail is not to blame. */
		smtp_session_failed(session, PS_SEND_DEFERRED, session->reply.code, "4.7.8", "log-in refused: %s",
				    ps_buf_cstr(&session->reply.text));
	}
}

/* ---- EHLO, STARTTLS ------------------------------------------------------------------------------ */

static void count_missing(const struct smtp_session *session)
{
	if (!session->tls_refused && !session->transfer->clear_only)
		policy_count(session->transfer, "starttls-not-supported");
}

static void on_hello_done(struct smtp_session *session)
{
	const struct smtp_transfer *transfer = session->transfer;
	bool required = session->need > NEED_NOTHING || transfer->hop.user;
	bool wanted =
		(required || transfer->hop.tls != PS_HOP_TLS_NONE) && !transfer->clear_only && !session->tls_refused;

	if (!session->secured && wanted && (session->caps.flags & CAP_STARTTLS)) {
		smtp_session_send(session, CMD_STARTTLS, 0, "STARTTLS\r\n");
		smtp_session_flush(session);
	} else if (!session->secured && required) {
		count_missing(session);
		smtp_session_failed(session, PS_SEND_DEFERRED, 0, "4.7.10",
				    "the server offers no TLS, and it is required");
	} else if (transfer->hop.user && !session->logged_in) {
		log_in(session);
	} else if ((transfer->options & PS_MAIL_REQUIRETLS) && !(session->caps.flags & CAP_REQUIRETLS)) {
		/* RFC 8689 section 4.2.1 */
		smtp_session_failed(
			session, PS_SEND_FAILED, 0, "5.7.30",
			"the message requires TLS all the way (REQUIRETLS), which the server does not know");
	} else {
		if (!session->secured)
			count_missing(session);
		message_begin(session);
	}
}

static void on_ehlo(struct smtp_session *session)
{
	if (is_positive(session)) {
		smtp_caps_read(&session->caps, ps_buf_view(&session->reply.lines));
		on_hello_done(session);
	} else if (is_nonsense(session)) {
		nonsense(session);
	} else if (session->reply.code >= 500 && !session->transfer->lmtp) {
		smtp_session_send(session, CMD_HELO, 0, "HELO %s\r\n", session->sender->hostname);
		smtp_session_flush(session);
	} else {
		smtp_session_refused(session);
	}
}

static void on_helo(struct smtp_session *session)
{
	if (is_positive(session))
		on_hello_done(session);
	else if (is_nonsense(session))
		nonsense(session);
	else
		smtp_session_refused(session);
}

static void on_starttls(struct smtp_session *session)
{
	if (session->reply.code == 220) {
		start_handshake(session);
		return;
	}
	session->tls_refused = true;
	policy_count(session->transfer, "starttls-not-supported");
	on_hello_done(session);
}

/* ---- all replies --------------------------------------------------------------------------------- */

static void on_rset(struct smtp_session *session)
{
	session->open_mail = false;
	if (is_positive(session))
		message_begin(session);
	else /* that says nothing of those who are still to be asked for, even with 5yz */
		smtp_session_failed(session, PS_SEND_DEFERRED, session->reply.code, "4.5.0", "RSET refused: %s",
				    ps_buf_cstr(&session->reply.text));
}

void dialogue_reply(struct smtp_session *session, struct pending pending)
{
	/* RFC 5321 section 3.8: it is about to close the connection, whatever it was asked. */
	if (session->reply.code == 421 && pending.command != CMD_QUIT) {
		if (!session->transfer)
			smtp_session_destroy(session);
		else
			smtp_session_refused(session);
		return;
	}
	switch (pending.command) {
	case CMD_GREETING: on_greeting(session); break;
	case CMD_EHLO: on_ehlo(session); break;
	case CMD_HELO: on_helo(session); break;
	case CMD_STARTTLS: on_starttls(session); break;
	case CMD_AUTH: on_auth(session); break;
	case CMD_MAIL: message_on_mail(session); break;
	case CMD_RCPT: message_on_rcpt(session, pending.recipient); break;
	case CMD_DATA: message_on_data(session); break;
	case CMD_BDAT: message_on_bdat(session); break;
	case CMD_END: message_on_end(session, pending.recipient); break;
	case CMD_RSET: on_rset(session); break;
	case CMD_QUIT: smtp_session_destroy(session); break;
	}
}
