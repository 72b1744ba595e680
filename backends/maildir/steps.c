/* SPDX-License-Identifier: MIT */
/*
 * Changes of files. A step is done, undone if a later one fails, or done again by recovery. Those that cannot be undone
 * (STEP_UNLINK) are done when all others have been.
 *
 * A crash must not tear a batch of several steps apart, so they are first written down (intent.c).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"

enum {
	RENAMES_FOLLOWED = 8
};

void steps_init(struct steps *steps, struct ps_store *store, struct ps_pool *pool)
{
	*steps = (struct steps){.store = store, .pool = pool};
}

void steps_finish(struct steps *steps)
{
	for (size_t i = 0; i < steps->dir_count; i++) {
		name_list_destroy(steps->dirs[i].names);
		if (!steps->dirs[i].borrowed)
			ps_closep(&steps->dirs[i].fd);
	}
	steps->dir_count = steps->count = 0;
}

static struct folder_watch **watch_of(struct ps_store *store, const char *path, struct ps_folder *folder)
{
	return folder ? &folder->watch : strcmp(path, ".") == 0 ? &store->watch : NULL;
}

uint32_t steps_dir(struct steps *steps, const char *path, struct ps_folder *folder, enum place place)
{
	for (uint32_t i = 0; i < steps->dir_count; i++)
		if (strcmp(steps->dirs[i].path, path) == 0)
			return i;
	steps->dirs = ps_pool_grow(steps->pool, steps->dirs, steps->dir_count, &steps->dir_cap, sizeof *steps->dirs);
	steps->dirs[steps->dir_count] = (struct step_dir){.path = ps_pool_strdup(steps->pool, path),
							  .fd = -1,
							  .folder = folder,
							  .watch = watch_of(steps->store, path, folder),
							  .place = place};
	return (uint32_t)steps->dir_count++;
}

struct step *steps_add(struct steps *steps, enum step_kind kind, uint32_t from_dir, const char *from, uint32_t to_dir,
		       const char *to)
{
	struct step *step;

	steps->steps = ps_pool_grow(steps->pool, steps->steps, steps->count, &steps->cap, sizeof *step);
	step = &steps->steps[steps->count++];
	*step = (struct step){.kind = kind,
			      .from_dir = from_dir,
			      .to_dir = to_dir,
			      .from = ps_pool_strdup(steps->pool, from),
			      .to = ps_pool_strdup(steps->pool, to)};
	return step;
}

/* What is open anyway need not be looked for by its path. */
static int borrow(const struct steps *steps, const struct step_dir *dir)
{
	if (steps->relaxed) /* settle() keeps them */
		return -1;
	if (dir->folder && (dir->place == PLACE_CUR || dir->place == PLACE_NEW))
		return folder_fd(dir->folder, dir->place);
	return strcmp(dir->path, "tmp") == 0 ? steps->store->tmp_fd : -1;
}

static int open_dir(struct steps *steps, uint32_t n, int *ret_fd)
{
	struct step_dir *dir = &steps->dirs[n];
	int r = 0;

	if (dir->fd < 0) {
		dir->fd = borrow(steps, dir);
		dir->borrowed = dir->fd >= 0;
	}
	if (dir->fd < 0)
		r = ps_io_open_dir(steps->store->cat.root_fd, dir->path, &dir->fd);
	if (r == 0)
		*ret_fd = dir->fd;
	return r;
}

static void expect(struct steps *steps, uint32_t n, uint32_t event, const char *name)
{
	struct step_dir *dir = &steps->dirs[n];

	dir->changed = true;
	if (dir->watch)
		watch_expect(dir->watch, dir->place, event, name);
}

/* ---- names that others gave ------------------------------------------------------------------ */

static bool is_place(const char *path, const char *place)
{
	size_t len = strlen(path);

	return strcmp(path, place) == 0 || (len > 4 && path[len - 4] == '/' && strcmp(path + len - 3, place) == 0);
}

