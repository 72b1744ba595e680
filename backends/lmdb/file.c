/* SPDX-License-Identifier: MIT */
/*
 * A store's environment is the file mail-N.mdb with the highest N. Compacting writes the next one aside, while it keeps
 * all others from writing by a transaction of the present one, and renames it into its place: that is the moment it
 * counts from. Who had the old file open reads on in it, sees by its next look (stale) or its next transaction that it was
 * replaced, and opens the new one. The old file is removed after those with lower numbers, so that who has any of them
 * open finds either his own file gone or the next one there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/lmdb/lmdb_private.h"
#include "postern/log.h"

enum {
	OPEN_TRIES = 16,
	WORTH_PART = 16 /* compacting is worth its while when this part of the file is free */
};

size_t file_first_map = (size_t)1 << 30; /* address space, not memory and not disk */

static const char *const databases[] = {
	[DB_BODIES] = "bodies",        [DB_CHUNKS] = "chunks",
	[DB_GRAVES] = "graves",        [DB_SUBSCRIPTIONS] = "subscriptions",
	[DB_SUBSCRIPTIONS + 1] = NULL,
};

void file_name(uint32_t number, char ret_name[NAME_SIZE])
{
	snprintf(ret_name, NAME_SIZE, "mail-%u.mdb", number);
}

uint32_t file_number(const char *name)
{
	char again[NAME_SIZE];
	unsigned number;

	if (sscanf(name, "mail-%9u.mdb", &number) != 1)
		return 0;
	file_name(number, again);
	return strcmp(name, again) == 0 ? number : 0;
}

static int newest(const struct ps_store *store, uint32_t *ret_number)
{
	int fd = openat(store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	uint32_t highest = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return ps_fail_errno("read %s", store->root);
	}
	while ((entry = readdir(dir))) {
		uint32_t number = file_number(entry->d_name);

		highest = number > highest ? number : highest;
	}
	closedir(dir);
	*ret_number = highest;
	return 0;
}

