/* SPDX-License-Identifier: MIT */
/*
 * Handles of mailboxes, and whether what the index says is still what lies in files.
 */
#include <stdlib.h>
#include "core/store/catalogue/catalogue_private.h"

int ps_catalogue_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	struct ps_folder *folder;
	struct ps_index_box box;
	struct ps_mbox *mbox;
	int r = ps_catalogue_box(store, 0, name, &box);

	if (r == 0)
		r = cat->files->folder_open(store, &box, &folder);
	if (r < 0)
		return r == PS_E_GONE || r == PS_E_NOTFOUND ? ps_fail(PS_E_NOTFOUND, "no mailbox %s", name) : r;
	mbox = ps_zalloc(sizeof *mbox);
	*mbox = (struct ps_mbox){.key = box.key, .store = store, .folder = folder};
	pthread_mutex_lock(&cat->mutex);
	mbox->seen_gen = cat->foreign_gen;
	pthread_mutex_unlock(&cat->mutex);
	*ret_mbox = mbox;
	return 0;
}

void ps_catalogue_mailbox_close(struct ps_mbox *mbox)
{
	ps_catalogue_of(mbox->store)->files->folder_close(mbox);
	free(mbox);
}

/* ---- stale and sync -------------------------------------------------------------------------- */

/* Counts it when somebody else has changed the index. */
static uint64_t look_for_others(struct ps_catalogue *cat)
{
	uint64_t last, gen;

	pthread_mutex_lock(&cat->mutex);
	last = cat->index ? ps_index_last_txn(cat->index) : 0;
	if (last > cat->own_txn) {
		cat->own_txn = last;
		cat->foreign_gen++;
	}
	gen = cat->foreign_gen;
	pthread_mutex_unlock(&cat->mutex);
	return gen;
}

int ps_catalogue_stale(struct ps_store *store, struct ps_mbox *mbox)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	uint64_t gen = look_for_others(cat), seen;

	pthread_mutex_lock(&cat->mutex);
	seen = mbox ? mbox->seen_gen : cat->list_gen;
	pthread_mutex_unlock(&cat->mutex);
	return gen != seen ? 1 : cat->files->differs(store, mbox);
}

static int sync_locked(struct ps_store *store, struct ps_mbox *mbox)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	uint64_t gen = look_for_others(cat);
	int r = 0;

	if (cat->files->differs(store, mbox))
		r = mbox ? cat->files->sync_mailbox(mbox) : cat->files->sync_list(store, false);
	if (r < 0)
		return r;
	pthread_mutex_lock(&cat->mutex);
	*(mbox ? &mbox->seen_gen : &cat->list_gen) = gen;
	pthread_mutex_unlock(&cat->mutex);
	return 0;
}

int ps_catalogue_sync(struct ps_store *store, struct ps_mbox *mbox)
{
	int r = PS_E_CORRUPT;

	for (int i = 0; i < 2 && r == PS_E_CORRUPT; i++) {
		if ((r = ps_catalogue_lock(store)) < 0)
			break;
		r = sync_locked(store, mbox);
		if (r == PS_E_CORRUPT)
			ps_catalogue_drop_index(store);
		ps_catalogue_unlock(store);
	}
	/* What cannot be recorded is not shown yet; what is known can still be read, and removed. */
	if (ps_no_room(r)) {
		ps_log(PS_LOG_WARNING, "disk_full", "user", ps_catalogue_of(store)->user, "error", ps_last_error(),
		       NULL);
		return 0;
	}
	return r;
}

/* ---- reading --------------------------------------------------------------------------------- */

int ps_catalogue_read_begin(struct ps_store *store, struct ps_read **ret_read)
{
	struct ps_index *index = ps_catalogue_index(store);

	return index ? ps_indexed_begin(index, ret_read) : ps_fail(PS_E_STORAGE, "the index is not there");
}

struct keeping {
	struct ps_mbox *mbox;
	uint32_t uid;
	struct ps_bytes cache;
};

static int keep_cache(void *arg, struct ps_index_txn *txn)
{
	struct keeping *k = arg;
	int r = ps_indexed_cache_keep(txn, k->mbox, k->uid, k->cache);

	return r < 0 ? r : 1;
}

/* Reading must not wait for a writer's sync: if one is at work, the cache is made again another time. */
int ps_catalogue_cache_put(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache)
{
	int r = ps_catalogue_try(mbox->store, keep_cache, &(struct keeping){mbox, uid, cache});

	return r == PS_E_BUSY || r == PS_E_AGAIN || ps_no_room(r) ? 0 : r;
}
