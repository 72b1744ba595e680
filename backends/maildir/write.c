/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

/* How far ahead UIDs are reserved. A crash that loses the index skips what is left of a block. */
enum {
	UID_BLOCK = 1000
};

/* The file is the truth; what it lost the index still knows. */
static int edit_state(struct edit *edit)
{
	int r = ps_state_read(edit->folder->dir_fd, MAILBOX_STATE, &edit->state, sizeof edit->state);

	if (r == 0 && edit->state.uid_validity == edit->e.box.uid_validity)
		return 0;
	if (r < 0 && r != PS_E_NOTFOUND && r != PS_E_CORRUPT)
		return r;
	ps_log(PS_LOG_WARNING, "maildir_state_lost", "mailbox", edit->e.box.name, NULL);
	edit->state = (struct mailbox_state){.id = edit->e.box.id,
					     .uid_validity = edit->e.box.uid_validity,
					     .uid_reserved = edit->e.box.uid_next + UID_BLOCK,
					     .special_uses = edit->e.box.attributes & PS_MBOX_SPECIAL_USES};
	edit->state_changed = true;
	return 0;
}

/* Takes the folder over. */
static int add_edit(struct ps_catalogue_txn *w, const struct ps_index_box *box, struct ps_folder *folder,
		    struct edit **ret_edit)
{
	struct edit *edit = PS_NEW(w->pool, struct edit);
	int r;

	edit->e.box = *box;
	edit->folder = folder;
	if ((r = edit_state(edit)) < 0 || (r = ps_catalogue_add_edit(w, &edit->e)) < 0) {
		folder_put(folder);
		return r;
	}
	*ret_edit = edit;
	return 0;
}

int write_edit_box(struct ps_catalogue_txn *w, const struct ps_index_box *box, struct edit **ret_edit)
{
	struct ps_folder *folder;
	struct ps_edit *base;
	int r = ps_catalogue_find_edit(w, box->key, &base);

	if (r == 1)
		*ret_edit = (struct edit *)base;
	if (r != 0)
		return r < 0 ? r : 0;
	r = folder_get(w->store, box, &folder);
	return r < 0 ? r : add_edit(w, box, folder, ret_edit);
}

int write_edit_made(struct ps_catalogue_txn *w, const struct ps_index_box *box, const char *lies)
{
	struct ps_folder *folder;
	struct edit *edit;
	int r = folder_get_aside(w->store, box, lies, &folder);

	return r < 0 ? r : add_edit(w, box, folder, &edit);
}

int write_edit(struct ps_catalogue_txn *w, uint64_t key, struct edit **ret_edit)
{
	struct ps_index_box box;
	struct ps_edit *base;
	int r = ps_catalogue_find_edit(w, key, &base);

	if (r == 1)
		*ret_edit = (struct edit *)base;
	if (r != 0)
		return r < 0 ? r : 0;
	r = ps_index_box(w->txn, key, &box);
	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_GONE, "the mailbox was deleted");
	return r == 0 ? write_edit_box(w, &box, ret_edit) : r;
}

static uint32_t block_above(uint32_t uid)
{
	return uid > UINT32_MAX - UID_BLOCK ? UINT32_MAX : uid + UID_BLOCK;
}

static int reserve_edit(struct edit *edit)
{
	int fd = edit->folder->dir_fd, r;

	if (edit->e.removed)
		return 0;
	if (edit->e.box.uid_next > edit->state.uid_reserved) {
		edit->state.uid_reserved = edit->copied ? edit->e.box.uid_next : block_above(edit->e.box.uid_next);
		edit->state_changed = true;
	}
	if (edit->state_changed && (r = ps_state_write(fd, MAILBOX_STATE, &edit->state, sizeof edit->state)) < 0)
		return r;
	edit->state_changed = false;
	if (edit->e.keywords.changed && (r = keywords_write(fd, &edit->e.keywords)) < 0)
		return r;
	if (edit->uid_lines.failed)
		return PS_E_LIMIT;
	if ((r = uidlist_append(fd, ps_buf_view(&edit->uid_lines))) < 0)
		return r;
	ps_buf_reset(&edit->uid_lines);
	return 0;
}

int write_reserve(struct ps_catalogue_txn *w)
{
	int r = ps_catalogue_reserve(w);

	for (struct ps_edit *edit = w->edits; edit && r == 0; edit = edit->next)
		r = reserve_edit((struct edit *)edit);
	return r;
}

void write_edit_finish(struct ps_edit *base)
{
	struct edit *edit = (struct edit *)base;

	folder_put(edit->folder);
	ps_buf_finish(&edit->uid_lines);
}
