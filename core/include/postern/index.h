/* SPDX-License-Identifier: MIT */
/*
 * postern/index.h - the local index, for backends that keep messages in files.     [stable]
 *
 * One LMDB environment per store: mailboxes, rows with a locator (where the backend finds the message), the
 * order of changes, what vanished, keyword names and caches. It is a cache of what the mail store itself says,
 * and it is not synced at each commit:
 *   - a process that is killed does not hurt it (LMDB is never half-written for another process);
 *   - a crash of the machine may. It is noticed (another boot id, and no mark of a clean close) and the index
 *     is then begun anew; so is one that LMDB or our checksums find damaged.
 * Whoever uses it can therefore make it again, and serialises its writers with a lock of their own.
 *
 * THREADS. A transaction is used by one thread; reads never wait for a writer. Open after fork().
 */
#ifndef POSTERN_INDEX_H
#define POSTERN_INDEX_H

#include "postern/backend.h"

struct ps_index;
struct ps_index_txn;

#define PS_INDEX_NAME_MAX 510

/* What is kept of a mailbox. ps_index_row_put() and ps_index_row_vanish() maintain the counters and
 * highest_modseq in the caller's copy; ps_index_box_put() stores it. */
struct ps_index_box {
	uint64_t key; /* 0: ps_index_box_put() gives one; not used twice by one index */
	struct ps_id id;
	uint64_t highest_modseq;
	uint64_t vanished_since;
	uint64_t size;
	uint32_t attributes;
	uint32_t uid_validity;
	uint32_t uid_next;
	uint32_t messages;
	uint32_t unseen;
	uint32_t deleted;
	uint32_t vanished_count; /* of records */
	uint32_t spare;
	uint64_t priv[8]; /* the backend's, zero at first */
	char name[PS_INDEX_NAME_MAX + 2];
};

/* `path`: a directory, made if missing. ret_fresh: it is empty and the caller must fill it, then say so with
 * ps_index_complete(). Opening one index twice in a process gives the same handle, counted. */
int ps_index_open(const char *path, struct ps_index **ret_index, bool *ret_fresh);
struct ps_index *ps_index_ref(struct ps_index *index);
void ps_index_close(struct ps_index *index); /* close(NULL) does nothing */
/* Whether `path` still is this index; false after it was removed, by anybody. */
bool ps_index_is_at(const struct ps_index *index, const char *path);
/* Removes the files: they are damaged, or cannot be written any more. Who has them open keeps reading the old
 * state. The caller holds the lock that serialises writers. */
void ps_index_discard(const char *path);
/* The number of the last transaction committed, by any process. */
uint64_t ps_index_last_txn(struct ps_index *index);

int ps_index_read(struct ps_index *index, struct ps_index_txn **ret_txn);
/* A change fails with PS_E_AGAIN when the map is full: abort, ps_index_grow(), begin again. PS_E_CORRUPT: discard. */
int ps_index_write(struct ps_index *index, struct ps_index_txn **ret_txn);
/* The same, but PS_E_BUSY rather than wait for another writer of this process. */
int ps_index_write_try(struct ps_index *index, struct ps_index_txn **ret_txn);
/* Waits until no transaction of this process is open; PS_E_BUSY after ten seconds. */
int ps_index_grow(struct ps_index *index);
int ps_index_commit(struct ps_index_txn *txn);
void ps_index_end(struct ps_index_txn *txn); /* ends a read, aborts a write; end(NULL) does nothing */
uint64_t ps_index_txn_id(const struct ps_index_txn *txn);
int ps_index_complete(struct ps_index_txn *txn);

/* Small values of the backend's, by name. Octets are valid until the next change or the end. */
int ps_index_meta(struct ps_index_txn *txn, const char *name, struct ps_bytes *ret_value); /* PS_E_NOTFOUND */
int ps_index_meta_put(struct ps_index_txn *txn, const char *name, struct ps_bytes value);
/* *ret_number is 0 when there is none. */
int ps_index_number(struct ps_index_txn *txn, const char *name, uint64_t *ret_number);
int ps_index_number_put(struct ps_index_txn *txn, const char *name, uint64_t value);

