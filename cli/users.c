/* SPDX-License-Identifier: MIT */
/*
 * Who a user is. The passwd-file is read here. Databases are asked by the running server, which may reach what a command cannot; where
 * none runs, their drivers are asked here, each in a process with the rights that the server's would have.
 */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "auth/entry_json.h"
#include "auth/names.h"
#include "auth/passwdfile.h"
#include "auth/passwdfile_edit.h"
#include "cli/cli.h"
#include "core/process/control.h"
#include "core/process/plugins.h"
#include "postern/userdb.h"

#define FIELDS_MAX 16384

struct search {
	struct cli *cli;
	const struct ps_conf *root;
	const char *name; /* in its one spelling */
	uid_t uid;
	gid_t gid;
	struct ps_user_entry *entry;
};

/* ---- the passwd-file ------------------------------------------------------------------------- */

static int find_in_file(struct search *search)
{
	struct ps_passwd_file *file;
	const struct ps_user_entry *entry;
	int r;

	if (!ps_conf_str(search->root, "passwd_file"))
		return ps_fail(PS_E_NOTFOUND, "there is no passwd-file");
	if ((r = ps_passwd_file_open(search->root, search->uid, search->gid, &file)) < 0)
		return ps_fail(PS_E_ACCESS, "%s", ps_last_error());
	entry = ps_passwd_file_find(file, search->name);
	if (entry)
		ps_entry_copy(search->cli->pool, entry, search->entry);
	ps_passwd_file_destroy(file);
	return entry ? 0 : PS_E_NOTFOUND;
}

/* ---- the running server ---------------------------------------------------------------------- */

/* PS_E_CLOSED: no server runs. */
static int ask_server(struct search *search)
{
	json_t *request = json_pack("{s:s, s:s}", "do", "user", "name", search->name), *answer;
	PS_CLEANUP(ps_freep) char *line = json_dumps(request, JSON_COMPACT);
	PS_CLEANUP(ps_buf_finish) struct ps_buf said = {0};
	const json_t *user;
	int r = ps_control_ask_line(ps_conf_str(search->root, "run_dir"), line, &said);

	json_decref(request);
	if (r < 0)
		return r == PS_E_NOTFOUND ? PS_E_CLOSED : r;
	answer = json_loadb(ps_buf_cstr(&said), said.len, 0, NULL);
	user = json_object_get(answer, "user");
	if (!json_is_true(json_object_get(answer, "ok")))
		r = ps_fail(PS_E_AGAIN, "%s: %s", search->name,
			    json_is_string(json_object_get(answer, "error"))
				    ? json_string_value(json_object_get(answer, "error"))
				    : "the server does not say who that is");
	else
		r = json_is_object(user) ? ps_entry_from_json(user, search->cli->pool, search->entry) : PS_E_NOTFOUND;
	json_decref(answer);
	return r;
}

/* ---- a database, without a server ------------------------------------------------------------ */

static void put_field(void *arg, const char *field, struct ps_bytes value)
{
	struct ps_buf *fields = arg;

	ps_buf_append(fields, field, strlen(field) + 1);
	ps_buf_bytes(fields, value);
	ps_buf_char(fields, '\0');
}

static int become(const struct ps_conf *conf)
{
	const char *name = ps_conf_str(conf, "user");
	const struct passwd *user;
	struct ps_user_info info = {0};

	if (geteuid() != 0)
		return 0;
	if (!(user = getpwnam(name)))
		return ps_fail(PS_E_NOTFOUND, "there is no system user \"%s\"", name);
	info.uid = user->pw_uid;
	info.gid = user->pw_gid;
	return cli_become(&info);
}

