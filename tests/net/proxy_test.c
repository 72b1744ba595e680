/* SPDX-License-Identifier: MIT */
/* Headers of the PROXY protocol: whole, cut at every octet, with a client's octets behind, and such as are none. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include "core/net/proxy.h"
#include "postern/error.h"
#include "tests/unit.h"

#define V2    "\r\n\r\n\0\r\nQUIT\n"
#define IN4   "\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\x67\x00\x8f"
#define IN6_A "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define IN6_B "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"

#define OCTETS(text) text, sizeof(text) - 1

static const struct {
	const char *octets;
	size_t length;
	const char *source; /* NULL: not told */
	unsigned port;
} good[] = {
	{OCTETS("PROXY TCP4 192.0.2.1 198.51.100.2 4199 143\r\n"), "192.0.2.1", 4199},
	{OCTETS("PROXY TCP6 2001:db8::1 2001:db8::2 4199 143\r\n"), "2001:db8::1", 4199},
	{OCTETS("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255", 65535},
	{OCTETS("PROXY UNKNOWN\r\n"), NULL, 0},
	{OCTETS("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), NULL, 0},
	{OCTETS(V2 "\x21\x11\x00\x0c" IN4), "192.0.2.1", 4199},
	{OCTETS(V2 "\x21\x11\x00\x0f" IN4 "\x04\x00\x00"), "192.0.2.1", 4199}, /* with what we do not read */
	{OCTETS(V2 "\x21\x21\x00\x24" IN6_A IN6_B "\x10\x67\x00\x8f"), "2001:db8::1", 4199},
	{OCTETS(V2 "\x20\x00\x00\x00"), NULL, 0},
	{OCTETS(V2 "\x20\x11\x00\x0c" IN4), NULL, 0}, /* LOCAL: the addresses mean nothing */
	{OCTETS(V2 "\x21\x00\x00\x00"), NULL, 0},
	{OCTETS(V2 "\x21\x12\x00\x0c" IN4), NULL, 0}, /* UDP */
	{OCTETS(V2 "\x21\x31\x00\x04none"), NULL, 0}, /* a Unix socket: never taken for ours */
};

static const struct {
	const char *octets;
	size_t length;
} bad[] = {
	{OCTETS("* OK")},
	{OCTETS("PROXX")},
	{OCTETS("proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n")},
	{OCTETS("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n")},
	{OCTETS("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n")},
	{OCTETS("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n")},
	{OCTETS("PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n")},
	{OCTETS("PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n")},
	{OCTETS("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n")},
	{OCTETS("PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n")},
	{OCTETS("PROXY TCP4\0 192.0.2.1 198.51.100.2 1 2\r\n")},
	{OCTETS("PROXY UNKNOWNS\r\n")},
	{OCTETS("PROXY UNKNOWN "
		"012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
		"9")},
	{OCTETS(V2 "\x11\x11\x00\x0c" IN4)},
	{OCTETS(V2 "\x22\x11\x00\x0c" IN4)},
	{OCTETS(V2 "\x21\x11\x00\x0b" IN4)},
	{OCTETS(V2 "\x21\x11\xff\xff" IN4)},
};

static void expect_source(const struct proxy_header *header, const char *source, unsigned port)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&header->source;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&header->source;
	bool is_in4 = header->source.ss_family == AF_INET;
	char text[INET6_ADDRSTRLEN];

	ck_assert_int_eq(header->known, source != NULL);
	if (!source)
		return;
	inet_ntop(header->source.ss_family, is_in4 ? (const void *)&in4->sin_addr : (const void *)&in6->sin6_addr, text,
		  sizeof text);
	ck_assert_str_eq(text, source);
	ck_assert_uint_eq(ntohs(is_in4 ? in4->sin_port : in6->sin6_port), port);
}

START_TEST(whole_and_cut_at_every_octet)
{
	struct proxy_header header;
	char behind[256];
	size_t length = 0;

	for (size_t n = 0; n < good[_i].length; n++)
		ck_assert_int_eq(proxy_read(ps_bytes(good[_i].octets, n), &header, &length), PS_E_AGAIN);
	ck_assert_int_eq(proxy_read(ps_bytes(good[_i].octets, good[_i].length), &header, &length), 0);
	ck_assert_uint_eq(length, good[_i].length);
	expect_source(&header, good[_i].source, good[_i].port);

	memcpy(behind, good[_i].octets, good[_i].length);
	memcpy(behind + good[_i].length, "\x16\x03\x01", 3);
	ck_assert_int_eq(proxy_read(ps_bytes(behind, good[_i].length + 3), &header, &length), 0);
	ck_assert_uint_eq(length, good[_i].length);
}
END_TEST

START_TEST(what_is_none_is_refused)
{
	struct proxy_header header;
	size_t length;

	ck_assert_int_eq(proxy_read(ps_bytes(bad[_i].octets, bad[_i].length), &header, &length), PS_E_SYNTAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("net proxy");
	TCase *tc = tcase_create("header");

	tcase_add_loop_test(tc, whole_and_cut_at_every_octet, 0, PS_ARRAY_LEN(good));
	tcase_add_loop_test(tc, what_is_none_is_refused, 0, PS_ARRAY_LEN(bad));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