typedef int (*ps_index_box_fn)(void *arg, const struct ps_index_box *box);
int ps_index_box(struct ps_index_txn *txn, uint64_t key, struct ps_index_box *ret_box);          /* PS_E_NOTFOUND */
int ps_index_box_find(struct ps_index_txn *txn, const char *name, struct ps_index_box *ret_box); /* PS_E_NOTFOUND */
int ps_index_box_put(struct ps_index_txn *txn, struct ps_index_box *box);
int ps_index_box_remove(struct ps_index_txn *txn, uint64_t key); /* with all that belongs to it */
int ps_index_boxes(struct ps_index_txn *txn, ps_index_box_fn fn, void *arg);

/* Up to PS_KEYWORDS_MAX names, each with its NUL, "" for a free bit. */
int ps_index_keywords(struct ps_index_txn *txn, uint64_t key, struct ps_bytes *ret_names);
int ps_index_keywords_put(struct ps_index_txn *txn, uint64_t key, struct ps_bytes names);

/* The same as a table that can be changed. */
struct ps_keyword_table {
	char *names[PS_KEYWORDS_MAX]; /* NULL: free */
	bool changed;
};
void ps_keyword_table_finish(struct ps_keyword_table *table);
int ps_keyword_table_load(struct ps_index_txn *txn, uint64_t key, struct ps_keyword_table *ret_table);
int ps_keyword_table_save(struct ps_index_txn *txn, uint64_t key, const struct ps_keyword_table *table);
int ps_keyword_table_find(const struct ps_keyword_table *table, const char *name); /* bit or -1 */
uint64_t ps_keyword_table_known(const struct ps_keyword_table *table);
/* Gives a free bit to a name; `taken`: bits that must not be used. PS_E_LIMIT; PS_E_INVALID for what is no keyword. */
int ps_keyword_table_add(struct ps_keyword_table *table, const char *name, uint64_t taken);
bool ps_keyword_lawful(struct ps_bytes name); /* 1 to 250 octets, no blanks or controls */

/* `row` and `locator` are valid in the callback only, which changes nothing in the index. */
typedef int (*ps_index_row_fn)(void *arg, const struct ps_row *row, struct ps_bytes locator);
int ps_index_row(struct ps_index_txn *txn, uint64_t key, uint32_t uid, struct ps_row *ret_row,
		 struct ps_bytes *ret_locator); /* PS_E_NOTFOUND */
int ps_index_rows(struct ps_index_txn *txn, uint64_t key, struct ps_range uids, ps_index_row_fn fn, void *arg);
/* Those with a modseq above `since`, by UID; costs what it reports. */
int ps_index_changed(struct ps_index_txn *txn, uint64_t key, struct ps_range uids, uint64_t since, ps_index_row_fn fn,
		     void *arg);
/* The row's modseq may lie below highest_modseq (PS_OP_APPEND with a modseq of its own): its place in the order of changes
 * is that of its own modseq. The backend raises highest_modseq to the batch's. */
int ps_index_row_put(struct ps_index_txn *txn, struct ps_index_box *box, const struct ps_row *row,
		     struct ps_bytes locator);
int ps_index_row_vanish(struct ps_index_txn *txn, struct ps_index_box *box, uint32_t uid, uint64_t modseq);
int ps_index_vanished(struct ps_index_txn *txn, uint64_t key, uint64_t since, ps_range_fn fn, void *arg);
/* For PS_OP_IDENTITY: forgets what vanished; vanished_since becomes `modseq`, highest_modseq at least that. */
int ps_index_vanished_forget(struct ps_index_txn *txn, struct ps_index_box *box, uint64_t modseq);

