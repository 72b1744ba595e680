/* SPDX-License-Identifier: MIT */
/* Users in an SQLite database: one query, with the name as bound parameters. */
#include <sqlite3.h>
#include <stdlib.h>
#include "postern/error.h"
#include "postern/pool.h"
#include "postern/userdb.h"

#define BUSY_MS 5000 /* somebody else writes */

static const struct ps_setting settings[] = {
	{.name = "path", .type = PS_SET_STRING, .help = "the database file; must be set"},
	{.name = "query",
	 .type = PS_SET_STRING,
	 .help = "SELECT that gives one row for a user, its columns named as fields; :user, :local and :domain stand "
		 "for "
		 "the name and its parts; must be set"},
	{.name = NULL},
};

struct database {
	sqlite3 *sqlite;
	sqlite3_stmt *query;
};

static int fail(struct database *db, const char *doing)
{
	return ps_fail(PS_E_STORAGE, "SQLite: %s: %s", doing, sqlite3_errmsg(db->sqlite));
}

static void sqlite_close(void *arg)
{
	struct database *db = arg;

	sqlite3_finalize(db->query);
	sqlite3_close(db->sqlite);
	free(db);
}

/* A parameter that would never be bound is NULL, which finds nobody: better to say so. */
static int check_parameters(struct database *db)
{
	static const char *const known[] = {":user", ":local", ":domain"};

	for (int i = 1; i <= sqlite3_bind_parameter_count(db->query); i++) {
		const char *name = sqlite3_bind_parameter_name(db->query, i);
		bool is_known = false;

		for (size_t k = 0; name && k < PS_ARRAY_LEN(known); k++)
			is_known = is_known || strcmp(known[k], name) == 0;
		if (!is_known)
			return ps_fail(PS_E_INVALID, "query: there is no parameter %s", name ? name : "?");
	}
	return 0;
}

static int prepare(struct database *db, const char *path, const char *query)
{
	const char *rest = "";

	if (sqlite3_open_v2(path, &db->sqlite, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return fail(db, path);
	sqlite3_busy_timeout(db->sqlite, BUSY_MS);
	if (sqlite3_prepare_v3(db->sqlite, query, -1, SQLITE_PREPARE_PERSISTENT, &db->query, &rest) != SQLITE_OK)
		return fail(db, "query");
	if (!db->query || rest[strspn(rest, " \t\r\n;")])
		return ps_fail(PS_E_INVALID, "query: must be one statement");
	return check_parameters(db);
}

static int sqlite_open(const struct ps_conf *conf, void **ret_db)
{
	const char *path = ps_conf_str(conf, "path"), *query = ps_conf_str(conf, "query");
	struct database *db;
	int r;

	if (!path || !query)
		return ps_fail(PS_E_INVALID, "sqlite: \"%s\" is not set", path ? "query" : "path");
	db = ps_zalloc(sizeof *db);
	r = prepare(db, path, query);
	if (r < 0)
		sqlite_close(db);
	else
		*ret_db = db;
	return r;
}

static int bind(struct database *db, const char *parameter, const char *text, size_t len)
{
	int index = sqlite3_bind_parameter_index(db->query, parameter);

	if (index == 0)
		return 0;
	return sqlite3_bind_text(db->query, index, text, (int)len, SQLITE_TRANSIENT) == SQLITE_OK ? 0
												  : fail(db, parameter);
}

static int bind_name(struct database *db, const char *name)
{
	size_t local = strcspn(name, "@");
	const char *domain = name[local] ? name + local + 1 : "";
	int r;

	if ((r = bind(db, ":user", name, strlen(name))) < 0 || (r = bind(db, ":local", name, local)) < 0)
		return r;
	return bind(db, ":domain", domain, strlen(domain));
}

static void put_row(struct database *db, const struct ps_userdb_fields *fields)
{
	for (int i = 0; i < sqlite3_column_count(db->query); i++) {
		const unsigned char *text = sqlite3_column_text(db->query, i);

		if (text)
			fields->put(fields->arg, sqlite3_column_name(db->query, i),
				    ps_bytes(text, (size_t)sqlite3_column_bytes(db->query, i)));
	}
}

static int run(struct database *db, const char *name, const struct ps_userdb_fields *fields)
{
	int r = bind_name(db, name), step;

	if (r < 0)
		return r;
	step = sqlite3_step(db->query);
	if (step == SQLITE_DONE)
		return ps_fail(PS_E_NOTFOUND, "no user %s", name);
	if (step != SQLITE_ROW)
		return fail(db, "query");
	put_row(db, fields);
	step = sqlite3_step(db->query);
	if (step == SQLITE_ROW)
		return ps_fail(PS_E_INVALID, "query: more than one row for user %s", name);
	return step == SQLITE_DONE ? 0 : fail(db, "query");
}

static int sqlite_find(void *arg, const char *name, const struct ps_userdb_fields *fields)
{
	struct database *db = arg;
	int r = run(db, name, fields);

	sqlite3_reset(db->query);
	sqlite3_clear_bindings(db->query);
	return r;
}

/* The folder: journals lie beside the file. */
static const struct ps_userdb_place places[] = {
	{.setting = "path", .folder = true},
	{NULL, NULL, false, false},
};

static const struct ps_userdb ops = {
	.open = sqlite_open,
	.close = sqlite_close,
	.find = sqlite_find,
	.places = places,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_USERDB,
	.ops_size = sizeof(struct ps_userdb),
	.name = "sqlite",
	.summary = "users in an SQLite database",
	.ops = &ops,
	.settings = settings,
};
