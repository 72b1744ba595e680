/* SPDX-License-Identifier: MIT */
#include "backends/maildir/maildir_private.h"
#include "postern/build.h"
#include "postern/plugin.h"

static const struct ps_backend maildir_backend = {
	.open = store_open,
	.close = store_close,
	PS_CATALOGUE_FUNCTIONS,
	.body = maildir_body,
	.body_close = maildir_body_close,
	.stage = stage_begin,
	.stage_write = stage_write,
	.stage_finish = stage_finish,
	.stage_drop = stage_drop,
	.watch = maildir_watch,
	.unwatch = maildir_unwatch,
	.settle = settle,
};

static const struct ps_setting maildir_settings[] = {
	{.name = "line_ends",
	 .type = PS_SET_CHOICE,
	 .def = "lf",
	 .choices = "lf crlf",
	 .help = "line ends of the messages delivered to disk; those that are there are read either way"},
	{.name = "layout",
	 .type = PS_SET_CHOICE,
	 .def = "maildir++",
	 .choices = "maildir++ fs",
	 .help = "mailboxes below the root as .Lists.postern, or as Lists/postern (Dovecot's LAYOUT=fs)"},
	{.name = "rename_at_once",
	 .type = PS_SET_INT,
	 .def = "64",
	 .max = 1000000000,
	 .help = "flags of so many messages change in one command by renaming them; of more, names follow within "
		 "seconds"},
	{.name = NULL},
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.build = PS_BUILD,
	.kind = PS_PLUGIN_BACKEND,
	.ops_size = sizeof(struct ps_backend),
	.name = "maildir",
	.summary = "Maildir++, with a local index",
	.ops = &maildir_backend,
	.settings = maildir_settings,
};
