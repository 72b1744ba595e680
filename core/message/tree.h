/* SPDX-License-Identifier: MIT */
/*
 * The tree of a message's entities, as the push parser (derive.c) finds it and the cache keeps it.
 *
 * Entities lie in an array in document order, so a part's descendants follow it, and the number of
 * children is all that is needed to walk it. A message/rfc822 part has one child: the message
 * within, an entity with a header of its own that RFC 3501 section 6.4.5 does not number.
 */
#ifndef CORE_MESSAGE_TREE_H
#define CORE_MESSAGE_TREE_H

#include "core/message/fields.h"

enum {
	TREE_DEPTH_MAX = 100,         /* multiparts and messages within each other */
	TREE_PARTS_MAX = 10000,       /* entities */
	TREE_TEXTS_MAX = 1024 * 1024, /* of descriptions; entities behind are described without parameters */
};

/* A place in the message, both as it lies there and as it is sent. */
struct mark {
	uint64_t raw, wire, lines;
};

enum entity_kind {
	ENTITY_LEAF,
	ENTITY_MULTIPART,
	ENTITY_MESSAGE
};

/* A slice of tree.texts. */
struct text_ref {
	uint32_t at, len;
};

struct entity {
	struct mark start, body, end; /* header from start to body */
	uint32_t parent;
	uint32_t children;
	enum entity_kind kind;
	bool digest;      /* multipart/digest: its parts are messages unless they say otherwise */
	bool alternative; /* multipart/alternative */
	bool text;        /* text/...: the number of lines is told */
	bool plain;       /* a multipart that turned out to have no parts: described as plain text */
	/* BODYSTRUCTURE, before and behind what is only known at the end; of a message/rfc822 part,
	 * ENVELOPE is its child's. */
	struct text_ref head, tail, envelope;
	struct text_ref type, charset, encoding; /* lower case; type as "text/plain" */
};

struct tree {
	struct entity *entities;
	uint32_t count, cap;
	struct ps_buf texts;
};

void tree_finish(struct tree *tree);

/* Sets kind and descriptions of an entity from its header; `ret_boundary` gets the boundary of a
 * multipart and stays empty for others. With `leaf` it may not have parts. */
void entity_describe(struct tree *tree, struct entity *entity, const struct header *header, bool in_digest, bool leaf,
		     struct ps_buf *ret_boundary);
/* The whole BODYSTRUCTURE. */
void tree_write_structure(const struct tree *tree, struct ps_buf *out);

#endif
