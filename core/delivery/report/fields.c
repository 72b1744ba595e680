/* SPDX-License-Identifier: MIT */
/* message/delivery-status, RFC 3464 section 2; message/global-delivery-status, RFC 6533 section 4. */
#include <unistr.h>
#include "core/delivery/report/private.h"
#include "postern/pool.h"

static const struct action {
	const char *word, *status;
} actions[] = {
	[PS_REPORT_FAILED] = {"failed", "5.0.0"},
	[PS_REPORT_DELAYED] = {"delayed", "4.0.0"},
	[PS_REPORT_DELIVERED] = {"delivered", "2.0.0"},
	[PS_REPORT_RELAYED] = {"relayed", "2.0.0"},
};

static void put(const char *name, struct ps_buf *value, struct ps_buf *out)
{
	report_field(name, ps_buf_view(value), out);
	ps_buf_reset(value);
}

static void put_date(const char *name, int64_t time, struct ps_buf *value, struct ps_buf *out)
{
	if (time <= 0)
		return;
	report_date(time, value);
	put(name, value, out);
}

/* utf-8-addr-xtext of RFC 6533 section 3: ASCII that stands for all of Unicode. */
static void put_xtext(const char *address, struct ps_buf *out)
{
	struct ps_bytes rest = ps_bytes_str(address);

	while (rest.len > 0) {
		ucs4_t c;
		int n = u8_mbtoucr(&c, rest.ptr, rest.len);

		if (n <= 0) {
			n = 1;
			c = 0xfffd;
		}
		if (c > ' ' && c < 0x7f && c != '+' && c != '=' && c != '\\')
			ps_buf_char(out, (char)c);
		else
			ps_buf_printf(out, "\\x{%X}", (unsigned)c);
		rest = ps_bytes_skip(rest, (size_t)n);
	}
}

static void put_address(const char *name, const char *address, bool global, struct ps_buf *value, struct ps_buf *out)
{
	bool ascii = report_is_ascii(address);

	ps_buf_str(value, ascii ? "rfc822; " : "utf-8; ");
	if (ascii || global)
		report_escape(address, global, 2 * PS_PATH_MAX, value);
	else
		put_xtext(address, value);
	put(name, value, out);
}

/* "TYPE;ADDRESS"; what is not of this form was no ORCPT. */
static void put_original(const char *orcpt, bool global, struct ps_buf *value, struct ps_buf *out)
{
	const char *address = orcpt ? strchr(orcpt, ';') : NULL;
	size_t len = address ? (size_t)(address - orcpt) : 0;
	bool known = len == 6 && strncmp(orcpt, "rfc822", 6) == 0;

	if (len == 0 || len > 60)
		return;
	if (known || (len == 5 && strncmp(orcpt, "utf-8", 5) == 0)) {
		put_address("Original-Recipient", address + 1, global, value, out);
		return;
	}
	for (size_t i = 0; i < len; i++)
		if (!ps_isalpha(orcpt[i]) && !ps_isdigit(orcpt[i]) && orcpt[i] != '-')
			return;
	ps_buf_printf(value, "%.*s; ", (int)len, orcpt);
	report_escape(address + 1, global, 2 * PS_PATH_MAX, value);
	put("Original-Recipient", value, out);
}

/* A host's name, or address. */
static void put_host(const char *name, const char *host, struct ps_buf *value, struct ps_buf *out)
{
	ps_buf_str(value, "dns; ");
	report_escape(host, false, 300, value);
	put(name, value, out);
}

static void put_diagnostic(const struct ps_report_recipient *recipient, bool global, struct ps_buf *value,
			   struct ps_buf *out)
{
	if (!recipient->code && !recipient->text)
		return;
	if (recipient->code) {
		ps_buf_printf(value, "smtp; %03u ", recipient->code % 1000);
		if (report_enhanced_valid(recipient->enhanced))
			ps_buf_printf(value, "%s ", recipient->enhanced);
	} else {
		ps_buf_str(value, "x-postern; ");
	}
	if (recipient->text)
		report_escape(recipient->text, global, REPORT_TEXT_MAX, value);
	while (value->len && value->ptr[value->len - 1] == ' ')
		value->len--;
	put("Diagnostic-Code", value, out);
}

static void put_recipient(const struct ps_report_recipient *recipient, bool global, struct ps_buf *value,
			  struct ps_buf *out)
{
	const struct action *action = &actions[recipient->action];

	put_original(recipient->orcpt, global, value, out);
	put_address("Final-Recipient", recipient->address, global, value, out);
	ps_buf_printf(out, "Action: %s\r\n", action->word);
	ps_buf_printf(out, "Status: %s\r\n",
		      report_enhanced_valid(recipient->enhanced) ? recipient->enhanced : action->status);
	if (recipient->host)
		put_host("Remote-MTA", recipient->host, value, out);
	put_diagnostic(recipient, global, value, out);
	put_date("Last-Attempt-Date", recipient->attempted, value, out);
	if (recipient->action == PS_REPORT_DELAYED)
		put_date("Will-Retry-Until", recipient->retried_until, value, out);
}

void report_fields(const struct ps_report *report, bool global, struct ps_buf *out)
{
	struct ps_buf value = {0};

	if (report->envid) {
		report_escape(report->envid, global, 400, &value);
		put("Original-Envelope-Id", &value, out);
	}
	put_host("Reporting-MTA", report->hostname, &value, out);
	put_date("Arrival-Date", report->arrival, &value, out);
	for (size_t i = 0; i < report->count; i++) {
		ps_buf_str(out, "\r\n");
		put_recipient(&report->recipients[i], global, &value, out);
	}
	ps_buf_finish(&value);
}
