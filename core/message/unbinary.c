/* SPDX-License-Identifier: MIT */
/*
 * Binary parts become base64 as the message goes by; for servers that take 7 bits only, those of 8 bits too.
 *
 * The push parser (derive.c) is given the message a line at a time and asked what the line was: of a header, a delimiter, or
 * of a body. A line that may be a delimiter is kept until the parser knows, and the line end ahead of it too, since that is the
 * delimiter's.
 */
#include <stdlib.h>
#include "core/message/derive.h"
#include "core/message/lex.h"
#include "core/message/seven.h"
#include "postern/message.h"

enum {
	HEADER_HELD_MAX = 1 << 20,
	RUN_MAX = 4096,     /* octets of a line taken at a time */
	BASE64_OCTETS = 57, /* make a line of 76 characters, RFC 2045 section 6.8 */
};

struct ps_unbinary {
	int (*write)(void *arg, struct ps_bytes octets);
	void *arg;
	bool seven; /* what is 8bit becomes base64, too */
	struct ps_derive *derive;
	struct ps_buf line; /* what the parser has not decided about */
	bool in_header;     /* the line in progress began in one */
	uint32_t headers;   /* that have ended, as the parser counts them */
	struct ps_buf header;
	bool header_passes; /* it is too long to be held */
	bool encoding;      /* the body in progress becomes base64 */
	struct ps_buf held; /* the last line end, which may not be of the body */
	uint8_t group[BASE64_OCTETS];
	size_t group_len;
	bool has_lines; /* of base64 */
	struct ps_buf out;
};

struct ps_unbinary *ps_unbinary_create(int (*write)(void *arg, struct ps_bytes octets), void *arg)
{
	struct ps_unbinary *u = ps_zalloc(sizeof *u);

	u->write = write;
	u->arg = arg;
	u->derive = ps_derive_create();
	return u;
}

struct ps_unbinary *ps_unbinary_create_seven(int (*write)(void *arg, struct ps_bytes octets), void *arg)
{
	struct ps_unbinary *u = ps_unbinary_create(write, arg);

	u->seven = true;
	return u;
}

void ps_unbinary_destroy(struct ps_unbinary *u)
{
	if (!u)
		return;
	ps_derive_destroy(u->derive);
	ps_buf_finish(&u->line);
	ps_buf_finish(&u->header);
	ps_buf_finish(&u->held);
	ps_buf_finish(&u->out);
	free(u);
}

static int write_octets(struct ps_unbinary *u, struct ps_bytes octets)
{
	return octets.len > 0 ? u->write(u->arg, octets) : 0;
}

static int write_and_reset(struct ps_unbinary *u, struct ps_buf *octets)
{
	int r = write_octets(u, ps_buf_view(octets));

	ps_buf_reset(octets);
	return r;
}

/* ---- bodies ----------------------------------------------------------------------------------- */

static void encode_group(struct ps_unbinary *u)
{
	if (u->group_len == 0)
		return;
	if (u->has_lines)
		ps_buf_str(&u->out, "\r\n");
	ps_base64_encode(&u->out, ps_bytes(u->group, u->group_len));
	u->has_lines = true;
	u->group_len = 0;
}

static void encode(struct ps_unbinary *u, struct ps_bytes octets)
{
	while (octets.len > 0) {
		size_t room = BASE64_OCTETS - u->group_len;
		size_t n = octets.len < room ? octets.len : room;

		memcpy(u->group + u->group_len, octets.ptr, n);
		u->group_len += n;
		octets = ps_bytes_skip(octets, n);
		if (u->group_len == BASE64_OCTETS)
			encode_group(u);
	}
}

static size_t line_end_length(struct ps_bytes octets)
{
	size_t n = octets.len > 0 && octets.ptr[octets.len - 1] == '\n';

	return n + (octets.len > n && octets.ptr[octets.len - n - 1] == '\r');
}

static int take_body(struct ps_unbinary *u, struct ps_bytes octets)
{
	size_t end = line_end_length(octets);

	if (!u->encoding)
		return write_octets(u, octets);
	/* A CR that was held and the LF of its line end */
	if (octets.len == 1 && end == 1 && octets.ptr[0] == '\n' && ps_bytes_eq_str(ps_buf_view(&u->held), "\r"))
		return ps_buf_bytes(&u->held, octets);
	encode(u, ps_buf_view(&u->held));
	ps_buf_reset(&u->held);
	encode(u, ps_bytes(octets.ptr, octets.len - end));
	ps_buf_append(&u->held, octets.ptr + octets.len - end, end);
	return write_and_reset(u, &u->out);
}

/* At a delimiter: the line end ahead of it stays as it is. */
static int end_body(struct ps_unbinary *u)
{
	int r;

	if (!u->encoding)
		return 0;
	u->encoding = false;
	encode_group(u);
	r = write_and_reset(u, &u->out);
	return r == 0 ? write_and_reset(u, &u->held) : r;
}

/* ---- headers ---------------------------------------------------------------------------------- */

