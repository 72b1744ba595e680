/* SPDX-License-Identifier: MIT */
/*
 * The push parser of messages (RFC 5322, RFC 2045, RFC 2046): octets in, in pieces of any size;
 * size and cache out.
 *
 * It goes line by line. A line is looked at when it is part of a header, or when it starts with '-'
 * and some multipart is open; all others are only searched for their end. Entities are opened by
 * headers and delimiters and closed by delimiters of a multipart round them, so that a closing
 * delimiter may be missing.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/message/derive.h"
#include "core/message/param.h"
#include "core/message/preview.h"

enum {
	PIECE = 128 * 1024,
};

/* The header ahead is that of a new entity below the open one. */
static void entity_open(struct ps_derive *d)
{
	struct tree *tree = &d->tree;

	if (tree->count == tree->cap) {
		tree->cap = tree->cap ? tree->cap * 2 : 8;
		tree->entities = ps_realloc(tree->entities, tree->cap * sizeof *tree->entities);
	}
	tree->entities[tree->count] = (struct entity){.start = d->at, .parent = d->open};
	if (tree->count)
		tree->entities[d->open].children++;
	d->open = tree->count++;
	d->in_header = true;
	header_begin(&d->header);
}

struct ps_derive *ps_derive_create(void)
{
	struct ps_derive *d = ps_zalloc(sizeof *d);

	d->header.keep = true;
	d->known.zone = CACHE_NO_DATE;
	d->preview = preview_create();
	entity_open(d);
	return d;
}

void ps_derive_destroy(struct ps_derive *d)
{
	if (!d)
		return;
	tree_finish(&d->tree);
	header_finish(&d->header);
	preview_destroy(d->preview);
	ps_buf_finish(&d->boundary_text);
	ps_buf_finish(&d->probe);
	ps_buf_finish(&d->cache);
	free(d);
}

static void push_boundary(struct ps_derive *d, size_t at)
{
	d->boundaries[d->boundary_count++] = (struct boundary){d->open, at, d->boundary_text.len - at};
}

/* Keeps the first `count`. */
static void pop_boundaries(struct ps_derive *d, unsigned count)
{
	if (count < d->boundary_count)
		d->boundary_text.len = d->boundaries[count].at;
	d->boundary_count = count;
}

static void take_root_header(struct ps_derive *d)
{
	struct ps_bytes date = header_value(&d->header, FIELD_DATE);
	int zone;

	d->header.keep = false;
	if (date.ptr && ps_date_parse(date, &d->known.date, &zone) == 0)
		d->known.zone = zone;
}

static struct ps_bytes text_of(const struct tree *tree, struct text_ref ref)
{
	return ps_bytes(tree->texts.ptr + ref.at, ref.len);
}

static const char *as_string(const struct tree *tree, struct text_ref ref, char string[TYPE_MAX + 1])
{
	size_t len = ref.len < TYPE_MAX ? ref.len : TYPE_MAX;

	memcpy(string, text_of(tree, ref).ptr, len);
	string[len] = '\0';
	return string;
}

/* The innermost multipart/alternative round an entity, as struct preview_part has it. */
static uint32_t alternatives(const struct tree *tree, uint32_t entity)
{
	while (entity > 0) {
		entity = tree->entities[entity].parent;
		if (tree->entities[entity].alternative)
			return entity + 1;
	}
	return 0;
}

static bool is_attachment(const struct header *header)
{
	struct lex lex = lex_start(header_value(header, FIELD_CONTENT_DISPOSITION));
	struct ps_buf type = {0};
	bool attachment;

	lex_skip_cfws(&lex, NULL);
	attachment = lex_token(&lex, &type) && ps_bytes_caseeq_str(ps_buf_view(&type), "attachment");
	ps_buf_finish(&type);
	return attachment;
}

