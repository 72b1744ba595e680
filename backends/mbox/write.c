/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"
#include "postern/log.h"

/* How far ahead modseqs are reserved. A crash that loses the index skips what is left of a block. */
enum {
	MODSEQ_BLOCK = 10000,
	HOLE_MIN = 8192
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
	w.pool = ps_pool_create("mbox");
	*ret_write = w;
	return 0;
}

const char *aside_name(struct ps_pool *pool)
{
	static _Atomic unsigned serial;

	return ps_pool_printf(pool, "n%ld.%lld.%u", (long)getpid(), (long long)time_now(), serial++);
}

/* ---- edits -------------------------------------------------------------------------------------------- */

static struct edit *add_edit(struct write *w, const struct ps_index_box *box, const char *path)
{
	struct edit *edit = PS_NEW(w->pool, struct edit);

	edit->box = *box;
	edit->at = edit->path = ps_pool_strdup(w->pool, path);
	edit->base = box->priv[BOX_SIZE];
	edit->new_fd = -1;
	edit->next = w->edits;
	w->edits = edit;
	return edit;
}

struct edit *write_new_edit(struct write *w, const struct ps_index_box *box, const char *path)
{
	struct edit *edit = add_edit(w, box, path);

	edit->aside = aside_name(w->pool);
	return edit;
}

int write_edit_box(struct write *w, const struct ps_index_box *box, struct edit **ret_edit)
{
	struct ps_keyword_table keywords = {0};
	struct folder *folder;
	struct file_lock *lock;
	char path[PATH_SIZE];
	int r;

	for (struct edit *edit = w->edits; edit; edit = edit->next)
		if (edit->box.key == box->key) {
			*ret_edit = edit;
			return edit->removed ? ps_fail(PS_E_GONE, "the mailbox was deleted") : 0;
		}
	if ((r = path_of_name(w->store, box->name, path)) < 0 || (r = folder_get(w->store, box, &folder)) < 0)
		return r;
	r = lock_file(w->store, path, &lock);
	if (r == 0)
		r = ps_keyword_table_load(w->txn, box->key, &keywords);
	if (r < 0) {
		folder_put(folder);
		return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "the mailbox's file is gone") : r;
	}
	*ret_edit = add_edit(w, box, path);
	(*ret_edit)->folder = folder;
	(*ret_edit)->lock = lock;
	(*ret_edit)->keywords = keywords;
	return 0;
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

