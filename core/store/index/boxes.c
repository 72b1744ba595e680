/* SPDX-License-Identifier: MIT */
#include <endian.h>
#include <stddef.h>
#include <stdio.h>
#include "core/store/index/index_private.h"
#include "postern/io.h"

/* A record is the struct up to its name, the name without NUL, and a checksum over both and the key. */
enum {
	BOX_FIXED = offsetof(struct ps_index_box, name),
	BOX_MAX = sizeof(struct ps_index_box) + 4
};

static int box_decode(MDB_val value, struct ps_index_box *ret_box)
{
	size_t len = value.mv_size;
	uint32_t crc;

	if (len < BOX_FIXED + 4 || len > BOX_FIXED + PS_INDEX_NAME_MAX + 4)
		return ps_fail(PS_E_CORRUPT, "index: a mailbox record of %zu octets", len);
	memcpy(&crc, (const uint8_t *)value.mv_data + len - 4, 4);
	if (crc != ps_crc32c(0, value.mv_data, len - 4))
		return ps_fail(PS_E_CORRUPT, "index: a mailbox record is damaged");
	memcpy(ret_box, value.mv_data, len - 4);
	ret_box->name[len - 4 - BOX_FIXED] = '\0';
	return 0;
}

int ps_index_box(struct ps_index_txn *txn, uint64_t key, struct ps_index_box *ret_box)
{
	uint64_t be = htobe64(key);
	MDB_val value;
	int r = index_get(txn, DB_BOXES, index_val(&be, sizeof be), &value);

	if (r == 0)
		r = box_decode(value, ret_box);
	return r == 0 && ret_box->key != key ? ps_fail(PS_E_CORRUPT, "index: a mailbox under another's key") : r;
}

int ps_index_box_find(struct ps_index_txn *txn, const char *name, struct ps_index_box *ret_box)
{
	size_t len = strlen(name);
	MDB_val value;
	uint64_t key;
	int r;

	if (len == 0 || len > PS_INDEX_NAME_MAX)
		return ps_fail(PS_E_NOTFOUND, "no mailbox of that name");
	if ((r = index_get(txn, DB_NAMES, index_val(name, len), &value)) < 0)
		return r;
	if (value.mv_size != sizeof key)
		return ps_fail(PS_E_CORRUPT, "index: a name record is damaged");
	memcpy(&key, value.mv_data, sizeof key);
	if ((r = ps_index_box(txn, key, ret_box)) < 0)
		return r;
	return strcmp(ret_box->name, name) == 0 ? 0 : ps_fail(PS_E_CORRUPT, "index: a name leads to another mailbox");
}

static int new_key(struct ps_index_txn *txn, uint64_t *ret_key)
{
	uint64_t last;
	int r = ps_index_number(txn, "boxes", &last);

	if (r < 0 || (r = ps_index_number_put(txn, "boxes", last + 1)) < 0)
		return r;
	*ret_key = last + 1;
	return 0;
}

/* A name may have gone to another mailbox already, when two change places. */
static int drop_name(struct ps_index_txn *txn, const struct ps_index_box *box)
{
	MDB_val name = index_val(box->name, strlen(box->name)), value;
	int r = index_get(txn, DB_NAMES, name, &value);

	if (r == PS_E_NOTFOUND)
		return 0;
	if (r < 0 || value.mv_size != sizeof box->key || memcmp(value.mv_data, &box->key, sizeof box->key) != 0)
		return r;
	return index_del(txn, DB_NAMES, name);
}

static int names_update(struct ps_index_txn *txn, const struct ps_index_box *box)
{
	struct ps_index_box old;
	int r = ps_index_box(txn, box->key, &old);

	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	if (r == 0 && strcmp(old.name, box->name) == 0)
		return 0;
	if (r == 0 && (r = drop_name(txn, &old)) < 0)
		return r;
	return index_put(txn, DB_NAMES, index_val(box->name, strlen(box->name)), index_val(&box->key, sizeof box->key));
}

