/* SPDX-License-Identifier: MIT */
/*
 * Transactions. The map may be made larger only while this process has none open, so they are counted. The one who
 * makes it larger waits for such a moment; now and then it keeps new ones back for some milliseconds, so that it comes, but
 * not for longer, since a thread that has one open may want another.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include "core/store/index/index_private.h"

enum {
	CHECK_EVERY = 256,
	KEEP_BACK_MS = 20,
	RESIZE_TRIES = 250 /* ten seconds in all */
};

/* With the lock: the environment may have been closed, to be opened anew. */
static int need_env(struct ps_index *index)
{
	return index->env ? 0 : index_reopen_env(index);
}

/* With the lock: while the map is made larger, what LMDB tells of itself is nowhere. */
static size_t pages_used(struct ps_index *index, size_t *ret_map)
{
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(index->env, &info);
	mdb_env_stat(index->env, &stat);
	*ret_map = info.me_mapsize;
	return (info.me_last_pgno + 1) * stat.ms_psize;
}

/* While nobody is reading, so that a change rarely meets a full map, and a reader one that others have outgrown. */
static void grow_early(struct ps_index *index)
{
	size_t map, used = pages_used(index, &map);

	if (used > map / 2)
		mdb_env_set_mapsize(index->env, map * 2);
}

static int enter(struct ps_index *index)
{
	int r;

	pthread_mutex_lock(&index->lock);
	while (index->resizing)
		pthread_cond_wait(&index->idle, &index->lock);
	if ((r = need_env(index)) == 0) {
		if (index->txns == 0)
			grow_early(index);
		index->txns++;
	}
	pthread_mutex_unlock(&index->lock);
	return r;
}

static void leave(struct ps_index *index)
{
	pthread_mutex_lock(&index->lock);
	if (--index->txns == 0)
		pthread_cond_broadcast(&index->idle);
	pthread_mutex_unlock(&index->lock);
}

static struct timespec soon(void)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_nsec += KEEP_BACK_MS * 1000000L;
	at.tv_sec += at.tv_nsec / 1000000000L;
	at.tv_nsec %= 1000000000L;
	return at;
}

/* With the lock, which is let go meanwhile. False: there was no moment without transactions. */
static bool wait_idle(struct ps_index *index)
{
	for (int i = 0; i < RESIZE_TRIES && index->txns > 0; i++) {
		struct timespec until = soon();
		int rc = 0;

		index->resizing = i % 2 == 0;
		while (index->txns > 0 && rc == 0)
			rc = pthread_cond_timedwait(&index->idle, &index->lock, &until);
		index->resizing = false;
		pthread_cond_broadcast(&index->idle);
	}
	return index->txns == 0;
}

/* 0: the size that another process gave it. */
static int set_map(struct ps_index *index, size_t size)
{
	int rc = EBUSY, r = 0;

	pthread_mutex_lock(&index->lock);
	if (wait_idle(index) && (r = need_env(index)) == 0)
		rc = mdb_env_set_mapsize(index->env, size);
	pthread_mutex_unlock(&index->lock);
	if (r < 0)
		return r;
	if (rc == EBUSY)
		return ps_fail(PS_E_BUSY, "index: it cannot be made larger while it is read");
	return rc ? index_fail(rc, "resize") : 0;
}

static int begin(struct ps_index *index, unsigned flags, struct ps_index_txn **ret_txn)
{
	struct ps_index_txn *txn;
	MDB_txn *inner;
	int rc, r;

	for (;;) {
		if ((r = enter(index)) < 0)
			return r;
		rc = mdb_txn_begin(index->env, NULL, flags, &inner);
		if (rc == 0)
			break;
		leave(index);
		if (rc != MDB_MAP_RESIZED)
			return index_fail(rc, "begin");
		if ((r = set_map(index, 0)) < 0)
			return r;
	}
	txn = ps_malloc(sizeof *txn);
	*txn = (struct ps_index_txn){.index = index, .txn = inner, .write = !(flags & MDB_RDONLY)};
	*ret_txn = txn;
	return 0;
}

int ps_index_read(struct ps_index *index, struct ps_index_txn **ret_txn)
{
	return begin(index, MDB_RDONLY, ret_txn);
}

int ps_index_grow(struct ps_index *index)
{
	size_t map = 0;
	int r;

	pthread_mutex_lock(&index->lock);
	if ((r = need_env(index)) == 0)
		pages_used(index, &map);
	pthread_mutex_unlock(&index->lock);
	return r < 0 ? r : set_map(index, map * 2);
}

/* With the writer's mutex held; gives it back on failure. */
static int begin_write(struct ps_index *index, struct ps_index_txn **ret_txn)
{
	int dead, r = index_mark_used(index);

	if (r == 0)
		r = begin(index, 0, ret_txn);
	if (r < 0)
		pthread_mutex_unlock(&index->writer);
	else if (++index->writes % CHECK_EVERY == 0)
		mdb_reader_check(index->env, &dead);
	return r;
}

