/* SPDX-License-Identifier: MIT */
/*
 * postern/extension.h - what an extension may do: it looks at changes of a store before they are made.    [in-tree]
 *
 * An extension is a plugin of the kind PS_PLUGIN_EXTENSION. Each that is installed is asked about each store that is opened by
 * the mailbox layer, in the order in which they were loaded.
 *
 * THREADS. Core calls the functions of one state one at a time, from any thread.
 */
#ifndef POSTERN_EXTENSION_H
#define POSTERN_EXTENSION_H

#include "postern/store.h"

struct ps_extension_args {
	const struct ps_user_info *user;
	const char *mount;          /* the mailbox name that the store is mounted at; NULL: it is the user's own */
	const struct ps_conf *conf; /* the extension's section; NULL: there is no configuration */
	/* A folder of this store's, wherever its mail moves, for small files that the extension keeps of it. It need not be there yet. NULL: nobody
	 * opens the mail. */
	const char *control;
};

/* A batch that is to be committed, and what may be asked of it in before_commit(). Its operations are as a backend gets them
 * (postern/backend.h); reading goes through the backend's functions. */
struct ps_pending;
const struct ps_batch *ps_pending_batch(const struct ps_pending *pending);
/* Nothing is committed: somebody wants to know whether it would be (the recipient of a message that is still to come). */
bool ps_pending_is_question(const struct ps_pending *pending);
/* What the batch adds to the store, and what it removes in the same go. Costs what it copies and expunges, no more. Moving within a store is neither. */
int ps_pending_growth(struct ps_pending *pending, struct ps_usage *ret_added, struct ps_usage *ret_removed);
/* What the store holds before it: counted from the mailboxes' figures, once for all batches that are committed together. */
int ps_pending_usage(struct ps_pending *pending, struct ps_usage *ret_used);
/* The mailbox that all it adds goes to, as the store names it; valid until the batch is committed. NULL: it is not one. */
int ps_pending_target(struct ps_pending *pending, const char **ret_name);

/* Mail from the server to its user, by the ways of all mail; where none is taken (`spool_dir` is not set) the log alone hears of it. `text`: UTF-8,
 * lines of at most 78 characters that end with LF. Returns at once; any thread. */
void ps_tell_user(const char *user, const char *subject, const char *text);

struct ps_extension {
	/* Required. *ret_state may be NULL: nothing to do for this store, and none of the others is called. A failure keeps the store shut. */
	int (*open)(const struct ps_extension_args *args, void **ret_state);
	void (*close)(void *state);
	/* Optional. May refuse by an error, such as PS_E_QUOTA. Who is refused is asked once more after the store was looked at for what others did
	 * to it, and after the batches that were committed meanwhile: both may have made room. */
	int (*before_commit)(void *state, struct ps_pending *pending);
	/* Optional: the most that the store may hold; what has no limit is left 0. It makes the store a quota root (RFC 9208). True: set_limit() said so. */
	bool (*limit)(void *state, struct ps_usage *ret_limit);
	/* Optional: from now on this is the limit, whatever the configuration says; NULL: what the configuration says is. Durable when it returns. */
	int (*set_limit)(void *state, const struct ps_usage *limit);
};

#endif
