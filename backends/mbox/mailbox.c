/* SPDX-License-Identifier: MIT */
/*
 * Whether what the index says of an open mailbox is still what lies in its file.
 */
#include "config.h"

#include <fcntl.h>
#include "backends/mbox/mbox_private.h"

void mailbox_folder_close(struct ps_mbox *mbox)
{
	folder_put(mbox->folder);
}

int mailbox_differs(struct ps_store *store, struct ps_mbox *mbox)
{
	struct ps_index_box box;
	char path[PATH_SIZE];
	struct stat st;

	if (!mbox)
		return mailboxes_differ(store);
	if (ps_catalogue_box(store, mbox->key, NULL, &box) < 0 || path_of_name(store, box.name, path) < 0 ||
	    fstatat(store->cat.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 1;
	return !box_is_as(&box, &st);
}

int mailbox_sync(struct ps_mbox *mbox)
{
	struct ps_index_box box;
	int r = ps_catalogue_box(mbox->store, mbox->key, NULL, &box);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_GONE, "the mailbox was deleted");
	if (r == 0 && (r = scan_mailbox(mbox->store, mbox->key, false)) == PS_E_GONE)
		r = mailboxes_sync(mbox->store, false);
	return r;
}
