/* SPDX-License-Identifier: MIT */
/* auth/entry_json.h - what is known of a user, but the password, as JSON: for the command line, from auth. */
#ifndef AUTH_ENTRY_JSON_H
#define AUTH_ENTRY_JSON_H

#include <jansson.h>
#include "auth/entry.h"

json_t *ps_entry_to_json(const struct ps_user_entry *entry);
/* The strings are the pool's. PS_E_INVALID: it is none. */
int ps_entry_from_json(const json_t *json, struct ps_pool *pool, struct ps_user_entry *ret_entry);

#endif
