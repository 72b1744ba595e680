/* SPDX-License-Identifier: MIT */
/* postern user app-password add|list|remove */
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include "auth/apps.h"
#include "auth/names.h"
#include "auth/nets.h"
#include "auth/passwdfile.h"
#include "cli/cli.h"
#include "core/process/control.h"

struct request {
	struct cli *cli;
	const char *path, *user;
};

/* The file, and the user in the one spelling. */
static int begin(struct cli *cli, struct request *request)
{
	const struct ps_conf *root;
	struct ps_buf name = {0};
	int r;

	if (cli_load(cli) < 0)
		return CLI_FAILED;
	root = ps_config_root(cli->config);
	*request = (struct request){.cli = cli, .path = ps_conf_str(root, "app_password_file")};
	if (!request->path) {
		cli_error("%s: the setting app_password_file names no file", cli_config_path(cli));
		return CLI_FAILED;
	}
	r = ps_user_name_normalise(ps_bytes_str(cli->args[1]), ps_conf_str(root, "default_domain"), &name);
	if (r == 0)
		request->user = ps_pool_strdup(cli->pool, ps_buf_cstr(&name));
	ps_buf_finish(&name);
	return r < 0 ? cli_failed() : CLI_OK;
}

/* A running server takes the file in at once; without one there is nothing to tell. */
static void tell_server(struct cli *cli)
{
	struct ps_buf answer = {0};

	(void)ps_control_ask(ps_conf_str(ps_config_root(cli->config), "run_dir"), "users-changed", &answer);
	ps_buf_finish(&answer);
}

