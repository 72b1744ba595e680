/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/client/outgoing.h - a message on its way out: read from its file piece by piece, with CR LF for each line end and nowhere else
 * a CR or LF, and dots stuffed (RFC 5321 section 4.5.2).
 */
#ifndef CORE_DELIVERY_CLIENT_OUTGOING_H
#define CORE_DELIVERY_CLIENT_OUTGOING_H

#include "postern/buf.h"

struct ps_unbinary;

enum outgoing_form {
	OUTGOING_LINES, /* as said above */
	OUTGOING_RAW,   /* as it lies: BINARYMIME */
	OUTGOING_SEVEN, /* lines, and parts of 8 bits as base64 */
};

struct outgoing {
	int file;
	uint64_t at, size;
	bool raw;
	bool stuff;                  /* dots, for DATA */
	bool in_line;                /* the line in progress has octets */
	bool cr;                     /* the last octet was one, and is not written yet */
	uint8_t *piece;              /* PIECE_SIZE octets */
	struct ps_unbinary *convert; /* NULL: not to be converted */
	struct ps_buf *to;           /* where that writes */
};

void outgoing_init(struct outgoing *out, int file, uint64_t size, enum outgoing_form form, bool stuff);
void outgoing_finish(struct outgoing *out);
/* Appends some, at least an octet if there are any: 0, or 1 with the end, which is that of a line. PS_E_STORAGE: the file cannot be read to its
 * end. */
int outgoing_fill(struct outgoing *out, struct ps_buf *to);

/* Whether the message has octets above 127, in its header or behind that, when it is sent in this form. Reads it all. 0, or as above. */
int outgoing_look(int file, uint64_t size, enum outgoing_form form, bool *ret_header, bool *ret_body);

#endif
