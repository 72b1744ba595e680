/* SPDX-License-Identifier: MIT */
/*
 * core/process/plugins.h - loads plugins and knows those that are loaded.
 */
#ifndef CORE_PROCESS_PLUGINS_H
#define CORE_PROCESS_PLUGINS_H

#include "postern/backend.h"
#include "postern/extension.h"
#include "postern/plugin.h"
#include "postern/protocol.h"
#include "postern/userdb.h"

/* Loads one file, or all of a kind's folder below `plugindir` (NULL: $POSTERN_PLUGINDIR if set and we are not
 * set-uid, else where they were installed). What does not fit is refused in one line that names the path and both
 * numbers (ps_plugins_load_all() logs it, goes on, and returns how many it has loaded). Loading twice is one load.
 * Not thread-safe: at start only. */
int ps_plugin_load(const char *path, const struct ps_plugin **ret_plugin);
int ps_plugins_load_all(const char *plugindir, enum ps_plugin_kind kind);
/* The one of this name, from the same folders. PS_E_NOTFOUND: there is none, or it was refused. */
int ps_plugins_load_named(const char *plugindir, enum ps_plugin_kind kind, const char *name);
/* NULL when none of that name is loaded. */
const struct ps_plugin *ps_plugin_find(enum ps_plugin_kind kind, const char *name);
const struct ps_backend *ps_backend_find(const char *name);
const struct ps_protocol *ps_protocol_find(const char *name);
const struct ps_userdb *ps_userdb_find(const char *name);
/* n-th loaded, NULL at the end. */
const struct ps_plugin *ps_plugin_nth(size_t n);

#endif
