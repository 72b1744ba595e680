/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "postern/error.h"
#include "postern/io.h"
#include "postern/pool.h"

/* Old kernels and strict sandboxes have no openat2(): every path we open has one component or two, both below a
 * directory that is ours, so O_NOFOLLOW on the last one is what can be had there. */
static int sys_open(int dirfd, const char *path, int flags, mode_t mode)
{
	static atomic_bool missing;
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	if (!atomic_load_explicit(&missing, memory_order_relaxed)) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
		if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
			return (int)fd;
		if (errno == ENOSYS)
			atomic_store_explicit(&missing, true, memory_order_relaxed);
	}
	return openat(dirfd, path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
}

static int sys_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	if (renameat2(from_dir, from, to_dir, to, flags) == 0)
		return 0;
	if (!(flags & RENAME_NOREPLACE) || (errno != EINVAL && errno != ENOSYS))
		return -1;
	if (linkat(from_dir, from, to_dir, to, 0) == 0)
		return unlinkat(from_dir, from, 0);
	if (errno != EPERM && errno != EISDIR)
		return -1;
	/* A directory: rename() replaces an empty one only, and no mailbox of ours is empty. */
	return renameat(from_dir, from, to_dir, to);
}

static int sys_link(int from_dir, const char *from, int to_dir, const char *to)
{
	return linkat(from_dir, from, to_dir, to, 0);
}

/* The empty path works where the kernel lets the opener do so (Linux 6.10), the other one where /proc is there. */
static int sys_link_file(int fd, int to_dir, const char *to)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, to_dir, to, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	return errno == ENOENT || errno == EACCES || errno == EPERM ? linkat(fd, "", to_dir, to, AT_EMPTY_PATH) : -1;
}

static int sys_allocate(int fd, off_t offset, off_t len)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, len);
}

struct ps_io ps_io = {
	.open = sys_open,
	.pread = pread,
	.write = write,
	.pwrite = pwrite,
	.truncate = ftruncate,
	.fdatasync = fdatasync,
	.fsync = fsync,
	.rename = sys_rename,
	.link = sys_link,
	.link_file = sys_link_file,
	.allocate = sys_allocate,
	.unlink = unlinkat,
	.mkdir = mkdirat,
};

