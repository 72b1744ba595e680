/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/ends.h"
#include "core/process/plugins.h"
#include "core/store/place.h"

/* Whoever has no configuration can still convert what lies in folders. */
static int load_some_config(struct cli *cli)
{
	if (cli->config)
		return 0;
	if (cli_has_config(cli))
		return cli_load(cli);
	if (cli_load_plugins() < 0 ||
	    ps_config_read("the defaults", ps_bytes_str("mail_root = \"/\"\n"), NULL, &cli->config) < 0) {
		cli_failed();
		return PS_E_INVALID;
	}
	return 0;
}

/* The path of what is there, or will be. */
static const char *absolute(struct cli *cli, const char *path)
{
	PS_CLEANUP(ps_freep) char *real = realpath(path, NULL);
	char here[PATH_MAX];

	if (real)
		return ps_pool_strdup(cli->pool, real);
	if (*path == '/' || !getcwd(here, sizeof here))
		return path;
	return ps_pool_printf(cli->pool, "%s/%s", here, path);
}

/* Root must not leave files of its own in what belongs to others. */
static void act_as_owner(struct cli_end *end, const struct ps_user_info *info)
{
	struct stat st;

	if (geteuid() != 0)
		return;
	end->end.as_owner = true;
	if (info) {
		end->end.uid = info->uid;
		end->end.gid = info->gid;
	} else if (stat(end->args.root, &st) == 0) {
		end->end.uid = st.st_uid;
		end->end.gid = st.st_gid;
	}
}

static int set_backend(struct cli *cli, struct cli_end *end, const char *backend)
{
	end->end.ops = ps_backend_find(backend);
	if (!end->end.ops) {
		cli_error("%s: there is no backend \"%s\"", end->end.name, backend);
		return PS_E_NOTFOUND;
	}
	end->args.conf = ps_conf_plugin(ps_config_root(cli->config), "backend", backend);
	return 0;
}

static int find_user(struct cli *cli, const char *text, struct cli_end *end)
{
	struct ps_user_info info;
	struct ps_place place;
	int r = cli_find_user(cli, text, &info);

	if (r < 0)
		return r;
	end->is_user = true;
	end->end.name = end->args.user = info.name;
	if (ps_place_find(ps_config_root(cli->config), &info, cli->pool, &place) < 0) {
		cli_failed();
		return PS_E_BUSY;
	}
	end->args.root = place.root;
	end->args.generation = place.generation;
	end->exists = place.exists;
	act_as_owner(end, &info);
	return set_backend(cli, end, place.backend);
}

static int find_path(struct cli *cli, const char *text, const char *colon, struct cli_end *end)
{
	const char *backend = ps_pool_strndup(cli->pool, text, (size_t)(colon - text));

	if (!colon[1]) {
		cli_error("%s: a path is missing behind the colon", text);
		return PS_E_INVALID;
	}
	end->args.root = absolute(cli, colon + 1);
	end->end.name = end->args.user = ps_pool_printf(cli->pool, "%s:%s", backend, end->args.root);
	act_as_owner(end, NULL);
	return set_backend(cli, end, backend);
}

int cli_end_find(struct cli *cli, const char *text, struct cli_end *ret_end)
{
	const char *colon = strchr(text, ':');
	struct cli_end end = {.is_user = false};
	int r = load_some_config(cli);

	if (r < 0)
		return r;
	r = colon ? find_path(cli, text, colon, &end) : find_user(cli, text, &end);
	if (r == 0)
		*ret_end = end;
	return r;
}

int cli_end_open(struct cli_end *end, bool create)
{
	end->args.create = create && !end->exists;
	return ps_sync_end_open(&end->end, &end->args);
}

int cli_check_keeps(const char *backend, const char *root)
{
	DIR *dir = opendir(root);
	const struct dirent *entry;
	bool any = false;

	/* The folder of our own records does not count. */
	while (dir && (entry = readdir(dir)))
		any = any || (entry->d_name[0] != '.' && strcmp(entry->d_name, "postern-control") != 0);
	if (dir)
		closedir(dir);
	return any ? 0
		   : ps_fail(PS_E_UNSUPPORTED, "%s: the backend %s keeps nothing on disk: it cannot be copied to", root,
			     backend);
}

void cli_end_close(struct cli_end *end)
{
	ps_sync_end_close(&end->end);
}