int ps_index_write(struct ps_index *index, struct ps_index_txn **ret_txn)
{
	pthread_mutex_lock(&index->writer);
	return begin_write(index, ret_txn);
}

int ps_index_write_try(struct ps_index *index, struct ps_index_txn **ret_txn)
{
	if (pthread_mutex_trylock(&index->writer) != 0)
		return ps_fail(PS_E_BUSY, "index: somebody is writing");
	return begin_write(index, ret_txn);
}

static void txn_free(struct ps_index_txn *txn)
{
	leave(txn->index);
	if (txn->write)
		pthread_mutex_unlock(&txn->index->writer);
	free(txn);
}

static void close_cursors(struct ps_index_txn *txn)
{
	MDB_cursor *cursors[] = {txn->caches, txn->rows, txn->changes_out, txn->changes_in};

	for (size_t i = 0; i < PS_ARRAY_LEN(cursors); i++)
		if (cursors[i])
			mdb_cursor_close(cursors[i]);
}

int ps_index_commit(struct ps_index_txn *txn)
{
	int rc;

	close_cursors(txn);
	rc = mdb_txn_commit(txn->txn);
	txn_free(txn);
	return rc ? index_fail(rc, "commit") : 0;
}

void ps_index_end(struct ps_index_txn *txn)
{
	if (!txn)
		return;
	close_cursors(txn);
	mdb_txn_abort(txn->txn);
	txn_free(txn);
}

struct MDB_txn *ps_index_lmdb(struct ps_index_txn *txn)
{
	return txn->txn;
}

uint64_t ps_index_txn_id(const struct ps_index_txn *txn)
{
	return mdb_txn_id(txn->txn);
}

uint64_t ps_index_last_txn(struct ps_index *index)
{
	MDB_envinfo info = {0};

	/* Who asks has no transaction, so the map may be made larger just now. */
	pthread_mutex_lock(&index->lock);
	if (need_env(index) == 0)
		mdb_env_info(index->env, &info);
	pthread_mutex_unlock(&index->lock);
	return info.me_last_txnid;
}

int index_get(struct ps_index_txn *txn, enum index_db db, MDB_val key, MDB_val *ret_value)
{
	int rc = mdb_get(txn->txn, txn->index->dbi[db], &key, ret_value);

	return rc ? index_fail(rc, "get") : 0;
}

int index_put(struct ps_index_txn *txn, enum index_db db, MDB_val key, MDB_val value)
{
	int rc = mdb_put(txn->txn, txn->index->dbi[db], &key, &value, 0);

	return rc ? index_fail(rc, "put") : 0;
}

int index_del(struct ps_index_txn *txn, enum index_db db, MDB_val key)
{
	int rc = mdb_del(txn->txn, txn->index->dbi[db], &key, NULL);

	return rc && rc != MDB_NOTFOUND ? index_fail(rc, "delete") : 0;
}

int index_del_below(struct ps_index_txn *txn, enum index_db db, uint64_t be)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor);

	if (rc)
		return index_fail(rc, "cursor");
	while (rc == 0) {
		MDB_val key = index_val(&be, sizeof be), value;

		rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
		if (rc || key.mv_size < sizeof be || memcmp(key.mv_data, &be, sizeof be) != 0)
			break;
		rc = mdb_cursor_del(cursor, 0);
	}
	mdb_cursor_close(cursor);
	return rc && rc != MDB_NOTFOUND ? index_fail(rc, "remove") : 0;
}

int ps_index_meta(struct ps_index_txn *txn, const char *name, struct ps_bytes *ret_value)
{
	MDB_val value;
	int r = index_get(txn, DB_META, index_val(name, strlen(name)), &value);

	if (r == 0)
		*ret_value = ps_bytes(value.mv_data, value.mv_size);
	return r;
}

int ps_index_meta_put(struct ps_index_txn *txn, const char *name, struct ps_bytes value)
{
	return index_put(txn, DB_META, index_val(name, strlen(name)), index_val(value.ptr, value.len));
}

int ps_index_meta_del(struct ps_index_txn *txn, const char *name)
{
	return index_del(txn, DB_META, index_val(name, strlen(name)));
}

int ps_index_number(struct ps_index_txn *txn, const char *name, uint64_t *ret_number)
{
	struct ps_bytes value = {0};
	uint64_t number = 0;
	int r = ps_index_meta(txn, name, &value);

	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	if (r == 0 && value.len != sizeof number)
		return ps_fail(PS_E_CORRUPT, "index: the number %s is damaged", name);
	if (r == 0)
		memcpy(&number, value.ptr, sizeof number);
	*ret_number = number;
	return 0;
}

int ps_index_number_put(struct ps_index_txn *txn, const char *name, uint64_t value)
{
	return ps_index_meta_put(txn, name, ps_bytes(&value, sizeof value));
}

int ps_index_complete(struct ps_index_txn *txn)
{
	return ps_index_number_put(txn, "complete", 1);
}
