/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "auth/file_edit.h"
#include "auth/names.h"
#include "auth/passwdfile.h"
#include "auth/passwdfile_edit.h"
#include "postern/error.h"
#include "postern/pool.h"

enum edit {
	EDIT_ADD,
	EDIT_SET,
	EDIT_REMOVE
};

/* One change to one file. */
struct job {
	enum edit edit;
	const char *domain, *hash;
	struct ps_buf user; /* in its one spelling */
	struct ps_buf *new;
	bool found;
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

	ps_buf_bytes(job->new, user);
	ps_buf_printf(job->new, ":%s", job->hash);
	if (colon >= 0)
		ps_buf_bytes(job->new, ps_bytes_skip(rest, (size_t)colon));
	ps_buf_char(job->new, '\n');
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
	ps_buf_bytes(job->new, line);
	ps_buf_char(job->new, '\n');
}

static int edit_text(void *arg, const char *path, struct ps_bytes rest, struct ps_buf *new)
{
	struct job *job = arg;
	struct ps_bytes line;

	job->new = new;
	while (ps_passwd_line(&rest, &line))
		edit_line(job, line);
	if (job->edit == EDIT_ADD && job->found)
		return ps_fail(PS_E_EXISTS, "user %s exists", ps_buf_cstr(&job->user));
	if (job->edit != EDIT_ADD && !job->found)
		return ps_fail(PS_E_NOTFOUND, "no user %s in %s", ps_buf_cstr(&job->user), path);
	if (job->edit == EDIT_ADD)
		ps_buf_printf(new, "%s:%s::::::\n", ps_buf_cstr(&job->user), job->hash);
	return 0;
}

/* ---- the changes ----------------------------------------------------------------------------- */

static int run(const char *path, const char *domain, const char *user, const char *hash, enum edit edit)
{
	struct job job = {.edit = edit, .domain = domain, .hash = hash};
	const struct ps_file_edit change = {.may_create = edit == EDIT_ADD, .edit = edit_text, .arg = &job};
	int r;

	if (hash && (strpbrk(hash, ":\n\r") || !*hash))
		return ps_fail(PS_E_INVALID, "a password hash must not hold a colon or a line end");
	r = ps_user_name_normalise(ps_bytes_str(user), domain, &job.user);
	if (r == 0)
		r = ps_file_edit(path, &change);
	ps_buf_finish(&job.user);
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
