/* SPDX-License-Identifier: MIT */
/* USER and PASS, AUTH (RFC 5034), STLS (RFC 2595). */
#include <stdio.h>
#include "protocols/pop3/pop3.h"

static const struct {
	enum ps_auth_status status;
	const char *text;
} refusals[] = {
	{PS_AUTH_FAILED, "[AUTH] User name or password is wrong"},
	{PS_AUTH_TEMPFAIL, "[SYS/TEMP] Log-in is not possible now; try again later"},
	{PS_AUTH_UNKNOWN_MECHANISM, "No such authentication mechanism here"},
	{PS_AUTH_PRIVACY, "[AUTH] Not without TLS"},
	{PS_AUTH_CANCELLED, "AUTH was cancelled"},
	{PS_AUTH_MALFORMED, "The response is not base64"},
	{PS_AUTH_TOO_LONG, "That response is far too long"},
};

static enum pop3_next refuse(struct pop3 *pop3, struct ps_auth_reply reply)
{
	char room[PS_LOGIN_REASON_MAX + 1], text[sizeof room + 8];

	if (reply.status == PS_AUTH_REFUSED) {
		snprintf(text, sizeof text, "[AUTH] %s", ps_login_reason(&reply, room, "You may not log in"));
		return pop3_err(pop3, text);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(refusals); i++)
		if (refusals[i].status == reply.status)
			return pop3_err(pop3, refusals[i].text);
	return pop3_err(pop3, "[SYS/TEMP] Log-in is not possible now; try again later");
}

/* What has become of the exchange under way. */
static enum pop3_next go_on(struct pop3 *pop3)
{
	struct ps_auth_reply reply = ps_login_go_on(&pop3->login, pop3->session, &pop3->wait);

	switch (reply.status) {
	case PS_AUTH_NONE:
		pop3->wait.timeout_ms = pop3->timeout_ms;
		pop3->go_on = go_on;
		return POP3_WAIT;
	case PS_AUTH_OK: ps_session_hand_over(pop3->session, ps_bytes_str(pop3->utf8 ? "utf8" : "")); return POP3_GONE;
	case PS_AUTH_GONE: pop3->closing = true; return POP3_NEXT;
	case PS_AUTH_TOO_LONG: pop3->closing = true; break;
	default: break;
	}
	return refuse(pop3, reply);
}

/* ---- USER and PASS ----------------------------------------------------------------------------- */

/* Says nothing of whether there is such a user. */
enum pop3_next pop3_user(struct pop3 *pop3, struct ps_bytes argument)
{
	if (argument.len == 0 || argument.len > 1024)
		return pop3_err(pop3, "USER takes a name");
	if (!ps_session_plaintext_ok(pop3->session))
		return pop3_err(pop3, "[AUTH] Not without TLS");
	if (!ps_login_takes_passwords(pop3->session))
		return pop3_err(pop3, "[AUTH] No passwords here; use AUTH");
	ps_buf_reset(&pop3->name);
	ps_buf_bytes(&pop3->name, argument);
	return pop3_ok(pop3, "And the password?");
}

/* All of the line is the password, its blanks too (RFC 1939 section 7). */
enum pop3_next pop3_pass(struct pop3 *pop3, struct ps_bytes argument)
{
	if (pop3->name.len == 0)
		return pop3_err(pop3, "USER comes first");
	ps_login_password(&pop3->login, pop3->session, ps_buf_view(&pop3->name), argument);
	ps_buf_wipe(&pop3->name);
	return go_on(pop3);
}

/* ---- AUTH --------------------------------------------------------------------------------------- */

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
	struct ps_bytes mechanism = ps_bytes(argument.ptr, blank < 0 ? argument.len : (size_t)blank);
	struct ps_bytes initial = blank < 0 ? ps_bytes(NULL, 0) : ps_bytes_skip(argument, (size_t)blank + 1);

	if (argument.len == 0)
		return list_mechanisms(pop3);
	ps_login_start(&pop3->login, pop3->session, "+ ", mechanism, initial);
	return go_on(pop3);
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
	if (ps_login_is_injected(s)) {
		pop3->closing = true;
		return pop3_err(pop3, "Nothing may follow STLS before the handshake");
	}
	pop3_ok(pop3, "Begin TLS now");
	ps_session_starttls(s);
	pop3->go_on = begin_anew;
	pop3->wait = (struct ps_wait){.what = PS_WAIT_REPLY};
	return POP3_WAIT;
}
