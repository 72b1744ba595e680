/* SPDX-License-Identifier: MIT */
/*
 * Staged messages. Octets are gathered into chunks, compressed where that wins, and kept in memory as long as there is
 * one chunk only, else in a file without a name. A large message, or one of very many, is written to the database when
 * it is finished, in transactions of bounded size and outside any batch: a transaction keeps what it changes in memory. It
 * lies in the graves then, pinned, until its batch takes it out; if we die, who reaps finds it without a pin.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/lmdb/lmdb_private.h"

enum {
	FIRST_PLAIN = 4096,
	STAGED_MAX = 16 * 1024 * 1024 /* of all in this handle, before the next are written ahead */
};

struct sealed {
	struct chunk_head head;
	uint32_t len;
	uint64_t at; /* in the spool */
};

struct ps_staged {
	struct ps_store *store;
	uint8_t *plain; /* the chunk being gathered */
	size_t plain_len, plain_cap;
	struct sealed *chunks;
	uint32_t count, cap;
	uint8_t *packed; /* the only chunk, compressed */
	int spool_fd;    /* -1: none is needed yet */
	uint64_t spooled;
	uint64_t length;
	uint32_t crc;
	uint64_t body; /* written ahead; 0: not */
};

int lmdb_stage(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged)
{
	struct ps_staged *staged = ps_zalloc(sizeof *staged);

	staged->store = store;
	staged->spool_fd = -1;
	staged->plain_cap = size_hint > CHUNK_PLAIN   ? CHUNK_PLAIN
			    : size_hint > FIRST_PLAIN ? (size_t)size_hint
						      : FIRST_PLAIN;
	staged->plain = ps_malloc(staged->plain_cap);
	*ret_staged = staged;
	return 0;
}

/* ---- gathering ----------------------------------------------------------------------------------- */

