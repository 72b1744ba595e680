/* SPDX-License-Identifier: MIT */
/* Part numbers and sections (RFC 3501 section 6.4.5), and BODY, from a cache. */
#include "core/message/cache.h"

/* Passes over all that the entity just taken has below it. */
static void skip_below(struct cache_walk *walk, uint32_t children)
{
	struct cache_entity entity;

	for (uint64_t left = children; left && cache_walk_next(walk, &entity);)
		left += (uint64_t)entity.children - 1;
}

/* Where a part number leads: an entity, and for message/rfc822 the message within. */
struct place {
	struct cache_walk walk; /* behind `entity` */
	struct cache_entity entity;
	bool is_message; /* the message itself or one within, not a part of it */
};

/* To the n-th part of a multipart. */
static int enter_multipart(struct place *place, uint32_t n)
{
	if (n < 1 || n > place->entity.children)
		return PS_E_NOTFOUND;
	for (uint32_t i = 1;; i++) {
		if (!cache_walk_next(&place->walk, &place->entity))
			return PS_E_NOTFOUND;
		if (i == n)
			break;
		skip_below(&place->walk, place->entity.children);
	}
	place->is_message = false;
	return 0;
}

/* A message that is not multipart is its own part 1. */
static int enter(struct place *place, uint32_t n)
{
	if (!place->is_message && place->entity.kind == ENTITY_MESSAGE) {
		if (!cache_walk_next(&place->walk, &place->entity))
			return PS_E_NOTFOUND;
		place->is_message = true;
	}
	if (place->entity.kind == ENTITY_MULTIPART)
		return enter_multipart(place, n);
	if (!place->is_message || n != 1)
		return PS_E_NOTFOUND;
	place->is_message = false;
	return 0;
}

static int find_place(const struct ps_cache *cache, const uint32_t *part, size_t depth, struct place *place)
{
	int r = cache_walk_init(&place->walk, cache);

	if (r < 0)
		return r;
	if (!cache_walk_next(&place->walk, &place->entity))
		return PS_E_NOTFOUND;
	place->is_message = true;
	for (size_t i = 0; i < depth; i++)
		if (enter(place, part[i]) < 0)
			return PS_E_NOTFOUND;
	return 0;
}

static struct ps_span whole(const struct cache_entity *entity)
{
	return (struct ps_span){
		.length = entity->header.length + entity->body.length,
		.raw_length = entity->header.raw_length + entity->body.raw_length,
		.lines = entity->header.lines + entity->body.lines,
	};
}

int ps_cache_section(const struct ps_cache *cache, const uint32_t *part, size_t depth, enum ps_section what,
		     struct ps_span *ret_span)
{
	struct place place;
	int r = find_place(cache, part, depth, &place);

	if (r == PS_E_CORRUPT)
		return r;
	if (r < 0 || (what == PS_SECTION_MIME && depth == 0))
		return ps_fail(PS_E_NOTFOUND, "the message has no such part");
	if (depth && (what == PS_SECTION_HEADER || what == PS_SECTION_TEXT)) {
		if (place.entity.kind != ENTITY_MESSAGE || !cache_walk_next(&place.walk, &place.entity))
			return ps_fail(PS_E_NOTFOUND, "the part is not a message");
	}
	if (what == PS_SECTION_HEADER || what == PS_SECTION_MIME)
		*ret_span = place.entity.header;
	else if (what == PS_SECTION_ALL && depth == 0)
		*ret_span = whole(&place.entity);
	else
		*ret_span = place.entity.body;
	return 0;
}

int ps_cache_encoding(const struct ps_cache *cache, const uint32_t *part, size_t depth, struct ps_bytes *ret_encoding)
{
	struct place place;
	int r = find_place(cache, part, depth, &place);

	if (r < 0)
		return r == PS_E_CORRUPT ? r : ps_fail(PS_E_NOTFOUND, "the message has no such part");
	*ret_encoding = depth && place.entity.kind == ENTITY_LEAF ? place.entity.encoding : ps_bytes("", 0);
	return 0;
}

/* ---- leaves -------------------------------------------------------------------------------- */

struct leaves {
	struct cache_walk walk;
	struct ps_pool *pool;
	int (*fn)(void *arg, const struct ps_part_info *);
	void *arg;
	uint32_t part[2 * TREE_DEPTH_MAX + 2];
};

