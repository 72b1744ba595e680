/* SPDX-License-Identifier: MIT */
/*
 * What the files of the ledger share.
 */
#ifndef CORE_STORE_LEDGER_PRIVATE_H
#define CORE_STORE_LEDGER_PRIVATE_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include "postern/io.h"
#include "postern/ledger.h"

enum {
	PAGE = 4096,
	REAP_AT_ONCE = 128, /* parts of dead bodies that a commit takes along */
	DISCARD_AT_ONCE = 4096,
};

/* A cache that was made for a message without one, until the next commit takes it along. */
struct late_cache {
	struct late_cache *next;
	uint64_t body;
	uint64_t key; /* of the mailbox it was in */
	uint32_t uid;
	size_t len;
	uint8_t octets[];
};

struct ps_ledger {
	struct ps_store *store;
	struct ps_ledger_bodies bodies;
	char *user;

	pthread_mutex_t lock; /* guards what follows; never held while waiting for the disk */
	struct ps_index *index;
	uint32_t file;
	uint64_t generation;
	uint64_t own_txn;   /* what it and those before it changed is known */
	unsigned foreign;   /* counts what others did */
	unsigned seen;      /* of the list of mailboxes, at the last sync() */
	uint64_t allocated; /* the file has blocks up to here */
	struct late_cache *late;
	size_t late_count;
};

struct ps_mbox {
	uint64_t key;
	struct ps_store *store;
	atomic_uint seen;
};

static inline struct ps_ledger *ledger_of(struct ps_store *store)
{
	return *(struct ps_ledger **)(void *)store;
}

/* ---- txn.c ------------------------------------------------------------------------------------- */

struct txn {
	struct ps_ledger_txn pub; /* first */
	struct ps_ledger *ledger;
	uint64_t given, last; /* how many numbers it gave out, and the last of them */
	bool must_sync;       /* bodies elsewhere must be durable before */
	uint64_t *buried;
	size_t buried_count;
};

static inline struct txn *txn_of(struct ps_ledger_txn *txn)
{
	return (struct txn *)txn;
}

/* ---- bodies.c ---------------------------------------------------------------------------------- */

int ledger_reap(struct ps_ledger_txn *txn, unsigned max, unsigned *ret_removed);
/* Bodies elsewhere: those of numbers that do not count; those that are in the graves. */
void ledger_discard_given(struct txn *txn);
void ledger_discard_buried(struct txn *txn);

/* ---- caches.c ---------------------------------------------------------------------------------- */

int ledger_put_late_caches(struct ps_ledger_txn *txn); /* those that wait */
void ledger_drop_late_caches(struct ps_ledger *ledger);

/* ---- draft.c, messages.c, mailboxes.c ------------------------------------------------------------ */

/* A mailbox as a batch changes it; written back when the batch is done. */
struct draft_box {
	struct draft_box *next;
	struct ps_index_box box, was;
	const char *keywords[PS_KEYWORDS_MAX];
	size_t keyword_count;
	bool have_keywords, keywords_changed, deleted;
};

struct draft {
	struct ps_ledger_txn *txn;
	struct ps_index_txn *index; /* of txn */
	const struct ps_ledger_bodies *bodies;
	const struct ps_batch *batch;
	struct ps_pool *pool; /* for this attempt */
	struct draft_box *boxes;
	uint64_t modseq; /* the batch's; 0: nothing has changed yet */
};

void draft_init(struct draft *draft, struct ps_ledger_txn *txn, const struct ps_batch *batch);
void draft_finish(struct draft *draft);
int draft_write(struct draft *draft);                                                       /* the mailboxes */
int draft_box(struct draft *draft, const struct ps_mbox *mbox, struct draft_box **ret_box); /* PS_E_GONE */
int draft_find(struct draft *draft, const char *name, struct draft_box **ret_box);          /* PS_E_NOTFOUND */
int draft_modseq(struct draft *draft, uint64_t *ret_modseq);
int draft_note(struct draft *draft, struct draft_box *box, uint64_t *ret_modseq); /* the mailbox changes */
/* `add`: unknown names get a bit; else they are left out. */
int draft_keywords(struct draft *draft, struct draft_box *box, const char *const *names, bool add, uint64_t *ret_mask);
int draft_load_keywords(struct draft *draft, struct draft_box *box);
int draft_drop_body(struct draft *draft, uint64_t body);

typedef int (*operation_fn)(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_append(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_flags(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_expunge(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_copy(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_move(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_create(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_rename(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_delete(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_subscribe(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_attributes(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int ledger_identity(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);

static inline bool id_is_zero(const struct ps_id *id)
{
	static const struct ps_id zero;

	return memcmp(id, &zero, sizeof zero) == 0;
}

#endif
