/* SPDX-License-Identifier: MIT */
/*
 * Looks at all of a store in one snapshot: the index agrees with itself, each row has its body, each body is counted
 * right, has its octets and their checksum, and no chunk, grave or page belongs to nothing.
 */
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/lmdb/lmdb_private.h"

struct row_of_body {
	uint64_t body;
	uint64_t size; /* as the row says */
};

struct check {
	struct ps_store *store;
	struct ps_index *index;
	struct ps_index_txn *txn;
	void (*fault)(void *arg, const char *sentence);
	void *arg;
	uint64_t modseq, uid_validity; /* the highest of all mailboxes */
	struct row_of_body *rows;      /* sorted by body */
	size_t count, cap;
	uint8_t *plain;
};

__attribute__((format(printf, 2, 3))) static void tell(struct check *check, const char *fmt, ...)
{
	char sentence[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	check->fault(check->arg, sentence);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static int take_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct check *check = arg;
	uint64_t body;

	if (ps_ledger_locator(locator, &body) < 0) {
		tell(check, "the row of a UID %u does not say where its body is", row->uid);
		return 0;
	}
	if (check->count == check->cap) {
		check->cap = check->cap ? check->cap * 2 : 1024;
		check->rows = ps_realloc(check->rows, check->cap * sizeof *check->rows);
	}
	check->rows[check->count++] = (struct row_of_body){body, row->size};
	return 0;
}

/* Damaged rows have been told by ps_index_check(). */
static int take_box(void *arg, const struct ps_index_box *box)
{
	struct check *check = arg;
	int r = ps_index_rows(check->txn, box->key, (struct ps_range){1, UINT32_MAX}, take_row, check);

	if (box->highest_modseq > check->modseq)
		check->modseq = box->highest_modseq;
	if (box->uid_validity > check->uid_validity)
		check->uid_validity = box->uid_validity;
	return r == PS_E_CORRUPT ? 0 : r;
}

static int by_body(const void *a, const void *b)
{
	const struct row_of_body *x = a, *y = b;

	return (x->body > y->body) - (x->body < y->body);
}

static void check_numbers(struct check *check)
{
	static const char *const names[] = {"modseq", "uid_validity"};
	const uint64_t needed[] = {check->modseq, check->uid_validity};

	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		uint64_t highest;

		if (ps_index_number(check->txn, names[i], &highest) < 0)
			tell(check, "the highest %s cannot be read", names[i]);
		else if (highest < needed[i])
			tell(check, "the highest %s is %llu, where a mailbox has %llu", names[i],
			     (unsigned long long)highest, (unsigned long long)needed[i]);
	}
}

/* ---- bodies -------------------------------------------------------------------------------------- */

static size_t first_row(const struct check *check, uint64_t body)
{
	size_t low = 0, high = check->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (check->rows[middle].body < body)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_in_grave(struct check *check, uint64_t body)
{
	uint64_t found;

	return ps_index_grave_next(check->txn, body - 1, &found) == 0 && found == body;
}

static void check_refs(struct check *check, uint64_t body, const struct body_record *record)
{
	uint32_t refs = 0;

	for (size_t i = first_row(check, body); i < check->count && check->rows[i].body == body; i++, refs++)
		if (check->rows[i].size != record->length)
			tell(check, "message %llu has %llu octets, where a row says %llu",
			     (unsigned long long)ps_ledger_number(body), (unsigned long long)record->length,
			     (unsigned long long)check->rows[i].size);
	if (refs != record->refs)
		tell(check, "message %llu: %u rows have it, where it says %u",
		     (unsigned long long)ps_ledger_number(body), refs, record->refs);
	if (is_in_grave(check, body) != (record->refs == 0))
		tell(check, "message %llu is %s the graves", (unsigned long long)ps_ledger_number(body),
		     record->refs == 0 ? "not in" : "in");
}

static int check_octets(struct check *check, uint64_t body, const struct body_record *record)
{
	uint64_t length = 0;
	uint32_t crc = 0;

	for (uint32_t n = 0; n < record->chunks; n++) {
		struct ps_bytes octets;
		struct chunk_head head;
		int r = body_chunk(check->index, check->txn, body, n, &head, &octets);

		if (r == 0 && head.codec != CODEC_NONE) {
			r = zstd_unpack(octets, check->plain, head.plain);
			octets = ps_bytes(check->plain, head.plain);
		}
		if (r < 0)
			return r;
		if (n + 1 < record->chunks && octets.len != CHUNK_PLAIN)
			return ps_fail(PS_E_CORRUPT, "chunk %u has %zu octets", n, octets.len);
		crc = ps_crc32c(crc, octets.ptr, octets.len);
		length += octets.len;
	}
	if (length != record->length || crc != record->crc)
		return ps_fail(PS_E_CORRUPT, "its %llu octets are not those that were stored",
			       (unsigned long long)length);
	return 0;
}

static int each_key(struct check *check, enum own_db db, int (*fn)(struct check *check, MDB_val key))
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(ps_index_lmdb(check->txn), ps_index_database(check->index, db), &cursor), r = 0;

	if (rc)
		return ps_index_failed(rc, "cursor");
	while (r == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
		r = fn(check, key);
	mdb_cursor_close(cursor);
	return r < 0 || rc == 0 || rc == MDB_NOTFOUND ? r : ps_index_failed(rc, "walk");
}

static uint64_t body_of_key(MDB_val key)
{
	uint64_t be = 0;

	memcpy(&be, key.mv_data, key.mv_size < sizeof be ? key.mv_size : sizeof be);
	return be64toh(be);
}

static int check_body(struct check *check, MDB_val key)
{
	uint64_t body = body_of_key(key);
	struct body_record record;
	int r;

	if ((r = body_record(check->index, check->txn, body, &record)) == 0) {
		check_refs(check, body, &record);
		/* What is being staged has not got all its chunks yet, and what nobody has needs none. */
		r = record.refs > 0 ? check_octets(check, body, &record) : 0;
	}
	if (r == PS_E_CORRUPT || r == PS_E_UNSUPPORTED) {
		tell(check, "message %llu: %s", (unsigned long long)ps_ledger_number(body), ps_last_error());
		r = 0;
	}
	return r;
}

/* A key of another database, whose body must be there with at least so many chunks. */
static void check_owner(struct check *check, uint64_t body, uint32_t n, const char *what)
{
	struct body_record record;
	int r = body_record(check->index, check->txn, body, &record);

	if (r == PS_E_NOTFOUND || (r == 0 && n > 0 && n > record.chunks))
		tell(check, "%s of message %llu, which is not there", what, (unsigned long long)ps_ledger_number(body));
}

static int check_chunk(struct check *check, MDB_val key)
{
	uint32_t n = 0;

	if (key.mv_size == sizeof(uint64_t) + sizeof n)
		memcpy(&n, (const uint8_t *)key.mv_data + sizeof(uint64_t), sizeof n);
	else
		tell(check, "a chunk with a key of %zu octets", key.mv_size);
	check_owner(check, body_of_key(key), be32toh(n) + 1, "a chunk");
	return 0;
}

static int check_graves(struct check *check)
{
	uint64_t body = 0;
	int r;

	while ((r = ps_index_grave_next(check->txn, body, &body)) == 0)
		check_owner(check, body, 0, "the grave");
	return r == PS_E_NOTFOUND ? 0 : r;
}

static void check_rows(struct check *check)
{
	struct body_record record;

	for (size_t i = 0; i < check->count; i++)
		if ((i == 0 || check->rows[i].body != check->rows[i - 1].body) &&
		    body_record(check->index, check->txn, check->rows[i].body, &record) == PS_E_NOTFOUND)
			tell(check, "a row has message %llu, which is not there",
			     (unsigned long long)ps_ledger_number(check->rows[i].body));
}

/* ---- pages --------------------------------------------------------------------------------------- */

static bool pages_of(MDB_txn *txn, MDB_dbi dbi, uint64_t *pages)
{
	MDB_stat stat;

	if (mdb_stat(txn, dbi, &stat) != 0)
		return false;
	*pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	return true;
}

/* Of database 0, which has lists of them, each beginning with its length. Not ps_index_free_pages(), which would see another moment. */
static bool free_pages(MDB_txn *txn, uint64_t *pages)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	size_t count;
	int rc;

	if (mdb_cursor_open(txn, 0, &cursor) != 0)
		return false;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		memcpy(&count, value.mv_data, sizeof count);
		*pages += count;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND;
}

