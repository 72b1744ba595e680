/* SPDX-License-Identifier: MIT */
#include <endian.h>
#include <stdlib.h>
#include "core/store/index/index_private.h"
#include "postern/io.h"

/* Beyond so many records a mailbox forgets the older half of what vanished; vanished_since says so. */
enum {
	VANISHED_MAX = 65536,
	CACHE_RECORD_HEAD = 8, /* checksum, spare */
	PAGE = 4096,           /* LMDB's, on most machines */
	CACHE_LINE = 64,
};

struct row_record {
	uint32_t crc; /* of the key and of what follows */
	uint32_t flags;
	uint64_t keywords;
	uint64_t modseq;
	uint64_t size;
	int64_t internal_date;
	int64_t save_date;
	uint8_t email_id[16];
};

static uint32_t record_crc(const struct row_key *key, const void *record, size_t len)
{
	return ps_crc32c(ps_crc32c(0, key, sizeof *key), (const uint8_t *)record + 4, len - 4);
}

int row_decode(MDB_val key, MDB_val value, struct ps_row *ret_row, struct ps_bytes *ret_locator)
{
	struct row_record rec;
	struct row_key rk;

	if (key.mv_size != sizeof rk || value.mv_size < sizeof rec)
		return ps_fail(PS_E_CORRUPT, "index: a row of %zu octets", value.mv_size);
	memcpy(&rk, key.mv_data, sizeof rk);
	memcpy(&rec, value.mv_data, sizeof rec);
	if (rec.crc != record_crc(&rk, value.mv_data, value.mv_size))
		return ps_fail(PS_E_CORRUPT, "index: the row of UID %u is damaged", be32toh(rk.uid));
	*ret_row = (struct ps_row){.uid = be32toh(rk.uid),
				   .flags = rec.flags,
				   .keywords = rec.keywords,
				   .modseq = rec.modseq,
				   .size = rec.size,
				   .internal_date = rec.internal_date,
				   .save_date = rec.save_date};
	memcpy(ret_row->email_id.octets, rec.email_id, sizeof rec.email_id);
	*ret_locator = ps_bytes((const uint8_t *)value.mv_data + sizeof rec, value.mv_size - sizeof rec);
	return 0;
}

int ps_index_row(struct ps_index_txn *txn, uint64_t key, uint32_t uid, struct ps_row *ret_row,
		 struct ps_bytes *ret_locator)
{
	struct row_key rk = row_key(key, uid);
	MDB_val value;
	int r = index_get(txn, DB_ROWS, index_val(&rk, sizeof rk), &value);

	return r == 0 ? row_decode(index_val(&rk, sizeof rk), value, ret_row, ret_locator) : r;
}

