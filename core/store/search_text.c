/* SPDX-License-Identifier: MIT */
#include "core/message/body.h"
#include "core/message/charset.h"
#include "core/message/transfer.h"
#include "core/store/search.h"

enum {
	WINDOW = 65536,
	SHORT = 256,
	FEW = 4096,
	LOOK_COSTS = 32,       /* to find a place and to leave it, in octets that are compared */
	HEADER_MAX = 16 << 20, /* a message too deep to be taken apart is one long header */
};

/* Folded text passes through a window; what a needle could begin in stays until the next piece has come. */
struct scan {
	struct ps_needle *needles;
	size_t longest;
	bool in_header;
	struct ps_body_place place; /* parts come in the order in which they lie */
	struct ps_buf decoded;      /* UTF-8 that is not folded yet */
	struct ps_buf window;
	int error;
};

/* memmem() makes a table first, which costs more than most header fields are long. */
static bool short_contains(struct ps_bytes text, struct ps_bytes part)
{
	const uint8_t *at = text.ptr, *end = text.ptr + text.len - part.len + 1;

	while (at < end && (at = memchr(at, part.ptr[0], (size_t)(end - at)))) {
		if (memcmp(at, part.ptr, part.len) == 0)
			return true;
		at++;
	}
	return false;
}

bool ps_bytes_contain(struct ps_bytes text, struct ps_bytes part)
{
	if (part.len == 0 || text.len < part.len)
		return part.len == 0;
	if (text.len < SHORT)
		return short_contains(text, part);
	return memmem(text.ptr, text.len, part.ptr, part.len) != NULL;
}

/* ---- what cannot be there ------------------------------------------------------------------ */

/* How common an octet of folded text is: the less, the sooner one is among these. */
static size_t commonness(uint8_t octet)
{
	static const char rare[] = "ZQXJKVBYWGPFMUCDLHRSNIOATE ";
	const char *at = memchr(rare, octet, sizeof rare - 1);

	return at ? (size_t)(at - rare) : 5; /* digits, signs */
}

static size_t count_same(const uint8_t *at, struct ps_bytes folded)
{
	size_t n = 0;

	while (n < folded.len && ps_toupper(at[n]) == folded.ptr[n])
		n++;
	return n;
}

/* Whether one of the octets of the text is the part's at `offset`, in the midst of the rest of it. About as many are compared as
 * there are, and then the answer is: perhaps. */
static bool may_be_round(struct ps_bytes text, struct ps_bytes folded, size_t offset, int octet)
{
	const uint8_t *at = text.ptr + offset, *end = text.ptr + text.len - (folded.len - 1 - offset);
	size_t left = FEW + text.len;

	for (; at < end && (at = memchr(at, octet, (size_t)(end - at))); at++) {
		size_t same = count_same(at - offset, folded);

		if (same == folded.len || left < same + LOOK_COSTS)
			return true;
		left -= same + LOOK_COSTS;
	}
	return false;
}

bool ps_ascii_may_contain(struct ps_bytes text, struct ps_bytes folded)
{
	size_t offset = 0;
	int octet;

	if (text.len < folded.len || folded.len == 0)
		return folded.len == 0;
	for (size_t i = 1; i < folded.len; i++)
		if (commonness(folded.ptr[i]) < commonness(folded.ptr[offset]))
			offset = i;
	octet = folded.ptr[offset];
	return may_be_round(text, folded, offset, octet) ||
	       (ps_isalpha(octet) && may_be_round(text, folded, offset, ps_tolower(octet)));
}

/* Line ends may be others, and are none in what lies folded. */
static bool is_of_a_line(struct ps_bytes text)
{
	return charset_is_ascii(text) && ps_bytes_find(text, '\n') < 0 && ps_bytes_find(text, '\r') < 0;
}

/*
 * Most messages have none of what is looked for. Where all of one is ASCII and is in memory, that is seen in it as it lies: no text
 * of it that is not encoded has what is nowhere.
 */
static bool has_none(const struct ps_body *body, const struct ps_needle *needles)
{
	struct ps_bytes all = ps_bytes(body->data, (size_t)body->length);

	if (!body->data || !charset_is_ascii(all))
		return false;
	for (const struct ps_needle *n = needles; n; n = n->next)
		if (!n->found && (!is_of_a_line(n->folded) || ps_ascii_may_contain(all, n->folded)))
			return false;
	return true;
}

static bool all_found(const struct scan *scan)
{
	for (const struct ps_needle *n = scan->needles; n; n = n->next)
		if (!n->found && (n->in_header || !scan->in_header))
			return false;
	return true;
}

static void look(struct scan *scan)
{
	for (struct ps_needle *n = scan->needles; n; n = n->next)
		if (!n->found && (n->in_header || !scan->in_header))
			n->found = ps_bytes_contain(ps_buf_view(&scan->window), n->folded);
	if (scan->window.len >= scan->longest)
		ps_buf_consume(&scan->window, scan->window.len - (scan->longest - 1));
}

/* Decoding gives whole characters, so folding may take what there is. */
static int fold_decoded(struct scan *scan, bool last)
{
	int r = ps_casefold(ps_buf_view(&scan->decoded), &scan->window);

	ps_buf_reset(&scan->decoded);
	if (r == 0 && (last || scan->window.len >= WINDOW + scan->longest))
		look(scan);
	return r;
}

/* Ends a text: nothing is found across the border of two. */
static int end_text(struct scan *scan)
{
	int r = fold_decoded(scan, true);

	ps_buf_reset(&scan->window);
	return r;
}

