/* SPDX-License-Identifier: MIT */
/* Sections `userdb NAME { driver = "..." }`: the settings are some of core's and the driver's, which is a plugin. */
#include "core/config/conf.h"
#include "core/config/near.h"
#include "core/config/schema.h"
#include "core/process/plugins.h"

static size_t count_rows(const struct ps_setting *rows)
{
	size_t n = 0;

	while (rows && rows[n].name)
		n++;
	return n;
}

static struct ps_setting *find(struct ps_setting *rows, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

static const struct ps_plugin *next_driver(size_t *n)
{
	const struct ps_plugin *plugin;

	while ((plugin = ps_plugin_nth((*n)++)))
		if (plugin->kind == PS_PLUGIN_USERDB)
			return plugin;
	return NULL;
}

const struct ps_setting *conf_userdb_rows(struct ps_pool *pool)
{
	size_t most = count_rows(ps_userdb_settings), count = most, n = 0;
	const struct ps_plugin *plugin;
	struct ps_setting *rows;

	while ((plugin = next_driver(&n)))
		most += count_rows(plugin->settings);
	rows = PS_NEWV(pool, struct ps_setting, most + 1);
	memcpy(rows, ps_userdb_settings, sizeof *rows * count);
	for (n = 0; (plugin = next_driver(&n));) {
		for (const struct ps_setting *row = plugin->settings; row && row->name; row++) {
			struct ps_setting *there = find(rows, count, row->name);

			if (!there)
				rows[count++] = *row;
			else if (row->type == PS_SET_LIST)
				there->type = PS_SET_LIST; /* which takes a single word, too */
		}
	}
	return rows;
}

static void tell_no_driver(struct conf_errors *errors, int line, const char *title, const char *driver)
{
	struct ps_near near = {.word = driver ? driver : ""};
	const struct ps_plugin *plugin;
	size_t n = 0;

	while ((plugin = next_driver(&n)))
		ps_near_offer(&near, plugin->name);
	if (!driver)
		conf_error(errors, line, "userdb \"%s\" has no driver", title);
	else
		conf_error(errors, line, "no userdb driver \"%s\" is installed%s%s%s", driver,
			   near.best ? "; did you mean \"" : "", near.best ? near.best : "", near.best ? "\"?" : "");
}

const struct ps_setting *conf_userdb_schema(struct conf_errors *errors, int line, const char *title, const char *driver,
					    struct ps_pool *pool)
{
	const struct ps_plugin *plugin = driver ? ps_plugin_find(PS_PLUGIN_USERDB, driver) : NULL;
	size_t common = count_rows(ps_userdb_settings), own = plugin ? count_rows(plugin->settings) : 0;
	struct ps_setting *rows = PS_NEWV(pool, struct ps_setting, common + own + 1);

	if (!plugin)
		tell_no_driver(errors, line, title, driver);
	memcpy(rows, ps_userdb_settings, sizeof *rows * common);
	for (size_t i = 0; i < own; i++)
		rows[common + i] = plugin->settings[i];
	return rows;
}