/* Whether a part of this Content-Transfer-Encoding is to have another. */
static bool is_to_change(const struct ps_unbinary *u, struct ps_bytes value)
{
	struct lex lex = lex_start(value);
	struct ps_buf token = {0};
	bool change = false;

	lex_skip_cfws(&lex, NULL);
	if (lex_token(&lex, &token))
		change = ps_bytes_caseeq_str(ps_buf_view(&token), "binary") ||
			 (u->seven && ps_bytes_caseeq_str(ps_buf_view(&token), "8bit"));
	ps_buf_finish(&token);
	return change;
}

/* Where Content-Transfer-Encoding is, if it is to change. */
static bool find_encoding(const struct ps_unbinary *u, struct ps_bytes header, size_t *ret_from, size_t *ret_to)
{
	struct ps_header_walk walk = {header};
	struct ps_bytes name, value;

	while (ps_header_next(&walk, &name, &value)) {
		if (!ps_bytes_caseeq_str(name, "Content-Transfer-Encoding"))
			continue;
		*ret_from = (size_t)(name.ptr - header.ptr);
		*ret_to = (size_t)(walk.rest.ptr - header.ptr);
		return is_to_change(u, value);
	}
	return false;
}

/* The header is whole: it goes out, with another encoding where that is due. */
static int end_header(struct ps_unbinary *u)
{
	const struct entity *entity = &u->derive->tree.entities[u->derive->described];
	struct ps_bytes header = ps_buf_view(&u->header);
	size_t from, to;

	if (find_encoding(u, header, &from, &to)) {
		u->encoding = entity->kind == ENTITY_LEAF;
		u->group_len = 0;
		u->has_lines = false;
		ps_buf_append(&u->out, header.ptr, from);
		ps_buf_str(&u->out, "Content-Transfer-Encoding: ");
		ps_buf_str(&u->out, u->encoding ? "base64\r\n" : u->seven ? "7bit\r\n" : "8bit\r\n");
		ps_buf_bytes(&u->out, ps_bytes_skip(header, to));
	} else {
		ps_buf_bytes(&u->out, header);
	}
	ps_buf_finish(&u->header);
	return write_and_reset(u, &u->out);
}

static int take_header(struct ps_unbinary *u, struct ps_bytes octets)
{
	bool ended = u->derive->headers != u->headers;
	int r = 0;

	u->headers = u->derive->headers;
	if (!u->header_passes && u->header.len + octets.len > HEADER_HELD_MAX) {
		u->header_passes = true;
		r = write_and_reset(u, &u->header);
	}
	if (r == 0 && u->header_passes)
		r = write_octets(u, octets);
	else if (r == 0)
		r = ps_buf_bytes(&u->header, octets);
	if (r != 0 || !ended)
		return r;
	if (u->header_passes) {
		u->header_passes = false;
		return 0;
	}
	return end_header(u);
}

/* ---- lines ------------------------------------------------------------------------------------ */

/* A delimiter ends what is open: a body, or a header that was none. */
static int take_delimiter(struct ps_unbinary *u, struct ps_bytes octets)
{
	int r = end_body(u);

	u->headers = u->derive->headers;
	u->header_passes = false;
	if (r == 0)
		r = write_and_reset(u, &u->header);
	return r == 0 ? write_octets(u, octets) : r;
}

/* What was gathered, now that the parser knows what it is. */
static int take_line(struct ps_unbinary *u)
{
	struct ps_bytes octets = ps_buf_view(&u->line);
	int r;

	if (u->derive->delimiter)
		r = take_delimiter(u, octets);
	else if (u->in_header)
		r = take_header(u, octets);
	else
		r = take_body(u, octets);
	ps_buf_reset(&u->line);
	return r;
}

int ps_unbinary_feed(struct ps_unbinary *u, struct ps_bytes in)
{
	int r = 0;

	while (r == 0 && in.len > 0) {
		ptrdiff_t lf = ps_bytes_find(in, '\n');
		size_t n = lf < 0 ? in.len : (size_t)lf + 1;

		if (n > RUN_MAX)
			n = RUN_MAX;
		if (u->derive->state == LINE_START)
			u->in_header = u->derive->in_header;
		ps_buf_append(&u->line, in.ptr, n);
		ps_derive_feed(u->derive, ps_bytes(in.ptr, n));
		in = ps_bytes_skip(in, n);
		if (u->derive->state != LINE_PROBE)
			r = take_line(u);
	}
	return r;
}

int ps_unbinary_finish(struct ps_unbinary *u)
{
	struct ps_bytes cache;
	uint64_t size;
	int r = 0;

	ps_derive_finish(u->derive, &size, &cache);
	if (u->line.len > 0)
		r = take_line(u);
	if (r == 0)
		r = write_and_reset(u, &u->header);
	if (r != 0 || !u->encoding)
		return r;
	encode(u, ps_buf_view(&u->held));
	ps_buf_reset(&u->held);
	if (u->group_len > 0 || u->has_lines)
		ps_buf_str(&u->held, "\r\n");
	return end_body(u);
}
