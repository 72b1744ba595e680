/* SPDX-License-Identifier: MIT */
/* core/delivery/client/caps.h - what a server says that it can: the reply to EHLO, RFC 5321 section 4.1.1.1. */
#ifndef CORE_DELIVERY_CLIENT_CAPS_H
#define CORE_DELIVERY_CLIENT_CAPS_H

#include "postern/buf.h"

enum {
	CAP_PIPELINING = 1 << 0,
	CAP_SIZE = 1 << 1,
	CAP_8BITMIME = 1 << 2,
	CAP_SMTPUTF8 = 1 << 3,
	CAP_CHUNKING = 1 << 4,
	CAP_BINARYMIME = 1 << 5,
	CAP_DSN = 1 << 6,
	CAP_STARTTLS = 1 << 7,
	CAP_REQUIRETLS = 1 << 8,
	CAP_AUTH_PLAIN = 1 << 9,
	CAP_AUTH_LOGIN = 1 << 10,
};

struct smtp_caps {
	unsigned flags;
	uint64_t size_max; /* 0: not said */
	uint32_t rcpt_max; /* LIMITS RCPTMAX, RFC 9422; 0: not said */
	uint32_t mail_max; /* LIMITS MAILMAX */
};

/* `lines` as in a smtp_reply: the first is the greeting. */
void smtp_caps_read(struct smtp_caps *ret_caps, struct ps_bytes lines);

#endif
