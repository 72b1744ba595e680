/* SPDX-License-Identifier: MIT */
/*
 * postern/catalogue.h - for backends whose files are the truth, and whose index can be thrown away.     [in-tree]
 *
 * Such a backend keeps in files all that must not be lost, and repeats it in an index (postern/index.h) for quick reading. What all of
 * them need is here: the lock between processes, and what is to be done when its last holder died; making the index, and making it
 * again; the few numbers that outlive it; transactions; handles of mailboxes, and whether somebody else changed them; what operations do
 * to rows; committing. The backend's are the files: struct ps_catalogue_files.
 *
 * The backend's struct ps_store begins with a struct ps_catalogue, and PS_CATALOGUE_FUNCTIONS stands in its struct ps_backend for
 * what need not be its own.
 *
 * WRITING happens under ps_catalogue_lock(), in this order: reserve numbers (synced); write down what is going to be done, where that is
 * more than one step (synced); ps_catalogue_unsettled(); change files; sync them; commit the index; ps_catalogue_settled(). A process that
 * dies in between leaves the mark of the last but one, and the next who takes the lock makes files and index agree.
 *
 * ERRORS. 0, or a negative ps_err after ps_fail().
 */
#ifndef POSTERN_CATALOGUE_H
#define POSTERN_CATALOGUE_H

#include <pthread.h>
#include "postern/index.h"
#include "postern/indexed.h"
#include "postern/pool.h"

#define PS_CATALOGUE_CONTROL "postern-control" /* below a store's root: files of the store's */
#define PS_CATALOGUE_INDEX   "postern-index"
#define PS_CATALOGUE_STATE   "state" /* in the first of them */

struct ps_edit;
struct ps_plan;
struct ps_picked;
struct ps_catalogue_group;
struct ps_folder; /* the backend's: a mailbox's files, shared by all that have it open */

/* Where the numbers lie in the state file, which has 24 octets. */
struct ps_catalogue_layout {
	size_t modseq, generation, uid_validity; /* uint64_t, uint64_t, uint32_t */
};

/* What the backend does. All but the last three, stage_drop() and staged() are called with the lock. */
struct ps_catalogue_files {
	const char *name; /* of the backend, for the log */
	struct ps_catalogue_layout layout;

	/* A store that has no state: whether it had one, and lost it. */
	bool (*had_state)(struct ps_store *store);
	/* Ends what a process that died had begun, or takes it back. 1: the index may not know of it. When files and index agree,
	 * recovered() (NULL: not needed) forgets it: who dies before that leaves it to the next. */
	int (*recover)(struct ps_store *store);
	int (*recovered)(struct ps_store *store);
	/* Does what commits left to be done (ps_catalogue_leave()); the index knows of all of it. NULL: they leave nothing. */
	int (*settle)(struct ps_store *store);
	/* Into the index: the tokens that files have; the list of mailboxes as it is, with what is in new ones (`rebuild`: the index
	 * knew nothing before); what is in all that may have changed. */
	int (*load_tokens)(struct ps_store *store);
	int (*sync_list)(struct ps_store *store, bool rebuild);
	int (*sync_all)(struct ps_store *store);
	int (*sync_mailbox)(struct ps_mbox *mbox);
	/* Before the lock is given back. May be NULL. */
	void (*unlocking)(struct ps_store *store);
	/* The transaction is over. Frees what is the backend's of the edit. */
	void (*edit_finish)(struct ps_edit *edit);

	/*
	 * Planning. Each adds to the plan what is to be done with files, and puts the row with ps_plan_put_row(); a row comes with
	 * all but an email id, which append() and copy() give it where it has none.
	 */
	int (*edit)(struct ps_plan *plan, uint64_t key,
		    struct ps_edit **ret_edit); /* begun at its first use. PS_E_GONE */
	/* Bits that no keyword may have. NULL: none. */
	uint64_t (*keyword_bits_taken)(const struct ps_edit *edit);
	int (*staged)(const struct ps_staged *staged, uint64_t *ret_size); /* whether it is whole */
	int (*append)(struct ps_plan *plan, struct ps_edit *edit, const struct ps_op *op, struct ps_row *row);
	int (*change)(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old,
		      const struct ps_row *row);
	int (*remove)(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old); /* no row is put */
	/* `move`: the old one goes. */
	int (*copy)(struct ps_plan *plan, struct ps_edit *from, struct ps_edit *to, const struct ps_picked *old,
		    struct ps_row *row, bool move);
	int (*mailbox_op)(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result);
	/* Names of mailboxes that are subscribed, each with its NUL; whether the disk can hold one. */
	int (*name_fits)(struct ps_store *store, const char *name);
	int (*read_subscriptions)(struct ps_store *store, struct ps_buf *out);
	int (*write_subscriptions)(struct ps_plan *plan, struct ps_bytes names);
	/* 1: the batch has come before. Then: it is kept, with what the batch does. */
	int (*token_seen)(struct ps_plan *plan, const struct ps_batch *batch);
	int (*token_keep)(struct ps_plan *plan, const struct ps_batch *batch);

