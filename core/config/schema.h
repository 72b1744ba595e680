/* SPDX-License-Identifier: MIT */
/*
 * core/config/schema.h - the settings that are core's own.
 */
#ifndef CORE_CONFIG_SCHEMA_H
#define CORE_CONFIG_SCHEMA_H

#include "postern/settings.h"

extern const struct ps_setting ps_core_settings[];
/* Of a section `userdb`, beside its driver's. */
extern const struct ps_setting ps_userdb_settings[];

#endif
