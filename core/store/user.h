/* SPDX-License-Identifier: MIT */
/*
 * core/store/user.h - an open store, shared by all sessions of its user in this process.
 *
 * LOCKS, in the order they may be taken: the registry's; user->lock; mailbox->pull_lock; mailbox->lock. No function
 * of the backend is called under user->lock or mailbox->lock, and nobody's callback under any of them;
 * mailbox->notify_lock is the callbacks' own and is taken with no other held.
 */
#ifndef CORE_STORE_USER_H
#define CORE_STORE_USER_H

#include <pthread.h>
#include <sys/queue.h>
#include <sys/types.h>
#include "core/store/commit.h"
#include "postern/store.h"

struct ps_attached;
struct ps_mailbox;
struct ps_mount;

/* What it takes to open a user's store again where it is then. */
struct ps_origin {
	char *name, *home, *backend, *root; /* what the user database said */
	uid_t uid;
	gid_t gid;
	const struct ps_backend *ops; /* NULL: to be looked up */
	const struct ps_conf *core_conf, *backend_conf;
	char *fields;
	char *mount; /* the name that it is mounted at in another store; NULL: it is not */
};

enum ps_user_state {
	PS_USER_OPENING,
	PS_USER_OPEN,
	PS_USER_CLOSING
};

struct ps_user {
	/* Under the registry's lock. */
	struct ps_user *next;
	char *key;
	unsigned refs;
	enum ps_user_state state;
	TAILQ_ENTRY(ps_user) kept; /* while refs is 0 */
	int64_t left_at;           /* when it became so; CLOCK_MONOTONIC, seconds */
	int64_t due_at;            /* when autoexpunge is to look at it next; CLOCK_MONOTONIC, seconds */
	bool moving;               /* somebody is opening it where it is now */
	unsigned settle_round;     /* of ps_users_settle(), the last that it was looked at in */
	bool moved;                /* it is not in the registry any more: who opens the store gets another */

	/* After it was opened it was still where it had been looked for: whoever shuts it will be noticed. */
	_Atomic(bool) is_found;

	/* Where the store is now, once it has moved; set once, with a reference. NULL: here. */
	_Atomic(struct ps_user *) moved_to;

	/* Set once. */
	struct ps_origin origin;
	char *name;
	uint64_t generation; /* when it was opened; 0: the backend knows of none */
	const struct ps_backend *ops;
	struct ps_store *store;
	uint64_t message_limit; /* octets; 0: none */
	bool relaxed;           /* changes of flags are answered before they are durable */
	char *root;             /* NULL: nowhere on disk */
	dev_t root_dev;
	ino_t root_ino;
	struct ps_mount *mounts; /* other stores in this one (core/store/mount.h) */

	struct ps_commit_queue commits;
	struct ps_attached
		*attached; /* extensions that are asked about its batches (core/store/pending.h); of who leads there */
	_Atomic(bool) is_asked; /* there are any */

	pthread_mutex_t lock;
	char *fields;                 /* what extensions were told (struct ps_user_info) */
	struct ps_mailbox *mailboxes; /* the last used first */
};

/* As ps_user_open(), with everything that it looks up given. `conf` may be NULL: built-in defaults. */
int ps_user_open_with(const struct ps_backend *ops, const struct ps_conf *backend_conf, const struct ps_conf *core_conf,
		      const struct ps_user_info *info, struct ps_user **ret_user);
/* As ps_user_open_with(), for a store that is mounted in another at this name: it has no mounts, and gets no mailboxes made. */
int ps_user_open_mounted(const struct ps_backend *ops, const struct ps_conf *backend_conf,
			 const struct ps_conf *core_conf, const struct ps_user_info *info, const char *mount,
			 struct ps_user **ret_user);
struct ps_user *ps_user_ref(struct ps_user *user);
/* One that is open, no mount, and due, with a reference; it is due again in so many seconds, also if it is closed meanwhile. NULL: there is none. */
struct ps_user *ps_users_take_due(int64_t now, unsigned seconds);

/*
 * Stores that move. A session keeps the ps_user it was given; the functions that it calls work on ps_user_now(), which is
 * the same, or where the store is by now. The one it was opened as stays, closed to changes, for as long as somebody
 * reads there.
 *
 * ps_commit() and ps_commit_sync() that meet PS_E_MOVED call ps_user_move(); so who gets that code may try again, once, with
 * what ps_user_now() and ps_view_here() say then.
 */
struct ps_user *ps_user_now(struct ps_user *user);
/* PS_E_MOVED: it was opened where it is now. Another code: that did not work. */
int ps_user_move(struct ps_user *user);
/* Moves it if its generation says so: a store that has moved is silent. True: it has moved. */
bool ps_user_check_moved(struct ps_user *user);

/* Brings in what others did to the mailbox (NULL: to the list of mailboxes) if the backend says that there may be
 * something. */
int ps_user_look(struct ps_user *user, struct ps_mbox *mbox);

/* Makes the mailboxes of a new user (core/store/defaults.c). */
int ps_user_make_defaults(struct ps_user *user, const struct ps_conf *core_conf);

#endif