static int open_spool(struct ps_staged *staged)
{
	struct ps_store *store = staged->store;
	char name[PS_IO_NAME_SIZE];
	int r;

	staged->spool_fd = ps_io.open(store->root_fd, ".", O_TMPFILE | O_RDWR, 0600);
	if (staged->spool_fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return staged->spool_fd >= 0 ? 0 : ps_fail_errno("create a file in %s", store->root);
	if ((r = ps_io_new_file(store->root_fd, "mail-staged.", name, &staged->spool_fd)) < 0)
		return r;
	return ps_io.unlink(store->root_fd, name, 0) < 0 ? ps_fail_errno("remove %s/%s", store->root, name) : 0;
}

/* The chunk as it is to lie in the database. */
static struct ps_bytes pack(struct ps_staged *staged, struct sealed *sealed)
{
	struct ps_bytes plain = ps_bytes(staged->plain, staged->plain_len);
	size_t len;

	*sealed = (struct sealed){.head.plain = (uint32_t)plain.len, .len = (uint32_t)plain.len};
	if (!staged->store->zstd)
		return plain;
	if (!staged->packed)
		staged->packed = ps_malloc(CHUNK_PLAIN);
	if (!zstd_pack(plain, staged->packed, &len))
		return plain;
	sealed->head.codec = CODEC_ZSTD;
	sealed->len = (uint32_t)len;
	return ps_bytes(staged->packed, len);
}

static void add_chunk(struct ps_staged *staged, const struct sealed *sealed)
{
	if (staged->count == staged->cap) {
		staged->cap = staged->cap ? staged->cap * 2 : 1;
		staged->chunks = ps_realloc(staged->chunks, staged->cap * sizeof *staged->chunks);
	}
	staged->chunks[staged->count++] = *sealed;
}

/* The gathered chunk goes to the spool. */
static int spool(struct ps_staged *staged)
{
	struct sealed sealed;
	struct ps_bytes octets = pack(staged, &sealed);
	int r;

	if ((staged->spool_fd < 0 && (r = open_spool(staged)) < 0) ||
	    (r = ps_io_pwrite_all(staged->spool_fd, octets, (off_t)staged->spooled)) < 0)
		return r;
	sealed.at = staged->spooled;
	staged->spooled += octets.len;
	staged->plain_len = 0;
	add_chunk(staged, &sealed);
	return 0;
}

static void gather(struct ps_staged *staged, struct ps_bytes octets)
{
	size_t len = staged->plain_len + octets.len;

	if (len > staged->plain_cap) {
		while (staged->plain_cap < len)
			staged->plain_cap *= 2;
		if (staged->plain_cap > CHUNK_PLAIN)
			staged->plain_cap = CHUNK_PLAIN;
		staged->plain = ps_realloc(staged->plain, staged->plain_cap);
	}
	memcpy(staged->plain + staged->plain_len, octets.ptr, octets.len);
	staged->plain_len = len;
}

int lmdb_stage_write(struct ps_staged *staged, struct ps_bytes octets)
{
	staged->crc = ps_crc32c(staged->crc, octets.ptr, octets.len);
	staged->length += octets.len;
	atomic_fetch_add(&staged->store->staged, octets.len);
	while (octets.len > 0) {
		size_t room = CHUNK_PLAIN - staged->plain_len, n = octets.len < room ? octets.len : room;
		int r;

		if (n == 0) {
			if ((r = spool(staged)) < 0)
				return r;
			continue;
		}
		gather(staged, ps_bytes(octets.ptr, n));
		octets = ps_bytes_skip(octets, n);
	}
	return 0;
}

/* ---- into the database ------------------------------------------------------------------------- */

/* Octets of a sealed chunk, copied to where they belong. */
static int fetch(const struct ps_staged *staged, const struct sealed *sealed, uint8_t *to)
{
	uint32_t done = 0;

	if (staged->spool_fd < 0) {
		memcpy(to, sealed->head.codec == CODEC_NONE ? staged->plain : staged->packed, sealed->len);
		return 0;
	}
	while (done < sealed->len) {
		ssize_t n = ps_io.pread(staged->spool_fd, to + done, sealed->len - done, (off_t)(sealed->at + done));

		if (n < 0 && errno != EINTR)
			return ps_fail_errno("read a staged message");
		if (n == 0)
			return ps_fail(PS_E_STORAGE, "a staged message has become shorter");
		done += n > 0 ? (uint32_t)n : 0;
	}
	return 0;
}

static int put_chunks(struct ps_ledger_txn *txn, const struct ps_staged *staged, uint64_t body, uint32_t first,
		      uint32_t last)
{
	int r = 0;

	for (uint32_t n = first; r == 0 && n < last; n++) {
		const struct sealed *sealed = &staged->chunks[n];
		uint8_t *to;

		if ((r = body_chunk_put(txn, body, n, &sealed->head, sealed->len, &to)) == 0)
			r = fetch(staged, sealed, to);
	}
	return r;
}

static struct body_record record_of(const struct ps_staged *staged, uint32_t refs)
{
	return (struct body_record){
		.refs = refs, .chunks = staged->count, .length = staged->length, .crc = staged->crc};
}

/* One transaction of those that write ahead; the first makes the body. */
static int put_ahead(struct ps_ledger_txn *txn, struct ps_staged *staged, uint32_t first, uint32_t last)
{
	struct body_record record = record_of(staged, 0);
	uint64_t body = staged->body;
	int r;

	if ((r = ps_ledger_reserve(txn, (uint64_t)(last - first) * 17 * PAGE + 64 * PAGE)) < 0)
		return r;
	if (body == 0) {
		if ((r = ps_ledger_body_new(txn, &body)) < 0 || (r = body_put(txn, body, &record)) < 0 ||
		    (r = ps_ledger_bury(txn, body)) < 0 || (r = pin_take(staged->store, body)) < 0)
			return r;
		staged->body = body;
	}
	return put_chunks(txn, staged, body, first, last);
}

static void forget_ahead(struct ps_staged *staged)
{
	if (staged->body)
		pin_drop(staged->store, staged->body);
	staged->body = 0;
}

static int write_ahead(struct ps_staged *staged)
{
	uint32_t first = 0;

	while (first < staged->count) {
		uint32_t last = staged->count - first < AHEAD_CHUNKS ? staged->count : first + AHEAD_CHUNKS;
		struct ps_ledger_txn *txn;
		int r = ps_ledger_txn_begin(staged->store->ledger, &txn);

		if (r < 0)
			return r;
		if ((r = put_ahead(txn, staged, first, last)) == 0)
			r = ps_ledger_txn_commit(txn);
		else if (r == PS_E_AGAIN)
			r = ps_ledger_txn_grow(txn) < 0 ? PS_E_FULL : PS_E_AGAIN;
		else
			ps_ledger_txn_end(txn);
		if (r < 0 && first == 0)
			forget_ahead(staged); /* its number was not given out */
		if (r < 0 && r != PS_E_AGAIN)
			return r;
		if (r == 0)
			first = last;
	}
	return 0;
}

static void forget_memory(struct ps_staged *staged)
{
	atomic_fetch_sub(&staged->store->staged, staged->length);
	free(staged->plain);
	free(staged->packed);
	staged->plain = staged->packed = NULL;
	ps_closep(&staged->spool_fd);
	staged->spool_fd = -1;
}

int lmdb_stage_finish(struct ps_staged *staged)
{
	struct sealed sealed;
	int r = 0;

	if (staged->spool_fd >= 0) {
		r = staged->plain_len > 0 ? spool(staged) : 0;
	} else if (staged->plain_len > 0) {
		pack(staged, &sealed);
		add_chunk(staged, &sealed);
	}
	if (r < 0 || staged->count == 0 ||
	    (staged->count <= AHEAD_CHUNKS && atomic_load(&staged->store->staged) <= STAGED_MAX))
		return r;
	if ((r = write_ahead(staged)) == 0)
		forget_memory(staged);
	return r;
}

uint64_t staged_room(const struct ps_staged *staged)
{
	uint64_t octets = 0;

	for (uint32_t n = 0; n < staged->count && staged->body == 0; n++)
		octets += staged->chunks[n].len + PAGE;
	return octets;
}

int staged_put(struct ps_ledger_txn *txn, struct ps_staged *staged, uint64_t *ret_body, uint64_t *ret_length)
{
	struct body_record record = record_of(staged, 1);
	uint64_t body = staged->body;
	int r;

	if (body)
		r = ps_ledger_dig_up(txn, body);
	else if ((r = ps_ledger_body_new(txn, &body)) == 0)
		r = put_chunks(txn, staged, body, 0, staged->count);
	if (r == 0)
		r = body_put(txn, body, &record);
	if (r < 0)
		return r;
	*ret_body = body;
	*ret_length = staged->length;
	return 0;
}

void lmdb_stage_drop(struct ps_staged *staged)
{
	if (!staged)
		return;
	if (staged->plain)
		forget_memory(staged);
	forget_ahead(staged);
	free(staged->chunks);
	free(staged);
}
