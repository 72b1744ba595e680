/* SPDX-License-Identifier: MIT */
/*
 * core/store/across.h - copying and moving messages from one store to another.
 */
#ifndef CORE_STORE_ACROSS_H
#define CORE_STORE_ACROSS_H

#include "core/store/mailbox.h"

/*
 * As PS_OP_COPY and PS_OP_MOVE, to where `append` goes, in another store. The copies are one batch there; when they are durable, a
 * move expunges the originals, which is another: a crash in between leaves both. Result: old_uids, new_uids, uid_validity.
 */
int ps_copy_across(struct ps_mailbox *from, struct ps_append *append, const struct ps_set *uids, bool move,
		   struct ps_pool *pool, struct ps_op_result *ret_result);

#endif
