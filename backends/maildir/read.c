/* SPDX-License-Identifier: MIT */
/*
 * Reading: the index says what there is, and the message files what is in it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"

/* ---- bodies ---------------------------------------------------------------------------------- */

static int locate(struct ps_mbox *mbox, uint32_t uid, struct ps_row *ret_row, struct msg_where *ret_where)
{
	struct ps_index *index = ps_catalogue_index(mbox->store);
	struct ps_index_txn *txn;
	struct ps_bytes locator;
	int r;

	if (!index)
		return ps_fail(PS_E_STORAGE, "the index is not there");
	if ((r = ps_index_read(index, &txn)) == 0) {
		r = ps_index_row(txn, mbox->key, uid, ret_row, &locator);
		if (r == 0)
			r = where_decode(locator, ret_where);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "UID %u was expunged", uid) : r;
}

/* Somebody renamed it and the index does not know yet, perhaps because a commit is under way: look for its base. */
static bool find_file(struct ps_folder *folder, struct msg_where *where)
{
	static const enum place places[] = {PLACE_NEW, PLACE_CUR};
	struct msg_name want, name;
	struct dirent *entry;
	bool found = false;

	msg_name_parse(ps_bytes_str(where->name), &want);
	for (size_t i = 0; i < PS_ARRAY_LEN(places) && !found; i++) {
		DIR *dir;

		if (open_listing(folder_fd(folder, places[i]), &dir) < 0)
			continue;
		while (!found && (entry = readdir(dir)) != NULL) {
			msg_name_parse(ps_bytes_str(entry->d_name), &name);
			if (!ps_bytes_eq(name.base, want.base))
				continue;
			where->place = places[i];
			memcpy(where->name, entry->d_name, strlen(entry->d_name) + 1);
			found = true;
		}
		closedir(dir);
	}
	return found;
}

static int open_file(struct ps_mbox *mbox, uint32_t uid, const struct msg_where *where, struct ps_row *row,
		     struct ps_body *ret_body)
{
	int fd = ps_io.open(folder_fd(mbox->folder, where->place), where->name, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;

	if (fd < 0 && errno == ELOOP) /* somebody put a link there: the message is gone */
		return ps_fail(PS_E_NOTFOUND, "%s is a symbolic link", where->name);
	if (fd < 0)
		return ps_fail_errno("open %s", where->name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return ps_fail(PS_E_STORAGE, "the file of UID %u is no plain file", uid);
	}
	*ret_body = (struct ps_body){.fd = fd,
				     .length = (uint64_t)st.st_size,
				     /* Bare LFs would have made it larger on the wire. */
				     .wire_form = (uint64_t)st.st_size == row->size};
	return 0;
}

int maildir_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	struct msg_where where;
	struct ps_row row;
	int r = PS_E_GONE;

	for (int i = 0; i < 4; i++) {
		if ((r = locate(mbox, uid, &row, &where)) < 0)
			return r;
		r = open_file(mbox, uid, &where, &row, ret_body);
		if (r == PS_E_NOTFOUND && find_file(mbox->folder, &where))
			r = open_file(mbox, uid, &where, &row, ret_body);
		if (r != PS_E_NOTFOUND)
			return r;
	}
	watch_dirty(&mbox->folder->watch);
	return ps_fail(PS_E_GONE, "the file of UID %u was removed", uid);
}

void maildir_body_close(struct ps_body *body)
{
	ps_closep(&body->fd);
	body->fd = -1;
}
