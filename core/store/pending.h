/* SPDX-License-Identifier: MIT */
/*
 * core/store/pending.h - extensions look at batches before they are committed.
 *
 * All of it happens in the turn of whoever leads a commit (core/store/commit.h), so that nobody else commits meanwhile.
 */
#ifndef CORE_STORE_PENDING_H
#define CORE_STORE_PENDING_H

#include "core/store/user.h"
#include "postern/extension.h"

/* All extensions that are loaded; *args without `conf`, which is theirs by `core_conf`. On failure some may be attached. */
int ps_extensions_attach(struct ps_user *user, const struct ps_extension_args *args, const struct ps_conf *core_conf);
/* One. Not while somebody commits. */
int ps_extension_attach(struct ps_user *user, const struct ps_extension *ops, const struct ps_extension_args *args);
/* Whether any of them would have something to do for this user. Opens no mail. */
bool ps_extensions_concern(const struct ps_user_info *info, const struct ps_conf *core_conf);
void ps_extensions_detach(struct ps_user *user);
/* The limit that an extension sets; zeros if none does. True: it is by ps_extensions_set_limit(). */
bool ps_extensions_limit(struct ps_user *user, struct ps_usage *ret_limit);
/* NULL: that of the configuration. PS_E_UNSUPPORTED: no extension takes limits. */
int ps_extensions_set_limit(struct ps_user *user, const struct ps_usage *limit);

/* What a store holds, while several batches are asked about in turn. Zeroed: not counted yet. */
struct ps_tally {
	bool counted;
	struct ps_usage used;
};
/* 0: every extension agrees. */
int ps_pending_ask(struct ps_user *user, const struct ps_batch *batch, bool question, struct ps_tally *tally);

/* ---- quota.c --------------------------------------------------------------------------------- */

/* The sum of the mailboxes' figures, as the backend has them. */
int ps_usage_count(struct ps_user *user, struct ps_usage *ret_used);
/* Looks at every mailbox for what others did; `look` as ps_user_look(). */
int ps_usage_look(struct ps_user *user, int (*look)(struct ps_user *user, struct ps_mbox *mbox));

#endif
