/* SPDX-License-Identifier: MIT */
/* The protocol auth, whose plugin is one file: its entry gets another name, so that a backend can be linked beside it. */
#define postern_plugin auth_plugin
#include "protocols/auth/auth.c"

extern const struct ps_half auth_half __attribute__((alias("half")));
