/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "postern/buf.h"
#include "postern/error.h"
#include "protocols/smtp/network.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

enum {
	IPV4_BITS = 96, /* before an IPv4 address */
	ALL_BITS = 128,
};

static int parse(const char *from, size_t length, struct smtp_address *ret_address)
{
	struct smtp_address address;
	char text[INET6_ADDRSTRLEN];

	if (length >= sizeof text)
		return ps_fail(PS_E_SYNTAX, "too long for an IP address");
	memcpy(text, from, length);
	text[length] = '\0';
	if (inet_pton(AF_INET, text, address.octets + sizeof mapped) == 1)
		memcpy(address.octets, mapped, sizeof mapped);
	else if (inet_pton(AF_INET6, text, address.octets) != 1)
		return ps_fail(PS_E_SYNTAX, "%s: not an IP address", text);
	*ret_address = address;
	return 0;
}

int smtp_address_parse(const char *text, struct smtp_address *ret_address)
{
	return parse(text, strlen(text), ret_address);
}

int smtp_address_of_remote(const char *remote, struct smtp_address *ret_address)
{
	const char *from = remote[0] == '[' ? remote + 1 : remote;
	const char *to = remote[0] == '[' ? strchr(remote, ']') : strrchr(remote, ':');

	if (!to)
		return ps_fail(PS_E_SYNTAX, "%s: not an IP address", remote);
	return parse(from, (size_t)(to - from), ret_address);
}

void smtp_address_to_remote(const struct smtp_address *address, uint32_t port, char ret_remote[SMTP_REMOTE_MAX])
{
	char text[INET6_ADDRSTRLEN] = "";

	if (memcmp(address->octets, mapped, sizeof mapped) == 0) {
		inet_ntop(AF_INET, address->octets + sizeof mapped, text, sizeof text);
		snprintf(ret_remote, SMTP_REMOTE_MAX, "%s:%u", text, port);
	} else {
		inet_ntop(AF_INET6, address->octets, text, sizeof text);
		snprintf(ret_remote, SMTP_REMOTE_MAX, "[%s]:%u", text, port);
	}
}

static bool same_bits(const struct smtp_address *a, const struct smtp_address *b, uint32_t bits)
{
	uint8_t mask = (uint8_t)(0xff00 >> bits % 8);

	if (memcmp(a->octets, b->octets, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((a->octets[bits / 8] ^ b->octets[bits / 8]) & mask) == 0;
}

bool smtp_network_has(const char *network, const struct smtp_address *address)
{
	const char *slash = strchr(network, '/');
	size_t length = slash ? (size_t)(slash - network) : strlen(network);
	struct smtp_address first;
	uint32_t bits = ALL_BITS;

	if (parse(network, length, &first) < 0)
		return false;
	if (slash) {
		if (ps_bytes_u32(ps_bytes_str(slash + 1), &bits) < 0 || bits > ALL_BITS)
			return false;
		if (!memchr(network, ':', length))
			bits += IPV4_BITS;
	}
	return bits <= ALL_BITS && same_bits(&first, address, bits);
}
