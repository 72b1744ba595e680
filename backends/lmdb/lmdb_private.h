/* SPDX-License-Identifier: MIT */
/*
 * What the files of the lmdb backend share. Included by nobody else.
 *
 * A store is one LMDB environment: the index library keeps mailboxes and rows in it, we keep bodies beside them, and a
 * batch is one transaction over both. A row's locator is the number of its body. lmdb.rst says what lies on disk.
 */
#ifndef BACKENDS_LMDB_PRIVATE_H
#define BACKENDS_LMDB_PRIVATE_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include "postern/backend.h"
#include "postern/index.h"
#include "postern/io.h"
#include "postern/pool.h"

/*
 * Our databases. Numbers in keys are big-endian.
 *   BODIES         body           struct body_record
 *   CHUNKS         body n         struct chunk_head, octets
 *   GRAVES         body           nothing: no row has it; it goes when nobody reads it
 *   SUBSCRIPTIONS  mailbox name   nothing
 * A body's cache is the index's, under the body's number and UID 0. Bodies have the highest bit set, mailboxes have not.
 */
enum own_db {
	DB_BODIES,
	DB_CHUNKS,
	DB_GRAVES,
	DB_SUBSCRIPTIONS
};

#define BODY_BIT (UINT64_C(1) << 63)

enum {
	PAGE = 4096,
	/* Octets of a message in one chunk: with both heads, LMDB's and ours, it fills whole pages. */
	CHUNK_PLAIN = 16 * PAGE - 16 - 8,
	/* Messages of more chunks are written ahead of their batch, so many chunks a transaction. */
	AHEAD_CHUNKS = 64,
	NAME_SIZE = 32
};

struct body_record {
	uint32_t refs;
	uint32_t chunks;
	uint64_t length;
	uint32_t crc; /* CRC-32C of all octets */
	uint32_t spare;
};

enum codec {
	CODEC_NONE,
	CODEC_ZSTD
};

struct chunk_head {
	uint32_t plain; /* octets, when decoded */
	uint32_t codec;
};

/* A body that is open somewhere in this store handle, or being removed by it. */
struct pin {
	uint64_t body;
	unsigned count;
	bool doomed;
};

/* A cache that was made for a message without one, until the next commit takes it along. */
struct late_cache {
	struct late_cache *next;
	uint64_t body;
	size_t len;
	uint8_t octets[];
};

struct ps_store {
	char *user, *root;
	int root_fd, pins_fd;
	bool zstd;
	atomic_size_t staged; /* octets of messages that were staged and not committed yet */

	pthread_mutex_t lock; /* guards what follows; never held while waiting for the disk */
	struct ps_index *index;
	uint32_t number; /* of the file it is in */
	uint64_t generation;
	uint64_t own_txn; /* what it and those before it changed is known */
	unsigned foreign; /* counts what others did */
	unsigned seen;    /* of the list of mailboxes, at the last sync() */
	struct pin *pins;
	size_t pin_count, pin_cap;
	struct late_cache *late;
	size_t late_count;
	uint64_t allocated; /* the file has blocks up to here */
};

struct ps_mbox {
	struct ps_store *store;
	uint64_t key;
	atomic_uint seen;
};

struct ps_read {
	struct ps_store *store;
	struct ps_index *index;
	struct ps_index_txn *txn;
	struct ps_pool *pool;
};

/* ---- store.c ------------------------------------------------------------------------------- */

int lmdb_open(const struct ps_store_args *args, struct ps_store **ret_store);
void lmdb_close(struct ps_store *store);
int lmdb_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox);
void lmdb_mailbox_close(struct ps_mbox *mbox);
int lmdb_stale(struct ps_store *store, struct ps_mbox *mbox);
int lmdb_sync(struct ps_store *store, struct ps_mbox *mbox);
int lmdb_generation(struct ps_store *store, uint64_t *ret_generation);
int lmdb_set_generation(struct ps_store *store, uint64_t generation);

/* ---- file.c: which file is the store's, and making it another ------------------------------- */

#define FILE_ASIDE "mail-compact.tmp"

