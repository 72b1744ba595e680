/* SPDX-License-Identifier: MIT */
/*
 * core/store/view.h - what a view holds.
 */
#ifndef CORE_STORE_VIEW_H
#define CORE_STORE_VIEW_H

#include "core/store/mailbox.h"
#include "core/store/set.h"

/* A change of this session's own, of which the client needs no telling. */
struct ps_known_change {
	struct ps_known_change *next; /* the older first */
	uint64_t modseq;
	struct ps_range *uids;
	size_t count;
	enum ps_flag_mode mode;
	uint32_t flags;
	uint64_t keywords;
};

struct ps_view {
	struct ps_user *user; /* whose session it is; the mailbox may be in a store that is mounted there */
	struct ps_mailbox *mailbox;
	bool read_only;
	unsigned bodies; /* open; the view does not follow its store while there are any */

	/* Under mailbox->notify_lock. */
	struct ps_view *next;
	void (*changed)(void *arg);
	void *arg;

	/* What the client has been told. The snapshot is the mailbox's own, or, while expunged messages are still
	 * shown, one that shares all chunks with it that have none of them. */
	struct ps_mailbox_state shown;
	struct ps_ranges recent;
	uint32_t recent_upto; /* UIDs below were looked at */
	struct ps_known_change *known, *last_change;
	struct ps_buf name; /* as clients know it, since ps_view_status() */
};

/* If the store of its mailbox has moved, looks at the same mailbox where it is now. PS_E_GONE: it is not there, or is another. */
int ps_view_here(struct ps_view *view);
/* Remembers the session's last change, in case ps_view_known() is called for it. */
void ps_view_note_change(struct ps_view *view, const struct ps_flag_change *change, uint64_t modseq);
void ps_view_known_finish(struct ps_view *view);
/* Whether `after` is what the client expects `before` to be, after the changes it has made itself. */
bool ps_view_expects(const struct ps_view *view, const struct ps_row *before, const struct ps_row *after);

#endif
