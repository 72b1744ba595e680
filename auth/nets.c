/* SPDX-License-Identifier: MIT */
/* Lists of networks, "192.0.2.0/24,2001:db8::/32". */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "auth/nets.h"
#include "postern/buf.h"

struct address {
	uint8_t octets[16];
	unsigned bits; /* 32, 128 */
};

static bool read_address(const char *text, struct address *ret_address)
{
	if (inet_pton(AF_INET, text, ret_address->octets) == 1)
		ret_address->bits = 32;
	else if (inet_pton(AF_INET6, text, ret_address->octets) == 1)
		ret_address->bits = 128;
	else
		return false;
	return true;
}

/* An IPv4 client of an IPv6 socket. */
static void unmap(struct address *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (address->bits != 128 || memcmp(address->octets, mapped, 12) != 0)
		return;
	memmove(address->octets, address->octets + 12, 4);
	address->bits = 32;
}

/* "192.0.2.1:4711", "[2001:db8::1]:4711" */
static bool read_remote(const char *remote, struct address *ret_address)
{
	const char *start = remote[0] == '[' ? remote + 1 : remote;
	const char *end = remote[0] == '[' ? strchr(remote, ']') : strchr(remote, ':');
	char text[INET6_ADDRSTRLEN];

	if (!end)
		end = start + strlen(start);
	if ((size_t)(end - start) >= sizeof text)
		return false;
	snprintf(text, sizeof text, "%.*s", (int)(end - start), start);
	if (!read_address(text, ret_address))
		return false;
	unmap(ret_address);
	return true;
}

static bool read_net(struct ps_bytes net, struct address *ret_address, unsigned *ret_bits)
{
	ptrdiff_t slash = ps_bytes_find(net, '/');
	size_t len = slash < 0 ? net.len : (size_t)slash;
	char text[INET6_ADDRSTRLEN];
	uint32_t bits;

	if (len >= sizeof text)
		return false;
	snprintf(text, sizeof text, "%.*s", (int)len, (const char *)net.ptr);
	if (!read_address(text, ret_address))
		return false;
	bits = ret_address->bits;
	if (slash >= 0 && (ps_bytes_u32(ps_bytes_skip(net, len + 1), &bits) < 0 || bits > ret_address->bits))
		return false;
	*ret_bits = bits;
	return true;
}

static bool matches(const struct address *address, const struct address *net, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (address->bits != net->bits || memcmp(address->octets, net->octets, whole) != 0)
		return false;
	return rest == 0 || ((address->octets[whole] ^ net->octets[whole]) >> (8 - rest)) == 0;
}

static struct ps_bytes next_net(struct ps_bytes *rest)
{
	ptrdiff_t comma = ps_bytes_find(*rest, ',');
	struct ps_bytes net = comma < 0 ? *rest : ps_bytes(rest->ptr, (size_t)comma);

	*rest = ps_bytes_skip(*rest, net.len + (comma >= 0));
	return net;
}

bool ps_nets_contain(const char *nets, const char *remote)
{
	struct ps_bytes rest = ps_bytes_str(nets);
	struct address address, net;
	unsigned bits;

	if (!read_remote(remote, &address))
		return false;
	while (rest.len)
		if (read_net(next_net(&rest), &net, &bits) && matches(&address, &net, bits))
			return true;
	return false;
}

bool ps_nets_valid(const char *nets)
{
	struct ps_bytes rest = ps_bytes_str(nets);
	struct address net;
	unsigned bits;

	if (rest.len == 0)
		return false;
	while (rest.len)
		if (!read_net(next_net(&rest), &net, &bits))
			return false;
	return true;
}

bool ps_address_key(const char *remote, uint8_t ret_key[16])
{
	struct address address = {0};

	if (!read_remote(remote, &address))
		return false;
	memset(ret_key, 0, 16);
	memcpy(ret_key, address.octets, address.bits == 32 ? 4 : 8);
	ret_key[15] = (uint8_t)address.bits;
	return true;
}
