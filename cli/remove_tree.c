/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "cli/remove_tree.h"
#include "postern/error.h"
#include "postern/pool.h"

#define DEPTH_MAX 64

static int remove_at(int parent, const char *name, int depth);

static int empty_folder(DIR *dir, const char *name, int depth)
{
	const struct dirent *entry;

	while (errno = 0, (entry = readdir(dir))) {
		int r;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		r = remove_at(dirfd(dir), entry->d_name, depth + 1);
		if (r < 0)
			return r;
	}
	return errno ? ps_fail_errno("reading the folder %s", name) : 0;
}

static int remove_at(int parent, const char *name, int depth)
{
	DIR *dir;
	int fd, r;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return ps_fail_errno("removing %s", name);
	if (depth > DEPTH_MAX)
		return ps_fail(PS_E_LIMIT, "removing %s: more than %d folders within each other", name, DEPTH_MAX);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return ps_fail_errno("removing %s", name);
	dir = fdopendir(fd);
	if (!dir) {
		r = ps_fail_errno("removing %s", name);
		close(fd);
		return r;
	}
	r = empty_folder(dir, name, depth);
	closedir(dir);
	if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = ps_fail_errno("removing the folder %s", name);
	return r;
}

int cli_remove_tree(const char *path)
{
	return remove_at(AT_FDCWD, path, 0);
}
