/* SPDX-License-Identifier: MIT */
/* Shared by transactions.c, recipients.c and settle.c, and included by nobody else. */
#ifndef CORE_DELIVERY_TRANSACTIONS_PRIVATE_H
#define CORE_DELIVERY_TRANSACTIONS_PRIVATE_H

#include <sys/queue.h>
#include "core/delivery/transactions.h"
#include "postern/pool.h"

enum {
	RECIPIENTS_MAX =
		1000,       /* of a transaction, the refused ones too; RFC 5321 section 4.5.3.1.8 wants at least 100 */
	TARGETS_MAX = 5000, /* all of them together may lead to */
	STORING_MAX = 16,   /* of a transaction at a time: each is a descriptor in a mail process */
	ID_SIZE = PS_ID_LENGTH + 1,
	SLOTS = 1024,
	PROBE_PATIENCE_MS = 10000, /* at RCPT, for a mail process */
};

enum state {
	TAKING,    /* MAIL was answered with 250 */
	RECEIVING, /* a front writes to the file */
	QUEUEING,  /* the message is whole: what must leave goes into the queue */
	STORING,   /* and into mailboxes */
	DEFERRING, /* what could not be stored goes into the queue */
};

/* What became of a target. */
enum fate {
	OPEN,     /* not known yet */
	STORED,   /* in its mailbox, or in the queue */
	DEFERRED, /* not now */
	FAILED,   /* never */
};

/* One of those that a recipient leads to. */
struct target {
	struct target *next; /* of the recipient's */
	struct recipient *recipient;
	struct ps_target to;
	struct ps_asking *asking; /* NULL: nothing is awaited */
	bool accepted;            /* it is there */
	uint32_t mail;            /* the process that has its mailbox */
	bool replaced;            /* it is not, and others stand for it */
	bool again;               /* it is tried again at the next tick */
	uint64_t probe_ends;      /* 0: it is not asked whether there is room */
	enum fate fate;
	struct ps_answer why; /* of the fate; at RCPT, of not being accepted */
	bool to_queue;        /* the queue takes it from here */
	struct ps_errand errand;
};

struct recipient {
	struct recipient *next;
	struct transaction *transaction;
	char *path, *orcpt; /* as the client gave them */
	uint32_t notify;
	struct target *targets, **end;
	size_t undecided; /* of the targets, at RCPT */
	bool accepted;
};

struct transaction {
	LIST_ENTRY(transaction) slot;
	struct ps_transactions *transactions;
	struct ps_client client;
	bool orphaned; /* the client has gone */
	enum state state;
	char id[ID_SIZE];
	struct ps_pool *pool;
	enum ps_mail_source source;
	uint32_t options;
	const char *sid, *reverse_path, *envid;
	const char *user; /* who has logged in to send it; NULL: nobody has */
	struct recipient *recipients, **end;
	size_t count, target_count, accepted;
	size_t undecided; /* recipients of which RCPT is not answered yet */
	size_t taken; /* recipients that count for what the user may send; given back unless the message is taken over */
	int file;
	uint64_t size;
	uint64_t announced; /* at MAIL; 0: not */
	/* Of ps_transactions_submit(). */
	void (*done)(void *arg, const struct ps_answer *answer);
	void *done_arg;
	struct ps_answer last; /* what was said last */
	/* When the message is whole. */
	struct target *unstored; /* the first of which storing has not begun */
	size_t storing;          /* of which it has, and not ended */
	size_t again;            /* of which it is tried again */
	uint64_t patience_ends;
	struct ps_parcel parcel; /* that the queue is given */
};

struct ps_transactions {
	struct ps_transaction_hooks hooks;
	const struct ps_conf *conf;
	struct ps_local *local;
	struct ps_route *route;
	struct ps_limits *limits;
	struct ps_ticket_key pass_key;
	struct ps_revoked *revoked;
	bool stopping;
	void (*idle)(void *arg); /* NULL: nobody waits for it */
	void *idle_arg;
	char *spool_dir;                         /* the first: the process is confined to it */
	LIST_HEAD(, transaction) clients[SLOTS]; /* by number */
};

/* transactions.c */
void transaction_say(struct transaction *t, unsigned code, const char *enhanced, const char *text);
void transaction_drop(struct transaction *t);

/* recipients.c: answers RCPT, later. */
void recipient_add(struct transaction *t, const struct ps_msg_mail_rcpt *rcpt);
/* While TAKING. */
void recipients_tick(struct transaction *t, uint64_t now_ms);
/* RCPT was answered. */
void transaction_recipient_decided(struct transaction *t);

/* settle.c: the message is whole, and goes where it must. Drops the transaction in the end. */
void transaction_settle(struct transaction *t);
/* While STORING. */
void transaction_tick(struct transaction *t, uint64_t now_ms);

#endif
