/* SPDX-License-Identifier: MIT */
/*
 * core/store/place.h - where a user's mail is.
 *
 * ps_place_find() is the one function that says so. It is asked when a store is opened, and again when a commit or a look finds that
 * the store has moved (PS_E_MOVED).
 *
 * The mail of a user who never moved is where the user database says: in the mail location. Otherwise a record there,
 * postern-control/place, says which of several stores it is: the mail location itself ("."), or a folder NUMBER-BACKEND below
 * postern-control/places. It holds names only, so that a mail location can be moved as a whole.
 *
 * Who moves a user's mail holds postern-control/place.lock all the time. While the record says `paused` and the lock is held,
 * the last changes are being copied: whoever asks waits. If it is not held, who moved it has died before the end, and the mail
 * is where it was.
 */
#ifndef CORE_STORE_PLACE_H
#define CORE_STORE_PLACE_H

#include "postern/pool.h"
#include "postern/store.h"

/* Below the mail location. */
#define PS_PLACE_CONTROL "postern-control"

struct ps_place {
	const char *backend;
	const char *root;
	uint64_t generation; /* 0: any */
	bool exists; /* it was made: where it is not, something is wrong, and no other is to be made in its stead */
};

/* `info`: what the user database says. The texts are info's or the pool's. PS_E_BUSY: it is being moved, and that takes too
 * long. */
int ps_place_find(const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_pool *pool,
		  struct ps_place *ret_place);

/* ---- the record; for who moves mail ------------------------------------------------------------ */

struct ps_place_store {
	const char *backend; /* NULL: there is none */
	const char *name;    /* "." or "2-lmdb" */
	uint64_t generation; /* 0: not known */
};

struct ps_place_record {
	struct ps_place_store now;
	struct ps_place_store target; /* being copied to */
	struct ps_place_store before; /* where the mail was, as long as one can go back */
	struct ps_place_store purged; /* being removed */
	bool paused;                  /* now has been shut, and target is not complete yet */
	int64_t moved;                /* since when the mail is not in `before` any more */
};

/* Without a record: `now` is what `info` says. */
int ps_place_read(const struct ps_user_info *info, struct ps_pool *pool, struct ps_place_record *ret_record);
/* Durable when it returns; makes postern-control if it is missing. */
int ps_place_write(const struct ps_user_info *info, const struct ps_place_record *record);
/* PS_E_BUSY: somebody is moving this user's mail. The lock goes when ret_fd is closed. */
int ps_place_lock(const struct ps_user_info *info, int *ret_fd);
/* Its path. */
const char *ps_place_root(const struct ps_user_info *info, const char *name, struct ps_pool *pool);

#endif