int ps_index_box_put(struct ps_index_txn *txn, struct ps_index_box *box)
{
	uint8_t record[BOX_MAX];
	size_t len = BOX_FIXED + strlen(box->name);
	uint32_t crc;
	uint64_t be;
	int r;

	if (box->key == 0 && (r = new_key(txn, &box->key)) < 0)
		return r;
	if ((r = names_update(txn, box)) < 0)
		return r;
	memcpy(record, box, len);
	crc = ps_crc32c(0, record, len);
	memcpy(record + len, &crc, 4);
	be = htobe64(box->key);
	return index_put(txn, DB_BOXES, index_val(&be, sizeof be), index_val(record, len + 4));
}

int ps_index_box_remove(struct ps_index_txn *txn, uint64_t key)
{
	static const enum index_db below[] = {DB_ROWS, DB_CHANGES, DB_VANISHED, DB_CACHE, DB_KEYWORDS};
	uint64_t be = htobe64(key);
	struct ps_index_box box;
	int r = ps_index_box(txn, key, &box);

	for (size_t i = 0; r == 0 && i < PS_ARRAY_LEN(below); i++)
		r = index_del_below(txn, below[i], be);
	if (r == 0)
		r = drop_name(txn, &box);
	return r == 0 ? index_del(txn, DB_BOXES, index_val(&be, sizeof be)) : r;
}

int ps_index_boxes(struct ps_index_txn *txn, ps_index_box_fn fn, void *arg)
{
	struct ps_index_box box;
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(txn->txn, txn->index->dbi[DB_BOXES], &cursor), r = 0;

	if (rc)
		return index_fail(rc, "cursor");
	while (r == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
		if ((r = box_decode(value, &box)) == 0)
			r = fn(arg, &box);
	mdb_cursor_close(cursor);
	if (r != 0)
		return r;
	return rc != MDB_NOTFOUND ? index_fail(rc, "walk") : 0;
}

/* Calls fn for each from `first` on that begins with the `len` octets; len 0: for all. */
static int walk_from(MDB_cursor *cursor, const char *first, size_t len, ps_index_name_fn fn, void *arg)
{
	MDB_val key = index_val(first, len), value;
	int rc = mdb_cursor_get(cursor, &key, &value, len > 0 ? MDB_SET_RANGE : MDB_FIRST), r = 0;

	while (rc == 0 && r == 0 && key.mv_size >= len && memcmp(key.mv_data, first, len) == 0) {
		char name[PS_INDEX_NAME_MAX + 2];
		size_t size = key.mv_size < sizeof name ? key.mv_size : sizeof name - 1;

		memcpy(name, key.mv_data, size);
		name[size] = '\0';
		r = fn(arg, name);
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	return r != 0 || rc == 0 || rc == MDB_NOTFOUND ? r : index_fail(rc, "walk");
}

int index_walk_names(struct ps_index_txn *txn, enum index_db db, const char *top, ps_index_name_fn fn, void *arg)
{
	size_t len = top ? strlen(top) : 0;
	char below[PS_INDEX_NAME_MAX + 2];
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc, r = 0;

	if (top && (len == 0 || len > PS_INDEX_NAME_MAX))
		return 0;
	if ((rc = mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor)) != 0)
		return index_fail(rc, "cursor");
	if (top) {
		key = index_val(top, len);
		rc = mdb_cursor_get(cursor, &key, &value, MDB_SET);
		if (rc != MDB_NOTFOUND)
			r = rc ? index_fail(rc, "find a name") : fn(arg, top);
		snprintf(below, sizeof below, "%s/", top);
	}
	if (r == 0)
		r = walk_from(cursor, top ? below : "", top ? len + 1 : 0, fn, arg);
	mdb_cursor_close(cursor);
	return r;
}

int ps_index_keywords(struct ps_index_txn *txn, uint64_t key, struct ps_bytes *ret_names)
{
	uint64_t be = htobe64(key);
	MDB_val value;
	int r = index_get(txn, DB_KEYWORDS, index_val(&be, sizeof be), &value);

	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	*ret_names = r == 0 ? ps_bytes(value.mv_data, value.mv_size) : ps_bytes("", 0);
	if (ret_names->len > 0 && ret_names->ptr[ret_names->len - 1] != '\0')
		return ps_fail(PS_E_CORRUPT, "index: a keyword record is damaged");
	return 0;
}

int ps_index_keywords_put(struct ps_index_txn *txn, uint64_t key, struct ps_bytes names)
{
	uint64_t be = htobe64(key);

	return index_put(txn, DB_KEYWORDS, index_val(&be, sizeof be), index_val(names.ptr, names.len));
}
