/* SPDX-License-Identifier: MIT */
/* Reading: one LMDB snapshot from begin to end. */
#include <stdlib.h>
#include "backends/lmdb/lmdb_private.h"

enum {
	LATE_MAX = 64 /* caches that may wait for a commit */
};

int lmdb_read_begin(struct ps_store *store, struct ps_read **ret_read)
{
	struct ps_index *index = store_index(store, NULL);
	struct ps_index_txn *txn;
	int r = ps_index_read(index, &txn);

	if (r < 0) {
		ps_index_close(index);
		return r;
	}
	*ret_read = ps_zalloc(sizeof **ret_read);
	**ret_read = (struct ps_read){.store = store, .index = index, .txn = txn, .pool = ps_pool_create("lmdb read")};
	return 0;
}

void lmdb_read_end(struct ps_read *read)
{
	ps_index_end(read->txn);
	ps_index_close(read->index);
	ps_pool_destroy(read->pool);
	free(read);
}

static int read_box(struct ps_read *read, const struct ps_mbox *mbox, struct ps_index_box *ret_box)
{
	int r = ps_index_box(read->txn, mbox->key, ret_box);

	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "the mailbox was deleted") : r;
}

/* ---- mailboxes --------------------------------------------------------------------------------- */

static bool is_subscribed(struct ps_read *read, const char *name)
{
	MDB_val key = val(name, strlen(name)), value;

	return mdb_get(ps_index_lmdb(read->txn), ps_index_database(read->index, DB_SUBSCRIPTIONS), &key, &value) == 0;
}

static struct ps_mailbox_info info_of(struct ps_read *read, const struct ps_index_box *box)
{
	return (struct ps_mailbox_info){
		.name = box->name,
		.id = box->id,
		.attributes = PS_MBOX_EXISTS | (box->attributes & PS_MBOX_SPECIAL_USES) |
			      (is_subscribed(read, box->name) ? PS_MBOX_SUBSCRIBED : 0),
		.uid_validity = box->uid_validity,
		.uid_next = box->uid_next,
		.highest_modseq = box->highest_modseq,
		.vanished_since = box->vanished_since,
		.messages = box->messages,
		.unseen = box->unseen,
		.deleted = box->deleted,
		.size = box->size,
	};
}

struct listing {
	struct ps_read *read;
	ps_mailbox_fn fn;
	void *arg;
};

static int tell_box(void *arg, const struct ps_index_box *box)
{
	struct listing *listing = arg;
	struct ps_mailbox_info info = info_of(listing->read, box);

	return listing->fn(listing->arg, &info);
}

/* Those that are only subscribed. */
static int tell_names(struct listing *listing)
{
	struct ps_read *read = listing->read;
	struct ps_index_box box;
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(ps_index_lmdb(read->txn), ps_index_database(read->index, DB_SUBSCRIPTIONS), &cursor);
	int r = 0;

	if (rc)
		return ps_index_failed(rc, "cursor");
	while (r == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		struct ps_mailbox_info info = {.name = ps_pool_strndup(read->pool, key.mv_data, key.mv_size),
					       .attributes = PS_MBOX_SUBSCRIBED};

		r = ps_index_box_find(read->txn, info.name, &box);
		if (r == PS_E_NOTFOUND)
			r = listing->fn(listing->arg, &info);
	}
	mdb_cursor_close(cursor);
	if (r != 0)
		return r;
	return rc != MDB_NOTFOUND ? ps_index_failed(rc, "walk") : 0;
}

int lmdb_list(struct ps_read *read, ps_mailbox_fn fn, void *arg)
{
	struct listing listing = {read, fn, arg};
	int r = ps_index_boxes(read->txn, tell_box, &listing);

	return r == 0 ? tell_names(&listing) : r;
}

int lmdb_info(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info)
{
	struct ps_index_box box;
	int r = read_box(read, mbox, &box);

	if (r < 0)
		return r;
	*ret_info = info_of(read, &box);
	ret_info->name = ps_pool_strdup(read->pool, box.name);
	return 0;
}

int lmdb_keywords(struct ps_read *read, struct ps_mbox *mbox, const char *const **ret_names, size_t *ret_count)
{
	const char **names = PS_NEWV(read->pool, const char *, PS_KEYWORDS_MAX);
	struct ps_index_box box;
	struct ps_bytes octets;
	size_t count = 0;
	int r = read_box(read, mbox, &box);

	if (r < 0 || (r = ps_index_keywords(read->txn, mbox->key, &octets)) < 0)
		return r;
	/* They lie in the map, each with its NUL. */
	for (size_t at = 0; at < octets.len && count < PS_KEYWORDS_MAX; at += strlen(names[count - 1]) + 1)
		names[count++] = (const char *)octets.ptr + at;
	*ret_names = names;
	*ret_count = count;
	return 0;
}

