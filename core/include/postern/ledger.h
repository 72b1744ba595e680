/* SPDX-License-Identifier: MIT */
/*
 * postern/ledger.h - the writing half of a backend that has its metadata in a durable index.   [stable]
 *
 * The index (postern/index.h) keeps what is known of messages, here in one file and durable at each commit; postern/indexed.h
 * reads it; a ledger applies batches to it, with all that the contract asks of commit(), of tokens, of generations and of other
 * processes. What is left to the backend are the bodies: the octets of messages, in whatever place it likes.
 *
 * A body has a number, given out by ps_ledger_body_new() and never for another one. A row names its body, and MOVE takes it
 * along. A body that no row has any more is in the graves, durably, until it could be removed.
 *
 * The backend's struct ps_store begins with `struct ps_ledger *ledger`, and PS_LEDGER_FUNCTIONS stands in its struct
 * ps_backend for all functions that need not be its own. Its own are open, close, body and body_close, and those of staging.
 *
 * DURABILITY. commit() makes the index durable, once for all its batches. A body that lies elsewhere must be durable before,
 * when put() or copy() return or when sync() does. What a crash leaves is a body without a row: in the graves; or with a
 * number that does not count as given out, so that the next put() gets it and has to replace what lies there.
 *
 * THREADS. The functions of struct ps_ledger_bodies that get a transaction, and sync(), are called by one thread of one process
 * at a time, for a store. discard() and the others may be called at any time. A transaction belongs to one thread.
 *
 * ERRORS. 0, or a negative ps_err after ps_fail(); then outputs are untouched, but for ps_ledger_open().
 */
#ifndef POSTERN_LEDGER_H
#define POSTERN_LEDGER_H

#include "postern/index.h"
#include "postern/indexed.h"

struct ps_ledger;

/* A transaction that changes the store. Of the ledger's; ended by ps_ledger_txn_commit() or ps_ledger_txn_end(). */
struct ps_ledger_txn {
	struct ps_store *store;
	struct ps_index *index;
	struct ps_index_txn *txn;
	uint32_t file; /* as ps_ledger_take() got it */
	bool changed;  /* whoever changes something says so: what has not changed is not written, and has no number */
	void *priv;    /* the backend's, NULL at first */
};

/* What the backend does for bodies. 0 or a ps_err; when one of the first four fails, the batch is absent. PS_E_AGAIN, from the
 * index: all is done once more in a larger map. So each may be called again for what it has done before. */
struct ps_ledger_bodies {
	size_t size; /* sizeof(struct ps_ledger_bodies) */

	/* APPEND: makes it a body, of so many octets. */
	int (*put)(struct ps_ledger_txn *txn, struct ps_staged *staged, uint64_t *ret_body, uint64_t *ret_length);
	/* COPY: the body for one more row. It is the same where the backend counts how many rows have it. */
	int (*copy)(struct ps_ledger_txn *txn, uint64_t body, uint64_t *ret_body);
	/* A row that had it is gone. NULL: ps_ledger_bury(). */
	int (*drop)(struct ps_ledger_txn *txn, uint64_t body);
	/* Makes durable what put(), copy() and discard() did outside of the index. Called once, before the commit that counts on
	 * it. NULL: nothing is to be done. */
	int (*sync)(struct ps_store *store);

	/* Removes what is in the graves: one of these two. */
	/* Bodies in the index: in a later transaction than that which buried it. 1: not now. *ret_parts: what it took, counted
	 * in the backend's own measure (1: as much as any). */
	int (*remove)(struct ps_ledger_txn *txn, uint64_t body, unsigned *ret_parts);
	/* Bodies elsewhere: also called for those whose transaction was given up. What is not there is no failure. When it
	 * fails, it is called again later. */
	int (*discard)(struct ps_store *store, uint64_t body);

	/* Octets that put() takes in the index's file, roughly and not less. NULL: none. */
	uint64_t (*room)(const struct ps_staged *staged);
	void (*stage_drop)(struct ps_staged *staged); /* that of struct ps_backend */

	/* The transaction is over, whatever became of it: `priv` can go. May be NULL. */
	void (*ended)(struct ps_ledger_txn *txn);

	/* For stores whose file is replaced, as by compaction; both NULL for others. Whether another has taken the place of
	 * this one, and: calls ps_ledger_take() with that. */
	bool (*replaced)(struct ps_store *store, struct ps_index *index, uint32_t file);
	int (*follow)(struct ps_store *store);
};

/* ---- open and close ---------------------------------------------------------------------------- */

/* In `file` below args->root: makes what is missing, when args->create says so, else PS_E_NOTFOUND; INBOX, in a new store. Copies
 * `bodies`. *ret_ledger is set in any case, and goes with ps_ledger_destroy(). */
int ps_ledger_open(struct ps_store *store, const struct ps_store_args *args, const char *file,
		   const struct ps_ledger_bodies *bodies, struct ps_ledger **ret_ledger);
