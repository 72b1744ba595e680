/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"

enum {
	DEPTH_MAX = 32
};

struct walk {
	struct ps_store *store;
	tree_fn fn;
	void *arg;
	char path[PATH_SIZE];
};

static bool ends_in_lock(const char *name)
{
	size_t len = strlen(name);

	return len > 5 && strcmp(name + len - 5, ".lock") == 0;
}

static int walk_below(struct walk *walk, size_t len, unsigned depth);

static int visit(struct walk *walk, size_t len, unsigned depth, const char *leaf)
{
	size_t add = strlen(leaf), start = len > 0 ? len + 1 : 0;
	struct stat st;
	int r = 0;

	if (start + add + 8 >= sizeof walk->path)
		return 0; /* no name of ours is so long */
	if (len > 0)
		walk->path[len] = '/';
	memcpy(walk->path + start, leaf, add + 1);
	if (fstatat(walk->store->cat.root_fd, walk->path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISREG(st.st_mode) && leaf[0] != '.' && !ends_in_lock(leaf))
			r = walk->fn(walk->arg, walk->path, &st);
		else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX && is_mailbox_dir(walk->store, leaf, len == 0))
			r = walk_below(walk, start + add, depth + 1);
	}
	walk->path[len] = '\0';
	return r;
}

static int open_listing(struct ps_store *store, const char *path, DIR **ret_dir)
{
	int fd, r = ps_io_open_dir(store->cat.root_fd, path, &fd);

	if (r < 0)
		return r;
	if (!(*ret_dir = fdopendir(fd))) {
		r = ps_fail_errno("list a directory");
		close(fd);
	}
	return r;
}

static int walk_below(struct walk *walk, size_t len, unsigned depth)
{
	struct dirent *entry;
	DIR *dir;
	int r = open_listing(walk->store, len > 0 ? walk->path : ".", &dir);

	if (r == PS_E_ACCESS || r == PS_E_NOTFOUND)
		return 0;
	if (r < 0)
		return r;
	while (r == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		r = visit(walk, len, depth, entry->d_name);
	if (r == 0 && errno != 0)
		r = ps_fail_errno("list the store of %s", walk->store->cat.user);
	closedir(dir);
	return r;
}

int tree_walk(struct ps_store *store, tree_fn fn, void *arg)
{
	struct walk walk = {.store = store, .fn = fn, .arg = arg};

	return walk_below(&walk, 0, 0);
}

/* Names only: locks come and go in the same directories, and a file's own changes are noticed by itself. */
static int mix_name(void *arg, const char *path, const struct stat *st)
{
	uint64_t *sum = arg, hash = ps_crc32c(0, path, strlen(path));

	(void)st;
	hash = (hash ^ hash << 32) * UINT64_C(0x9e3779b97f4a7c15);
	*sum += hash ^ hash >> 29; /* in whatever order a directory lists them */
	return 0;
}

uint64_t tree_state(struct ps_store *store)
{
	uint64_t sum = 0;
	struct stat st;

	if (tree_walk(store, mix_name, &sum) < 0)
		return 1;
	if (fstatat(store->cat.root_fd, SUBSCRIBED, &st, AT_SYMLINK_NOFOLLOW) == 0)
		sum += ((uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec) ^ (uint64_t)st.st_ino
													   << 40;
	return sum ? sum : 1;
}

int tree_make_parents(struct ps_store *store, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		char dir[PATH_SIZE];
		struct stat st;
		int r;

		snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
		if (ps_io.mkdir(store->cat.root_fd, dir, 0700) == 0) {
			if ((r = ps_io_sync_dir(store->cat.root_fd, dir)) < 0)
				return r;
			continue;
		}
		if (errno != EEXIST)
			return ps_fail_errno("create directory %s", dir);
		if (fstatat(store->cat.root_fd, dir, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
			return ps_fail(PS_E_INVALID, "%s is a mailbox, and cannot hold others", dir);
	}
	return 0;
}

void tree_prune(struct ps_store *store, const char *path)
{
	char dir[PATH_SIZE], *slash;

	snprintf(dir, sizeof dir, "%s", path);
	while ((slash = strrchr(dir, '/')) != NULL) {
		*slash = '\0';
		if (ps_io.unlink(store->cat.root_fd, dir, AT_REMOVEDIR) < 0)
			return;
	}
}
