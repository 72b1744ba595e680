/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/transactions.h - mail that is being taken: from MAIL to the reply after the message.
 *
 * What a front says of a session comes in here, and what has to be asked of others (users, mail processes) goes out by hooks, which
 * the relay role fills with messages, and unit tests with functions. All of it belongs to the loop.
 */
#ifndef CORE_DELIVERY_TRANSACTIONS_H
#define CORE_DELIVERY_TRANSACTIONS_H

#include "core/event/loop.h"
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

struct ps_delivery {
	struct ps_bytes ticket;
	uint32_t mail; /* the process that serves the user */
	const char *sid, *mailbox, *reverse_path, *recipient;
	struct ps_bytes token;
	uint64_t size;
	int file; /* stays the caller's */
};

struct ps_transaction_hooks {
	void (*reply)(void *arg, struct ps_client client, const struct ps_answer *answer);
	/* The file is taken over. */
	void (*give_file)(void *arg, struct ps_client client, int file);
	/* Answered by ps_transactions_found(). Negative: nobody can be asked now. */
	int (*find_user)(void *arg, uint64_t question, const char *name, const char *sid, bool ticket);
	/* Answered by ps_transactions_delivered(). */
	int (*deliver)(void *arg, uint64_t question, const struct ps_delivery *delivery);
	void *arg;
};

struct ps_transactions *ps_transactions_create(const struct ps_conf *conf, const struct ps_transaction_hooks *hooks);
/* Nobody is answered. */
void ps_transactions_destroy(struct ps_transactions *transactions);
void ps_transactions_reconfigure(struct ps_transactions *transactions, const struct ps_conf *conf);

/* What passes are sealed with. */
void ps_transactions_set_key(struct ps_transactions *transactions, struct ps_bytes pass_key);

/* What a front says. What does not fit the state is answered with 503. */
void ps_transactions_from(struct ps_transactions *transactions, struct ps_client client,
			  const struct ps_msg_mail_from *from);
void ps_transactions_rcpt(struct ps_transactions *transactions, struct ps_client client,
			  const struct ps_msg_mail_rcpt *rcpt);
void ps_transactions_data(struct ps_transactions *transactions, struct ps_client client);
void ps_transactions_end(struct ps_transactions *transactions, struct ps_client client,
			 const struct ps_msg_mail_end *end);
/* A message that is being delivered is delivered all the same; nobody is answered. */
void ps_transactions_reset(struct ps_transactions *transactions, struct ps_client client);
/* The front has gone, and all its sessions. */
void ps_transactions_drop_front(struct ps_transactions *transactions, unsigned front);

void ps_transactions_found(struct ps_transactions *transactions, const struct ps_msg_lookup_answer *answer);
void ps_transactions_delivered(struct ps_transactions *transactions, uint64_t question, int error);
/* Auth (mail NULL), or a mail process, has gone: its open questions are answered with a failure for now. */
void ps_transactions_lost(struct ps_transactions *transactions, const uint32_t *mail);

#endif
