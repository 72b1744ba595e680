/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets: accepts, counts, and refuses what is too many.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "auth/nets.h"
#include "core/base/hash.h"
#include "core/net/conn.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	ACCEPT_BATCH = 64, /* in one turn of the loop */
	ACCEPT_PAUSE_MS = 500,
	PAUSE_LINES = 1,    /* in the log, a minute: it may come and go many times a second */
	REFUSED_LINES = 20, /* the same */
};

/* ---- descriptors -------------------------------------------------------------------------------- */

void front_reserve(struct ps_front *front)
{
	for (int i = 0; i < RESERVED_FDS; i++)
		if (front->reserved[i] < 0)
			front->reserved[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

bool front_release_reserve(struct ps_front *front)
{
	bool some = false;

	for (int i = 0; i < RESERVED_FDS; i++) {
		if (front->reserved[i] >= 0) {
			close(front->reserved[i]);
			some = true;
		}
		front->reserved[i] = -1;
	}
	return some;
}

/* ---- accepting ---------------------------------------------------------------------------------- */

static void watch_all(struct ps_front *front, unsigned events)
{
	for (struct listener *listener = front->listeners; listener; listener = listener->next)
		if (listener->watch)
			ps_watch_set(listener->watch, events);
}

void front_accept_resume(struct ps_front *front)
{
	front_reserve(front);
	if (!front->paused || front->stopping)
		return;
	front->paused = false;
	ps_timer_stop(front->accept_timer);
	watch_all(front, PS_READABLE);
}

static void on_accept_timer(void *arg)
{
	front_accept_resume(arg);
}

/* Those who are connected go on; the others wait in the kernel's queue. */
static void pause_accepting(struct ps_front *front, int error)
{
	unsigned left_out;

	if (seldom_may(&front->pauses, ps_loop_now(front->loop), PAUSE_LINES, &left_out))
		ps_logf(PS_LOG_WARNING, "accept_paused", NULL, "%s; %u connections", strerror(error), front->count);
	front->paused = true;
	watch_all(front, 0);
	if (!front->accept_timer && ps_timer_open(front->loop, on_accept_timer, front, &front->accept_timer) < 0)
		return; /* the next connection that closes resumes */
	ps_timer_set(front->accept_timer, ACCEPT_PAUSE_MS, 0);
}

void address_describe(const struct sockaddr_storage *address, char ret_name[ADDRESS_NAME_SIZE],
		      struct address *ret_address)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	char text[INET6_ADDRSTRLEN] = "";

	*ret_address = (struct address){.counted = true};
	if (address->ss_family == AF_INET) {
		inet_ntop(AF_INET, &in4->sin_addr, text, sizeof text);
		snprintf(ret_name, ADDRESS_NAME_SIZE, "%s:%u", text, ntohs(in4->sin_port));
		memcpy(ret_address->octets, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
		memcpy(ret_address->octets + 12, &in4->sin_addr, 4);
	} else if (address->ss_family == AF_INET6) {
		bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);

		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
		snprintf(ret_name, ADDRESS_NAME_SIZE, "[%s]:%u", text, ntohs(in6->sin6_port));
		memcpy(ret_address->octets, &in6->sin6_addr, mapped ? 16 : 8);
	} else {
		snprintf(ret_name, ADDRESS_NAME_SIZE, "unix");
		ret_address->counted = false;
	}
}

/* All connections are counted like those of an address; of one that none comes from (it is for multicast). */
const struct address everybody = {.octets = {0xff}, .counted = true};

struct address address_of_user(const char *user)
{
	static const struct ps_hash_key same_in_all_fronts;
	struct ps_hash hash = ps_hash(&same_in_all_fronts, ps_bytes_str(user));
	struct address address = {.octets = {0xff, 1}, .counted = true};

	memcpy(address.octets + 2, &hash, sizeof address.octets - 2);
	return address;
}

/* Nothing was read from it, so close() does not reset what is sent here. */
static void refuse(const struct listener *listener, int fd, const char *remote, const char *reason)
{
	const char *text = listener->args.protocol->busy_text;
	struct ps_front *front = listener->front;
	unsigned left_out;

	if (seldom_may(&front->refusals, ps_loop_now(front->loop), REFUSED_LINES, &left_out))
		ps_log(PS_LOG_INFO, "refused", "remote", remote, "listener", listener->args.name, "reason", reason,
		       "left_out", left_out ? ps_num(left_out) : NULL, NULL);
	if (text && !listener->args.implicit_tls && send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		/* It will see the end of the connection. */
	}
	close(fd);
}

static void welcome(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
	struct ps_front *front = listener->front;
	struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
	socklen_t own_size = sizeof own;
	char remote[ADDRESS_NAME_SIZE], local[ADDRESS_NAME_SIZE];
	struct address address, own_address;
	bool proxied, is_tcp;

	address_describe(peer, remote, &address);
	getsockname(fd, (struct sockaddr *)&own, &own_size);
	address_describe(&own, local, &own_address);
	proxied = listener->args.proxies[0] && ps_nets_contain(listener->args.proxies, remote);
	is_tcp = address.counted;
	address.counted = address.counted && !proxied; /* all clients of a load balancer come from its address */
	if (front->count >= front->limits.here || !counts_add(front->counts, &everybody, front->limits.connections)) {
		refuse(listener, fd, remote, "too many connections");
		return;
	}
	if (!counts_add(front->counts, &address, front->limits.per_address)) {
		counts_drop(front->counts, &everybody);
		refuse(listener, fd, remote, "too many connections from this address");
		return;
	}
	if (is_tcp) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
	}
	conn_start(listener, fd, &address, remote, local, proxied);
}

