/* SPDX-License-Identifier: MIT */
/*
 * core/process/plugin_check.h - whether a plugin fits this server.
 */
#ifndef CORE_PROCESS_PLUGIN_CHECK_H
#define CORE_PROCESS_PLUGIN_CHECK_H

#include "postern/plugin.h"

/* A pointer in a struct of functions that must not be NULL. */
struct ps_plugin_need {
	const char *name; /* NULL ends a table */
	size_t offset;
};

struct ps_plugin_kind_row {
	uint32_t kind;
	const char *folder; /* below the folder of plugins */
	const char *word;   /* for people */
	size_t ops_size;
	const struct ps_plugin_need *needs;
};

/* NULL: a kind nobody knows. */
const struct ps_plugin_kind_row *ps_plugin_kind_find(uint32_t kind);
const char *ps_plugin_kind_word(uint32_t kind);

/* `symbol_size`: octets of the exported symbol. `want`: the kind expected, 0: any. Reads no more of the plugin than it has. */
int ps_plugin_check(const char *path, const struct ps_plugin *plugin, size_t symbol_size, uint32_t want);

#endif
