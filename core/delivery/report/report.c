/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>
#include "core/delivery/report/private.h"
#include "postern/error.h"
#include "postern/pool.h"

bool ps_report_is_due(const char *reverse_path, uint32_t notify, enum ps_report_action action)
{
	static const uint32_t wants[] = {
		[PS_REPORT_FAILED] = PS_NOTIFY_FAILURE,
		[PS_REPORT_DELAYED] = PS_NOTIFY_DELAY,
		[PS_REPORT_DELIVERED] = PS_NOTIFY_SUCCESS,
		[PS_REPORT_RELAYED] = PS_NOTIFY_SUCCESS,
	};

	if (!reverse_path || !*reverse_path || (notify & PS_NOTIFY_NEVER))
		return false;
	/* RFC 3461 section 5.2.1 (d): who says nothing hears of failures, and may of delays. */
	if (notify == 0)
		notify = PS_NOTIFY_FAILURE | PS_NOTIFY_DELAY;
	return (notify & wants[action]) != 0;
}

/* What has to be known before anything is written. */
struct shape {
	struct original original;
	bool global; /* RFC 6533 forms */
	char boundary[40];
};

static bool has_global_address(const struct ps_report *report)
{
	bool ascii = report_is_ascii(report->reverse_path) && report_is_ascii(report->envid);

	for (size_t i = 0; i < report->count && ascii; i++)
		ascii = report_is_ascii(report->recipients[i].address) && report_is_ascii(report->recipients[i].orcpt);
	return !ascii;
}

