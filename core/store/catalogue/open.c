/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/store/catalogue/catalogue_private.h"

void ps_catalogue_init(struct ps_catalogue *cat, const struct ps_catalogue_files *files,
		       const struct ps_store_args *args)
{
	size_t size = strlen(args->root) + sizeof PS_CATALOGUE_INDEX + 1;

	cat->files = files;
	cat->user = ps_strdup(args->user);
	cat->root = ps_strdup(args->root);
	cat->index_path = ps_malloc(size);
	snprintf(cat->index_path, size, "%s/%s", args->root, PS_CATALOGUE_INDEX);
	cat->generation = args->generation;
	cat->root_fd = cat->control_fd = cat->aside_fd = cat->lock_fd = -1;
	pthread_mutex_init(&cat->writer, NULL);
	pthread_mutex_init(&cat->mutex, NULL);
}

void ps_catalogue_finish(struct ps_catalogue *cat)
{
	int *fds[] = {&cat->root_fd, &cat->control_fd, &cat->aside_fd, &cat->lock_fd};

	ps_index_close(cat->index);
	for (size_t i = 0; i < PS_ARRAY_LEN(fds); i++)
		ps_closep(fds[i]);
	ps_buf_finish(&cat->brought);
	pthread_mutex_destroy(&cat->writer);
	pthread_mutex_destroy(&cat->mutex);
	free(cat->user);
	free(cat->root);
	free(cat->index_path);
}

static int make_parents(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST) {
			int r = ps_fail_errno("create %s", path);

			*at = '/';
			return r;
		}
		*at = '/';
	}
	return 0;
}

static int open_root(struct ps_catalogue *cat, bool create)
{
	int r;

	if (create) {
		if ((r = make_parents(cat->root)) < 0)
			return r;
		if (mkdir(cat->root, 0700) < 0 && errno != EEXIST)
			return ps_fail_errno("create %s", cat->root);
	}
	cat->root_fd = open(cat->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return cat->root_fd < 0 ? ps_fail_errno("open %s", cat->root) : 0;
}

int ps_catalogue_make_dir(int dirfd, const char *name, int *ret_fd)
{
	if (ps_io.mkdir(dirfd, name, 0700) == 0) {
		int r = ps_io_sync_dir(dirfd, name);

		if (r < 0)
			return r;
	} else if (errno != EEXIST) {
		return ps_fail_errno("create %s", name);
	}
	return ps_io_open_dir(dirfd, name, ret_fd);
}

int ps_catalogue_open_dirs(struct ps_catalogue *cat, const struct ps_store_args *args)
{
	int r;

	if (args->root[0] != '/')
		return ps_fail(PS_E_INVALID, "the mail location of %s is not absolute", args->user);
	/* A store with a later generation is not made but found. */
	r = open_root(cat, args->create && args->generation <= 1);
	if (r == PS_E_NOTFOUND && args->generation > 1)
		return ps_fail(PS_E_MOVED, "the store of %s is not at %s", args->user, args->root);
	if (r < 0 || (r = ps_catalogue_make_dir(cat->root_fd, PS_CATALOGUE_CONTROL, &cat->control_fd)) < 0 ||
	    (r = ps_catalogue_make_dir(cat->control_fd, "aside", &cat->aside_fd)) < 0)
		return r;
	cat->lock_fd = ps_io.open(cat->control_fd, "lock", O_RDWR | O_CREAT, 0600);
	return cat->lock_fd < 0 ? ps_fail_errno("open the lock file") : 0;
}

int ps_catalogue_open(struct ps_store *store, int (*ready)(struct ps_store *store))
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	int r = ps_catalogue_lock(store);

	if (r < 0)
		return r;
	cat->generation = cat->stored_generation;
	r = ready(store);
	ps_catalogue_unlock(store);
	return r;
}
