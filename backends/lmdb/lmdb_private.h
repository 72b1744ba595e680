/* SPDX-License-Identifier: MIT */
/*
 * What the files of the lmdb backend share. Included by nobody else.
 *
 * A store is one LMDB environment: a ledger keeps mailboxes and rows in it, we keep bodies beside them, and a batch is one
 * transaction over both. lmdb.rst says what lies on disk.
 */
#ifndef BACKENDS_LMDB_PRIVATE_H
#define BACKENDS_LMDB_PRIVATE_H

#include <dirent.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include "postern/io.h"
#include "postern/ledger.h"

/*
 * Our databases. Numbers in keys are big-endian.
 *   BODIES         body           struct body_record
 *   CHUNKS         body n         struct chunk_head, octets
 */
enum own_db {
	DB_BODIES,
	DB_CHUNKS
};

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

struct ps_store {
	struct ps_ledger *ledger; /* first */
	char *user, *root;
	int root_fd, pins_fd;
	bool zstd;
	atomic_size_t staged; /* octets of messages that were staged and not committed yet */

	pthread_mutex_t lock; /* guards what follows; never held while waiting for the disk */
	struct pin *pins;
	size_t pin_count, pin_cap;
};

/* ---- store.c ------------------------------------------------------------------------------- */

int lmdb_open(const struct ps_store_args *args, struct ps_store **ret_store);
void lmdb_close(struct ps_store *store);

/* ---- file.c: which file is the store's, and making it another ------------------------------- */

#define FILE_ASIDE "mail-compact.tmp"

extern size_t file_first_map; /* tests make it small */
void file_name(uint32_t number, char ret_name[NAME_SIZE]);
uint32_t file_number(const char *name);       /* 0: it is no store's file */
DIR *file_list(const struct ps_store *store); /* of the store's folder; NULL and errno */
/* Opens the present file. PS_E_NOTFOUND when there is none and none is to be made. */
int file_open(struct ps_store *store, bool create);
/* Whether another has taken its place. */
bool file_was_replaced(struct ps_store *store, struct ps_index *index, uint32_t number);
/* Opens what has taken its place. */
int file_follow(struct ps_store *store);
void file_remove_leftovers(struct ps_store *store);
int lmdb_compact(struct ps_store *store, uint64_t *ret_octets);

/* ---- bodies.c: bodies in a transaction ------------------------------------------------------- */

int body_record(struct ps_index *index, struct ps_index_txn *txn, uint64_t body,
		struct body_record *ret_record); /* PS_E_NOTFOUND */
/* Points into the map. */
int body_chunk(struct ps_index *index, struct ps_index_txn *txn, uint64_t body, uint32_t n, struct chunk_head *ret_head,
	       struct ps_bytes *ret_octets);
int body_put(struct ps_ledger_txn *txn, uint64_t body, const struct body_record *record);
/* Room for a chunk, to be filled at once. */
int body_chunk_put(struct ps_ledger_txn *txn, uint64_t body, uint32_t n, const struct chunk_head *head, size_t len,
		   uint8_t **ret_space);
/* For the ledger: rows share a body, which counts them. */
int body_ref(struct ps_ledger_txn *txn, uint64_t body, uint64_t *ret_body);
int body_unref(struct ps_ledger_txn *txn, uint64_t body); /* the last one: to the graves */
int body_remove(struct ps_ledger_txn *txn, uint64_t body, unsigned *ret_chunks);
void body_txn_ended(struct ps_ledger_txn *txn);

/* ---- pins.c: what must not be removed yet, by this process or another -------------------------- */

int pin_take(struct ps_store *store, uint64_t body); /* PS_E_GONE: it is being removed */
void pin_drop(struct ps_store *store, uint64_t body);
bool pin_doom(struct ps_store *store, uint64_t body); /* false: somebody has it open */
void pin_undoom(struct ps_store *store, uint64_t body);

/* ---- body.c -------------------------------------------------------------------------------------- */

int lmdb_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body);
void lmdb_body_rest(struct ps_body *body);
void lmdb_body_close(struct ps_body *body);

/* ---- stage.c, zstd.c ---------------------------------------------------------------------------- */

int lmdb_stage(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged);
int lmdb_stage_write(struct ps_staged *staged, struct ps_bytes octets);
int lmdb_stage_finish(struct ps_staged *staged);
void lmdb_stage_drop(struct ps_staged *staged);
/* Octets that it takes in the file, roughly and not less. */
uint64_t staged_room(const struct ps_staged *staged);
/* Makes it a body with one reference. May be done again when the transaction was given up. */
int staged_put(struct ps_ledger_txn *txn, struct ps_staged *staged, uint64_t *ret_body, uint64_t *ret_length);

/* Compresses a chunk where that wins: true, and *ret_len octets are in `out`, which has room for `in.len`. */
bool zstd_pack(struct ps_bytes in, uint8_t *out, size_t *ret_len);
int zstd_unpack(struct ps_bytes in, uint8_t *out, size_t len); /* PS_E_CORRUPT unless it gives exactly `len` octets */

/* ---- check.c -------------------------------------------------------------------------------------- */

int lmdb_check(struct ps_store *store, void (*fault)(void *arg, const char *sentence), void *arg);

static inline MDB_val val(const void *data, size_t len)
{
	return (MDB_val){.mv_size = len, .mv_data = (void *)(uintptr_t)data};
}

#endif
