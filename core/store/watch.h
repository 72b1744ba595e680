/* SPDX-License-Identifier: MIT */
/*
 * core/store/watch.h - looks after mailboxes that somebody has open, for changes from outside.
 *
 * One thread of the process asks each such mailbox's backend every two seconds, or, where the backend can watch by
 * itself, when that calls. It runs only while there is a mailbox to look after.
 */
#ifndef CORE_STORE_WATCH_H
#define CORE_STORE_WATCH_H

struct ps_mailbox;

/* In pairs, one for each view. */
void ps_watch_add(struct ps_mailbox *mailbox);
void ps_watch_remove(struct ps_mailbox *mailbox);

#endif
