/* SPDX-License-Identifier: MIT */
/* postern user add|list|passwd|remove|show */
#include <stdio.h>
#include <unistd.h>
#include "auth/entry_json.h"
#include "auth/names.h"
#include "auth/passwdfile.h"
#include "auth/passwdfile_edit.h"
#include "auth/passwords.h"
#include "cli/cli.h"
#include "cli/remove_tree.h"
#include "core/process/control.h"
#include "core/store/mount.h"

static const char *default_domain(struct cli *cli)
{
	return ps_conf_str(ps_config_root(cli->config), "default_domain");
}

/* The one spelling of the name given as first argument. */
static int user_name(struct cli *cli, const char **ret_name)
{
	struct ps_buf name = {0};
	int r = ps_user_name_normalise(ps_bytes_str(cli->args[0]), default_domain(cli), &name);

	if (r == 0)
		*ret_name = ps_pool_strdup(cli->pool, ps_buf_cstr(&name));
	ps_buf_finish(&name);
	return r;
}

static int get_hash(struct cli *cli, const char *user, struct ps_buf *ret_hash)
{
	struct ps_buf password = {0};
	int r = cli_get_password(cli, user, &password);

	if (r == 0)
		r = ps_password_hash(ps_buf_view(&password), cli->option[CLI_OPT_SCHEME], ret_hash);
	ps_buf_wipe(&password);
	return r;
}

/* A running server takes the file in at once; without one there is nothing to tell. */
static void tell_server(struct cli *cli)
{
	struct ps_buf answer = {0};

	(void)ps_control_ask(ps_conf_str(ps_config_root(cli->config), "run_dir"), "users-changed", &answer);
	ps_buf_finish(&answer);
}

static int change(struct cli *cli,
		  int (*edit)(const char *path, const char *domain, const char *user, const char *hash),
		  const char *done)
{
	const char *path = cli_passwd_file(cli), *user;
	struct ps_buf hash = {0};
	int r;

	if (!path)
		return CLI_FAILED;
	if ((r = user_name(cli, &user)) == 0 && (r = get_hash(cli, user, &hash)) == 0)
		r = edit(path, default_domain(cli), user, ps_buf_cstr(&hash));
	ps_buf_wipe(&hash);
	if (r < 0)
		return cli_failed();
	tell_server(cli);
	printf("%s %s\n", user, done);
	return CLI_OK;
}

int cli_user_add(struct cli *cli)
{
	return change(cli, ps_passwd_file_add, "added");
}

int cli_user_passwd(struct cli *cli)
{
	return change(cli, ps_passwd_file_set_password, "has the new password");
}

/* ---- show ------------------------------------------------------------------------------------ */

/* Where the user is known from. */
static const char *source_of(struct cli *cli, const struct ps_user_entry *entry)
{
	const struct ps_conf *root = ps_config_root(cli->config);

	return entry->line ? ps_conf_str(root, "passwd_file")
			   : ps_pool_printf(cli->pool, "userdb %s",
					    ps_conf_title(ps_conf_section(root, "userdb", entry->database)));
}

int cli_user_show(struct cli *cli)
{
	struct ps_user_entry entry;
	json_t *json, *value;
	const char *key;

	if (cli_find_entry(cli, cli->args[0], &entry) < 0)
		return CLI_FAILED;
	json = ps_entry_to_json(&entry);
	json_object_del(json, "database");
	json_object_set_new(json, "source", json_string(source_of(cli, &entry)));
	if (cli_json(cli))
		return cli_print_json(json);
	json_object_foreach(json, key, value)
	{
		PS_CLEANUP(ps_freep) char *text = json_dumps(value, JSON_ENCODE_ANY);

		printf("%-12s %s\n", key, json_is_string(value) ? json_string_value(value) : text);
	}
	json_decref(json);
	return CLI_OK;
}

/* ---- list and remove ------------------------------------------------------------------------- */

struct listing {
	struct cli *cli;
	const struct ps_passwd_file *file;
	json_t *json; /* NULL: print */
};

