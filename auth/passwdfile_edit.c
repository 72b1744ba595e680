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
#include "auth/names.h"
#include "auth/passwdfile.h"
#include "auth/passwdfile_edit.h"
#include "postern/error.h"
#include "postern/pool.h"

#define LOCK_TRIES 100 /* a tenth of a second each */

enum edit {
	EDIT_ADD,
	EDIT_SET,
	EDIT_REMOVE
};

/* One change to one file. */
struct job {
	enum edit edit;
	const char *domain, *hash;
	struct ps_buf user;  /* in its one spelling */
	char path[PATH_MAX]; /* of the file itself, not of a symbolic link to it */
	int lock;
	struct ps_buf old, new;
	bool found, exists;
	struct stat st;
};

/* ---- the text -------------------------------------------------------------------------------- */

/* The user field of a line; absent for comments and empty lines. */
static struct ps_bytes user_of(struct ps_bytes line)
{
	ptrdiff_t colon = ps_bytes_find(line, ':');

	if (line.len == 0 || line.ptr[0] == '#' || colon <= 0)
		return ps_bytes(NULL, 0);
	return ps_bytes(line.ptr, (size_t)colon);
}

static bool is_user(struct ps_bytes line, const char *domain, struct ps_bytes user)
{
	struct ps_buf name = {0};
	struct ps_bytes field = user_of(line);
	bool same =
		field.ptr && ps_user_name_normalise(field, domain, &name) == 0 && ps_bytes_eq(ps_buf_view(&name), user);

	ps_buf_finish(&name);
	return same;
}

/* The line with another password field. */
static void put_changed(struct job *job, struct ps_bytes line)
{
	struct ps_bytes user = user_of(line), rest = ps_bytes_skip(line, user.len + 1);
	ptrdiff_t colon = ps_bytes_find(rest, ':');

	ps_buf_bytes(&job->new, user);
	ps_buf_printf(&job->new, ":%s", job->hash);
	if (colon >= 0)
		ps_buf_bytes(&job->new, ps_bytes_skip(rest, (size_t)colon));
	ps_buf_char(&job->new, '\n');
}

static void edit_line(struct job *job, struct ps_bytes line)
{
	if (is_user(line, job->domain, ps_buf_view(&job->user))) {
		job->found = true;
		if (job->edit == EDIT_SET)
			put_changed(job, line);
		if (job->edit != EDIT_ADD)
			return;
	}
	ps_buf_bytes(&job->new, line);
	ps_buf_char(&job->new, '\n');
}

static int edit_text(struct job *job)
{
	struct ps_bytes rest = ps_buf_view(&job->old), line;

	while (ps_passwd_line(&rest, &line))
		edit_line(job, line);
	if (job->edit == EDIT_ADD && job->found)
		return ps_fail(PS_E_EXISTS, "user %s exists", ps_buf_cstr(&job->user));
	if (job->edit != EDIT_ADD && !job->found)
		return ps_fail(PS_E_NOTFOUND, "no user %s in %s", ps_buf_cstr(&job->user), job->path);
	if (job->edit == EDIT_ADD)
		ps_buf_printf(&job->new, "%s:%s::::::\n", ps_buf_cstr(&job->user), job->hash);
	return job->new.failed ? ps_fail(PS_E_LIMIT, "%s: too large", job->path) : 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

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

	if (fd < 0 && errno == ENOENT && job->edit == EDIT_ADD)
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

static int run(const char *path, const char *domain, const char *user, const char *hash, enum edit edit)
{
	struct job job = {
		.edit = edit, .domain = domain, .hash = hash, .lock = -1, .new = {.limit = PS_PASSWD_FILE_MAX}};
	int r;

	if (hash && (strpbrk(hash, ":\n\r") || !*hash))
		return ps_fail(PS_E_INVALID, "a password hash must not hold a colon or a line end");
	if ((r = ps_user_name_normalise(ps_bytes_str(user), domain, &job.user)) == 0 &&
	    (r = find_file(&job, path)) == 0 && (r = take_lock(&job)) == 0 && (r = read_old(&job)) == 0 &&
	    (r = edit_text(&job)) == 0)
		r = write_new(&job);
	ps_closep(&job.lock);
	ps_buf_finish(&job.user);
	ps_buf_wipe(&job.old);
	ps_buf_wipe(&job.new);
	return r;
}

int ps_passwd_file_add(const char *path, const char *default_domain, const char *user, const char *hash)
{
	return run(path, default_domain, user, hash, EDIT_ADD);
}

int ps_passwd_file_set_password(const char *path, const char *default_domain, const char *user, const char *hash)
{
	return run(path, default_domain, user, hash, EDIT_SET);
}

int ps_passwd_file_remove(const char *path, const char *default_domain, const char *user)
{
	return run(path, default_domain, user, NULL, EDIT_REMOVE);
}

int ps_passwd_file_list(const char *path, const char *default_domain, int (*fn)(void *arg, const char *user), void *arg)
{
	PS_CLEANUP(ps_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct ps_buf text = {0}, name = {0};
	struct ps_bytes rest, line;
	int r;

	if (fd < 0)
		return ps_fail_errno("open %s", path);
	r = ps_passwd_read_fd(fd, path, &text);
	rest = ps_buf_view(&text);
	while (r == 0 && ps_passwd_line(&rest, &line)) {
		ps_buf_reset(&name);
		if (user_of(line).ptr && ps_user_name_normalise(user_of(line), default_domain, &name) == 0)
			r = fn(arg, ps_buf_cstr(&name));
	}
	ps_buf_wipe(&text);
	ps_buf_finish(&name);
	return r;
}
