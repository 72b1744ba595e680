/* SPDX-License-Identifier: MIT */
/* What the server says it can, and when. Announced is only what is whole. */
#include "postern/pool.h"
#include "protocols/smtp/smtp.h"

static bool tls_offered(struct smtp *smtp)
{
	return ps_session_tls_offered(smtp->session);
}

static bool is_tls(struct smtp *smtp)
{
	return ps_session_is_tls(smtp->session);
}

static bool auth_offered(struct smtp *smtp)
{
	return smtp_auth_offered(smtp);
}

static bool trusts(struct smtp *smtp)
{
	return smtp->trusted;
}

static void put_attributes(struct smtp *smtp, struct ps_buf *out)
{
	(void)smtp;
	ps_buf_str(out, " NAME ADDR PORT PROTO HELO");
}

static void put_size(struct smtp *smtp, struct ps_buf *out)
{
	ps_buf_char(out, ' ');
	ps_buf_u64(out, smtp_size_limit(smtp));
}

static void put_mechanisms(struct smtp *smtp, struct ps_buf *out)
{
	ps_buf_char(out, ' ');
	ps_buf_str(out, ps_session_mechanisms(smtp->session));
}

static void put_limits(struct smtp *smtp, struct ps_buf *out)
{
	ps_buf_str(out, " RCPTMAX=");
	ps_buf_u64(out, (uint64_t)smtp_setting(smtp, "recipients"));
}

static const struct {
	const char *keyword;
	unsigned where;
	bool (*offered)(struct smtp *smtp); /* NULL: always */
	void (*put)(struct smtp *smtp, struct ps_buf *out);
} extensions[] = {
	{"PIPELINING", SMTP_EVERYWHERE, NULL, NULL},                             /* RFC 2920 */
	{"SIZE", SMTP_EVERYWHERE, NULL, put_size},                               /* RFC 1870 */
	{"STARTTLS", SMTP_EVERYWHERE, tls_offered, NULL},                        /* RFC 3207 */
	{"AUTH", SMTP_ON_MX | SMTP_ON_SUBMISSION, auth_offered, put_mechanisms}, /* RFC 4954 */
	{"ENHANCEDSTATUSCODES", SMTP_EVERYWHERE, NULL, NULL},                    /* RFC 2034 */
	{"8BITMIME", SMTP_EVERYWHERE, NULL, NULL},                               /* RFC 6152 */
	{"SMTPUTF8", SMTP_EVERYWHERE, NULL, NULL},                               /* RFC 6531 */
	{"DSN", SMTP_EVERYWHERE, NULL, NULL},                                    /* RFC 3461 */
	{"CHUNKING", SMTP_EVERYWHERE, NULL, NULL},                               /* RFC 3030 */
	{"BINARYMIME", SMTP_EVERYWHERE, NULL, NULL},                             /* RFC 3030 section 3 */
	{"REQUIRETLS", SMTP_EVERYWHERE, is_tls, NULL},                           /* RFC 8689 */
	{"LIMITS", SMTP_EVERYWHERE, NULL, put_limits},                           /* RFC 9422 */
	{"XCLIENT", SMTP_EVERYWHERE, trusts, put_attributes},
	{"VRFY", SMTP_EVERYWHERE, NULL, NULL},
	{"HELP", SMTP_EVERYWHERE, NULL, NULL},
};

/* Puts "250-line" in order, the last with a blank. */
void smtp_put_extensions(struct smtp *smtp, struct ps_buf *out)
{
	size_t last = out->len;

	ps_buf_str(out, "250-");
	ps_buf_str(out, smtp_hostname(smtp));
	ps_buf_str(out, "\r\n");
	for (size_t i = 0; i < PS_ARRAY_LEN(extensions); i++) {
		if (!(extensions[i].where & 1U << smtp->kind) ||
		    (extensions[i].offered && !extensions[i].offered(smtp)))
			continue;
		last = out->len;
		ps_buf_str(out, "250-");
		ps_buf_str(out, extensions[i].keyword);
		if (extensions[i].put)
			extensions[i].put(smtp, out);
		ps_buf_str(out, "\r\n");
	}
	if (!out->failed)
		out->ptr[last + 3] = ' ';
}
