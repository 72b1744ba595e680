/* SPDX-License-Identifier: MIT */
/* A plugin with a setting of every type, for the tests; its functions are never called. */
#include <string.h>
#include "postern/backend.h"
#include "postern/plugin.h"

static const struct ps_setting inner[] = {
	{.name = "depth", .type = PS_SET_INT, .def = "1", .min = -5, .max = 5},
	{.name = NULL},
};

static const struct ps_setting settings[] = {
	{.name = "truth", .type = PS_SET_BOOL, .def = "no"},
	{.name = "number", .type = PS_SET_INT, .def = "-3"},
	{.name = "size", .type = PS_SET_SIZE, .def = "10K"},
	{.name = "time", .type = PS_SET_TIME, .def = "90s"},
	{.name = "text", .type = PS_SET_STRING, .def = "a b"},
	{.name = "choice", .type = PS_SET_CHOICE, .def = "lf", .choices = "lf crlf"},
	{.name = "list", .type = PS_SET_LIST, .def = "x y"},
	{.name = "nets", .type = PS_SET_LIST, .choices = PS_NETWORKS},
	{.name = "levels", .type = PS_SET_LIST, .def = "5 50", .min = 1, .max = 100},
	{.name = "key", .type = PS_SET_STRING, .secret = true},
	{.name = "keys", .type = PS_SET_LIST, .secret = true},
	{.name = "one", .type = PS_SET_SECTION, .section = inner},
	{.name = "many", .type = PS_SET_SECTION, .section = inner, .titled = true},
	{.name = NULL},
};

static struct ps_backend ops;

static void nothing(void)
{
}

/* The loader looks whether they are there. */
__attribute__((constructor)) static void fill(void)
{
	void (*function)(void) = nothing;

	for (size_t at = 0; at < sizeof ops; at += sizeof function)
		memcpy((char *)&ops + at, &function, sizeof function);
}

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_BACKEND,
	.ops_size = sizeof(struct ps_backend),
	.name = "every",
	.summary = "for tests",
	.ops = &ops,
	.settings = settings,
};