/* Each page of the file is in a database, or free: two are LMDB's, database 0 has the free ones, 1 the names of all others. */
static void check_pages(struct check *check)
{
	MDB_txn *txn = ps_index_lmdb(check->txn);
	uint64_t pages = 2;
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_envinfo info;
	bool good = free_pages(txn, &pages) && pages_of(txn, 0, &pages) && pages_of(txn, 1, &pages);

	if (mdb_cursor_open(txn, 1, &cursor) != 0)
		return;
	while (good && mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		char name[64];
		MDB_dbi dbi;

		snprintf(name, sizeof name, "%.*s", (int)key.mv_size, (const char *)key.mv_data);
		good = mdb_dbi_open(txn, name, 0, &dbi) == 0 && pages_of(txn, dbi, &pages);
	}
	mdb_cursor_close(cursor);
	mdb_env_info(ps_index_env(check->index), &info);
	if (good && ps_index_last_txn(check->index) == ps_index_txn_id(check->txn) && pages != info.me_last_pgno + 1)
		tell(check, "%llu pages are used or free, where the file has %zu", (unsigned long long)pages,
		     info.me_last_pgno + 1);
}

/* ---- files --------------------------------------------------------------------------------------- */

static void check_files(struct check *check, uint32_t number)
{
	DIR *dir = file_list(check->store);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		uint32_t found = file_number(entry->d_name);

		if ((found > 0 && found < number) || strcmp(entry->d_name, FILE_ASIDE) == 0)
			tell(check, "%s is left of a compaction, or one is under way", entry->d_name);
	}
	if (dir)
		closedir(dir);
}

static int check_all(struct check *check)
{
	int r;

	if ((r = ps_index_check(check->txn, check->fault, check->arg)) < 0 ||
	    (r = ps_index_boxes(check->txn, take_box, check)) < 0)
		return r == PS_E_CORRUPT ? 0 : r; /* told already */
	if (check->count > 1)
		qsort(check->rows, check->count, sizeof *check->rows, by_body);
	check_numbers(check);
	check_rows(check);
	if ((r = each_key(check, DB_BODIES, check_body)) < 0 || (r = each_key(check, DB_CHUNKS, check_chunk)) < 0 ||
	    (r = check_graves(check)) < 0)
		return r;
	check_pages(check);
	return 0;
}

int lmdb_check(struct ps_store *store, void (*fault)(void *arg, const char *sentence), void *arg)
{
	struct check check = {.store = store, .fault = fault, .arg = arg};
	uint32_t number;
	int r;

	check.index = ps_ledger_index(store->ledger, &number);
	check.plain = ps_malloc(CHUNK_PLAIN);
	if ((r = ps_index_read(check.index, &check.txn)) == 0) {
		r = check_all(&check);
		ps_index_end(check.txn);
	}
	if (r == 0)
		check_files(&check, number);
	ps_index_close(check.index);
	free(check.plain);
	free(check.rows);
	return r;
}
