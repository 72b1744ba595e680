/* SPDX-License-Identifier: MIT */
/*
 * core/store/index/room.h - blocks that an index's file keeps behind its end, so that removing works when the disk is full: LMDB writes changed
 * pages to other places, and needs some before it gives any back.
 */
#ifndef CORE_STORE_INDEX_ROOM_H
#define CORE_STORE_INDEX_ROOM_H

#include "postern/index.h"

/* For who has a transaction of it. Makes sure of blocks for `octets` more than the file has, and of the reserve behind them: a sixteenth of what is used, from `least` to 16 MB.
 * `allocated`: as far as the file is known to have blocks; begin with 0. PS_E_FULL, PS_E_QUOTA: there is no room, and what was in reserve stays.
 * Where the file system cannot keep blocks there is nothing to do, and it succeeds. */
int index_room(struct ps_index *index, uint64_t octets, uint64_t least, uint64_t *allocated);
/* After a failure: whether pages that are free within the file, and at least half of the reserve, may do for `octets`. */
bool index_room_within(struct ps_index *index, uint64_t octets, uint64_t least);

#endif
