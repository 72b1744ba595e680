/* SPDX-License-Identifier: MIT */
/*
 * Handles of mailboxes, and whether what the index says of one is still what lies on disk.
 */
#include "config.h"

#include <stdlib.h>
#include <sys/stat.h>
#include "backends/maildir/maildir_private.h"
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

int maildir_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox)
{
	struct ps_index_box box;
	struct folder *folder;
	struct ps_mbox *mbox;
	int r = get_box(store, 0, name, &box);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_NOTFOUND, "no mailbox %s", name);
	if (r < 0 || (r = folder_get(store, &box, &folder)) < 0)
		return r == PS_E_GONE ? ps_fail(PS_E_NOTFOUND, "no mailbox %s", name) : r;
	watch_attach(folder);
	mbox = ps_zalloc(sizeof *mbox);
	*mbox = (struct ps_mbox){.store = store, .folder = folder, .key = box.key};
	pthread_mutex_lock(&store->mutex);
	mbox->seen_gen = store->foreign_gen;
	pthread_mutex_unlock(&store->mutex);
	*ret_mbox = mbox;
	return 0;
}

/* The directories' times as they are, however fresh. */
static int raw_times(const struct folder *folder, uint64_t times[2])
{
	int fds[2] = {folder->cur_fd, folder->new_fd};
	struct stat st;

	for (int i = 0; i < 2; i++) {
		if (fstat(fds[i], &st) < 0)
			return ps_fail_errno("stat %s", folder->dir);
		times[i] = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	}
	return 0;
}

/*
 * Leaves word of the times at which index and directories agreed, so that the next one who opens the mailbox need not
 * read them. Nobody waits for this.
 */
static void note_times(struct ps_mbox *mbox)
{
	struct ps_index *index = store_index(mbox->store);
	struct ps_index_txn *txn;
	struct ps_index_box box;
	uint64_t times[2], id;
	int r;

	if (!index || ps_index_write_try(index, &txn) < 0) {
		ps_index_close(index);
		return;
	}
	id = ps_index_txn_id(txn);
	r = ps_index_box(txn, mbox->key, &box);
	if (r == 0)
		r = folder_times(mbox->folder, times);
	if (r == 0 && times[0] && times[1] && watch_changed(mbox->folder) == 0 &&
	    (times[0] != box.priv[BOX_TIME_CUR] || times[1] != box.priv[BOX_TIME_NEW])) {
		note_txn(mbox->store, id, true);
		box.priv[BOX_TIME_CUR] = times[0];
		box.priv[BOX_TIME_NEW] = times[1];
		if (ps_index_box_put(txn, &box) < 0)
			ps_index_end(txn);
		else if (ps_index_commit(txn) == 0)
			note_txn(mbox->store, id, false);
	} else {
		ps_index_end(txn);
	}
	ps_index_close(index);
}

void maildir_mailbox_close(struct ps_mbox *mbox)
{
	struct ps_index_box box;
	uint64_t times[2];

	if (watch_changed(mbox->folder) == 0 && get_box(mbox->store, mbox->key, NULL, &box) == 0 &&
	    raw_times(mbox->folder, times) == 0 &&
	    (times[0] != box.priv[BOX_TIME_CUR] || times[1] != box.priv[BOX_TIME_NEW]))
		note_times(mbox);
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
	uint64_t times[2];
	int changed = watch_changed(mbox->folder);

	if (changed >= 0)
		return changed;
	if (get_box(mbox->store, mbox->key, NULL, &box) < 0 || raw_times(mbox->folder, times) < 0)
		return 1;
	if (times[0] != box.priv[BOX_TIME_CUR] || times[1] != box.priv[BOX_TIME_NEW])
		return 1;
	watch_known(mbox->folder);
	return 0;
}

int maildir_stale(struct ps_store *store, struct ps_mbox *mbox)
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
	int r = 0;

	if (!mbox && mailboxes_stale(store))
		r = mailboxes_sync(store, false);
	if (mbox && mailbox_stale(mbox))
		r = scan_mailbox(store, mbox->key, false);
	if (r < 0)
		return r;
	pthread_mutex_lock(&store->mutex);
	*(mbox ? &mbox->seen_gen : &store->list_gen) = gen;
	pthread_mutex_unlock(&store->mutex);
	return 0;
}

int maildir_sync(struct ps_store *store, struct ps_mbox *mbox)
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
