/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <gnutls/gnutls.h>
#include "tests/bench/connection.h"

enum {
	BUFFER = 64 * 1024
};

struct connection {
	int fd;
	gnutls_session_t tls; /* NULL: plain */
	gnutls_certificate_credentials_t credentials;
	size_t from, to; /* unread octets in the buffer */
	char buffer[BUFFER];
};

static int dial(const struct target *target)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
	struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(target->source)};
	int fd, one = 1;

	if (getaddrinfo(target->host, target->port, &hints, &found) != 0)
		return -1;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && target->source) {
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
		if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0) /* then connect() tells */
			perror("bind");
	}
	if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) < 0) {
		close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static bool handshake(struct connection *c)
{
	int r;

	gnutls_certificate_allocate_credentials(&c->credentials);
	gnutls_init(&c->tls, GNUTLS_CLIENT);
	gnutls_set_default_priority(c->tls);
	gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->credentials);
	gnutls_transport_set_int(c->tls, c->fd);
	do
		r = gnutls_handshake(c->tls);
	while (r < 0 && !gnutls_error_is_fatal(r));
	return r == 0;
}

static bool fill(struct connection *c)
{
	ssize_t n;

	do
		n = c->tls ? gnutls_record_recv(c->tls, c->buffer, BUFFER) : read(c->fd, c->buffer, BUFFER);
	while (c->tls ? n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED : n < 0 && errno == EINTR);
	c->from = 0;
	c->to = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static uint64_t count_blanks(const char *at, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += at[i] == ' ';
	return n;
}

/* Takes one line; keeps its first `size` octets with the line end, and its last number in braces. */
static bool read_line(struct connection *c, char *line, size_t size, uint64_t *literal, struct answer *sum)
{
	size_t len = 0, tail_len = 0;
	uint64_t blanks = 0; /* one ahead of each number of a search, however long the line is */
	char tail[24] = "";

	for (;;) {
		char *at = c->buffer + c->from, *end = memchr(at, '\n', c->to - c->from);
		size_t n = end ? (size_t)(end - at) + 1 : c->to - c->from;

		for (size_t i = 0; i < n && len < size - 1; i++)
			line[len++] = at[i];
		for (size_t i = n > 23 ? n - 23 : 0; i < n; i++) {
			if (tail_len == 23) {
				memmove(tail, tail + 1, 22);
				tail_len--;
			}
			tail[tail_len++] = at[i];
		}
		sum->octets += n;
		c->from += n;
		blanks += len >= 8 && memcmp(line, "* SEARCH", 8) == 0 ? count_blanks(at, n) : 0;
		if (end)
			break;
		if (!fill(c))
			return false;
	}
	line[len] = '\0';
	tail[tail_len] = '\0';
	sum->hits += blanks ? blanks - 1 : 0;
	*literal = 0;
	if (tail_len > 4 && strcmp(tail + tail_len - 3, "}\r\n") == 0) {
		char *brace = strrchr(tail, '{');

		if (brace)
			*literal = strtoull(brace + 1, NULL, 10);
	}
	return true;
}

static bool skip(struct connection *c, uint64_t octets)
{
	while (octets > 0) {
		size_t n = c->to - c->from;

		if (n == 0) {
			if (!fill(c))
				return false;
			continue;
		}
		n = n < octets ? n : (size_t)octets;
		c->from += n;
		octets -= n;
	}
	return true;
}

/* `line` begins with a star. */
static void note_untagged(struct answer *answer, const char *line)
{
	char *rest;
	uint64_t number = strtoull(line + 1, &rest, 10);

	answer->untagged++;
	if (strncmp(rest, " FETCH", 6) == 0)
		answer->fetched++;
	else if (strncmp(rest, " EXISTS", 7) == 0)
		answer->exists = number;
}

bool connection_answer(struct connection *c, const char *tag, struct answer *ret_answer)
{
	size_t tag_len = strlen(tag);
	struct answer answer = {0};
	bool continues = false; /* the line after a literal */
	uint64_t literal;
	char line[128];

	for (;;) {
		if (!read_line(c, line, sizeof line, &literal, &answer))
			return false;
		if (!continues && strncmp(line, tag, tag_len) == 0 && (tag[0] == '+' || line[tag_len] == ' '))
			break;
		if (!continues && line[0] == '*')
			note_untagged(&answer, line);
		if (literal && !skip(c, literal))
			return false;
		answer.octets += literal;
		continues = literal > 0;
	}
	answer.ok = tag[0] == '+' || strncmp(line + tag_len, " OK", 3) == 0;
	if (!answer.ok)
		fprintf(stderr, "answer: %s\n", line);
	if (ret_answer)
		*ret_answer = answer;
	return true;
}

bool connection_line(struct connection *c, char *line, size_t size)
{
	struct answer sum = {0};
	uint64_t literal;

	if (!read_line(c, line, size, &literal, &sum))
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

bool connection_until_dot(struct connection *c, uint64_t *ret_lines, uint64_t *ret_octets)
{
	struct answer sum = {0};
	uint64_t literal, lines = 0;
	char line[8];

	while (read_line(c, line, sizeof line, &literal, &sum)) {
		if (strcmp(line, ".\r\n") == 0) {
			*ret_lines = lines;
			*ret_octets = sum.octets;
			return true;
		}
		lines++;
	}
	return false;
}

int connection_fd(const struct connection *c)
{
	return c->fd;
}

bool connection_has_unread(const struct connection *c)
{
	return c->from < c->to || (c->tls && gnutls_record_check_pending(c->tls) > 0);
}

struct connection *connection_open(const struct target *target)
{
	struct connection *c = calloc(1, sizeof *c);
	char line[128];

	if (!c)
		return NULL;
	c->fd = dial(target);
	if (c->fd < 0 || (target->tls && !handshake(c)) || !connection_line(c, line, sizeof line)) {
		fprintf(stderr, "connect to %s:%s failed: %s\n", target->host, target->port, strerror(errno));
		connection_close(c);
		return NULL;
	}
	return c;
}

bool connection_send(struct connection *c, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = c->tls ? gnutls_record_send(c->tls, at, len) : send(c->fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

void connection_close(struct connection *c)
{
	if (!c)
		return;
	if (c->tls)
		gnutls_deinit(c->tls);
	if (c->credentials)
		gnutls_certificate_free_credentials(c->credentials);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}
