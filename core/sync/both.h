/* SPDX-License-Identifier: MIT */
/*
 * core/sync/both.h - two ways: what both.c, both_boxes.c and both_map.c share. Index 0 is the source, 1 the target.
 */
#ifndef CORE_SYNC_BOTH_H
#define CORE_SYNC_BOTH_H

#include "core/sync/sync_private.h"

/* A mailbox that is at both ends. */
struct couple {
	struct ps_mailbox_info info[2]; /* name NULL: it is to be made at this end */
	const struct sync_last *last;   /* NULL: they were not synced before */
};

struct both {
	struct sync *s;
	const struct ps_sync_end *ends[2];
	struct sync_boxes *boxes[2];
	struct couple *couples;
	size_t count, cap;
	bool begun;
};

/* Marks the record before the first change. */
int both_begin(struct both *both);

/* both_boxes.c: finds what belongs together, and makes, renames and deletes mailboxes so that each is at both ends. */
int both_mailboxes(struct both *both);

/* ---- both_map.c: which messages belong together -------------------------------------------------- */

struct match {
	uint32_t uid[2];
};
struct both_map {
	struct match *pairs[2]; /* the same ones, sorted by the UID at either end */
	size_t count, cap;
};
void both_map_read(struct both_map *map, const struct sync_last *last);
void both_map_finish(struct both_map *map);
/* The UID at the other end; 0: none. After both_map_settle(). */
uint32_t both_map_partner(const struct both_map *map, int end, uint32_t uid);
void both_map_add(struct both_map *map, uint32_t from, uint32_t to);
/* Those that `drop` says are gone go; then partners can be asked for. */
void both_map_settle(struct both_map *map, bool (*drop)(void *arg, const struct match *match), void *arg);
void both_map_write(const struct both_map *map, struct ps_pool *pool, struct sync_last *last);

#endif
