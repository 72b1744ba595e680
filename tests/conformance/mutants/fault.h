/* SPDX-License-Identifier: MIT */
/*
 * A mutant is a backend that breaks one promise, which $POSTERN_FAULT names, and keeps all others: a kit that does not
 * see it proves nothing. `list` says what each fault is; without one the backend is sound.
 */
#ifndef TESTS_CONFORMANCE_MUTANTS_FAULT_H
#define TESTS_CONFORMANCE_MUTANTS_FAULT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "postern/plugin.h"

static inline bool fault(const char *name)
{
	static const char *chosen;

	if (!chosen && !(chosen = getenv("POSTERN_FAULT")))
		chosen = "";
	return strcmp(chosen, name) == 0;
}

/* The sound backend, built in under this name: its sources are compiled with -Dpostern_plugin=sound_plugin. */
#undef postern_plugin
extern const struct ps_plugin sound_plugin;

/* Settings are those of the sound one: a constructor fills them in. */
#define MUTANT(word, table)                                                                                            \
	__attribute__((visibility("default"))) struct ps_plugin postern_plugin = {                                     \
		.abi = PS_ABI,                                                                                         \
		.size = sizeof(struct ps_plugin),                                                                      \
		.kind = PS_PLUGIN_BACKEND,                                                                             \
		.ops_size = sizeof(struct ps_backend),                                                                 \
		.name = (word),                                                                                        \
		.summary = "breaks a promise, to see that the kit notices",                                            \
		.ops = &(table),                                                                                       \
	};                                                                                                             \
	__attribute__((constructor)) static void take_settings(void)                                                   \
	{                                                                                                              \
		postern_plugin.settings = sound_plugin.settings;                                                       \
	}

#endif
