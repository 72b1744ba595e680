/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/transactions.h - mail that is being taken: from MAIL to the reply after the message.
 *
 * What a front says of a session comes in here; what is answered, and what the queue is given, goes out by hooks, which relay.c fills, and unit
 * tests. All of it belongs to the loop.
 *
 * Each recipient leads to targets (core/delivery/route): at RCPT it is settled that there is one at least. After the message what must leave is
 * queued first, then local mailboxes get it, then what could not be stored just now is queued. The reply comes when all of it is
 * durable:
 *
 *   nobody has it, as it failed for good       the code of that, 5xx; no word goes to the sender but this
 *   nobody has it, as there is no room         452
 *   else                                       250; what failed goes into the queue with the rest, which reports it to the sender
 *
 * LMTP has a reply for each recipient, and one that has a single mailbox is not queued: whoever sends it can try again.
 */
#ifndef CORE_DELIVERY_TRANSACTIONS_H
#define CORE_DELIVERY_TRANSACTIONS_H

#include "auth/revoked.h"
#include "core/delivery/local.h"
#include "core/delivery/parcel.h"
#include "core/delivery/route/limits.h"
#include "core/delivery/route/route.h"
#include "core/process/ticket.h"
#include "postern/envelope.h"

struct ps_transactions;

/* A session of a front, and which of its transactions: what comes late of a former one is not taken for the present one's. */
struct ps_client {
	unsigned front;
	uint64_t number;
	uint32_t turn;
};

struct ps_answer {
	unsigned code;
	const char *enhanced, *text;
	const char *id;
};

struct ps_transaction_hooks {
	void (*reply)(void *arg, struct ps_client client, const struct ps_answer *answer);
	/* The file is taken over. -1: there is none. */
	void (*give_file)(void *arg, struct ps_client client, int file);
	/* done() is called later, once, with 0 when it is durably there. The parcel stays the caller's until then. Negative: nothing can be queued.
	 * NULL: there is no queue. */
	int (*enqueue)(void *arg, const struct ps_parcel *parcel, void (*done)(void *done_arg, int error),
		       void *done_arg);
	void *arg, *queue_arg; /* the latter of enqueue() */
};

/* `local` stays the caller's. */
struct ps_transactions *ps_transactions_create(const struct ps_conf *conf, struct ps_local *local,
					       const struct ps_transaction_hooks *hooks);
/* All that are open; nobody is answered. */
void ps_transactions_drop(struct ps_transactions *transactions);
void ps_transactions_destroy(struct ps_transactions *transactions);
/* What both point to stays while they are used. What is under way goes on by the former route. */
void ps_transactions_reconfigure(struct ps_transactions *transactions, const struct ps_conf *conf);
/* By which recipients are found; NULL: none can be taken now. Stays the caller's. */
void ps_transactions_set_route(struct ps_transactions *transactions, struct ps_route *route);
/* What users may send; NULL: no limits. Stays the caller's. */
void ps_transactions_set_limits(struct ps_transactions *transactions, struct ps_limits *limits);
/* What passes are sealed with. */
void ps_transactions_set_key(struct ps_transactions *transactions, struct ps_bytes pass_key);
/* Passes that were made for it before do not hold any more. */
void ps_transactions_revoke(struct ps_transactions *transactions, const struct ps_revocation *revocation);

/* What a front says. What does not fit the state is answered with 503. */
void ps_transactions_from(struct ps_transactions *transactions, struct ps_client client,
			  const struct ps_msg_mail_from *from);
void ps_transactions_rcpt(struct ps_transactions *transactions, struct ps_client client,
			  const struct ps_msg_mail_rcpt *rcpt);
void ps_transactions_data(struct ps_transactions *transactions, struct ps_client client);
/* The message outgrows what is sent with its end: give_file() is called. */
void ps_transactions_room(struct ps_transactions *transactions, struct ps_client client);
void ps_transactions_end(struct ps_transactions *transactions, struct ps_client client,
			 const struct ps_msg_mail_end *end);
/* A message that is whole is delivered all the same; nobody is answered. */
void ps_transactions_reset(struct ps_transactions *transactions, struct ps_client client);
/* The front has gone, and all its sessions. */
void ps_transactions_drop_front(struct ps_transactions *transactions, unsigned front);

/* A message of the server's own, or one that the queue has and of which the targets are not known yet: is routed, stored and queued as one that
 * comes from a user is. `parcel`: domains and mailboxes do not count. All of it stays the caller's until done(), which is called once, perhaps before this returns, with what
 * a client would be told. */
void ps_transactions_submit(struct ps_transactions *transactions, const struct ps_parcel *parcel,
			    void (*done)(void *arg, const struct ps_answer *answer), void *arg);

/* No more is begun. What is whole goes on; `idle` is called when none of it is left, perhaps at once. */
void ps_transactions_stop(struct ps_transactions *transactions, void (*idle)(void *arg), void *arg);
bool ps_transactions_idle(const struct ps_transactions *transactions);

/* Each second, say: those who had gone are tried again, and a mailbox that has not answered for PS_STORE_PATIENCE_MS is left to the queue (RFC 5321 section 6.1: the answer to
 * the message comes soon). now_ms is CLOCK_MONOTONIC. */
#define PS_STORE_PATIENCE_MS 30000
void ps_transactions_tick(struct ps_transactions *transactions, uint64_t now_ms);

#endif
