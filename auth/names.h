/* SPDX-License-Identifier: MIT */
/*
 * auth/names.h - log-in names: what they may hold, and their one spelling.
 */
#ifndef AUTH_NAMES_H
#define AUTH_NAMES_H

#include "postern/buf.h"

#define PS_USER_NAME_MAX 255

/*
 * Checks a name before anything is looked up with it, and appends its one spelling to `out`: lower
 * case, with
 * "@default_domain" where it has no domain (default_domain may be NULL). Letters, digits and
 * ._-+=&'#$! are lawful, and one
 * '@' between a local part and a domain; no part begins or ends with a dot or holds "..".
 * PS_E_INVALID otherwise.
 */
int ps_user_name_normalise(struct ps_bytes name, const char *default_domain, struct ps_buf *out);

#endif
