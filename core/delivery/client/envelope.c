/* SPDX-License-Identifier: MIT */
/* MAIL and RCPT with their parameters: RFC 5321, 1870 (SIZE), 6152 (BODY), 3461 (DSN), 6531 (SMTPUTF8), 6533 (ORCPT of it), 8689. */
#include "core/delivery/client/client_private.h"
#include "postern/envelope.h"
#include "postern/error.h"

bool envelope_is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

/* To a server without SMTPUTF8 a domain in other scripts goes as A-labels; a local part has no such form. */
static int put_path(const struct smtp_session *session, const char *address, struct ps_buf *out)
{
	const char *at = strrchr(address, '@');
	char domain[DNS_NAME_SIZE];

	if (session->utf8 || envelope_is_ascii(address)) {
		ps_buf_printf(out, "<%s>", address);
		return 0;
	}
	for (const char *c = address; c < at; c++)
		if ((unsigned char)*c >= 0x80)
			at = NULL;
	if (!at || dns_name_ascii(at + 1, domain, sizeof domain) < 0)
		return PS_E_UNSUPPORTED;
	ps_buf_printf(out, "<%.*s@%s>", (int)(at - address), address, domain);
	return 0;
}

/* RFC 3461 section 4. */
static void put_xtext(struct ps_buf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c > ' ' && c < 0x7f && c != '+' && c != '=')
			ps_buf_char(out, (char)c);
		else
			ps_buf_printf(out, "+%02X", c);
	}
}

/* The code point at `text`, which is valid UTF-8, and its end. */
static uint32_t take_code_point(const char **text)
{
	const unsigned char *c = (const unsigned char *)*text;
	unsigned more = c[0] < 0x80 ? 0 : c[0] < 0xe0 ? 1 : c[0] < 0xf0 ? 2 : 3;
	uint32_t point = more == 0 ? c[0] : c[0] & (0x3fu >> more);

	for (unsigned i = 1; i <= more; i++)
		point = point << 6 | (c[i] & 0x3f);
	*text += more + 1;
	return point;
}

/* utf-8-addr-xtext of RFC 6533 section 3, which any server can take. */
static void put_utf8_xtext(struct ps_buf *out, const char *text)
{
	while (*text) {
		uint32_t point = take_code_point(&text);

		if (point > ' ' && point < 0x7f && point != '+' && point != '=' && point != '\\')
			ps_buf_char(out, (char)point);
		else
			ps_buf_printf(out, "\\x{%X}", (unsigned)point);
	}
}

static void put_orcpt(struct ps_buf *out, const char *orcpt)
{
	const char *address = strchr(orcpt, ';');

	if (!address || !ps_utf8_valid(ps_bytes_str(orcpt)))
		return;
	ps_buf_printf(out, " ORCPT=%.*s;", (int)(address - orcpt), orcpt);
	if (address - orcpt == 5 && ps_bytes_caseeq_str(ps_bytes(orcpt, 5), "utf-8"))
		put_utf8_xtext(out, address + 1);
	else
		put_xtext(out, address + 1);
}

static void put_body(const struct smtp_session *session, struct ps_buf *out)
{
	uint32_t options = session->transfer->options;

	if (session->form == OUTGOING_RAW)
		ps_buf_str(out, " BODY=BINARYMIME");
	else if (session->form != OUTGOING_SEVEN && (options & (PS_MAIL_8BITMIME | PS_MAIL_SMTPUTF8)) &&
		 (session->caps.flags & CAP_8BITMIME))
		ps_buf_str(out, " BODY=8BITMIME");
	if (session->utf8)
		ps_buf_str(out, " SMTPUTF8");
	if (options & PS_MAIL_REQUIRETLS)
		ps_buf_str(out, " REQUIRETLS");
}

int envelope_mail(const struct smtp_session *session, struct ps_buf *out)
{
	const struct smtp_transfer *transfer = session->transfer;
	size_t before = out->len;
	int r;

	ps_buf_str(out, "MAIL FROM:");
	r = put_path(session, transfer->reverse_path, out);
	if (r < 0) {
		out->len = before;
		return r;
	}
	if (session->caps.flags & CAP_SIZE)
		ps_buf_printf(out, " SIZE=%llu", (unsigned long long)transfer->size);
	put_body(session, out);
	if (session->caps.flags & CAP_DSN) {
		if (transfer->options & (PS_MAIL_RET_FULL | PS_MAIL_RET_HDRS))
			ps_buf_str(out, transfer->options & PS_MAIL_RET_FULL ? " RET=FULL" : " RET=HDRS");
		if (transfer->envid) {
			ps_buf_str(out, " ENVID=");
			put_xtext(out, transfer->envid);
		}
	}
	ps_buf_str(out, "\r\n");
	return 0;
}

static void put_notify(struct ps_buf *out, uint32_t notify)
{
	static const struct {
		uint32_t flag;
		const char *word;
	} words[] = {{PS_NOTIFY_NEVER, "NEVER"},
		     {PS_NOTIFY_SUCCESS, "SUCCESS"},
		     {PS_NOTIFY_FAILURE, "FAILURE"},
		     {PS_NOTIFY_DELAY, "DELAY"}};
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++) {
		if (!(notify & words[i].flag))
			continue;
		ps_buf_printf(out, "%s%s", before, words[i].word);
		before = ",";
	}
}

int envelope_rcpt(const struct smtp_session *session, const struct recipient *recipient, struct ps_buf *out)
{
	size_t before = out->len;
	int r;

	ps_buf_str(out, "RCPT TO:");
	r = put_path(session, recipient->address, out);
	if (r < 0) {
		out->len = before;
		return r;
	}
	if (session->caps.flags & CAP_DSN) {
		put_notify(out, recipient->notify);
		if (recipient->orcpt)
			put_orcpt(out, recipient->orcpt);
	}
	ps_buf_str(out, "\r\n");
	return 0;
}
