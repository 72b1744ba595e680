/* SPDX-License-Identifier: MIT */
/*
 * Handles of mailboxes, and whether what the index says of one is still what lies in its file.
 */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "backends/mbox/mbox_private.h"
#include "postern/log.h"

static int get_box(struct ps_store *store, uint64_t key, const char *name, struct ps_index_box *ret_box)
{
	struct ps_index *index = store_index(store);
	struct ps_index_txn *txn;
	int r;

	if (!index)
		return ps_fail(PS_E_STORAGE, "the index is not there");
	r = ps_index_read(index, &txn);
	if (r == 0) {
		r = name ? ps_index_box_find(txn, name, ret_box) : ps_index_box(txn, key, ret_box);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r;
}

int mbox_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox)
{
	struct ps_index_box box;
	struct folder *folder;
	struct ps_mbox *mbox;
	int r = get_box(store, 0, name, &box);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_NOTFOUND, "no mailbox %s", name);
	if (r < 0 || (r = folder_get(store, &box, &folder)) < 0)
		return r == PS_E_GONE ? ps_fail(PS_E_NOTFOUND, "no mailbox %s", name) : r;
	mbox = ps_zalloc(sizeof *mbox);
	*mbox = (struct ps_mbox){.key = box.key, .store = store, .folder = folder};
	pthread_mutex_lock(&store->mutex);
	mbox->seen_gen = store->foreign_gen;
	pthread_mutex_unlock(&store->mutex);
	*ret_mbox = mbox;
	return 0;
}

void mbox_mailbox_close(struct ps_mbox *mbox)
{
	folder_put(mbox->folder);
	free(mbox);
}

/* ---- stale and sync -------------------------------------------------------------------------- */

/* Counts it when somebody else has changed the index. */
static uint64_t look_for_others(struct ps_store *store)
{
	uint64_t last, gen;

	pthread_mutex_lock(&store->mutex);
	last = store->index ? ps_index_last_txn(store->index) : 0;
	if (last > store->own_txn) {
		store->own_txn = last;
		store->foreign_gen++;
	}
	gen = store->foreign_gen;
	pthread_mutex_unlock(&store->mutex);
	return gen;
}

static int mailbox_stale(struct ps_mbox *mbox)
{
	struct ps_index_box box;
	char path[PATH_SIZE];
	struct stat st;

	if (get_box(mbox->store, mbox->key, NULL, &box) < 0 || path_of_name(mbox->store, box.name, path) < 0 ||
	    fstatat(mbox->store->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 1;
	return !box_is_as(&box, &st);
}

int mbox_stale(struct ps_store *store, struct ps_mbox *mbox)
{
	uint64_t gen = look_for_others(store), seen;

	pthread_mutex_lock(&store->mutex);
	seen = mbox ? mbox->seen_gen : store->list_gen;
	pthread_mutex_unlock(&store->mutex);
	if (gen != seen)
		return 1;
	return mbox ? mailbox_stale(mbox) : mailboxes_stale(store);
}

static int sync_locked(struct ps_store *store, struct ps_mbox *mbox)
{
	uint64_t gen = look_for_others(store);
	struct ps_index_box box;
	int r = 0;

	if (!mbox && mailboxes_stale(store))
		r = mailboxes_sync(store, false);
	if (mbox && mailbox_stale(mbox)) {
		if ((r = get_box(store, mbox->key, NULL, &box)) == PS_E_NOTFOUND)
			return ps_fail(PS_E_GONE, "the mailbox was deleted");
		if (r == 0 && (r = scan_mailbox(store, mbox->key, false)) == PS_E_GONE)
			r = mailboxes_sync(store, false);
	}
	if (r < 0)
		return r;
	pthread_mutex_lock(&store->mutex);
	*(mbox ? &mbox->seen_gen : &store->list_gen) = gen;
	pthread_mutex_unlock(&store->mutex);
	return 0;
}

int mbox_sync(struct ps_store *store, struct ps_mbox *mbox)
{
	int r = PS_E_CORRUPT;

	for (int i = 0; i < 2 && r == PS_E_CORRUPT; i++) {
		if ((r = store_lock(store)) < 0)
			break;
		r = sync_locked(store, mbox);
		if (r == PS_E_CORRUPT)
			store_drop_index(store);
		store_unlock(store);
	}
	/* What cannot be recorded is not shown yet; what is known can still be read, and removed. */
	if (ps_no_room(r)) {
		ps_log(PS_LOG_WARNING, "disk_full", "user", store->user, "error", ps_last_error(), NULL);
		return 0;
	}
	return r;
}
