/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "protocols/smtp/lines.h"

/* How many octets there are before the first CR or LF. */
static size_t plain(struct ps_bytes octets)
{
	const uint8_t *lf = memchr(octets.ptr, '\n', octets.len);
	size_t n = lf ? (size_t)(lf - octets.ptr) : octets.len;
	const uint8_t *cr = memchr(octets.ptr, '\r', n);

	return cr ? (size_t)(cr - octets.ptr) : n;
}

static void take_plain(struct smtp_lines *lines, struct ps_bytes octets, struct ps_buf *out)
{
	lines->has_nul = lines->has_nul || memchr(octets.ptr, '\0', octets.len);
	ps_buf_bytes(out, octets);
}

/* A CR went out, and no LF came behind it. */
static void end_bare_cr(struct smtp_lines *lines, struct ps_buf *out)
{
	lines->bare = true;
	if (lines->convert)
		ps_buf_char(out, '\n');
}

static void take_lf(struct smtp_lines *lines, struct ps_buf *out)
{
	bool whole = lines->state == LINES_CR;

	if (!whole) {
		lines->bare = true;
		if (lines->convert)
			ps_buf_char(out, '\r');
	}
	ps_buf_char(out, '\n');
	lines->state = whole ? LINES_START : LINES_WITHIN;
}

/* An octet in the middle of a line, or one with nothing special before it. */
static void take_within(struct smtp_lines *lines, uint8_t octet, struct ps_buf *out)
{
	if (octet == '\n') {
		take_lf(lines, out);
		return;
	}
	if (lines->state == LINES_CR)
		end_bare_cr(lines, out);
	lines->has_nul = lines->has_nul || octet == '\0';
	ps_buf_char(out, (char)octet);
	lines->state = octet == '\r' ? LINES_CR : LINES_WITHIN;
}

/* One octet where more than its value counts. */
static void take_one(struct smtp_lines *lines, uint8_t octet, struct ps_buf *out)
{
	if (lines->state == LINES_START && octet == '.' && !lines->counted) {
		lines->state = LINES_DOT; /* left out: it was added, or it is the end */
	} else if (lines->state == LINES_DOT && octet == '\r') {
		lines->state = LINES_DOT_CR;
	} else if (lines->state == LINES_DOT_CR && octet == '\n') {
		lines->state = LINES_END;
	} else {
		if (lines->state == LINES_DOT_CR) { /* the CR was not the end's */
			ps_buf_char(out, '\r');
			lines->state = LINES_CR;
		}
		take_within(lines, octet, out);
	}
}

size_t smtp_lines_take(struct smtp_lines *lines, struct ps_bytes octets, struct ps_buf *out)
{
	size_t at = 0;

	while (at < octets.len && lines->state != LINES_END) {
		size_t n = lines->state == LINES_WITHIN ? plain(ps_bytes_skip(octets, at)) : 0;

		if (n > 0)
			take_plain(lines, ps_bytes(octets.ptr + at, n), out);
		else
			take_one(lines, octets.ptr[at], out);
		at += n > 0 ? n : 1;
	}
	return at;
}

void smtp_lines_finish(struct smtp_lines *lines, struct ps_buf *out)
{
	if (lines->state == LINES_CR)
		end_bare_cr(lines, out);
	else if (lines->state == LINES_WITHIN)
		ps_buf_str(out, "\r\n");
	lines->state = LINES_END;
}
