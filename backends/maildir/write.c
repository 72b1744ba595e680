/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

/* How far ahead numbers are reserved. A crash that loses the index skips what is left of a block. */
enum {
	UID_BLOCK = 1000,
	MODSEQ_BLOCK = 10000
};

int64_t time_now(void)
{
	return (int64_t)time(NULL);
}

struct ps_id new_id(void)
{
	struct ps_id id;
	size_t got = 0;

	while (got < sizeof id.octets) {
		ssize_t n = getrandom(id.octets + got, sizeof id.octets - got, 0);

		got += n > 0 ? (size_t)n : 0;
	}
	return id;
}

uint64_t key_of_id(const struct ps_id *id)
{
	uint64_t key;

	memcpy(&key, id->octets, sizeof key);
	return key ? key : 1;
}

void note_txn(struct ps_store *store, uint64_t id, bool began)
{
	pthread_mutex_lock(&store->mutex);
	if (began && id != store->own_txn + 1)
		store->foreign_gen++;
	if (!began)
		store->own_txn = id;
	pthread_mutex_unlock(&store->mutex);
}

int write_begin(struct ps_store *store, struct write *ret_write)
{
	struct write w = {.store = store};
	int r;

	w.index = store_index(store);
	if (!w.index)
		return ps_fail(PS_E_STORAGE, "the index is not there");
	if ((r = ps_index_write(w.index, &w.txn)) < 0) {
		ps_index_close(w.index);
		return r;
	}
	note_txn(store, ps_index_txn_id(w.txn), true);
	w.modseq = ps_index_number(w.txn, "modseq");
	w.pool = ps_pool_create("maildir");
	*ret_write = w;
	return 0;
}

/* The file is the truth; what it lost the index still knows. */
static int edit_state(struct write *w, struct edit *edit)
{
	int r = ps_state_read(edit->folder->dir_fd, MAILBOX_STATE, &edit->state, sizeof edit->state);

	(void)w;
	if (r == 0 && edit->state.uid_validity == edit->box.uid_validity)
		return 0;
	if (r < 0 && r != PS_E_NOTFOUND && r != PS_E_CORRUPT)
		return r;
	ps_log(PS_LOG_WARNING, "maildir_state_lost", "mailbox", edit->box.name, NULL);
	edit->state = (struct mailbox_state){.id = edit->box.id,
					     .uid_validity = edit->box.uid_validity,
					     .uid_reserved = edit->box.uid_next + UID_BLOCK,
					     .special_uses = edit->box.attributes & PS_MBOX_SPECIAL_USES};
	edit->state_changed = true;
	return 0;
}

/* Takes the folder over. */
static int add_edit(struct write *w, const struct ps_index_box *box, struct folder *folder, struct edit **ret_edit)
{
	struct edit *edit = PS_NEW(w->pool, struct edit);
	int r;

	edit->box = *box;
	edit->folder = folder;
	if ((r = edit_state(w, edit)) < 0 || (r = ps_keyword_table_load(w->txn, box->key, &edit->keywords)) < 0) {
		folder_put(folder);
		return r;
	}
	edit->next = w->edits;
	w->edits = edit;
	*ret_edit = edit;
	return 0;
}

int write_edit_box(struct write *w, const struct ps_index_box *box, struct edit **ret_edit)
{
	struct edit *edit = w->edits;
	struct folder *folder;
	int r;

	while (edit && edit->box.key != box->key)
		edit = edit->next;
	if (edit) {
		*ret_edit = edit;
		return edit->removed ? ps_fail(PS_E_GONE, "the mailbox was deleted") : 0;
	}
	r = folder_get(w->store, box, &folder);
	return r < 0 ? r : add_edit(w, box, folder, ret_edit);
}

int write_edit_made(struct write *w, const struct ps_index_box *box, const char *lies)
{
	struct folder *folder;
	struct edit *edit;
	int r = folder_get_aside(w->store, box, lies, &folder);

	return r < 0 ? r : add_edit(w, box, folder, &edit);
}

