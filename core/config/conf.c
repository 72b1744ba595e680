/* SPDX-License-Identifier: MIT */
/* Reading the tree: postern/settings.h. */
#include <stdlib.h>
#include "core/config/conf.h"
#include "postern/log.h"

static _Noreturn void bug(const struct ps_conf *conf, const char *name, const char *what)
{
	ps_log(PS_LOG_ERROR, "setting_misused", "setting", name, "section", conf->name, "msg", what, NULL);
	abort();
}

const struct conf_value *conf_value(const struct ps_conf *conf, const char *name, enum ps_setting_type type)
{
	const struct ps_setting *row = conf->schema;

	while (row->name && strcmp(row->name, name) != 0)
		row++;
	if (!row->name)
		bug(conf, name, "not in the schema");
	if (row->type != type)
		bug(conf, name, "read as another type than the schema's");
	return &conf->values[row - conf->schema];
}

static enum ps_setting_type type_of(const struct ps_conf *conf, const char *name, enum ps_setting_type otherwise)
{
	for (const struct ps_setting *row = conf->schema; row->name; row++)
		if (strcmp(row->name, name) == 0)
			return row->type;
	return otherwise;
}

bool ps_conf_bool(const struct ps_conf *conf, const char *name)
{
	return conf_value(conf, name, PS_SET_BOOL)->truth;
}

int64_t ps_conf_int(const struct ps_conf *conf, const char *name)
{
	enum ps_setting_type type = type_of(conf, name, PS_SET_INT);

	if (type != PS_SET_SIZE && type != PS_SET_TIME)
		type = PS_SET_INT;
	return conf_value(conf, name, type)->number;
}

const char *ps_conf_str(const struct ps_conf *conf, const char *name)
{
	bool is_choice = type_of(conf, name, PS_SET_STRING) == PS_SET_CHOICE;

	return conf_value(conf, name, is_choice ? PS_SET_CHOICE : PS_SET_STRING)->text;
}

size_t ps_conf_list_size(const struct ps_conf *conf, const char *name)
{
	return conf_value(conf, name, PS_SET_LIST)->count;
}

const char *ps_conf_list_nth(const struct ps_conf *conf, const char *name, size_t n)
{
	const struct conf_value *value = conf_value(conf, name, PS_SET_LIST);

	return n < value->count ? value->words[n] : NULL;
}

size_t ps_conf_section_count(const struct ps_conf *conf, const char *name)
{
	return conf_value(conf, name, PS_SET_SECTION)->count;
}

const struct ps_conf *ps_conf_section(const struct ps_conf *conf, const char *name, size_t n)
{
	const struct conf_value *value = conf_value(conf, name, PS_SET_SECTION);

	return n < value->count ? value->sections[n] : NULL;
}

const char *ps_conf_title(const struct ps_conf *conf)
{
	return conf->title;
}

const struct ps_conf *ps_config_root(const struct ps_config *config)
{
	return config->root;
}

const struct ps_conf *ps_config_plugin(const struct ps_config *config, const char *kind, const char *name)
{
	for (struct ps_conf **conf = config->plugins; *conf; conf++)
		if (strcmp((*conf)->name, kind) == 0 && strcmp((*conf)->title, name) == 0)
			return *conf;
	return NULL;
}

const struct ps_conf *ps_conf_plugin(const struct ps_conf *root, const char *kind, const char *name)
{
	return ps_config_plugin(root->config, kind, name);
}

void ps_config_destroy(struct ps_config *config)
{
	if (config)
		ps_pool_destroy(config->pool);
}