int ps_index_rows(struct ps_index_txn *txn, uint64_t key, struct ps_range uids, ps_index_row_fn fn, void *arg)
{
	struct row_key first = row_key(key, uids.first), last = row_key(key, uids.last);
	MDB_val at = index_val(&first, sizeof first), value;
	struct ps_bytes locator;
	struct ps_row row;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn->txn, txn->index->dbi[DB_ROWS], &cursor), r = 0;

	if (rc)
		return index_fail(rc, "cursor");
	rc = mdb_cursor_get(cursor, &at, &value, MDB_SET_RANGE);
	while (rc == 0 && at.mv_size == sizeof last && memcmp(at.mv_data, &last, sizeof last) <= 0) {
		if ((r = row_decode(at, value, &row, &locator)) < 0 || (r = fn(arg, &row, locator)) != 0)
			break;
		rc = mdb_cursor_get(cursor, &at, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (r != 0)
		return r;
	return rc && rc != MDB_NOTFOUND ? index_fail(rc, "walk") : 0;
}

int index_walk_since(struct ps_index_txn *txn, enum index_db db, uint64_t key, uint64_t since,
		     int (*fn)(void *arg, const struct change_key *ck, MDB_val value), void *arg)
{
	struct change_key from = change_key(key, since + 1, 0), ck;
	MDB_val at = index_val(&from, sizeof from), value;
	MDB_cursor *cursor;
	int rc, r = 0;

	if (since == UINT64_MAX)
		return 0;
	if ((rc = mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor)) != 0)
		return index_fail(rc, "cursor");
	rc = mdb_cursor_get(cursor, &at, &value, MDB_SET_RANGE);
	while (rc == 0 && at.mv_size == sizeof ck && memcmp(at.mv_data, &from.box, sizeof from.box) == 0) {
		memcpy(&ck, at.mv_data, sizeof ck);
		ck = (struct change_key){key, be64toh(ck.modseq), be32toh(ck.uid)};
		if ((r = fn(arg, &ck, value)) != 0)
			break;
		rc = mdb_cursor_get(cursor, &at, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (r != 0)
		return r;
	return rc && rc != MDB_NOTFOUND ? index_fail(rc, "walk") : 0;
}

struct uid_list {
	struct ps_range want;
	uint32_t *uids;
	size_t count, cap;
};

static int collect_uid(void *arg, const struct change_key *ck, MDB_val value)
{
	struct uid_list *list = arg;

	(void)value;
	if (ck->uid < list->want.first || ck->uid > list->want.last)
		return 0;
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 64;
		list->uids = ps_realloc(list->uids, list->cap * sizeof *list->uids);
	}
	list->uids[list->count++] = ck->uid;
	return 0;
}

static int by_uid(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Rows of many UIDs in their order: with a cursor, the next one is looked for in the page of the one before. */
static int walk_uids(struct ps_index_txn *txn, uint64_t key, const struct uid_list *list, ps_index_row_fn fn, void *arg)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn->txn, txn->index->dbi[DB_ROWS], &cursor), r = 0;

	if (rc)
		return index_fail(rc, "cursor");
	for (size_t i = 0; r == 0 && i < list->count; i++) {
		struct row_key rk = row_key(key, list->uids[i]);
		MDB_val at = index_val(&rk, sizeof rk), value;
		struct ps_bytes locator;
		struct ps_row row;

		rc = mdb_cursor_get(cursor, &at, &value, MDB_SET);
		if (rc == MDB_NOTFOUND)
			r = ps_fail(PS_E_CORRUPT, "index: a change of UID %u without its row", list->uids[i]);
		else if (rc)
			r = index_fail(rc, "get");
		else if ((r = row_decode(at, value, &row, &locator)) == 0)
			r = fn(arg, &row, locator);
	}
	mdb_cursor_close(cursor);
	return r;
}

int ps_index_changed(struct ps_index_txn *txn, uint64_t key, struct ps_range uids, uint64_t since, ps_index_row_fn fn,
		     void *arg)
{
	struct uid_list list = {.want = uids};
	int r = index_walk_since(txn, DB_CHANGES, key, since, collect_uid, &list);

	if (list.count > 1)
		qsort(list.uids, list.count, sizeof *list.uids, by_uid);
	if (r == 0 && list.count > 0)
		r = walk_uids(txn, key, &list, fn, arg);
	free(list.uids);
	return r;
}

void index_count_row(struct ps_index_box *box, const struct ps_row *row, int sign)
{
	box->messages += (uint32_t)sign;
	box->unseen += row->flags & PS_FLAG_SEEN ? 0u : (uint32_t)sign;
	box->deleted += row->flags & PS_FLAG_DELETED ? (uint32_t)sign : 0u;
	box->size += (uint64_t)(int64_t)sign * row->size;
}

static int need_cursor(struct ps_index_txn *txn, enum index_db db, MDB_cursor **cursor)
{
	int rc = *cursor ? 0 : mdb_cursor_open(txn->txn, txn->index->dbi[db], cursor);

	return rc ? index_fail(rc, "cursor") : 0;
}

static int put_at(struct ps_index_txn *txn, enum index_db db, MDB_cursor **cursor, MDB_val key, MDB_val value)
{
	int r = need_cursor(txn, db, cursor), rc;

	if (r < 0)
		return r;
	rc = mdb_cursor_put(*cursor, &key, &value, 0);
	return rc ? index_fail(rc, "put") : 0;
}