void ps_ledger_destroy(struct ps_ledger *ledger); /* destroy(NULL) does nothing */
/* Removes up to `max` parts of what is in the graves: at open, what a crash left. ret_removed may be NULL. */
int ps_ledger_reap(struct ps_ledger *ledger, unsigned max, unsigned *ret_removed);

/* The same in steps, for who opens files in a way of its own. take() takes over the reference; `file` is the backend's, to know it by. */
struct ps_ledger *ps_ledger_create(struct ps_store *store, const char *user, const struct ps_ledger_bodies *bodies);
void ps_ledger_take(struct ps_ledger *ledger, struct ps_index *index, uint32_t file);
/* Makes INBOX in a new one; looks at the generation: args->generation. PS_E_MOVED. */
int ps_ledger_ready(struct ps_ledger *ledger, uint64_t generation);
/* A reference to the present index. ret_file may be NULL. */
struct ps_index *ps_ledger_index(struct ps_ledger *ledger, uint32_t *ret_file);

/* ---- functions of struct ps_backend ------------------------------------------------------------ */

int ps_ledger_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox);
void ps_ledger_mailbox_close(struct ps_mbox *mbox);
int ps_ledger_stale(struct ps_store *store, struct ps_mbox *mbox);
int ps_ledger_sync(struct ps_store *store, struct ps_mbox *mbox);
int ps_ledger_read_begin(struct ps_store *store, struct ps_read **ret_read);
/* Caches are kept by body; what is put waits in memory for a commit. */
int ps_ledger_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache);
int ps_ledger_cache_put(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache);
int ps_ledger_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count);
int ps_ledger_generation(struct ps_store *store, uint64_t *ret_generation);
int ps_ledger_set_generation(struct ps_store *store, uint64_t generation);

#define PS_LEDGER_FUNCTIONS                                                                                            \
	.mailbox_open = ps_ledger_mailbox_open, .mailbox_close = ps_ledger_mailbox_close, .stale = ps_ledger_stale,    \
	.sync = ps_ledger_sync, .read_begin = ps_ledger_read_begin, .read_end = ps_indexed_end,                        \
	.list = ps_indexed_list, .list_below = ps_indexed_list_below, .info = ps_indexed_info,                         \
	.keywords = ps_indexed_keywords, .scan = ps_indexed_scan, .vanished = ps_indexed_vanished,                     \
	.cache = ps_ledger_cache, .cache_put = ps_ledger_cache_put, .commit = ps_ledger_commit,                        \
	.generation = ps_ledger_generation, .set_generation = ps_ledger_set_generation

/* ---- for the backend's own --------------------------------------------------------------------- */

struct ps_store *ps_ledger_store(const struct ps_mbox *mbox);
/* The body of a message, as a transaction sees it; as it is now. PS_E_GONE. */
int ps_ledger_body(struct ps_index_txn *txn, const struct ps_mbox *mbox, uint32_t uid, uint64_t *ret_body);
int ps_ledger_find(struct ps_mbox *mbox, uint32_t uid, uint64_t *ret_body);
int ps_ledger_locator(struct ps_bytes locator, uint64_t *ret_body); /* of a row */

/* Numbers of bodies have the highest bit set: those of mailboxes have not, and caches are kept under both. */
#define PS_LEDGER_BODY (UINT64_C(1) << 63)
static inline uint64_t ps_ledger_number(uint64_t body) /* 1, 2, 3 ... */
{
	return body & ~PS_LEDGER_BODY;
}

/* In a transaction, and undone with it: gives out a number; into the graves; out of them, for what gets a row after all. */
int ps_ledger_body_new(struct ps_ledger_txn *txn, uint64_t *ret_body);
int ps_ledger_bury(struct ps_ledger_txn *txn, uint64_t body);
int ps_ledger_dig_up(struct ps_ledger_txn *txn, uint64_t body);

int ps_ledger_txn_begin(struct ps_ledger *ledger, struct ps_ledger_txn **ret_txn);
/* PS_E_AGAIN: the map was full, and has grown. Without changes it is as ps_ledger_txn_end(). */
int ps_ledger_txn_commit(struct ps_ledger_txn *txn);
void ps_ledger_txn_end(struct ps_ledger_txn *txn); /* nothing was done */
/* After a failure with PS_E_AGAIN: ends it, and makes the map larger. */
int ps_ledger_txn_grow(struct ps_ledger_txn *txn);
/* PS_E_MOVED, unless the store still has the generation that this handle knows. */
int ps_ledger_check_generation(struct ps_ledger_txn *txn);
/* Makes sure of room for `octets` more in the index's file, beyond what is kept free for removing. PS_E_FULL, PS_E_QUOTA. */
int ps_ledger_reserve(struct ps_ledger_txn *txn, uint64_t octets);

#endif