static bool exists(const struct ps_store *store, uint32_t number)
{
	char name[NAME_SIZE];

	file_name(number, name);
	return faccessat(store->root_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void path_of(const struct ps_store *store, uint32_t number, char ret_path[4096])
{
	char name[NAME_SIZE];

	file_name(number, name);
	snprintf(ret_path, 4096, "%s/%s", store->root, name);
}

bool file_was_replaced(const struct ps_store *store, struct ps_index *index, uint32_t number)
{
	char path[4096];

	path_of(store, number, path);
	return exists(store, number + 1) || !ps_index_is_at(index, path);
}

/* LMDB would follow a link. */
static int refuse_link(const struct ps_store *store, const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0 || S_ISREG(st.st_mode))
		return 0;
	return ps_fail(PS_E_CORRUPT, "%s of %s is not a plain file", path, store->user);
}

static void take(struct ps_store *store, struct ps_index *index, uint32_t number)
{
	struct ps_index *old;

	pthread_mutex_lock(&store->lock);
	old = store->index;
	store->index = index;
	store->number = number;
	store->own_txn = ps_index_last_txn(index);
	store->foreign++;
	store->allocated = 0;
	pthread_mutex_unlock(&store->lock);
	ps_index_close(old);
}

/* PS_E_AGAIN: another file took its place meanwhile. */
static int open_number(struct ps_store *store, uint32_t number)
{
	const struct ps_index_how how = {.databases = databases, .map = file_first_map};
	struct ps_index *index;
	char path[4096];
	int r;

	path_of(store, number, path);
	if ((r = refuse_link(store, path)) < 0 || (r = ps_index_open_durable(path, &how, &index)) < 0)
		return r;
	if (file_was_replaced(store, index, number)) {
		ps_index_close(index);
		return ps_fail(PS_E_AGAIN, "the store of %s is being compacted", store->user);
	}
	/* Who put it there may not have come to that yet; nothing may be said to be stored in it before. */
	if ((r = ps_io_sync_dir(store->root_fd, store->root)) < 0) {
		ps_index_close(index);
		return r;
	}
	take(store, index, number);
	return 0;
}

int file_open(struct ps_store *store, bool create, bool *ret_made)
{
	int r = PS_E_AGAIN;

	for (int i = 0; i < OPEN_TRIES && r == PS_E_AGAIN; i++) {
		uint32_t number = 0;

		/* A directory that is being changed may show neither of two files. */
		for (int look = 0; look < 3 && number == 0; look++)
			if ((r = newest(store, &number)) < 0)
				return r;
		if (number == 0 && !create)
			return ps_fail(PS_E_NOTFOUND, "%s has no mail in %s", store->user, store->root);
		*ret_made = number == 0;
		r = open_number(store, number ? number : 1);
	}
	return r == PS_E_AGAIN ? ps_fail(PS_E_BUSY, "%s", ps_last_error()) : r;
}

int file_follow(struct ps_store *store)
{
	bool made;

	return file_open(store, false, &made);
}

struct ps_index *store_index(struct ps_store *store, uint32_t *ret_number)
{
	struct ps_index *index;

	pthread_mutex_lock(&store->lock);
	index = ps_index_ref(store->index);
	if (ret_number)
		*ret_number = store->number;
	pthread_mutex_unlock(&store->lock);
	return index;
}

/* ---- what a crash or a compaction left --------------------------------------------------------- */

static void remove_number(const struct ps_store *store, uint32_t number)
{
	char name[NAME_SIZE], lock[NAME_SIZE + 8];

	file_name(number, name);
	snprintf(lock, sizeof lock, "%s-lock", name);
	unlinkat(store->root_fd, name, 0);
	unlinkat(store->root_fd, lock, 0);
}

static void remove_below(const struct ps_store *store, uint32_t number)
{
	uint32_t lowest = number;
	int fd = openat(store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		uint32_t n = file_number(entry->d_name);

		if (n > 0 && n < lowest)
			lowest = n;
	}
	if (dir)
		closedir(dir);
	for (; lowest < number; lowest++)
		remove_number(store, lowest);
}

void file_remove_leftovers(struct ps_store *store)
{
	int fd = openat(store->root_fd, FILE_ASIDE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	/* Who is compacting has it locked. */
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(store->root_fd, FILE_ASIDE, 0);
	if (fd >= 0)
		close(fd);
	remove_below(store, store->number);
}

/* ---- compacting ---------------------------------------------------------------------------------- */

static uint64_t size_of(const struct ps_store *store, uint32_t number)
{
	struct stat st;
	char name[NAME_SIZE];

	file_name(number, name);
	return fstatat(store->root_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static int copy_aside(struct writer *w, int *ret_fd)
{
	int fd = openat(w->store->root_fd, FILE_ASIDE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0 && errno == EEXIST)
		return ps_fail(PS_E_BUSY, "the store of %s is being compacted", w->store->user);
	if (fd < 0)
		return ps_fail_errno("create %s", FILE_ASIDE);
	rc = flock(fd, LOCK_EX | LOCK_NB) == 0 ? mdb_env_copyfd2(ps_index_env(w->index), fd, MDB_CP_COMPACT) : errno;
	if (rc == 0 && ps_io.fsync(fd) < 0)
		rc = errno;
	if (rc) {
		unlinkat(w->store->root_fd, FILE_ASIDE, 0);
		close(fd);
		return ps_index_failed(rc, "copy");
	}
	*ret_fd = fd;
	return 0;
}

static int replace(struct writer *w)
{
	struct ps_store *store = w->store;
	char name[NAME_SIZE];
	int fd = -1, r;

	remove_below(store, w->number);
	if ((r = copy_aside(w, &fd)) < 0)
		return r;
	file_name(w->number + 1, name);
	if (ps_io.rename(store->root_fd, FILE_ASIDE, store->root_fd, name, RENAME_NOREPLACE) < 0)
		r = ps_fail_errno("rename %s to %s", FILE_ASIDE, name);
	if (r < 0)
		unlinkat(store->root_fd, FILE_ASIDE, 0);
	else if ((r = ps_io_sync_dir(store->root_fd, store->root)) == 0)
		remove_number(store, w->number);
	close(fd);
	return r;
}

uint64_t file_free_pages(struct ps_index *index)
{
	struct ps_index_txn *txn;
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t pages = 0;
	size_t count;

	if (ps_index_read(index, &txn) < 0)
		return 0;
	/* Database 0 is LMDB's own: lists of free pages, each beginning with their number. Only a reader may look at it. */
	if (mdb_cursor_open(ps_index_lmdb(txn), 0, &cursor) == 0) {
		while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
			memcpy(&count, value.mv_data, sizeof count);
			pages += count;
		}
		mdb_cursor_close(cursor);
	}
	ps_index_end(txn);
	return pages;
}

static bool is_worth_it(const struct writer *w)
{
	MDB_envinfo info;

	mdb_env_info(ps_index_env(w->index), &info);
	return file_free_pages(w->index) > info.me_last_pgno / WORTH_PART;
}

/* What is in the graves would be copied, too. */
static int empty_graves(struct ps_store *store)
{
	unsigned removed = 1;
	int r = 0;

	while (r == 0 && removed > 0) {
		struct writer w;

		if ((r = writer_begin(store, &w)) < 0)
			break;
		if ((r = bodies_reap(&w, 4 * AHEAD_CHUNKS, &removed)) < 0 || removed == 0)
			writer_end(&w);
		else
			r = writer_commit(&w);
	}
	return r;
}

int lmdb_compact(struct ps_store *store, uint64_t *ret_octets)
{
	uint64_t before, after;
	uint32_t number;
	struct writer w;
	int r;

	if ((r = empty_graves(store)) < 0 || (r = writer_begin(store, &w)) < 0)
		return r;
	if ((r = writer_check_generation(&w)) < 0 || !is_worth_it(&w)) {
		writer_end(&w);
		if (r == 0)
			*ret_octets = 0;
		return r;
	}
	number = w.number;
	before = size_of(store, number);
	r = replace(&w);
	writer_end(&w);
	if (r < 0 || (r = file_follow(store)) < 0)
		return r;
	after = size_of(store, number + 1);
	ps_log(PS_LOG_INFO, "store_compacted", "user", store->user, NULL);
	*ret_octets = before > after ? before - after : 0;
	return 0;
}