static int ask_driver(const struct ps_conf *conf, const char *name, struct ps_buf *fields)
{
	const struct ps_userdb *driver = ps_userdb_find(ps_conf_str(conf, "driver"));
	const struct ps_userdb_fields put = {put_field, fields};
	void *db;
	int r;

	if (!driver)
		return ps_fail(PS_E_NOTFOUND, "there is no driver \"%s\"", ps_conf_str(conf, "driver"));
	if ((r = become(conf)) < 0 || (r = driver->open(conf, &db)) < 0)
		return r == PS_E_NOTFOUND ? PS_E_AGAIN : r;
	r = driver->find(db, name, &put);
	driver->close(db);
	return r == 0 && fields->failed ? ps_fail(PS_E_LIMIT, "the fields are too long") : r;
}

/* In the process that asks: an error; then fields, "name\0value\0" ..., or what is wrong. */
static _Noreturn void ask_and_tell(const struct ps_conf *conf, const char *name, int fd)
{
	struct ps_buf fields = {.limit = FIELDS_MAX}, whole = {0};
	int r = ask_driver(conf, name, &fields);

	ps_buf_append(&whole, &r, sizeof r);
	if (r < 0)
		ps_buf_str(&whole, ps_last_error());
	else
		ps_buf_bytes(&whole, ps_buf_view(&fields));
	_exit(write(fd, whole.ptr, whole.len) == (ssize_t)whole.len ? EXIT_SUCCESS : EXIT_FAILURE);
}

static int read_answer(int fd, struct ps_buf *out)
{
	uint8_t octets[FIELDS_MAX];
	ssize_t n;

	while ((n = read(fd, octets, sizeof octets)) != 0)
		if (n > 0)
			ps_buf_append(out, octets, (size_t)n);
		else if (errno != EINTR)
			return ps_fail_errno("read");
	return 0;
}

