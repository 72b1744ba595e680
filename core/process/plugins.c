/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/process/plugin_check.h"
#include "core/process/plugins.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define PLUGINS_MAX 64

/* One per plugin that fits. `plugin` and `ops` are copies, longer than what an older plugin
 * exports, with zeros at the end, so that nobody reads beyond it. */
struct loaded {
	struct ps_plugin plugin;
	char *path;
	void *handle;
	union {
		struct ps_backend backend;
		struct ps_protocol protocol;
		struct ps_extension extension;
		struct ps_userdb userdb;
		uint8_t octets[1];
	} ops;
};

/* What is searched for: `kind` 0 is any, `name` NULL each. */
struct wanted {
	uint32_t kind;
	const char *name;
};

static struct loaded *loaded[PLUGINS_MAX];
static size_t loaded_count;

/* ---- loading --------------------------------------------------------------------------------- */

static int check_duplicate(const char *path, const struct ps_plugin *plugin)
{
	for (size_t i = 0; i < loaded_count; i++)
		if (loaded[i]->plugin.kind == plugin->kind && strcmp(loaded[i]->plugin.name, plugin->name) == 0)
			return ps_fail(PS_E_EXISTS, "%s: a %s named \"%s\" is loaded already from %s; not loaded", path,
				       ps_plugin_kind_word(plugin->kind), plugin->name, loaded[i]->path);
	if (loaded_count == PLUGINS_MAX)
		return ps_fail(PS_E_LIMIT, "%s: %d plugins are loaded already; not loaded", path, PLUGINS_MAX);
	return 0;
}

static const struct ps_plugin *symbol_of(void *handle, size_t *ret_size)
{
	const struct ps_plugin *plugin = dlsym(handle, PS_PLUGIN_SYMBOL);
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	if (plugin && dladdr1(plugin, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol)
		*ret_size = symbol->st_size;
	else
		*ret_size = 0;
	return plugin;
}

static const struct ps_plugin *keep(const char *path, void *handle, const struct ps_plugin *plugin)
{
	struct loaded *entry = ps_zalloc(sizeof *entry);

	entry->path = ps_strdup(path);
	entry->handle = handle;
	entry->plugin = *plugin;
	memcpy(entry->ops.octets, plugin->ops, plugin->ops_size);
	entry->plugin.ops = &entry->ops;
	loaded[loaded_count++] = entry;
	return &entry->plugin;
}

static const struct ps_plugin *loaded_from(const void *handle)
{
	for (size_t i = 0; i < loaded_count; i++)
		if (loaded[i]->handle == handle)
			return &loaded[i]->plugin;
	return NULL;
}

/* `want` 0: of any kind. */
static int load(const char *path, uint32_t want, const struct ps_plugin **ret_plugin)
{
	/* A name without a slash would be searched for in the system's library folders. */
	PS_CLEANUP(ps_freep) char *full = realpath(path, NULL);
	const struct ps_plugin *plugin;
	size_t symbol_size;
	void *handle;
	int r;

	if (!full)
		return ps_fail_errno("%s", path);
	handle = dlopen(full, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return ps_fail(PS_E_UNSUPPORTED, "%s: not loaded: %s", path, dlerror());
	plugin = loaded_from(handle);
	if (plugin) {
		dlclose(handle);
		*ret_plugin = plugin;
		return 0;
	}
	plugin = symbol_of(handle, &symbol_size);
	if (!plugin)
		r = ps_fail(PS_E_INVALID, "%s: exports no %s, so it is not a plugin; not loaded", path,
			    PS_PLUGIN_SYMBOL);
	else if ((r = ps_plugin_check(path, plugin, symbol_size, want)) == 0 &&
		 (r = check_duplicate(path, plugin)) == 0)
		*ret_plugin = keep(path, handle, plugin);
	if (r < 0)
		dlclose(handle);
	return r;
}

int ps_plugin_load(const char *path, const struct ps_plugin **ret_plugin)
{
	return load(path, 0, ret_plugin);
}

/* ---- finding them ---------------------------------------------------------------------------- */

static bool is_wanted_file(const char *file, const char *name)
{
	size_t len = strlen(file);

	if (file[0] == '.' || len <= 3 || strcmp(file + len - 3, ".so") != 0)
		return false;
	return !name || (strlen(name) == len - 3 && strncmp(file, name, len - 3) == 0);
}

/* Of several files with one name, the first found counts, as with commands on a PATH. */
static bool is_known(uint32_t kind, const char *file)
{
	size_t len = strlen(file) - 3;

	for (size_t i = 0; i < loaded_count; i++)
		if ((kind == 0 || loaded[i]->plugin.kind == kind) && strlen(loaded[i]->plugin.name) == len &&
		    strncmp(loaded[i]->plugin.name, file, len) == 0)
			return true;
	return false;
}

static void try_file(const char *folder, const char *file, uint32_t kind)
{
	const struct ps_plugin *plugin;
	char path[PATH_MAX];

	if (is_known(kind, file) || snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path)
		return;
	if (load(path, kind, &plugin) < 0)
		ps_log(PS_LOG_ERROR, "plugin_refused", "msg", ps_last_error(), NULL);
}

static void load_folder(const char *folder, struct wanted wanted)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (is_wanted_file(entry->d_name, wanted.name))
			try_file(folder, entry->d_name, wanted.kind);
	closedir(dir);
}

/* Where libtool leaves what a build tree has made: FOLDER/NAME/.libs/NAME.so. */
static void load_build_folders(const char *folder, struct wanted wanted)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char libs[PATH_MAX], file[NAME_MAX + 4], full[PATH_MAX];

		if (entry->d_name[0] == '.' || (wanted.name && strcmp(entry->d_name, wanted.name) != 0))
			continue;
		snprintf(file, sizeof file, "%s.so", entry->d_name);
		if (snprintf(libs, sizeof libs, "%s/%s/.libs", folder, entry->d_name) < (int)sizeof libs &&
		    snprintf(full, sizeof full, "%s/%s", libs, file) < (int)sizeof full && access(full, R_OK) == 0)
			try_file(libs, file, wanted.kind);
	}
	closedir(dir);
}

