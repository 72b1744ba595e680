/* SPDX-License-Identifier: MIT */
/*
 * fetch_body.h - the sections of one message: where each comes from, and sending them in pieces.
 */
#ifndef PROTOCOLS_IMAP_FETCH_BODY_H
#define PROTOCOLS_IMAP_FETCH_BODY_H

#include "protocols/imap/fetch_parse.h"
#include "protocols/imap/imap.h"

struct imap_binary;
struct imap_found;

/* Belongs to a FETCH; holds one message at a time. */
struct imap_sections {
	const struct imap_section *wanted; /* of the FETCH */
	struct imap_found *found;          /* one for each wanted */
	struct ps_buf text;                /* header fields that were picked out */
	struct ps_view *view;              /* with an open body; NULL: none is open */
	struct ps_body body;
	/* Being sent. */
	const struct imap_section *at;
	struct imap_found *at_found;
	struct ps_body_stream *stream;
	struct imap_binary *binary; /* in place of a stream */
};

void imap_sections_init(struct imap_sections *sections, const struct imap_section *wanted, struct ps_pool *pool);
void imap_sections_finish(struct imap_sections *sections);
/* Finds the sections of a message, and opens its body if it is needed. PS_E_GONE: it was expunged; PS_E_UNSUPPORTED: a part
 * that is to be decoded has an encoding that is not known. */
int imap_sections_find(struct imap_sections *sections, struct ps_view *view, uint32_t uid,
		       const struct ps_cache *cache);
/* Sends what was found, each with a blank before it unless it is the first item of its response. 1: all is sent;
 * 0: the command is to yield; negative: reading failed in the middle, and the session cannot go on. */
int imap_sections_send(struct imap_sections *sections, struct imap_cmd *cmd, bool first);
/* The command is to wait; sending goes on afterwards. */
void imap_sections_rest(struct imap_sections *sections);
/* The message is done with. */
void imap_sections_leave(struct imap_sections *sections);

#endif