bool steps_has_messages(const struct steps *steps, uint32_t n)
{
	return is_place(steps->dirs[n].path, "cur") || is_place(steps->dirs[n].path, "new");
}

/* The `new` of a mailbox's `cur`, and the other way round. */
static uint32_t other_place(struct steps *steps, uint32_t n)
{
	const struct step_dir *dir = &steps->dirs[n];
	bool is_cur = is_place(dir->path, "cur");
	char *path = ps_pool_strdup(steps->pool, dir->path);

	memcpy(path + strlen(path) - 3, is_cur ? "new" : "cur", 3);
	return steps_dir(steps, path, dir->folder, is_cur ? PLACE_NEW : PLACE_CUR);
}

static bool find_in(struct steps *steps, uint32_t n, const char *name, bool again, char ret_name[NAME_SIZE])
{
	struct step_dir *dir = &steps->dirs[n];
	int fd = -1; /* set by open_dir(); gcc cannot see that */

	if (open_dir(steps, n, &fd) < 0)
		return false;
	if (again || !steps->recovering) {
		name_list_destroy(dir->names);
		dir->names = NULL;
	}
	return (dir->names || name_list_create(fd, &dir->names) == 0) && name_list_find(dir->names, name, ret_name);
}

/* Where others moved a message to within its mailbox, and as what. `again`: what was found before has gone in turn. */
static bool find_renamed(struct steps *steps, uint32_t n, const char *name, bool again, uint32_t *ret_dir,
			 char ret_name[NAME_SIZE])
{
	if (!steps_has_messages(steps, n))
		return false;
	*ret_dir = n;
	if (find_in(steps, n, name, again, ret_name))
		return true;
	*ret_dir = other_place(steps, n);
	return find_in(steps, *ret_dir, name, again, ret_name);
}

/* Removes a message's file, under whichever name others gave it. That there is none is fine. */
static int remove_file(struct steps *steps, uint32_t n, int fd, const char *name)
{
	char other[NAME_SIZE];
	uint32_t where;

	expect(steps, n, IN_DELETE, name);
	if (ps_io.unlink(fd, name, 0) == 0)
		return 0;
	if (errno != ENOENT)
		return ps_fail_errno("remove %s", name);
	for (int i = 0; i < RENAMES_FOLLOWED && find_renamed(steps, n, name, i > 0, &where, other); i++) {
		steps->dirs[where].changed = true;
		if (ps_io.unlink(steps->dirs[where].fd, other, 0) == 0)
			return 0;
		if (errno != ENOENT)
			return ps_fail_errno("remove %s", other);
	}
	return 0;
}

/* A file that came from outside the mailbox goes back there, under whichever name others gave it: nobody was told that it came. */
static int take_back(struct steps *steps, const struct step *step, int from)
{
	char other[NAME_SIZE];
	uint32_t where;

	if (steps->dirs[step->from_dir].folder || !steps->dirs[step->to_dir].folder)
		return 0;
	for (int i = 0; i < RENAMES_FOLLOWED && find_renamed(steps, step->to_dir, step->to, i > 0, &where, other); i++)
		if (ps_io.rename(steps->dirs[where].fd, other, from, step->from, RENAME_NOREPLACE) == 0)
			return 0;
		else if (errno != ENOENT)
			return -1;
	return 0;
}

/* ---- the kinds ------------------------------------------------------------------------------- */

static int do_rename(struct steps *steps, const struct step *step, int from, int to)
{
	expect(steps, step->from_dir, IN_MOVED_FROM, step->from);
	expect(steps, step->to_dir, IN_MOVED_TO, step->to);
	if (ps_io.rename(from, step->from, to, step->to, RENAME_NOREPLACE) < 0)
		return ps_fail_errno("rename %s", step->from);
	return 0;
}

/* What was in a mailbox before, and others have taken meanwhile, is no longer ours to take back: the next look finds it as theirs. */
static int undo_rename(struct steps *steps, const struct step *step, int from, int to)
{
	if (ps_io.rename(to, step->to, from, step->from, RENAME_NOREPLACE) == 0)
		return 0;
	return errno == ENOENT ? take_back(steps, step, from) : -1;
}

