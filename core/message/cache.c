/* SPDX-License-Identifier: MIT */
#include <endian.h>
#include "core/message/cache.h"
#include "core/message/param.h"
#include "core/message/preview.h"

static const uint64_t CHECKSUM_ODD = UINT64_C(0x9e3779b97f4a7c15);

static void put_le(struct ps_buf *out, uint64_t n, int octets)
{
	for (int i = 0; i < octets; i++)
		ps_buf_char(out, (char)(n >> 8 * i));
}

static uint32_t get_le32(const uint8_t *at)
{
	uint32_t n;

	memcpy(&n, at, sizeof n);
	return le32toh(n);
}

static uint64_t get_le64(const uint8_t *at)
{
	uint64_t n;

	memcpy(&n, at, sizeof n);
	return le64toh(n);
}

/* Each step maps states one to one, so a change within one word cannot get lost; it is no defence
 * against people. */
static uint64_t mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * CHECKSUM_ODD;
	return sum ^ sum >> 32;
}

/* A step waits for the one before it. Four sums side by side do not wait for each other, so the processor takes four
 * words in the time of one: caches are summed up as often as they are read. */
uint64_t cache_checksum(struct ps_bytes octets)
{
	uint64_t sum = octets.len * CHECKSUM_ODD, a = 1, b = 2, c = 3, d = 4, tail = 0;
	const uint8_t *at = octets.ptr;
	size_t left = octets.len;

	for (; left >= 32; left -= 32, at += 32) {
		a = mix(a, get_le64(at));
		b = mix(b, get_le64(at + 8));
		c = mix(c, get_le64(at + 16));
		d = mix(d, get_le64(at + 24));
	}
	sum = mix(mix(mix(mix(sum, a), b), c), d);
	for (; left >= 8; left -= 8, at += 8)
		sum = mix(sum, get_le64(at));
	for (size_t i = 0; i < left; i++)
		tail |= (uint64_t)at[i] << 8 * i;
	sum = (sum ^ tail) * CHECKSUM_ODD;
	return sum ^ sum >> 29;
}

static void put_varint(struct ps_buf *out, uint64_t n)
{
	while (n >= 0x80) {
		ps_buf_char(out, (char)(n | 0x80));
		n >>= 7;
	}
	ps_buf_char(out, (char)n);
}

static void put_extent(struct ps_buf *out, const struct mark *from, const struct mark *to)
{
	uint64_t raw = to->raw - from->raw;

	put_varint(out, raw);
	put_varint(out, to->wire - from->wire - raw);
	put_varint(out, to->lines - from->lines);
}

static void put_text(struct ps_buf *out, struct ps_bytes text)
{
	put_varint(out, text.len);
	ps_buf_bytes(out, text);
}

static void put_ref(struct ps_buf *out, const struct tree *tree, struct text_ref ref)
{
	put_text(out, ps_bytes(tree->texts.ptr + ref.at, ref.len));
}

static void put_entities(const struct tree *tree, struct ps_buf *out)
{
	struct mark last = {0};

	for (uint32_t i = 0; i < tree->count; i++) {
		const struct entity *entity = &tree->entities[i];
		uint64_t raw = entity->start.raw - last.raw;

		put_varint(out, entity->kind);
		put_varint(out, entity->children);
		put_varint(out, raw);
		put_varint(out, entity->start.wire - last.wire - raw);
		put_extent(out, &entity->start, &entity->body);
		put_extent(out, &entity->body, &entity->end);
		last = entity->start;
		if (entity->kind != ENTITY_LEAF)
			continue;
		if (entity->plain) {
			put_text(out, ps_bytes_str("text/plain"));
			put_text(out, ps_bytes_str("us-ascii"));
			put_text(out, ps_bytes_str("7bit"));
			continue;
		}
		put_ref(out, tree, entity->type);
		put_ref(out, tree, entity->charset);
		put_ref(out, tree, entity->encoding);
	}
}

void cache_write(const struct tree *tree, const struct header *root, const struct cache_head *known,
		 struct ps_bytes preview, struct ps_buf *out)
{
	struct ps_buf structure = {0}, entities = {0};
	struct text_ref envelope = tree->entities[0].envelope;
	size_t length;

