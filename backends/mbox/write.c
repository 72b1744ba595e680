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

enum {
	HOLE_MIN = 8192 /* octets that are given back to the file system */
};

int write_begin(struct ps_store *store, struct write *ret_write)
{
	*ret_write = (struct write){0};
	return ps_catalogue_txn_begin(store, &ret_write->t);
}

const char *aside_name(struct ps_pool *pool)
{
	static _Atomic unsigned serial;

	return ps_pool_printf(pool, "n%ld.%lld.%u", (long)getpid(), (long long)ps_catalogue_now(), serial++);
}

/* ---- edits -------------------------------------------------------------------------------------------- */

static struct edit *new_edit(struct write *w, const struct ps_index_box *box, const char *path)
{
	struct edit *edit = PS_NEW(w->t.pool, struct edit);

	edit->e.box = *box;
	edit->at = edit->path = ps_pool_strdup(w->t.pool, path);
	edit->base = box->priv[BOX_SIZE];
	edit->new_fd = -1;
	return edit;
}

int write_new_edit(struct write *w, const struct ps_index_box *box, const char *path, struct edit **ret_edit)
{
	struct edit *edit = new_edit(w, box, path);

	edit->aside = aside_name(w->t.pool);
	*ret_edit = edit;
	return ps_catalogue_add_edit(&w->t, &edit->e);
}

int write_edit_box(struct write *w, const struct ps_index_box *box, struct edit **ret_edit)
{
	struct ps_folder *folder;
	struct file_lock *lock;
	struct ps_edit *base;
	char path[PATH_SIZE];
	int r = ps_catalogue_find_edit(&w->t, box->key, &base);

	if (r == 1)
		*ret_edit = (struct edit *)base;
	if (r != 0)
		return r < 0 ? r : 0;
	if ((r = path_of_name(w->t.store, box->name, path)) < 0 || (r = folder_get(w->t.store, box, &folder)) < 0)
		return r;
	if ((r = lock_file(w->t.store, path, &lock)) == 0) {
		struct edit *edit = new_edit(w, box, path);

		edit->folder = folder;
		edit->lock = lock;
		*ret_edit = edit;
		r = ps_catalogue_add_edit(&w->t, &edit->e);
	}
	if (r < 0)
		folder_put(folder);
	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "the mailbox's file is gone") : r;
}

int write_edit(struct write *w, uint64_t key, struct edit **ret_edit)
{
	struct ps_index_box box;
	struct ps_edit *base;
	int r = ps_catalogue_find_edit(&w->t, key, &base);

	if (r == 1)
		*ret_edit = (struct edit *)base;
	if (r != 0)
		return r < 0 ? r : 0;
	r = ps_index_box(w->t.txn, key, &box);
	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_GONE, "the mailbox was deleted");
	return r == 0 ? write_edit_box(w, &box, ret_edit) : r;
}

void write_edit_finish(struct ps_edit *base)
{
	struct edit *edit = (struct edit *)base;

	folder_put(edit->folder);
	ps_closep(&edit->new_fd);
}

void leave_aside(struct write *w, const char *name)
{
	w->leftovers = ps_pool_grow(w->t.pool, w->leftovers, w->leftover_count, &w->leftover_cap, sizeof *w->leftovers);
	w->leftovers[w->leftover_count++] = name;
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void write_finish(struct write *w)
{
	/* What recovery is to bring back still needs them. */
	for (size_t i = 0; i < w->leftover_count && !w->t.store->cat.pending; i++)
		ps_io.unlink(w->t.store->cat.aside_fd, w->leftovers[i], 0);
	ps_catalogue_txn_end(&w->t);
}

static int commit_index(struct write *w)
{
	int r = w->step_count > 0 ? journal_note(w) : 0;

	if (r == 0)
		return ps_catalogue_txn_put(&w->t);
	ps_index_end(w->t.txn);
	w->t.txn = NULL;
	return r;
}

/* Readers go on with the files that the index speaks of now. */
static void publish(struct write *w)
{
	for (struct edit *edit = first_edit(w); edit; edit = next_edit(edit)) {
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
	if (!w->t.pool)
		return;
	for (struct edit *edit = first_edit(w); edit; edit = next_edit(edit))
		if (edit->aside && !w->t.store->cat.pending)
			ps_io.unlink(w->t.store->cat.aside_fd, edit->aside, 0);
	write_finish(w);
}

static int lay_all(struct write *w)
{
	struct step *names = w->steps;
	size_t count = w->step_count;
	int r = 0;

	w->steps = NULL;
	w->step_count = w->step_cap = 0;
	for (struct edit *edit = first_edit(w); edit && r == 0; edit = next_edit(edit))
		r = edit_layout(w, edit);
	for (size_t i = 0; i < count; i++) {
		w->steps = ps_pool_grow(w->t.pool, w->steps, w->step_count, &w->step_cap, sizeof *w->steps);
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

	if (edit->e.removed || fd < 0)
		return;
	edit->e.box.priv[BOX_MTIME] = 0;
	edit->e.box.priv[BOX_LAST] = edit->e.box.uid_next - 1;
	clock_gettime(CLOCK_REALTIME, &times[1]);
	if (times[1].tv_nsec % 1000000 == 0)
		times[1].tv_nsec += 1 + (edit->e.box.uid_next & 0xffff);
	if (fstat(fd, &st) < 0)
		return;
	if ((written || st.st_mtim.tv_sec >= times[1].tv_sec - 1) && (futimens(fd, times) < 0 || fstat(fd, &st) < 0))
		return;
	box_note(&edit->e.box, &st);
}

static void settle(struct write *w)
{
	for (struct edit *edit = first_edit(w); edit; edit = next_edit(edit)) {
		if (!edit->touched && !edit->pseudo_changed && !edit->e.keywords.changed && edit->folder)
			continue;
		punch(edit);
		stamp(edit, w->step_count > 0);
	}
}

/* Files are changed and durable, the index could not follow: it learns from the files, now or when it is made again. */
static void index_failed(struct ps_store *store)
{
	ps_log(PS_LOG_WARNING, "index_commit_failed", "user", store->cat.user, "error", ps_last_error(), NULL);
	/* One that was renamed is locked under its old name, and would be waited for under its new one. */
	unlock_files(store);
	if (ps_catalogue_grow_index(store) < 0 || mailboxes_sync(store, false) < 0 || scan_changed(store) < 0)
		ps_catalogue_renew_index(store);
	ps_buf_finish(&store->cat.brought);
}

/* Whether it makes room, and so must be done even if the index cannot be written. */
static bool makes_room(const struct write *w)
{
	for (const struct edit *edit = first_edit(w); edit; edit = next_edit(edit))
		if (edit->e.removed || edit->removal_count > 0)
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
	int r = w->step_count > 0 ? ps_catalogue_unsettled(w->t.store) : 0;

	if (r < 0 || (r = steps_do(w, removes)) < 0)
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
		w->t.store->cat.pending = true;
	return r;
}

int write_run(struct write *w)
{
	struct ps_store *store = w->t.store;
	bool failed = false;
	int r = lay_all(w);

	if (r == 0)
		r = ps_catalogue_reserve(&w->t);
	if (r == 0)
		r = run_steps(w, &failed);
	if (r < 0) {
		write_abort(w);
		if (!store->cat.pending)
			ps_catalogue_settled(store);
		return r;
	}
	if (!failed)
		publish(w);
	else if (w->brought)
		ps_buf_bytes(&store->cat.brought, ps_buf_view(w->brought));
	write_finish(w);
	if (failed)
		index_failed(store);
	ps_catalogue_settled(store);
	return 0;
}
