/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "auth/names.h"
#include "auth/nets.h"
#include "auth/passwdfile.h"
#include "auth/passwords.h"
#include "core/delivery/route/address.h"
#include "core/store/location.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

struct ps_passwd_file {
	struct ps_pool *pool;
	struct ps_passwd_user **users; /* sorted by name */
	const char *stand_in;
	unsigned serves; /* PS_SERVES_* */
	size_t count, cap;
};

/* The fields of one line while it is read. */
struct line {
	struct ps_pool *pool;
	const struct ps_passwd_defaults *defaults;
	struct ps_passwd_user *user;
	const char *home, *mail, *backend;
	struct ps_bytes key;  /* of the extra field at hand */
	struct ps_buf fields; /* for extensions */
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

static int set_id(const char *what, struct ps_bytes value, uint32_t expected, uint32_t *id)
{
	uint32_t n;

	if (value.len == 0)
		return 0;
	/* What stands there is not told: it may be the rest of a password with a colon in it. */
	if (ps_bytes_u32(value, &n) < 0)
		return ps_fail(PS_E_INVALID, "the %s is not a number", what);
	if (n != expected)
		return ps_fail(PS_E_UNSUPPORTED, "%s %u differs from %u, under which the mail processes run", what, n,
			       expected);
	*id = n;
	return 0;
}

static int extra_uid(struct line *line, struct ps_bytes value)
{
	return set_id("uid", value, line->defaults->uid, &line->user->info.uid);
}

static int extra_gid(struct line *line, struct ps_bytes value)
{
	return set_id("gid", value, line->defaults->gid, &line->user->info.gid);
}

static int extra_home(struct line *line, struct ps_bytes value)
{
	line->home = ps_pool_strndup(line->pool, (const char *)value.ptr, value.len);
	return 0;
}

static int extra_mail(struct line *line, struct ps_bytes value)
{
	line->mail = ps_pool_strndup(line->pool, (const char *)value.ptr, value.len);
	return 0;
}

static int extra_backend(struct line *line, struct ps_bytes value)
{
	line->backend = ps_pool_strndup(line->pool, (const char *)value.ptr, value.len);
	return value.len ? 0 : ps_fail(PS_E_INVALID, "\"backend\" is empty");
}

static int extra_allow_nets(struct line *line, struct ps_bytes value)
{
	line->user->allow_nets = ps_pool_strndup(line->pool, (const char *)value.ptr, value.len);
	if (!ps_nets_valid(line->user->allow_nets))
		return ps_fail(PS_E_INVALID, "allow_nets: \"%s\" is not a list of networks", line->user->allow_nets);
	return 0;
}

static int extra_nologin(struct line *line, struct ps_bytes value)
{
	(void)value;
	line->user->nologin = true;
	return 0;
}

/* For an extension, which knows what it means. `key=value`, as it stands in the line. */
static int extra_kept(struct line *line, struct ps_bytes value)
{
	return ps_buf_printf(&line->fields, "%s%.*s=%.*s", line->fields.len ? " " : "", (int)line->key.len,
			     (const char *)line->key.ptr, (int)value.len, (const char *)value.ptr);
}

static int extra_ignored(struct line *line, struct ps_bytes value)
{
	(void)line;
	(void)value;
	return 0;
}

/* Extra fields that are understood; what is harmless to pass over is said so. All else is an error,
 * because it may be there to keep somebody out. */
static const struct extra {
	const char *key;
	int (*set)(struct line *line, struct ps_bytes value);
} extras[] = {
	{"mail", extra_mail},
	{"backend", extra_backend},
	{"home", extra_home},
	{"uid", extra_uid},
	{"gid", extra_gid},
	{"allow_nets", extra_allow_nets},
	{"nologin", extra_nologin},
	{"reason", extra_ignored},
	{"quota_rule", extra_kept},
	{"quota", extra_ignored},
	{"quota_storage", extra_kept},
	{"quota_messages", extra_kept},
};

static int read_extra(struct line *line, struct ps_bytes field)
{
	struct ps_bytes value = field, key = take_field(&value, '=');

	if (key.len > 7 && memcmp(key.ptr, "userdb_", 7) == 0)
		key = ps_bytes_skip(key, 7);
	for (size_t i = 0; i < PS_ARRAY_LEN(extras); i++)
		if (ps_bytes_eq_str(key, extras[i].key)) {
			line->key = key;
			return extras[i].set(line, value);
		}
	return ps_fail(PS_E_UNSUPPORTED, "extra field \"%.*s\" is not supported", (int)key.len, (const char *)key.ptr);
}

/* ---- where the mail is ----------------------------------------------------------------------- */

static bool has_dots(const char *path)
{
	struct ps_bytes rest = ps_bytes_str(path);

	while (rest.len)
		if (ps_bytes_eq_str(take_field(&rest, '/'), ".."))
			return true;
	return false;
}

static int set_root(struct line *line, const char *below, const char *location)
{
	const char *mail_root = line->defaults->mail_root;
	size_t len = strlen(mail_root);
	struct ps_buf out = {.limit = PATH_MAX};
	const char *root;
	int r = 0;

	if (below)
		ps_buf_printf(&out, "%s/", below);
	r = ps_location_expand(location, line->user->info.name, line->home, &out);
	while (out.len > 1 && out.ptr[out.len - 1] == '/')
		out.len--;
	root = ps_pool_strdup(line->pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	if (r < 0)
		return r;
	while (len && mail_root[len - 1] == '/')
		len--;
	if (strncmp(root, mail_root, len) != 0 || root[len] != '/' || !root[len + 1] || has_dots(root))
		return ps_fail(PS_E_INVALID, "mail location %s is not below mail_root %s", root, mail_root);
	line->user->info.root = root;
	return 0;
}

/* What `domain "example.test" { }` says, or NULL. */
static const char *domain_says(const struct line *line, const char *setting)
{
	const struct ps_conf *root = line->defaults->root;
	const char *at = strchr(line->user->info.name, '@');

	for (size_t i = 0; at && root && i < ps_conf_section_count(root, "domain"); i++) {
		const struct ps_conf *domain = ps_conf_section(root, "domain", i);

		if (ps_domain_same(ps_conf_title(domain), at + 1))
			return ps_conf_str(domain, setting);
	}
	return NULL;
}

/* "maildir:~/Maildir". The user's own counts first, then the domain's, then the server's. */
static int set_location(struct line *line)
{
	const char *colon = line->mail ? strchr(line->mail, ':') : NULL;
	const char *backend = line->backend ? line->backend : domain_says(line, "backend");
	const char *location = domain_says(line, "mail_location");

	line->user->info.backend = backend ? backend : line->defaults->backend;
	if (!line->mail || !*line->mail)
		return set_root(line, line->defaults->mail_root, location ? location : line->defaults->mail_location);
	if (!colon)
		return set_root(line, NULL, line->mail);
	if (strchr(colon + 1, ':'))
		return ps_fail(PS_E_UNSUPPORTED, "mail location %s: options after the path are not supported",
			       line->mail);
	line->user->info.backend = ps_pool_strndup(line->pool, line->mail, (size_t)(colon - line->mail));
	return set_root(line, NULL, colon + 1);
}

static int read_name(struct line *line, struct ps_bytes field)
{
	struct ps_buf name = {0};
	int r = ps_user_name_normalise(field, line->defaults->default_domain, &name);

	if (r == 0)
		line->user->info.name = ps_pool_strdup(line->pool, ps_buf_cstr(&name));
	ps_buf_finish(&name);
	return r;
}

static int read_line(struct line *line, struct ps_bytes text)
{
	struct ps_user_info *info = &line->user->info;
	struct ps_bytes field;
	int r;

	if (ps_bytes_find(text, '\0') >= 0)
		return ps_fail(PS_E_INVALID, "holds a NUL octet");
	info->uid = line->defaults->uid;
	info->gid = line->defaults->gid;
	if ((r = read_name(line, take_field(&text, ':'))) < 0)
		return r;
	field = take_field(&text, ':');
	line->user->password = ps_pool_strndup(line->pool, (const char *)field.ptr, field.len);
	if ((r = ps_password_stored_check(line->user->password)) < 0 ||
	    (r = extra_uid(line, take_field(&text, ':'))) < 0 || (r = extra_gid(line, take_field(&text, ':'))) < 0)
		return r;
	take_field(&text, ':'); /* gecos */
	field = take_field(&text, ':');
	if (field.len)
		extra_home(line, field);
	take_field(&text, ':'); /* shell */
	while (text.len) {
		field = take_field(&text, ' ');
		if (field.len && (r = read_extra(line, field)) < 0)
			return r;
	}
	if ((r = set_location(line)) < 0)
		return r;
	if (line->fields.len > 0)
		info->fields = ps_pool_strdup(line->pool, ps_buf_cstr(&line->fields));
	info->home = line->home ? line->home : info->root;
	return 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

static void add_line(struct ps_passwd_file *file, struct ps_bytes text, const char *path, unsigned number,
		     const struct ps_passwd_defaults *defaults)
{
	struct line line = {.pool = file->pool,
			    .defaults = defaults,
			    .user = PS_NEW(file->pool, struct ps_passwd_user),
			    .fields = {.limit = PS_USER_FIELDS_MAX}};
	int r = read_line(&line, text);

	ps_buf_finish(&line.fields);
	if (r < 0) {
		ps_logf(PS_LOG_ERROR, "passwd_file_line", NULL, "%s:%u: %s; line passed over", path, number,
			ps_last_error());
		return;
	}
	file->users = ps_pool_grow(file->pool, file->users, file->count, &file->cap, sizeof *file->users);
	file->users[file->count++] = line.user;
}

static int by_name(const void *a, const void *b)
{
	const struct ps_passwd_user *const *x = a, *const *y = b;

	return strcmp((*x)->info.name, (*y)->info.name);
}

static int by_name_and_line(const void *a, const void *b)
{
	const struct ps_passwd_user *const *x = a, *const *y = b;
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

int ps_passwd_file_parse(struct ps_bytes text, const char *path, const struct ps_passwd_defaults *defaults,
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
	for (size_t i = 0; i < file->count; i++)
		file->serves |= ps_password_serves(file->users[i]->password);
	*ret_file = file;
	return 0;
}

void ps_passwd_defaults_from(const struct ps_conf *root, uid_t uid, gid_t gid, struct ps_passwd_defaults *ret_defaults)
{
	*ret_defaults = (struct ps_passwd_defaults){
		.default_domain = ps_conf_str(root, "default_domain"),
		.mail_root = ps_conf_str(root, "mail_root"),
		.mail_location = ps_conf_str(root, "mail_location"),
		.backend = ps_conf_str(root, "backend"),
		.root = root,
		.uid = uid,
		.gid = gid,
	};
}

int ps_passwd_file_open(const struct ps_conf *root, uid_t uid, gid_t gid, struct ps_passwd_file **ret_file)
{
	const char *path = ps_conf_str(root, "passwd_file");
	PS_CLEANUP(ps_closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct ps_passwd_defaults defaults;
	struct ps_buf text = {0};
	int r;

	if (!path)
		return ps_fail(PS_E_NOTFOUND, "no passwd_file is set");
	if (fd < 0)
		return ps_fail_errno("open %s", path);
	ps_passwd_defaults_from(root, uid, gid, &defaults);
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

const struct ps_passwd_user *ps_passwd_file_find(const struct ps_passwd_file *file, const char *name)
{
	struct ps_passwd_user key = {.info.name = name}, *at = &key, **found;

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

const struct ps_passwd_user *ps_passwd_file_nth(const struct ps_passwd_file *file, size_t n)
{
	return file->users[n];
}
