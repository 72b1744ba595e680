/* SPDX-License-Identifier: MIT */
/*
 * The file is text, replaced as a whole:
 *
 *     postern-quota 1
 *     storage OCTETS
 *     messages NUMBER
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>
#include "extensions/quota/quota.h"
#include "postern/error.h"
#include "postern/io.h"

#define NAME  "quota"
#define FIRST "postern-quota 1\n"

enum {
	FILE_MAX = 256
};

static int parse(struct ps_buf *file, struct ps_usage *ret_limit)
{
	struct ps_usage limit;
	int end = 0;

	if (sscanf(ps_buf_cstr(file), FIRST "storage %" SCNu64 " messages %" SCNu64 " %n", &limit.octets,
		   &limit.messages, &end) != 2 ||
	    (size_t)end != file->len)
		return ps_fail(PS_E_CORRUPT, "it is damaged");
	*ret_limit = limit;
	return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A file is never written twice, so what is opened after the look is as old as that or newer, and then read again. */
static int read_file(const char *dir, struct ps_usage *ret_limit)
{
	PS_CLEANUP(ps_buf_finish) struct ps_buf file = {0};
	PS_CLEANUP(ps_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return ps_fail_errno("open %s", dir);
	r = ps_io_read_file(fd, NAME, FILE_MAX, &file);
	return r < 0 ? r : parse(&file, ret_limit);
}

/* PS_E_NOTFOUND: there is none. */
static int stat_file(const char *dir, struct stat *ret_st)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/" NAME, dir) >= (int)sizeof path)
		return ps_fail(PS_E_NOTFOUND, "no file has so long a path");
	return lstat(path, ret_st) < 0 ? ps_fail_errno("look at %s", path) : 0;
}

/* What cannot be read just now is tried again, and what was known of it stays. */
int quota_own_look(const char *dir, struct quota_own *own)
{
	struct quota_own now = {.set = true};
	int r = stat_file(dir, &now.seen);

	if (r == 0) {
		if (is_same(&now.seen, &own->seen))
			return 0;
		r = read_file(dir, &now.limit);
	}
	if (r == PS_E_NOTFOUND || r == PS_E_CORRUPT)
		now.set = false;
	if (r == 0 || !now.set)
		*own = now;
	return r < 0 && r != PS_E_NOTFOUND ? ps_fail((enum ps_err)r, "%s/" NAME ": %s", dir, ps_last_error()) : 0;
}

static int remove_file(int fd, const char *dir)
{
	if (ps_io.unlink(fd, NAME, 0) < 0)
		return errno == ENOENT ? 0 : ps_fail_errno("removing %s/" NAME, dir);
	return ps_io_sync_dir(fd, dir);
}

int quota_own_write(const char *dir, const struct ps_usage *limit)
{
	PS_CLEANUP(ps_buf_finish) struct ps_buf file = {0};
	PS_CLEANUP(ps_closep) int fd = -1;
	int r = limit ? ps_io_make_dir(dir) : 0;

	if (r < 0)
		return r;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return !limit && errno == ENOENT ? 0 : ps_fail_errno("open %s", dir);
	if (!limit)
		return remove_file(fd, dir);
	ps_buf_printf(&file, FIRST "storage %" PRIu64 "\nmessages %" PRIu64 "\n", limit->octets, limit->messages);
	return ps_io_replace(fd, NAME, ps_buf_view(&file));
}
