/* SPDX-License-Identifier: MIT */
/*
 * What the files of the local index share.
 */
#ifndef CORE_STORE_INDEX_PRIVATE_H
#define CORE_STORE_INDEX_PRIVATE_H

#include <stdatomic.h>
#include <endian.h>
#include <lmdb.h>
#include <pthread.h>
#include <sys/stat.h>
#include "postern/index.h"
#include "postern/pool.h"

/*
 * Keys are big-endian, so that LMDB's order is ours; `box` is the mailbox's 64-bit key.
 *   META      name                  value
 *   BOXES     box                   struct box_record, name
 *   NAMES     name                  box
 *   KEYWORDS  box                   names, each with its NUL
 *   ROWS      box uid               struct row_record, locator
 *   CHANGES   box modseq uid        nothing
 *   VANISHED  box modseq first-uid  last-uid
 *   CACHE     box uid               checksum of key and length, spare, octets
 *   TOKENS    token                 struct token_record
 *   TOKEN_TIMES  time token         nothing
 * and in a durable one:
 *   GRAVES         body             nothing
 *   SUBSCRIPTIONS  mailbox name     nothing
 */
enum index_db {
	DB_META,
	DB_BOXES,
	DB_NAMES,
	DB_KEYWORDS,
	DB_ROWS,
	DB_CHANGES,
	DB_VANISHED,
	DB_CACHE,
	DB_TOKENS,
	DB_TOKEN_TIMES,
	DB_DISPOSABLE_COUNT,
	DB_GRAVES = DB_DISPOSABLE_COUNT,
	DB_SUBSCRIPTIONS,
	DB_COUNT
};

struct index_folder {
	dev_t dev;
	ino_t ino;
};

struct ps_index {
	struct ps_index *next; /* of those open in this process */
	struct index_folder folder;
	_Atomic unsigned refs; /* from 1 down to 0, and from 0 up, under the lock of the registry only */
	pid_t pid;
	char *path;
	char *databases[PS_INDEX_DATABASES + 1]; /* names of the backend's own */
	dev_t dev;
	ino_t ino;    /* of data.mdb */
	MDB_env *env; /* NULL: it was closed to be opened anew, and that failed */
	MDB_dbi dbi[DB_COUNT + PS_INDEX_DATABASES];
	bool durable; /* it is one file, with no mark */
	int mark_fd;
	bool marked; /* the mark says "in use" durably */
	unsigned writes, writes_before,
		writes_seen; /* those when the environment was opened, and at the last look for what is to be renewed */
	int64_t opened_at;

	pthread_mutex_t writer; /* one writing thread of the process; LMDB has its own between processes */
	pthread_mutex_t lock;   /* guards what follows */
	pthread_cond_t idle;
	unsigned txns; /* open now: the map may be changed at 0 only */
	bool resizing; /* no new ones are opened for a moment */
};

struct ps_index_txn {
	struct ps_index *index;
	MDB_txn *txn;
	MDB_cursor *caches; /* of a read: where the last cache was; NULL: none was asked for */
	/* Of a write: the last row, and where changes were taken out and put in. What comes next is in the same page, mostly. NULL: none. */
	MDB_cursor *rows, *changes_out, *changes_in;
	bool write;
};

struct row_key {
	uint64_t box;
	uint32_t uid;
} __attribute__((packed));

struct change_key {
	uint64_t box;
	uint64_t modseq;
	uint32_t uid;
} __attribute__((packed));

static inline struct row_key row_key(uint64_t box, uint32_t uid)
{
	return (struct row_key){htobe64(box), htobe32(uid)};
}

static inline struct change_key change_key(uint64_t box, uint64_t modseq, uint32_t uid)
{
	return (struct change_key){htobe64(box), htobe64(modseq), htobe32(uid)};
}

/* rows.c */
int row_decode(MDB_val key, MDB_val value, struct ps_row *ret_row, struct ps_bytes *ret_locator);
/* Walks the records of CHANGES or VANISHED with a modseq above `since`. */
int index_walk_since(struct ps_index_txn *txn, enum index_db db, uint64_t key, uint64_t since,
		     int (*fn)(void *arg, const struct change_key *ck, MDB_val value), void *arg);
void index_count_row(struct ps_index_box *box, const struct ps_row *row, int sign); /* in its counters */

/* boxes.c: keys of NAMES or SUBSCRIPTIONS that are `top` or below it; NULL: all. */
int index_walk_names(struct ps_index_txn *txn, enum index_db db, const char *top, ps_index_name_fn fn, void *arg);

/* check.c: whether all of it can be read, and agrees. */
bool index_is_sound(struct ps_index_txn *txn);

/* env.c: with the lock, and no transaction. */
int index_reopen_env(struct ps_index *index);

/* Says what LMDB said, as a ps_err. */
int index_fail(int rc, const char *what);
/* The mark of use, durable before the first change that is not. */
int index_mark_used(struct ps_index *index);

static inline MDB_val index_val(const void *data, size_t len)
{
	return (MDB_val){.mv_size = len, .mv_data = (void *)(uintptr_t)data};
}

int index_get(struct ps_index_txn *txn, enum index_db db, MDB_val key, MDB_val *ret_value);
int index_put(struct ps_index_txn *txn, enum index_db db, MDB_val key, MDB_val value);
int index_del(struct ps_index_txn *txn, enum index_db db, MDB_val key); /* absent is fine */
/* Removes all keys that begin with a mailbox's (as it lies in the key: big-endian). */
int index_del_below(struct ps_index_txn *txn, enum index_db db, uint64_t be);

#endif
