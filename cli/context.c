/* SPDX-License-Identifier: MIT */
/* Configuration, users, and whose rights a command has. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "auth/names.h"
#include "auth/passwdfile.h"
#include "auth/passwdfile_edit.h"
#include "cli/cli.h"
#include "core/process/plugins.h"

void cli_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("postern: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int cli_failed(void)
{
	cli_error("%s", ps_last_error());
	return CLI_FAILED;
}

const char *cli_config_path(const struct cli *cli)
{
	const char *path = cli->option[CLI_OPT_CONFIG];

	if (!path)
		path = getenv("POSTERN_CONFIG");
	return path && *path ? path : PS_SYSCONFDIR "/postern/postern.conf";
}

bool cli_has_config(const struct cli *cli)
{
	return cli->option[CLI_OPT_CONFIG] || getenv("POSTERN_CONFIG") || access(cli_config_path(cli), F_OK) == 0;
}

int cli_load_plugins(void)
{
	static const enum ps_plugin_kind kinds[] = {PS_PLUGIN_BACKEND, PS_PLUGIN_PROTOCOL, PS_PLUGIN_EXTENSION,
						    PS_PLUGIN_USERDB};
	int r = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(kinds) && r >= 0; i++)
		r = ps_plugins_load_all(NULL, kinds[i]);
	return r;
}

int cli_load(struct cli *cli)
{
	struct ps_buf errors = {0};
	int r;

	if (cli->config)
		return 0;
	if (cli_load_plugins() < 0) {
		cli_failed();
		return PS_E_INVALID;
	}
	r = ps_config_read(cli_config_path(cli), ps_bytes(NULL, 0), &errors, &cli->config);
	if (r < 0)
		fprintf(stderr, "%s", ps_buf_cstr(&errors));
	ps_buf_finish(&errors);
	return r;
}

const char *cli_passwd_file(struct cli *cli)
{
	const char *path;

	if (cli_load(cli) < 0)
		return NULL;
	path = ps_conf_str(ps_config_root(cli->config), "passwd_file");
	if (!path)
		cli_error("%s: the setting passwd_file names no file", cli_config_path(cli));
	return path;
}

int cli_mail_ids(struct cli *cli, uid_t *ret_uid, gid_t *ret_gid)
{
	const char *name;
	const struct passwd *entry;

	if (cli_load(cli) < 0)
		return PS_E_INVALID;
	*ret_uid = geteuid();
	*ret_gid = getegid();
	if (geteuid() != 0)
		return 0;
	name = ps_conf_str(ps_config_root(cli->config), "user_mail");
	entry = getpwnam(name);
	if (!entry) {
		cli_error("there is no system user \"%s\", which the setting user_mail names", name);
		return PS_E_NOTFOUND;
	}
	*ret_uid = entry->pw_uid;
	*ret_gid = entry->pw_gid;
	return 0;
}

static void copy_info(struct ps_pool *pool, const struct ps_user_info *from, struct ps_user_info *to)
{
	*to = *from;
	to->name = ps_pool_strdup(pool, from->name);
	to->home = ps_pool_strdup(pool, from->home);
	to->backend = ps_pool_strdup(pool, from->backend);
	to->root = ps_pool_strdup(pool, from->root);
	to->fields = ps_pool_strdup(pool, from->fields);
}

static const struct ps_user_entry *look_up(struct cli *cli, const struct ps_passwd_file *file, const char *name)
{
	struct ps_buf spelling = {0};
	const char *domain = ps_conf_str(ps_config_root(cli->config), "default_domain");
	const struct ps_user_entry *user = NULL;

	if (ps_user_name_normalise(ps_bytes_str(name), domain, &spelling) < 0)
		cli_failed();
	else if (!(user = ps_passwd_file_find(file, ps_buf_cstr(&spelling))))
		cli_error("there is no user \"%s\" in %s", ps_buf_cstr(&spelling),
			  ps_conf_str(ps_config_root(cli->config), "passwd_file"));
	ps_buf_finish(&spelling);
	return user;
}

int cli_find_user(struct cli *cli, const char *name, struct ps_user_info *ret_info)
{
	struct ps_passwd_file *file;
	const struct ps_user_entry *user;
	uid_t uid;
	gid_t gid;

	if (!cli_passwd_file(cli) || cli_mail_ids(cli, &uid, &gid) < 0)
		return PS_E_INVALID;
	if (ps_passwd_file_open(ps_config_root(cli->config), uid, gid, &file) < 0) {
		cli_failed();
		return PS_E_INVALID;
	}
	user = look_up(cli, file, name);
	if (user)
		copy_info(cli->pool, &user->info, ret_info);
	ps_passwd_file_destroy(file);
	return user ? 0 : PS_E_NOTFOUND;
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
	struct ps_user_info info;

	if (!user) {
		cli_error("%s: the line has an error: passed over", name);
		return 0;
	}
	copy_info(each->cli->pool, &user->info, &info);
	return each->fn(each->arg, &info);
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
	return r;
}

int cli_become(const struct ps_user_info *info)
{
	if (geteuid() != 0)
		return 0;
	umask(077);
	if (setgroups(0, NULL) < 0 || setgid(info->gid) < 0 || setuid(info->uid) < 0)
		return ps_fail_errno("acting as uid %ld", (long)info->uid);
	return 0;
}

int cli_as_user(struct cli *cli, const struct ps_user_info *info,
		int (*work)(struct cli *cli, const struct ps_user_info *info))
{
	pid_t pid;
	int status;

	if (geteuid() != 0)
		return work(cli, info);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int code = cli_become(info) < 0 ? cli_failed() : work(cli, info);

		_exit(fflush(NULL) == 0 ? code : CLI_FAILED);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		cli_error("starting a process for %s: %s", info->name, strerror(errno));
		return CLI_FAILED;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILED;
}
