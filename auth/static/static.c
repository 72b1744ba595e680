/* SPDX-License-Identifier: MIT */
/* A user database that stands in the configuration. */
#include "postern/error.h"
#include "postern/pool.h"
#include "postern/userdb.h"

static const struct ps_setting settings[] = {
	{.name = "names", .type = PS_SET_LIST, .help = "users that there are; without any: every name is one"},
	{.name = "fields",
	 .type = PS_SET_LIST,
	 .secret = true, /* the password may be among them */
	 .help = "what is known of each of them, as \"field=value\""},
	{.name = NULL},
};

/* The handle is the section itself. */
static int static_open(const struct ps_conf *conf, void **ret_db)
{
	for (size_t i = 0; i < ps_conf_list_size(conf, "fields"); i++)
		if (!strchr(ps_conf_list_nth(conf, "fields", i), '='))
			return ps_fail(PS_E_INVALID, "\"%s\" is not field=value", ps_conf_list_nth(conf, "fields", i));
	*ret_db = (void *)conf;
	return 0;
}

static void static_close(void *db)
{
	(void)db;
}

static bool is_user(const struct ps_conf *conf, const char *name)
{
	size_t count = ps_conf_list_size(conf, "names");

	for (size_t i = 0; i < count; i++)
		if (ps_strcasecmp(ps_conf_list_nth(conf, "names", i), name) == 0)
			return true;
	return count == 0;
}

static int static_find(void *db, const char *name, const struct ps_userdb_fields *fields)
{
	const struct ps_conf *conf = db;

	if (!is_user(conf, name))
		return ps_fail(PS_E_NOTFOUND, "no user %s", name);
	for (size_t i = 0; i < ps_conf_list_size(conf, "fields"); i++) {
		const char *field = ps_conf_list_nth(conf, "fields", i), *sign = strchr(field, '=');
		PS_CLEANUP(ps_freep) char *key = ps_strdup(field);

		key[sign - field] = '\0';
		fields->put(fields->arg, key, ps_bytes_str(sign + 1));
	}
	return 0;
}

static const struct ps_userdb ops = {
	.open = static_open,
	.close = static_close,
	.find = static_find,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_USERDB,
	.ops_size = sizeof(struct ps_userdb),
	.name = "static",
	.summary = "users that stand in the configuration",
	.ops = &ops,
	.settings = settings,
};