/* The order of changes, without a row as it was. */
static int forget_change(struct ps_index_txn *txn, const struct change_key *ck)
{
	MDB_val key = index_val(ck, sizeof *ck), value;
	int r = need_cursor(txn, DB_CHANGES, &txn->changes_out), rc;

	if (r < 0)
		return r;
	rc = mdb_cursor_get(txn->changes_out, &key, &value, MDB_SET);
	if (rc == 0)
		rc = mdb_cursor_del(txn->changes_out, 0);
	return rc && rc != MDB_NOTFOUND ? index_fail(rc, "delete") : 0;
}

/* Takes what the index says of a row out of the counters and out of the order of changes; leaves the cursor at it. 1: it says nothing. */
static int forget_row(struct ps_index_txn *txn, struct ps_index_box *box, uint32_t uid)
{
	struct row_key rk = row_key(box->key, uid);
	MDB_val key = index_val(&rk, sizeof rk), value;
	struct ps_bytes locator;
	struct change_key ck;
	struct ps_row old;
	int r = need_cursor(txn, DB_ROWS, &txn->rows), rc;

	if (r < 0)
		return r;
	rc = mdb_cursor_get(txn->rows, &key, &value, MDB_SET);
	if (rc == MDB_NOTFOUND)
		return 1;
	if (rc)
		return index_fail(rc, "get");
	if ((r = row_decode(key, value, &old, &locator)) < 0)
		return r;
	index_count_row(box, &old, -1);
	ck = change_key(box->key, old.modseq, uid);
	return forget_change(txn, &ck);
}

int ps_index_row_put(struct ps_index_txn *txn, struct ps_index_box *box, const struct ps_row *row,
		     struct ps_bytes locator)
{
	struct row_record rec = {.flags = row->flags,
				 .keywords = row->keywords,
				 .modseq = row->modseq,
				 .size = row->size,
				 .internal_date = row->internal_date,
				 .save_date = row->save_date};
	struct row_key rk = row_key(box->key, row->uid);
	struct change_key ck = change_key(box->key, row->modseq, row->uid);
	uint8_t record[sizeof rec + 512];
	int r;

	if (locator.len > sizeof record - sizeof rec)
		return ps_fail(PS_E_INVALID, "index: a locator of %zu octets", locator.len);
	memcpy(rec.email_id, row->email_id.octets, sizeof rec.email_id);
	memcpy(record, &rec, sizeof rec);
	memcpy(record + sizeof rec, locator.ptr, locator.len);
	rec.crc = record_crc(&rk, record, sizeof rec + locator.len);
	memcpy(record, &rec.crc, sizeof rec.crc);
	if ((r = forget_row(txn, box, row->uid)) < 0)
		return r;
	if ((r = put_at(txn, DB_ROWS, &txn->rows, index_val(&rk, sizeof rk),
			index_val(record, sizeof rec + locator.len))) < 0 ||
	    (r = put_at(txn, DB_CHANGES, &txn->changes_in, index_val(&ck, sizeof ck), index_val("", 0))) < 0)
		return r;
	index_count_row(box, row, 1);
	if (row->modseq > box->highest_modseq)
		box->highest_modseq = row->modseq;
	return 0;
}

struct forget {
	struct uid_list list;
	uint64_t modseq[VANISHED_MAX / 2];
	size_t count;
};

static int collect_old(void *arg, const struct change_key *ck, MDB_val value)
{
	struct forget *old = arg;

	if (old->count == PS_ARRAY_LEN(old->modseq))
		return 1;
	old->modseq[old->count++] = ck->modseq;
	return collect_uid(&old->list, ck, value);
}

static int forget_vanished(struct ps_index_txn *txn, struct ps_index_box *box)
{
	struct forget *old = ps_zalloc(sizeof *old);
	int r;

	old->list.want = (struct ps_range){0, UINT32_MAX};
	r = index_walk_since(txn, DB_VANISHED, box->key, 0, collect_old, old);
	for (size_t i = 0; r >= 0 && i < old->list.count; i++) {
		struct change_key ck = change_key(box->key, old->modseq[i], old->list.uids[i]);

		r = index_del(txn, DB_VANISHED, index_val(&ck, sizeof ck));
		box->vanished_since = old->modseq[i];
		box->vanished_count--;
	}
	free(old->list.uids);
	free(old);
	return r < 0 ? r : 0;
}

