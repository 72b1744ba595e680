/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/trace.h - the Received field, RFC 5321 section 4.4, and what else a message gets of us.
 */
#ifndef PROTOCOLS_SMTP_TRACE_H
#define PROTOCOLS_SMTP_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include "postern/buf.h"

struct smtp_trace {
	const char *helo;     /* as the client calls itself */
	const char *remote;   /* "192.0.2.1:49152", "[2001:db8::1]:49152", "unix" */
	const char *hostname; /* ours */
	const char *id;
	const char *recipient; /* the only one; NULL: there are more, and they are not told of each other */
	int64_t time;
	bool lmtp, extended, tls, authenticated, utf8;
};

/* With its line ends. */
void smtp_put_received(const struct smtp_trace *trace, struct ps_buf *out);
/* "Mon, 23 Nov 2026 12:00:00 +0000", RFC 5322 section 3.3. */
void smtp_put_date(int64_t time, struct ps_buf *out);
/* "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3); nothing for a local socket. */
void smtp_put_address_literal(const char *remote, struct ps_buf *out);

#endif
