/* SPDX-License-Identifier: MIT */
/*
 * The inside of the push parser, for those who change a message as it goes by (core/message/unbinary.c).
 */
#ifndef CORE_MESSAGE_DERIVE_H
#define CORE_MESSAGE_DERIVE_H

#include "core/message/cache.h"
#include "core/message/tree.h"

struct preview;

enum {
	BOUNDARY_MAX = 1000,          /* RFC 2046 allows 70 */
	PROBE_MAX = BOUNDARY_MAX + 8, /* with "--" on both sides, and to spare */
};

enum line_state {
	LINE_START,
	LINE_PROBE, /* may be a delimiter: kept until that is known */
	LINE_REST,
	LINE_DELIMITER, /* the rest of one */
};

struct boundary {
	uint32_t entity;
	size_t at, len; /* in boundary_text */
};

struct ps_derive {
	struct tree tree;
	struct header header;
	struct cache_head known; /* what the cache's head gets from here */
	struct preview *preview;
	uint32_t previewed; /* the entity that the preview is reading; 0 is the message, too */
	struct ps_buf boundary_text;
	struct boundary boundaries[TREE_DEPTH_MAX]; /* of the open multiparts, outermost first */
	unsigned boundary_count;
	unsigned depth; /* of the open entity, in multiparts and messages */
	uint32_t open;  /* the innermost open entity; those round it are open too */
	bool in_header;
	bool full; /* no more entities: delimiters are no longer heeded */

	enum line_state state;
	struct mark at;     /* what was taken so far */
	struct mark line;   /* where the line being probed starts */
	struct mark before; /* the same without the line end ahead of it, which belongs to a
			       delimiter */
	bool delimiter;     /* the line in progress, or the last, is one */
	uint32_t described; /* the entity whose header ended last */
	uint32_t headers;   /* that have ended */
	bool last_bare;     /* the last line ended without CR */
	bool cr;            /* the last octet taken was a CR of the line in progress */
	bool part_ahead;    /* behind the delimiter a part starts */
	struct ps_buf probe;
	struct ps_buf cache;
};

#endif
