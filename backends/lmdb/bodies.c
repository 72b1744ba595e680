/* SPDX-License-Identifier: MIT */
/* Bodies in a transaction. */
#include <endian.h>
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

static int put(struct writer *w, enum own_db db, MDB_val key, MDB_val value)
{
	int rc = mdb_put(writer_lmdb(w), ps_index_database(w->index, db), &key, &value, 0);

	return rc ? ps_index_failed(rc, "put") : 0;
}

static int del(struct writer *w, enum own_db db, MDB_val key)
{
	int rc = mdb_del(writer_lmdb(w), ps_index_database(w->index, db), &key, NULL);

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

int body_of_locator(struct ps_bytes locator, uint64_t *ret_body)
{
	if (locator.len != sizeof *ret_body)
		return ps_fail(PS_E_CORRUPT, "a row does not say where its body is");
	memcpy(ret_body, locator.ptr, sizeof *ret_body);
	return 0;
}

int body_of_row(struct ps_index_txn *txn, uint64_t key, uint32_t uid, uint64_t *ret_body)
{
	struct ps_bytes locator;
	struct ps_row row;
	int r = ps_index_row(txn, key, uid, &row, &locator);

	return r == 0 ? body_of_locator(locator, ret_body) : r;
}

int body_new(struct writer *w, uint64_t *ret_body)
{
	uint64_t number = ps_index_number(w->txn, "bodies") + 1;
	int r = ps_index_number_put(w->txn, "bodies", number);

	if (r == 0)
		*ret_body = number | BODY_BIT;
	return r;
}

int body_put(struct writer *w, uint64_t body, const struct body_record *record)
{
	uint64_t be = htobe64(body);

	w->changed = true;
	return put(w, DB_BODIES, val(&be, sizeof be), val(record, sizeof *record));
}

int body_chunk_put(struct writer *w, uint64_t body, uint32_t n, const struct chunk_head *head, size_t len,
		   uint8_t **ret_space)
{
	struct chunk_key key = chunk_key(body, n);
	MDB_val at = val(&key, sizeof key), value = {.mv_size = sizeof *head + len};
	int rc = mdb_put(writer_lmdb(w), ps_index_database(w->index, DB_CHUNKS), &at, &value, MDB_RESERVE);

	if (rc)
		return ps_index_failed(rc, "put a chunk");
	w->changed = true;
	memcpy(value.mv_data, head, sizeof *head);
	*ret_space = (uint8_t *)value.mv_data + sizeof *head;
	return 0;
}

int body_ref(struct writer *w, uint64_t body)
{
	struct body_record record;
	int r = body_record(w->index, w->txn, body, &record);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_CORRUPT, "a row's body is missing");
	if (r < 0)
		return r;
	record.refs++;
	return body_put(w, body, &record);
}

int body_unref(struct writer *w, uint64_t body)
{
	struct body_record record;
	int r = body_record(w->index, w->txn, body, &record);

	if (r == PS_E_NOTFOUND) /* check() tells; the row can go all the same */
		return 0;
	if (r < 0)
		return r;
	record.refs -= record.refs > 0;
	r = body_put(w, body, &record);
	return r == 0 && record.refs == 0 ? body_bury(w, body) : r;
}

int body_bury(struct writer *w, uint64_t body)
{
	uint64_t be = htobe64(body);

	return put(w, DB_GRAVES, val(&be, sizeof be), val("", 0));
}

int body_dig_up(struct writer *w, uint64_t body)
{
	uint64_t be = htobe64(body);

	return del(w, DB_GRAVES, val(&be, sizeof be));
}

static int remove_body(struct writer *w, uint64_t body, unsigned *ret_removed)
{
	uint64_t be = htobe64(body);
	struct body_record record = {0};
	int r = body_record(w->index, w->txn, body, &record);

	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	r = 0;
	for (uint32_t n = 0; r == 0 && n < record.chunks; n++) {
		struct chunk_key key = chunk_key(body, n);

		r = del(w, DB_CHUNKS, val(&key, sizeof key));
	}
	*ret_removed += record.chunks;
	if (r < 0 || (r = ps_index_cache_del(w->txn, body, 0)) < 0 || (r = del(w, DB_BODIES, val(&be, sizeof be))) < 0)
		return r;
	return body_dig_up(w, body);
}

/* The first grave behind `after`; PS_E_NOTFOUND. */
static int next_grave(struct writer *w, uint64_t after, uint64_t *ret_body)
{
	uint64_t be = htobe64(after + 1);
	MDB_val key = val(&be, sizeof be), value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(writer_lmdb(w), ps_index_database(w->index, DB_GRAVES), &cursor);

	if (rc)
		return ps_index_failed(rc, "cursor");
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (rc == 0)
		memcpy(&be, key.mv_data, sizeof be);
	mdb_cursor_close(cursor);
	if (rc)
		return ps_index_failed(rc, "find a grave");
	*ret_body = be64toh(be);
	return 0;
}

int bodies_reap(struct writer *w, unsigned max, unsigned *ret_removed)
{
	unsigned removed = 0;
	uint64_t body = 0;
	int r = 0;

	while (removed < max && (r = next_grave(w, body, &body)) == 0) {
		if (!pin_doom(w->store, body))
			continue;
		w->doomed = ps_realloc(w->doomed, (w->doomed_count + 1) * sizeof *w->doomed);
		w->doomed[w->doomed_count++] = body;
		removed++;
		w->changed = true;
		if ((r = remove_body(w, body, &removed)) < 0)
			return r;
	}
	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	*ret_removed = removed;
	return 0;
}

int bodies_in_graves(struct ps_store *store, uint64_t *ret_count)
{
	struct ps_index *index = store_index(store, NULL);
	struct ps_index_txn *txn;
	MDB_stat stat;
	int r = ps_index_read(index, &txn), rc;

	if (r == 0) {
		rc = mdb_stat(ps_index_lmdb(txn), ps_index_database(index, DB_GRAVES), &stat);
		r = rc ? ps_index_failed(rc, "count") : 0;
		ps_index_end(txn);
	}
	ps_index_close(index);
	if (r == 0)
		*ret_count = stat.ms_entries;
	return r;
}
