/* SPDX-License-Identifier: MIT */
#include "backends/lmdb/lmdb_private.h"
#include "postern/plugin.h"

static const struct ps_backend lmdb_backend = {
	.open = lmdb_open,
	.close = lmdb_close,
	PS_LEDGER_FUNCTIONS,
	.body = lmdb_body,
	.body_close = lmdb_body_close,
	.body_rest = lmdb_body_rest,
	.stage = lmdb_stage,
	.stage_write = lmdb_stage_write,
	.stage_finish = lmdb_stage_finish,
	.stage_drop = lmdb_stage_drop,
	.check = lmdb_check,
	.compact = lmdb_compact,
};

static const struct ps_setting lmdb_settings[] = {
	{.name = "compression",
	 .type = PS_SET_CHOICE,
	 .def = "none",
	 .choices = "none zstd",
	 .help = "how messages are stored from now on; those that are there are read either way"},
	{.name = NULL},
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_BACKEND,
	.ops_size = sizeof(struct ps_backend),
	.name = "lmdb",
	.summary = "one LMDB environment per user, with messages and all that is known of them",
	.ops = &lmdb_backend,
	.settings = lmdb_settings,
};
