/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/delivery/client/wire.h"
#include "core/event/loop.h"
#include "core/net/stream.h"
#include "core/net/tls.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	RECV_SIZE = 16 * 1024
};

enum phase {
	PHASE_CONNECT,
	PHASE_HANDSHAKE,
	PHASE_TALK,
};

struct wire {
	struct ps_loop *loop;
	struct stream stream;
	struct ps_watch *watch;
	struct ps_timer *timer;
	enum phase phase;
	struct ps_buf out;
	wire_fn fn;
	void *arg;
	bool full;   /* the socket takes no more for now */
	bool mute;   /* sending has failed; what comes is still read */
	bool wanted; /* WIRE_DRAINED is */
	bool begun;  /* the handshake: its first step is ours */
	unsigned busy;
	bool dead; /* to be freed when no call is under way */
};

static void set_watch(struct wire *wire)
{
	unsigned events = PS_READABLE;

	if (wire->phase == PHASE_CONNECT)
		events = PS_WRITABLE;
	else if (wire->phase == PHASE_HANDSHAKE)
		events = !wire->begun || tls_wants_write(wire->stream.tls) ? PS_WRITABLE : PS_READABLE;
	else if (wire->full || wire->wanted)
		events |= PS_WRITABLE;
	ps_watch_set(wire->watch, events);
}

static void tell(struct wire *wire, enum wire_event event, struct ps_bytes data)
{
	if (!wire->dead)
		wire->fn(wire->arg, event, data);
}

static void broken(struct wire *wire)
{
	ps_watch_set(wire->watch, 0);
	ps_timer_stop(wire->timer);
	tell(wire, WIRE_BROKEN, ps_bytes(NULL, 0));
}

static void on_connect(struct wire *wire)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(wire->stream.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		ps_fail(PS_E_CLOSED, "connect: %s", strerror(error));
		broken(wire);
		return;
	}
	wire->phase = PHASE_TALK;
	tell(wire, WIRE_CONNECTED, ps_bytes(NULL, 0));
}

static void on_handshake(struct wire *wire)
{
	int r = tls_handshake(wire->stream.tls);

	wire->begun = true;
	if (r == PS_E_AGAIN)
		return;
	if (r < 0) {
		broken(wire);
		return;
	}
	wire->phase = PHASE_TALK;
	tell(wire, WIRE_SECURED, ps_bytes(NULL, 0));
}

static void send_some(struct wire *wire)
{
	struct ps_bytes rest = ps_buf_view(&wire->out);
	ssize_t n = 0;

	wire->full = false;
	while (rest.len > 0 && (n = stream_send(&wire->stream, rest, false)) > 0)
		rest = ps_bytes_skip(rest, (size_t)n);
	if (rest.len == 0 && n >= 0)
		n = stream_flush(&wire->stream);
	if (n < 0 && n != PS_E_AGAIN) {
		wire->mute = true;
		rest.len = 0;
	}
	wire->full = n == PS_E_AGAIN;
	ps_buf_consume(&wire->out, wire->out.len - rest.len);
}

static void on_writable(struct wire *wire)
{
	if (!wire->mute)
		send_some(wire);
	if (wire->full || !wire->wanted)
		return;
	wire->wanted = false;
	if (!wire->mute)
		tell(wire, WIRE_DRAINED, ps_bytes(NULL, 0));
}

static void on_readable(struct wire *wire)
{
	uint8_t octets[RECV_SIZE];

	do {
		ssize_t n = stream_recv(&wire->stream, octets, sizeof octets);

		if (n == PS_E_AGAIN)
			return;
		if (n <= 0) {
			if (n == 0)
				ps_fail(PS_E_CLOSED, "the server has closed the connection");
			broken(wire);
			return;
		}
		tell(wire, WIRE_INPUT, ps_bytes(octets, (size_t)n));
		/* What TLS has read already is not told of by the socket. */
	} while (!wire->dead && wire->phase == PHASE_TALK && stream_has_more(&wire->stream));
}

