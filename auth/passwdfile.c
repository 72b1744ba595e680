/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "auth/names.h"
#include "auth/passwdfile.h"
#include "auth/passwords.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

struct ps_passwd_file {
	struct ps_pool *pool;
	struct ps_user_entry **users; /* sorted by name */
	const char *stand_in;
	unsigned serves; /* PS_SERVES_* */
	size_t count, cap;
};

/* ---- pieces ---------------------------------------------------------------------------------- */

bool ps_passwd_line(struct ps_bytes *rest, struct ps_bytes *ret_line)
{
	ptrdiff_t lf = ps_bytes_find(*rest, '\n');
	struct ps_bytes line = lf < 0 ? *rest : ps_bytes(rest->ptr, (size_t)lf);

	if (rest->len == 0)
		return false;
	*rest = ps_bytes_skip(*rest, line.len + (lf >= 0));
	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	*ret_line = line;
	return true;
}

int ps_passwd_read_fd(int fd, const char *path, struct ps_buf *out)
{
	struct stat st;
	size_t size;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return ps_fail_errno("%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > PS_PASSWD_FILE_MAX)
		return ps_fail(PS_E_INVALID, "%s: not a regular file of less than %u octets", path, PS_PASSWD_FILE_MAX);
	/* One more, to see the end even if the file grows meanwhile. */
	size = (size_t)st.st_size + 1;
	do {
		uint8_t *at = ps_buf_reserve(out, size);

		if (!at)
			return PS_E_LIMIT;
		n = pread(fd, at, size, (off_t)out->len);
		if (n < 0 && errno != EINTR)
			return ps_fail_errno("read %s", path);
		out->len += n > 0 ? (size_t)n : 0;
	} while (n != 0 && out->len < PS_PASSWD_FILE_MAX);
	return 0;
}

static struct ps_bytes take_field(struct ps_bytes *rest, char separator)
{
	ptrdiff_t at = ps_bytes_find(*rest, (uint8_t)separator);
	struct ps_bytes field = at < 0 ? *rest : ps_bytes(rest->ptr, (size_t)at);

	*rest = ps_bytes_skip(*rest, field.len + (at >= 0));
	return field;
}

/* ---- what a line says ------------------------------------------------------------------------ */

static int read_name(struct ps_entry_maker *maker, struct ps_bytes field)
{
	struct ps_buf name = {0};
	int r = ps_user_name_normalise(field, maker->defaults->default_domain, &name);

	if (r == 0)
		ps_entry_begin(maker, ps_buf_cstr(&name));
	ps_buf_finish(&name);
	return r;
}

/* A line knows no blanks within a field: in the reason, an underscore is one. */
static int read_reason(struct ps_entry_maker *maker, struct ps_bytes key, struct ps_bytes value)
{
	char *text = ps_pool_strndup(maker->pool, (const char *)value.ptr, value.len);

	for (char *at = text; *at; at++)
		if (*at == '_')
			*at = ' ';
	return ps_entry_set(maker, key, ps_bytes_str(text));
}

static int read_extra(struct ps_entry_maker *maker, struct ps_bytes field)
{
	struct ps_bytes value = field, key = take_field(&value, '=');

	if (ps_bytes_eq_str(key, "password") || ps_bytes_eq_str(key, "userdb_password"))
		return ps_fail(PS_E_UNSUPPORTED, "a password is no extra field");
	if (ps_bytes_eq_str(key, "reason"))
		return read_reason(maker, key, value);
	return ps_entry_set(maker, key, value);
}

static int read_line(struct ps_entry_maker *maker, struct ps_bytes text)
{
	/* What stands where: name:password:uid:gid:gecos:home:shell:extra fields. NULL: nothing that we need. */
	static const char *const columns[] = {"password", "uid", "gid", NULL, "home", NULL};
	int r;

	if (ps_bytes_find(text, '\0') >= 0)
		return ps_fail(PS_E_INVALID, "holds a NUL octet");
	if ((r = read_name(maker, take_field(&text, ':'))) < 0)
		return r;
	for (size_t i = 0; i < PS_ARRAY_LEN(columns); i++) {
		struct ps_bytes field = take_field(&text, ':');

		if (columns[i] && (r = ps_entry_set(maker, ps_bytes_str(columns[i]), field)) < 0)
			return r;
	}
	while (text.len) {
		struct ps_bytes field = take_field(&text, ' ');

		if (field.len && (r = read_extra(maker, field)) < 0)
			return r;
	}
	return ps_entry_end(maker);
}

/* ---- the file -------------------------------------------------------------------------------- */

static void add_line(struct ps_passwd_file *file, struct ps_bytes text, const char *path, unsigned number,
		     const struct ps_user_defaults *defaults)
{
	struct ps_entry_maker maker = {
		.pool = file->pool, .defaults = defaults, .entry = PS_NEW(file->pool, struct ps_user_entry)};

	if (read_line(&maker, text) < 0) {
		ps_logf(PS_LOG_ERROR, "passwd_file_line", NULL, "%s:%u: %s; line passed over", path, number,
			ps_last_error());
		return;
	}
	maker.entry->line = number;
	file->users = ps_pool_grow(file->pool, file->users, file->count, &file->cap, sizeof *file->users);
	file->users[file->count++] = maker.entry;
}

static int by_name(const void *a, const void *b)
{
	const struct ps_user_entry *const *x = a, *const *y = b;

	return strcmp((*x)->info.name, (*y)->info.name);
}

static int by_name_and_line(const void *a, const void *b)
{
	const struct ps_user_entry *const *x = a, *const *y = b;
	int order = by_name(a, b);

	return order ? order : (int)((*x)->line - (*y)->line);
}

/* Keeps the first of equal names: the list is sorted by name, and within a name in the file's
 * order. */
static void drop_doubles(struct ps_passwd_file *file, const char *path)
{
	size_t kept = 0;

	for (size_t i = 0; i < file->count; i++) {
		if (kept && strcmp(file->users[kept - 1]->info.name, file->users[i]->info.name) == 0)
			ps_logf(PS_LOG_ERROR, "passwd_file_line", NULL,
				"%s: user %s is there twice; the first line counts", path, file->users[i]->info.name);
		else
			file->users[kept++] = file->users[i];
	}
	file->count = kept;
}

/* A file has few methods; of more, the later ones are not counted. */
enum {
	COSTS_MAX = 16
};

struct cost {
	struct ps_bytes what;
	const char *example;
	size_t users;
};

static struct cost *cost_of(struct cost costs[COSTS_MAX], const char *stored)
{
	struct ps_bytes what = ps_password_cost(stored);

	for (size_t i = 0; i < COSTS_MAX; i++) {
		if (!costs[i].example)
			costs[i] = (struct cost){.what = what, .example = stored};
		if (ps_bytes_eq(costs[i].what, what))
			return &costs[i];
	}
	return NULL;
}

static bool is_better(const struct cost *cost, const struct cost *best)
{
	if (!best->example || (cost->what.len > 0) != (best->what.len > 0))
		return !best->example || cost->what.len > 0;
	return cost->users > best->users;
}

static const char *choose_stand_in(const struct ps_passwd_file *file)
{
	struct cost costs[COSTS_MAX] = {0}, best = {0};

	for (size_t i = 0; i < file->count; i++) {
		struct cost *cost = cost_of(costs, file->users[i]->password);

		if (cost)
			cost->users++;
	}
	for (size_t i = 0; i < COSTS_MAX && costs[i].example; i++)
		if (is_better(&costs[i], &best))
			best = costs[i];
	return best.example;
}

int ps_passwd_file_parse(struct ps_bytes text, const char *path, const struct ps_user_defaults *defaults,
			 struct ps_passwd_file **ret_file)
{
	struct ps_passwd_file *file = ps_zalloc(sizeof *file);
	unsigned number = 0;
	struct ps_bytes line;

	file->pool = ps_pool_create("passwd-file");
	while (ps_passwd_line(&text, &line)) {
		number++;
		if (line.len && line.ptr[0] != '#')
			add_line(file, line, path, number, defaults);
	}
	if (file->count)
		qsort(file->users, file->count, sizeof *file->users, by_name_and_line);
	drop_doubles(file, path);
	file->stand_in = choose_stand_in(file);
	file->serves = file->count ? PS_SERVES_ALL : 0;
	for (size_t i = 0; i < file->count; i++)
		file->serves &= ps_password_serves(file->users[i]->password);
	*ret_file = file;
	return 0;
}

int ps_passwd_file_open(const struct ps_conf *root, uid_t uid, gid_t gid, struct ps_passwd_file **ret_file)
{
	const char *path = ps_conf_str(root, "passwd_file");
	PS_CLEANUP(ps_closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct ps_user_defaults defaults;
	struct ps_buf text = {0};
	int r;

	if (!path)
		return ps_fail(PS_E_NOTFOUND, "no passwd_file is set");
	if (fd < 0)
		return ps_fail_errno("open %s", path);
	ps_user_defaults_from(root, uid, gid, &defaults);
	r = ps_passwd_read_fd(fd, path, &text);
	if (r == 0)
		r = ps_passwd_file_parse(ps_buf_view(&text), path, &defaults, ret_file);
	ps_buf_wipe(&text);
	return r;
}

void ps_passwd_file_destroy(struct ps_passwd_file *file)
{
	if (!file)
		return;
	ps_pool_destroy(file->pool);
	free(file);
}

const struct ps_user_entry *ps_passwd_file_find(const struct ps_passwd_file *file, const char *name)
{
	struct ps_user_entry key = {.info.name = name}, *at = &key, **found;

	found = file->count ? bsearch(&at, file->users, file->count, sizeof *file->users, by_name) : NULL;
	return found ? *found : NULL;
}

const char *ps_passwd_file_stand_in(const struct ps_passwd_file *file)
{
	return file->stand_in;
}

unsigned ps_passwd_file_serves(const struct ps_passwd_file *file)
{
	return file->serves;
}

size_t ps_passwd_file_count(const struct ps_passwd_file *file)
{
	return file->count;
}

const struct ps_user_entry *ps_passwd_file_nth(const struct ps_passwd_file *file, size_t n)
{
	return file->users[n];
}
