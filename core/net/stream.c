/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/net/stream.h"
#include "core/net/tls.h"
#include "postern/pool.h"
#include "postern/error.h"

static int socket_error(const char *what)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return PS_E_AGAIN; /* no sentence: this is not a failure */
	return ps_fail(PS_E_CLOSED, "%s: %s", what, strerror(errno));
}

void ahead_destroy(struct ahead *ahead)
{
	while (ahead) {
		struct ahead *next = ahead->next;

		if (ahead->fd >= 0)
			close(ahead->fd);
		ps_buf_wipe(&ahead->octets);
		free(ahead);
		ahead = next;
	}
}

/* PS_E_AGAIN: there is nothing in it any more. */
static ssize_t recv_ahead(struct ahead *ahead, void *ret_data, size_t len)
{
	ssize_t n;

	if (ahead->fd >= 0) {
		n = recv(ahead->fd, ret_data, len, MSG_DONTWAIT);
		if (n > 0)
			return n;
		close(ahead->fd); /* nobody else writes to it */
		ahead->fd = -1;
	}
	if (ahead->octets.len == 0)
		return ahead->eof && !ahead->next ? 0 : PS_E_AGAIN;
	n = (ssize_t)(ahead->octets.len < len ? ahead->octets.len : len);
	memcpy(ret_data, ahead->octets.ptr, (size_t)n);
	ps_buf_consume(&ahead->octets, (size_t)n);
	return n;
}

ssize_t stream_recv(struct stream *stream, void *ret_data, size_t len)
{
	ssize_t n;

	while (stream->ahead) {
		struct ahead *ahead = stream->ahead;

		n = recv_ahead(ahead, ret_data, len);
		if (n != PS_E_AGAIN)
			return n;
		stream->ahead = ahead->next;
		ahead->next = NULL;
		ahead_destroy(ahead);
	}
	if (stream->tls)
		n = tls_recv(stream->tls, ret_data, len);
	else if ((n = recv(stream->fd, ret_data, len, MSG_DONTWAIT)) < 0)
		n = socket_error("recv");
	stream->unanswered += n > 0 ? (size_t)n : 0;
	return n;
}

void stream_await_more(struct stream *stream)
{
	if (stream->unanswered > 0)
		setsockopt(stream->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
	stream->unanswered = 0;
}

ssize_t stream_send(struct stream *stream, struct ps_bytes data, bool more)
{
	ssize_t n;

	stream->unanswered = 0;
	if (stream->tls)
		return tls_send(stream->tls, data);
	n = send(stream->fd, data.ptr, data.len, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	return n < 0 ? socket_error("send") : n;
}

ssize_t stream_send_two(struct stream *stream, struct ps_bytes first, struct ps_bytes second)
{
	struct iovec pieces[] = {{(void *)(uintptr_t)first.ptr, first.len},
				 {(void *)(uintptr_t)second.ptr, second.len}};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = PS_ARRAY_LEN(pieces)};
	ssize_t n;

	stream->unanswered = 0;
	if (stream->tls)
		return stream_send(stream, first.len ? first : second, true);
	n = sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? socket_error("send") : n;
}

int stream_flush(struct stream *stream)
{
	return stream->tls ? tls_flush(stream->tls) : 0;
}

void stream_shutdown(struct stream *stream)
{
	if (stream->tls)
		tls_bye(stream->tls);
	shutdown(stream->fd, SHUT_WR);
}

bool stream_has_more(const struct stream *stream)
{
	return stream->ahead || (stream->tls && tls_has_more(stream->tls));
}

void stream_close(struct stream *stream)
{
	tls_destroy(stream->tls);
	stream->tls = NULL;
	ahead_destroy(stream->ahead);
	stream->ahead = NULL;
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
}