int write_edit(struct write *w, uint64_t key, struct edit **ret_edit)
{
	struct ps_index_box box;
	int r;

	for (struct edit *edit = w->edits; edit; edit = edit->next)
		if (edit->box.key == key)
			return write_edit_box(w, &edit->box, ret_edit);
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

	if (edit->removed)
		return 0;
	if (edit->box.uid_next > edit->state.uid_reserved) {
		edit->state.uid_reserved = edit->copied ? edit->box.uid_next : block_above(edit->box.uid_next);
		edit->state_changed = true;
	}
	if (edit->state_changed && (r = ps_state_write(fd, MAILBOX_STATE, &edit->state, sizeof edit->state)) < 0)
		return r;
	edit->state_changed = false;
	if (edit->keywords.changed && (r = keywords_write(fd, &edit->keywords)) < 0)
		return r;
	if (edit->uid_lines.failed)
		return PS_E_LIMIT;
	if ((r = uidlist_append(fd, ps_buf_view(&edit->uid_lines))) < 0)
		return r;
	ps_buf_reset(&edit->uid_lines);
	return 0;
}

int write_reserve(struct write *w)
{
	struct store_state state = w->store->state;
	int r;

	if (w->modseq > state.modseq_reserved) {
		state.modseq_reserved = w->modseq + MODSEQ_BLOCK;
		if ((r = ps_state_write(w->store->control_fd, STORE_STATE, &state, sizeof state)) < 0)
			return r;
		w->store->state = state;
	}
	for (struct edit *edit = w->edits; edit; edit = edit->next)
		if ((r = reserve_edit(edit)) < 0)
			return r;
	return 0;
}

int write_uid_validity(struct write *w, uint32_t wanted, uint32_t *ret_uid_validity)
{
	struct store_state state = w->store->state;
	uint32_t validity = wanted;
	int r;

	if (validity == 0) {
		int64_t now = time_now();

		if (state.uid_validity_high == UINT32_MAX)
			return ps_fail(PS_E_LIMIT, "no UIDVALIDITY is left");
		validity = state.uid_validity_high + 1;
		if (now > validity && now < UINT32_MAX)
			validity = (uint32_t)now;
	}
	if (validity > state.uid_validity_high) {
		state.uid_validity_high = validity;
		if ((r = ps_state_write(w->store->control_fd, STORE_STATE, &state, sizeof state)) < 0)
			return r;
		w->store->state = state;
	}
	*ret_uid_validity = validity;
	return 0;
}

static void write_finish(struct write *w)
{
	for (struct edit *edit = w->edits; edit; edit = edit->next) {
		folder_put(edit->folder);
		ps_keyword_table_finish(&edit->keywords);
		ps_buf_finish(&edit->uid_lines);
	}
	ps_pool_destroy(w->pool);
	ps_index_close(w->index);
	*w = (struct write){0};
}

static int put_all(struct write *w)
{
	int r = ps_index_number_put(w->txn, "modseq", w->modseq);

	for (struct edit *edit = w->edits; edit && r == 0; edit = edit->next) {
		if (edit->removed)
			continue;
		r = ps_index_box_put(w->txn, &edit->box);
		if (r == 0 && edit->keywords.changed)
			r = ps_keyword_table_save(w->txn, edit->box.key, &edit->keywords);
	}
	return r;
}

int write_commit(struct write *w)
{
	struct ps_store *store = w->store;
	uint64_t id = ps_index_txn_id(w->txn);
	int r = put_all(w);

	if (r < 0) {
		write_abort(w);
		return r;
	}
	r = ps_index_commit(w->txn);
	if (r == 0)
		note_txn(store, id, false);
	write_finish(w);
	return r;
}

void write_abort(struct write *w)
{
	if (!w->txn)
		return;
	ps_index_end(w->txn);
	write_finish(w);
}
