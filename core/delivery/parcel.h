/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/parcel.h - a message and those it is for, on the way into the queue.
 */
#ifndef CORE_DELIVERY_PARCEL_H
#define CORE_DELIVERY_PARCEL_H

#include "postern/envelope.h"

/* Names a message in the log, in Received and in the queue: 100 bits by chance. */
#define PS_ID_LENGTH 20
void ps_make_id(char ret_id[PS_ID_LENGTH + 1]);

struct ps_parcel_recipient {
	const char *address; /* in its one spelling; of a user of this server: the user's name */
	const char *orcpt;   /* RFC 3461, decoded; NULL: none */
	uint32_t notify;     /* PS_NOTIFY_* */
	const char *domain;  /* by which the next host is found; NULL: a mailbox here, */
	const char *mailbox; /* and which of the user's; NULL: INBOX */
	uint32_t mail;       /* the process that has it now */
};

struct ps_parcel {
	const char
		*id; /* the first PS_ID_LENGTH characters are the message's, and of all parcels that are made of it */
	const char *sid;
	enum ps_mail_source source;
	const char *user; /* who submitted it; NULL: nobody has logged in for it */
	const char *reverse_path;
	uint32_t options; /* PS_MAIL_* */
	const char *envid;
	const struct ps_parcel_recipient *recipients;
	size_t recipient_count;
	int file;
	uint64_t size;
};

#endif
