/* SPDX-License-Identifier: MIT */
/* postern config check|show */
#include <stdio.h>
#include "cli/cli.h"
#include "core/config/conf.h"

static json_t *lines_json(const char *lines)
{
	json_t *list = json_array();

	while (*lines) {
		size_t len = strcspn(lines, "\n");

		json_array_append_new(list, json_stringn(lines, len));
		lines += len + (lines[len] == '\n');
	}
	return list;
}

/* Reads and looks at the files; the errors of either are in `errors`. */
static int check(struct cli *cli, struct ps_buf *errors)
{
	int r = ps_config_read(cli_config_path(cli), ps_bytes(NULL, 0), errors, &cli->config);

	return r < 0 ? r : ps_config_check_files(cli->config, errors);
}

int cli_config_check(struct cli *cli)
{
	struct ps_buf errors = {0};
	bool ok;

	if (cli_load_plugins() < 0)
		return cli_failed();
	ok = check(cli, &errors) == 0;
	if (cli_json(cli))
		cli_print_json(json_pack("{s:s, s:b, s:o}", "config", cli_config_path(cli), "ok", ok, "errors",
					 lines_json(ps_buf_cstr(&errors))));
	else if (ok)
		printf("%s: no errors\n", cli_config_path(cli));
	else
		fprintf(stderr, "%s", ps_buf_cstr(&errors));
	ps_buf_finish(&errors);
	return ok ? CLI_OK : CLI_FAILED;
}

static json_t *section_json(const struct ps_conf *conf, unsigned how);

static json_t *list_json(const struct conf_value *value)
{
	json_t *list = json_array();

	for (size_t i = 0; i < value->count; i++)
		json_array_append_new(list, json_string(value->words[i]));
	return list;
}

/* A titled section is an object of its titles. */
static json_t *sections_json(const struct ps_setting *row, const struct conf_value *value, unsigned how)
{
	json_t *titles = json_object();

	if (!row->titled) {
		json_decref(titles);
		return section_json(value->sections[0], how);
	}
	for (size_t i = 0; i < value->count; i++)
		json_object_set_new(titles, value->sections[i]->title, section_json(value->sections[i], how));
	return titles;
}

static json_t *value_json(const struct ps_setting *row, const struct conf_value *value, unsigned how)
{
	switch (row->type) {
	case PS_SET_BOOL: return json_boolean(value->truth);
	case PS_SET_INT:
	case PS_SET_SIZE:
	case PS_SET_TIME: return json_integer(value->number);
	case PS_SET_STRING:
	case PS_SET_CHOICE: return value->text ? json_string(value->text) : json_null();
	case PS_SET_LIST: return list_json(value);
	case PS_SET_SECTION: return sections_json(row, value, how);
	}
	return json_null();
}

static bool is_shown(const struct ps_setting *row, const struct conf_value *value, unsigned how)
{
	return (how & PS_SHOW_ALL) || value->line > 0 ||
	       (row->type == PS_SET_SECTION && value->count > 0 && value->sections[0]->line > 0);
}

static json_t *section_json(const struct ps_conf *conf, unsigned how)
{
	json_t *object = json_object();

	for (size_t i = 0; conf->schema[i].name; i++)
		if (is_shown(&conf->schema[i], &conf->values[i], how))
			json_object_set_new(object, conf->schema[i].name,
					    value_json(&conf->schema[i],
						       conf_value_shown(&conf->schema[i], &conf->values[i], how), how));
	return object;
}

/* The sections of plugins of a kind, by their names. */
static json_t *kind_json(const struct ps_config *config, const char *kind, unsigned how)
{
	json_t *plugins = json_object();

	for (struct ps_conf **conf = config->plugins; *conf; conf++)
		if (strcmp((*conf)->name, kind) == 0 && ((how & PS_SHOW_ALL) || (*conf)->line > 0))
			json_object_set_new(plugins, (*conf)->title, section_json(*conf, how));
	return plugins;
}

/* A plugin's section goes under "backends" and the like, since "backend" is a setting too. */
static json_t *config_json(const struct ps_config *config, unsigned how)
{
	json_t *root = section_json(config->root, how);
	static const char *const kinds[][2] = {
		{"backend", "backends"}, {"protocol", "protocols"}, {"extension", "extensions"}};

	for (size_t i = 0; i < PS_ARRAY_LEN(kinds); i++)
		json_object_set_new(root, kinds[i][1], kind_json(config, kinds[i][0], how));
	return root;
}

int cli_config_show(struct cli *cli)
{
	unsigned how =
		(cli->option[CLI_OPT_ALL] ? PS_SHOW_ALL : 0) | (cli->option[CLI_OPT_SECRETS] ? PS_SHOW_SECRETS : 0);
	struct ps_buf text = {0};
	int r;

	if (cli_load(cli) < 0)
		return CLI_FAILED;
	if (cli_json(cli))
		return cli_print_json(config_json(cli->config, how));
	r = ps_config_show(cli->config, how, &text);
	if (r == 0)
		printf("%s", ps_buf_cstr(&text));
	ps_buf_finish(&text);
	return r < 0 ? cli_failed() : CLI_OK;
}
