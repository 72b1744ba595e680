/* SPDX-License-Identifier: MIT */
/*
 * core/store/commit.h - the one way in: batches of several sessions go to the backend together.
 *
 * Whoever finds the store idle leads: it takes all that wait, its own among them, and gives them to the backend in one
 * call, which shares its fsyncs between them. Those who come meanwhile wait and are the next group.
 *
 * Where extensions are attached (core/store/pending.h), the leader asks them first about each batch. Whom they refuse is asked for again
 * when the others are committed and the store was looked at: what made room may not have been known.
 */
#ifndef CORE_STORE_COMMIT_H
#define CORE_STORE_COMMIT_H

#include <pthread.h>
#include <stdbool.h>
#include "postern/store.h"

struct ps_user;
struct ps_commit_entry;

struct ps_commit_queue {
	pthread_mutex_t lock;
	pthread_cond_t turn; /* somebody has finished */
	struct ps_commit_entry *first, **end;
	bool busy;                    /* the backend's commit() or sync() runs, or extensions are asked */
	bool syncing;                 /* it is sync(), */
	struct ps_mbox *syncing_mbox; /* of this */
	bool looking;                 /* it may be sync(), of any */
	int64_t looked_at;            /* when it last was; of who leads. CLOCK_MONOTONIC, seconds */
	bool unsettled;               /* batches were committed of which something is left to settle() */
};

void ps_commit_queue_init(struct ps_commit_queue *queue);
void ps_commit_queue_finish(struct ps_commit_queue *queue);

/* Waits until the batch is durable or refused; one of flags only, where the store's durability is relaxed, until no end of the process can
 * undo it. Callbacks and other mailboxes are the caller's matter. PS_E_MOVED: the store
 * is open now where it moved to, and the caller may try again there (core/store/user.h). */
int ps_commit(struct ps_user *user, struct ps_batch *batch);
/* Whether a batch would be committed, as far as extensions say. Nothing is. What others did in the last two seconds may not be known. */
int ps_commit_ask(struct ps_user *user, struct ps_batch *batch);
/* ps_extensions_limit() and ps_extensions_set_limit(), while nobody commits. */
bool ps_commit_limit(struct ps_user *user, struct ps_usage *ret_limit);
int ps_commit_set_limit(struct ps_user *user, const struct ps_usage *limit);
/* Extensions, with what they are told of the store; when it is opened. */
int ps_commit_fit(struct ps_user *user, const struct ps_user_info *info);
/* What the user database says now, for extensions: does nothing where it says the same as before. */
void ps_commit_refit(struct ps_user *user, const struct ps_user_info *info);
/* The backend's settle(), where something is left to it. */
int ps_commit_settle(struct ps_user *user);
bool ps_commit_is_unsettled(struct ps_user *user);
/* The backend's sync(), never at the same time as a commit. */
int ps_commit_sync(struct ps_user *user, struct ps_mbox *mbox);
/* Waits for a sync() of this that is under way: the backend may say already that nothing is stale, while what it
 * found is not there yet. */
void ps_commit_wait_sync(struct ps_user *user, struct ps_mbox *mbox);

#endif
