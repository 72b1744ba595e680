/* SPDX-License-Identifier: MIT */
/* On top of postern/session.h alone: no protocol and no driver is known here. */
#include "postern/login.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	MECHANISM_MAX = 20, /* RFC 4422 section 3.1 */
};

/* Never absent, though it may be empty. */
static struct ps_bytes octets_of(const struct ps_buf *buf)
{
	return ps_bytes(buf->len > 0 ? (const char *)buf->ptr : "", buf->len);
}

void ps_login_start(struct ps_login *login, struct ps_session *s, const char *prompt, struct ps_bytes mechanism,
		    struct ps_bytes initial)
{
	struct ps_buf octets = {.limit = PS_LOGIN_LINE_MAX};
	char name[MECHANISM_MAX + 1] = "";

	*login = (struct ps_login){.prompt = prompt};
	if (mechanism.len == 0 || mechanism.len > MECHANISM_MAX) {
		login->over = PS_AUTH_UNKNOWN_MECHANISM;
		return;
	}
	memcpy(name, mechanism.ptr, mechanism.len);
	if (!initial.ptr)
		ps_session_auth_start(s, name, ps_bytes(NULL, 0));
	else if (ps_bytes_eq_str(initial, "="))
		ps_session_auth_start(s, name, ps_bytes("", 0));
	else if (initial.len > 0 && ps_base64_decode(&octets, initial) == 0)
		ps_session_auth_start(s, name, octets_of(&octets));
	else
		login->over = PS_AUTH_MALFORMED;
	ps_buf_wipe(&octets);
}

void ps_login_password(struct ps_login *login, struct ps_session *s, struct ps_bytes name, struct ps_bytes password)
{
	struct ps_buf plain = {0}; /* SASL PLAIN, RFC 4616: NUL user NUL password */

	*login = (struct ps_login){.prompt = ""};
	ps_buf_char(&plain, '\0');
	ps_buf_bytes(&plain, name);
	ps_buf_char(&plain, '\0');
	ps_buf_bytes(&plain, password);
	ps_session_auth_start(s, "PLAIN", ps_buf_view(&plain));
	ps_buf_wipe(&plain);
}

static void send_challenge(struct ps_login *login, struct ps_session *s, struct ps_bytes data)
{
	struct ps_buf *out = ps_session_output(s);

	ps_buf_str(out, login->prompt);
	ps_base64_encode(out, data);
	ps_buf_str(out, "\r\n");
	login->reads = true;
}

/* Passes a response on; or says how the exchange ends by it. */
static enum ps_auth_status take_response(struct ps_login *login, struct ps_session *s, struct ps_bytes line)
{
	struct ps_buf octets = {.limit = PS_LOGIN_LINE_MAX};
	int r;

	if (ps_bytes_eq_str(line, "*"))
		return PS_AUTH_CANCELLED;
	r = ps_base64_decode(&octets, line);
	if (r == 0)
		ps_session_auth_step(s, octets_of(&octets));
	ps_buf_wipe(&octets);
	login->reads = false;
	return r < 0 ? PS_AUTH_MALFORMED : PS_AUTH_NONE;
}

/* PS_AUTH_NONE: it was passed on, or has not come yet. */
static enum ps_auth_status read_response(struct ps_login *login, struct ps_session *s)
{
	struct ps_bytes in = ps_session_input(s);
	ptrdiff_t lf = ps_bytes_find(in, '\n');
	size_t length = lf < 0 ? in.len : (size_t)lf;
	bool cr = lf > 0 && in.ptr[lf - 1] == '\r';
	enum ps_auth_status over;

	if (length > PS_LOGIN_LINE_MAX + 1)
		return PS_AUTH_TOO_LONG;
	if (lf < 0)
		return ps_session_eof(s) || ps_session_timed_out(s) ? PS_AUTH_GONE : PS_AUTH_NONE;
	over = take_response(login, s, ps_bytes(in.ptr, length - cr));
	ps_session_consume(s, length + 1);
	return over;
}

struct ps_auth_reply ps_login_go_on(struct ps_login *login, struct ps_session *s, struct ps_wait *ret_wait)
{
	struct ps_auth_reply reply = {.status = login->over};

	if (reply.status == PS_AUTH_NONE && !login->reads) {
		reply = ps_session_auth_reply(s);
		if (reply.status == PS_AUTH_NONE && ps_session_timed_out(s))
			reply.status = PS_AUTH_GONE;
	}
	if (reply.status == PS_AUTH_CONTINUE) {
		send_challenge(login, s, reply.data);
		reply = (struct ps_auth_reply){.status = PS_AUTH_NONE};
	}
	if (reply.status == PS_AUTH_NONE && login->reads)
		reply.status = read_response(login, s);
	if (reply.status >= PS_AUTH_CANCELLED)
		ps_session_auth_cancel(s);
	*ret_wait = login->reads ? (struct ps_wait){.what = PS_WAIT_LINE, .n = PS_LOGIN_LINE_MAX + 2}
				 : (struct ps_wait){.what = PS_WAIT_REPLY};
	return reply;
}

bool ps_login_takes_passwords(struct ps_session *s)
{
	const char *names = ps_session_mechanisms(s);

	for (size_t length; *names; names += length + (names[length] == ' ')) {
		length = strcspn(names, " ");
		if (ps_bytes_eq_str(ps_bytes(names, length), "PLAIN"))
			return true;
	}
	return false;
}

const char *ps_login_reason(const struct ps_auth_reply *reply, char room[PS_LOGIN_REASON_MAX + 1],
			    const char *otherwise)
{
	struct ps_bytes text = reply->data;

	if (reply->status != PS_AUTH_REFUSED || text.len == 0 || text.len > PS_LOGIN_REASON_MAX)
		return otherwise;
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < ' ' || text.ptr[i] >= 0x7f)
			return otherwise;
	memcpy(room, text.ptr, text.len);
	room[text.len] = '\0';
	return room;
}

bool ps_login_is_http(struct ps_session *s, struct ps_bytes verb)
{
	static const char *const methods[] = {"GET",    "POST",    "PUT",   "HEAD", "CONNECT",
					      "DELETE", "OPTIONS", "TRACE", "PATCH"};

	for (size_t i = 0; i < PS_ARRAY_LEN(methods); i++) {
		if (!ps_bytes_eq_str(verb, methods[i]))
			continue;
		ps_log(PS_LOG_INFO, "http_refused", "sid", ps_session_sid(s), NULL);
		return true;
	}
	return false;
}

bool ps_login_is_injected(struct ps_session *s)
{
	if (ps_session_input(s).len == 0)
		return false;
	ps_log(PS_LOG_WARNING, "starttls_injection", "sid", ps_session_sid(s), NULL);
	return true;
}
