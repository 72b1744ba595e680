/* SPDX-License-Identifier: MIT */
/* RETR and TOP: a message, its lines guarded against "." (RFC 1939 section 3), a piece at a time. */
#include <inttypes.h>
#include <stdlib.h>
#include "postern/log.h"
#include "protocols/pop3/pop3.h"

struct pop3_content {
	uint32_t number;
	struct ps_body body;
	struct ps_body_stream *stream;
	bool whole;      /* RETR; else TOP with */
	uint32_t lines;  /* of the body that are still wanted */
	bool in_body;    /* the blank line has passed */
	size_t line_len; /* octets of the line so far */
	bool ended;      /* TOP: that was all */
};

void pop3_content_leave(struct pop3 *pop3)
{
	struct pop3_content *content = pop3->content;

	if (!content)
		return;
	ps_body_stream_destroy(content->stream);
	ps_view_body_close(pop3->view, &content->body);
	free(content);
	pop3->content = NULL;
}

/* The span of the whole message, by its cache. */
static int find_span(struct pop3 *pop3, uint32_t uid, struct ps_span *ret_span)
{
	struct ps_reader *reader;
	struct ps_cache cache;
	int r = ps_reader_open(pop3->view, &reader);

	if (r < 0)
		return r;
	if ((r = ps_reader_cache(reader, uid, &cache)) == 0)
		r = ps_cache_section(&cache, NULL, 0, PS_SECTION_ALL, ret_span);
	ps_reader_close(reader);
	return r;
}

static int open_content(struct pop3 *pop3, uint32_t number)
{
	uint32_t uid = ps_view_row(pop3->view, number)->uid;
	struct pop3_content *content;
	struct ps_span span;
	struct ps_body body;
	int r = find_span(pop3, uid, &span);

	if (r < 0 || (r = ps_view_body(pop3->view, uid, &body)) < 0)
		return r;
	content = ps_zalloc(sizeof *content);
	content->number = number;
	content->body = body;
	content->stream = ps_body_stream_create(&content->body, &span, 0, span.length);
	pop3->content = content;
	return 0;
}

/* Counts a line that has ended; true when the next is not wanted. */
static bool line_ends(struct pop3_content *content)
{
	bool blank = content->line_len == 2;

	content->line_len = 0;
	if (content->whole)
		return false;
	if (content->in_body)
		content->lines--;
	else if (blank)
		content->in_body = true;
	return content->in_body && content->lines == 0;
}

/* Writes octets, which have CRLF for each line end. */
static void put_octets(struct ps_session *s, struct pop3_content *content, struct ps_bytes octets)
{
	size_t written = 0, at = 0;

	while (at < octets.len && !content->ended) {
		const uint8_t *lf = memchr(octets.ptr + at, '\n', octets.len - at);
		size_t end = lf ? (size_t)(lf - octets.ptr) + 1 : octets.len;

		if (content->line_len == 0 && octets.ptr[at] == '.') {
			ps_session_write(s, octets.ptr + written, at - written);
			ps_session_write(s, ".", 1);
			written = at;
		}
		content->line_len += end - at;
		if (lf)
			content->ended = line_ends(content);
		at = end;
	}
	ps_session_write(s, octets.ptr + written, at - written);
}

static enum pop3_next end_content(struct pop3 *pop3)
{
	struct pop3_content *content = pop3->content;

	if (content->whole)
		pop3->marks[content->number - 1] |= POP3_READ;
	ps_session_printf(pop3->session, "%s.\r\n", content->line_len > 0 ? "\r\n" : "");
	pop3_content_leave(pop3);
	return POP3_NEXT;
}

/* Half a message is gone out: nothing but the end of the connection says so. */
static enum pop3_next break_off(struct pop3 *pop3)
{
	ps_log(PS_LOG_ERROR, "retrieve_failed", "sid", ps_session_sid(pop3->session), "msg", ps_last_error(), NULL);
	pop3_content_leave(pop3);
	pop3->closing = true;
	return POP3_NEXT;
}

static enum pop3_next send_content(struct pop3 *pop3)
{
	struct pop3_content *content = pop3->content;
	struct ps_bytes octets;

	while (!content->ended) {
		if (ps_body_stream_next(content->stream, &octets) < 0)
			return break_off(pop3);
		if (octets.len == 0)
			break;
		put_octets(pop3->session, content, octets);
		if (pop3_should_yield(pop3)) {
			ps_view_body_rest(pop3->view, &content->body);
			return POP3_WAIT;
		}
	}
	return end_content(pop3);
}

static enum pop3_next begin(struct pop3 *pop3, uint32_t number, bool whole, uint32_t lines)
{
	int r = open_content(pop3, number);

	if (r == PS_E_GONE)
		return pop3_err(pop3, "That message is gone; another session has removed it");
	if (r < 0) {
		ps_log(PS_LOG_ERROR, "retrieve_failed", "sid", ps_session_sid(pop3->session), "msg", ps_last_error(),
		       NULL);
		return pop3_err(pop3, pop3_is_lasting(r) ? "[SYS/PERM] That message cannot be read"
							 : "[SYS/TEMP] That message cannot be read now");
	}
	pop3->content->whole = whole;
	pop3->content->lines = lines;
	ps_session_printf(pop3->session, "+OK %" PRIu64 " octets\r\n", ps_view_row(pop3->view, number)->size);
	pop3->errors = 0;
	pop3->go_on = send_content;
	return send_content(pop3);
}

enum pop3_next pop3_retr(struct pop3 *pop3, struct ps_bytes argument)
{
	uint32_t number = pop3_number(pop3, argument);

	return number ? begin(pop3, number, true, 0) : POP3_NEXT;
}

enum pop3_next pop3_top(struct pop3 *pop3, struct ps_bytes argument)
{
	ptrdiff_t blank = ps_bytes_find(argument, ' ');
	uint32_t number, lines;

	if (blank < 0 || ps_bytes_u32(ps_bytes_skip(argument, (size_t)blank + 1), &lines) < 0)
		return pop3_err(pop3, "TOP takes a message number and a number of lines");
	number = pop3_number(pop3, ps_bytes(argument.ptr, (size_t)blank));
	return number ? begin(pop3, number, false, lines) : POP3_NEXT;
}