static void release(struct wire *wire)
{
	if (--wire->busy == 0 && wire->dead) {
		ps_buf_wipe(&wire->out);
		free(wire);
	}
}

static void on_events(void *arg, unsigned events)
{
	struct wire *wire = arg;

	wire->busy++;
	if (wire->phase == PHASE_CONNECT) {
		on_connect(wire);
	} else if (wire->phase == PHASE_HANDSHAKE) {
		on_handshake(wire);
	} else {
		if (events & PS_WRITABLE)
			on_writable(wire);
		if (!wire->dead && wire->phase == PHASE_TALK && (events & (PS_READABLE | PS_HANGUP)))
			on_readable(wire);
	}
	if (!wire->dead && wire->stream.fd >= 0 && wire->watch)
		set_watch(wire);
	release(wire);
}

static void on_limit(void *arg)
{
	struct wire *wire = arg;

	wire->busy++;
	tell(wire, WIRE_TIMEOUT, ps_bytes(NULL, 0));
	release(wire);
}

static socklen_t address_size(const struct sockaddr_storage *to)
{
	return to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static int open_socket(struct wire *wire, const struct sockaddr_storage *to)
{
	const int one = 1;

	wire->stream.fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (wire->stream.fd < 0)
		return ps_fail_errno("socket");
	setsockopt(wire->stream.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(wire->stream.fd, (const struct sockaddr *)to, address_size(to)) < 0 && errno != EINPROGRESS)
		return ps_fail(PS_E_CLOSED, "connect: %s", strerror(errno));
	return 0;
}

int wire_create(struct ps_loop *loop, const struct sockaddr_storage *to, wire_fn fn, void *arg, struct wire **ret_wire)
{
	struct wire *wire = ps_zalloc(sizeof *wire);
	int r;

	wire->loop = loop;
	wire->stream.fd = -1;
	wire->fn = fn;
	wire->arg = arg;
	if ((r = open_socket(wire, to)) < 0 ||
	    (r = ps_watch_open(loop, wire->stream.fd, on_events, wire, &wire->watch)) < 0 ||
	    (r = ps_timer_open(loop, on_limit, wire, &wire->timer)) < 0) {
		wire_destroy(wire);
		return r;
	}
	set_watch(wire);
	*ret_wire = wire;
	return 0;
}

void wire_destroy(struct wire *wire)
{
	if (!wire)
		return;
	wire->dead = true;
	ps_timer_close(wire->timer);
	ps_watch_close(wire->watch);
	wire->watch = NULL;
	stream_close(&wire->stream);
	wire->busy++;
	release(wire);
}

void wire_set_limit(struct wire *wire, unsigned ms)
{
	if (ms > 0)
		ps_timer_set(wire->timer, ms, 0);
	else
		ps_timer_stop(wire->timer);
}

struct ps_buf *wire_out(struct wire *wire)
{
	return &wire->out;
}

void wire_flush(struct wire *wire, bool tell_drained)
{
	if (wire->mute) {
		ps_buf_reset(&wire->out);
		return;
	}
	wire->wanted = tell_drained;
	send_some(wire);
	set_watch(wire);
}

int wire_secure(struct wire *wire, struct tls_trust *trust, const char *name)
{
	int r = tls_connect(trust, wire->stream.fd, name, &wire->stream.tls);

	if (r < 0)
		return r;
	wire->phase = PHASE_HANDSHAKE;
	set_watch(wire);
	return 0;
}

struct tls *wire_tls(struct wire *wire)
{
	return wire->stream.tls;
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
		       ((const struct sockaddr_in *)b)->sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)a)->sin6_addr,
				  &((const struct sockaddr_in6 *)b)->sin6_addr);
}

bool wire_is_local(const struct wire *wire)
{
	struct sockaddr_storage here = {0}, there = {0};
	socklen_t len = sizeof here, size = sizeof there;

	return getsockname(wire->stream.fd, (struct sockaddr *)&here, &len) == 0 &&
	       getpeername(wire->stream.fd, (struct sockaddr *)&there, &size) == 0 && same_address(&here, &there);
}