	/* Committing. Before anything is planned (may be NULL); plans what is pending, by ps_plan_batch(), and does it; looks for a
	 * file that was not where the index says. */
	void (*look_before)(struct ps_catalogue_group *group);
	int (*attempt)(struct ps_catalogue_group *group);
	int (*look_again)(struct ps_catalogue_group *group);
	bool can_do_with_less; /* attempt() has another way where there is no room */
	void (*stage_drop)(struct ps_staged *staged);

	/* PS_E_GONE: its files are not there. */
	int (*folder_open)(struct ps_store *store, const struct ps_index_box *box, struct ps_folder **ret_folder);
	void (*folder_close)(struct ps_mbox *mbox);
	/* Whether files are other than the index knows: of a mailbox, or (NULL) of the list. Never wait for a writer. */
	int (*differs)(struct ps_store *store, struct ps_mbox *mbox);
};

struct ps_catalogue {
	const struct ps_catalogue_files *files;
	char *user, *root, *index_path;
	int root_fd, control_fd, aside_fd, lock_fd;
	pthread_mutex_t writer;                      /* taken with the file lock, which guards what follows */
	uint64_t modseq_reserved, stored_generation; /* as on disk. Nothing above these was ever told */
	uint32_t uid_validity_high;                  /* the highest ever given to any mailbox */
	uint64_t generation;                         /* as this handle knows it */
	bool pending;                                /* a change stopped half-way: recover before anything else */
	bool left;                                   /* something was left to be done later */
	struct ps_buf
		brought; /* modseqs that the index was not told of; for scans, while files and index are made to agree */

	pthread_mutex_t mutex; /* guards what follows */
	struct ps_index *index;
	uint64_t own_txn;     /* the index's last transaction that this handle knows of */
	uint64_t foreign_gen; /* counts when it meets transactions of others */
	uint64_t list_gen;    /* foreign_gen at the last look at the list of mailboxes */
};

struct ps_mbox {
	uint64_t key; /* first: postern/indexed.h */
	struct ps_store *store;
	struct ps_folder *folder;
	uint64_t seen_gen; /* of foreign_gen, at the last sync; under the catalogue's mutex */
};

static inline struct ps_catalogue *ps_catalogue_of(struct ps_store *store)
{
	return (struct ps_catalogue *)store;
}

/* ---- opening and closing ------------------------------------------------------------------------ */

/* Of a store that is filled with zeros. */
void ps_catalogue_init(struct ps_catalogue *cat, const struct ps_catalogue_files *files,
		       const struct ps_store_args *args);
void ps_catalogue_finish(struct ps_catalogue *cat);
/* Opens the directories, and makes them where args->create says so. PS_E_MOVED, PS_E_NOTFOUND. */
int ps_catalogue_open_dirs(struct ps_catalogue *cat, const struct ps_store_args *args);
/* Takes the lock for the first time, and learns the generation; then, with the lock, calls `ready`. */
int ps_catalogue_open(struct ps_store *store, int (*ready)(struct ps_store *store));
int ps_catalogue_make_dir(int dirfd, const char *name, int *ret_fd); /* durable; it may be there already */

/* ---- the lock ------------------------------------------------------------------------------------- */

/* Takes the lock between processes and makes everything fit to be written: recovers what a process that died left, and makes
 * the index again if it is gone. PS_E_BUSY, PS_E_MOVED. */
