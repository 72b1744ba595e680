/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/network.h - addresses, as settings and XCLIENT write them.
 */
#ifndef PROTOCOLS_SMTP_NETWORK_H
#define PROTOCOLS_SMTP_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

/* An IPv4 address is kept as IPv6, "::ffff:192.0.2.1", so that there is one way to compare. */
struct smtp_address {
	uint8_t octets[16];
};

/* "192.0.2.1", "2001:db8::1". PS_E_SYNTAX. */
int smtp_address_parse(const char *text, struct smtp_address *ret_address);
/* "192.0.2.1:25", "[2001:db8::1]:25". PS_E_SYNTAX, also for a local socket. */
int smtp_address_of_remote(const char *remote, struct smtp_address *ret_address);
enum {
	SMTP_REMOTE_MAX = 64,
};
/* The way back; an IPv6 address in brackets. */
void smtp_address_to_remote(const struct smtp_address *address, uint32_t port, char ret_remote[SMTP_REMOTE_MAX]);
/* Whether `network` ("192.0.2.0/24", "2001:db8::/32", or an address) has it. What is no network has nobody. */
bool smtp_network_has(const char *network, const struct smtp_address *address);

#endif
