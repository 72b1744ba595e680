/* SPDX-License-Identifier: MIT */
/*
 * The cache block: what is kept of a message beside it. Numbers are little-endian.
 *
 *   0  u32 magic with version     4  u32 length of the block     8  u64 checksum of what follows
 *  16  u32 lengths: ENVELOPE, BODYSTRUCTURE, kept fields, entities     32  u32 number of entities
 *  36  i32 zone of the date in minutes, or CACHE_NO_DATE     40  i64 date     48  u64 rows of
 * fields not kept 56  u32 marks (CACHE_HAS_NUL) 60  u32 length: preview, which is UTF-8
 *  64  the five, one behind the other
 *
 * An entity is a run of variable-length numbers (7 bits an octet, least first, the high bit on all
 * but the last): kind, number of children, then where its header starts, from where that of the
 * entity before it starts, and the sizes of header and body, each as raw octets, bare LFs, lines
 * (for the start: no lines); for a leaf then type, charset and encoding, each a length and its
 * octets. Wire octets are raw octets plus bare LFs.
 */
#ifndef CORE_MESSAGE_CACHE_H
#define CORE_MESSAGE_CACHE_H

#include "core/message/tree.h"
#include "postern/message.h"

enum {
	CACHE_MAGIC = 0x04634d50, /* "PMc" and the version */
	CACHE_HEAD = 64,
	CACHE_NO_DATE = INT32_MIN,
	CACHE_HAS_NUL = 1, /* the message has NUL octets, which may not be sent as they are */
};

struct cache_head {
	uint32_t envelope, structure, fields, entities, count;
	int32_t zone;
	int64_t date;
	uint64_t not_kept;
	uint32_t marks, preview;
};

uint64_t cache_checksum(struct ps_bytes octets);
void cache_head_read(struct ps_bytes octets, struct cache_head *ret_head);
/* Makes the block of a whole tree. Of `known` are zone, date and marks. */
void cache_write(const struct tree *tree, const struct header *root, const struct cache_head *known,
		 struct ps_bytes preview, struct ps_buf *out);

/* An entity as the cache has it. */
struct cache_entity {
	enum entity_kind kind;
	uint32_t children;
	struct ps_span header, body;
	struct ps_bytes type, charset, encoding; /* of a leaf */
};

/* Walks the entities in order. Whoever begins one sees to it that they are sound. */
struct cache_walk {
	struct ps_bytes rest;
	uint64_t raw, wire; /* where the last one started */
};

int cache_walk_init(struct cache_walk *walk, const struct ps_cache *cache); /* PS_E_CORRUPT */
/* False at the end, and where the octets are not of the format. */
bool cache_walk_next(struct cache_walk *walk, struct cache_entity *ret_entity);

#endif