/* Octets of a leaf follow, which may be worth a preview. */
static void begin_preview(struct ps_derive *d)
{
	const struct tree *tree = &d->tree;
	const struct entity *entity = &tree->entities[d->open];
	struct ps_bytes type = text_of(tree, entity->type);
	char charset[TYPE_MAX + 1], encoding[TYPE_MAX + 1];
	struct preview_part part = {.html = ps_bytes_eq_str(type, "text/html")};

	if ((!part.html && !ps_bytes_eq_str(type, "text/plain")) || (d->open > 0 && is_attachment(&d->header)))
		return;
	part.encoding = as_string(tree, entity->encoding, encoding);
	if (entity->charset.len > 0)
		part.charset = as_string(tree, entity->charset, charset);
	part.alternatives = alternatives(tree, d->open);
	preview_begin(d->preview, &part);
	d->previewed = d->open;
}

/* The open entity's header ends before `body`. A message/rfc822 part opens the message within,
 * whose header is next. */
static void header_done(struct ps_derive *d, struct mark body)
{
	struct tree *tree = &d->tree;
	struct entity *entity = &tree->entities[d->open];
	bool in_digest = d->open && tree->entities[entity->parent].digest;
	size_t at = d->boundary_text.len;

	header_end(&d->header);
	entity->body = body;
	d->in_header = false;
	d->boundary_text.limit = at + BOUNDARY_MAX;
	entity_describe(tree, entity, &d->header, in_digest,
			d->depth == TREE_DEPTH_MAX || tree->count == TREE_PARTS_MAX, &d->boundary_text);
	d->described = d->open;
	d->headers++;
	if (d->open == 0)
		take_root_header(d);
	if (entity->kind == ENTITY_LEAF) {
		begin_preview(d);
		return;
	}
	d->depth++;
	if (entity->kind == ENTITY_MULTIPART) {
		push_boundary(d, at);
		return;
	}
	entity_open(d);
	tree->entities[d->open].start = body;
}

static struct mark mark_max(struct mark a, struct mark b)
{
	return a.raw > b.raw ? a : b;
}

static struct mark mark_min(struct mark a, struct mark b)
{
	return a.raw < b.raw ? a : b;
}

/* Ends the open entity before `end`. What lies within another ends with it, even if its header
 * reached further: the blank line of a header may be the line end that belongs to a delimiter. */
static void entity_close(struct ps_derive *d, struct mark end)
{
	struct entity *entity = &d->tree.entities[d->open];

	if (d->open == d->previewed)
		preview_end(d->preview);
	entity->start = mark_min(entity->start, end);
	entity->body = mark_min(entity->body, end);
	entity->end = end;
	if (entity->kind != ENTITY_LEAF)
		d->depth--;
	if (entity->kind == ENTITY_MULTIPART && entity->children == 0) {
		entity->kind = ENTITY_LEAF;
		entity->plain = true;
	}
	d->open = entity->parent;
}

/* Ends what is open below `above`, at a delimiter. */
static void close_below(struct ps_derive *d, uint32_t above)
{
	struct mark end = d->before;
	uint32_t top;

	while (d->in_header)
		header_done(d, d->line);
	if (d->open == above)
		return;
	for (top = d->open; d->tree.entities[top].parent != above;)
		top = d->tree.entities[top].parent;
	end = mark_max(end, d->tree.entities[top].body);
	while (d->open != above)
		entity_close(d, end);
}

/* RFC 2046 section 5.1.1: a line that starts with a boundary is its delimiter. Of several that
 * match the longest is meant, and of equals the innermost. */
static int find_boundary(const struct ps_derive *d, struct ps_bytes line)
{
	size_t best_len = 0;
	int best = -1;

	if (line.len < 3 || line.ptr[1] != '-')
		return -1;
	for (unsigned i = d->boundary_count; i-- > 0;) {
		const struct boundary *b = &d->boundaries[i];

		if (b->len > best_len && line.len - 2 >= b->len &&
		    memcmp(line.ptr + 2, d->boundary_text.ptr + b->at, b->len) == 0) {
			best = (int)i;
			best_len = b->len;
		}
	}
	return best;
}

static void take_no_delimiter(struct ps_derive *d, struct ps_bytes line)
{
	if (d->in_header)
		header_text(&d->header, line);
	else
		preview_feed(d->preview, line);
	d->state = LINE_REST;
}

