/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"

/* A directory changed again within this time may keep its time stamp: kernels before 6.13 count in ticks. */
enum {
	FRESH_NS = 50 * 1000 * 1000,
	TMP_AGE = 36 * 3600
};

static void close_all(int fds[3])
{
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int open_folder_dirs(struct ps_store *store, const char *dir, int ret_fds[3])
{
	static const char *const parts[3] = {".", "cur", "new"};
	int fds[3] = {-1, -1, -1}, r = 0;

	for (int i = 0; i < 3 && r == 0; i++)
		r = ps_io_open_dir(i ? fds[0] : store->cat.root_fd, i ? parts[i] : dir, &fds[i]);
	if (r < 0) {
		close_all(fds);
		return r;
	}
	memcpy(ret_fds, fds, sizeof fds);
	return 0;
}

static struct ps_folder *find(struct ps_store *store, uint64_t key)
{
	struct ps_folder *folder = store->folders;

	while (folder && folder->key != key)
		folder = folder->next;
	return folder;
}

/* It has another name. With layout = fs its parts may have been moved into another directory, so that ours is not its own
 * any more; others may be using the descriptor, which therefore stays. */
static void follow_rename(struct ps_folder *folder, const char *dir)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	struct stat a, b;

	if (ps_io_open_dir(folder->store->cat.root_fd, dir, &fd) == 0 && fstat(fd, &a) == 0 &&
	    fstat(folder->dir_fd, &b) == 0 && (a.st_ino != b.st_ino || a.st_dev != b.st_dev))
		dup3(fd, folder->dir_fd, O_CLOEXEC);
	memcpy(folder->dir, dir, strlen(dir) + 1);
}

/* `lies`: where the directory lies now; NULL: where its name says. */
static int get(struct ps_store *store, const struct ps_index_box *box, const char *lies, struct ps_folder **ret_folder)
{
	char dir[NAME_SIZE];
	struct ps_folder *folder;
	int fds[3], r;

	if ((r = dir_of_name(store->tree, box->name, dir)) < 0)
		return r;
	pthread_mutex_lock(&store->cat.mutex);
	if ((folder = find(store, box->key)) != NULL) {
		folder->refs++;
		if (strcmp(folder->dir, dir) != 0)
			follow_rename(folder, dir);
	} else if ((r = open_folder_dirs(store, lies ? lies : dir, fds)) == 0) {
		folder = ps_zalloc(sizeof *folder);
		*folder = (struct ps_folder){.next = store->folders,
					     .store = store,
					     .refs = 1,
					     .key = box->key,
					     .dir_fd = fds[0],
					     .cur_fd = fds[1],
					     .new_fd = fds[2]};
		memcpy(folder->dir, dir, sizeof dir);
		store->folders = folder;
	}
	pthread_mutex_unlock(&store->cat.mutex);
	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_GONE, "the directory %s is not there", dir);
	if (r == 0)
		*ret_folder = folder;
	return r;
}

int folder_get(struct ps_store *store, const struct ps_index_box *box, struct ps_folder **ret_folder)
{
	return get(store, box, NULL, ret_folder);
}

int folder_get_aside(struct ps_store *store, const struct ps_index_box *box, const char *lies,
		     struct ps_folder **ret_folder)
{
	return get(store, box, lies, ret_folder);
}

void folder_put(struct ps_folder *folder)
{
	struct ps_store *store;
	struct ps_folder **link;

	if (!folder)
		return;
	store = folder->store;
	pthread_mutex_lock(&store->cat.mutex);
	if (--folder->refs > 0) {
		pthread_mutex_unlock(&store->cat.mutex);
		return;
	}
	for (link = &store->folders; *link != folder;)
		link = &(*link)->next;
	*link = folder->next;
	pthread_mutex_unlock(&store->cat.mutex);
	watch_detach(&folder->watch);
	close_all((int[3]){folder->dir_fd, folder->cur_fd, folder->new_fd});
	free(folder);
}

int folder_fd(const struct ps_folder *folder, enum place place)
{
	return place == PLACE_CUR ? folder->cur_fd : folder->new_fd;
}

int folder_times(const struct ps_folder *folder, uint64_t ret_times[2])
{
	int fds[2] = {folder->cur_fd, folder->new_fd};
	struct timespec now;
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &now);
	for (int i = 0; i < 2; i++) {
		int64_t age;

		if (fstat(fds[i], &st) < 0)
			return ps_fail_errno("stat %s", folder->dir);
		age = (now.tv_sec - st.st_mtim.tv_sec) * INT64_C(1000000000) + now.tv_nsec - st.st_mtim.tv_nsec;
		ret_times[i] =
			age < FRESH_NS ? 0 : (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	}
	return 0;
}

int open_listing(int dirfd, DIR **ret_dir)
{
	DIR *dir;
	int fd, r = ps_io_open_dir(dirfd, ".", &fd);

	if (r < 0)
		return r;
	dir = fdopendir(fd);
	if (!dir) {
		r = ps_fail_errno("list a directory");
		close(fd);
		return r;
	}
	*ret_dir = dir;
	return 0;
}

/* ---- making and removing directories --------------------------------------------------------- */

static int make_dir(int dirfd, const char *name, int *ret_fd)
{
	if (ps_io.mkdir(dirfd, name, 0700) < 0)
		return ps_fail_errno("create directory %s", name);
	return ps_io_open_dir(dirfd, name, ret_fd);
}

static int make_parts(int dirfd, const struct mailbox_state *state)
{
	static const char *const parts[] = {"cur", "new", "tmp"};
	int r;

	for (size_t i = 0; i < PS_ARRAY_LEN(parts); i++)
		if (ps_io.mkdir(dirfd, parts[i], 0700) < 0)
			return ps_fail_errno("create directory %s", parts[i]);
	/* An empty file by which Maildir++ tells a folder from an account. */
	if ((r = ps_io_replace(dirfd, "maildirfolder", ps_bytes("", 0))) < 0)
		return r;
	return ps_state_write(dirfd, MAILBOX_STATE, state, sizeof *state);
}

int folder_make(struct ps_store *store, const char *aside_name, const struct mailbox_state *state)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	int r;

	if ((r = make_dir(store->cat.aside_fd, aside_name, &fd)) == 0)
		r = make_parts(fd, state);
	if (r < 0)
		remove_tree(store->cat.aside_fd, aside_name);
	return r;
}

static void remove_below(int dirfd)
{
	struct dirent *entry;
	DIR *dir;

	if (open_listing(dirfd, &dir) < 0)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    ps_io.unlink(dirfd, entry->d_name, 0) < 0)
			remove_tree(dirfd, entry->d_name);
	closedir(dir);
}

/* A mailbox is two levels deep; whatever somebody put deeper below stays, moved aside, and is nobody's mail. */
void remove_tree(int dirfd, const char *name)
{
	static _Thread_local int depth;
	int fd = depth < 8 ? ps_io.open(dirfd, name, O_RDONLY | O_DIRECTORY, 0) : -1;

	if (fd >= 0) {
		depth++;
		remove_below(fd);
		depth--;
		close(fd);
	}
	ps_io.unlink(dirfd, name, AT_REMOVEDIR);
}

void clean_tmp(int dirfd)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	if (open_listing(dirfd, &dir) < 0)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    time(NULL) - st.st_mtime > TMP_AGE && time(NULL) - st.st_ctime > TMP_AGE)
			ps_io.unlink(dirfd, entry->d_name, 0);
	closedir(dir);
}