static const char *pool_text(struct ps_pool *pool, struct ps_bytes text)
{
	return ps_pool_strndup(pool, text.len ? (const char *)text.ptr : "", text.len);
}

static int tell_leaf(struct leaves *l, const struct cache_entity *entity, size_t depth)
{
	ptrdiff_t slash = ps_bytes_find(entity->type, '/');
	size_t type_len = slash < 0 ? entity->type.len : (size_t)slash;
	struct ps_part_info info = {
		.type = pool_text(l->pool, ps_bytes(entity->type.ptr, type_len)),
		.subtype = slash < 0 ? "" : pool_text(l->pool, ps_bytes_skip(entity->type, type_len + 1)),
		.charset = entity->charset.len ? pool_text(l->pool, entity->charset) : NULL,
		.encoding = pool_text(l->pool, entity->encoding),
		.header = entity->header,
		.body = entity->body,
		.part = l->part,
		.depth = depth,
	};

	return l->fn(l->arg, &info);
}

static int tell_message(struct leaves *l, const struct cache_entity *part, const struct cache_entity *message,
			size_t depth)
{
	struct ps_part_info info = {
		.type = "message",
		.subtype = "rfc822",
		.encoding = "7bit",
		.header = part->header,
		.body = message->header,
		.part = l->part,
		.depth = depth,
	};

	return l->fn(l->arg, &info);
}

/* `entity` was just taken and its number is part[0..depth), where a message that is not multipart
 * is not yet numbered. */
static int walk_leaves(struct leaves *l, const struct cache_entity *entity, size_t depth, bool is_message)
{
	struct cache_entity child;
	int r;

	if (depth + 1 >= PS_ARRAY_LEN(l->part))
		return 0;
	if (entity->kind != ENTITY_MULTIPART && is_message)
		l->part[depth++] = 1;
	if (entity->kind == ENTITY_LEAF)
		return tell_leaf(l, entity, depth);
	for (uint32_t i = 0; i < entity->children; i++) {
		if (!cache_walk_next(&l->walk, &child))
			return 0;
		if (entity->kind == ENTITY_MESSAGE)
			r = tell_message(l, entity, &child, depth);
		else
			r = 0;
		l->part[depth] = i + 1;
		if (r == 0 && entity->kind == ENTITY_MESSAGE)
			r = walk_leaves(l, &child, depth, true);
		else if (r == 0)
			r = walk_leaves(l, &child, depth + 1, false);
		if (r != 0)
			return r;
	}
	return 0;
}

int ps_cache_leaves(const struct ps_cache *cache, struct ps_pool *pool,
		    int (*fn)(void *arg, const struct ps_part_info *), void *arg)
{
	struct leaves l = {.pool = pool, .fn = fn, .arg = arg};
	struct cache_entity root;
	int r = cache_walk_init(&l.walk, cache);

	if (r < 0)
		return r;
	if (!cache_walk_next(&l.walk, &root))
		return ps_fail(PS_E_CORRUPT, "message cache without a message");
	return walk_leaves(&l, &root, 0, true);
}

/* ---- BODY: BODYSTRUCTURE without its extension data ---------------------------------------- */

/* One string, number or NIL, or a parenthesised list of them, from `in`; false when it is none. */
static bool take_value(struct ps_bytes *in, struct ps_bytes *ret);

static bool take_literal(struct ps_bytes *in, struct ps_bytes *ret)
{
	ptrdiff_t brace = ps_bytes_find(*in, '}');
	uint64_t n;
	size_t all;

	if (brace < 2 || ps_bytes_u64(ps_bytes(in->ptr + 1, (size_t)brace - 1), &n) < 0 || n > in->len ||
	    in->len - n < (size_t)brace + 3)
		return false;
	all = (size_t)brace + 3 + (size_t)n;
	*ret = ps_bytes(in->ptr, all);
	*in = ps_bytes_skip(*in, all);
	return true;
}

static bool take_quoted(struct ps_bytes *in, struct ps_bytes *ret)
{
	for (size_t i = 1; i < in->len; i++) {
		if (in->ptr[i] == '\\')
			i++;
		else if (in->ptr[i] == '"') {
			*ret = ps_bytes(in->ptr, i + 1);
			*in = ps_bytes_skip(*in, i + 1);
			return true;
		}
	}
	return false;
}

