/* SPDX-License-Identifier: MIT */
/*
 * postern/login.h - what line protocols share before log-in: SASL (RFC 4422) as IMAP, POP3 and SMTP carry it, and what no
 * client of theirs does.                                                                          [in-tree]
 *
 * A response is a line of base64, "*" cancels, and an initial response "=" is an empty one. How a challenge begins and how the
 * end looks is the protocol's.
 */
#ifndef POSTERN_LOGIN_H
#define POSTERN_LOGIN_H

#include "postern/session.h"

#define PS_LOGIN_LINE_MAX 12288 /* octets of base64, RFC 4954 section 4 */

/* An exchange; in the protocol's state. */
struct ps_login {
	const char *prompt;       /* before a challenge */
	bool reads;               /* a line of the client's is due */
	enum ps_auth_status over; /* how it ended before anybody was asked; PS_AUTH_NONE: it has not */
};

/* Mechanism and initial response as the client wrote them; `initial` {NULL, 0}: it sent none. `prompt` ("+ ", "334 ") is static.
 * What becomes of it ps_login_go_on() says. */
void ps_login_start(struct ps_login *login, struct ps_session *s, const char *prompt, struct ps_bytes mechanism,
		    struct ps_bytes initial);
/* The same with a name and a password, as commands have them that are older than SASL. */
void ps_login_password(struct ps_login *login, struct ps_session *s, struct ps_bytes name, struct ps_bytes password);
/* PS_AUTH_NONE: wait for *ret_wait, to which the protocol adds its time-out, and call again. Anything else is the end;
 * challenges are sent here. */
struct ps_auth_reply ps_login_go_on(struct ps_login *login, struct ps_session *s, struct ps_wait *ret_wait);

/* What auth lets a user know who may not log in (PS_AUTH_REFUSED), kept in `room`; `otherwise` where that is nothing, or not printable ASCII. */
#define PS_LOGIN_REASON_MAX 200
const char *ps_login_reason(const struct ps_auth_reply *reply, char room[PS_LOGIN_REASON_MAX + 1],
			    const char *otherwise);

/* Whether a name and a password may be sent, as ps_login_password() takes them: PLAIN is offered. */
bool ps_login_takes_passwords(struct ps_session *s);

/* Whether a command is one of HTTP, which an attacker has somebody's browser speak: close without a word. It is logged. */
bool ps_login_is_http(struct ps_session *s, struct ps_bytes verb);
/* After STARTTLS, whose line is consumed: whether more came behind it in the clear, perhaps from somebody else, to be taken for
 * the client's. Refuse and close. It is logged. */
bool ps_login_is_injected(struct ps_session *s);

#endif
