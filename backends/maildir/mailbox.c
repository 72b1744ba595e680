/* SPDX-License-Identifier: MIT */
/*
 * Folders of open mailboxes, and whether what the index says of one is still what lies on disk.
 */
#include "config.h"

#include <stdlib.h>
#include <sys/stat.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

int mailbox_folder_open(struct ps_store *store, const struct ps_index_box *box, struct ps_folder **ret_folder)
{
	int r = folder_get(store, box, ret_folder);

	if (r == 0)
		watch_attach(*ret_folder);
	return r;
}

/* The directories' times as they are, however fresh. */
static int raw_times(const struct ps_folder *folder, uint64_t times[2])
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

static bool times_are(const struct ps_index_box *box, const uint64_t times[2])
{
	return times[0] == box->priv[BOX_TIME_CUR] && times[1] == box->priv[BOX_TIME_NEW];
}

/*
 * Leaves word of the times at which index and directories agreed, so that the next one who opens the mailbox need not
 * read them. Nobody waits for this.
 */
static int note_times(void *arg, struct ps_index_txn *txn)
{
	struct ps_mbox *mbox = arg;
	struct ps_index_box box;
	uint64_t times[2];
	int r = ps_index_box(txn, mbox->key, &box);

	if (r < 0 || (r = folder_times(mbox->folder, times)) < 0)
		return r;
	if (!times[0] || !times[1] || watch_changed(&mbox->folder->watch) != 0 || times_are(&box, times))
		return 0;
	box.priv[BOX_TIME_CUR] = times[0];
	box.priv[BOX_TIME_NEW] = times[1];
	r = ps_index_box_put(txn, &box);
	return r < 0 ? r : 1;
}

void mailbox_folder_close(struct ps_mbox *mbox)
{
	struct ps_index_box box;
	uint64_t times[2];

	if (watch_changed(&mbox->folder->watch) == 0 && ps_catalogue_box(mbox->store, mbox->key, NULL, &box) == 0 &&
	    raw_times(mbox->folder, times) == 0 && !times_are(&box, times))
		ps_catalogue_try(mbox->store, note_times, mbox);
	folder_put(mbox->folder);
}

int mailbox_differs(struct ps_store *store, struct ps_mbox *mbox)
{
	struct ps_index_box box;
	uint64_t times[2];
	int changed;

	if (!mbox)
		return mailboxes_differ(store);
	if ((changed = watch_changed(&mbox->folder->watch)) >= 0)
		return changed;
	if (ps_catalogue_box(store, mbox->key, NULL, &box) < 0 || raw_times(mbox->folder, times) < 0 ||
	    !times_are(&box, times))
		return 1;
	watch_known(&mbox->folder->watch);
	return 0;
}

int mailbox_sync(struct ps_mbox *mbox)
{
	return scan_mailbox(mbox->store, mbox->key, false);
}
