/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <stdio.h>
#include "postern/error.h"
#include "protocols/smtp/address.h"

int smtp_remote_make(const char *address, uint32_t port, char ret_remote[SMTP_REMOTE_MAX])
{
	struct in6_addr octets; /* there is room for the other kind, too */
	char text[INET6_ADDRSTRLEN] = "";

	if (inet_pton(AF_INET, address, &octets) == 1) {
		inet_ntop(AF_INET, &octets, text, sizeof text);
		snprintf(ret_remote, SMTP_REMOTE_MAX, "%s:%u", text, port);
		return 0;
	}
	if (inet_pton(AF_INET6, address, &octets) != 1)
		return ps_fail(PS_E_SYNTAX, "not an IP address");
	inet_ntop(AF_INET6, &octets, text, sizeof text);
	snprintf(ret_remote, SMTP_REMOTE_MAX, "[%s]:%u", text, port);
	return 0;
}
