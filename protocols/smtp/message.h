/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/message.h - a message on its way from the client to the spool.
 *
 *	octets -> [BINARYMIME made storable] -> lines (dots, line ends) -> header (Received counted; submission: mended) -> spool
 *
 * It knows nothing of sessions. What is wrong with it is remembered; it is read to its end all the same, and refused then.
 */
#ifndef PROTOCOLS_SMTP_MESSAGE_H
#define PROTOCOLS_SMTP_MESSAGE_H

#include "postern/buf.h"

struct smtp_message;

struct smtp_message_args {
	int (*write)(void *arg, struct ps_bytes octets); /* fails: so does the message; the writer knows why */
	void *arg;
	uint64_t size_limit;
	unsigned received_limit;
	bool counted; /* BDAT: no dots, and the end is told */
	bool binary;  /* BODY=BINARYMIME */
	bool convert; /* bare CR and LF become line ends; else they are refused */
	bool submission;
	/* For a submission's missing fields. */
	const char *reverse_path, *date, *message_id;
};

/* Why a message is not taken. */
struct smtp_refusal {
	unsigned code;
	const char *enhanced, *text;
	const char *reason; /* for the log */
};

/* Strings are copied. */
struct smtp_message *smtp_message_create(const struct smtp_message_args *args);
void smtp_message_destroy(struct smtp_message *message); /* destroy(NULL) does nothing */

/* Takes octets, and says how many: all, but for what follows the end that a dot marks. */
size_t smtp_message_take(struct smtp_message *message, struct ps_bytes octets);
/* The end was there. */
bool smtp_message_has_ended(const struct smtp_message *message);
/* Once, at the end; for a counted message the caller knows when. NULL: nothing is wrong with it. */
const struct smtp_refusal *smtp_message_finish(struct smtp_message *message);
/* What is known to be wrong already; NULL: nothing yet. */
const struct smtp_refusal *smtp_message_refusal(const struct smtp_message *message);
uint64_t smtp_message_octets(const struct smtp_message *message); /* of the message, so far */

#endif
