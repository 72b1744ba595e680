/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/relay.h - all of delivery, put together: transactions, users, routes, the queue and its schedule, the client.
 *
 *   a front ---> transactions ---> local (mailboxes)
 *                     |              ^
 *                     v              |
 *                   queue ------> attempts ---> client (other servers)
 *                     ^              |
 *                     +-- reports ---+
 */
#ifndef CORE_DELIVERY_RELAY_H
#define CORE_DELIVERY_RELAY_H

#include "core/delivery/queue/queue.h"
#include "core/delivery/transactions.h"

struct ps_relay;

struct ps_relay_hooks {
	struct ps_local_hooks local;
	void (*reply)(void *arg, struct ps_client client, const struct ps_answer *answer);
	void (*give_file)(void *arg, struct ps_client client, int file);
	void *arg;
};

/* The settings are those of `spool_dir`, `relay { }` and the routes. Nothing is attempted before ps_relay_start(). */
int ps_relay_create(struct ps_loop *loop, const struct ps_conf *conf, const struct ps_relay_hooks *hooks,
		    struct ps_relay **ret_relay);
void ps_relay_start(struct ps_relay *relay);
/* What both configurations point to stays. */
void ps_relay_reconfigure(struct ps_relay *relay, const struct ps_conf *conf);

/* Takes no more mail, finishes messages that are whole, drops what can be done again, and is gone when `done` is called. */
void ps_relay_stop(struct ps_relay *relay, void (*done)(void *arg), void *arg);

/* Files as they read now. A large alias file counts a while later, as it is read by another thread. An alias file that is wrong does not take the place of one
 * that was read before. The octets are taken over. */
void ps_relay_set_aliases(struct ps_relay *relay, struct ps_buf *text, const char *path);
void ps_relay_set_password(struct ps_relay *relay, struct ps_buf *text);

/* Queues a message of the server's own to a user (core/delivery/notice.h). A failure is logged. */
void ps_relay_notice(struct ps_relay *relay, const char *user, const char *subject, const char *text);

struct ps_transactions *ps_relay_transactions(struct ps_relay *relay);
struct ps_local *ps_relay_local(struct ps_relay *relay);
struct ps_queue *ps_relay_queue(struct ps_relay *relay);
struct ps_sender *ps_relay_sender(struct ps_relay *relay);

#endif