/* Joins a UID to the range before it when both vanished by one change. */
static int put_vanished(struct ps_index_txn *txn, struct ps_index_box *box, uint32_t uid, uint64_t modseq)
{
	struct change_key ck = change_key(box->key, modseq, uid), was;
	MDB_val at = index_val(&ck, sizeof ck), value;
	MDB_cursor *cursor;
	uint32_t last = 0, first = uid;
	int rc = mdb_cursor_open(txn->txn, txn->index->dbi[DB_VANISHED], &cursor);

	if (rc)
		return index_fail(rc, "cursor");
	rc = mdb_cursor_get(cursor, &at, &value, MDB_SET_RANGE);
	if (rc == 0 || rc == MDB_NOTFOUND)
		rc = mdb_cursor_get(cursor, &at, &value, rc == 0 ? MDB_PREV : MDB_LAST);
	if (rc == 0 && at.mv_size == sizeof was && value.mv_size == sizeof last) {
		memcpy(&was, at.mv_data, sizeof was);
		memcpy(&last, value.mv_data, sizeof last);
		if (was.box == ck.box && was.modseq == ck.modseq && last + 1 == uid)
			first = be32toh(was.uid);
	}
	mdb_cursor_close(cursor);
	if (rc && rc != MDB_NOTFOUND)
		return index_fail(rc, "find");
	if (first == uid)
		box->vanished_count++;
	ck = change_key(box->key, modseq, first);
	return index_put(txn, DB_VANISHED, index_val(&ck, sizeof ck), index_val(&uid, sizeof uid));
}

int ps_index_row_vanish(struct ps_index_txn *txn, struct ps_index_box *box, uint32_t uid, uint64_t modseq)
{
	struct row_key rk = row_key(box->key, uid);
	int r = forget_row(txn, box, uid), rc;

	if (r != 0)
		return r < 0 ? r : ps_fail(PS_E_NOTFOUND, "index: there is no UID %u", uid);
	if ((rc = mdb_cursor_del(txn->rows, 0)) != 0)
		return index_fail(rc, "delete");
	if ((r = index_del(txn, DB_CACHE, index_val(&rk, sizeof rk))) < 0 ||
	    (r = put_vanished(txn, box, uid, modseq)) < 0)
		return r;
	if (modseq > box->highest_modseq)
		box->highest_modseq = modseq;
	return box->vanished_count > VANISHED_MAX ? forget_vanished(txn, box) : 0;
}

int ps_index_vanished_forget(struct ps_index_txn *txn, struct ps_index_box *box, uint64_t modseq)
{
	uint64_t be = htobe64(box->key);
	int r = index_del_below(txn, DB_VANISHED, be);

	if (r < 0)
		return r;
	box->vanished_count = 0;
	box->vanished_since = modseq;
	if (modseq > box->highest_modseq)
		box->highest_modseq = modseq;
	return 0;
}

struct vanished_walk {
	ps_range_fn fn;
	void *arg;
};

static int tell_vanished(void *arg, const struct change_key *ck, MDB_val value)
{
	struct vanished_walk *walk = arg;
	uint32_t last;

	if (value.mv_size != sizeof last)
		return ps_fail(PS_E_CORRUPT, "index: a vanished record is damaged");
	memcpy(&last, value.mv_data, sizeof last);
	return walk->fn(walk->arg, (struct ps_range){ck->uid, last});
}

int ps_index_vanished(struct ps_index_txn *txn, uint64_t key, uint64_t since, ps_range_fn fn, void *arg)
{
	struct vanished_walk walk = {fn, arg};

	return index_walk_since(txn, DB_VANISHED, key, since, tell_vanished, &walk);
}

