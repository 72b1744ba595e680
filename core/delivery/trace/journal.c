/* SPDX-License-Identifier: MIT */
/*
 * Two tables: `events`, a record under its number (8 octets, growing), and `index`, under each key of a record its number.
 *
 * A commit writes the data and leaves the meta page to the next (MDB_NOMETASYNC): a crash of the machine may take the last one back, and
 * harms nothing. A journal that cannot be opened is begun anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/delivery/trace/private.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	PRUNE_MAX = 2000, /* records removed in a commit, beside as many as it adds */
	SPARE = 16 << 20,
};

struct trace_journal {
	char *dir;
	uint64_t octets;
	MDB_env *env; /* NULL: closed until it is needed */
	MDB_dbi events, index;
	uint64_t next;
	bool used; /* since the last trace_journal_rest() */
};

static int fail(int rc, const char *what)
{
	if (rc < 0)
		return ps_fail(rc == MDB_NOTFOUND   ? PS_E_NOTFOUND
			       : rc == MDB_MAP_FULL ? PS_E_FULL
						    : PS_E_CORRUPT,
			       "trace: %s: %s", what, mdb_strerror(rc));
	errno = rc;
	return ps_fail_errno("trace: %s", what);
}

static void put_seq(uint64_t seq, uint8_t octets[8])
{
	for (int i = 7; i >= 0; i--, seq >>= 8)
		octets[i] = (uint8_t)seq;
}

static uint64_t get_seq(const MDB_val *val)
{
	uint64_t seq = 0;

	for (size_t i = 0; i < 8 && i < val->mv_size; i++)
		seq = seq << 8 | ((const uint8_t *)val->mv_data)[i];
	return seq;
}

static struct ps_bytes bytes_of(const MDB_val *val)
{
	return ps_bytes(val->mv_data, val->mv_size);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int find_next(struct trace_journal *journal, MDB_txn *txn)
{
	MDB_cursor *cursor;
	MDB_val key, data;
	int rc = mdb_cursor_open(txn, journal->events, &cursor);

	if (rc)
		return rc;
	rc = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
	journal->next = rc == 0 ? get_seq(&key) + 1 : 1;
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int open_tables(struct trace_journal *journal)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, 0, &txn);

	if (rc)
		return rc;
	if ((rc = mdb_dbi_open(txn, "events", MDB_CREATE, &journal->events)) == 0 &&
	    (rc = mdb_dbi_open(txn, "index", MDB_CREATE | MDB_DUPSORT | MDB_DUPFIXED, &journal->index)) == 0)
		rc = find_next(journal, txn);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static void close_env(struct trace_journal *journal)
{
	mdb_env_close(journal->env);
	journal->env = NULL;
}

static int open_env(struct trace_journal *journal)
{
	size_t map = (size_t)(journal->octets + journal->octets / 4 + SPARE);
	int rc = mdb_env_create(&journal->env);

	if (rc)
		return rc;
	if ((rc = mdb_env_set_maxdbs(journal->env, 2)) == 0 && (rc = mdb_env_set_mapsize(journal->env, map)) == 0 &&
	    (rc = mdb_env_open(journal->env, journal->dir, MDB_NOTLS | MDB_NOMETASYNC | MDB_NORDAHEAD, 0600)) == 0)
		rc = open_tables(journal);
	if (rc)
		close_env(journal);
	return rc;
}

static void begin_anew(const char *dir, const char *why)
{
	static const char *const names[] = {"data.mdb", "lock.mdb"};

	ps_log(PS_LOG_WARNING, "trace_begun_anew", "dir", dir, "msg", why, NULL);
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		PS_CLEANUP(ps_freep) char *path = NULL;

		if (asprintf(&path, "%s/%s", dir, names[i]) >= 0)
			unlink(path);
	}
}

static int need_env(struct trace_journal *journal)
{
	int rc = journal->env ? 0 : open_env(journal);

	if (rc < 0) {
		begin_anew(journal->dir, mdb_strerror(rc));
		rc = open_env(journal);
	}
	journal->used = true;
	return rc ? fail(rc, journal->dir) : 0;
}

int trace_journal_open(const char *dir, uint64_t octets, struct trace_journal **ret_journal)
{
	struct trace_journal *journal;
	int r;

	if (mkdirat(AT_FDCWD, dir, 0700) < 0 && errno != EEXIST)
		return ps_fail_errno("make folder %s", dir);
	journal = ps_zalloc(sizeof *journal);
	journal->dir = ps_strdup(dir);
	journal->octets = octets;
	if ((r = need_env(journal)) < 0) {
		trace_journal_close(journal);
		return r;
	}
	*ret_journal = journal;
	return 0;
}

void trace_journal_rest(struct trace_journal *journal)
{
	if (!journal->used)
		close_env(journal);
	journal->used = false;
}

