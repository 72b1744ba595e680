/* SPDX-License-Identifier: MIT */
/*
 * fetch_binary.h - a part without its transfer encoding (RFC 3516), in pieces.
 *
 * How long it is, and whether it has NUL, must be told ahead of it: it is decoded twice.
 */
#ifndef PROTOCOLS_IMAP_FETCH_BINARY_H
#define PROTOCOLS_IMAP_FETCH_BINARY_H

#include "protocols/imap/fetch_parse.h"
#include "protocols/imap/imap.h"

struct imap_binary;

/* Encodings in lower case; an empty one is that of what has parts itself. */
bool imap_binary_knows(struct ps_bytes encoding);
bool imap_binary_decodes(struct ps_bytes encoding); /* it changes something */

/* `body`, `span` and `section` must outlive it. */
struct imap_binary *imap_binary_create(const struct ps_body *body, const struct ps_span *span, const char *encoding,
				       const struct imap_section *section);
void imap_binary_destroy(struct imap_binary *binary); /* destroy(NULL) does nothing */
/* Sends what goes behind the label. 1: all is sent; 0: the command is to yield; negative: reading failed. */
int imap_binary_send(struct imap_binary *binary, struct imap_cmd *cmd);

#endif