/* Looks at the probed octets: a whole line without its end, or more of it than any boundary is
 * long. */
static void probe_done(struct ps_derive *d, struct ps_bytes line)
{
	int found = find_boundary(d, line);
	const struct boundary *b;
	bool closing;

	if (found < 0) {
		take_no_delimiter(d, line);
		return;
	}
	b = &d->boundaries[found];
	closing = line.len >= b->len + 4 && memcmp(line.ptr + 2 + b->len, "--", 2) == 0;
	if (!closing && d->tree.count == TREE_PARTS_MAX) {
		d->full = true;
		take_no_delimiter(d, line);
		return;
	}
	close_below(d, b->entity);
	pop_boundaries(d, (unsigned)found + !closing);
	d->part_ahead = !closing;
	d->delimiter = true;
	d->state = LINE_DELIMITER;
}

/* What is left to do where a line ends, at its LF or at the end of the message. */
static void line_done(struct ps_derive *d)
{
	if (d->state == LINE_DELIMITER) {
		if (d->part_ahead)
			entity_open(d);
	} else if (d->in_header && header_line_end(&d->header)) {
		header_done(d, d->at);
	}
	d->state = LINE_START;
}

static void advance(struct ps_derive *d, struct ps_bytes *in, size_t n)
{
	d->at.raw += n;
	d->at.wire += n;
	*in = ps_bytes_skip(*in, n);
}

/* Takes up to and including the line end, or all there is, and gives what it held without the line
 * end. A CR at the end of a piece is held back until it is known what follows. True at the line's
 * end. */
static bool take_line(struct ps_derive *d, struct ps_bytes *in, struct ps_bytes *ret_text, bool *ret_cr_ahead)
{
	ptrdiff_t lf = ps_bytes_find(*in, '\n');
	size_t n = lf < 0 ? in->len : (size_t)lf;
	bool cr = n > 0 && in->ptr[n - 1] == '\r';
	bool crlf = cr || (n == 0 && d->cr);

	*ret_text = ps_bytes(in->ptr, n - cr);
	*ret_cr_ahead = d->cr && n > 0;
	if (lf < 0) {
		advance(d, in, n);
		d->cr = cr;
		return false;
	}
	advance(d, in, n + 1);
	d->at.lines++;
	d->at.wire += !crlf;
	d->last_bare = !crlf;
	d->cr = false;
	return true;
}

static void take_probe(struct ps_derive *d, struct ps_bytes *in)
{
	size_t room = PROBE_MAX - d->probe.len;
	struct ps_bytes piece = ps_bytes(in->ptr, in->len < room ? in->len : room), text;
	size_t offered = piece.len;
	bool cr_ahead, ended = take_line(d, &piece, &text, &cr_ahead);

	*in = ps_bytes_skip(*in, offered - piece.len);
	if (cr_ahead)
		ps_buf_char(&d->probe, '\r');
	ps_buf_bytes(&d->probe, text);
	if (ended || d->probe.len >= PROBE_MAX - 2)
		probe_done(d, ps_buf_view(&d->probe));
	if (ended && d->state == LINE_REST && !d->in_header)
		preview_feed(d->preview, ps_bytes_str("\n"));
	if (ended)
		line_done(d);
}

static void take_header(struct ps_derive *d, struct ps_bytes *in)
{
	struct ps_bytes text;
	bool cr_ahead, ended = take_line(d, in, &text, &cr_ahead);

	if (cr_ahead)
		header_text(&d->header, ps_bytes_str("\r"));
	header_text(&d->header, text);
	if (ended)
		line_done(d);
}

/* Where most octets are: lines of a body. Keeps to local variables until a line has to be looked
 * at. */
