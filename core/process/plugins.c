/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/process/plugins.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define PLUGINS_MAX 64

/* What a kind of plugin is called, where it lies, and how large its ops struct was in ABI 0.1: a
 * plugin of an older minor number may have less than we know of, but never less than that. */
static const struct kind {
	uint32_t kind;
	const char *folder, *word;
	size_t ops_min, ops_size;
} kinds[] = {
	{PS_PLUGIN_BACKEND, "backends", "backend", sizeof(struct ps_backend), sizeof(struct ps_backend)},
	{PS_PLUGIN_PROTOCOL, "protocols", "protocol", sizeof(struct ps_protocol), sizeof(struct ps_protocol)},
};

/* One per plugin that fits. `plugin` and `ops` are copies, longer than what an older plugin
 * exports, with zeros at the end, so that nobody reads beyond it. */
struct loaded {
	struct ps_plugin plugin;
	char *path;
	void *handle;
	union {
		struct ps_backend backend;
		struct ps_protocol protocol;
		uint8_t octets[1];
	} ops;
};

static struct loaded *loaded[PLUGINS_MAX];
static size_t loaded_count;

static const struct kind *kind_find(uint32_t kind)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(kinds); i++)
		if (kinds[i].kind == kind)
			return &kinds[i];
	return NULL;
}

static const char *kind_word(uint32_t kind)
{
	const struct kind *k = kind_find(kind);

	return k ? k->word : "plugin of an unknown kind";
}

/* ---- the checks ------------------------------------------------------------------------------ */

static int check_abi(const char *path, const struct ps_plugin *plugin, size_t symbol_size)
{
	unsigned major = plugin->abi >> 16, minor = plugin->abi & 0xffff;

	if (symbol_size < offsetof(struct ps_plugin, kind))
		return ps_fail(PS_E_INVALID, "%s: symbol %s has %zu octets, a plugin's has at least %zu; not loaded",
			       path, PS_PLUGIN_SYMBOL, symbol_size, offsetof(struct ps_plugin, kind));
	if (major != PS_ABI_MAJOR || minor > PS_ABI_MINOR)
		return ps_fail(PS_E_UNSUPPORTED, "%s: built for plugin ABI %u.%u, this server has %u.%u; not loaded",
			       path, major, minor, PS_ABI_MAJOR, PS_ABI_MINOR);
	if (plugin->size != sizeof *plugin || symbol_size < plugin->size)
		return ps_fail(PS_E_UNSUPPORTED,
			       "%s: its plugin struct has %zu octets, this server's has %zu; not loaded", path,
			       symbol_size < plugin->size ? symbol_size : (size_t)plugin->size, sizeof *plugin);
	return 0;
}

static int check_kind(const char *path, const struct ps_plugin *plugin, uint32_t want)
{
	const struct kind *kind = kind_find(plugin->kind);

	if (!kind)
		return ps_fail(PS_E_UNSUPPORTED, "%s: plugin of kind %u, this server knows 1 to %zu; not loaded", path,
			       (unsigned)plugin->kind, PS_ARRAY_LEN(kinds));
	if (want && plugin->kind != want)
		return ps_fail(PS_E_INVALID, "%s: is a %s (kind %u), expected a %s (kind %u); not loaded", path,
			       kind->word, (unsigned)plugin->kind, kind_word(want), (unsigned)want);
	if (!plugin->ops)
		return ps_fail(PS_E_INVALID, "%s: has no functions; not loaded", path);
	if (plugin->ops_size < kind->ops_min || plugin->ops_size > kind->ops_size)
		return ps_fail(PS_E_UNSUPPORTED, "%s: its %s functions have %u octets, this server's %zu; not loaded",
			       path, kind->word, (unsigned)plugin->ops_size, kind->ops_size);
	return 0;
}

static int check_name(const char *path, const struct ps_plugin *plugin)
{
	const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
	size_t len = strlen(file) > 3 ? strlen(file) - 3 : 0;

	if (!plugin->name || !*plugin->name)
		return ps_fail(PS_E_INVALID, "%s: has no name; not loaded", path);
	if (strlen(plugin->name) != len || strncmp(plugin->name, file, len) != 0)
		return ps_fail(PS_E_INVALID, "%s: calls itself \"%s\", its file is named \"%.*s\"; not loaded", path,
			       plugin->name, (int)len, file);
	if (plugin->build && strcmp(plugin->build, PS_BUILD) != 0)
		return ps_fail(PS_E_UNSUPPORTED,
			       "%s: uses in-tree headers of build %s, this server is build %s; not loaded", path,
			       plugin->build, PS_BUILD);
	return 0;
}

static int check_duplicate(const char *path, const struct ps_plugin *plugin)
{
	for (size_t i = 0; i < loaded_count; i++)
		if (loaded[i]->plugin.kind == plugin->kind && strcmp(loaded[i]->plugin.name, plugin->name) == 0)
			return ps_fail(PS_E_EXISTS, "%s: a %s named \"%s\" is loaded already from %s; not loaded", path,
				       kind_word(plugin->kind), plugin->name, loaded[i]->path);
	if (loaded_count == PLUGINS_MAX)
		return ps_fail(PS_E_LIMIT, "%s: %d plugins are loaded already; not loaded", path, PLUGINS_MAX);
	return 0;
}

/* ---- loading --------------------------------------------------------------------------------- */

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
	else if ((r = check_abi(path, plugin, symbol_size)) == 0 && (r = check_kind(path, plugin, want)) == 0 &&
		 (r = check_name(path, plugin)) == 0 && (r = check_duplicate(path, plugin)) == 0)
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

static bool is_plugin_file(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && len > 3 && strcmp(name + len - 3, ".so") == 0;
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

static void load_folder(const char *folder, uint32_t kind)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (is_plugin_file(entry->d_name))
			try_file(folder, entry->d_name, kind);
	closedir(dir);
}

/* Where libtool leaves what a build tree has made: FOLDER/NAME/.libs/NAME.so. */
static void load_build_folders(const char *folder, uint32_t kind)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char libs[PATH_MAX], file[NAME_MAX + 4], full[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof file, "%s.so", entry->d_name);
		if (snprintf(libs, sizeof libs, "%s/%s/.libs", folder, entry->d_name) < (int)sizeof libs &&
		    snprintf(full, sizeof full, "%s/%s", libs, file) < (int)sizeof full && access(full, R_OK) == 0)
			try_file(libs, file, kind);
	}
	closedir(dir);
}

static void load_below(const char *top, const struct kind *kind)
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
			load_folder(path, places[i].kind);
	if (snprintf(path, sizeof path, "%s/%s", top, kind->folder) < (int)sizeof path)
		load_build_folders(path, kind->kind);
}

int ps_plugins_load_all(const char *plugindir, enum ps_plugin_kind kind)
{
	const struct kind *row = kind_find(kind);
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
			load_below(dir, row);
	free(dirs);
	return (int)(loaded_count - before);
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

const struct ps_plugin *ps_plugin_nth(size_t n)
{
	return n < loaded_count ? &loaded[n]->plugin : NULL;
}
