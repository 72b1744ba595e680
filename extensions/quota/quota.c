/* SPDX-License-Identifier: MIT */
/* What the plugin exports. */
#include "extensions/quota/quota.h"
#include "postern/build.h"
#include "postern/plugin.h"

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_EXTENSION,
	.ops_size = sizeof(struct ps_extension),
	.name = "quota",
	.summary = "limits to what a user's mail may take",
	.build = PS_BUILD,
	.ops = &quota_extension,
	.settings = quota_settings,
};