int ps_catalogue_lock(struct ps_store *store);
void ps_catalogue_unlock(struct ps_store *store);
/* From here on a death leaves files and index at odds (until it is settled). */
int ps_catalogue_unsettled(struct ps_store *store);
void ps_catalogue_settled(struct ps_store *store);
/*
 * What is acknowledged once it is written down may be done later: files and index then differ in what the backend knows. It says so, with
 * the lock, before it settles; the mark is another one then. Whoever takes the lock next has it done first, by settle(), but for commit():
 * attempt() sees `left`, and calls catch_up() unless it can do without.
 */
void ps_catalogue_leave(struct ps_store *store);
int ps_catalogue_catch_up(struct ps_store *store);

/* ---- the index ------------------------------------------------------------------------------------- */

struct ps_index *ps_catalogue_index(struct ps_store *store); /* a reference, or NULL; close it */
/* It cannot be trusted or written: remove it. The next ps_catalogue_lock() makes it again. */
void ps_catalogue_drop_index(struct ps_store *store);
/* The same, and makes it again at once, so that a read sees what was done; with the lock. Where that fails, for want of
 * room, the next ps_catalogue_lock() does it. */
void ps_catalogue_renew_index(struct ps_store *store);
int ps_catalogue_grow_index(struct ps_store *store);
/* What it says of a mailbox, by key or (not NULL) by name. PS_E_NOTFOUND. */
int ps_catalogue_box(struct ps_store *store, uint64_t key, const char *name, struct ps_index_box *ret_box);

/* ---- transactions ------------------------------------------------------------------------------------- */

/* A mailbox that is being changed. The backend's own begins with this. */
struct ps_edit {
	struct ps_edit *next;
	struct ps_index_box box;
	struct ps_keyword_table keywords;
	bool removed;
};
struct ps_catalogue_txn {
	struct ps_store *store;
	struct ps_index *index;
	struct ps_index_txn *txn; /* NULL: ended */
	struct ps_pool *pool;     /* NULL: finished */
	struct ps_edit *edits;
	uint64_t modseq; /* the last one given */
};
int ps_catalogue_txn_begin(struct ps_store *store, struct ps_catalogue_txn *ret_txn);
/* Takes over an edit, which has its box, and loads its keywords. */
int ps_catalogue_add_edit(struct ps_catalogue_txn *t, struct ps_edit *edit);
/* The edit with this key: 1, or 0 when there is none; PS_E_GONE. */
int ps_catalogue_find_edit(struct ps_catalogue_txn *t, uint64_t key, struct ps_edit **ret_edit);
/* Writes the edits and commits; the transaction is not finished yet. */
int ps_catalogue_txn_put(struct ps_catalogue_txn *t);
void ps_catalogue_txn_end(struct ps_catalogue_txn *t); /* finishes it; what was not committed was not done */
/* Both. */
int ps_catalogue_txn_commit(struct ps_catalogue_txn *t);
/* A small change beside all this, that nobody waits for. `fn` returns 1 for a change, 0 for none. */
int ps_catalogue_try(struct ps_store *store, int (*fn)(void *arg, struct ps_index_txn *txn), void *arg);

/* Modseqs that were given are reserved, durably. */
int ps_catalogue_reserve(struct ps_catalogue_txn *t);
/* A UIDVALIDITY above all there ever were, durable; `wanted` counts as given. */
int ps_catalogue_uid_validity(struct ps_catalogue_txn *t, uint32_t wanted, uint32_t *ret_uid_validity);
int64_t ps_catalogue_now(void);
struct ps_id ps_catalogue_new_id(void);
bool ps_catalogue_is_none(const struct ps_id *id);
/* The index's key for a mailbox: part of its id, so that handles outlive an index. */
uint64_t ps_catalogue_key(const struct ps_id *id);

/* ---- plans ------------------------------------------------------------------------------------------------ */

