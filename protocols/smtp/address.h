/* SPDX-License-Identifier: MIT */
#ifndef PROTOCOLS_SMTP_ADDRESS_H
#define PROTOCOLS_SMTP_ADDRESS_H

#include <stdint.h>

enum {
	SMTP_REMOTE_MAX = 64,
};

/* "192.0.2.1" or "2001:db8::1" and a port, as ps_session_remote() has them: "192.0.2.1:25", "[2001:db8::1]:25". PS_E_SYNTAX. */
int smtp_remote_make(const char *address, uint32_t port, char ret_remote[SMTP_REMOTE_MAX]);

#endif
