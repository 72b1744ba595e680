/* SPDX-License-Identifier: MIT */
/* Whether a plugin fits, before anything of it is called; each mismatch in one line with the path and both numbers. */
#include <string.h>
#include "core/process/plugin_check.h"
#include "postern/backend.h"
#include "postern/build.h"
#include "postern/error.h"
#include "postern/extension.h"
#include "postern/protocol.h"
#include "postern/userdb.h"

/* What a plugin cannot do without; all else of its struct may be NULL. */
#define NEEDS(type, field)                                                                                             \
	{                                                                                                              \
#field, offsetof(struct type, field)                                                                   \
	}
static const struct ps_plugin_need backend_needs[] = {
	NEEDS(ps_backend, open),
	NEEDS(ps_backend, close),
	NEEDS(ps_backend, mailbox_open),
	NEEDS(ps_backend, mailbox_close),
	NEEDS(ps_backend, stale),
	NEEDS(ps_backend, sync),
	NEEDS(ps_backend, read_begin),
	NEEDS(ps_backend, read_end),
	NEEDS(ps_backend, list),
	NEEDS(ps_backend, info),
	NEEDS(ps_backend, keywords),
	NEEDS(ps_backend, scan),
	NEEDS(ps_backend, vanished),
	NEEDS(ps_backend, cache),
	NEEDS(ps_backend, cache_put),
	NEEDS(ps_backend, body),
	NEEDS(ps_backend, body_close),
	NEEDS(ps_backend, stage),
	NEEDS(ps_backend, stage_write),
	NEEDS(ps_backend, stage_finish),
	NEEDS(ps_backend, stage_drop),
	NEEDS(ps_backend, commit),
	NEEDS(ps_backend, generation),
	NEEDS(ps_backend, set_generation),
	{NULL, 0},
};
static const struct ps_plugin_need protocol_needs[] = {
	NEEDS(ps_protocol, service),
	NEEDS(ps_protocol, front),
	NEEDS(ps_protocol, gss_service),
	{NULL, 0},
};
static const struct ps_plugin_need extension_needs[] = {
	NEEDS(ps_extension, open),
	NEEDS(ps_extension, close),
	{NULL, 0},
};

static const struct ps_plugin_need userdb_needs[] = {
	NEEDS(ps_userdb, open),
	NEEDS(ps_userdb, close),
	NEEDS(ps_userdb, find),
	{NULL, 0},
};

static const struct ps_plugin_kind_row kinds[] = {
	{PS_PLUGIN_BACKEND, "backends", "backend", sizeof(struct ps_backend), backend_needs},
	{PS_PLUGIN_PROTOCOL, "protocols", "protocol", sizeof(struct ps_protocol), protocol_needs},
	{PS_PLUGIN_EXTENSION, "extensions", "extension", sizeof(struct ps_extension), extension_needs},
	{PS_PLUGIN_USERDB, "auth", "userdb", sizeof(struct ps_userdb), userdb_needs},
};

const struct ps_plugin_kind_row *ps_plugin_kind_find(uint32_t kind)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(kinds); i++)
		if (kinds[i].kind == kind)
			return &kinds[i];
	return NULL;
}

const char *ps_plugin_kind_word(uint32_t kind)
{
	const struct ps_plugin_kind_row *k = ps_plugin_kind_find(kind);

	return k ? k->word : "plugin of an unknown kind";
}

/* ---- the checks ------------------------------------------------------------------------------ */

static int check_abi(const char *path, const struct ps_plugin *plugin, size_t symbol_size)
{
	unsigned major = plugin->abi >> 16, minor = plugin->abi & 0xffff;

	if (symbol_size < offsetof(struct ps_plugin, kind))
		return ps_fail(PS_E_INVALID, "%s: symbol %s has %zu octets, a plugin's has at least %zu; not loaded",
			       path, PS_PLUGIN_SYMBOL, symbol_size, offsetof(struct ps_plugin, kind));
	/* Before 1.0 nothing is promised from one number to the next. */
	if (major != PS_ABI_MAJOR || minor > PS_ABI_MINOR || (PS_ABI_MAJOR == 0 && minor != PS_ABI_MINOR))
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
	const struct ps_plugin_kind_row *kind = ps_plugin_kind_find(plugin->kind);

	if (!kind)
		return ps_fail(PS_E_UNSUPPORTED, "%s: plugin of kind %u, this server knows 1 to %zu; not loaded", path,
			       (unsigned)plugin->kind, PS_ARRAY_LEN(kinds));
	if (want && plugin->kind != want)
		return ps_fail(PS_E_INVALID, "%s: is a %s (kind %u), expected a %s (kind %u); not loaded", path,
			       kind->word, (unsigned)plugin->kind, ps_plugin_kind_word(want), (unsigned)want);
	if (!plugin->ops)
		return ps_fail(PS_E_INVALID, "%s: has no functions; not loaded", path);
	/* The same while there is one size for each number; from 1.0 on a smaller one, of an older minor number, is filled up. */
	if (plugin->ops_size != kind->ops_size)
		return ps_fail(PS_E_UNSUPPORTED, "%s: its %s functions have %u octets, this server's %zu; not loaded",
			       path, kind->word, (unsigned)plugin->ops_size, kind->ops_size);
	return 0;
}

static int check_needs(const char *path, const struct ps_plugin *plugin)
{
	const struct ps_plugin_kind_row *kind = ps_plugin_kind_find(plugin->kind);

	for (const struct ps_plugin_need *need = kind->needs; need->name; need++) {
		const void *pointer;

		memcpy(&pointer, (const uint8_t *)plugin->ops + need->offset, sizeof pointer);
		if (!pointer)
			return ps_fail(PS_E_INVALID, "%s: this %s has no %s; not loaded", path, kind->word, need->name);
	}
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

int ps_plugin_check(const char *path, const struct ps_plugin *plugin, size_t symbol_size, uint32_t want)
{
	int r;

	if ((r = check_abi(path, plugin, symbol_size)) < 0 || (r = check_kind(path, plugin, want)) < 0 ||
	    (r = check_name(path, plugin)) < 0)
		return r;
	return check_needs(path, plugin);
}
