/* SPDX-License-Identifier: MIT */
/*
 * core/net/linger.h - closes a connection so that the other side gets what was sent last.
 *
 * close() on a TCP socket with unread input makes the kernel send a reset, and a reset makes the
 * client's kernel throw away our last words. So reading goes on for a moment after we have said
 * that we send no more.
 */
#ifndef CORE_NET_LINGER_H
#define CORE_NET_LINGER_H

#include "core/event/loop.h"

struct lingering;

struct lingers {
	struct ps_loop *loop;
	struct lingering *first;
};

/* Takes over `fd`, whose sending side was shut down. `done` (may be NULL) is called when it is
 * closed. */
void linger_start(struct lingers *lingers, int fd, void (*done)(void *arg), void *arg);
/* Closes all of them now; done is called for each. */
void lingers_finish(struct lingers *lingers);

#endif