/* Says whose cache the record is and how long. What is in it is checked by who knows what that is: core's caches have a
 * checksum of their own, and with a second one, that would be most of what a FETCH or SEARCH of cached items costs. */
static uint32_t cache_crc(const struct row_key *key, size_t len)
{
	uint64_t le = htole64(len);

	return ps_crc32c(ps_crc32c(0, key, sizeof *key), &le, sizeof le);
}

/*
 * Records that were put one after the other lie on pages one after the other, mostly, and a processor does not look
 * beyond a page by itself: waiting for memory was a third of a FETCH of cached items. What lies where this record does
 * on the next page is one that comes soon. A wrong guess costs the asking. What is larger has pages of its own.
 * (gcc takes a call of what does nothing else for one that does nothing.)
 */
static inline __attribute__((always_inline)) void expect_next(MDB_val value)
{
	const char *at = (const char *)value.mv_data + PAGE;

	if (value.mv_size > PAGE / 2)
		return;
	__builtin_prefetch(at - (uintptr_t)at % PAGE); /* what says where records are on the page */
	for (size_t i = 0; i < value.mv_size; i += CACHE_LINE)
		__builtin_prefetch(at + i);
}

/* Most who read caches read them in their order: the next one is found from the one before, others from the root. */
static int get_cache(struct ps_index_txn *txn, MDB_val key, MDB_val *ret_value)
{
	MDB_val next;
	int rc;

	if (txn->write)
		return index_get(txn, DB_CACHE, key, ret_value);
	if (txn->caches) {
		rc = mdb_cursor_get(txn->caches, &next, ret_value, MDB_NEXT);
		if (rc == 0 && next.mv_size == key.mv_size && memcmp(next.mv_data, key.mv_data, key.mv_size) == 0) {
			expect_next(*ret_value);
			return 0;
		}
	} else if ((rc = mdb_cursor_open(txn->txn, txn->index->dbi[DB_CACHE], &txn->caches)) != 0) {
		return index_fail(rc, "cursor");
	}
	rc = mdb_cursor_get(txn->caches, &key, ret_value, MDB_SET);
	return rc ? index_fail(rc, "get") : 0;
}

int ps_index_cache(struct ps_index_txn *txn, uint64_t key, uint32_t uid, struct ps_bytes *ret_cache)
{
	struct row_key rk = row_key(key, uid);
	MDB_val value;
	uint32_t crc;
	int r = get_cache(txn, index_val(&rk, sizeof rk), &value);

	if (r < 0)
		return r;
	if (value.mv_size < CACHE_RECORD_HEAD)
		return ps_fail(PS_E_CORRUPT, "index: a cache record is damaged");
	memcpy(&crc, value.mv_data, sizeof crc);
	if (crc != cache_crc(&rk, value.mv_size - CACHE_RECORD_HEAD))
		return ps_fail(PS_E_CORRUPT, "index: the cache of UID %u is damaged", uid);
	*ret_cache = ps_bytes((const uint8_t *)value.mv_data + CACHE_RECORD_HEAD, value.mv_size - CACHE_RECORD_HEAD);
	return 0;
}

int ps_index_cache_put(struct ps_index_txn *txn, uint64_t key, uint32_t uid, struct ps_bytes cache)
{
	struct row_key rk = row_key(key, uid);
	MDB_val at = index_val(&rk, sizeof rk), value = {.mv_size = CACHE_RECORD_HEAD + cache.len};
	uint8_t *record = ps_zalloc(value.mv_size);
	uint32_t crc = cache_crc(&rk, cache.len);
	int r;

	memcpy(record, &crc, sizeof crc);
	memcpy(record + CACHE_RECORD_HEAD, cache.ptr, cache.len);
	value.mv_data = record;
	r = index_put(txn, DB_CACHE, at, value);
	free(record);
	return r;
}

int ps_index_cache_del(struct ps_index_txn *txn, uint64_t key, uint32_t uid)
{
	struct row_key rk = row_key(key, uid);

	return index_del(txn, DB_CACHE, index_val(&rk, sizeof rk));
}