	tree_write_structure(tree, &structure);
	put_entities(tree, &entities);
	length = CACHE_HEAD + envelope.len + structure.len + root->kept.len + entities.len + preview.len;
	ps_buf_reset(out);
	if (!ps_buf_reserve(out, length))
		return;
	put_le(out, CACHE_MAGIC, 4);
	put_le(out, length, 4);
	put_le(out, 0, 8);
	put_le(out, envelope.len, 4);
	put_le(out, structure.len, 4);
	put_le(out, root->kept.len, 4);
	put_le(out, entities.len, 4);
	put_le(out, tree->count, 4);
	put_le(out, (uint32_t)known->zone, 4);
	put_le(out, (uint64_t)known->date, 8);
	put_le(out, root->not_kept, 8);
	put_le(out, known->marks, 4);
	put_le(out, preview.len, 4);
	ps_buf_append(out, tree->texts.ptr + envelope.at, envelope.len);
	ps_buf_bytes(out, ps_buf_view(&structure));
	ps_buf_bytes(out, ps_buf_view(&root->kept));
	ps_buf_bytes(out, ps_buf_view(&entities));
	ps_buf_bytes(out, preview);
	length = cache_checksum(ps_bytes_skip(ps_buf_view(out), 16));
	for (int i = 0; i < 8; i++)
		out->ptr[8 + i] = (uint8_t)(length >> 8 * i);
	ps_buf_finish(&structure);
	ps_buf_finish(&entities);
}

void cache_head_read(struct ps_bytes octets, struct cache_head *ret)
{
	const uint8_t *at = octets.ptr + 16;

	*ret = (struct cache_head){
		.envelope = get_le32(at),
		.structure = get_le32(at + 4),
		.fields = get_le32(at + 8),
		.entities = get_le32(at + 12),
		.count = get_le32(at + 16),
		.zone = (int32_t)get_le32(at + 20),
		.date = (int64_t)get_le64(at + 24),
		.not_kept = get_le64(at + 32),
		.marks = get_le32(at + 40),
		.preview = get_le32(at + 44),
	};
}

static bool take_varint(struct ps_bytes *in, uint64_t *ret)
{
	uint64_t n = 0;

	/* Eight octets, 56 bits: as many entities as there may be cannot make their sum overflow.
	 */
	for (size_t i = 0; i < in->len && i < 8; i++) {
		n |= (uint64_t)(in->ptr[i] & 0x7f) << 7 * i;
		if (in->ptr[i] < 0x80) {
			*in = ps_bytes_skip(*in, i + 1);
			*ret = n;
			return true;
		}
	}
	return false;
}

static bool take_text(struct ps_bytes *in, struct ps_bytes *ret)
{
	uint64_t len;

	if (!take_varint(in, &len) || len > in->len || len > 2 * TYPE_MAX + 1)
		return false;
	*ret = ps_bytes(in->ptr, (size_t)len);
	*in = ps_bytes_skip(*in, (size_t)len);
	return true;
}

static bool take_extent(struct ps_bytes *in, struct ps_span *span)
{
	uint64_t bare;

	if (!take_varint(in, &span->raw_length) || !take_varint(in, &bare) || !take_varint(in, &span->lines))
		return false;
	span->length = span->raw_length + bare;
	return bare <= span->lines && span->lines <= span->raw_length;
}

static void walk_begin(struct cache_walk *walk, const struct ps_cache *cache)
{
	struct cache_head head;

	cache_head_read(cache->octets, &head);
	*walk = (struct cache_walk){
		.rest = ps_bytes(cache->octets.ptr + CACHE_HEAD + head.envelope + head.structure + head.fields,
				 head.entities)};
}

bool cache_walk_next(struct cache_walk *walk, struct cache_entity *ret)
{
	struct ps_bytes *in = &walk->rest;
	uint64_t kind, children, raw, bare;

	*ret = (struct cache_entity){0};
	if (!take_varint(in, &kind) || kind > ENTITY_MESSAGE || !take_varint(in, &children) ||
	    children > TREE_PARTS_MAX || !take_varint(in, &raw) || !take_varint(in, &bare) || bare > raw ||
	    !take_extent(in, &ret->header) || !take_extent(in, &ret->body))
		return false;
	ret->kind = (enum entity_kind)kind;
	ret->children = (uint32_t)children;
	if (__builtin_add_overflow(walk->raw, raw, &walk->raw) ||
	    __builtin_add_overflow(walk->wire, raw + bare, &walk->wire))
		return false;
	ret->header.offset = walk->wire;
	ret->header.raw_offset = walk->raw;
	ret->body.offset = walk->wire + ret->header.length;
	ret->body.raw_offset = walk->raw + ret->header.raw_length;
	if (kind != ENTITY_LEAF)
		return true;
	return take_text(in, &ret->type) && take_text(in, &ret->charset) && take_text(in, &ret->encoding);
}

/* The whole message: no entity may reach beyond it. */
struct bounds {
	uint64_t raw, wire;
};

/* One entity and all it has; `left` counts those not yet seen. Each is within the message and the
 * depth is bounded, so that whoever walks later need not look. */