static int ask_process(const struct ps_conf *conf, const char *name, struct ps_buf *ret_fields)
{
	int fds[2], r;
	pid_t pid;

	if (pipe(fds) < 0)
		return ps_fail_errno("pipe");
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		ask_and_tell(conf, name, fds[1]);
	}
	close(fds[1]);
	r = pid < 0 ? ps_fail_errno("fork") : read_answer(fds[0], ret_fields);
	close(fds[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (r == 0 && ret_fields->len < sizeof r)
		return ps_fail(PS_E_CLOSED, "its process died");
	if (r == 0) {
		memcpy(&r, ret_fields->ptr, sizeof r);
		ps_buf_consume(ret_fields, sizeof r);
	}
	return r < 0 && ret_fields->len ? ps_fail((enum ps_err)r, "%s", ps_buf_cstr(ret_fields)) : r;
}

static int make_entry(struct search *search, size_t n, struct ps_bytes fields)
{
	struct ps_user_defaults defaults;
	struct ps_entry_maker maker = {.pool = search->cli->pool, .defaults = &defaults, .entry = search->entry};
	struct ps_user_entry shared;
	int r;

	ps_user_defaults_from(search->root, search->uid, search->gid, &defaults);
	ps_entry_begin(&maker, search->name);
	r = ps_entry_set_all(&maker, fields);
	search->entry->database = (unsigned)n;
	shared = *search->entry;
	if (r == 0)
		ps_entry_copy(search->cli->pool, &shared, search->entry);
	return r;
}

/* One that cannot tell ends the search, as in the server. */
static int ask_databases(struct search *search)
{
	int r = PS_E_NOTFOUND;

	for (size_t i = 0; i < ps_conf_section_count(search->root, "userdb") && r == PS_E_NOTFOUND; i++) {
		const struct ps_conf *conf = ps_conf_section(search->root, "userdb", i);
		struct ps_buf fields = {0};

		r = ask_process(conf, search->name, &fields);
		if (r == 0)
			r = make_entry(search, i, ps_buf_view(&fields));
		if (r < 0 && r != PS_E_NOTFOUND)
			r = ps_fail(PS_E_AGAIN, "userdb %s: %s", ps_conf_title(conf), ps_last_error());
		ps_buf_wipe(&fields);
	}
	return r;
}

/* ---- any of them ----------------------------------------------------------------------------- */

static int find(struct search *search)
{
	bool databases = ps_conf_section_count(search->root, "userdb") > 0;
	const char *file = ps_conf_str(search->root, "passwd_file");
	int r = find_in_file(search);

	if (r == PS_E_NOTFOUND && databases && (r = ask_server(search)) == PS_E_CLOSED)
		r = ask_databases(search);
	if (r == PS_E_NOTFOUND)
		return ps_fail(r, "there is no user \"%s\"%s%s%s", search->name, file ? " in " : "", file ? file : "",
			       !databases ? ""
			       : file     ? ", nor in a user database"
					  : " in a user database");
	return r;
}

int cli_look_up(struct cli *cli, const char *name, struct ps_user_entry *ret_entry)
{
	PS_CLEANUP(ps_buf_finish) struct ps_buf spelling = {0};
	struct search search = {.cli = cli, .entry = ret_entry, .root = ps_config_root(cli->config)};
	int r;

	if ((r = cli_mail_ids(cli, &search.uid, &search.gid)) < 0)
		return ps_fail((enum ps_err)r, "the mail would be nobody's");
	if (!ps_conf_str(search.root, "passwd_file") && ps_conf_section_count(search.root, "userdb") == 0)
		return ps_fail(PS_E_INVALID, "%s: there is neither passwd_file nor userdb", cli_config_path(cli));
	if ((r = ps_user_name_normalise(ps_bytes_str(name), ps_conf_str(search.root, "default_domain"), &spelling)) < 0)
		return r;
	search.name = ps_pool_strdup(cli->pool, ps_buf_cstr(&spelling));
	return find(&search);
}

int cli_find_entry(struct cli *cli, const char *name, struct ps_user_entry *ret_entry)
{
	int r;

	if (cli_load(cli) < 0)
		return PS_E_INVALID;
	r = cli_look_up(cli, name, ret_entry);
	if (r < 0)
		cli_failed();
	return r;
}

int cli_find_user(struct cli *cli, const char *name, struct ps_user_info *ret_info)
{
	struct ps_user_entry entry;
	int r = cli_find_entry(cli, name, &entry);

	if (r == 0)
		*ret_info = entry.info;
	return r;
}

void cli_tell_unlisted(struct cli *cli)
{
	const struct ps_conf *root = ps_config_root(cli->config);
	struct ps_buf names = {0};

	for (size_t i = 0; i < ps_conf_section_count(root, "userdb"); i++)
		ps_buf_printf(&names, "%s %s", i ? "," : "", ps_conf_title(ps_conf_section(root, "userdb", i)));
	if (names.len > 0)
		cli_error("users in databases are not among them, as these are asked for one name at a time: userdb%s",
			  ps_buf_cstr(&names));
	ps_buf_finish(&names);
}

struct each {
	struct cli *cli;
	const struct ps_passwd_file *file;
	int (*fn)(void *arg, const struct ps_user_info *info);
	void *arg;
};

static int each_one(void *arg, const char *name)
{
	struct each *each = arg;
	const struct ps_user_entry *user = ps_passwd_file_find(each->file, name);
	struct ps_user_entry entry;

	if (!user) {
		cli_error("%s: the line has an error: passed over", name);
		return 0;
	}
	ps_entry_copy(each->cli->pool, user, &entry);
	return each->fn(each->arg, &entry.info);
}

int cli_each_user(struct cli *cli, int (*fn)(void *arg, const struct ps_user_info *info), void *arg)
{
	const char *path = cli_passwd_file(cli);
	struct each each = {.cli = cli, .fn = fn, .arg = arg};
	struct ps_passwd_file *file;
	uid_t uid;
	gid_t gid;
	int r;

	if (!path || cli_mail_ids(cli, &uid, &gid) < 0)
		return PS_E_INVALID;
	r = ps_passwd_file_open(ps_config_root(cli->config), uid, gid, &file);
	if (r == 0) {
		each.file = file;
		r = ps_passwd_file_list(path, ps_conf_str(ps_config_root(cli->config), "default_domain"), each_one,
					&each);
		ps_passwd_file_destroy(file);
	}
	if (r < 0)
		cli_failed();
	else
		cli_tell_unlisted(cli);
	return r;
}
