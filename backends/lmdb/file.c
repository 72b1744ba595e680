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
	[DB_BODIES] = "bodies",
	[DB_CHUNKS] = "chunks",
	[DB_CHUNKS + 1] = NULL,
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

DIR *file_list(const struct ps_store *store)
{
	PS_CLEANUP(ps_closep) int fd = openat(store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir)
		fd = -1; /* it is the list's */
	return dir;
}

static int newest(const struct ps_store *store, uint32_t *ret_number)
{
	DIR *dir = file_list(store);
	struct dirent *entry;
	uint32_t highest = 0;

	if (!dir)
		return ps_fail_errno("read %s", store->root);
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

bool file_was_replaced(struct ps_store *store, struct ps_index *index, uint32_t number)
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
	ps_ledger_take(store->ledger, index, number);
	return 0;
}

int file_open(struct ps_store *store, bool create)
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
		r = open_number(store, number ? number : 1);
	}
	return r == PS_E_AGAIN ? ps_fail(PS_E_BUSY, "%s", ps_last_error()) : r;
}

int file_follow(struct ps_store *store)
{
	return file_open(store, false);
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
	DIR *dir = file_list(store);
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
	uint32_t number;

	/* Who is compacting has it locked. */
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(store->root_fd, FILE_ASIDE, 0);
	if (fd >= 0)
		close(fd);
	ps_index_close(ps_ledger_index(store->ledger, &number));
	remove_below(store, number);
}

/* ---- compacting ---------------------------------------------------------------------------------- */

static uint64_t size_of(const struct ps_store *store, uint32_t number)
{
	struct stat st;
	char name[NAME_SIZE];

	file_name(number, name);
	return fstatat(store->root_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static int copy_aside(struct ps_ledger_txn *txn, int *ret_fd)
{
	int fd = openat(txn->store->root_fd, FILE_ASIDE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0 && errno == EEXIST)
		return ps_fail(PS_E_BUSY, "the store of %s is being compacted", txn->store->user);
	if (fd < 0)
		return ps_fail_errno("create %s", FILE_ASIDE);
	rc = flock(fd, LOCK_EX | LOCK_NB) == 0 ? mdb_env_copyfd2(ps_index_env(txn->index), fd, MDB_CP_COMPACT) : errno;
	if (rc == 0 && ps_io.fsync(fd) < 0)
		rc = errno;
	if (rc) {
		unlinkat(txn->store->root_fd, FILE_ASIDE, 0);
		close(fd);
		return ps_index_failed(rc, "copy");
	}
	*ret_fd = fd;
	return 0;
}

static int replace(struct ps_ledger_txn *txn)
{
	struct ps_store *store = txn->store;
	char name[NAME_SIZE];
	int fd = -1, r;

	remove_below(store, txn->file);
	if ((r = copy_aside(txn, &fd)) < 0)
		return r;
	file_name(txn->file + 1, name);
	if (ps_io.rename(store->root_fd, FILE_ASIDE, store->root_fd, name, RENAME_NOREPLACE) < 0)
		r = ps_fail_errno("rename %s to %s", FILE_ASIDE, name);
	if (r < 0)
		unlinkat(store->root_fd, FILE_ASIDE, 0);
	else if ((r = ps_io_sync_dir(store->root_fd, store->root)) == 0)
		remove_number(store, txn->file);
	close(fd);
	return r;
}

static bool is_worth_it(const struct ps_ledger_txn *txn)
{
	MDB_envinfo info;

	mdb_env_info(ps_index_env(txn->index), &info);
	return ps_index_free_pages(txn->index) > info.me_last_pgno / WORTH_PART;
}

/* What is in the graves would be copied, too. */
static int empty_graves(struct ps_store *store)
{
	unsigned removed = 1;
	int r = 0;

	while (r == 0 && removed > 0)
		r = ps_ledger_reap(store->ledger, 4 * AHEAD_CHUNKS, &removed);
	return r;
}

int lmdb_compact(struct ps_store *store, uint64_t *ret_octets)
{
	struct ps_ledger_txn *txn;
	uint64_t before, after;
	uint32_t number;
	int r;

	if ((r = empty_graves(store)) < 0 || (r = ps_ledger_txn_begin(store->ledger, &txn)) < 0)
		return r;
	if ((r = ps_ledger_check_generation(txn)) < 0 || !is_worth_it(txn)) {
		ps_ledger_txn_end(txn);
		if (r == 0)
			*ret_octets = 0;
		return r;
	}
	number = txn->file;
	before = size_of(store, number);
	r = replace(txn);
	ps_ledger_txn_end(txn);
	if (r < 0 || (r = file_follow(store)) < 0)
		return r;
	after = size_of(store, number + 1);
	ps_log(PS_LOG_INFO, "store_compacted", "user", store->user, NULL);
	*ret_octets = before > after ? before - after : 0;
	return 0;
}