static void on_listener(void *arg, unsigned events)
{
	struct listener *listener = arg;
	struct sockaddr_storage peer;
	socklen_t size;
	int fd;

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH && !listener->front->paused; i++) {
		peer.ss_family = AF_UNSPEC;
		size = sizeof peer;
		fd = accept4(listener->args.fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			welcome(listener, fd, &peer);
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(listener->front, errno);
		/* All else (ECONNABORTED, EPROTO ...) is about one connection that went before it came. */
	}
}

void listener_unref(struct listener *listener)
{
	if (--listener->refs > 0)
		return;
	free(listener->name);
	free(listener->protocol_name);
	free(listener->proxies);
	free(listener);
}

static void stop_listening(struct listener *listener)
{
	ps_watch_close(listener->watch);
	if (listener->args.fd >= 0)
		close(listener->args.fd);
	listener->watch = NULL;
	listener->args.fd = -1;
	listener_unref(listener);
}

int ps_front_listen(struct ps_front *front, const struct ps_front_listener *args)
{
	struct listener *listener = ps_zalloc(sizeof *listener);
	int r;

	listener->refs = 1;
	listener->name = ps_strdup(args->name);
	listener->protocol_name = ps_strdup(args->protocol_name);
	listener->proxies = ps_strdup(args->proxies ? args->proxies : "");
	listener->args = *args;
	listener->args.proxies = listener->proxies;
	listener->args.name = listener->name;
	listener->args.protocol_name = listener->protocol_name;
	listener->front = front;
	r = ps_watch_open(front->loop, args->fd, on_listener, listener, &listener->watch);
	if (r < 0) {
		stop_listening(listener);
		return r;
	}
	listener->next = front->listeners;
	front->listeners = listener;
	if (!front->paused)
		ps_watch_set(listener->watch, PS_READABLE);
	return 0;
}

void ps_front_unlisten(struct ps_front *front, const char *name)
{
	struct listener **at = &front->listeners;

	while (*at) {
		struct listener *listener = *at;

		if (strcmp(listener->name, name) == 0) {
			*at = listener->next;
			stop_listening(listener);
		} else {
			at = &listener->next;
		}
	}
}

void front_accept_stop(struct ps_front *front)
{
	while (front->listeners) {
		struct listener *listener = front->listeners;

		front->listeners = listener->next;
		stop_listening(listener);
	}
	ps_timer_close(front->accept_timer);
	front->accept_timer = NULL;
}
