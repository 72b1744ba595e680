/* SPDX-License-Identifier: MIT */
/* What a durable index has besides: graves, subscriptions, a look at its free pages. */
#include <endian.h>
#include "core/store/index/index_private.h"

uint64_t ps_index_free_pages(struct ps_index *index)
{
	struct ps_index_txn *txn;
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t pages = 0;
	size_t count;

	if (ps_index_read(index, &txn) < 0)
		return 0;
	/* Database 0 is LMDB's own: lists of free pages, each beginning with their number. Only a reader may look at it. */
	if (mdb_cursor_open(txn->txn, 0, &cursor) == 0) {
		while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
			memcpy(&count, value.mv_data, sizeof count);
			pages += count;
		}
		mdb_cursor_close(cursor);
	}
	ps_index_end(txn);
	return pages;
}

/* ---- graves ------------------------------------------------------------------------------------ */

int ps_index_grave_put(struct ps_index_txn *txn, uint64_t body)
{
	uint64_t be = htobe64(body);

	return index_put(txn, DB_GRAVES, index_val(&be, sizeof be), index_val("", 0));
}

int ps_index_grave_del(struct ps_index_txn *txn, uint64_t body)
{
	uint64_t be = htobe64(body);

	return index_del(txn, DB_GRAVES, index_val(&be, sizeof be));
}

int ps_index_grave_next(struct ps_index_txn *txn, uint64_t after, uint64_t *ret_body)
{
	uint64_t be = htobe64(after + 1);
	MDB_val key = index_val(&be, sizeof be), value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn->txn, txn->index->dbi[DB_GRAVES], &cursor);

	if (rc)
		return index_fail(rc, "cursor");
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (rc == 0 && key.mv_size == sizeof be)
		memcpy(&be, key.mv_data, sizeof be);
	else if (rc == 0)
		rc = MDB_CORRUPTED;
	mdb_cursor_close(cursor);
	if (rc)
		return index_fail(rc, "find a grave");
	*ret_body = be64toh(be);
	return 0;
}

/* ---- subscriptions ----------------------------------------------------------------------------- */

int ps_index_subscribe(struct ps_index_txn *txn, const char *name, bool subscribed, bool *ret_changed)
{
	MDB_val key = index_val(name, strlen(name)), value = index_val("", 0);
	MDB_dbi dbi = txn->index->dbi[DB_SUBSCRIPTIONS];
	int rc;

	if (key.mv_size == 0 || key.mv_size > PS_INDEX_NAME_MAX)
		return ps_fail(PS_E_LIMIT, "a mailbox name of more than %d octets", PS_INDEX_NAME_MAX);
	rc = subscribed ? mdb_put(txn->txn, dbi, &key, &value, MDB_NOOVERWRITE) : mdb_del(txn->txn, dbi, &key, NULL);
	if (rc && rc != MDB_NOTFOUND && rc != MDB_KEYEXIST)
		return index_fail(rc, "subscribe");
	*ret_changed = rc == 0;
	return 0;
}

bool ps_index_is_subscribed(struct ps_index_txn *txn, const char *name)
{
	MDB_val key = index_val(name, strlen(name)), value;

	return mdb_get(txn->txn, txn->index->dbi[DB_SUBSCRIPTIONS], &key, &value) == 0;
}

int ps_index_subscriptions(struct ps_index_txn *txn, ps_index_name_fn fn, void *arg)
{
	return index_walk_names(txn, DB_SUBSCRIPTIONS, NULL, fn, arg);
}
