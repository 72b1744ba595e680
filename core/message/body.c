/* SPDX-License-Identifier: MIT */
/* A message's octets as they are sent, from however they lie. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/message/body.h"
#include "postern/pool.h"

enum {
	PIECE = 64 * 1024,
	LINE = 1024, /* most first lines are shorter */
};

struct ps_body_stream {
	const struct ps_body *body;
	uint64_t at, end;            /* raw octets from the start of the body */
	struct ps_body_place *place; /* what was counted before; NULL: nobody keeps it */
	uint64_t wire;               /* where `at` is on the wire, as long as it is counted */
	uint64_t skip;               /* wire octets to pass over */
	uint64_t left;               /* wire octets to give */
	bool convert;                /* bare LFs are to be found */
	bool keep_nul;
	bool cr;       /* the last raw octet was CR */
	size_t piece;  /* of raw octets, at most */
	uint8_t *room; /* for two pieces: what is read from a file goes into the second half; NULL: none was needed */
	struct ps_span span;
	uint64_t from;
	bool started; /* it is known where to begin */
};

static int piece_of_file(const struct ps_body *body, uint64_t at, uint8_t *space, size_t room,
			 struct ps_bytes *ret_octets)
{
	ssize_t n;

	do
		n = pread(body->fd, space, room, (off_t)(body->offset + at));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return ps_fail_errno("read a message");
	if (n == 0)
		return ps_fail(PS_E_STORAGE, "a message is shorter than it was");
	*ret_octets = ps_bytes(space, (size_t)n);
	return 0;
}

int ps_body_piece(const struct ps_body *body, uint64_t at, uint8_t *space, size_t room, struct ps_bytes *ret_octets)
{
	size_t want = body->length - at < room ? (size_t)(body->length - at) : room;
	struct ps_bytes octets;
	int r;

	if (body->data) {
		*ret_octets = ps_bytes(body->data + at, want);
		return 0;
	}
	if (body->fd >= 0)
		return piece_of_file(body, at, space, want, ret_octets);
	if ((r = body->read(body, at, &octets)) < 0)
		return r;
	if (octets.len > want)
		octets.len = want;
	*ret_octets = octets;
	return 0;
}

static uint8_t *room(struct ps_body_stream *r)
{
	if (!r->room)
		r->room = ps_malloc(2 * r->piece);
	return r->room;
}

/* The next raw octets, at most `max` and a piece. Those of a body in memory stay where they are. */
static int next_piece(struct ps_body_stream *r, uint64_t max, struct ps_bytes *ret)
{
	uint8_t *space = r->body->fd < 0 ? NULL : room(r) + r->piece;
	int result = ps_body_piece(r->body, r->at, space, max < r->piece ? (size_t)max : r->piece, ret);

	if (result == 0)
		r->at += ret->len;
	return result;
}

/* NUL may not be sent, and the body may be where we must not write. */
static struct ps_bytes without_nul(struct ps_body_stream *r, struct ps_bytes wire)
{
	uint8_t *ours, *nul;

	if (r->keep_nul || !memchr(wire.ptr, 0, wire.len))
		return wire;
	ours = room(r);
	if (wire.ptr < ours || wire.ptr >= ours + 2 * r->piece)
		wire.ptr = memcpy(ours, wire.ptr, wire.len);
	for (uint8_t *at = ours + (wire.ptr - ours), *end = at + wire.len; (nul = memchr(at, 0, (size_t)(end - at)));
	     at = nul)
		*nul = 0x80;
	return wire;
}

/* Most reads are of headers: they need no more than is ahead of their end. */
static size_t piece_size(uint64_t octets)
{
	return octets < LINE ? LINE : octets < PIECE ? (size_t)octets : PIECE;
}

/* What the request has of these wire octets. */
static struct ps_bytes clip(struct ps_body_stream *r, struct ps_bytes wire)
{
	size_t n = r->skip < wire.len ? (size_t)r->skip : wire.len;

