/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "protocols/smtp/trace.h"

void smtp_put_date(int64_t time, struct ps_buf *out)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t when = (time_t)time;
	struct tm tm = {0};

	gmtime_r(&when, &tm);
	ps_buf_printf(out, "%s, %d %s %04d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
		      tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

void smtp_put_address_literal(const char *remote, struct ps_buf *out)
{
	const char *end = strrchr(remote, ':');

	if (!end)
		return;
	if (remote[0] == '[') {
		/* "::ffff:192.0.2.1" is a way to say 192.0.2.1 */
		bool mapped = strncmp(remote, "[::ffff:", 8) == 0 && memchr(remote, '.', (size_t)(end - remote));

		ps_buf_str(out, mapped ? "[" : "[IPv6:");
		remote += mapped ? 8 : 1;
		ps_buf_append(out, remote, (size_t)(end - remote));
		return;
	}
	ps_buf_char(out, '[');
	ps_buf_append(out, remote, (size_t)(end - remote));
	ps_buf_char(out, ']');
}

/* RFC 3848, and RFC 6531 section 4.3. */
static void put_protocol(const struct smtp_trace *trace, struct ps_buf *out)
{
	if (trace->utf8)
		ps_buf_str(out, trace->lmtp ? "UTF8LMTP" : "UTF8SMTP");
	else
		ps_buf_str(out, trace->lmtp ? "LMTP" : trace->extended ? "ESMTP" : "SMTP");
	/* HELO has no letters of its own; it may come behind EHLO and STARTTLS */
	if (trace->lmtp || trace->extended)
		ps_buf_printf(out, "%s%s", trace->tls ? "S" : "", trace->authenticated ? "A" : "");
}

void smtp_put_received(const struct smtp_trace *trace, struct ps_buf *out)
{
	struct ps_buf literal = {0};

	smtp_put_address_literal(trace->remote, &literal);
	ps_buf_printf(out, "Received: from %s", *trace->helo ? trace->helo : "unknown");
	if (literal.len > 0)
		ps_buf_printf(out, " (%s)", ps_buf_cstr(&literal));
	ps_buf_printf(out, "\r\n\tby %s (Postern) with ", trace->hostname);
	put_protocol(trace, out);
	ps_buf_printf(out, " id %s", trace->id);
	if (trace->recipient)
		ps_buf_printf(out, "\r\n\tfor <%s>", trace->recipient);
	ps_buf_str(out, ";\r\n\t");
	smtp_put_date(trace->time, out);
	ps_buf_str(out, "\r\n");
	ps_buf_finish(&literal);
}
