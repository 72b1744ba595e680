/* SPDX-License-Identifier: MIT */
/*
 * postern/plugin.h - what a plugin exports.                                   [stable]
 *
 * A plugin is a shared object in $(libdir)/postern/{backends,protocols,extensions,auth} that exports one
 * constant struct through PS_PLUGIN_EXPORT. The loader checks it before it calls anything; a mismatch
 * is told in one line with the path and both numbers.
 *
 * The ABI ledger. An addition at the end of a struct, or an enum value more, raises the minor number:
 * older plugins go on loading. Anything else raises the major one. Before 1.0 a plugin loads into the number it was built
 * for, and no other. `tests/abi` keeps a record of each number's structs and functions, and compares.
 *   0.1  first
 *   0.2  backend.h: a batch has a token and a modseq; PS_OP_IDENTITY; generations, check, compact
 *   0.3  backend.h: a body may be read a piece at a time; body_rest
 *   0.4  two kinds of plugins more, extensions and user databases; userdb.h; settings.h: a list may be of networks, a row secret
 *   0.5  userdb.h: access tokens
 *   0.6  backend.h: a batch may be relaxed, or unsettled; settle; list_below. index.h: a number that cannot be read is an error
 */
#ifndef POSTERN_PLUGIN_H
#define POSTERN_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include "postern/settings.h"

#define PS_ABI_MAJOR 0u
#define PS_ABI_MINOR 6u
#define PS_ABI       ((PS_ABI_MAJOR << 16) | PS_ABI_MINOR)

enum ps_plugin_kind {
	PS_PLUGIN_BACKEND = 1,   /* ops: struct ps_backend, postern/backend.h */
	PS_PLUGIN_PROTOCOL = 2,  /* ops: struct ps_protocol, postern/protocol.h */
	PS_PLUGIN_EXTENSION = 3, /* ops: struct ps_extension, postern/extension.h */
	PS_PLUGIN_USERDB = 4,    /* ops: struct ps_userdb, postern/userdb.h */
};

struct ps_plugin {
	uint32_t abi;        /* PS_ABI when the plugin was compiled */
	uint32_t size;       /* sizeof(struct ps_plugin) then */
	uint32_t kind;       /* enum ps_plugin_kind */
	uint32_t ops_size;   /* sizeof the ops struct then */
	const char *name;    /* as the configuration spells it: "maildir"; equals the file name without .so */
	const char *summary; /* one line for people */
	const char *build;   /* NULL; or, if it uses in-tree headers, PS_BUILD: loads into the same build only */
	const void *ops;
	const struct ps_setting *settings; /* schema of its section; NULL: it has none */
};

#define PS_PLUGIN_SYMBOL "postern_plugin"
#define PS_PLUGIN_EXPORT __attribute__((visibility("default"))) const struct ps_plugin postern_plugin

#endif
