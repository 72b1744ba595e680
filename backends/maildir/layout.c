/* SPDX-License-Identifier: MIT */
/*
 * Where mailboxes lie. Flat, as Maildir++ has it, a mailbox is a directory of the root, whatever its name. In a tree it is
 * a directory within that of its parent, beside cur, new and tmp: it moves with its parent, and a directory without cur
 * and new may stand between. What is needed beside the one rename that the flat form needs is here.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include "backends/maildir/maildir_private.h"

enum {
	DEPTH_MAX = 32,
	FRESH_NS = 50000000
};

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool is_part(const char *name)
{
	return strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0;
}

/* ---- finding them ---------------------------------------------------------------------------- */

struct walk {
	struct ps_store *store;
	layout_fn fn;
	void *arg;
	char path[NAME_SIZE];
};

static bool may_be_mailbox(struct walk *walk, DIR *dir, const struct dirent *entry)
{
	struct stat st;

	if (is_dots(entry->d_name) || (entry->d_name[0] == '.') == walk->store->tree)
		return false;
	if (walk->store->tree && (is_part(entry->d_name) || strcmp(entry->d_name, "postern-control") == 0 ||
				  strcmp(entry->d_name, "postern-index") == 0))
		return false;
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int walk_below(struct walk *walk, size_t len, unsigned depth);

static int visit(struct walk *walk, size_t len, unsigned depth, const char *name)
{
	size_t add = strlen(name), start = len > 0 ? len + 1 : 0;
	int r;

	if (start + add >= sizeof walk->path)
		return 0; /* no name of ours is so long */
	if (len > 0)
		walk->path[len] = '/';
	memcpy(walk->path + start, name, add + 1);
	r = walk->fn(walk->arg, walk->path);
	if (r == 0 && walk->store->tree && depth < DEPTH_MAX)
		r = walk_below(walk, start + add, depth + 1);
	walk->path[len] = '\0';
	return r;
}

static int walk_below(struct walk *walk, size_t len, unsigned depth)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	struct dirent *entry;
	DIR *dir;
	int r = ps_io_open_dir(walk->store->cat.root_fd, len > 0 ? walk->path : ".", &fd);

	if (r == PS_E_ACCESS || r == PS_E_NOTFOUND)
		return 0;
	if (r < 0 || (r = open_listing(fd, &dir)) < 0)
		return r;
	while (r == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		if (may_be_mailbox(walk, dir, entry))
			r = visit(walk, len, depth, entry->d_name);
	if (r == 0 && errno != 0)
		r = ps_fail_errno("list the store of %s", walk->store->cat.user);
	closedir(dir);
	return r;
}

int layout_walk(struct ps_store *store, layout_fn fn, void *arg)
{
	struct walk walk = {.store = store, .fn = fn, .arg = arg};
	int r = fn(arg, ".");

	return r == 0 ? walk_below(&walk, 0, 0) : r;
}

/* ---- whether they changed -------------------------------------------------------------------- */

struct times {
	int root_fd;
	uint64_t newest, mix;
};

static int add_time(void *arg, const char *dir)
{
	struct times *times = arg;
	struct stat st;
	uint64_t at;

	if (fstatat(times->root_fd, dir, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	at = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	times->newest = at > times->newest ? at : times->newest;
	/* The order in which a directory lists them must not matter. */
	times->mix += (at ^ (uint64_t)ps_crc32c(0, dir, strlen(dir)) << 32) * UINT64_C(0x9e3779b97f4a7c15);
	return 0;
}

uint64_t layout_time(struct ps_store *store, bool settled)
{
	struct times times = {.root_fd = store->cat.root_fd};
	struct timespec now;
	int r = store->tree ? layout_walk(store, add_time, &times) : add_time(&times, ".");

	clock_gettime(CLOCK_REALTIME, &now);
	if (settled && (r < 0 || (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec < times.newest + FRESH_NS))
		return 0;
	return times.mix ? times.mix : 1;
}

/* ---- changing them --------------------------------------------------------------------------- */

/* The directory that a path is in, as the steps know it, and its name there. */
static uint32_t parent_of(struct plan *plan, const char *path, const char **ret_leaf)
{
	const char *slash = strrchr(path, '/');

	*ret_leaf = slash ? slash + 1 : path;
	return steps_dir(&plan->steps, slash ? ps_pool_strndup(plan->p.pool, path, (size_t)(slash - path)) : ".", NULL,
			 PLACE_CUR);
}

/* Directories above a new one. One that stays behind because the batch is refused is no mailbox. */
static int make_parents(struct plan *plan, const char *path)
{
	struct ps_store *store = plan->w.store;

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		const char *parent = ps_pool_strndup(plan->p.pool, path, (size_t)(slash - path));
		int r;

		if (ps_io.mkdir(store->cat.root_fd, parent, 0700) < 0) {
			if (errno != EEXIST)
				return ps_fail_errno("create directory %s", parent);
		} else if ((r = ps_io_sync_dir(store->cat.root_fd, parent)) < 0) {
			return r;
		}
	}
	return 0;
}

static const char *step_path(struct plan *plan, uint32_t dir, const char *leaf)
{
	const char *path = plan->steps.dirs[dir].path;

	return strcmp(path, ".") == 0 ? leaf : ps_pool_printf(plan->p.pool, "%s/%s", path, leaf);
}

static bool is_at_or_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* Where on disk now lies what the steps planned so far will bring to `path`; NULL: they take it away. */
static const char *lies_at(struct plan *plan, const char *path)
{
	for (size_t i = plan->steps.count; i-- > 0;) {
		const struct step *step = &plan->steps.steps[i];
		const char *from, *to;

		if (step->kind != STEP_RENAME)
			continue;
		from = step_path(plan, step->from_dir, step->from);
		to = step_path(plan, step->to_dir, step->to);
		if (is_at_or_below(path, to))
			path = ps_pool_printf(plan->p.pool, "%s%s", from, path + strlen(to));
		else if (is_at_or_below(path, from))
			return NULL;
	}
	return path;
}

static bool is_there(struct plan *plan, const char *path)
{
	struct stat st;

	path = lies_at(plan, path);
	return path && fstatat(plan->w.store->cat.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static const char *aside_path(struct plan *plan, const char *aside)
{
	return ps_pool_printf(plan->p.pool, ASIDE_PATH "/%s", aside);
}

/* What folder_make() makes. cur comes last: without it, it is no mailbox. */
static const char *const new_parts[] = {MAILBOX_STATE, "maildirfolder", "tmp", "new", "cur"};

int layout_create(struct plan *plan, const char *aside, const char *dir)
{
	const char *leaf;
	uint32_t from, to;
	int r = make_parents(plan, dir);

	if (r < 0)
		return r;
	if (!plan->w.store->tree || !is_there(plan, dir)) {
		to = parent_of(plan, dir, &leaf);
		from = steps_dir(&plan->steps, ASIDE_PATH, NULL, PLACE_CUR);
		steps_add(&plan->steps, STEP_RENAME, from, aside, to, leaf);
		return 0;
	}
	from = steps_dir(&plan->steps, aside_path(plan, aside), NULL, PLACE_CUR);
	to = steps_dir(&plan->steps, dir, NULL, PLACE_CUR);
	for (size_t i = 0; i < PS_ARRAY_LEN(new_parts); i++)
		steps_add(&plan->steps, STEP_RENAME, from, new_parts[i], to, new_parts[i]);
	return 0;
}

/* Whether there are directories in it that are none of its own. */
static int has_others(DIR *dir)
{
	struct dirent *entry;
	struct stat st;

	rewinddir(dir);
	while ((errno = 0, entry = readdir(dir)) != NULL)
		if (!is_dots(entry->d_name) && !is_part(entry->d_name) &&
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
			return 1;
	return errno ? ps_fail_errno("list a directory") : 0;
}

/* Takes a mailbox's own parts and files to another directory, and leaves those of others where they are. */
static int move_parts(struct plan *plan, DIR *dir, const char *path, const char *new_path)
{
	uint32_t from = steps_dir(&plan->steps, path, NULL, PLACE_CUR);
	uint32_t to = steps_dir(&plan->steps, new_path, NULL, PLACE_CUR);
	struct dirent *entry;
	struct stat st;

	rewinddir(dir);
	while ((errno = 0, entry = readdir(dir)) != NULL)
		if (is_part(entry->d_name) ||
		    (!is_dots(entry->d_name) && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		     !S_ISDIR(st.st_mode)))
			steps_add(&plan->steps, STEP_RENAME, from, entry->d_name, to, entry->d_name);
	return errno ? ps_fail_errno("list %s", path) : 0;
}

static int open_planned(struct plan *plan, const char *path, DIR **ret_dir)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	const char *lies = lies_at(plan, path);
	int r = lies ? ps_io_open_dir(plan->w.store->cat.root_fd, lies, &fd) : ps_fail(PS_E_NOTFOUND, "no %s", path);

	return r < 0 ? r : open_listing(fd, ret_dir);
}

static int rename_parts(struct plan *plan, const char *from, const char *to)
{
	DIR *dir;
	int r = open_planned(plan, from, &dir);

	if (r < 0)
		return r;
	r = move_parts(plan, dir, from, to);
	closedir(dir);
	return r;
}

/* It has moved with a mailbox above it that the same batch renames. */
static bool moves_anyway(struct plan *plan, const char *from, const char *to)
{
	return plan->w.store->tree && !lies_at(plan, from) && is_there(plan, to);
}

int layout_rename(struct plan *plan, const char *from, const char *to)
{
	const char *leaf, *new_leaf;
	uint32_t in, new_in;
	int r;

	if (plan->w.store->tree && strcmp(from, to) != 0 && is_at_or_below(to, from))
		return ps_fail(PS_E_INVALID, "a mailbox cannot be moved into itself");
	if (moves_anyway(plan, from, to))
		return 0;
	if ((r = make_parents(plan, to)) < 0)
		return r;
	/* There is a directory already, for mailboxes below it. */
	if (plan->w.store->tree && is_there(plan, to))
		return rename_parts(plan, from, to);
	in = parent_of(plan, from, &leaf);
	new_in = parent_of(plan, to, &new_leaf);
	steps_add(&plan->steps, STEP_RENAME, in, leaf, new_in, new_leaf);
	return 0;
}

static int delete_parts(struct plan *plan, DIR *dir, const char *path, const char *aside)
{
	if (ps_io.mkdir(plan->w.store->cat.aside_fd, aside, 0700) < 0)
		return ps_fail_errno("create directory %s", aside);
	return move_parts(plan, dir, path, aside_path(plan, aside));
}

int layout_delete(struct plan *plan, const char *path, const char *aside)
{
	const char *leaf;
	uint32_t from;
	DIR *dir;
	int r = 0;

	if (plan->w.store->tree) {
		if ((r = open_planned(plan, path, &dir)) < 0)
			return r;
		if ((r = has_others(dir)) == 1 && (r = delete_parts(plan, dir, path, aside)) == 0)
			r = 1;
		closedir(dir);
	}
	if (r != 0)
		return r < 0 ? r : 0;
	from = parent_of(plan, path, &leaf);
	steps_add(&plan->steps, STEP_RENAME, from, leaf, steps_dir(&plan->steps, ASIDE_PATH, NULL, PLACE_CUR), aside);
	return 0;
}
