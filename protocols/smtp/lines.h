/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/lines.h - a message as it comes in: where it ends, and its octets without the added dots.
 *
 * Only CR LF ends a line, and only CR LF "." CR LF the message (RFC 5321 sections 2.3.8 and 4.1.1.4): who takes anything else for an
 * end lets a message smuggle in another. A bare CR or LF is remembered, so that the message can be refused, or made CR LF on its way
 * out; it never takes part in the search for the end.
 */
#ifndef PROTOCOLS_SMTP_LINES_H
#define PROTOCOLS_SMTP_LINES_H

#include <stdbool.h>
#include "postern/buf.h"

enum smtp_lines_state {
	LINES_START,  /* of a line; all zero is where a message begins */
	LINES_DOT,    /* a dot at the start */
	LINES_DOT_CR, /* and a CR behind it */
	LINES_WITHIN,
	LINES_CR,
	LINES_END,
};

struct smtp_lines {
	enum smtp_lines_state state;
	bool counted; /* the length is known otherwise (BDAT): a dot is a dot, and nothing ends the message */
	bool convert; /* a bare CR or LF is given out as CR LF */
	bool bare;    /* one was there */
	bool has_nul;
};

/* Takes octets, appends those of the message to `out`, and says how many were taken: all, but for what follows the end. */
size_t smtp_lines_take(struct smtp_lines *lines, struct ps_bytes octets, struct ps_buf *out);
/* The end of a counted message: a CR or LF that is missing from its last line end is added. */
void smtp_lines_finish(struct smtp_lines *lines, struct ps_buf *out);

#endif
