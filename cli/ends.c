/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/ends.h"
#include "core/process/plugins.h"
#include "core/store/mount.h"
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
	end->backend = backend;
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

/* ---- mounts ---------------------------------------------------------------------------------- */

#define MOUNTS_DIR "postern-control/mounts"

/* As the name of a folder: %2F for a slash. */
static const char *folder_of(struct ps_pool *pool, const char *name)
{
	struct ps_buf out = {0};
	const char *folder;

	for (const char *c = name; *c; c++) {
		if (*c == '/' || *c == '%' || (*c == '.' && c == name))
			ps_buf_printf(&out, "%%%02X", (unsigned)*c);
		else
			ps_buf_char(&out, *c);
	}
	folder = ps_pool_strdup(pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return folder;
}

static const char *name_of(struct ps_pool *pool, const char *folder)
{
	struct ps_buf out = {0};
	unsigned octet;
	const char *name;

	for (const char *c = folder; *c; c++) {
		if (*c == '%' && sscanf(c, "%%%2X", &octet) == 1 && c[2]) {
			ps_buf_char(&out, (char)octet);
			c += 2;
		} else {
			ps_buf_char(&out, *c);
		}
	}
	name = ps_pool_strdup(pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return name;
}

/* With the rights of the end it belongs to. */
static int make_mount(struct cli *cli, const struct cli_end *end, const char *name, const char *backend,
		      const char *root, struct cli_end *ret_mount)
{
	struct cli_end mount = {.is_user = end->is_user};
	int r;

	mount.end.name = ps_pool_printf(cli->pool, "%s, mount %s", end->end.name, name);
	mount.end.as_owner = end->end.as_owner;
	mount.end.uid = end->end.uid;
	mount.end.gid = end->end.gid;
	mount.args.user = end->args.user;
	mount.args.root = root;
	if ((r = set_backend(cli, &mount, backend)) == 0)
		*ret_mount = mount;
	return r;
}

static int mounts_of_user(struct cli *cli, const struct cli_end *end, struct cli_mount **ret_mounts, size_t *ret_count)
{
	struct ps_mount_place *places;
	struct cli_mount *mounts;
	size_t count;

	if (ps_mount_places(ps_config_root(cli->config), end->args.user, cli->pool, &places, &count) < 0) {
		cli_failed();
		return PS_E_INVALID;
	}
	mounts = PS_NEWV(cli->pool, struct cli_mount, count);
	for (size_t i = 0; i < count; i++) {
		int r = make_mount(cli, end, places[i].name, places[i].backend, places[i].root, &mounts[i].end);

		if (r < 0)
			return r;
		mounts[i].name = places[i].name;
	}
	*ret_mounts = mounts;
	*ret_count = count;
	return 0;
}

static int mount_at_path(struct cli *cli, const struct cli_end *end, const char *name, struct cli_end *ret_mount)
{
	const char *root =
		ps_pool_printf(cli->pool, "%s/" MOUNTS_DIR "/%s", end->args.root, folder_of(cli->pool, name));

	return make_mount(cli, end, name, end->backend, root, ret_mount);
}

static int mounts_at_path(struct cli *cli, const struct cli_end *end, struct cli_mount **ret_mounts, size_t *ret_count)
{
	DIR *dir = opendir(ps_pool_printf(cli->pool, "%s/" MOUNTS_DIR, end->args.root));
	struct cli_mount *mounts = NULL;
	const struct dirent *entry;
	size_t count = 0, cap = 0;
	int r = 0;

	while (dir && r == 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		mounts = ps_pool_grow(cli->pool, mounts, count, &cap, sizeof *mounts);
		mounts[count].name = name_of(cli->pool, entry->d_name);
		r = mount_at_path(cli, end, mounts[count].name, &mounts[count].end);
		count++;
	}
	if (dir)
		closedir(dir);
	*ret_mounts = mounts;
	*ret_count = count;
	return r;
}

int cli_end_mounts(struct cli *cli, const struct cli_end *end, struct cli_mount **ret_mounts, size_t *ret_count)
{
	struct cli_mount *mounts;
	size_t count, n = 0;
	int r = end->is_user ? mounts_of_user(cli, end, &mounts, &count) : mounts_at_path(cli, end, &mounts, &count);

	if (r < 0)
		return r;
	/* One that nobody has used yet is not made for it. */
	for (size_t i = 0; i < count; i++)
		if (access(mounts[i].end.args.root, F_OK) == 0)
			mounts[n++] = mounts[i];
	*ret_mounts = mounts;
	*ret_count = n;
	return 0;
}

int cli_end_mount(struct cli *cli, const struct cli_end *end, const char *name, struct cli_end *ret_mount)
{
	struct cli_mount *mounts;
	size_t count;
	int r;

	if (!end->is_user)
		return mount_at_path(cli, end, name, ret_mount);
	if ((r = mounts_of_user(cli, end, &mounts, &count)) < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (strcmp(mounts[i].name, name) == 0) {
			*ret_mount = mounts[i].end;
			return 0;
		}
	cli_error("%s has no mount %s, where the mail of %s would go", end->end.name, name, name);
	return PS_E_NOTFOUND;
}
