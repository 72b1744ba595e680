/* SPDX-License-Identifier: MIT */
/*
 * c-ares on the loop. It sends, repeats, takes the next server, and asks again by TCP what came cut off; it looks at the id and the
 * question of what comes. Ids are drawn here, by getrandom(): those of c-ares up to 1.19 can be guessed (CVE-2023-31147). Its sockets
 * are closed whenever nothing is asked, so that ports change too.
 */
#include <ares.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/random.h>
#include "core/dns/channel.h"
#include "core/event/loop.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	UDP_SIZE = 1232, /* what passes everywhere in one piece */
	TIMEOUT_MS = 3000,
	TRIES = 3,
	FLAGS_LOW = 3, /* an octet of the header */
	BIT_AD = 0x20,
	BIT_CD = 0x10,
};

struct dns_channel {
	struct ps_loop *loop;
	ares_channel ares;
	struct ps_timer *timer;
	struct socket *sockets;
	unsigned asked;
};

/* A socket of c-ares, for as long as it wants to hear of it. */
struct socket {
	struct dns_channel *channel;
	struct ps_watch *watch;
	ares_socket_t fd;
	struct socket *next;
};

struct ask {
	struct dns_channel *channel;
	dns_channel_fn fn;
	void *arg;
};

static void set_timer(struct dns_channel *channel)
{
	struct timeval wait, *least = ares_timeout(channel->ares, NULL, &wait);

	if (least)
		ps_timer_set(channel->timer, (uint64_t)least->tv_sec * 1000 + (uint64_t)least->tv_usec / 1000 + 1, 0);
	else
		ps_timer_stop(channel->timer);
}

static void on_timer(void *arg)
{
	struct dns_channel *channel = arg;

	ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timer(channel);
}

static void on_socket(void *arg, unsigned events)
{
	struct socket *socket = arg;
	struct dns_channel *channel = socket->channel;
	ares_socket_t fd = socket->fd; /* the struct may be gone after the first half of the call */

	ares_process_fd(channel->ares, events & (PS_READABLE | PS_HANGUP) ? fd : ARES_SOCKET_BAD,
			events & PS_WRITABLE ? fd : ARES_SOCKET_BAD);
	set_timer(channel);
}

static void forget_socket(struct socket **at)
{
	struct socket *socket = *at;

	*at = socket->next;
	ps_watch_close(socket->watch);
	free(socket);
}

/* What c-ares wants to hear of a socket; nothing: it is about to be closed. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns_channel *channel = arg;
	unsigned events = (readable ? PS_READABLE : 0u) | (writable ? PS_WRITABLE : 0u);
	struct socket **at = &channel->sockets, *socket;

	while (*at && (*at)->fd != fd)
		at = &(*at)->next;
	socket = *at;
	if (socket && events == 0) {
		forget_socket(at);
	} else if (socket) {
		ps_watch_set(socket->watch, events);
	} else if (events != 0) {
		socket = ps_zalloc(sizeof *socket);
		*socket = (struct socket){.channel = channel, .fd = fd, .next = channel->sockets};
		/* Without a watch the question ends by its time-out. */
		if (ps_watch_open(channel->loop, fd, on_socket, socket, &socket->watch) < 0) {
			free(socket);
			return;
		}
		channel->sockets = socket;
		ps_watch_set(socket->watch, events);
	}
}

static int open_ares(struct dns_channel *channel, const struct ps_resolver_options *options)
{
	struct ares_options ares = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS,
		.timeout = (int)(options->timeout_ms ? options->timeout_ms : TIMEOUT_MS),
		.tries = (int)(options->tries ? options->tries : TRIES),
		.ednspsz = UDP_SIZE,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = channel,
	};
	int r = ares_init_options(&channel->ares, &ares,
				  ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
					  ARES_OPT_SOCK_STATE_CB);

	if (r != ARES_SUCCESS)
		return ps_fail(PS_E_LIMIT, "DNS: %s", ares_strerror(r));
	r = options->servers ? ares_set_servers_ports_csv(channel->ares, options->servers) : ARES_SUCCESS;
	if (r != ARES_SUCCESS) {
		ares_destroy(channel->ares);
		return ps_fail(PS_E_INVALID, "name servers \"%s\": %s", options->servers, ares_strerror(r));
	}
	return 0;
}

int dns_channel_create(struct ps_loop *loop, const struct ps_resolver_options *options,
		       struct dns_channel **ret_channel)
{
	struct dns_channel *channel = ps_zalloc(sizeof *channel);
	int r = ps_timer_open(loop, on_timer, channel, &channel->timer);

	channel->loop = loop;
	if (r == 0)
		r = open_ares(channel, options);
	if (r < 0) {
		ps_timer_close(channel->timer);
		free(channel);
		return r;
	}
	*ret_channel = channel;
	return 0;
}

void dns_channel_destroy(struct dns_channel *channel)
{
	if (!channel)
		return;
	ares_destroy(channel->ares);
	while (channel->sockets)
		forget_socket(&channel->sockets);
	ps_timer_close(channel->timer);
	free(channel);
}

char *dns_channel_servers(const struct dns_channel *channel)
{
	struct ares_addr_port_node *list = NULL;
	struct ps_buf text = {0};
	char *servers;

	if (ares_get_servers_ports(channel->ares, &list) != ARES_SUCCESS)
		return NULL;
	for (const struct ares_addr_port_node *node = list; node; node = node->next) {
		char address[INET6_ADDRSTRLEN] = "";

		inet_ntop(node->family, &node->addr, address, sizeof address);
		ps_buf_printf(&text, node->family == AF_INET6 ? "%s[%s]" : "%s%s", text.len ? "," : "", address);
		if (node->udp_port)
			ps_buf_printf(&text, ":%d", node->udp_port);
	}
	ares_free_data(list);
	servers = text.len > 0 ? ps_strdup(ps_buf_cstr(&text)) : NULL;
	ps_buf_finish(&text);
	return servers;
}

bool dns_channel_is_idle(const struct dns_channel *channel)
{
	return channel->asked == 0;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *message, int len)
{
	struct ask *ask = arg;
	bool came = status == ARES_SUCCESS && message && len > 0;

	(void)timeouts;
	ask->channel->asked--;
	ask->fn(ask->arg, came ? DNS_OK : DNS_TIMEOUT, came ? ps_bytes(message, (size_t)len) : ps_bytes(NULL, 0));
	free(ask);
}

static uint16_t draw_id(void)
{
	uint16_t id;

	if (getrandom(&id, sizeof id, 0) != sizeof id)
		abort(); /* so few octets come always, once the machine is up */
	return id;
}

void dns_channel_ask(struct dns_channel *channel, const char *name, uint16_t type, bool unchecked, dns_channel_fn fn,
		     void *arg)
{
	struct ask *ask = ps_zalloc(sizeof *ask);
	unsigned char *query = NULL;
	int len = 0, r;

	*ask = (struct ask){.channel = channel, .fn = fn, .arg = arg};
	channel->asked++;
	r = ares_create_query(name, 1, type, draw_id(), 1, &query, &len, UDP_SIZE);
	if (r != ARES_SUCCESS) {
		on_answer(ask, r, 0, NULL, 0);
		return;
	}
	/* RFC 6840 section 5.7: we want to know whether it was validated, and need no signatures for that. */
	query[FLAGS_LOW] |= BIT_AD | (unchecked ? BIT_CD : 0);
	ares_send(channel->ares, query, len, on_answer, ask);
	ares_free_string(query);
	set_timer(channel);
}
