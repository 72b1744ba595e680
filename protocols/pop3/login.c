/* SPDX-License-Identifier: MIT */
/* USER and PASS, AUTH (RFC 5034), STLS (RFC 2595). */
#include "postern/log.h"
#include "protocols/pop3/pop3.h"

static const struct {
	enum ps_auth_status status;
	const char *text;
} refusals[] = {
	{PS_AUTH_FAILED, "[AUTH] User name or password is wrong"},
	{PS_AUTH_TEMPFAIL, "[SYS/TEMP] Log-in is not possible now; try again later"},
	{PS_AUTH_REFUSED, "[AUTH] You may not log in"},
	{PS_AUTH_UNKNOWN_MECHANISM, "No such authentication mechanism here"},
	{PS_AUTH_PRIVACY, "[AUTH] Not without TLS"},
};

static enum pop3_next read_response(struct pop3 *pop3);

static enum pop3_next challenge(struct pop3 *pop3, struct ps_bytes data)
{
	struct ps_buf line = {0};

	ps_base64_encode(&line, data);
	ps_session_printf(pop3->session, "+ %s\r\n", ps_buf_cstr(&line));
	ps_buf_finish(&line);
	pop3->go_on = read_response;
	return read_response(pop3);
}

static enum pop3_next take_reply(struct pop3 *pop3)
{
	struct ps_auth_reply reply = ps_session_auth_reply(pop3->session);

	switch (reply.status) {
	case PS_AUTH_NONE: pop3->wait = (struct ps_wait){.what = PS_WAIT_REPLY}; return POP3_WAIT;
	case PS_AUTH_CONTINUE: return challenge(pop3, reply.data);
	case PS_AUTH_OK: ps_session_hand_over(pop3->session, ps_bytes_str(pop3->utf8 ? "utf8" : "")); return POP3_GONE;
	default: break;
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(refusals); i++)
		if (refusals[i].status == reply.status)
			return pop3_err(pop3, refusals[i].text);
	return pop3_err(pop3, "[SYS/TEMP] Log-in is not possible now; try again later");
}

static enum pop3_next wait_reply(struct pop3 *pop3)
{
	pop3->go_on = take_reply;
	pop3->wait = (struct ps_wait){.what = PS_WAIT_REPLY};
	return POP3_WAIT;
}

/* ---- USER and PASS ----------------------------------------------------------------------------- */

/* Says nothing of whether there is such a user. */
enum pop3_next pop3_user(struct pop3 *pop3, struct ps_bytes argument)
{
	if (argument.len == 0 || argument.len > 1024)
		return pop3_err(pop3, "USER takes a name");
	if (!ps_session_plaintext_ok(pop3->session))
		return pop3_err(pop3, "[AUTH] Not without TLS");
	ps_buf_reset(&pop3->name);
	ps_buf_bytes(&pop3->name, argument);
	return pop3_ok(pop3, "And the password?");
}

/* All of the line is the password, its blanks too (RFC 1939 section 7). */
enum pop3_next pop3_pass(struct pop3 *pop3, struct ps_bytes argument)
{
	struct ps_buf plain = {0}; /* SASL PLAIN, RFC 4616: NUL user NUL password */

	if (pop3->name.len == 0)
		return pop3_err(pop3, "USER comes first");
	ps_buf_char(&plain, '\0');
	ps_buf_bytes(&plain, ps_buf_view(&pop3->name));
	ps_buf_char(&plain, '\0');
	ps_buf_bytes(&plain, argument);
	ps_session_auth_start(pop3->session, "PLAIN", ps_buf_view(&plain));
	ps_buf_wipe(&plain);
	ps_buf_wipe(&pop3->name);
	return wait_reply(pop3);
}

/* ---- AUTH --------------------------------------------------------------------------------------- */

/* {NULL, 0}: it is not base64. The octets are in `out`. */
static struct ps_bytes decode(struct ps_bytes base64, struct ps_buf *out)
{
	out->limit = POP3_FRONT_LINE;
	if (ps_base64_decode(out, base64) < 0)
		return ps_bytes(NULL, 0);
	return ps_bytes(out->len ? (const char *)out->ptr : "", out->len);
}

