/* SPDX-License-Identifier: MIT */
/*
 * core/store/place.h - where a user's mail is.
 *
 * This is the one function that says so. It is asked when a store is opened, and again when a commit or a look finds that the
 * store has moved (PS_E_MOVED): whoever moves a user's mail makes this function tell of the new place, and then sets the
 * generation of the old store; sessions follow.
 */
#ifndef CORE_STORE_PLACE_H
#define CORE_STORE_PLACE_H

#include "postern/pool.h"
#include "postern/store.h"

struct ps_place {
	const char *backend;
	const char *root;
	uint64_t generation; /* 0: any */
};

/* `info`: what the user database says. The texts are info's or the pool's. */
int ps_place_find(const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_pool *pool,
		  struct ps_place *ret_place);

#endif