/* ---- headers ------------------------------------------------------------------------------- */

static int append_octets(void *arg, struct ps_bytes octets)
{
	return ps_buf_bytes(arg, octets);
}

static int scan_header(struct scan *scan, const struct ps_body *body, const struct ps_span *span)
{
	struct ps_buf header = {0};
	struct ps_header_walk walk;
	struct ps_bytes name, value;
	uint64_t length = span->length < HEADER_MAX ? span->length : HEADER_MAX;
	int r;

	if (all_found(scan))
		return 0;
	r = ps_body_read_on(body, &scan->place, span, length, append_octets, &header);
	walk.rest = ps_buf_view(&header);
	while (r == 0 && !all_found(scan) && ps_header_next(&walk, &name, &value)) {
		ps_buf_bytes(&scan->decoded, name);
		ps_buf_str(&scan->decoded, ": ");
		r = ps_header_decode(value, &scan->decoded);
		if (r == 0)
			r = end_text(scan);
	}
	ps_buf_finish(&header);
	return r;
}

int ps_search_value(struct ps_search_value *search, struct ps_bytes value, struct ps_bytes *ret_folded)
{
	int r;

	ps_buf_reset(&search->decoded);
	ps_buf_reset(&search->folded);
	if ((r = ps_header_decode(value, &search->decoded)) < 0 ||
	    (r = ps_casefold(ps_buf_view(&search->decoded), &search->folded)) < 0)
		return r;
	*ret_folded = ps_buf_view(&search->folded);
	return 0;
}

void ps_search_value_finish(struct ps_search_value *search)
{
	ps_buf_finish(&search->decoded);
	ps_buf_finish(&search->folded);
}

/* ---- bodies -------------------------------------------------------------------------------- */

struct part {
	struct scan *scan;
	const struct ps_body *body;
	uint64_t known_header; /* where one lies that was looked at */
	struct ps_decode *decode;
	enum {
		NOT_KNOWN,
		HAS_NONE,
		MAY_HAVE
	} seen; /* of the message as it lies: whether it has what is looked for */
};

enum {
	ENOUGH = 1
}; /* ends a walk: all is found */

static int decode_octets(void *arg, struct ps_bytes octets)
{
	struct part *part = arg;
	int r = ps_decode_feed(part->decode, octets, &part->scan->decoded);

	if (r == 0)
		r = fold_decoded(part->scan, false);
	return r == 0 && all_found(part->scan) ? ENOUGH : r;
}

/* Whether the part is plain text of a message that has nothing of what is looked for. */
static bool is_in_vain(struct part *part)
{
	if (!decode_keeps_ascii(part->decode))
		return false;
	if (part->seen == NOT_KNOWN)
		part->seen = has_none(part->body, part->scan->needles) ? HAS_NONE : MAY_HAVE;
	return part->seen == HAS_NONE;
}

static int decode_body(struct part *part, const struct ps_part_info *info)
{
	int r = ps_body_read_on(part->body, &part->scan->place, &info->body, info->body.length, decode_octets, part);
	if (r == 0)
		r = ps_decode_finish(part->decode, &part->scan->decoded);
	return r == 0 ? end_text(part->scan) : r;
}

static int scan_body(struct part *part, const struct ps_part_info *info)
{
	int r;

	/* An unknown charset is read as UTF-8 where it can be. */
	part->decode = ps_decode_create(info->encoding, info->charset ? info->charset : "unknown-8bit");
	r = is_in_vain(part) ? 0 : decode_body(part, info);
	ps_decode_destroy(part->decode);
	return r;
}

/* The header of a message within, or text. */
static int scan_content(struct part *part, const struct ps_part_info *info)
{
	if (strcmp(info->type, "message") == 0 && strcmp(info->subtype, "rfc822") == 0) {
		part->known_header = info->body.offset;
		return scan_header(part->scan, part->body, &info->body);
	}
	if (strcmp(info->type, "text") == 0 || strcmp(info->type, "message") == 0)
		return scan_body(part, info);
	return 0;
}

static int scan_leaf(void *arg, const struct ps_part_info *info)
{
	struct part *part = arg;
	int r = 0;

	if (info->header.offset != part->known_header)
		r = scan_header(part->scan, part->body, &info->header);
	if (r == 0)
		r = scan_content(part, info);
	return r == 0 && all_found(part->scan) ? ENOUGH : r;
}

static int scan_message(struct scan *scan, const struct ps_body *body, const struct ps_cache *cache,
			struct ps_pool *pool)
{
	struct part part = {.scan = scan, .body = body};
	struct ps_span header;
	int r = ps_cache_section(cache, NULL, 0, PS_SECTION_HEADER, &header);

	if (r < 0)
		return r;
	scan->in_header = true;
	if ((r = scan_header(scan, body, &header)) < 0)
		return r;
	scan->in_header = false;
	part.known_header = header.offset;
	return all_found(scan) ? 0 : ps_cache_leaves(cache, pool, scan_leaf, &part);
}

int ps_search_texts(const struct ps_body *body, const struct ps_cache *cache, struct ps_pool *pool,
		    struct ps_needle *needles)
{
	struct scan scan = {.needles = needles};
	int r;

	for (struct ps_needle *n = needles; n; n = n->next) {
		n->found = false;
		if (n->folded.len > scan.longest)
			scan.longest = n->folded.len;
	}
	r = scan_message(&scan, body, cache, pool);
	ps_buf_finish(&scan.decoded);
	ps_buf_finish(&scan.window);
	return r < 0 ? r : 0;
}
