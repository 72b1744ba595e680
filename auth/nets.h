/* SPDX-License-Identifier: MIT */
/*
 * auth/nets.h - client addresses, and lists of networks.
 */
#ifndef AUTH_NETS_H
#define AUTH_NETS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether `remote` ("192.0.2.1:4711", "[2001:db8::1]:4711") is in the list
 * "192.0.2.0/24,2001:db8::/32". */
bool ps_nets_contain(const char *nets, const char *remote);
/* Whether each element of the list is a network. */
bool ps_nets_valid(const char *nets);

/* What counts as one client of "192.0.2.1:4711": the IPv4 address, or the first 64 bits of the IPv6 one. */
bool ps_address_key(const char *remote, uint8_t ret_key[16]);

#endif
