/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"

static uint64_t mtime_ns(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * 1000000000 + (uint64_t)st->st_mtim.tv_nsec;
}

bool box_is_as(const struct ps_index_box *box, const struct stat *st)
{
	return box->priv[BOX_INO] == (uint64_t)st->st_ino && box->priv[BOX_SIZE] == (uint64_t)st->st_size &&
	       box->priv[BOX_MTIME] == mtime_ns(st);
}

void box_note(struct ps_index_box *box, const struct stat *st)
{
	box->priv[BOX_INO] = (uint64_t)st->st_ino;
	box->priv[BOX_SIZE] = (uint64_t)st->st_size;
	box->priv[BOX_MTIME] = mtime_ns(st);
}

static struct ps_folder *find(struct ps_store *store, uint64_t key)
{
	struct ps_folder *folder = store->folders;

	while (folder && folder->key != key)
		folder = folder->next;
	return folder;
}

static int open_folder(struct ps_store *store, uint64_t key, const char *path, struct ps_folder **ret_folder)
{
	int fd = ps_io.open(store->cat.root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct ps_folder *folder;

	if (fd < 0)
		return ps_fail_errno("open %s", path);
	folder = ps_zalloc(sizeof *folder);
	folder->store = store;
	folder->key = key;
	folder->fd = fd;
	folder->refs = 1;
	snprintf(folder->path, sizeof folder->path, "%s", path);
	folder->next = store->folders;
	*ret_folder = store->folders = folder;
	return 0;
}

int folder_get(struct ps_store *store, const struct ps_index_box *box, struct ps_folder **ret_folder)
{
	char path[PATH_SIZE];
	struct ps_folder *folder;
	int r;

	if ((r = path_of_name(store, box->name, path)) < 0)
		return r;
	pthread_mutex_lock(&store->cat.mutex);
	if ((folder = find(store, box->key)) != NULL) {
		folder->refs++;
		if (strcmp(folder->path, path) != 0) /* renamed since */
			snprintf(folder->path, sizeof folder->path, "%s", path);
	} else {
		r = open_folder(store, box->key, path, &folder);
	}
	pthread_mutex_unlock(&store->cat.mutex);
	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_GONE, "the file %s is not there", path);
	if (r == 0)
		*ret_folder = folder;
	return r;
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
	close(folder->fd);
	free(folder);
}

void folder_replaced(struct ps_folder *folder, int fd)
{
	int old;

	pthread_mutex_lock(&folder->store->cat.mutex);
	old = folder->fd;
	folder->fd = fd;
	pthread_mutex_unlock(&folder->store->cat.mutex);
	close(old);
}

void folder_moved(struct ps_folder *folder, const char *path)
{
	pthread_mutex_lock(&folder->store->cat.mutex);
	snprintf(folder->path, sizeof folder->path, "%s", path);
	pthread_mutex_unlock(&folder->store->cat.mutex);
}