extern size_t file_first_map; /* tests make it small */
void file_name(uint32_t number, char ret_name[NAME_SIZE]);
uint32_t file_number(const char *name); /* 0: it is no store's file */
/* Opens the present file. PS_E_NOTFOUND when there is none and none is to be made. */
int file_open(struct ps_store *store, bool create, bool *ret_made);
/* Whether another has taken its place. */
bool file_was_replaced(const struct ps_store *store, struct ps_index *index, uint32_t number);
/* Opens what has taken its place. */
int file_follow(struct ps_store *store);
void file_remove_leftovers(struct ps_store *store);
/* A reference to the present one; ret_number (may be NULL): of its file. */
struct ps_index *store_index(struct ps_store *store, uint32_t *ret_number);
uint64_t file_free_pages(struct ps_index *index);
int lmdb_compact(struct ps_store *store, uint64_t *ret_octets);

/* ---- writer.c: a transaction that changes the store ------------------------------------------ */

struct writer {
	struct ps_store *store;
	struct ps_index *index;
	uint32_t number;
	struct ps_index_txn *txn;
	bool changed;     /* whoever changes something says so: LMDB gives a transaction without changes no number */
	uint64_t *doomed; /* bodies it removes */
	size_t doomed_count;
};

int writer_begin(struct ps_store *store, struct writer *ret_writer);
/* PS_E_AGAIN: the map was full, and has grown. Without changes it is as writer_end(). */
int writer_commit(struct writer *w);
void writer_end(struct writer *w); /* nothing was done */
/* After a failure with PS_E_AGAIN: ends it, and makes the map larger. */
int writer_grow(struct writer *w);
/* PS_E_MOVED, unless the store still has the generation that this handle knows. */
int writer_check_generation(struct writer *w);
/* Makes sure of room for `octets` more, beyond what is kept free for removing. PS_E_FULL, PS_E_QUOTA. */
int writer_reserve(struct writer *w, uint64_t octets);
MDB_txn *writer_lmdb(const struct writer *w);

/* ---- bodies.c: bodies in a transaction ------------------------------------------------------- */

int body_record(struct ps_index *index, struct ps_index_txn *txn, uint64_t body,
		struct body_record *ret_record); /* PS_E_NOTFOUND */
/* Points into the map. */
int body_chunk(struct ps_index *index, struct ps_index_txn *txn, uint64_t body, uint32_t n, struct chunk_head *ret_head,
	       struct ps_bytes *ret_octets);
/* The body of a row. */
int body_of_row(struct ps_index_txn *txn, uint64_t key, uint32_t uid, uint64_t *ret_body); /* PS_E_NOTFOUND */
int body_of_locator(struct ps_bytes locator, uint64_t *ret_body);
int body_new(struct writer *w, uint64_t *ret_body);
int body_put(struct writer *w, uint64_t body, const struct body_record *record);
/* Room for a chunk, to be filled at once. */
int body_chunk_put(struct writer *w, uint64_t body, uint32_t n, const struct chunk_head *head, size_t len,
		   uint8_t **ret_space);
int body_ref(struct writer *w, uint64_t body);
int body_unref(struct writer *w, uint64_t body); /* the last one: to the graves */
int body_bury(struct writer *w, uint64_t body);
int body_dig_up(struct writer *w, uint64_t body);
int bodies_in_graves(struct ps_store *store, uint64_t *ret_count);
/* Removes up to `max` chunks of what is in the graves and that nobody reads. */
int bodies_reap(struct writer *w, unsigned max, unsigned *ret_removed);

/* ---- pins.c: what must not be removed yet, by this process or another -------------------------- */

int pin_take(struct ps_store *store, uint64_t body); /* PS_E_GONE: it is being removed */
void pin_drop(struct ps_store *store, uint64_t body);
bool pin_doom(struct ps_store *store, uint64_t body); /* false: somebody has it open */
void pin_undoom(struct ps_store *store, uint64_t body);

/* ---- read.c, body.c ---------------------------------------------------------------------------- */

