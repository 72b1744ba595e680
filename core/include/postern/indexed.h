/* SPDX-License-Identifier: MIT */
/*
 * postern/indexed.h - the reading half of a backend that has its metadata in an index.   [stable]
 *
 * What a backend over postern/index.h answers while it is read is the same for all of them: one transaction of the index is one
 * moment of the store. These functions go into struct ps_backend as they are, but for ps_indexed_begin(), which the backend's
 * read_begin() calls.
 *
 * The backend's struct ps_mbox begins with `uint64_t key`, its struct ps_index_box's. Subscriptions are a value of the index: names, each with its NUL.
 */
#ifndef POSTERN_INDEXED_H
#define POSTERN_INDEXED_H

#include "postern/index.h"

/* Takes over a reference to the index, whatever it returns. */
int ps_indexed_begin(struct ps_index *index, struct ps_read **ret_read);
void ps_indexed_end(struct ps_read *read);
/* As the functions of struct ps_backend that are named so. */
int ps_indexed_list(struct ps_read *read, ps_mailbox_fn fn, void *arg);
int ps_indexed_list_below(struct ps_read *read, const char *top, ps_mailbox_fn fn, void *arg);
int ps_indexed_info(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info);
int ps_indexed_keywords(struct ps_read *read, struct ps_mbox *mbox, const char *const **ret_names, size_t *ret_count);
int ps_indexed_scan(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since,
		    ps_row_fn fn, void *arg);
int ps_indexed_vanished(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg);
/* A damaged one is PS_E_NOTFOUND: core makes it again like one that is not there. */
int ps_indexed_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache);

/* Keeps a cache, in a transaction of the backend's. PS_E_GONE: the message was expunged. */
int ps_indexed_cache_keep(struct ps_index_txn *txn, const struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache);

struct ps_bytes ps_indexed_subscriptions(struct ps_index_txn *txn); /* valid until the next change or the end */
int ps_indexed_subscriptions_put(struct ps_index_txn *txn, struct ps_bytes names);
bool ps_indexed_is_subscribed(struct ps_bytes names, const char *name);

#endif