static bool take_list(struct ps_bytes *in, struct ps_bytes *ret)
{
	const uint8_t *start = in->ptr;
	struct ps_bytes value;
	size_t depth = 0;

	do {
		if (in->len && in->ptr[0] == '(')
			depth++;
		else if (in->len && in->ptr[0] == ')')
			depth--;
		else if (in->len == 0 || (in->ptr[0] != ' ' && !take_value(in, &value)))
			return false;
		else if (in->len && in->ptr[0] != ' ')
			continue;
		if (in->len)
			*in = ps_bytes_skip(*in, 1);
	} while (depth);
	*ret = ps_bytes(start, (size_t)(in->ptr - start));
	return true;
}

static bool take_atom(struct ps_bytes *in, struct ps_bytes *ret)
{
	size_t n = 0;

	while (n < in->len && in->ptr[n] != ' ' && in->ptr[n] != ')' && in->ptr[n] != '(')
		n++;
	*ret = ps_bytes(in->ptr, n);
	*in = ps_bytes_skip(*in, n);
	return n > 0;
}

static bool take_value(struct ps_bytes *in, struct ps_bytes *ret)
{
	switch (in->len ? in->ptr[0] : 0) {
	case 0: return false;
	case '{': return take_literal(in, ret);
	case '"': return take_quoted(in, ret);
	case '(': return take_list(in, ret);
	default: return take_atom(in, ret);
	}
}

static bool take_char(struct ps_bytes *in, char c)
{
	if (in->len == 0 || in->ptr[0] != c)
		return false;
	*in = ps_bytes_skip(*in, 1);
	return true;
}

/* Copies `n` values, each with the blank ahead of it. */
static bool copy_values(struct ps_bytes *in, struct ps_buf *out, int n)
{
	struct ps_bytes value;

	for (; n > 0; n--) {
		if (!take_char(in, ' ') || !take_value(in, &value))
			return false;
		ps_buf_char(out, ' ');
		ps_buf_bytes(out, value);
	}
	return true;
}

/* What is left of a body are its extension data. */
static bool skip_extension(struct ps_bytes *in)
{
	struct ps_bytes value;

	while (take_char(in, ' '))
		if (!take_value(in, &value))
			return false;
	return take_char(in, ')');
}

static bool copy_body(struct ps_bytes *in, struct ps_buf *out, int depth);

/* type subtype, params id description encoding size, and what some types have besides */
static bool copy_single(struct ps_bytes *in, struct ps_buf *out, int depth)
{
	struct ps_bytes type, subtype;
	bool message;

	if (!take_value(in, &type) || !take_char(in, ' ') || !take_value(in, &subtype))
		return false;
	ps_buf_bytes(out, type);
	ps_buf_char(out, ' ');
	ps_buf_bytes(out, subtype);
	if (!copy_values(in, out, 5))
		return false;
	if (ps_bytes_caseeq_str(type, "\"text\""))
		return copy_values(in, out, 1);
	message = ps_bytes_caseeq_str(type, "\"message\"") &&
		  (ps_bytes_caseeq_str(subtype, "\"rfc822\"") || ps_bytes_caseeq_str(subtype, "\"global\""));
	if (!message)
		return true;
	if (!copy_values(in, out, 1) || !take_char(in, ' '))
		return false;
	ps_buf_char(out, ' ');
	return copy_body(in, out, depth + 1) && copy_values(in, out, 1);
}

static bool copy_body(struct ps_bytes *in, struct ps_buf *out, int depth)
{
	bool ok = true;

	if (depth > 2 * TREE_DEPTH_MAX + 2 || !take_char(in, '('))
		return false;
	ps_buf_char(out, '(');
	if (in->len && in->ptr[0] == '(') {
		while (ok && in->len && in->ptr[0] == '(')
			ok = copy_body(in, out, depth + 1);
		ok = ok && copy_values(in, out, 1);
	} else {
		ok = copy_single(in, out, depth);
	}
	ps_buf_char(out, ')');
	return ok && skip_extension(in);
}

int ps_cache_body(const struct ps_cache *cache, struct ps_buf *out)
{
	struct ps_bytes in = ps_cache_bodystructure(cache);
	size_t start = out->len;

	if (copy_body(&in, out, 0) && in.len == 0)
		return out->failed ? PS_E_LIMIT : 0;
	out->len = start;
	return ps_fail(PS_E_CORRUPT, "message cache: not a body structure");
}
