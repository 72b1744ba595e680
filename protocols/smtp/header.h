/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/header.h - what a mail server does with the header of a message that goes by: counts its Received fields, takes out
 * a Return-Path, which delivery will put there, and, of a submission, adds what is missing and takes out what nobody else may see
 * (RFC 6409 section 8).
 *
 * The header is not kept: of each line only as much is held as it takes to know what it is.
 */
#ifndef PROTOCOLS_SMTP_HEADER_H
#define PROTOCOLS_SMTP_HEADER_H

#include <stdbool.h>
#include "postern/buf.h"

enum {
	SMTP_FROM_MAX = 64 << 10, /* of a From field that is looked into */
};

enum smtp_header_state {
	HEADER_LINE, /* the start of a line is held, until it is known what it is */
	HEADER_PASS, /* within a line that goes on */
	HEADER_DROP, /* within one that does not */
	HEADER_BODY,
};

struct smtp_header_field;

struct smtp_header {
	/* Given at the start. */
	int (*write)(void *arg, struct ps_bytes octets);
	void *arg;
	bool submission; /* else nothing is added, and what follows is not needed: */
	/* values for fields that are missing; an empty reverse_path adds no From */
	const char *reverse_path, *date, *message_id;

	enum smtp_header_state state;
	struct ps_buf held;
	const struct smtp_header_field *field; /* the one that goes by; NULL: none that matters */
	bool any;                              /* there was one, whichever */
	unsigned seen;                         /* which of those that must be there, as bits */
	unsigned received;
	struct ps_buf from;
	int error; /* of write() */
};

/* Takes octets of a message in CRLF form, in pieces of any size. */
void smtp_header_take(struct smtp_header *header, struct ps_bytes octets);
/* The message is whole. */
void smtp_header_end(struct smtp_header *header);
/* Whether a submission has exactly one From, with addresses in it. After the header. */
bool smtp_header_from_is_well_formed(const struct smtp_header *header);
void smtp_header_finish(struct smtp_header *header);

#endif
