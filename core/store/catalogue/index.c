/* SPDX-License-Identifier: MIT */
#include "core/store/catalogue/catalogue_private.h"

struct ps_index *ps_catalogue_index(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	struct ps_index *index;

	pthread_mutex_lock(&cat->mutex);
	index = cat->index ? ps_index_ref(cat->index) : NULL;
	pthread_mutex_unlock(&cat->mutex);
	return index;
}

static void set_index(struct ps_catalogue *cat, struct ps_index *index)
{
	struct ps_index *old;

	pthread_mutex_lock(&cat->mutex);
	old = cat->index;
	cat->index = index;
	cat->own_txn = ps_index_last_txn(index); /* what was seen before is another index's */
	cat->foreign_gen++;
	pthread_mutex_unlock(&cat->mutex);
	ps_index_close(old);
}

void ps_catalogue_foreign(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);

	pthread_mutex_lock(&cat->mutex);
	cat->foreign_gen++;
	pthread_mutex_unlock(&cat->mutex);
}

void ps_catalogue_drop_index(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);

	ps_log(PS_LOG_WARNING, "index_dropped", "user", cat->user, "error", ps_last_error(), NULL);
	ps_index_discard(cat->index_path);
	ps_catalogue_foreign(store); /* what is read from it is not how it is: a sync is due */
}

bool catalogue_index_is_there(struct ps_store *store)
{
	struct ps_index *index = ps_catalogue_index(store);
	bool there = index && ps_index_is_at(index, ps_catalogue_of(store)->index_path);

	ps_index_close(index);
	return there;
}

static int start_modseq(struct ps_store *store)
{
	struct ps_catalogue_txn t;
	int r = ps_catalogue_txn_begin(store, &t);

	if (r < 0)
		return r;
	t.modseq = ps_catalogue_of(store)->modseq_reserved;
	return ps_catalogue_txn_commit(&t);
}

static int say_complete(struct ps_store *store)
{
	struct ps_catalogue_txn t;
	int r = ps_catalogue_txn_begin(store, &t);

	if (r < 0)
		return r;
	if ((r = ps_index_complete(t.txn)) < 0) {
		ps_catalogue_txn_end(&t);
		return r;
	}
	return ps_catalogue_txn_commit(&t);
}

static int rebuild(struct ps_store *store)
{
	const struct ps_catalogue_files *files = ps_catalogue_of(store)->files;
	int r;

	if ((r = start_modseq(store)) < 0 || (r = files->load_tokens(store)) < 0 ||
	    (r = files->sync_list(store, true)) < 0)
		return r;
	return say_complete(store);
}

/* One left half-filled is begun anew. */
int catalogue_open_index(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	struct ps_index *index;
	bool fresh;
	int r = ps_index_open(cat->index_path, &index, &fresh);

	if (r == 0 && fresh) {
		ps_index_close(index);
		ps_index_discard(cat->index_path);
		r = ps_index_open(cat->index_path, &index, &fresh);
	}
	if (r < 0)
		return r;
	set_index(cat, index);
	if (!fresh)
		return 0;
	if ((r = rebuild(store)) < 0)
		ps_catalogue_drop_index(store);
	return r;
}

void ps_catalogue_renew_index(struct ps_store *store)
{
	ps_catalogue_drop_index(store);
	if (catalogue_open_index(store) < 0)
		ps_log(PS_LOG_WARNING, "index_not_made", "user", ps_catalogue_of(store)->user, "error", ps_last_error(),
		       NULL);
}

int ps_catalogue_grow_index(struct ps_store *store)
{
	struct ps_index *index = ps_catalogue_index(store);
	int r = index ? ps_index_grow(index) : ps_fail(PS_E_STORAGE, "the index is not there");

	ps_index_close(index);
	return r;
}

int ps_catalogue_box(struct ps_store *store, uint64_t key, const char *name, struct ps_index_box *ret_box)
{
	struct ps_index *index = ps_catalogue_index(store);
	struct ps_index_txn *txn;
	int r = index ? ps_index_read(index, &txn) : ps_fail(PS_E_STORAGE, "the index is not there");

	if (r == 0) {
		r = name ? ps_index_box_find(txn, name, ret_box) : ps_index_box(txn, key, ret_box);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r;
}

int catalogue_number(struct ps_store *store, const char *name, uint64_t *ret_number)
{
	struct ps_index *index = ps_catalogue_index(store);
	struct ps_index_txn *txn;
	int r = 0;

	*ret_number = 0;
	if (index && (r = ps_index_read(index, &txn)) == 0) {
		r = ps_index_number(txn, name, ret_number);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r == PS_E_CORRUPT ? 0 : r;
}
