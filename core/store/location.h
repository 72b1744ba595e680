/* SPDX-License-Identifier: MIT */
/*
 * core/store/location.h - where a user's mail lies, as settings and user databases write it.
 */
#ifndef CORE_STORE_LOCATION_H
#define CORE_STORE_LOCATION_H

#include "postern/buf.h"

/* Appends "%d/%n/Maildir" for a user: %u is the whole name, %n the part before the @, %d the domain, %h and a leading "~" the
 * home (NULL: there is none), %% is %. Repeated slashes become one. PS_E_INVALID. */
int ps_location_expand(const char *location, const char *user, const char *home, struct ps_buf *out);

#endif
