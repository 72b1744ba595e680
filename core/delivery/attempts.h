/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/attempts.h - carries out what the queue hands out: into a mailbox, to another server, or through the routes anew; and has the sender
 * told where that is due.
 *
 * Where a recipient's mail goes is named by its destination:
 *
 *   local:N   a mailbox of the user whose name is the address. N is the mail process that had it: one that hangs keeps nobody else's mail waiting
 *   route     whatever the address leads to now; mail of the server's own begins with it
 *   other     a next host, by core/delivery/route
 */
#ifndef CORE_DELIVERY_ATTEMPTS_H
#define CORE_DELIVERY_ATTEMPTS_H

#include "core/delivery/client/client.h"
#include "core/delivery/queue/queue.h"
#include "core/delivery/transactions.h"

#define PS_DESTINATION_LOCAL "local"
#define PS_DESTINATION_ROUTE "route"

struct ps_attempts;

struct ps_attempts_args {
	struct ps_loop *loop;
	const struct ps_conf *conf;
	const char *spool_dir;
	struct ps_local *local;
	struct ps_transactions *transactions;
	struct ps_sender *sender;
};

int ps_attempts_create(const struct ps_attempts_args *args, struct ps_attempts **ret_attempts);
/* The queue that hands out attempts, before the first; these two, when they have changed. All stay the caller's. */
void ps_attempts_set_queue(struct ps_attempts *attempts, struct ps_queue *queue);
void ps_attempts_set_conf(struct ps_attempts *attempts, const struct ps_conf *conf);
void ps_attempts_set_route(struct ps_attempts *attempts, struct ps_route *route);

/* Drops those that wait for others, of which nobody is told by then (the sender is destroyed, and transactions are dropped); calls `done` when the rest
 * have come to their end. The queue hands out no more. */
void ps_attempts_close(struct ps_attempts *attempts, void (*done)(void *arg), void *arg);

/* Now and then. now_ms is CLOCK_MONOTONIC. */
void ps_attempts_tick(struct ps_attempts *attempts, uint64_t now_ms);

/* For struct ps_queue_hooks; `arg`: struct ps_attempts. */
void ps_attempts_begin(void *arg, struct ps_queue_attempt *attempt);

#endif
