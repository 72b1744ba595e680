/* SPDX-License-Identifier: MIT */
/* Bodies in a transaction. */
#include <endian.h>
#include <stdlib.h>
#include "backends/lmdb/lmdb_private.h"

struct chunk_key {
	uint64_t body;
	uint32_t n;
} __attribute__((packed));

static struct chunk_key chunk_key(uint64_t body, uint32_t n)
{
	return (struct chunk_key){htobe64(body), htobe32(n)};
}

static int get(struct ps_index *index, struct ps_index_txn *txn, enum own_db db, MDB_val key, MDB_val *ret_value)
{
	int rc = mdb_get(ps_index_lmdb(txn), ps_index_database(index, db), &key, ret_value);

	return rc ? ps_index_failed(rc, "get") : 0;
}

static int put(struct ps_ledger_txn *txn, enum own_db db, MDB_val key, MDB_val value)
{
	int rc = mdb_put(ps_index_lmdb(txn->txn), ps_index_database(txn->index, db), &key, &value, 0);

	return rc ? ps_index_failed(rc, "put") : 0;
}

static int del(struct ps_ledger_txn *txn, enum own_db db, MDB_val key)
{
	int rc = mdb_del(ps_index_lmdb(txn->txn), ps_index_database(txn->index, db), &key, NULL);

	return rc && rc != MDB_NOTFOUND ? ps_index_failed(rc, "delete") : 0;
}

int body_record(struct ps_index *index, struct ps_index_txn *txn, uint64_t body, struct body_record *ret_record)
{
	uint64_t be = htobe64(body);
	MDB_val value;
	int r = get(index, txn, DB_BODIES, val(&be, sizeof be), &value);

	if (r < 0)
		return r;
	if (value.mv_size != sizeof *ret_record)
		return ps_fail(PS_E_CORRUPT, "the record of a body has %zu octets", value.mv_size);
	memcpy(ret_record, value.mv_data, sizeof *ret_record);
	return 0;
}

int body_chunk(struct ps_index *index, struct ps_index_txn *txn, uint64_t body, uint32_t n, struct chunk_head *ret_head,
	       struct ps_bytes *ret_octets)
{
	struct chunk_key key = chunk_key(body, n);
	MDB_val value;
	int r = get(index, txn, DB_CHUNKS, val(&key, sizeof key), &value);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_CORRUPT, "a message lacks chunk %u", n);
	if (r < 0)
		return r;
	if (value.mv_size <= sizeof *ret_head)
		return ps_fail(PS_E_CORRUPT, "a chunk has %zu octets", value.mv_size);
	memcpy(ret_head, value.mv_data, sizeof *ret_head);
	*ret_octets = ps_bytes((const uint8_t *)value.mv_data + sizeof *ret_head, value.mv_size - sizeof *ret_head);
	if (ret_head->plain == 0 || ret_head->plain > CHUNK_PLAIN ||
	    (ret_head->codec == CODEC_NONE && ret_head->plain != ret_octets->len))
		return ps_fail(PS_E_CORRUPT, "a chunk says that it has %u octets", ret_head->plain);
	return 0;
}

int body_put(struct ps_ledger_txn *txn, uint64_t body, const struct body_record *record)
{
	uint64_t be = htobe64(body);

	txn->changed = true;
	return put(txn, DB_BODIES, val(&be, sizeof be), val(record, sizeof *record));
}

int body_chunk_put(struct ps_ledger_txn *txn, uint64_t body, uint32_t n, const struct chunk_head *head, size_t len,
		   uint8_t **ret_space)
{
	struct chunk_key key = chunk_key(body, n);
	MDB_val at = val(&key, sizeof key), value = {.mv_size = sizeof *head + len};
	int rc = mdb_put(ps_index_lmdb(txn->txn), ps_index_database(txn->index, DB_CHUNKS), &at, &value, MDB_RESERVE);

	if (rc)
		return ps_index_failed(rc, "put a chunk");
	txn->changed = true;
	memcpy(value.mv_data, head, sizeof *head);
	*ret_space = (uint8_t *)value.mv_data + sizeof *head;
	return 0;
}

int body_ref(struct ps_ledger_txn *txn, uint64_t body, uint64_t *ret_body)
{
	struct body_record record;
	int r = body_record(txn->index, txn->txn, body, &record);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_CORRUPT, "a row's body is missing");
	if (r < 0)
		return r;
	record.refs++;
	*ret_body = body;
	return body_put(txn, body, &record);
}

int body_unref(struct ps_ledger_txn *txn, uint64_t body)
{
	struct body_record record;
	int r = body_record(txn->index, txn->txn, body, &record);

	if (r == PS_E_NOTFOUND) /* check() tells; the row can go all the same */
		return 0;
	if (r < 0)
		return r;
	record.refs -= record.refs > 0;
	r = body_put(txn, body, &record);
	return r == 0 && record.refs == 0 ? ps_ledger_bury(txn, body) : r;
}

/* ---- removing ------------------------------------------------------------------------------------ */

/* What the transaction removes is doomed until it is over. */
struct doomed {
	size_t count, cap;
	uint64_t bodies[];
};

static bool doom(struct ps_ledger_txn *txn, uint64_t body)
{
	struct doomed *doomed = txn->priv;

	if (!pin_doom(txn->store, body))
		return false;
	if (!doomed || doomed->count == doomed->cap) {
		size_t cap = doomed ? doomed->cap * 2 : 16;

		doomed = ps_realloc(doomed, sizeof *doomed + cap * sizeof *doomed->bodies);
		doomed->count = txn->priv ? doomed->count : 0;
		doomed->cap = cap;
		txn->priv = doomed;
	}
	doomed->bodies[doomed->count++] = body;
	return true;
}

void body_txn_ended(struct ps_ledger_txn *txn)
{
	struct doomed *doomed = txn->priv;

	for (size_t i = 0; doomed && i < doomed->count; i++)
		pin_undoom(txn->store, doomed->bodies[i]);
	free(doomed);
}

int body_remove(struct ps_ledger_txn *txn, uint64_t body, unsigned *ret_chunks)
{
	uint64_t be = htobe64(body);
	struct body_record record = {0};
	int r;

	if (!doom(txn, body))
		return 1;
	r = body_record(txn->index, txn->txn, body, &record);
	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	r = 0;
	for (uint32_t n = 0; r == 0 && n < record.chunks; n++) {
		struct chunk_key key = chunk_key(body, n);

		r = del(txn, DB_CHUNKS, val(&key, sizeof key));
	}
	*ret_chunks = 1 + record.chunks;
	return r == 0 ? del(txn, DB_BODIES, val(&be, sizeof be)) : r;
}
