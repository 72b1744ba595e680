/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <string.h>
#include "auth/entry.h"
#include "auth/nets.h"
#include "auth/passwords.h"
#include "core/delivery/route/address.h"
#include "core/store/location.h"
#include "postern/error.h"

enum {
	REASON_MAX = 200
};

static struct ps_bytes take_field(struct ps_bytes *rest, char separator)
{
	ptrdiff_t at = ps_bytes_find(*rest, (uint8_t)separator);
	struct ps_bytes field = at < 0 ? *rest : ps_bytes(rest->ptr, (size_t)at);

	*rest = ps_bytes_skip(*rest, field.len + (at >= 0));
	return field;
}

static const char *text_of(struct ps_entry_maker *maker, struct ps_bytes value)
{
	return ps_pool_strndup(maker->pool, (const char *)value.ptr, value.len);
}

/* ---- fields ---------------------------------------------------------------------------------- */

static int check_id(const char *what, struct ps_bytes value, bool any, uint32_t expected, uint32_t *id)
{
	uint32_t n;

	if (value.len == 0)
		return 0;
	/* What stands there is not told: it may be the rest of a password with a colon in it. */
	if (ps_bytes_u32(value, &n) < 0)
		return ps_fail(PS_E_INVALID, "the %s is not a number", what);
	if (any && n == 0)
		return ps_fail(PS_E_INVALID, "the %s is 0", what);
	if (!any && n != expected)
		return ps_fail(PS_E_UNSUPPORTED, "%s %u differs from %u, under which the mail processes run", what, n,
			       expected);
	*id = n;
	return 0;
}

static int set_uid(struct ps_entry_maker *maker, struct ps_bytes value)
{
	return check_id("uid", value, maker->defaults->own_ids, maker->defaults->uid, &maker->entry->info.uid);
}

static int set_gid(struct ps_entry_maker *maker, struct ps_bytes value)
{
	return check_id("gid", value, maker->defaults->own_ids, maker->defaults->gid, &maker->entry->info.gid);
}

static int set_password(struct ps_entry_maker *maker, struct ps_bytes value)
{
	maker->entry->password = text_of(maker, value);
	return ps_password_stored_check(maker->entry->password);
}

static int set_home(struct ps_entry_maker *maker, struct ps_bytes value)
{
	if (value.len)
		maker->home = text_of(maker, value);
	return 0;
}

static int set_mail(struct ps_entry_maker *maker, struct ps_bytes value)
{
	maker->mail = text_of(maker, value);
	return 0;
}

static int set_backend(struct ps_entry_maker *maker, struct ps_bytes value)
{
	maker->backend = text_of(maker, value);
	return value.len ? 0 : ps_fail(PS_E_INVALID, "\"backend\" is empty");
}

static int set_allow_nets(struct ps_entry_maker *maker, struct ps_bytes value)
{
	maker->entry->allow_nets = text_of(maker, value);
	if (!ps_nets_valid(maker->entry->allow_nets))
		return ps_fail(PS_E_INVALID, "allow_nets: \"%s\" is not a list of networks", maker->entry->allow_nets);
	return 0;
}

static int set_protocols(struct ps_entry_maker *maker, struct ps_bytes value)
{
	maker->entry->protocols = text_of(maker, value);
	return 0;
}

static int set_sessions(struct ps_entry_maker *maker, struct ps_bytes value)
{
	if (ps_bytes_u32(value, &maker->entry->sessions) < 0)
		return ps_fail(PS_E_INVALID, "\"sessions\" is not a number");
	return 0;
}

/* The words for no are those that databases give for it. */
static int set_nologin(struct ps_entry_maker *maker, struct ps_bytes value)
{
	static const char *const no[] = {"0", "n", "no", "f", "false"};

	maker->entry->nologin = true;
	for (size_t i = 0; i < PS_ARRAY_LEN(no); i++)
		if (ps_bytes_caseeq_str(value, no[i]))
			maker->entry->nologin = false;
	return 0;
}