void leave_aside(struct write *w, const char *name)
{
	w->leftovers = ps_pool_grow(w->pool, w->leftovers, w->leftover_count, &w->leftover_cap, sizeof *w->leftovers);
	w->leftovers[w->leftover_count++] = name;
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

static int reserve_modseqs(struct write *w)
{
	struct store_state state = w->store->state;
	int r;

	if (w->modseq <= state.modseq_reserved)
		return 0;
	state.modseq_reserved = w->modseq + MODSEQ_BLOCK;
	if ((r = ps_state_write(w->store->control_fd, "state", &state, sizeof state)) == 0)
		w->store->state = state;
	return r;
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
		if ((r = ps_state_write(w->store->control_fd, "state", &state, sizeof state)) < 0)
			return r;
		w->store->state = state;
	}
	*ret_uid_validity = validity;
	return 0;
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void write_finish(struct write *w)
{
	for (struct edit *edit = w->edits; edit; edit = edit->next) {
		folder_put(edit->folder);
		ps_keyword_table_finish(&edit->keywords);
		ps_closep(&edit->new_fd);
	}
	ps_buf_finish(&w->brought);
	/* What recovery is to bring back still needs them. */
	for (size_t i = 0; i < w->leftover_count && !w->store->journal_pending; i++)
		ps_io.unlink(w->store->aside_fd, w->leftovers[i], 0);
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

static int commit_index(struct write *w)
{
	uint64_t id = ps_index_txn_id(w->txn);
	int r = put_all(w);

	if (r == 0 && w->step_count > 0)
		r = journal_note(w);
	if (r < 0) {
		ps_index_end(w->txn);
	} else if ((r = ps_index_commit(w->txn)) == 0) {
		note_txn(w->store, id, false);
	}
	w->txn = NULL;
	return r;
}

/* Readers go on with the files that the index speaks of now. */
static void publish(struct write *w)
{
	for (struct edit *edit = w->edits; edit; edit = edit->next) {
		if (edit->folder && edit->renamed)
			folder_moved(edit->folder, edit->path);
		if (edit->folder && edit->new_fd >= 0) {
			folder_replaced(edit->folder, edit->new_fd);
			edit->new_fd = -1;
		}
	}
}

int write_commit(struct write *w)
{
	int r = commit_index(w);

	write_finish(w);
	return r;
}

void write_abort(struct write *w)
{
	if (!w->pool)
		return;
	if (w->txn)
		ps_index_end(w->txn);
	for (struct edit *edit = w->edits; edit; edit = edit->next)
		if (edit->aside && !w->store->journal_pending)
			ps_io.unlink(w->store->aside_fd, edit->aside, 0);
	write_finish(w);
}

static int lay_all(struct write *w)
{
	struct step *names = w->steps;
	size_t count = w->step_count;
	int r = 0;

	w->steps = NULL;
	w->step_count = w->step_cap = 0;
	for (struct edit *edit = w->edits; edit && r == 0; edit = edit->next)
		r = edit_layout(w, edit);
	for (size_t i = 0; i < count; i++) {
		w->steps = ps_pool_grow(w->pool, w->steps, w->step_count, &w->step_cap, sizeof *w->steps);
		w->steps[w->step_count++] = names[i];
	}
	return r;
}

/* Gives blocks back to the file system that hold nothing any more. */
static void punch(const struct edit *edit)
{
	for (size_t i = 0; edit->mark_dead && i < edit->removal_count; i++) {
		const struct locator *loc = &edit->removals[i].loc;

		if (loc->length >= HOLE_MIN)
			fallocate(edit->lock->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)(loc->at + loc->head), (off_t)loc->length);
	}
}

/*
 * The time of a change is one that no clock tick has, so that any other program's change gives the file another. So is that of
 * somebody else's change which is still fresh.
 */
static void stamp(struct edit *edit, bool written)
{
	int fd = edit->new_fd >= 0 ? edit->new_fd : edit->lock ? edit->lock->fd : -1;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
	struct stat st;

	if (edit->removed || fd < 0)
		return;
	edit->box.priv[BOX_MTIME] = 0;
	edit->box.priv[BOX_LAST] = edit->box.uid_next - 1;
	clock_gettime(CLOCK_REALTIME, &times[1]);
	if (times[1].tv_nsec % 1000000 == 0)
		times[1].tv_nsec += 1 + (edit->box.uid_next & 0xffff);
	if (fstat(fd, &st) < 0)
		return;
	if ((written || st.st_mtim.tv_sec >= times[1].tv_sec - 1) && (futimens(fd, times) < 0 || fstat(fd, &st) < 0))
		return;
	box_note(&edit->box, &st);
}

static void settle(struct write *w)
{
	for (struct edit *edit = w->edits; edit; edit = edit->next) {
		if (!edit->touched && !edit->pseudo_changed && !edit->keywords.changed && edit->folder)
			continue;
		punch(edit);
		stamp(edit, w->step_count > 0);
	}
}

/* Files are changed and durable, the index could not follow: it learns from the files, now or when it is made again. */
static void index_failed(struct ps_store *store)
{
	ps_log(PS_LOG_WARNING, "index_commit_failed", "user", store->user, "error", ps_last_error(), NULL);
	/* One that was renamed is locked under its old name, and would be waited for under its new one. */
	unlock_files(store);
	if (store_grow_index(store) < 0 || mailboxes_sync(store, false) < 0 || scan_changed(store) < 0)
		store_renew_index(store);
	ps_buf_finish(&store->brought);
}

/* Whether it makes room, and so must be done even if the index cannot be written. */
static bool makes_room(const struct write *w)
{
	for (const struct edit *edit = w->edits; edit; edit = edit->next)
		if (edit->removed || edit->removal_count > 0)
			return true;
	return false;
}

/*
 * What the index has no room for is undone, so it is committed before the journal is done with. But where messages are removed the journal
 * comes first: what the index once said is gone does not come back under its UID.
 */
static int run_steps(struct write *w, bool *ret_index_failed)
{
	bool removes = makes_room(w);
	int r = w->step_count > 0 ? store_unsettled(w->store) : 0;

	if (r < 0 || (r = steps_do(w)) < 0)
		return r;
	settle(w);
	if (removes) {
		if ((r = steps_end(w)) == 0)
			*ret_index_failed = commit_index(w) < 0;
		return r;
	}
	r = commit_index(w);
	if (ps_no_room(r)) {
		steps_undo(w);
		return r;
	}
	*ret_index_failed = r < 0;
	if ((r = steps_end(w)) < 0) /* and the index speaks of what is no more */
		w->store->journal_pending = true;
	return r;
}

int write_run(struct write *w)
{
	struct ps_store *store = w->store;
	bool failed = false;
	int r = lay_all(w);

	if (r == 0)
		r = reserve_modseqs(w);
	if (r == 0)
		r = run_steps(w, &failed);
	if (r < 0) {
		write_abort(w);
		if (!store->journal_pending)
			store_settled(store);
		return r;
	}
	if (!failed)
		publish(w);
	else
		ps_buf_bytes(&store->brought, ps_buf_view(&w->brought));
	write_finish(w);
	if (failed)
		index_failed(store);
	store_settled(store);
	return 0;
}