int ps_io_write_all(int fd, struct ps_bytes octets)
{
	while (octets.len > 0) {
		ssize_t n = ps_io.write(fd, octets.ptr, octets.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ps_fail_errno("write");
		octets = ps_bytes_skip(octets, (size_t)n);
	}
	return 0;
}

int ps_io_pwrite_all(int fd, struct ps_bytes octets, off_t offset)
{
	while (octets.len > 0) {
		ssize_t n = ps_io.pwrite(fd, octets.ptr, octets.len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ps_fail_errno("write");
		octets = ps_bytes_skip(octets, (size_t)n);
		offset += n;
	}
	return 0;
}

static int read_all(int fd, const char *name, size_t max, struct ps_buf *out)
{
	struct stat st;
	off_t at = 0;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return ps_fail_errno("stat %s", name);
	if (!S_ISREG(st.st_mode))
		return ps_fail(PS_E_CORRUPT, "%s is not a plain file", name);
	do {
		uint8_t *to;

		if ((size_t)at > max)
			return ps_fail(PS_E_LIMIT, "%s is larger than %zu octets", name, max);
		if (!(to = ps_buf_reserve(out, 16384)))
			return PS_E_LIMIT;
		n = ps_io.pread(fd, to, 16384, at);
		if (n < 0 && errno != EINTR)
			return ps_fail_errno("read %s", name);
		out->len += n > 0 ? (size_t)n : 0;
		at += n > 0 ? n : 0;
	} while (n != 0);
	return 0;
}

int ps_io_read_file(int dirfd, const char *name, size_t max, struct ps_buf *out)
{
	PS_CLEANUP(ps_closep) int fd = ps_io.open(dirfd, name, O_RDONLY | O_NONBLOCK, 0);

	if (fd < 0)
		return ps_fail_errno("open %s", name);
	return read_all(fd, name, max, out);
}

static int write_new(int dirfd, const char *name, struct ps_bytes octets)
{
	PS_CLEANUP(ps_closep) int fd = ps_io.open(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	int r;

	if (fd < 0)
		return ps_fail_errno("create %s", name);
	if ((r = ps_io_write_all(fd, octets)) < 0)
		return r;
	return ps_io.fdatasync(fd) < 0 ? ps_fail_errno("sync %s", name) : 0;
}

int ps_io_replace(int dirfd, const char *name, struct ps_bytes octets)
{
	static atomic_uint serial;
	char aside[300];
	int r;

	snprintf(aside, sizeof aside, "%s.%ld.%u.aside", name, (long)getpid(), atomic_fetch_add(&serial, 1));
	ps_io.unlink(dirfd, aside, 0); /* of a process of the same number that died */
	r = write_new(dirfd, aside, octets);
	if (r == 0 && ps_io.rename(dirfd, aside, dirfd, name, 0) < 0)
		r = ps_fail_errno("rename %s", name);
	if (r < 0) {
		ps_io.unlink(dirfd, aside, 0);
		return r;
	}
	return ps_io_sync_dir(dirfd, name);
}

int ps_io_sync_dir(int dirfd, const char *what)
{
	return ps_io.fsync(dirfd) < 0 ? ps_fail_errno("sync the directory of %s", what) : 0;
}

int ps_io_open_dir(int dirfd, const char *path, int *ret_fd)
{
	int fd = ps_io.open(dirfd, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return ps_fail_errno("open directory %s", path);
	*ret_fd = fd;
	return 0;
}

static int sync_parent(const char *path)
{
	PS_CLEANUP(ps_freep) char *parent = ps_strdup(path);
	PS_CLEANUP(ps_closep) int fd = -1;

	fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? 0 : ps_io_sync_dir(fd, path); /* it may be one that we cannot read */
}

int ps_io_make_dir(const char *path)
{
	PS_CLEANUP(ps_freep) char *parent = NULL;
	int r;

	if (ps_io.mkdir(AT_FDCWD, path, 0700) == 0)
		return sync_parent(path);
	if (errno == EEXIST)
		return 0;
	parent = ps_strdup(path);
	if (errno != ENOENT || dirname(parent) != parent || strcmp(parent, path) == 0)
		return ps_fail_errno("create %s", path);
	r = ps_io_make_dir(parent); /* dirname() has cut it */
	return r == 0 ? ps_io_make_dir(path) : r;
}

int ps_io_new_file(int dirfd, const char *prefix, char ret_name[PS_IO_NAME_SIZE], int *ret_fd)
{
	unsigned long long any;
	int fd;

	if (getrandom(&any, sizeof any, 0) != (ssize_t)sizeof any)
		return ps_fail_errno("random octets");
	snprintf(ret_name, PS_IO_NAME_SIZE, "%.12s%016llx", prefix, any);
	if ((fd = ps_io.open(dirfd, ret_name, O_RDWR | O_CREAT | O_EXCL, 0600)) < 0)
		return ps_fail_errno("create %s", ret_name);
	*ret_fd = fd;
	return 0;
}

static void remove_all(int dirfd, const char *prefix)
{
	int fd = ps_io.open(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			ps_io.unlink(dirfd, entry->d_name, 0);
	if (dir)
		closedir(dir);
	else
		ps_closep(&fd);
}

int ps_io_sweep(int dirfd, const char *prefix)
{
	if (flock(dirfd, LOCK_EX | LOCK_NB) == 0)
		remove_all(dirfd, prefix);
	while (flock(dirfd, LOCK_SH) < 0)
		if (errno != EINTR)
			return ps_fail_errno("lock a directory");
	return 0;
}
