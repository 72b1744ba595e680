/* SPDX-License-Identifier: MIT */
/*
 * core/net/stream.h - a connected socket that does not block, with TLS on it or without.
 *
 * All functions return a count, 0, or PS_E_AGAIN (wait for the socket) or PS_E_CLOSED (it is
 * broken, with the reason in ps_last_error()).
 */
#ifndef CORE_NET_STREAM_H
#define CORE_NET_STREAM_H

#include <stdbool.h>
#include <sys/types.h>
#include "postern/buf.h"

struct tls;

/* Input that comes before what the socket has: of a session that came back from another process. */
struct ahead {
	int fd;               /* first what is in this one; -1: none */
	struct ps_buf octets; /* then these */
	bool eof;             /* and then nothing comes any more */
	struct ahead *next;   /* or this */
};
void ahead_destroy(struct ahead *ahead); /* destroy(NULL) does nothing */

struct stream {
	int fd;
	struct tls *tls;     /* NULL: plain */
	struct ahead *ahead; /* NULL: nothing is */
	size_t unanswered;   /* octets that were read since something was sent */
};

/* At most `len` octets, at least one; 0: the other side has sent its last. */
ssize_t stream_recv(struct stream *stream, void *ret_data, size_t len);
/* Takes some of `data` for sending. `more`: more will follow at once, so a short segment may wait
 * for it. */
ssize_t stream_send(struct stream *stream, struct ps_bytes data, bool more);
/* The same for two pieces, one behind the other, in one system call where that can be. */
ssize_t stream_send_two(struct stream *stream, struct ps_bytes first, struct ps_bytes second);
/*
 * Before waiting for more, where what was read is not going to be answered first: has the kernel acknowledge it now. Who sends a literal and
 * then, in a segment of its own, the end of the command has that held back until the literal is acknowledged (Nagle's algorithm, RFC 1122
 * section 4.2.3.4), and the kernel waits 40 ms for an answer that it could put the acknowledgement on.
 */
void stream_await_more(struct stream *stream);
/* TLS may have taken octets that the socket has not: 0 when all are with the kernel. */
int stream_flush(struct stream *stream);
/* No more is sent; reading goes on. For TLS with its own closing message. */
void stream_shutdown(struct stream *stream);
/* Octets that TLS has read off the socket already, so that no readiness of the socket will tell of
 * them. */
bool stream_has_more(const struct stream *stream);
/* Closes the descriptor and frees the TLS session. */
void stream_close(struct stream *stream);

#endif