static int read_file(const char *path, struct ps_buf *out)
{
	PS_CLEANUP(ps_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? ps_fail_errno("open %s", path) : ps_passwd_read_fd(fd, path, out);
}

/* ---- add ------------------------------------------------------------------------------------------- */

static bool is_list(const char *text)
{
	return *text && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789,-") == strlen(text);
}

static bool set_scope(struct ps_app *app, const char *word, const char *value)
{
	uint32_t days;

	if (strcmp(word, "protocols") == 0 && is_list(value)) {
		app->protocols = value;
		return true;
	}
	if (strcmp(word, "nets") == 0 && ps_nets_valid(value)) {
		app->nets = value;
		return true;
	}
	if (strcmp(word, "name") == 0 && !strpbrk(value, "\r\n")) {
		app->name = value;
		return true;
	}
	if (strcmp(word, "days") == 0 && ps_bytes_u32(ps_bytes_str(value), &days) == 0 && days > 0) {
		app->expires = app->made + (uint64_t)days * 86400;
		return true;
	}
	cli_error("\"%s %s\": expected protocols LIST, nets LIST, days NUMBER or name TEXT", word, value);
	return false;
}

static int add(struct request *request)
{
	struct cli *cli = request->cli;
	struct ps_app app = {.user = request->user, .made = (uint64_t)time(NULL), .name = ""};
	char password[32];

	if (cli->arg_count % 2 != 0) {
		cli_error("\"%s\" has no value", cli->args[cli->arg_count - 1]);
		return CLI_USAGE;
	}
	for (int i = 2; i < cli->arg_count; i += 2)
		if (!set_scope(&app, cli->args[i], cli->args[i + 1]))
			return CLI_USAGE;
	if (ps_app_add(request->path, cli->pool, &app, password) < 0)
		return cli_failed();
	tell_server(cli);
	if (cli_json(cli))
		return cli_print_json(
			json_pack("{s:s, s:s, s:s}", "user", app.user, "id", app.id, "password", password));
	printf("%s\n", password);
	explicit_bzero(password, sizeof password);
	return CLI_OK;
}

/* ---- list ------------------------------------------------------------------------------------------ */

static const char *day_of(struct ps_pool *pool, uint64_t seconds)
{
	time_t at = (time_t)seconds;
	struct tm parts;
	char text[32];

	if (!seconds || !localtime_r(&at, &parts) || strftime(text, sizeof text, "%Y-%m-%d", &parts) == 0)
		return "never";
	return ps_pool_strdup(pool, text);
}

static void show(struct cli *cli, const struct ps_app *app, uint64_t used, json_t *json)
{
	struct ps_buf name = {0};

	if (json) {
		json_array_append_new(json, json_pack("{s:s, s:s, s:I, s:I, s:I, s:s?, s:s?}", "id", app->id, "name",
						      app->name, "made", (json_int_t)app->made, "expires",
						      (json_int_t)app->expires, "used", (json_int_t)used, "protocols",
						      app->protocols, "nets", app->nets));
		return;
	}
	cli_put_safe(app->name, &name);
	printf("%s  made %s  used %-10s  expires %-10s  %s%s%s%s\n", app->id, day_of(cli->pool, app->made),
	       day_of(cli->pool, used), day_of(cli->pool, app->expires), app->protocols ? app->protocols : "all",
	       app->nets ? " from " : "", app->nets ? app->nets : "",
	       name.len ? ps_pool_printf(cli->pool, "  %s", ps_buf_cstr(&name)) : "");
	ps_buf_finish(&name);
}

static int list(struct request *request)
{
	struct cli *cli = request->cli;
	struct ps_buf text = {0}, uses = {0};
	json_t *json = cli_json(cli) ? json_array() : NULL;
	struct ps_apps *apps;
	const struct ps_app *app;

	if (access(request->path, F_OK) == 0 && read_file(request->path, &text) < 0) {
		json_decref(json);
		return cli_failed();
	}
	(void)read_file(ps_pool_printf(cli->pool, "%s.used", request->path), &uses); /* none was used yet */
	apps = ps_apps_parse(ps_buf_view(&text), request->path);
	for (size_t i = 0; (app = ps_apps_nth(apps, i)); i++)
		if (strcmp(app->user, request->user) == 0)
			show(cli, app, ps_app_last_use(ps_buf_view(&uses), app->id), json);
	ps_apps_destroy(apps);
	ps_buf_wipe(&text);
	ps_buf_finish(&uses);
	return json ? cli_print_json(json) : CLI_OK;
}

/* ---- remove ---------------------------------------------------------------------------------------- */

static int remove_one(struct request *request)
{
	struct cli *cli = request->cli;

	if (cli->arg_count != 3) {
		cli_error("which one? `postern user app-password list %s` tells their ids", request->user);
		return CLI_USAGE;
	}
	if (ps_app_remove(request->path, request->user, cli->args[2]) < 0)
		return cli_failed();
	tell_server(cli);
	printf("%s of %s removed\n", cli->args[2], request->user);
	return CLI_OK;
}

int cli_user_app_password(struct cli *cli)
{
	static const struct {
		const char *name;
		int (*run)(struct request *request);
	} deeds[] = {{"add", add}, {"list", list}, {"remove", remove_one}};
	struct request request;

	for (size_t i = 0; i < PS_ARRAY_LEN(deeds); i++)
		if (strcmp(deeds[i].name, cli->args[0]) == 0)
			return begin(cli, &request) == CLI_OK ? deeds[i].run(&request) : CLI_FAILED;
	cli_error("expected add, list or remove, not \"%s\"", cli->args[0]);
	return CLI_USAGE;
}

/* Databases are asked anew of a user who was changed there. */
int cli_user_forget(struct cli *cli)
{
	json_t *request = json_pack("{s:s}", "do", "user-forget"), *answer;

	if (cli_load(cli) < 0) {
		json_decref(request);
		return CLI_FAILED;
	}
	if (cli->arg_count > 0)
		json_object_set_new(request, "user", json_string(cli->args[0]));
	answer = cli_ask(cli, request);
	json_decref(answer);
	return answer ? CLI_OK : CLI_FAILED;
}