	r->skip -= n;
	wire = ps_bytes_skip(wire, n);
	if (wire.len > r->left)
		wire.len = (size_t)r->left;
	r->left -= wire.len;
	return wire;
}

/*
 * A piece with a CR put before each LF that has none. It may lie in the second half of our room, and is written to the
 * first: as an octet becomes two at most, writing does not overtake reading.
 */
static struct ps_bytes to_wire(struct ps_body_stream *r, struct ps_bytes raw)
{
	const uint8_t *at = raw.ptr, *end = at + raw.len, *lf;
	uint8_t *to = room(r);

	while (at < end && (lf = memchr(at, '\n', (size_t)(end - at)))) {
		size_t n = (size_t)(lf - at);
		bool cr = n ? lf[-1] == '\r' : r->cr;

		memcpy(to, at, n);
		to += n;
		if (!cr)
			*to++ = '\r';
		*to++ = '\n';
		r->cr = false;
		at = lf + 1;
	}
	if (at < end) {
		r->cr = end[-1] == '\r';
		memcpy(to, at, (size_t)(end - at));
		to += end - at;
	}
	return ps_bytes(r->room, (size_t)(to - r->room));
}

/* Whether the first line of the body ends without CR. */
static int starts_bare(struct ps_body_stream *r, bool *ret_bare)
{
	struct ps_bytes piece = {NULL, 0};
	bool cr = false;

	for (r->at = 0; r->at < r->end;) {
		int result = next_piece(r, LINE, &piece);
		ptrdiff_t lf;

		if (result < 0)
			return result;
		lf = ps_bytes_find(piece, '\n');
		if (lf >= 0) {
			*ret_bare = lf > 0 ? piece.ptr[lf - 1] != '\r' : !cr;
			return 0;
		}
		cr = piece.ptr[piece.len - 1] == '\r';
	}
	*ret_bare = false;
	return 0;
}

/* With bare LFs, where a wire octet lies is only known by counting from a place that is known. */
static void count_from(struct ps_body_stream *r, uint64_t wire)
{
	const struct ps_body_place *place = r->place;
	bool ahead = place && place->wire <= wire;

	r->at = ahead ? place->raw : 0;
	r->wire = ahead ? place->wire : 0;
	r->cr = ahead && place->cr;
	r->skip = wire - r->wire;
}

/*
 * Decides where to start. A cache made from CRLF octets may be given with a body that was put away
 * with bare LFs; its raw places are those of the CRLF form then. This is so if the span says that
 * no bare LF is in or before it and yet the first line ends in one: then only the wire places
 * count, and reading starts with the message.
 */
static int seek(struct ps_body_stream *r, const struct ps_span *span, uint64_t from)
{
	bool same = span->raw_offset == span->offset && span->raw_length == span->length;
	bool bare = same && r->place && r->place->bare;
	int result;

	r->end = r->body->length;
	if (r->body->wire_form) {
		r->at = span->offset + from;
		return 0;
	}
	if (same && !(r->place && r->place->known) && (result = starts_bare(r, &bare)) < 0)
		return result;
	if (same && r->place && !r->place->known)
		*r->place = (struct ps_body_place){.known = true, .bare = bare};
	r->convert = bare || !same;
	if (bare) {
		count_from(r, span->offset + from);
		return 0;
	}
	r->at = r->convert ? span->raw_offset : span->offset + from;
	r->skip = r->convert ? from : 0;
	return 0;
}

struct ps_body_stream *ps_body_stream_create(const struct ps_body *body, const struct ps_span *span, uint64_t from,
					     uint64_t len)
{
	struct ps_body_stream *r = ps_zalloc(sizeof *r);

	r->body = body;
	r->span = *span;
	r->from = from;
	if (from < span->length)
		r->left = len < span->length - from ? len : span->length - from;
	r->piece = piece_size(span->offset + from + r->left);
	return r;
}

