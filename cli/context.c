/* SPDX-License-Identifier: MIT */
/* Configuration, and whose rights a command has. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
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
