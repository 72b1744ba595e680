/* SPDX-License-Identifier: MIT */
/* tests/bench/connection.h - one connection of a load client: blocking, plain or TLS. */
#ifndef TESTS_BENCH_CONNECTION_H
#define TESTS_BENCH_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;

struct target {
	const char *host; /* numeric */
	const char *port;
	bool tls;        /* implicit; the certificate is not checked: both ends are ours */
	uint32_t source; /* the client's address, as a number; 0: as the kernel likes */
};

/* NULL on failure, after saying why. Reads the greeting. */
struct connection *connection_open(const struct target *target);
void connection_close(struct connection *c);
/* Sends all of it; false when the connection is broken. */
bool connection_send(struct connection *c, const void *data, size_t len);
/* What an answer was like. */
struct answer {
	bool ok;           /* the tagged line said OK */
	uint64_t untagged; /* lines that begin with '*' */
	uint64_t fetched;  /* of these, FETCH */
	uint64_t exists;   /* the last EXISTS */
	uint64_t hits;     /* numbers after SEARCH */
	uint64_t octets;   /* of all lines and literals */
};
/* Reads up to the line that begins with `tag` and a blank (or with "+": a continuation). */
bool connection_answer(struct connection *c, const char *tag, struct answer *ret_answer);
/* The next line, cut off at `size`, without its end. */
bool connection_line(struct connection *c, char *line, size_t size);
/* Reads up to a line with nothing but a dot; counts the lines ahead of it, and all octets. */
bool connection_until_dot(struct connection *c, uint64_t *ret_lines, uint64_t *ret_octets);
/* For epoll: what is unread here does not make it readable. */
int connection_fd(const struct connection *c);
bool connection_has_unread(const struct connection *c);

#endif