static bool check_entity(struct cache_walk *walk, struct bounds *bounds, uint32_t *left, int depth)
{
	struct cache_entity entity;

	if (*left == 0 || depth > 2 * TREE_DEPTH_MAX + 1 || !cache_walk_next(walk, &entity))
		return false;
	if (depth == 0)
		*bounds = (struct bounds){entity.body.raw_offset + entity.body.raw_length,
					  entity.body.offset + entity.body.length};
	if (entity.body.raw_offset + entity.body.raw_length > bounds->raw ||
	    entity.body.offset + entity.body.length > bounds->wire || entity.children >= *left)
		return false;
	if ((entity.kind == ENTITY_LEAF) != (entity.children == 0) ||
	    (entity.kind == ENTITY_MESSAGE && entity.children != 1))
		return false;
	--*left;
	for (uint32_t i = 0; i < entity.children; i++)
		if (!check_entity(walk, bounds, left, depth + 1))
			return false;
	return true;
}

static bool entities_are_sound(const struct ps_cache *cache)
{
	struct cache_walk walk;
	struct cache_head head;
	struct bounds bounds;

	cache_head_read(cache->octets, &head);
	walk_begin(&walk, cache);
	return head.count <= TREE_PARTS_MAX && check_entity(&walk, &bounds, &head.count, 0) && head.count == 0 &&
	       walk.rest.len == 0;
}

int cache_walk_init(struct cache_walk *walk, const struct ps_cache *cache)
{
	if (!entities_are_sound(cache))
		return ps_fail(PS_E_CORRUPT, "message cache: its parts do not fit");
	walk_begin(walk, cache);
	return 0;
}

/* What is within the parts is looked at by who uses them: most want one. */
int ps_cache_open(struct ps_cache *cache, struct ps_bytes octets)
{
	struct cache_head head;

	if (octets.len < CACHE_HEAD || get_le32(octets.ptr) != CACHE_MAGIC || get_le32(octets.ptr + 4) != octets.len ||
	    get_le64(octets.ptr + 8) != cache_checksum(ps_bytes_skip(octets, 16)))
		return ps_fail(PS_E_CORRUPT, "not a message cache of this version, or damaged");
	cache_head_read(octets, &head);
	if ((uint64_t)CACHE_HEAD + head.envelope + head.structure + head.fields + head.entities + head.preview !=
	    octets.len)
		return ps_fail(PS_E_CORRUPT, "message cache: its parts do not fit");
	cache->octets = octets;
	return 0;
}

struct ps_bytes ps_cache_envelope(const struct ps_cache *cache)
{
	struct cache_head head;

	cache_head_read(cache->octets, &head);
	return ps_bytes(cache->octets.ptr + CACHE_HEAD, head.envelope);
}

struct ps_bytes ps_cache_bodystructure(const struct ps_cache *cache)
{
	struct cache_head head;

	cache_head_read(cache->octets, &head);
	return ps_bytes(cache->octets.ptr + CACHE_HEAD + head.envelope, head.structure);
}

int ps_cache_kept(const struct ps_cache *cache, const char *const *names, size_t count, struct ps_bytes *ret_fields)
{
	struct cache_head head;

	cache_head_read(cache->octets, &head);
	for (size_t i = 0; i < count; i++) {
		int row = field_row(ps_bytes_str(names[i]));

		if (row < 0 || !field_row_kept(row) || head.not_kept >> row & 1)
			return ps_fail(PS_E_NOTFOUND, "the cache does not keep %s", names[i]);
	}
	*ret_fields = ps_bytes(cache->octets.ptr + CACHE_HEAD + head.envelope + head.structure, head.fields);
	return 0;
}

int ps_cache_fields(const struct ps_cache *cache, const char *const *names, size_t count, struct ps_buf *out)
{
	struct ps_bytes fields;
	int r = ps_cache_kept(cache, names, count, &fields);

	return r < 0 ? r : ps_header_filter(fields, names, count, false, out);
}

struct ps_bytes ps_cache_preview(const struct ps_cache *cache)
{
	struct cache_head head;
	struct ps_bytes preview;

	cache_head_read(cache->octets, &head);
	preview = ps_bytes(cache->octets.ptr + cache->octets.len - head.preview, head.preview);
	return preview.len <= PREVIEW_OCTETS && ps_utf8_valid(preview) ? preview : ps_bytes("", 0);
}

bool ps_cache_has_nul(const struct ps_cache *cache)
{
	struct cache_head head;

	cache_head_read(cache->octets, &head);
	return head.marks & CACHE_HAS_NUL;
}

int ps_cache_date(const struct ps_cache *cache, int64_t *ret_time, int *ret_zone)
{
	struct cache_head head;

	cache_head_read(cache->octets, &head);
	if (head.zone == CACHE_NO_DATE)
		return ps_fail(PS_E_NOTFOUND, "the message has no date");
	*ret_time = head.date;
	*ret_zone = head.zone;
	return 0;
}