/* Moves or links a message that others renamed. What they did to its flags meanwhile stays. 1: it is not there at all. */
static int follow_renamed(struct steps *steps, const struct step *step, int to, bool move)
{
	char now[NAME_SIZE], name[NAME_SIZE];
	uint32_t where;
	int r;

	for (int i = 0; i < RENAMES_FOLLOWED && find_renamed(steps, step->from_dir, step->from, i > 0, &where, now);
	     i++) {
		int from = steps->dirs[where].fd;

		if ((r = name_after(step->from, step->to, now, name)) < 0)
			return r;
		if (from == to && strcmp(now, name) == 0)
			return 0;
		steps->dirs[where].changed = steps->dirs[step->to_dir].changed = true;
		r = move ? ps_io.rename(from, now, to, name, RENAME_NOREPLACE) : ps_io.link(from, now, to, name);
		if (r == 0 || errno == EEXIST)
			return 0;
		if (errno != ENOENT)
			return ps_fail_errno("%s %s", move ? "rename" : "link", now);
	}
	return 1;
}

/* Done already, or the file was taken away by others: both are fine. */
static int redo_rename(struct steps *steps, const struct step *step, int from, int to)
{
	struct stat a, b;
	int r = do_rename(steps, step, from, to);

	steps->elsewhere = r < 0;
	if (r == PS_E_NOTFOUND)
		r = follow_renamed(steps, step, to, true);
	if (r != PS_E_EXISTS)
		return r < 0 ? r : 0;
	if (fstatat(from, step->from, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
	    fstatat(to, step->to, &b, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(a.st_mode) && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino)
		ps_io.unlink(from, step->from, 0);
	return 0;
}

static int do_link(struct steps *steps, const struct step *step, int from, int to)
{
	expect(steps, step->to_dir, IN_CREATE, step->to);
	return ps_io.link(from, step->from, to, step->to) < 0 ? ps_fail_errno("link %s", step->from) : 0;
}

static int undo_link(struct steps *steps, const struct step *step, int from, int to)
{
	(void)from;
	return remove_file(steps, step->to_dir, to, step->to);
}

/* The copy may be there already, and others may have read it since. */
static int redo_link(struct steps *steps, const struct step *step, int from, int to)
{
	char now[NAME_SIZE];
	uint32_t where;
	int r;

	if (find_renamed(steps, step->to_dir, step->to, false, &where, now))
		return 0;
	r = do_link(steps, step, from, to);
	if (r == PS_E_NOTFOUND)
		r = follow_renamed(steps, step, to, false);
	return r < 0 && r != PS_E_EXISTS ? r : 0;
}

/* The old file waits aside, under the new one's name with a tail, until the step is past being undone. */
static void old_name(const struct step *step, char name[NAME_SIZE + 8])
{
	snprintf(name, NAME_SIZE + 8, "%.*s.old", NAME_SIZE - 8, step->from);
}

static int do_replace(struct steps *steps, const struct step *step, int from, int to)
{
	char old[NAME_SIZE + 8];

	old_name(step, old);
	steps->dirs[step->to_dir].changed = true; /* no folder's, and of a root files do not count */
	if (ps_io.link(to, step->to, from, old) < 0 && errno != ENOENT)
		return ps_fail_errno("keep %s", step->to);
	return ps_io.rename(from, step->from, to, step->to, 0) < 0 ? ps_fail_errno("replace %s", step->to) : 0;
}

static int undo_replace(struct steps *steps, const struct step *step, int from, int to)
{
	char old[NAME_SIZE + 8];

	(void)steps;
	old_name(step, old);
	if (ps_io.rename(from, old, to, step->to, 0) == 0)
		return 0;
	return errno == ENOENT ? ps_io.unlink(to, step->to, 0) : -1;
}

static int redo_replace(struct steps *steps, const struct step *step, int from, int to)
{
	(void)steps;
	if (ps_io.rename(from, step->from, to, step->to, 0) == 0 || errno == ENOENT)
		return 0;
	return ps_fail_errno("replace %s", step->to);
}

/* UIDs may have been reserved since the step was planned: what is reserved stays so. */
static void take_identity(struct mailbox_state *state, struct ps_bytes data)
{
	struct identity identity;

	memcpy(&identity, data.ptr, sizeof identity);
	state->id = identity.id;
	state->uid_validity = identity.uid_validity;
	if (identity.uid_reserved > state->uid_reserved)
		state->uid_reserved = identity.uid_reserved;
}

static int write_state(int dirfd, struct ps_bytes data)
{
	struct mailbox_state state;
	int r = ps_state_read(dirfd, MAILBOX_STATE, &state, sizeof state);

	if (r < 0)
		return r;
	if (data.len == sizeof state.special_uses)
		memcpy(&state.special_uses, data.ptr, data.len);
	else if (data.len == sizeof(struct identity))
		take_identity(&state, data);
	else
		return PS_E_CORRUPT;
	return ps_state_write(dirfd, MAILBOX_STATE, &state, sizeof state);
}

static int do_state(struct steps *steps, const struct step *step, int from, int to)
{
	(void)steps;
	(void)from;
	return write_state(to, step->data);
}

static int undo_state(struct steps *steps, const struct step *step, int from, int to)
{
	(void)steps;
	(void)from;
	return write_state(to, step->old);
}

static const char *lines_file(const struct step *step)
{
	return step->to && *step->to ? step->to : UIDLIST_FILE;
}

static int do_lines(struct steps *steps, const struct step *step, int from, int to)
{
	(void)from;
	return lines_append(to, lines_file(step), step->data, &steps->left);
}

static int undo_lines(struct steps *steps, const struct step *step, int from, int to)
{
	(void)from;
	return lines_append(to, lines_file(step), step->old, &steps->left);
}

/*
 * A removal cannot be undone, so when one of several files has another name by now, which others gave it, there is no
 * way back: it is removed under that name. What others have removed is removed.
 */
static int do_unlink(struct steps *steps, const struct step *step, int from, int to)
{
	(void)to;
	return remove_file(steps, step->from_dir, from, step->from);
}

static int undo_unlink(struct steps *steps, const struct step *step, int from, int to)
{
	(void)steps;
	(void)step;
	(void)from;
	(void)to;
	return -1;
}

static int do_nothing(struct steps *steps, const struct step *step, int from, int to)
{
	(void)steps;
	(void)step;
	(void)from;
	(void)to;
	return 0;
}

typedef int (*step_fn)(struct steps *steps, const struct step *step, int from, int to);

static const struct {
	step_fn run, undo, redo;
} kinds[] = {
	[STEP_RENAME] = {do_rename, undo_rename, redo_rename},     [STEP_LINK] = {do_link, undo_link, redo_link},
	[STEP_REPLACE] = {do_replace, undo_replace, redo_replace}, [STEP_STATE] = {do_state, undo_state, do_state},
	[STEP_LINES] = {do_lines, undo_lines, do_lines},           [STEP_UNLINK] = {do_unlink, undo_unlink, do_unlink},
	[STEP_BROUGHT] = {do_nothing, do_nothing, do_nothing},
};

static int apply(struct steps *steps, const struct step *step, step_fn fn)
{
	int from = -1, to = -1, r;

	if ((r = open_dir(steps, step->from_dir, &from)) < 0 || (r = open_dir(steps, step->to_dir, &to)) < 0)
		return r;
	return fn(steps, step, from, to);
}

/* ---- running --------------------------------------------------------------------------------- */

int steps_sync(struct steps *steps)
{
	int r = 0;

	for (size_t i = 0; i < steps->dir_count && r == 0; i++) {
		struct step_dir *dir = &steps->dirs[i];

		if (dir->changed && dir->fd >= 0 && strcmp(dir->path, "tmp") != 0 && strcmp(dir->path, ASIDE_PATH) != 0)
			r = ps_io_sync_dir(dir->fd, dir->path);
		dir->changed = dir->changed && r < 0;
	}
	return r;
}

/* The same, some seconds later. */
static int leave_to_settle(struct steps *steps, int intent)
{
	int r = 0;

	for (size_t i = 0; i < steps->dir_count && r == 0; i++)
		if (steps->dirs[i].changed)
			r = unsettled_add(&steps->store->unsettled, &steps->dirs[i].fd);
	if (r == 0 && intent >= 0) {
		intent_loose(intent);
		steps->store->unsettled.record = true;
	}
	return r;
}

static bool moves_directory(const struct steps *steps, const struct step *step)
{
	return step->kind == STEP_RENAME &&
	       (strcmp(steps->dirs[step->from_dir].path, ".") == 0 || strcmp(steps->dirs[step->to_dir].path, ".") == 0);
}

/* One of two rounds over the steps; those done are noted. */
static int run_round(struct steps *steps, bool unlinks, bool *done)
{
	int r = 0;

	for (size_t i = 0; i < steps->count && r == 0; i++) {
		const struct step *step = &steps->steps[i];

		if ((step->kind == STEP_UNLINK) != unlinks)
			continue;
		/* Recovery finds nothing in a directory that was moved: what is in it must be durable. */
		if (moves_directory(steps, step))
			r = steps_sync(steps);
		if (r == 0)
			r = apply(steps, step, kinds[step->kind].run);
		done[i] = r == 0 || steps->left;
		if (r < 0)
			steps->stopped_at = i;
	}
	return r;
}

static bool undo(struct steps *steps, const bool *done)
{
	bool all = true;

	for (size_t i = steps->count; i-- > 0;)
		if (done[i] && apply(steps, &steps->steps[i], kinds[steps->steps[i].kind].undo) < 0)
			all = false;
	for (size_t i = 0; i < steps->dir_count; i++)
		if (steps->dirs[i].watch)
			watch_dirty(steps->dirs[i].watch);
	return all;
}

int steps_run(struct steps *steps, bool atomic)
{
	PS_CLEANUP(ps_closep) int intent = -1;
	PS_CLEANUP(ps_freep) bool *done = ps_zalloc(steps->count);
	int r;

	if (steps->count == 0)
		return 0;
	/* In this order: a record that says ARMED is for the next one who takes the lock, not for some later one. */
	if ((r = ps_catalogue_unsettled(steps->store)) < 0 || (r = intent_arm(steps, atomic, &intent)) < 0)
		return r;
	if ((r = run_round(steps, false, done)) == 0)
		r = run_round(steps, true, done);
	if (r == 0)
		r = steps->relaxed ? leave_to_settle(steps, intent) : steps_sync(steps);
	if (r == 0) {
		if (intent >= 0 && !steps->relaxed)
			intent_done(intent);
		return 0;
	}
	if (undo(steps, done)) {
		if (intent < 0 || intent_drop(intent) == 0)
			return r;
	}
	steps->store->cat.pending = true;
	return r == PS_E_NOTFOUND ? PS_E_STORAGE : r;
}

int steps_redo_one(struct steps *steps, const struct step *step)
{
	int r;

	steps->elsewhere = true;
	r = apply(steps, step, kinds[step->kind].redo);
	return r == PS_E_NOTFOUND ? 0 : r; /* its directory has gone */
}

int steps_redo(struct steps *steps)
{
	int r = 0;

	for (int unlinks = 0; unlinks < 2; unlinks++) {
		for (size_t i = 0; i < steps->count && r == 0; i++) {
			const struct step *step = &steps->steps[i];

			if ((step->kind == STEP_UNLINK) != (unlinks == 1))
				continue;
			r = steps_redo_one(steps, step);
		}
	}
	return r == 0 ? steps_sync(steps) : r;
}
