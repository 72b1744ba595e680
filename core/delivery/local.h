/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/local.h - users of this server, as relay sees them: whether there is one, and a message for their mailbox.
 *
 * Auth is asked for a user, and for a ticket that opens their mail for one delivery; the user's mail process stores. What is said to them goes out by
 * hooks, which the relay role fills with messages, and unit tests with functions. All of it belongs to the loop.
 */
#ifndef CORE_DELIVERY_LOCAL_H
#define CORE_DELIVERY_LOCAL_H

#include "core/process/messages.h"

struct ps_local;
struct ps_asking; /* a question that is open */

/* A message for one mailbox. All of it stays the caller's, until it is answered. */
struct ps_errand {
	const char *id;                       /* of the message, for the log */
	const char *user;                     /* whose mailbox */
	const char *mailbox;                  /* NULL: INBOX, and so it is if there is no mailbox of this name */
	const char *reverse_path, *recipient; /* for Return-Path and Delivered-To */
	bool refuse_loop; /* PS_E_CONFLICT where the message has been delivered to this recipient before, by its own Delivered-To */
	int file;
	uint64_t size;
};

/* What a mail process is told. */
struct ps_delivery {
	const struct ps_errand *errand;
	struct ps_bytes ticket, token;
	uint32_t mail; /* the process that serves the user */
	bool probe;    /* nothing is stored: would it be? */
};

struct ps_local_hooks {
	/* Answered by ps_local_found(). Negative: nobody can be asked now. */
	int (*find_user)(void *arg, uint64_t question, const char *name, const char *sid, bool ticket);
	/* Answered by ps_local_delivered(). */
	int (*deliver)(void *arg, uint64_t question, const struct ps_delivery *delivery);
	void *arg;
};

struct ps_local *ps_local_create(const struct ps_local_hooks *hooks);
void ps_local_destroy(struct ps_local *local);

/* The function is called once, later, unless the question is cancelled. `mail`: of a user who is there, the process that serves them now. NULL:
 * nobody can be asked now. */
typedef void (*ps_local_found_fn)(void *arg, enum ps_lookup_status status, uint32_t mail);
struct ps_asking *ps_local_find(struct ps_local *local, const char *name, const char *sid, ps_local_found_fn fn,
				void *arg);
/* error 0: it is stored, durably, now or at an earlier try (a user and mailbox get a message of this id once). PS_E_NOTFOUND: there is no such
 * user; PS_E_CLOSED: somebody was not there; others are those of storage. */
struct ps_asking *ps_local_store(struct ps_local *local, const struct ps_errand *errand,
				 void (*fn)(void *arg, int error), void *arg);
/* Whether the mailbox would take a message of errand->size now (0: not known). error 0: it would, or its process cannot tell; PS_E_QUOTA; PS_E_NOTFOUND,
 * PS_E_CLOSED: as above, of the user. */
struct ps_asking *ps_local_probe(struct ps_local *local, const struct ps_errand *errand,
				 void (*fn)(void *arg, int error), void *arg);
/* Whatever comes is not told. What has been sent to a mail process is stored all the same. cancel(NULL) does nothing. */
void ps_local_cancel(struct ps_asking *asking);

void ps_local_found(struct ps_local *local, const struct ps_msg_lookup_answer *answer);
void ps_local_delivered(struct ps_local *local, uint64_t question, int error);
/* Auth (mail NULL), or a mail process, has gone, and answers no more. */
void ps_local_lost(struct ps_local *local, const uint32_t *mail);

#endif
