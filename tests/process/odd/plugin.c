/* SPDX-License-Identifier: MIT */
/* One source, many plugins, each wrong in one way: the build gives ODD_NAME and one more
 * definition. */
#include <string.h>
#include "postern/backend.h"
#include "postern/build.h"
#include "postern/plugin.h"

#ifndef ODD_ABI
#define ODD_ABI PS_ABI
#endif
#ifndef ODD_SIZE
#define ODD_SIZE sizeof(struct ps_plugin)
#endif
#ifndef ODD_KIND
#define ODD_KIND PS_PLUGIN_BACKEND
#endif
#ifndef ODD_OPS_SIZE
#define ODD_OPS_SIZE sizeof(struct ps_backend)
#endif
#ifndef ODD_BUILD
#define ODD_BUILD NULL
#endif

static struct ps_backend ops;

static void nothing(void)
{
}

/* Functions that are never called. */
__attribute__((constructor)) static void fill(void)
{
	void (*function)(void) = nothing;

	for (size_t at = 0; at < sizeof ops; at += sizeof function)
		memcpy((char *)&ops + at, &function, sizeof function);
#ifdef ODD_LACKS
	ops.ODD_LACKS = NULL;
#endif
}

#ifdef ODD_NO_SYMBOL
extern const struct ps_backend *odd_ops;
const struct ps_backend *odd_ops = &ops;
#elif defined(ODD_SHORT)
__attribute__((visibility("default"))) const uint32_t postern_plugin = PS_ABI;
extern const struct ps_backend *odd_ops;
const struct ps_backend *odd_ops = &ops;
#else
PS_PLUGIN_EXPORT = {
	.abi = ODD_ABI,
	.size = ODD_SIZE,
	.kind = ODD_KIND,
	.ops_size = ODD_OPS_SIZE,
	.name = ODD_NAME,
	.summary = "a plugin for a test",
	.build = ODD_BUILD,
	.ops = &ops,
};
#endif