/* ---- messages ------------------------------------------------------------------------------------ */

struct scan {
	ps_row_fn fn;
	void *arg;
};

static int tell_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct scan *scan = arg;

	(void)locator;
	return scan->fn(scan->arg, row);
}

int lmdb_scan(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since, ps_row_fn fn,
	      void *arg)
{
	struct scan scan = {fn, arg};
	struct ps_index_box box;
	int r = read_box(read, mbox, &box);

	if (r < 0)
		return r;
	return changed_since ? ps_index_changed(read->txn, mbox->key, uids, changed_since, tell_row, &scan)
			     : ps_index_rows(read->txn, mbox->key, uids, tell_row, &scan);
}

int lmdb_vanished(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg)
{
	struct ps_index_box box;
	int r = read_box(read, mbox, &box);

	return r == 0 ? ps_index_vanished(read->txn, mbox->key, since, fn, arg) : r;
}

/* ---- caches -------------------------------------------------------------------------------------- */

static bool find_late(struct ps_read *read, uint64_t body, struct ps_bytes *ret_cache)
{
	struct ps_store *store = read->store;
	struct late_cache *late;

	pthread_mutex_lock(&store->lock);
	for (late = store->late; late && late->body != body; late = late->next)
		;
	if (late)
		*ret_cache = ps_bytes(ps_pool_memdup(read->pool, late->octets, late->len), late->len);
	pthread_mutex_unlock(&store->lock);
	return late != NULL;
}

int lmdb_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache)
{
	struct ps_index_box box;
	uint64_t body;
	int r = read_box(read, mbox, &box);

	if (r < 0 || (r = body_of_row(read->txn, mbox->key, uid, &body)) < 0)
		return r;
	r = ps_index_cache(read->txn, body, 0, ret_cache);
	return r == PS_E_NOTFOUND && find_late(read, body, ret_cache) ? 0 : r;
}

static struct late_cache *take_late(struct ps_store *store)
{
	struct late_cache *late;

	pthread_mutex_lock(&store->lock);
	late = store->late;
	store->late = NULL;
	store->late_count = 0;
	pthread_mutex_unlock(&store->lock);
	return late;
}

static void free_late(struct late_cache *late)
{
	while (late) {
		struct late_cache *next = late->next;

		free(late);
		late = next;
	}
}

void late_caches_drop(struct ps_store *store)
{
	free_late(take_late(store));
}

/* Should the transaction fail, they are made again when they are asked for. */
int late_caches_put(struct writer *w)
{
	struct late_cache *all = take_late(w->store);
	int r = 0;

	for (struct late_cache *late = all; late && r == 0; late = late->next) {
		struct body_record record;

		r = body_record(w->index, w->txn, late->body, &record);
		w->changed |= r == 0;
		if (r == 0)
			r = ps_index_cache_put(w->txn, late->body, 0, ps_bytes(late->octets, late->len));
		if (r == PS_E_NOTFOUND) /* expunged meanwhile */
			r = 0;
	}
	free_late(all);
	return r;
}

static int put_late_now(struct ps_store *store)
{
	struct writer w;
	int r = writer_begin(store, &w);

	if (r < 0)
		return r;
	if ((r = writer_check_generation(&w)) < 0 || (r = late_caches_put(&w)) < 0) {
		writer_end(&w);
		return r;
	}
	return writer_commit(&w);
}

static int find_body(struct ps_mbox *mbox, uint32_t uid, uint64_t *ret_body)
{
	struct ps_index *index = store_index(mbox->store, NULL);
	struct ps_index_txn *txn;
	int r = ps_index_read(index, &txn);

	if (r == 0) {
		r = body_of_row(txn, mbox->key, uid, ret_body);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "UID %u was expunged", uid) : r;
}

/* A transaction of its own would cost a sync for each. */
int lmdb_cache_put(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache)
{
	struct ps_store *store = mbox->store;
	struct late_cache *late;
	uint64_t body;
	bool many;
	int r = find_body(mbox, uid, &body);

	if (r < 0)
		return r;
	late = ps_malloc(sizeof *late + cache.len);
	late->body = body;
	late->len = cache.len;
	memcpy(late->octets, cache.ptr, cache.len);
	pthread_mutex_lock(&store->lock);
	late->next = store->late;
	store->late = late;
	many = ++store->late_count >= LATE_MAX;
	pthread_mutex_unlock(&store->lock);
	return many ? put_late_now(store) : 0;
}