static void load_below(const char *top, const struct ps_plugin_kind_row *kind, const char *name)
{
	/* In a folder that holds plugins of any kind, a file's own word for its kind is taken. */
	const struct place {
		const char *below, *libs;
		uint32_t kind;
	} places[] = {
		{"", "", 0},
		{"", "/.libs", 0},
		{kind->folder, "", kind->kind},
		{kind->folder, "/.libs", kind->kind},
	};
	char path[PATH_MAX];

	for (size_t i = 0; i < PS_ARRAY_LEN(places); i++)
		if (snprintf(path, sizeof path, "%s/%s%s", top, places[i].below, places[i].libs) < (int)sizeof path)
			load_folder(path, (struct wanted){places[i].kind, name});
	if (snprintf(path, sizeof path, "%s/%s", top, kind->folder) < (int)sizeof path)
		load_build_folders(path, (struct wanted){kind->kind, name});
}

static int load_from_all(const char *plugindir, enum ps_plugin_kind kind, const char *name)
{
	const struct ps_plugin_kind_row *row = ps_plugin_kind_find(kind);
	size_t before = loaded_count;
	char *dirs, *rest, *dir;

	if (!row)
		return ps_fail(PS_E_INVALID, "no plugins of kind %d", (int)kind);
	/* secure_getenv: a set-uid program must not load what its caller names. */
	if (!plugindir && !(plugindir = secure_getenv("POSTERN_PLUGINDIR")))
		plugindir = PS_PLUGINDIR;
	dirs = rest = ps_strdup(plugindir);
	while ((dir = strsep(&rest, ":")))
		if (*dir)
			load_below(dir, row, name);
	free(dirs);
	return (int)(loaded_count - before);
}

int ps_plugins_load_all(const char *plugindir, enum ps_plugin_kind kind)
{
	return load_from_all(plugindir, kind, NULL);
}

int ps_plugins_load_named(const char *plugindir, enum ps_plugin_kind kind, const char *name)
{
	int r = load_from_all(plugindir, kind, name);

	if (r < 0 || ps_plugin_find(kind, name))
		return r < 0 ? r : 0;
	return ps_fail(PS_E_NOTFOUND, "no %s \"%s\" is installed", ps_plugin_kind_word(kind), name);
}

/* ---- what is loaded -------------------------------------------------------------------------- */

const struct ps_plugin *ps_plugin_find(enum ps_plugin_kind kind, const char *name)
{
	for (size_t i = 0; i < loaded_count; i++)
		if (loaded[i]->plugin.kind == (uint32_t)kind && strcmp(loaded[i]->plugin.name, name) == 0)
			return &loaded[i]->plugin;
	return NULL;
}

const struct ps_backend *ps_backend_find(const char *name)
{
	const struct ps_plugin *plugin = ps_plugin_find(PS_PLUGIN_BACKEND, name);

	return plugin ? plugin->ops : NULL;
}

const struct ps_protocol *ps_protocol_find(const char *name)
{
	const struct ps_plugin *plugin = ps_plugin_find(PS_PLUGIN_PROTOCOL, name);

	return plugin ? plugin->ops : NULL;
}

const struct ps_userdb *ps_userdb_find(const char *name)
{
	const struct ps_plugin *plugin = ps_plugin_find(PS_PLUGIN_USERDB, name);

	return plugin ? plugin->ops : NULL;
}

const struct ps_plugin *ps_plugin_nth(size_t n)
{
	return n < loaded_count ? &loaded[n]->plugin : NULL;
}
