/* SPDX-License-Identifier: MIT */
/*
 * auth/found.h - what databases said of users a short while ago.
 */
#ifndef AUTH_FOUND_H
#define AUTH_FOUND_H

#include "auth/entry.h"

struct ps_found;

/* A table of fixed size: a user who comes to another's place takes it. */
struct ps_found *ps_found_create(void);
void ps_found_destroy(struct ps_found *found); /* wipes */

/* Copied. Not kept if it would not last. */
void ps_found_put(struct ps_found *found, const struct ps_user_entry *entry, uint64_t until_ms);
/* Valid until the next call but get. NULL: not known. */
const struct ps_user_entry *ps_found_get(const struct ps_found *found, const char *name, uint64_t now_ms);
/* NULL: all of them. */
void ps_found_drop(struct ps_found *found, const char *name);
void ps_found_drop_old(struct ps_found *found, uint64_t now_ms);

#endif
