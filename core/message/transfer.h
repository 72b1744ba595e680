/* SPDX-License-Identifier: MIT */
/* Content transfer encodings (RFC 2045 section 6), streaming, and lenient: nothing is refused. */
#ifndef CORE_MESSAGE_TRANSFER_H
#define CORE_MESSAGE_TRANSFER_H

#include "postern/buf.h"

enum transfer_kind {
	TRANSFER_IDENTITY,
	TRANSFER_BASE64,
	TRANSFER_QUOTED
};

struct transfer {
	enum transfer_kind kind;
	uint32_t bits;   /* base64: what is not yet whole octets */
	unsigned count;  /* base64: characters in it */
	uint8_t held[3]; /* quoted-printable: '=' and what followed */
	unsigned held_len;
	struct ps_buf blanks; /* quoted-printable: they go if the line ends here */
};

void transfer_init(struct transfer *transfer, const char *encoding);
void transfer_finish(struct transfer *transfer);
void transfer_feed(struct transfer *transfer, struct ps_bytes in, struct ps_buf *out);
void transfer_end(struct transfer *transfer, struct ps_buf *out);

struct ps_decode;
/* Whether text that is all ASCII comes out as it went in. */
bool decode_keeps_ascii(const struct ps_decode *decode);

/* -1 for what is no hexadecimal digit. */
int hex_value(int c);

#endif
