/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/route/limits.h - how much a user may send: messages in an hour and a day, recipients in a day.
 *
 * Windows slide: what was sent in the hour before this one counts by the part of it that lies less than an hour back. Counts are kept in memory,
 * for as many users as `users_max`; when there are more, those who sent least recently start anew, and so does everybody when the
 * server does.
 */
#ifndef CORE_DELIVERY_ROUTE_LIMITS_H
#define CORE_DELIVERY_ROUTE_LIMITS_H

#include <stdint.h>
#include "postern/settings.h"

#define PS_LIMITS_USERS 65536

struct ps_limits;

struct ps_limits *ps_limits_create(const struct ps_conf *root, size_t users_max);
/* Other limits; the counts stay. */
void ps_limits_configure(struct ps_limits *limits, const struct ps_conf *root);
void ps_limits_destroy(struct ps_limits *limits); /* destroy(NULL) does nothing */

/* Takes so many messages and recipients from what the user may send; `now`: monotonic seconds. NULL: granted. Else nothing was taken, and it
 * is what to say to the client, with 450 4.7.1. The first refusal in an hour is a line in the log (submission_limit). */
const char *ps_limits_take(struct ps_limits *limits, const char *user, unsigned messages, unsigned recipients,
			   uint64_t now);
/* They were not sent after all. */
void ps_limits_give_back(struct ps_limits *limits, const char *user, unsigned messages, unsigned recipients,
			 uint64_t now);

#endif
