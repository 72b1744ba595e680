/* SPDX-License-Identifier: MIT */
/* The message that a report is about: what of it goes back, and by what it is known. */
#include <errno.h>
#include <unistd.h>
#include "core/delivery/report/private.h"
#include "core/message/msgid.h"
#include "postern/error.h"
#include "postern/message.h"
#include "postern/pool.h"

static int read_start(const struct ps_report *report, uint64_t most, struct ps_buf *out)
{
	while (out->len < most) {
		size_t room = most - out->len < 65536 ? (size_t)(most - out->len) : 65536;
		uint8_t *at = ps_buf_reserve(out, room);
		ssize_t n = at ? pread(report->file, at, room, (off_t)out->len) : -1;

		if (!at)
			return PS_E_LIMIT;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ps_fail_errno("read the message of a report");
		if (n == 0)
			return 0;
		out->len += (size_t)n;
	}
	return 0;
}

/* The header with its last line end; all there is when nothing ends it. */
static struct ps_bytes header_of(struct ps_bytes message)
{
	const uint8_t *end;

	if (message.len >= 2 && memcmp(message.ptr, "\r\n", 2) == 0)
		return ps_bytes(message.ptr, 0);
	end = message.len == 0 ? NULL : memmem(message.ptr, message.len, "\r\n\r\n", 4);
	return end ? ps_bytes(message.ptr, (size_t)(end - message.ptr) + 2) : message;
}

/* Whether every mail program and server can take it as it is. */
static bool is_clean(struct ps_bytes message)
{
	size_t column = 0;

	for (size_t i = 0; i < message.len; i++) {
		uint8_t c = message.ptr[i];

		if (c == '\r' && i + 1 < message.len && message.ptr[i + 1] == '\n') {
			i++;
			column = 0;
		} else if (c == '\0' || c == '\r' || c == '\n' || ++column > REPORT_LINE_MAX) {
			return false;
		}
	}
	return true;
}

/* Octets of a header, on lines that may be. */
static void put_octets(struct ps_bytes octets, size_t *column, struct ps_buf *out)
{
	for (size_t i = 0; i < octets.len; i++) {
		uint8_t c = octets.ptr[i];

		if (c == '\r' && i + 1 < octets.len && octets.ptr[i + 1] == '\n') {
			ps_buf_str(out, "\r\n");
			*column = 0;
			i++;
			continue;
		}
		if (*column >= REPORT_LINE_MAX) {
			ps_buf_str(out, "\r\n ");
			*column = 1;
		}
		ps_buf_char(out, c == '\0' || c == '\r' || c == '\n' ? '?' : (char)c);
		++*column;
	}
}

/* A header of whatever kind, cut at a field. */
static void put_header(struct ps_bytes header, struct ps_buf *out)
{
	struct ps_header_walk walk = {header};
	struct ps_bytes name, value;

	while (ps_header_next(&walk, &name, &value) && out->len + name.len + value.len <= REPORT_HEADER_MAX) {
		size_t column = 0;

		put_octets(name, &column, out);
		put_octets(ps_bytes_str(":"), &column, out);
		put_octets(value, &column, out);
		ps_buf_str(out, "\r\n");
	}
}

static void remember(struct ps_bytes name, struct ps_bytes value, struct original *original)
{
	if (ps_bytes_caseeq_str(name, "Message-ID") && original->message_id.len == 0)
		ps_msgid_next(&value, &original->message_id);
	else if (ps_bytes_caseeq_str(name, "Subject") && original->subject.len == 0)
		ps_header_decode(value, &original->subject);
	else if (ps_bytes_caseeq_str(name, "Date") && original->date.len == 0)
		ps_header_decode(value, &original->date);
}

/* What would end the lines that they are put in, or is no id, is left out. */
static bool is_lawful_id(const struct ps_buf *id)
{
	for (size_t i = 0; i < id->len; i++)
		if (id->ptr[i] <= ' ' || id->ptr[i] >= 0x7f || strchr("<>", id->ptr[i]))
			return false;
	return id->len > 0 && id->len <= 250;
}

/* The whole only where the sender asked for it, and something failed (RFC 3461 section 6.2 (j)), and not if it may not be
 * read on its way (RFC 8689 section 5). */
static bool wants_whole(const struct ps_report *report)
{
	bool failed = false;

	for (size_t i = 0; i < report->count; i++)
		failed = failed || report->recipients[i].action == PS_REPORT_FAILED;
	return failed && (report->options & PS_MAIL_RET_FULL) && !(report->options & PS_MAIL_REQUIRETLS) &&
	       report->size <= report->returned_max;
}

int original_read(const struct ps_report *report, struct original *original)
{
	uint64_t most = wants_whole(report) ? report->size : REPORT_HEADER_MAX;
	struct ps_buf message = {0};
	struct ps_header_walk walk;
	struct ps_bytes name, value;
	int r = read_start(report, most < report->size ? most : report->size, &message);

	walk.rest = header_of(ps_buf_view(&message));
	while (r == 0 && ps_header_next(&walk, &name, &value))
		remember(name, value, original);
	if (!is_lawful_id(&original->message_id))
		ps_buf_reset(&original->message_id);
	ps_buf_cstr(&original->message_id);
	ps_buf_cstr(&original->subject);
	ps_buf_cstr(&original->date);
	original->whole = wants_whole(report) && is_clean(ps_buf_view(&message));
	if (r == 0 && original->whole)
		r = ps_buf_bytes(&original->octets, ps_buf_view(&message));
	else if (r == 0)
		put_header(header_of(ps_buf_view(&message)), &original->octets);
	ps_buf_finish(&message);
	for (size_t i = 0; i < original->octets.len && !original->has_8bit; i++)
		original->has_8bit = original->octets.ptr[i] >= 0x80;
	return r;
}

void original_finish(struct original *original)
{
	ps_buf_finish(&original->octets);
	ps_buf_finish(&original->message_id);
	ps_buf_finish(&original->subject);
	ps_buf_finish(&original->date);
}
