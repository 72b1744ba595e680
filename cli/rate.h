/* SPDX-License-Identifier: MIT */
#ifndef CLI_RATE_H
#define CLI_RATE_H

#include "postern/sync.h"

/* "500K", "5M": octets a second; "20msg": messages a second. PS_E_SYNTAX. */
int cli_parse_rate(const char *text, struct ps_sync_options *options);

#endif