/* What several batches do to index and files. Nothing of it is done yet. The backend's own begins with this. */
struct ps_plan {
	struct ps_catalogue_txn *t;
	struct ps_pool *pool; /* of this attempt */
	struct ps_batch *batch;
	uint64_t modseq;       /* of the batch; 0: none given yet */
	struct ps_buf brought; /* modseqs of all batches, as below */
	bool subscriptions_loaded, subscriptions_changed;
	struct ps_buf subscriptions;
};
/* A message that is there. */
struct ps_picked {
	struct ps_row row;
	struct ps_bytes locator;
};
int ps_plan_batch(struct ps_plan *plan, struct ps_batch *batch);
void ps_plan_finish(struct ps_plan *plan);
uint64_t ps_plan_modseq(struct ps_plan *plan); /* the batch's */
int ps_plan_put_row(struct ps_plan *plan, struct ps_edit *edit, const struct ps_row *row, struct ps_bytes locator);
int ps_plan_vanish(struct ps_plan *plan, struct ps_edit *edit, uint32_t uid);
/* As the batches so far make it. PS_E_NOTFOUND. */
int ps_plan_find_box(struct ps_plan *plan, const char *name, struct ps_index_box *ret_box);
int ps_plan_free_name(struct ps_plan *plan, const char *name); /* PS_E_EXISTS, PS_E_LIMIT */
/* No mailbox but `mine` (0: none) has it. */
int ps_plan_free_id(struct ps_plan *plan, const struct ps_id *id, uint64_t mine);

/* Batches of one commit(). Those that are still to be done have PS_BATCH_PENDING in `err`. */
#define PS_BATCH_PENDING 1
struct ps_catalogue_group {
	struct ps_store *store;
	struct ps_batch *const *batches;
	size_t count;
	size_t failed; /* attempt()'s: the batch whose planning failed; count: none */
	bool no_room;  /* the last attempt found none */
};

/* ---- functions of struct ps_backend --------------------------------------------------------------------- */

int ps_catalogue_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox);
void ps_catalogue_mailbox_close(struct ps_mbox *mbox);
int ps_catalogue_stale(struct ps_store *store, struct ps_mbox *mbox);
int ps_catalogue_sync(struct ps_store *store, struct ps_mbox *mbox);
int ps_catalogue_read_begin(struct ps_store *store, struct ps_read **ret_read);
int ps_catalogue_cache_put(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache);
int ps_catalogue_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count);
int ps_catalogue_settle(struct ps_store *store); /* for who leaves something */
int ps_catalogue_generation(struct ps_store *store, uint64_t *ret_generation);
int ps_catalogue_set_generation(struct ps_store *store, uint64_t generation);

#define PS_CATALOGUE_FUNCTIONS                                                                                         \
	.mailbox_open = ps_catalogue_mailbox_open, .mailbox_close = ps_catalogue_mailbox_close,                        \
	.stale = ps_catalogue_stale, .sync = ps_catalogue_sync, .read_begin = ps_catalogue_read_begin,                 \
	.read_end = ps_indexed_end, .list = ps_indexed_list, .list_below = ps_indexed_list_below,                      \
	.info = ps_indexed_info, .keywords = ps_indexed_keywords, .scan = ps_indexed_scan,                             \
	.vanished = ps_indexed_vanished, .cache = ps_indexed_cache, .cache_put = ps_catalogue_cache_put,               \
	.commit = ps_catalogue_commit, .generation = ps_catalogue_generation,                                          \
	.set_generation = ps_catalogue_set_generation

/* What others did, or a handle must know: the next stale() says so. */
void ps_catalogue_foreign(struct ps_store *store);

/*
 * ---- modseqs that a batch brought along ---------------------------------------------------------
 *
 * A batch for a copy of another store says which modseqs its messages get, and no file keeps them: they are in the index alone. So where
 * such a batch changes files, the backend's record of what it is about to do has them too; and should the index not learn of the
 * batch, because the process died or it could not be written, the next scan of the mailbox gives messages the modseqs that
 * they were to have, and not new ones.
 */
struct ps_brought {
	uint64_t key;    /* of the mailbox */
	uint64_t batch;  /* the batch's modseq */
	uint64_t modseq; /* the message's */
	uint32_t uid;
	uint32_t spare;
};
/* What a record says of one mailbox, for a scan of it. */
struct ps_brought_table {
	struct ps_brought *rows; /* by UID */
	size_t count;
};

/* One that has nothing to say, as it would get the same modseq anyway, is left out. */
void ps_brought_put(struct ps_buf *record, const struct ps_batch *batch, const struct ps_brought *one);
/* Of `record` (any number of struct ps_brought) what is about this mailbox, if the index does not know of the batch yet; then the box's
 * highest_modseq and *modseq, the last one given, become at least the batch's. */
void ps_brought_find(struct ps_bytes record, struct ps_index_box *box, struct ps_pool *pool, uint64_t *modseq,
		     struct ps_brought_table *ret_table);
uint64_t ps_brought_modseq(const struct ps_brought_table *table, uint32_t uid); /* 0: none */

#endif
