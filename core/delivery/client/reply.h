/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/client/reply.h - a reply of an SMTP server (RFC 5321 section 4.2), which may hold anything.
 */
#ifndef CORE_DELIVERY_CLIENT_REPLY_H
#define CORE_DELIVERY_CLIENT_REPLY_H

#include "postern/buf.h"

enum {
	REPLY_LINES_MAX = 100,
	REPLY_LINE_MAX = 2048,
	REPLY_TEXT_MAX = 1000,
	ENHANCED_SIZE = 12
};

struct smtp_reply {
	unsigned code;                /* 200 to 599 */
	char enhanced[ENHANCED_SIZE]; /* "5.1.1", of the class of the code; "" when the server gave none */
	struct ps_buf text;           /* printable ASCII: other octets as \xHH; lines joined by blanks */
	struct ps_buf lines;          /* what follows the code, as it came, each line ended by LF */

	/* Of the reader. */
	struct ps_buf line;
	unsigned count;
	bool whole;
};

void smtp_reply_init(struct smtp_reply *reply);
void smtp_reply_finish(struct smtp_reply *reply);

/* Takes octets, in pieces of any size, up to the end of a reply: 1, and what is behind it is left in `in`. 0: more is needed.
 * PS_E_SYNTAX, PS_E_LIMIT: this is no reply, and the connection is of no use any more. The call after a 1 begins the next. */
int smtp_reply_feed(struct smtp_reply *reply, struct ps_bytes *in);

/* The enhanced code, else "4.0.0" and the like. Static, or the reply's. */
const char *smtp_reply_enhanced(const struct smtp_reply *reply);

/* Appends octets in printable ASCII, as above. */
void smtp_escape(struct ps_buf *out, struct ps_bytes in);

#endif