/* A line with an error has a name and nothing else that could be believed. */
static int list_one(void *arg, const char *name)
{
	struct listing *l = arg;
	const struct ps_user_entry *user = ps_passwd_file_find(l->file, name);

	if (!l->json)
		printf("%s%s\n", name, user ? "" : "  (the line has an error: this user cannot log in)");
	else if (user)
		json_array_append_new(l->json,
				      json_pack("{s:s, s:b, s:b, s:s, s:s}", "name", name, "valid", 1, "nologin",
						user->nologin, "backend", user->info.backend, "mail", user->info.root));
	else
		json_array_append_new(l->json, json_pack("{s:s, s:b}", "name", name, "valid", 0));
	return 0;
}

int cli_user_list(struct cli *cli)
{
	const char *path = cli_passwd_file(cli);
	struct listing l = {.cli = cli, .json = cli_json(cli) ? json_array() : NULL};
	struct ps_passwd_file *file;
	uid_t uid;
	gid_t gid;
	int r;

	if (!path || cli_mail_ids(cli, &uid, &gid) < 0) {
		json_decref(l.json);
		return CLI_FAILED;
	}
	r = ps_passwd_file_open(ps_config_root(cli->config), uid, gid, &file);
	if (r == 0) {
		l.file = file;
		r = ps_passwd_file_list(path, default_domain(cli), list_one, &l);
		ps_passwd_file_destroy(file);
	}
	if (r < 0) {
		json_decref(l.json);
		return cli_failed();
	}
	cli_tell_unlisted(cli);
	return l.json ? cli_print_json(l.json) : CLI_OK;
}

/* And what is mounted in it, or the next user of this name would find it. */
static int remove_mail(struct cli *cli, const struct ps_user_info *info)
{
	struct ps_mount_place *mounts;
	size_t count;

	if (!info->root || !info->root[0])
		return CLI_OK;
	if (ps_mount_places(ps_config_root(cli->config), info->name, cli->pool, &mounts, &count) < 0)
		return cli_failed();
	for (size_t i = 0; i < count; i++)
		if (access(mounts[i].root, F_OK) == 0 && cli_remove_tree(mounts[i].root) < 0)
			return cli_failed();
	return cli_remove_tree(info->root) < 0 ? cli_failed() : CLI_OK;
}

static bool may_remove(struct cli *cli, const char *user, const struct ps_user_info *info)
{
	const char *question = ps_pool_printf(cli->pool, "Remove the user %s", user);

	if (cli->option[CLI_OPT_YES])
		return true;
	if (info)
		question = ps_pool_printf(cli->pool, "%s and all mail in %s%s", question, info->root,
					  ps_conf_section_count(ps_config_root(cli->config), "mount") > 0
						  ? ", and what is mounted in it"
						  : "");
	return cli_confirm(ps_pool_printf(cli->pool, "%s?", question));
}

int cli_user_remove(struct cli *cli)
{
	const char *path = cli_passwd_file(cli), *user;
	bool with_mail = cli->option[CLI_OPT_MAIL];
	struct ps_user_entry entry = {.line = 1};

	if (!path)
		return CLI_FAILED;
	if (user_name(cli, &user) < 0)
		return cli_failed();
	if (with_mail && cli_find_entry(cli, user, &entry) < 0)
		return CLI_FAILED;
	if (!entry.line) {
		cli_error("%s is a user of %s, and can be removed there only", user, source_of(cli, &entry));
		return CLI_FAILED;
	}
	if (!may_remove(cli, user, with_mail ? &entry.info : NULL))
		return CLI_FAILED;
	if (ps_passwd_file_remove(path, default_domain(cli), user) < 0)
		return cli_failed();
	tell_server(cli);
	if (with_mail && cli_as_user(cli, &entry.info, remove_mail) != CLI_OK)
		return CLI_FAILED;
	printf("%s removed%s\n", user, with_mail ? ", and the mail" : "");
	return CLI_OK;
}
