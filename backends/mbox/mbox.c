/* SPDX-License-Identifier: MIT */
#include "backends/mbox/mbox_private.h"
#include "postern/build.h"
#include "postern/plugin.h"

static const struct ps_backend mbox_backend = {
	.open = store_open,
	.close = store_close,
	PS_CATALOGUE_FUNCTIONS,
	.body = mbox_body,
	.body_close = mbox_body_close,
	.stage = stage_begin,
	.stage_write = stage_write,
	.stage_finish = stage_finish,
	.stage_drop = stage_drop,
	.compact = mbox_compact,
};

static const struct ps_setting mbox_settings[] = {
	{.name = "layout",
	 .type = PS_SET_CHOICE,
	 .def = "sbd",
	 .choices = "sbd fs",
	 .help = "what is below mailbox A lies in A.sbd/ (as Thunderbird has it), or in A/ (Dovecot, alpine)"},
	{.name = "inbox",
	 .type = PS_SET_STRING,
	 .def = "INBOX",
	 .help = "INBOX's file, below the user's mail location"},
	{.name = "locks",
	 .type = PS_SET_CHOICE,
	 .def = "both",
	 .choices = "both dotlock fcntl none",
	 .help = "how other programs are kept out of a file that is being changed"},
	{.name = "lock_timeout",
	 .type = PS_SET_TIME,
	 .def = "30s",
	 .min = 1,
	 .max = 600,
	 .help = "how long to wait for other programs' locks"},
	{.name = "stale_lock",
	 .type = PS_SET_TIME,
	 .def = "5m",
	 .min = 60,
	 .max = 86400,
	 .help = "a dot lock older than this is removed, if the file has not changed either"},
	{.name = NULL},
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.build = PS_BUILD,
	.kind = PS_PLUGIN_BACKEND,
	.ops_size = sizeof(struct ps_backend),
	.name = "mbox",
	.summary = "mbox: a file per mailbox, with a local index",
	.ops = &mbox_backend,
	.settings = mbox_settings,
};