/* It is said to clients, in protocols of lines. */
static int set_reason(struct ps_entry_maker *maker, struct ps_bytes value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] < ' ' || value.ptr[i] == 0x7f)
			return ps_fail(PS_E_INVALID, "\"reason\" holds a control octet");
	if (value.len > REASON_MAX || !ps_utf8_valid(value))
		return ps_fail(PS_E_INVALID, "\"reason\" is not UTF-8 of at most %d octets", REASON_MAX);
	maker->entry->reason = text_of(maker, value);
	return 0;
}

/* For an extension, which knows what it means. */
static int set_kept(struct ps_entry_maker *maker, struct ps_bytes value)
{
	const char *before = maker->entry->info.fields;
	const char *fields = ps_pool_printf(maker->pool, "%s%s%s=%.*s", before ? before : "", before ? " " : "",
					    maker->field, (int)value.len, (const char *)value.ptr);

	if (strlen(fields) > PS_USER_FIELDS_MAX)
		return ps_fail(PS_E_LIMIT, "the fields for extensions are too long");
	maker->entry->info.fields = fields;
	return 0;
}

static int set_ignored(struct ps_entry_maker *maker, struct ps_bytes value)
{
	(void)maker;
	(void)value;
	return 0;
}

/* Fields that are understood; what is harmless to pass over is said so. */
static const struct field {
	const char *name;
	int (*set)(struct ps_entry_maker *maker, struct ps_bytes value);
} fields[] = {
	{"password", set_password},
	{"mail", set_mail},
	{"backend", set_backend},
	{"home", set_home},
	{"uid", set_uid},
	{"gid", set_gid},
	{"allow_nets", set_allow_nets},
	{"protocols", set_protocols},
	{"sessions", set_sessions},
	{"nologin", set_nologin},
	{"reason", set_reason},
	{"quota_rule", set_kept},
	{"quota_storage", set_kept},
	{"quota_messages", set_kept},
	{"quota", set_ignored},
};

