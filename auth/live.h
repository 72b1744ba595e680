/* SPDX-License-Identifier: MIT */
/*
 * auth/live.h - credentials of users in databases by which sessions are live, and whether they still hold.
 *
 * A database does not tell when something in it changes, so it is asked, again and again, about each of these: as often as the setting
 * userdb_check_time says, but of all users together no more than a database can easily bear. What does not hold any more is revoked
 * (auth/service.h). The passwd-file is none of this: what changes in it is seen when it is read.
 *
 * A credential that holds until a certain time only is revoked then, wherever its owner is.
 *
 * Sessions that are older than this process, as it was started again, are called up once, and what opened them is looked at in the same
 * way; this also where the user is in the passwd-file.
 *
 * Which sessions have ended auth is not told. From time to time all that are live are called up; what none of them was opened by is
 * forgotten.
 */
#ifndef AUTH_LIVE_H
#define AUTH_LIVE_H

#include "auth/service.h"

struct ps_live;

struct ps_live_args {
	struct ps_loop *loop;
	struct ps_auth_service *service;
	/* Has ps_live_seen() called for each session, then ps_live_called() with the same number. */
	void (*call_up)(void *arg, uint64_t round);
	void *arg;
};

int ps_live_create(const struct ps_live_args *args, struct ps_live **ret_live);
void ps_live_reconfigure(struct ps_live *live, const struct ps_conf *conf); /* the root */
/* Somebody has logged in: the answer is PS_AUTH_OK. */
void ps_live_add(struct ps_live *live, const struct ps_auth_answer *answer);
void ps_live_seen(struct ps_live *live, const char *user, const struct ps_hash *credential);
void ps_live_called(struct ps_live *live, uint64_t round);

#endif
