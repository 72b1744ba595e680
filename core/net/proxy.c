/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include "core/net/proxy.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	LINE_MAX_OCTETS = 107, /* of version 1, with its CRLF */
	FIXED = 16,            /* of version 2: signature, command, family, length */
};

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n"; /* 12 octets */
static const char line_start[] = "PROXY ";

static int not_a_header(const char *why)
{
	return ps_fail(PS_E_SYNTAX, "the PROXY header %s", why);
}

static bool begins(struct ps_bytes octets, const char *with, size_t len)
{
	return memcmp(octets.ptr, with, octets.len < len ? octets.len : len) == 0;
}

/* ---- version 1: a line of text ------------------------------------------------------------------ */

static int set_address(struct sockaddr_storage *address, int family, const char *text, unsigned long port)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
	void *octets = family == AF_INET ? (void *)&in4->sin_addr : (void *)&in6->sin6_addr;

	*address = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
	if (port > 65535 || inet_pton(family, text, octets) != 1)
		return not_a_header("has no address");
	if (family == AF_INET)
		in4->sin_port = htons((uint16_t)port);
	else
		in6->sin6_port = htons((uint16_t)port);
	return 0;
}

static int read_words(const char *line, struct proxy_header *header)
{
	char family[8], source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
	unsigned long source_port, destination_port;
	int end = 0, r;

	header->known = false;
	if (strncmp(line, "PROXY UNKNOWN", 13) == 0 && (line[13] == '\0' || line[13] == ' '))
		return 0;
	if (sscanf(line, "PROXY %7s %45s %45s %5lu %5lu%n", family, source, destination, &source_port,
		   &destination_port, &end) != 5 ||
	    line[end] != '\0' || (strcmp(family, "TCP4") != 0 && strcmp(family, "TCP6") != 0))
		return not_a_header("is no line of version 1");
	header->known = true;
	r = set_address(&header->source, family[3] == '4' ? AF_INET : AF_INET6, source, source_port);
	return r < 0 ? r
		     : set_address(&header->destination, family[3] == '4' ? AF_INET : AF_INET6, destination,
				   destination_port);
}

static int read_line(struct ps_bytes octets, struct proxy_header *header, size_t *ret_length)
{
	ptrdiff_t lf = ps_bytes_find(octets, '\n');
	char line[LINE_MAX_OCTETS + 1];
	int r;

	if (lf < 0 && octets.len < LINE_MAX_OCTETS)
		return PS_E_AGAIN;
	if (lf < 1 || lf >= LINE_MAX_OCTETS || octets.ptr[lf - 1] != '\r' ||
	    ps_bytes_find(ps_bytes(octets.ptr, (size_t)lf), '\0') >= 0)
		return not_a_header("is no line of version 1");
	snprintf(line, sizeof line, "%.*s", (int)lf - 1, (const char *)octets.ptr);
	r = read_words(line, header);
	if (r == 0)
		*ret_length = (size_t)lf + 1;
	return r;
}

/* ---- version 2: binary -------------------------------------------------------------------------- */

static void copy_in4(const uint8_t *at, struct proxy_header *header)
{
	struct sockaddr_in *source = (struct sockaddr_in *)&header->source;
	struct sockaddr_in *destination = (struct sockaddr_in *)&header->destination;

	source->sin_family = destination->sin_family = AF_INET;
	memcpy(&source->sin_addr, at, 4);
	memcpy(&destination->sin_addr, at + 4, 4);
	memcpy(&source->sin_port, at + 8, 2);
	memcpy(&destination->sin_port, at + 10, 2);
}

static void copy_in6(const uint8_t *at, struct proxy_header *header)
{
	struct sockaddr_in6 *source = (struct sockaddr_in6 *)&header->source;
	struct sockaddr_in6 *destination = (struct sockaddr_in6 *)&header->destination;

	source->sin6_family = destination->sin6_family = AF_INET6;
	memcpy(&source->sin6_addr, at, 16);
	memcpy(&destination->sin6_addr, at + 16, 16);
	memcpy(&source->sin6_port, at + 32, 2);
	memcpy(&destination->sin6_port, at + 34, 2);
}

/* What a connection over TCP has; all others are not told of (UNSPEC, Unix sockets, UDP). */
static const struct {
	uint8_t family;
	size_t length;
	void (*copy)(const uint8_t *at, struct proxy_header *header);
} families[] = {
	{0x11, 12, copy_in4},
	{0x21, 36, copy_in6},
};

static int read_binary(struct ps_bytes octets, struct proxy_header *header, size_t *ret_length)
{
	enum {
		VERSION_LOCAL = 0x20,
		VERSION_PROXY = 0x21
	};
	size_t length;

	if (octets.len < FIXED)
		return PS_E_AGAIN;
	length = (size_t)octets.ptr[14] << 8 | octets.ptr[15];
	if (octets.ptr[12] != VERSION_LOCAL && octets.ptr[12] != VERSION_PROXY)
		return not_a_header("has an unknown version or command");
	if (length > PROXY_HEADER_MAX - FIXED)
		return not_a_header("is too long");
	if (octets.len < FIXED + length)
		return PS_E_AGAIN;
	*header = (struct proxy_header){.known = false};
	for (size_t i = 0; octets.ptr[12] == VERSION_PROXY && i < PS_ARRAY_LEN(families); i++) {
		if (families[i].family != octets.ptr[13])
			continue;
		if (length < families[i].length)
			return not_a_header("has no address");
		header->known = true;
		families[i].copy(octets.ptr + FIXED, header);
	}
	*ret_length = FIXED + length;
	return 0;
}

int proxy_read(struct ps_bytes octets, struct proxy_header *ret_header, size_t *ret_length)
{
	struct proxy_header header = {.known = false};
	int r;

	if (octets.len == 0)
		return PS_E_AGAIN;
	if (begins(octets, signature, sizeof signature - 1))
		r = octets.len < sizeof signature - 1 ? PS_E_AGAIN : read_binary(octets, &header, ret_length);
	else if (begins(octets, line_start, sizeof line_start - 1))
		r = read_line(octets, &header, ret_length);
	else
		r = not_a_header("is missing");
	if (r == 0)
		*ret_header = header;
	return r;
}