int ps_index_cache(struct ps_index_txn *txn, uint64_t key, uint32_t uid,
		   struct ps_bytes *ret_cache); /* PS_E_NOTFOUND */
int ps_index_cache_put(struct ps_index_txn *txn, uint64_t key, uint32_t uid, struct ps_bytes cache);

/* Tokens of batches, or what stands for them. Each put forgets some that are older than PS_TOKEN_SECONDS by then. */
struct ps_index_token {
	struct ps_bytes octets; /* 1 to PS_TOKEN_MAX */
	int64_t time;           /* seconds since 1970 */
	uint32_t note;          /* the backend's */
};
/* Octets are valid until the next change or the end. */
int ps_index_token(struct ps_index_txn *txn, struct ps_bytes token,
		   struct ps_index_token *ret_token); /* PS_E_NOTFOUND */
int ps_index_token_put(struct ps_index_txn *txn,
		       const struct ps_index_token *token);                 /* in the place of an earlier one */
int ps_index_token_remove(struct ps_index_txn *txn, struct ps_bytes token); /* absent is fine */
typedef int (*ps_index_token_fn)(void *arg, const struct ps_index_token *token);
/* All, the newest first; the callback changes nothing in the index. */
int ps_index_tokens(struct ps_index_txn *txn, ps_index_token_fn fn, void *arg);

/* Whether all of it agrees. Calls `fault` with one sentence for each thing that is not right, and changes nothing. */
int ps_index_check(struct ps_index_txn *txn, void (*fault)(void *arg, const char *sentence), void *arg);

/*
 * ---- for a backend that keeps the mail itself here ---------------------------------------------
 *
 * The same over one file (and `file`-lock beside it), durable at each commit. It is never begun anew: what is damaged is
 * reported, with PS_E_CORRUPT. Databases of the backend's own are in the same transactions; it uses LMDB for them.
 */
struct MDB_env;
struct MDB_txn;

#define PS_INDEX_DATABASES 8

struct ps_index_how {
	const char *const *databases; /* names of the backend's own, at most PS_INDEX_DATABASES, NULL-terminated */
	size_t map;                   /* octets of address space at first; it grows by itself */
};
/* Makes the file when it is missing. One file opened twice in a process gives the same handle, counted. */
int ps_index_open_durable(const char *file, const struct ps_index_how *how, struct ps_index **ret_index);
unsigned ps_index_database(const struct ps_index *index, size_t n); /* the MDB_dbi of databases[n] */
struct MDB_env *ps_index_env(struct ps_index *index);
struct MDB_txn *ps_index_lmdb(struct ps_index_txn *txn);
int ps_index_failed(int rc, const char *what); /* says what LMDB said, as a ps_err: PS_E_AGAIN when the map is full */
int ps_index_meta_del(struct ps_index_txn *txn, const char *name); /* absent is fine */
int ps_index_cache_del(struct ps_index_txn *txn, uint64_t key, uint32_t uid);
uint64_t ps_index_free_pages(struct ps_index *index); /* of the file, free to be used again */

/* Bodies that no row has, until they can be removed. */
int ps_index_grave_put(struct ps_index_txn *txn, uint64_t body);
int ps_index_grave_del(struct ps_index_txn *txn, uint64_t body); /* absent is fine */
/* The first above `after`; PS_E_NOTFOUND. */
int ps_index_grave_next(struct ps_index_txn *txn, uint64_t after, uint64_t *ret_body);

/* Subscriptions are names, of mailboxes that need not exist. */
typedef int (*ps_index_name_fn)(void *arg, const char *name);
int ps_index_subscribe(struct ps_index_txn *txn, const char *name, bool subscribed, bool *ret_changed);
bool ps_index_is_subscribed(struct ps_index_txn *txn, const char *name);
int ps_index_subscriptions(struct ps_index_txn *txn, ps_index_name_fn fn, void *arg);

#endif
