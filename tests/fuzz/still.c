/* SPDX-License-Identifier: MIT */
/* In place of core's watcher (core/store/watch.h): nothing is to happen by a clock, or an input would not do the same twice. */
#include "core/store/watch.h"

void ps_watch_add(struct ps_mailbox *mailbox)
{
	(void)mailbox;
}

void ps_watch_remove(struct ps_mailbox *mailbox)
{
	(void)mailbox;
}
