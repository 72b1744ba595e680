/* SPDX-License-Identifier: MIT */
/* Users in a PostgreSQL database: one query, with the name as bound parameters. */
#include <libpq-fe.h>
#include <stdlib.h>
#include "postern/error.h"
#include "postern/pool.h"
#include "postern/userdb.h"

static const struct ps_setting settings[] = {
	{.name = "connection",
	 .type = PS_SET_STRING,
	 .secret = true, /* it may hold a password */
	 .help = "how to reach it, as libpq has it: \"host=db.example.org dbname=mail user=postern\"; must be set"},
	{.name = "query",
	 .type = PS_SET_STRING,
	 .help = "SELECT that gives one row for a user, its columns named as fields; :user, :local and :domain stand "
		 "for "
		 "the name and its parts; must be set"},
	{.name = NULL},
};

#define STATEMENT "find"

/* In the order of their numbers, from $1. */
static const char *const parameters[] = {"user", "local", "domain"};

struct database {
	PGconn *pg;
};

static int fail(const struct database *db, const char *doing)
{
	return ps_fail(PS_E_STORAGE, "PostgreSQL: %s: %s", doing, PQerrorMessage(db->pg));
}

static void pg_close(void *arg)
{
	struct database *db = arg;

	PQfinish(db->pg);
	free(db);
}

/* ---- the query: ":user" becomes "$1" ---------------------------------------------------------- */

/* Octets of a piece in which nothing is replaced: a string, a quoted name, a cast, a comment, or one octet. */
static size_t literal_length(const char *at)
{
	const char *end;

	if (at[0] == ':' && at[1] == ':')
		return 2;
	if (at[0] == '-' && at[1] == '-')
		return strcspn(at, "\n");
	if (at[0] != '\'' && at[0] != '"')
		return 1;
	end = strchr(at + 1, at[0]);
	return end ? (size_t)(end - at) + 1 : strlen(at);
}

static size_t word_length(const char *at)
{
	size_t n = 0;

	while (ps_isalpha(at[n]) || ps_isdigit(at[n]) || at[n] == '_')
		n++;
	return n;
}

static int put_parameter(const char *word, size_t len, struct ps_buf *out)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(parameters); i++)
		if (strlen(parameters[i]) == len && strncmp(parameters[i], word, len) == 0)
			return ps_buf_printf(out, "$%zu::text", i + 1);
	return ps_fail(PS_E_INVALID, "query: there is no parameter :%.*s", (int)len, word);
}

static int translate(const char *query, struct ps_buf *out)
{
	int r = 0;

	while (*query && r == 0) {
		size_t word = query[0] == ':' ? word_length(query + 1) : 0, len = literal_length(query);

		if (word && len == 1) {
			r = put_parameter(query + 1, word, out);
			len += word;
		} else {
			r = ps_buf_append(out, query, len);
		}
		query += len;
	}
	return r;
}

static int prepare(struct database *db, const char *query)
{
	/* text, whatever a column is: bound values are compared as they were written */
	static const Oid types[PS_ARRAY_LEN(parameters)] = {25, 25, 25};
	struct ps_buf text = {0};
	PGresult *result;
	int r = translate(query, &text);

	if (r == 0) {
		result = PQprepare(db->pg, STATEMENT, ps_buf_cstr(&text), (int)PS_ARRAY_LEN(types), types);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			r = fail(db, "query");
		PQclear(result);
	}
	ps_buf_finish(&text);
	return r;
}

/* ---- the driver -------------------------------------------------------------------------------- */

static int pg_open(const struct ps_conf *conf, void **ret_db)
{
	const char *connection = ps_conf_str(conf, "connection"), *query = ps_conf_str(conf, "query");
	struct database *db;
	int r;

	if (!connection || !query)
		return ps_fail(PS_E_INVALID, "postgresql: \"%s\" is not set", connection ? "query" : "connection");
	db = ps_zalloc(sizeof *db);
	db->pg = PQconnectdb(connection);
	r = PQstatus(db->pg) == CONNECTION_OK ? prepare(db, query) : fail(db, "connect");
	if (r < 0)
		pg_close(db);
	else
		*ret_db = db;
	return r;
}

static int put_row(const PGresult *result, const char *name, const struct ps_userdb_fields *fields)
{
	int rows = PQntuples(result);

	if (rows == 0)
		return ps_fail(PS_E_NOTFOUND, "no user %s", name);
	if (rows > 1)
		return ps_fail(PS_E_INVALID, "query: more than one row for user %s", name);
	for (int i = 0; i < PQnfields(result); i++)
		if (!PQgetisnull(result, 0, i))
			fields->put(fields->arg, PQfname(result, i),
				    ps_bytes(PQgetvalue(result, 0, i), (size_t)PQgetlength(result, 0, i)));
	return 0;
}

static int pg_find(void *arg, const char *name, const struct ps_userdb_fields *fields)
{
	struct database *db = arg;
	size_t len = strcspn(name, "@");
	PS_CLEANUP(ps_freep) char *local = ps_strdup(name);
	const char *values[PS_ARRAY_LEN(parameters)] = {name, local, name[len] ? name + len + 1 : ""};
	PGresult *result;
	int r;

	local[len] = '\0';
	result = PQexecPrepared(db->pg, STATEMENT, (int)PS_ARRAY_LEN(values), values, NULL, NULL, 0);
	r = PQresultStatus(result) == PGRES_TUPLES_OK ? put_row(result, name, fields) : fail(db, "query");
	PQclear(result);
	return r;
}

static const struct ps_userdb ops = {
	.open = pg_open,
	.close = pg_close,
	.find = pg_find,
	.connects = true,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_USERDB,
	.ops_size = sizeof(struct ps_userdb),
	.name = "postgresql",
	.summary = "users in a PostgreSQL database",
	.ops = &ops,
	.settings = settings,
};