int lmdb_read_begin(struct ps_store *store, struct ps_read **ret_read);
void lmdb_read_end(struct ps_read *read);
int lmdb_list(struct ps_read *read, ps_mailbox_fn fn, void *arg);
int lmdb_info(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info);
int lmdb_keywords(struct ps_read *read, struct ps_mbox *mbox, const char *const **ret_names, size_t *ret_count);
int lmdb_scan(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since, ps_row_fn fn,
	      void *arg);
int lmdb_vanished(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg);
int lmdb_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache);
int lmdb_cache_put(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache);
int late_caches_put(struct writer *w); /* those that wait */
void late_caches_drop(struct ps_store *store);
int lmdb_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body);
void lmdb_body_rest(struct ps_body *body);
void lmdb_body_close(struct ps_body *body);

/* ---- stage.c, zstd.c ---------------------------------------------------------------------------- */

int lmdb_stage(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged);
int lmdb_stage_write(struct ps_staged *staged, struct ps_bytes octets);
int lmdb_stage_finish(struct ps_staged *staged);
void lmdb_stage_drop(struct ps_staged *staged);
uint64_t staged_length(const struct ps_staged *staged);
/* Octets that it takes in the file, roughly and not less. */
uint64_t staged_room(const struct ps_staged *staged);
/* Makes it a body with one reference. May be done again when the transaction was given up. */
int staged_put(struct writer *w, const struct ps_staged *staged, uint64_t *ret_body);

/* Compresses a chunk where that wins: true, and *ret_len octets are in `out`, which has room for `in.len`. */
bool zstd_pack(struct ps_bytes in, uint8_t *out, size_t *ret_len);
int zstd_unpack(struct ps_bytes in, uint8_t *out, size_t len); /* PS_E_CORRUPT unless it gives exactly `len` octets */

/* ---- commit.c, draft.c, messages.c, mailboxes.c -------------------------------------------------- */

/* A mailbox as a batch changes it; written back when the batch is done. */
struct draft_box {
	struct draft_box *next;
	struct ps_index_box box, was;
	const char *keywords[PS_KEYWORDS_MAX];
	size_t keyword_count;
	bool have_keywords, keywords_changed, deleted;
};

struct draft {
	struct writer *w;
	const struct ps_batch *batch;
	struct ps_pool *pool; /* for this attempt */
	struct draft_box *boxes;
	uint64_t modseq; /* the batch's; 0: nothing has changed yet */
};

int draft_box(struct draft *draft, const struct ps_mbox *mbox, struct draft_box **ret_box); /* PS_E_GONE */
int draft_find(struct draft *draft, const char *name, struct draft_box **ret_box);          /* PS_E_NOTFOUND */
int draft_load(struct draft *draft, uint64_t key, struct draft_box **ret_box);              /* PS_E_NOTFOUND */
int draft_modseq(struct draft *draft, uint64_t *ret_modseq);
int draft_note(struct draft *draft, struct draft_box *box, uint64_t *ret_modseq); /* the mailbox changes */
/* `add`: unknown names get a bit; else they are left out. */
int draft_keywords(struct draft *draft, struct draft_box *box, const char *const *names, bool add, uint64_t *ret_mask);
int draft_load_keywords(struct draft *draft, struct draft_box *box);
int draft_finish(struct draft *draft);

typedef int (*operation_fn)(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_append(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_flags(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_expunge(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_copy(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_move(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_create(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_rename(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_delete(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_subscribe(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_attributes(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int op_identity(struct draft *draft, const struct ps_op *op, struct ps_op_result *result);
int lmdb_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count);

/* ---- check.c -------------------------------------------------------------------------------------- */

int lmdb_check(struct ps_store *store, void (*fault)(void *arg, const char *sentence), void *arg);

static inline MDB_val val(const void *data, size_t len)
{
	return (MDB_val){.mv_size = len, .mv_data = (void *)(uintptr_t)data};
}

static inline bool id_is_zero(const struct ps_id *id)
{
	static const struct ps_id zero;

	return memcmp(id, &zero, sizeof zero) == 0;
}

#endif
