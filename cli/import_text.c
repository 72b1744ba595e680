/* SPDX-License-Identifier: MIT */
/* One message of the source: is it one, how large is it in CRLF form, and its octets. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/import.h"

int import_text_each(const struct import_text *text, int (*fn)(void *arg, struct ps_bytes octets), void *arg)
{
	uint8_t octets[65536];
	uint64_t at = 0;

	while (at < text->body.length) {
		struct ps_bytes piece;
		int r = ps_body_piece(&text->body, at, octets, sizeof octets, &piece);

		if (r < 0 || (r = fn(arg, piece)) < 0)
			return r;
		at += piece.len;
	}
	return 0;
}

struct census {
	uint64_t size;
	uint8_t before;   /* the octet before */
	size_t separator; /* how much of "\n\nFrom " was just seen */
	unsigned separators;
};

static int count(void *arg, struct ps_bytes octets)
{
	static const char between[] = "\n\nFrom ";
	struct census *c = arg;

	for (size_t i = 0; i < octets.len; i++) {
		uint8_t octet = octets.ptr[i];

		c->size += 1 + (octet == '\n' && c->before != '\r');
		c->before = octet;
		if (octet == '\r')
			continue;
		if (octet == '\n')
			c->separator = c->separator == 1 || c->separator == 2 ? 2 : 1;
		else if (c->separator >= 2 && octet == (uint8_t)between[c->separator])
			c->separator++;
		else
			c->separator = 0;
		if (c->separator == sizeof between - 1) {
			c->separators++;
			c->separator = 0;
		}
	}
	return 0;
}

/* Whether it begins as RFC 5322 section 2.2 says: a field name, a colon. */
static bool begins_with_field(struct ps_bytes start)
{
	size_t n = 0;

	while (n < start.len && start.ptr[n] > ' ' && start.ptr[n] < 0x7f && start.ptr[n] != ':')
		n++;
	if (n == 0)
		return false;
	while (n < start.len && (start.ptr[n] == ' ' || start.ptr[n] == '\t'))
		n++;
	return n < start.len && start.ptr[n] == ':';
}

int import_text_open(int fd, bool plain, struct import_text *ret_text)
{
	char start[1024];
	ssize_t n = pread(fd, start, sizeof start, 0);
	struct import_text text = {.body.fd = fd};
	struct census census = {0};
	const char *line_end;
	struct stat st;
	int r;

	if (n < 0 || fstat(fd, &st) < 0)
		return ps_fail_errno("reading it");
	line_end = memchr(start, '\n', (size_t)n);
	if (n > 5 && memcmp(start, "From ", 5) == 0 && line_end)
		text.body.offset = (uint64_t)(line_end - start) + 1;
	else if (plain && !begins_with_field(ps_bytes(start, (size_t)n)))
		return ps_fail(PS_E_SYNTAX, "it does not begin like a message");
	text.body.length = (uint64_t)st.st_size - text.body.offset;
	if ((r = import_text_each(&text, count, &census)) < 0)
		return r;
	if (text.body.offset > 0 && census.separators > 0)
		return ps_fail(PS_E_INVALID, "it is an mbox with several messages; only single messages are taken");
	text.size = census.size;
	*ret_text = text;
	return 0;
}

struct digest {
	gnutls_hash_hd_t hash;
	uint8_t before;
};

/* In CRLF form, so that line ends make no difference. */
static int digest_octets(void *arg, struct ps_bytes octets)
{
	struct digest *d = arg;
	size_t from = 0;

	for (size_t i = 0; i < octets.len; i++) {
		if (octets.ptr[i] == '\n' && d->before != '\r') {
			gnutls_hash(d->hash, octets.ptr + from, i - from);
			gnutls_hash(d->hash, "\r", 1);
			from = i;
		}
		d->before = octets.ptr[i];
	}
	gnutls_hash(d->hash, octets.ptr + from, octets.len - from);
	return 0;
}

int import_text_digest(const struct import_text *text, uint8_t digest[32])
{
	struct digest d = {0};
	int r;

	if (gnutls_hash_init(&d.hash, GNUTLS_DIG_SHA256) < 0)
		return ps_fail(PS_E_UNSUPPORTED, "SHA-256 is not there");
	r = import_text_each(text, digest_octets, &d);
	gnutls_hash_deinit(d.hash, digest);
	return r;
}