void ps_body_stream_destroy(struct ps_body_stream *r)
{
	if (!r)
		return;
	free(r->room);
	free(r);
}

void ps_body_stream_keep_nul(struct ps_body_stream *r)
{
	r->keep_nul = true;
}

/* The last start of a line ahead of what is asked for: in order, what comes next lies behind it. `raw` has come from `at`. */
static void note_place(struct ps_body_stream *r, struct ps_bytes raw, uint64_t at)
{
	struct ps_body_place place = {true, true, r->cr, r->wire, at};
	const uint8_t *from = raw.ptr, *end = from + raw.len, *lf;

	while (from < end && (lf = memchr(from, '\n', (size_t)(end - from)))) {
		size_t n = (size_t)(lf - from);
		bool cr = n ? lf[-1] == '\r' : place.cr;
		uint64_t wire = place.wire + n + (cr ? 1 : 2);

		if (wire > r->wire + r->skip)
			break;
		from = lf + 1;
		place = (struct ps_body_place){true, true, false, wire, at + (uint64_t)(from - raw.ptr)};
	}
	*r->place = place;
}

int ps_body_stream_next(struct ps_body_stream *r, struct ps_bytes *ret_octets)
{
	struct ps_bytes piece = {NULL, 0}, wire = {(const uint8_t *)"", 0};
	int result = 0;

	if (r->left && !r->started) {
		result = seek(r, &r->span, r->from);
		if (!r->room)
			r->piece = piece_size(r->skip + r->left);
	}
	r->started = true;
	while (result == 0 && r->left && wire.len == 0) {
		if (r->at >= r->end)
			return ps_fail(PS_E_STORAGE, "a message is shorter than its cache says");
		result = next_piece(r, r->skip + r->left, &piece); /* a raw octet gives one wire octet or two */
		if (result < 0)
			break;
		if (r->place && r->place->bare && r->convert)
			note_place(r, piece, r->at - piece.len);
		wire = r->convert ? to_wire(r, piece) : piece;
		r->wire += wire.len;
		wire = clip(r, wire);
	}
	if (result == 0)
		*ret_octets = without_nul(r, wire);
	return result;
}

static int read_stream(struct ps_body_stream *r, int (*write)(void *arg, struct ps_bytes octets), void *arg)
{
	struct ps_bytes octets;
	int result;

	while ((result = ps_body_stream_next(r, &octets)) == 0 && octets.len > 0) {
		size_t half = octets.len < PIECE ? octets.len : PIECE;

		result = write(arg, ps_bytes(octets.ptr, half));
		if (result == 0 && half < octets.len)
			result = write(arg, ps_bytes_skip(octets, half));
		if (result != 0)
			break;
	}
	ps_body_stream_destroy(r);
	return result;
}

int ps_body_read(const struct ps_body *body, const struct ps_span *span, uint64_t from, uint64_t len,
		 int (*write)(void *arg, struct ps_bytes octets), void *arg)
{
	return read_stream(ps_body_stream_create(body, span, from, len), write, arg);
}

int ps_body_read_on(const struct ps_body *body, struct ps_body_place *place, const struct ps_span *span, uint64_t len,
		    int (*write)(void *arg, struct ps_bytes octets), void *arg)
{
	struct ps_body_stream *r = ps_body_stream_create(body, span, 0, len);

	r->place = place;
	return read_stream(r, write, arg);
}

bool ps_body_lies_as_sent(const struct ps_body *body, const struct ps_cache *cache, const struct ps_span *span,
			  uint64_t from, uint64_t len, uint64_t *ret_offset)
{
	uint64_t end = span->offset + from + len;

	if (body->data || body->fd < 0 || !body->wire_form || end > body->length || ps_cache_has_nul(cache))
		return false;
	*ret_offset = body->offset + span->offset + from;
	return true;
}