static void take_body(struct ps_derive *d, struct ps_bytes *in)
{
	const uint8_t *at = in->ptr, *end = at + in->len, *lf;
	bool probing = d->boundary_count && !d->full;
	uint64_t lines = 0, bare = 0;
	bool cr = d->cr, last_bare = d->last_bare;

	d->state = LINE_REST;
	while (at < end && (lf = memchr(at, '\n', (size_t)(end - at)))) {
		last_bare = lf > at ? lf[-1] != '\r' : !cr;
		bare += last_bare;
		lines++;
		cr = false;
		at = lf + 1;
		if (probing && at < end && *at == '-') {
			d->state = LINE_START;
			break;
		}
	}
	if (at == end) {
		d->state = LINE_START;
	} else if (d->state == LINE_REST) {
		cr = end[-1] == '\r';
		at = end;
	}
	preview_feed(d->preview, ps_bytes(in->ptr, (size_t)(at - in->ptr)));
	advance(d, in, (size_t)(at - in->ptr));
	d->at.lines += lines;
	d->at.wire += bare;
	d->cr = cr;
	d->last_bare = last_bare;
}

static void take_start(struct ps_derive *d, const struct ps_bytes *in)
{
	d->cr = false;
	d->delimiter = false;
	d->state = LINE_REST;
	if (in->ptr[0] != '-' || d->boundary_count == 0 || d->full)
		return;
	d->line = d->before = d->at;
	if (d->at.lines) {
		d->before.raw -= d->last_bare ? 1 : 2;
		d->before.wire -= 2;
		d->before.lines--;
	}
	ps_buf_reset(&d->probe);
	d->state = LINE_PROBE;
}

static void take_delimiter(struct ps_derive *d, struct ps_bytes *in)
{
	struct ps_bytes text;
	bool cr_ahead;

	if (take_line(d, in, &text, &cr_ahead))
		line_done(d);
}

void ps_derive_feed(struct ps_derive *d, struct ps_bytes in)
{
	if (in.len && !(d->known.marks & CACHE_HAS_NUL) && memchr(in.ptr, 0, in.len))
		d->known.marks |= CACHE_HAS_NUL;
	while (in.len) {
		switch (d->state) {
		case LINE_START: take_start(d, &in); break;
		case LINE_PROBE: take_probe(d, &in); break;
		case LINE_DELIMITER: take_delimiter(d, &in); break;
		case LINE_REST:
			if (d->in_header)
				take_header(d, &in);
			else
				take_body(d, &in);
			break;
		}
	}
}

/* A last line without its end. */
static void finish_line(struct ps_derive *d)
{
	if (d->state == LINE_START)
		return;
	if (d->cr && d->state == LINE_PROBE)
		ps_buf_char(&d->probe, '\r');
	if (d->state == LINE_PROBE)
		probe_done(d, ps_buf_view(&d->probe));
	else if (d->cr && d->in_header)
		header_text(&d->header, ps_bytes_str("\r"));
	d->cr = false;
	line_done(d);
}

void ps_derive_finish(struct ps_derive *d, uint64_t *ret_size, struct ps_bytes *ret_cache)
{
	finish_line(d);
	while (d->in_header)
		header_done(d, d->at);
	while (d->open)
		entity_close(d, d->at);
	entity_close(d, d->at);
	cache_write(&d->tree, &d->header, &d->known, preview_text(d->preview), &d->cache);
	*ret_size = d->at.wire;
	*ret_cache = ps_buf_view(&d->cache);
}

static int feed_fd(struct ps_derive *d, int fd, uint8_t *piece)
{
	off_t at = 0;

	for (;;) {
		ssize_t n = pread(fd, piece, PIECE, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ps_fail_errno("read a message");
		if (n == 0)
			return 0;
		ps_derive_feed(d, ps_bytes(piece, (size_t)n));
		at += n;
	}
}

int ps_derive_fd(int fd, struct ps_derive **ret_derive, uint64_t *ret_size, struct ps_bytes *ret_cache)
{
	struct ps_derive *d = ps_derive_create();
	uint8_t *piece = ps_malloc(PIECE);
	int r = feed_fd(d, fd, piece);

	free(piece);
	if (r < 0) {
		ps_derive_destroy(d);
		return r;
	}
	ps_derive_finish(d, ret_size, ret_cache);
	*ret_derive = d;
	return 0;
}