int ps_entry_set(struct ps_entry_maker *maker, struct ps_bytes field, struct ps_bytes value)
{
	if (field.len > 7 && memcmp(field.ptr, "userdb_", 7) == 0)
		field = ps_bytes_skip(field, 7);
	for (size_t i = 0; i < PS_ARRAY_LEN(fields); i++) {
		if (!ps_bytes_eq_str(field, fields[i].name))
			continue;
		maker->field = fields[i].name;
		return fields[i].set(maker, value);
	}
	return ps_fail(PS_E_UNSUPPORTED, "field \"%.*s\" is not supported", (int)field.len, (const char *)field.ptr);
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

static int set_root(struct ps_entry_maker *maker, const char *below, const char *location)
{
	const char *mail_root = maker->defaults->mail_root;
	size_t len = strlen(mail_root);
	struct ps_buf out = {.limit = PATH_MAX};
	const char *root;
	int r = 0;

	if (below)
		ps_buf_printf(&out, "%s/", below);
	r = ps_location_expand(location, maker->entry->info.name, maker->home, &out);
	while (out.len > 1 && out.ptr[out.len - 1] == '/')
		out.len--;
	root = ps_pool_strdup(maker->pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	if (r < 0)
		return r;
	while (len && mail_root[len - 1] == '/')
		len--;
	if (strncmp(root, mail_root, len) != 0 || root[len] != '/' || !root[len + 1] || has_dots(root))
		return ps_fail(PS_E_INVALID, "mail location %s is not below mail_root %s", root, mail_root);
	maker->entry->info.root = root;
	return 0;
}

/* What `domain "example.test" { }` says, or NULL. */
static const char *domain_says(const struct ps_entry_maker *maker, const char *setting)
{
	const struct ps_conf *root = maker->defaults->root;
	const char *at = strchr(maker->entry->info.name, '@');

	for (size_t i = 0; at && root && i < ps_conf_section_count(root, "domain"); i++) {
		const struct ps_conf *domain = ps_conf_section(root, "domain", i);

		if (ps_domain_same(ps_conf_title(domain), at + 1))
			return ps_conf_str(domain, setting);
	}
	return NULL;
}

/* "maildir:~/Maildir". The user's own counts first, then the domain's, then the server's. */
static int set_location(struct ps_entry_maker *maker)
{
	const char *colon = maker->mail ? strchr(maker->mail, ':') : NULL;
	const char *backend = maker->backend ? maker->backend : domain_says(maker, "backend");
	const char *location = domain_says(maker, "mail_location");

	maker->entry->info.backend = backend ? backend : maker->defaults->backend;
	if (!maker->mail || !*maker->mail)
		return set_root(maker, maker->defaults->mail_root,
				location ? location : maker->defaults->mail_location);
	if (!colon)
		return set_root(maker, NULL, maker->mail);
	if (strchr(colon + 1, ':'))
		return ps_fail(PS_E_UNSUPPORTED, "mail location %s: options after the path are not supported",
			       maker->mail);
	maker->entry->info.backend = ps_pool_strndup(maker->pool, maker->mail, (size_t)(colon - maker->mail));
	return set_root(maker, NULL, colon + 1);
}

/* ---- the whole ------------------------------------------------------------------------------- */

void ps_user_defaults_from(const struct ps_conf *root, uid_t uid, gid_t gid, struct ps_user_defaults *ret_defaults)
{
	*ret_defaults = (struct ps_user_defaults){
		.default_domain = ps_conf_str(root, "default_domain"),
		.mail_root = ps_conf_str(root, "mail_root"),
		.mail_location = ps_conf_str(root, "mail_location"),
		.backend = ps_conf_str(root, "backend"),
		.root = root,
		.uid = uid,
		.gid = gid,
		.own_ids = strcmp(ps_conf_str(root, "isolation"), "per-user") == 0,
	};
}

void ps_entry_begin(struct ps_entry_maker *maker, const char *name)
{
	*maker->entry = (struct ps_user_entry){
		.info = {.name = ps_pool_strdup(maker->pool, name),
			 .uid = maker->defaults->uid,
			 .gid = maker->defaults->gid},
	};
	maker->home = maker->mail = maker->backend = NULL;
}

int ps_entry_end(struct ps_entry_maker *maker)
{
	int r = set_location(maker);

	if (r == 0)
		maker->entry->info.home = maker->home ? maker->home : maker->entry->info.root;
	return r;
}

static struct ps_bytes take_text(struct ps_bytes *rest)
{
	ptrdiff_t nul = ps_bytes_find(*rest, '\0');
	struct ps_bytes text = nul < 0 ? *rest : ps_bytes(rest->ptr, (size_t)nul);

	*rest = ps_bytes_skip(*rest, text.len + (nul >= 0));
	return text;
}

void ps_field_next(struct ps_bytes *all, struct ps_bytes *ret_name, struct ps_bytes *ret_value)
{
	*ret_name = take_text(all);
	*ret_value = take_text(all);
}

int ps_entry_set_all(struct ps_entry_maker *maker, struct ps_bytes all)
{
	int r = 0;

	while (r == 0 && all.len) {
		struct ps_bytes name, value;

		ps_field_next(&all, &name, &value);
		r = ps_entry_set(maker, name, value);
	}
	return r == 0 ? ps_entry_end(maker) : r;
}

bool ps_protocols_allow(const char *protocols, const char *service)
{
	struct ps_bytes rest = ps_bytes_str(protocols);

	while (rest.len)
		if (ps_bytes_caseeq_str(take_field(&rest, ','), service))
			return true;
	return !protocols;
}

bool ps_entry_allows(const struct ps_user_entry *entry, const char *service)
{
	return ps_protocols_allow(entry->protocols, service);
}

void ps_entry_copy(struct ps_pool *pool, const struct ps_user_entry *entry, struct ps_user_entry *ret_entry)
{
	*ret_entry = *entry;
	ret_entry->info.name = ps_pool_strdup(pool, entry->info.name);
	ret_entry->info.home = ps_pool_strdup(pool, entry->info.home);
	ret_entry->info.backend = ps_pool_strdup(pool, entry->info.backend);
	ret_entry->info.root = ps_pool_strdup(pool, entry->info.root);
	ret_entry->info.fields = ps_pool_strdup(pool, entry->info.fields);
	ret_entry->password = ps_pool_strdup(pool, entry->password);
	ret_entry->allow_nets = ps_pool_strdup(pool, entry->allow_nets);
	ret_entry->protocols = ps_pool_strdup(pool, entry->protocols);
	ret_entry->reason = ps_pool_strdup(pool, entry->reason);
}