static int shape_init(const struct ps_report *report, struct shape *shape)
{
	uint8_t chance[16];
	int r = original_read(report, &shape->original);

	if (r < 0)
		return r;
	if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
		return ps_fail_errno("getrandom");
	memcpy(shape->boundary, "=_", 3);
	for (size_t i = 0; i < sizeof chance; i++)
		snprintf(shape->boundary + 2 + 2 * i, 3, "%02x", chance[i]);
	/* Who could send such a message can read such a report. */
	shape->global = (report->options & PS_MAIL_SMTPUTF8) &&
			(has_global_address(report) ||
			 (shape->original.has_8bit && ps_utf8_valid(ps_buf_view(&shape->original.octets))));
	return 0;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void put_header(const struct ps_report *report, const struct shape *shape, struct ps_buf *out)
{
	const char *id = original_text(&shape->original.message_id);
	bool fits = strlen(report->reverse_path) < REPORT_LINE_MAX - 8;

	ps_buf_str(out, "Date: ");
	report_date(report->time, out);
	ps_buf_printf(out,
		      "\r\nFrom: \"Mail server %s\" <mailer-daemon@%s>\r\n"
		      "To: %s%s%s\r\n"
		      "Subject: %s\r\n"
		      "Message-ID: <%s.report@%s>\r\n",
		      report->hostname, report->hostname, fits ? "<" : "",
		      fits ? report->reverse_path : "undisclosed-recipients:;", fits ? ">" : "", report_subject(report),
		      report->id, report->hostname);
	if (*id)
		ps_buf_printf(out, "In-Reply-To: <%s>\r\nReferences: <%s>\r\n", id, id);
	ps_buf_printf(out,
		      "Auto-Submitted: auto-replied\r\n"
		      "MIME-Version: 1.0\r\n"
		      "Content-Type: multipart/report; report-type=%s;\r\n"
		      "\tboundary=\"%s\"\r\n"
		      "\r\n"
		      "This is a report in MIME format (RFC 6522).\r\n",
		      shape->global ? "global-delivery-status" : "delivery-status", shape->boundary);
}

static void put_text(const struct ps_report *report, const struct shape *shape, struct ps_buf *out)
{
	struct ps_buf text = {0};

	ps_buf_printf(out,
		      "\r\n--%s\r\n"
		      "Content-Type: text/plain; charset=utf-8\r\n"
		      "Content-Language: en\r\n"
		      "Content-Transfer-Encoding: quoted-printable\r\n"
		      "\r\n",
		      shape->boundary);
	report_text(report, &shape->original, &text);
	report_quoted_printable(ps_buf_view(&text), out);
	ps_buf_finish(&text);
}

static void put_status(const struct ps_report *report, const struct shape *shape, struct ps_buf *out)
{
	ps_buf_printf(out,
		      "\r\n--%s\r\n"
		      "Content-Type: message/%s\r\n"
		      "%s"
		      "\r\n",
		      shape->boundary, shape->global ? "global-delivery-status" : "delivery-status",
		      shape->global ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	report_fields(report, shape->global, out);
}

/* The message, or its header. */
static void put_original(const struct shape *shape, struct ps_buf *out)
{
	const struct original *original = &shape->original;
	bool global = shape->global && original->has_8bit;
	bool quoted = original->has_8bit && !original->whole && !global;
	const char *type = original->whole ? (global ? "message/global" : "message/rfc822")
					   : (global ? "message/global-headers" : "text/rfc822-headers");

	ps_buf_printf(out, "\r\n--%s\r\nContent-Type: %s\r\n", shape->boundary, type);
	if (original->has_8bit)
		ps_buf_printf(out, "Content-Transfer-Encoding: %s\r\n", quoted ? "quoted-printable" : "8bit");
	ps_buf_str(out, "\r\n");
	if (quoted) {
		struct ps_buf lines = {0};

		for (size_t i = 0; i < original->octets.len; i++)
			if (original->octets.ptr[i] != '\r')
				ps_buf_char(&lines, (char)original->octets.ptr[i]);
		report_quoted_printable(ps_buf_view(&lines), out);
		ps_buf_finish(&lines);
	} else {
		ps_buf_bytes(out, ps_buf_view(&original->octets));
	}
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int write_all(int file, struct ps_bytes octets)
{
	while (octets.len > 0) {
		ssize_t n = write(file, octets.ptr, octets.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ps_fail_errno("write a report");
		octets = ps_bytes_skip(octets, (size_t)n);
	}
	return 0;
}

/* Fields are one line each: an address must not hold what would make them more. */
static int check(const struct ps_report *report)
{
	if (report->count == 0 || !report->reverse_path || !*report->reverse_path)
		return ps_fail(PS_E_INVALID, "a report to nobody, or of nothing");
	for (const char *at = report->reverse_path; *at; at++)
		if ((uint8_t)*at < ' ' || *at == 0x7f)
			return ps_fail(PS_E_INVALID, "a report to an address with a control octet");
	return 0;
}

int ps_report_write(const struct ps_report *report, int out_file, uint64_t *ret_size, uint32_t *ret_options)
{
	struct shape shape = {0};
	struct ps_buf out = {0};
	int r = check(report);

	if (r == 0 && (r = shape_init(report, &shape)) == 0) {
		put_header(report, &shape, &out);
		put_text(report, &shape, &out);
		put_status(report, &shape, &out);
		put_original(&shape, &out);
		ps_buf_printf(&out, "\r\n--%s--\r\n", shape.boundary);
		r = out.failed ? ps_fail(PS_E_LIMIT, "no memory for a report") : write_all(out_file, ps_buf_view(&out));
	}
	if (r == 0) {
		bool utf8 = shape.global || !report_is_ascii(report->reverse_path);
		bool has_8bit = shape.global || (shape.original.whole && shape.original.has_8bit);

		*ret_size = out.len;
		*ret_options = (utf8 ? PS_MAIL_SMTPUTF8 | PS_MAIL_8BITMIME : 0) | (has_8bit ? PS_MAIL_8BITMIME : 0) |
			       (report->options & PS_MAIL_REQUIRETLS);
	}
	original_finish(&shape.original);
	ps_buf_finish(&out);
	return r;
}
