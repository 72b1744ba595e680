/* SPDX-License-Identifier: MIT */
/*
 * core/store/mailbox.h - what the sessions of this process share of one mailbox.
 *
 * A mailbox is known by its object id, which rename does not change. Its rows are read when the first view opens, and
 * from then on brought up to date by a pull: "what changed and what vanished since". That is the one path for our
 * own changes, for those of other sessions and of other processes.
 */
#ifndef CORE_STORE_MAILBOX_H
#define CORE_STORE_MAILBOX_H

#include <stdatomic.h>
#include "core/store/snapshot.h"
#include "core/store/user.h"

/* A keyword table at one moment; shared and never changed. */
struct ps_keywords {
	atomic_uint refs;
	size_t count;
	const char *names[]; /* the texts follow */
};

struct ps_keywords *ps_keywords_create(const char *const *names, size_t count);
struct ps_keywords *ps_keywords_ref(struct ps_keywords *keywords);
void ps_keywords_unref(struct ps_keywords *keywords);
bool ps_keywords_eq(const struct ps_keywords *keywords, const char *const *names, size_t count);

/* One moment of a mailbox, whole. */
struct ps_mailbox_state {
	struct ps_snapshot *snapshot;
	struct ps_keywords *keywords;
	char *name;
	uint32_t attributes;
	uint32_t uid_next;
	uint64_t highest_modseq;
};

struct ps_mailbox {
	/* Set once. */
	struct ps_user *user;
	struct ps_mbox *mbox;
	struct ps_id id;
	uint32_t uid_validity;

	/* Under user->lock. */
	struct ps_mailbox *next;
	unsigned refs;
	bool listed;

	pthread_mutex_t pull_lock; /* one pull at a time */

	pthread_mutex_t lock;
	struct ps_mailbox_state state; /* snapshot NULL: not read yet */
	bool gone;                     /* deleted, or it has another UIDVALIDITY now */

	/* Held while callbacks run, so that a view that is closed is not called any more. */
	pthread_mutex_t notify_lock;
	struct ps_view *views;
	atomic_uint view_count;

	struct ps_column *columns; /* what searches have read of header fields (core/store/column.h) */

	/* Under the watcher's lock (core/store/watch.c). */
	struct ps_mailbox *watch_next;
	unsigned watchers;
	void *watch;
	bool outside;
};

/* Finds the mailbox and takes a reference. It may be that of a mounted store: the mailbox's user is that store then.
 * PS_E_NOTFOUND. */
int ps_mailbox_open(struct ps_user *user, const char *name, struct ps_mailbox **ret_mailbox);
struct ps_mailbox *ps_mailbox_ref(struct ps_mailbox *mailbox);
void ps_mailbox_close(struct ps_mailbox *mailbox); /* close(NULL) does nothing */
/* All of a user that nobody refers to any more. */
void ps_mailboxes_destroy(struct ps_user *user);

/* Brings the shared state to the present and tells all views but `except`, if there was a difference. PS_E_GONE. */
int ps_mailbox_pull(struct ps_mailbox *mailbox, const struct ps_view *except);
/* The same after a change, if anybody looks. A failure is logged: the change itself is done. */
void ps_mailbox_refresh(struct ps_mailbox *mailbox, const struct ps_view *except);
/* The same for all mailboxes of the user that somebody looks at. */
void ps_mailboxes_refresh(struct ps_user *user);
/* Fills *ret_state, whose parts the caller then owns. PS_E_GONE. */
int ps_mailbox_state(struct ps_mailbox *mailbox, struct ps_mailbox_state *ret_state);
void ps_mailbox_state_finish(struct ps_mailbox_state *state);

/* Calls all views of all mailboxes. */
void ps_mailboxes_notify(struct ps_user *user);
/* Calls the views but `except`. */
void ps_mailbox_notify(struct ps_mailbox *mailbox, const struct ps_view *except);

/* Views that want to be told (core/store/view.c). */
void ps_mailbox_add_view(struct ps_mailbox *mailbox, struct ps_view *view);
void ps_mailbox_remove_view(struct ps_mailbox *mailbox, struct ps_view *view);

#endif