static enum pop3_next take_response(struct pop3 *pop3, struct ps_bytes line)
{
	struct ps_buf octets = {0};
	struct ps_bytes response;

	if (ps_bytes_eq_str(line, "*")) {
		ps_session_auth_cancel(pop3->session);
		return pop3_err(pop3, "AUTH was cancelled");
	}
	response = decode(line, &octets);
	if (response.ptr)
		ps_session_auth_step(pop3->session, response);
	else
		ps_session_auth_cancel(pop3->session);
	ps_buf_wipe(&octets);
	return response.ptr ? wait_reply(pop3) : pop3_err(pop3, "The response is not base64");
}

static enum pop3_next read_response(struct pop3 *pop3)
{
	enum pop3_next next;
	struct ps_bytes line;

	if (pop3_take_line(pop3, &line)) {
		next = take_response(pop3, line);
		pop3_consume_line(pop3);
		return next;
	}
	if (!pop3->closing)
		return POP3_WAIT;
	ps_session_auth_cancel(pop3->session);
	return POP3_NEXT;
}

static enum pop3_next list_mechanisms(struct pop3 *pop3)
{
	const char *mechanisms = ps_session_mechanisms(pop3->session);

	pop3_ok(pop3, "Mechanisms follow");
	while (*mechanisms) {
		size_t length = strcspn(mechanisms, " ");

		ps_session_printf(pop3->session, "%.*s\r\n", (int)length, mechanisms);
		mechanisms += length + (mechanisms[length] == ' ');
	}
	ps_session_printf(pop3->session, ".\r\n");
	return POP3_NEXT;
}

/* AUTH mechanism [initial-response]; "=" is an empty one (RFC 5034 section 4). */
enum pop3_next pop3_auth(struct pop3 *pop3, struct ps_bytes argument)
{
	ptrdiff_t blank = ps_bytes_find(argument, ' ');
	size_t length = blank < 0 ? argument.len : (size_t)blank;
	struct ps_bytes initial = {NULL, 0};
	struct ps_buf octets = {0};
	char mechanism[24] = "";

	if (argument.len == 0)
		return list_mechanisms(pop3);
	if (length == 0 || length >= sizeof mechanism)
		return pop3_err(pop3, "AUTH takes the name of a mechanism");
	memcpy(mechanism, argument.ptr, length);
	if (blank >= 0) {
		initial = ps_bytes_skip(argument, length + 1);
		initial = ps_bytes_eq_str(initial, "=") ? ps_bytes("", 0) : decode(initial, &octets);
		if (!initial.ptr)
			return pop3_err(pop3, "The initial response is not base64");
	}
	ps_session_auth_start(pop3->session, mechanism, initial);
	ps_buf_wipe(&octets);
	return wait_reply(pop3);
}

/* ---- STLS --------------------------------------------------------------------------------------- */

/* The handshake is done, and what was said before it is forgotten. */
static enum pop3_next begin_anew(struct pop3 *pop3)
{
	ps_buf_wipe(&pop3->name);
	pop3->utf8 = false;
	return POP3_NEXT;
}

enum pop3_next pop3_stls(struct pop3 *pop3, struct ps_bytes argument)
{
	struct ps_session *s = pop3->session;

	if (argument.len > 0)
		return pop3_err(pop3, "STLS takes no argument");
	if (ps_session_is_tls(s))
		return pop3_err(pop3, "TLS is active already");
	if (!ps_session_tls_offered(s))
		return pop3_err(pop3, "TLS is not available here");
	/* What came behind the line in the clear may be somebody else's: never take it for the client's. */
	if (ps_session_input(s).len > 0) {
		ps_log(PS_LOG_WARNING, "starttls_injection", "sid", ps_session_sid(s), NULL);
		pop3->closing = true;
		return pop3_err(pop3, "Nothing may follow STLS before the handshake");
	}
	pop3_ok(pop3, "Begin TLS now");
	ps_session_starttls(s);
	pop3->go_on = begin_anew;
	pop3->wait = (struct ps_wait){.what = PS_WAIT_REPLY};
	return POP3_WAIT;
}
