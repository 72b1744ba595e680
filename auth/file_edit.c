/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "auth/file_edit.h"
#include "auth/passwdfile.h"
#include "postern/error.h"
#include "postern/pool.h"

#define LOCK_TRIES 100 /* a tenth of a second each */

struct job {
	const struct ps_file_edit *edit;
	char path[PATH_MAX];
	int lock;
	struct ps_buf old, new;
	bool exists;
	struct stat st;
};

static int take_lock(struct job *job)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof path, "%s.lock", job->path);
	job->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (job->lock < 0)
		return ps_fail_errno("open %s", path);
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(job->lock, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return ps_fail_errno("lock %s", path);
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	}
	return ps_fail(PS_E_BUSY, "%s is locked by somebody else", path);
}

static int read_old(struct job *job)
{
	PS_CLEANUP(ps_closep) int fd = open(job->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && job->edit->may_create)
		return 0;
	if (fd < 0 || fstat(fd, &job->st) < 0)
		return ps_fail_errno("open %s", job->path);
	job->exists = true;
	return ps_passwd_read_fd(fd, job->path, &job->old);
}

static int write_all(int fd, struct ps_bytes text)
{
	while (text.len) {
		ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0 && errno != EINTR)
			return -1;
		text = ps_bytes_skip(text, n > 0 ? (size_t)n : 0);
	}
	return 0;
}

/* The new file gets the old one's owner and mode before a single octet is in it. */
static int fill(struct job *job, int fd, const char *tmp)
{
	if (job->exists && (fchown(fd, job->st.st_uid, job->st.st_gid) < 0 || fchmod(fd, job->st.st_mode & 07777) < 0))
		return ps_fail_errno("owner and mode of %s", tmp);
	if (write_all(fd, ps_buf_view(&job->new)) < 0 || fsync(fd) < 0)
		return ps_fail_errno("write %s", tmp);
	if (rename(tmp, job->path) < 0)
		return ps_fail_errno("rename %s to %s", tmp, job->path);
	return 0;
}

/* Without it the new name may be lost in a power cut. */
static int sync_folder(const char *path)
{
	PS_CLEANUP(ps_freep) char *copy = ps_strdup(path);
	PS_CLEANUP(ps_closep) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return ps_fail_errno("sync the folder of %s", path);
	return 0;
}

static int write_new(struct job *job)
{
	char tmp[PATH_MAX + 16];
	int fd, r;

	snprintf(tmp, sizeof tmp, "%s.XXXXXX", job->path);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return ps_fail_errno("create %s", tmp);
	r = fill(job, fd, tmp);
	close(fd);
	if (r < 0) {
		unlink(tmp);
		return r;
	}
	return sync_folder(job->path);
}

static int find_file(struct job *job, const char *path)
{
	if (realpath(path, job->path))
		return 0;
	if (errno != ENOENT || strlen(path) >= sizeof job->path)
		return ps_fail_errno("%s", path);
	strcpy(job->path, path);
	return 0;
}

int ps_file_edit(const char *path, const struct ps_file_edit *edit)
{
	struct job job = {.edit = edit, .lock = -1, .new = {.limit = PS_PASSWD_FILE_MAX}};
	int r;

	if ((r = find_file(&job, path)) == 0 && (r = take_lock(&job)) == 0 && (r = read_old(&job)) == 0 &&
	    (r = edit->edit(edit->arg, job.path, ps_buf_view(&job.old), &job.new)) == 0)
		r = job.new.failed ? ps_fail(PS_E_LIMIT, "%s: too large", job.path) : write_new(&job);
	ps_closep(&job.lock);
	ps_buf_wipe(&job.old);
	ps_buf_wipe(&job.new);
	return r;
}
