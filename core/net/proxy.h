/* SPDX-License-Identifier: MIT */
/*
 * core/net/proxy.h - the PROXY protocol, versions 1 and 2: what a load balancer says of the client that it speaks for, ahead of the
 * client's first octet.
 */
#ifndef CORE_NET_PROXY_H
#define CORE_NET_PROXY_H

#include <stdbool.h>
#include <sys/socket.h>
#include "postern/buf.h"

enum {
	PROXY_HEADER_MAX = 4096 /* with all that version 2 may add; more is not read */
};

struct proxy_header {
	bool known; /* false: the balancer speaks for itself (its health check), or does not know */
	struct sockaddr_storage source, destination; /* IPv4 or IPv6 */
};

/*
 * Reads the header that the octets begin with. 0: it is whole, and *ret_length octets long. PS_E_AGAIN: all octets belong to it, and
 * more of it is to come. PS_E_SYNTAX: this is no header.
 */
int proxy_read(struct ps_bytes octets, struct proxy_header *ret_header, size_t *ret_length);

#endif