void trace_journal_close(struct trace_journal *journal)
{
	if (!journal)
		return;
	close_env(journal);
	free(journal->dir);
	free(journal);
}

/* ---- adding ---------------------------------------------------------------------------------- */

struct change {
	struct trace_journal *journal;
	MDB_txn *txn;
	uint8_t seq[8];
};

static int index_key(void *arg, struct ps_bytes key)
{
	struct change *change = arg;
	MDB_val k = {key.len, (void *)key.ptr}, v = {8, change->seq};
	int rc = mdb_put(change->txn, change->journal->index, &k, &v, MDB_NODUPDATA);

	return rc == MDB_KEYEXIST ? 0 : rc;
}

static int unindex_key(void *arg, struct ps_bytes key)
{
	struct change *change = arg;
	MDB_val k = {key.len, (void *)key.ptr}, v = {8, change->seq};
	int rc = mdb_del(change->txn, change->journal->index, &k, &v);

	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int add_record(struct change *change, struct ps_bytes octets)
{
	MDB_val key = {8, change->seq}, data = {octets.len, (void *)octets.ptr};
	struct trace_record record;
	int rc;

	if (trace_unpack(octets, &record) < 0)
		return 0;
	put_seq(change->journal->next, change->seq);
	rc = mdb_put(change->txn, change->journal->events, &key, &data, MDB_APPEND);
	if (rc == 0)
		rc = trace_keys(&record, index_key, change);
	if (rc == 0)
		change->journal->next++;
	return rc;
}

static uint64_t table_octets(MDB_txn *txn, MDB_dbi table)
{
	MDB_stat stat;

	if (mdb_stat(txn, table, &stat))
		return 0;
	return (uint64_t)(stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
}

static bool is_too_much(const struct change *change, uint64_t octets)
{
	return table_octets(change->txn, change->journal->events) + table_octets(change->txn, change->journal->index) >
	       octets;
}

/* The oldest, as long as it is too old, or there is too much. */
static int prune(struct change *change, uint64_t oldest, uint64_t octets, size_t most)
{
	MDB_cursor *cursor;
	MDB_val key, data;
	int rc = mdb_cursor_open(change->txn, change->journal->events, &cursor);

	if (rc)
		return rc;
	for (; most > 0 && rc == 0; most--) {
		struct trace_record record;
		bool sound;

		if ((rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST)))
			break;
		sound = trace_unpack(bytes_of(&data), &record) == 0;
		if (sound && record.time >= oldest && !is_too_much(change, octets))
			break;
		memcpy(change->seq, key.mv_data, key.mv_size < 8 ? key.mv_size : 8);
		if (sound)
			rc = trace_keys(&record, unindex_key, change);
		if (rc == 0)
			rc = mdb_cursor_del(cursor, 0);
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int add_all(struct change *change, struct ps_bytes records, size_t *ret_count)
{
	size_t count = 0;
	int rc = 0;

	while (rc == 0 && records.len >= 4) {
		size_t len = (size_t)records.ptr[0] << 24 | (size_t)records.ptr[1] << 16 | (size_t)records.ptr[2] << 8 |
			     records.ptr[3];

		rc = add_record(change, ps_bytes(records.ptr + 4, len));
		records = ps_bytes_skip(records, 4 + len);
		count++;
	}
	*ret_count = count;
	return rc;
}

int trace_journal_add(struct trace_journal *journal, struct ps_bytes records, uint64_t oldest, uint64_t octets)
{
	struct change change = {.journal = journal};
	uint64_t next;
	size_t count;
	int rc, r = need_env(journal);

	if (r < 0)
		return r;
	next = journal->next;
	if ((rc = mdb_txn_begin(journal->env, NULL, 0, &change.txn)))
		return fail(rc, "begin");
	rc = add_all(&change, records, &count);
	if (rc == 0)
		rc = prune(&change, oldest, octets, PRUNE_MAX + count);
	if (rc == 0)
		rc = mdb_txn_commit(change.txn);
	else
		mdb_txn_abort(change.txn);
	if (rc)
		journal->next = next;
	return rc ? fail(rc, "write") : 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

int trace_view_open(struct trace_journal *journal, struct trace_view *ret_view)
{
	int rc, r = need_env(journal);

	if (r < 0)
		return r;
	*ret_view = (struct trace_view){.events = journal->events, .index = journal->index};
	rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &ret_view->txn);
	return rc ? fail(rc, "read") : 0;
}

void trace_view_close(struct trace_view *view)
{
	mdb_txn_abort(view->txn);
}

int trace_view_get(const struct trace_view *view, MDB_val seq, struct trace_record *ret_record)
{
	MDB_val data;
	int rc = mdb_get(view->txn, view->events, &seq, &data);

	return rc ? fail(rc, "read") : trace_unpack(bytes_of(&data), ret_record);
}
