/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/delivery/client/outgoing.h"
#include "core/message/seven.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	PIECE_SIZE = 64 * 1024
};

static int put_lines(void *arg, struct ps_bytes octets);

void outgoing_init(struct outgoing *out, int file, uint64_t size, enum outgoing_form form, bool stuff)
{
	*out = (struct outgoing){.file = file,
				 .size = size,
				 .raw = form == OUTGOING_RAW,
				 .stuff = stuff,
				 .piece = ps_malloc(PIECE_SIZE)};
	if (form == OUTGOING_SEVEN)
		out->convert = ps_unbinary_create_seven(put_lines, out);
}

void outgoing_finish(struct outgoing *out)
{
	ps_unbinary_destroy(out->convert);
	out->convert = NULL;
	free(out->piece);
	out->piece = NULL;
}

static int read_piece(int file, uint64_t at, uint64_t size, uint8_t *piece, size_t *ret_len)
{
	size_t len = size - at < PIECE_SIZE ? (size_t)(size - at) : PIECE_SIZE;
	ssize_t n;

	do
		n = len > 0 ? pread(file, piece, len, (off_t)at) : 0;
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return ps_fail_errno("read the message");
	if (n == 0 && len > 0)
		return ps_fail(PS_E_STORAGE, "the message's file is shorter than it was");
	*ret_len = (size_t)n;
	return 0;
}

static void end_line(struct outgoing *out, struct ps_buf *to)
{
	ps_buf_append(to, "\r\n", 2);
	out->in_line = false;
	out->cr = false;
}

/* An octet: the way for what is not a plain line. */
static void put(struct outgoing *out, struct ps_buf *to, uint8_t c)
{
	if (c == '\n') {
		end_line(out, to);
		return;
	}
	if (out->cr)
		end_line(out, to); /* it was a bare one */
	if (c == '\r') {
		out->cr = true;
		return;
	}
	if (c == '.' && !out->in_line && out->stuff)
		ps_buf_char(to, '.');
	out->in_line = true;
	ps_buf_char(to, (char)c);
}

/* The octets up to the end of a line, or of the piece; returns how many. */
static size_t put_line(struct outgoing *out, struct ps_buf *to, struct ps_bytes rest)
{
	ptrdiff_t end = ps_bytes_find(rest, '\n');
	size_t len = end < 0 ? rest.len : (size_t)end + 1;
	size_t text = end > 0 && rest.ptr[end - 1] == '\r' ? (size_t)end - 1 : len;

	if (!out->cr && text < len && !memchr(rest.ptr, '\r', text)) {
		if (rest.ptr[0] == '.' && !out->in_line && out->stuff)
			ps_buf_char(to, '.');
		ps_buf_append(to, rest.ptr, len);
		out->in_line = false;
		return len;
	}
	for (size_t i = 0; i < len; i++)
		put(out, to, rest.ptr[i]);
	return len;
}

static int put_lines(void *arg, struct ps_bytes octets)
{
	struct outgoing *out = arg;

	while (octets.len > 0)
		octets = ps_bytes_skip(octets, put_line(out, out->to, octets));
	return 0;
}

static void put_piece(struct outgoing *out, struct ps_bytes piece)
{
	if (out->raw)
		ps_buf_bytes(out->to, piece);
	else if (out->convert)
		ps_unbinary_feed(out->convert, piece);
	else
		put_lines(out, piece);
}

static void put_end(struct outgoing *out)
{
	if (out->convert)
		ps_unbinary_finish(out->convert);
	if (!out->raw && (out->in_line || out->cr))
		end_line(out, out->to);
}

int outgoing_fill(struct outgoing *out, struct ps_buf *to)
{
	size_t len = 0;
	int r = read_piece(out->file, out->at, out->size, out->piece, &len);

	if (r < 0)
		return r;
	out->at += len;
	out->to = to;
	put_piece(out, ps_bytes(out->piece, len));
	if (out->at < out->size)
		return 0;
	put_end(out);
	return 1;
}

struct look {
	bool header;  /* we are in it */
	bool in_line; /* that has octets other than CR */
};

static void look_at(struct look *look, struct ps_bytes piece, bool *ret_header, bool *ret_body)
{
	for (size_t i = 0; i < piece.len; i++) {
		uint8_t c = piece.ptr[i];

		if (c >= 0x80)
			*(look->header ? ret_header : ret_body) = true;
		if (c == '\n' && !look->in_line)
			look->header = false;
		if (c != '\r')
			look->in_line = c != '\n';
	}
}

int outgoing_look(int file, uint64_t size, enum outgoing_form form, bool *ret_header, bool *ret_body)
{
	struct look look = {.header = true};
	bool header = false, body = false;
	struct ps_buf sent = {0};
	struct outgoing out;
	int r;

	outgoing_init(&out, file, size, form, false);
	do {
		ps_buf_reset(&sent);
		r = outgoing_fill(&out, &sent);
		look_at(&look, ps_buf_view(&sent), &header, &body);
	} while (r == 0);
	outgoing_finish(&out);
	ps_buf_finish(&sent);
	if (r < 0)
		return r;
	*ret_header = header;
	*ret_body = body;
	return 0;
}
