/* SPDX-License-Identifier: MIT */
/* What the server can (RFC 2449), and in which languages (RFC 6856). */
#include "protocols/pop3/pop3.h"

/* How a capability goes on behind its name; false: it is not offered now. */
static bool with_login_delay(struct pop3 *pop3, struct ps_buf *out)
{
	int64_t delay = ps_conf_int(ps_session_conf(pop3->session), "login_delay");

	ps_buf_printf(out, " %lld", (long long)delay);
	return delay > 0;
}

static bool with_mechanisms(struct pop3 *pop3, struct ps_buf *out)
{
	const char *mechanisms = pop3->view ? "" : ps_session_mechanisms(pop3->session);

	ps_buf_printf(out, " %s", mechanisms);
	return *mechanisms != '\0';
}

static bool if_tls_offered(struct pop3 *pop3, struct ps_buf *out)
{
	(void)out;
	return !pop3->view && ps_session_tls_offered(pop3->session);
}

static bool if_plaintext(struct pop3 *pop3, struct ps_buf *out)
{
	(void)out;
	return !pop3->view && ps_login_takes_passwords(pop3->session);
}

static const struct {
	const char *name;
	bool (*rest)(struct pop3 *pop3, struct ps_buf *out);
} capabilities[] = {
	{"TOP", NULL},
	{"UIDL", NULL},
	{"USER", if_plaintext},
	{"SASL", with_mechanisms},
	{"STLS", if_tls_offered},
	{"PIPELINING", NULL},
	{"RESP-CODES", NULL},
	{"AUTH-RESP-CODE", NULL},
	{"LOGIN-DELAY", with_login_delay},
	{"EXPIRE NEVER", NULL},
	{"UTF8 USER", NULL},
	{"LANG", NULL},
	{"IMPLEMENTATION Postern", NULL},
};

enum pop3_next pop3_capa(struct pop3 *pop3, struct ps_bytes argument)
{
	struct ps_buf rest = {0};

	if (argument.len > 0)
		return pop3_err(pop3, "CAPA takes no argument");
	pop3_ok(pop3, "Capabilities follow");
	for (size_t i = 0; i < PS_ARRAY_LEN(capabilities); i++) {
		ps_buf_reset(&rest);
		if (!capabilities[i].rest || capabilities[i].rest(pop3, &rest))
			ps_session_printf(pop3->session, "%s%s\r\n", capabilities[i].name, ps_buf_cstr(&rest));
	}
	ps_buf_finish(&rest);
	ps_session_printf(pop3->session, ".\r\n");
	return POP3_NEXT;
}

/* All texts are in one language; "*" asks for the server's own (RFC 6856 section 3). */
enum pop3_next pop3_lang(struct pop3 *pop3, struct ps_bytes argument)
{
	if (argument.len == 0) {
		pop3_ok(pop3, "Languages follow");
		ps_session_printf(pop3->session, "en English\r\n.\r\n");
		return POP3_NEXT;
	}
	if (ps_bytes_eq_str(argument, "*") || ps_bytes_caseeq_str(argument, "en") ||
	    ps_bytes_caseeq_str(argument, "i-default"))
		return pop3_ok(pop3, "en English it is");
	return pop3_err(pop3, "[LANG] That language is not spoken here");
}

/* Messages are given as they are, with it and without; what is told is that the client knows what to do with them. */
enum pop3_next pop3_utf8(struct pop3 *pop3, struct ps_bytes argument)
{
	if (argument.len > 0)
		return pop3_err(pop3, "UTF8 takes no argument");
	pop3->utf8 = true;
	return pop3_ok(pop3, "UTF-8 it is");
}
