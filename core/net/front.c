/* SPDX-License-Identifier: MIT */
/*
 * The front process's connections as a whole: limits, certificates, and finding one by its number.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "core/config/config.h"
#include "core/net/conn.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	OTHER_FDS = 64,   /* channels, listeners, and what libraries open */
	FDS_PER_CONN = 2, /* the socket, and the pump's end of the pair */
};

/* ---- settings ----------------------------------------------------------------------------------- */

/* More connections than there are descriptors for would only make accepting stop and go. */
static unsigned most_here(unsigned connections)
{
	struct rlimit fds;
	uint64_t room;

	if (getrlimit(RLIMIT_NOFILE, &fds) < 0 || fds.rlim_cur == RLIM_INFINITY || fds.rlim_cur <= 2 * OTHER_FDS)
		return connections;
	room = (fds.rlim_cur - OTHER_FDS) / FDS_PER_CONN;
	if (connections <= room)
		return connections;
	/* Of no matter on most machines; who meets it is refused, and that is logged, too. */
	ps_logf(PS_LOG_INFO, "connections_limited", NULL,
		"%u connections need more than the %ju descriptors allowed; %ju it is in this process", connections,
		(uintmax_t)fds.rlim_cur, (uintmax_t)room);
	return (unsigned)room;
}

static struct front_limits read_limits(const struct ps_conf *conf)
{
	const struct ps_conf *limits = ps_conf_section(conf, "limits", 0);
	unsigned connections = (unsigned)ps_conf_int(limits, "connections");

	return (struct front_limits){
		.connections = connections,
		.here = most_here(connections),
		.per_address = (unsigned)ps_conf_int(limits, "connections_per_address"),
		.preauth_ms = (uint64_t)ps_conf_int(limits, "preauth_timeout") * 1000,
		.handshake_ms = (uint64_t)ps_conf_int(limits, "tls_handshake_timeout") * 1000,
		.output_ms = (uint64_t)ps_conf_int(limits, "output_timeout") * 1000,
	};
}

static int make_tls(struct ps_front *front, const struct ps_conf *conf)
{
	const struct ps_conf *tls = ps_conf_section(conf, "tls", 0);
	const struct tls_settings settings = {
		.priority = ps_conf_str(tls, "priority"),
		.resumption_s = (unsigned)ps_conf_int(tls, "resumption_time"),
		.clients = ps_buf_view(&front->client_authorities),
		.sign = front->hooks.sign,
		.sign_arg = front->hooks.arg,
	};
	struct tls_context *context;
	int r = tls_context_create(&settings, front->tls, &context);

	if (r < 0)
		return r;
	tls_context_unref(front->tls);
	front->tls = context;
	front->client_is_common_name = strcmp(ps_conf_str(tls, "client_user"), "common_name") == 0;
	return 0;
}

/* ---- the whole ---------------------------------------------------------------------------------- */

int ps_front_create(struct ps_loop *loop, const struct ps_conf *conf, const struct ps_front_hooks *hooks,
		    struct ps_front **ret_front)
{
	struct ps_front *front = ps_zalloc(sizeof *front);
	int r;

	front->loop = loop;
	front->conf = conf;
	front->hooks = *hooks;
	front->lingers.loop = loop;
	r = make_tls(front, conf);
	if (r < 0) {
		free(front);
		return r;
	}
	front->limits = read_limits(conf);
	front->counts = counts_create();
	for (int i = 0; i < RESERVED_FDS; i++)
		front->reserved[i] = -1;
	front_reserve(front);
	*ret_front = front;
	return 0;
}

int ps_front_share_counts(struct ps_front *front, uint32_t index, bool own, uint64_t seed, int fd)
{
	return counts_share(front->counts, index, own, seed, fd);
}

void ps_front_reconfigure(struct ps_front *front, const struct ps_conf *conf)
{
	front->conf = conf;
	front->limits = read_limits(conf);
	for (struct listener *listener = front->listeners; listener; listener = listener->next)
		listener->args.protocol_conf = ps_conf_plugin(conf, "protocol", listener->protocol_name);
	if (make_tls(front, conf) < 0)
		ps_logf(PS_LOG_ERROR, "tls_settings", NULL, "the former ones stay: %s", ps_last_error());
}

int ps_front_set_client_authorities(struct ps_front *front, struct ps_bytes pem)
{
	struct ps_buf former = front->client_authorities;
	int r;

	front->client_authorities = (struct ps_buf){0};
	ps_buf_bytes(&front->client_authorities, pem);
	r = make_tls(front, front->conf);
	if (r < 0) {
		ps_buf_finish(&front->client_authorities);
		front->client_authorities = former;
		return r;
	}
	ps_buf_finish(&former);
	return 0;
}

void ps_front_set_ticket_key(struct ps_front *front, struct ps_bytes key)
{
	tls_context_set_ticket_key(front->tls, key);
}

int ps_front_set_certificate(struct ps_front *front, const struct tls_certificate *certificate)
{
	struct tls_context *context;
	int r = tls_context_with_certificate(front->tls, certificate, &context);

	if (r < 0)
		return r;
	tls_context_unref(front->tls); /* sessions and handshakes under way hold it */
	front->tls = context;
	return 0;
}

unsigned ps_front_connections(const struct ps_front *front)
{
	return front->count;
}

static void maybe_empty(struct ps_front *front)
{
	void (*empty)(void *arg) = front->empty;

	if (!front->stopping || front->count > 0 || !empty)
		return;
	front->empty = NULL;
	empty(front->empty_arg);
}

void ps_front_stop(struct ps_front *front, void (*empty)(void *arg), void *arg)
{
	front->stopping = true;
	front->empty = empty;
	front->empty_arg = arg;
	front_accept_stop(front);
	for (struct conn *conn = front->first, *next; conn; conn = next) {
		next = conn->next;
		conn_stop(conn);
	}
	maybe_empty(front);
}

void ps_front_destroy(struct ps_front *front)
{
	if (!front)
		return;
	front->stopping = true;
	front->empty = NULL;
	front_accept_stop(front);
	lingers_finish(&front->lingers);
	while (front->first)
		conn_destroy(front->first);
	front_release_reserve(front);
	counts_destroy(front->counts);
	tls_context_unref(front->tls);
	ps_buf_finish(&front->client_authorities);
	free(front->slots);
	free(front->slot_uses);
	free(front);
}

/* ---- numbers ------------------------------------------------------------------------------------ */

static void grow_slots(struct ps_front *front)
{
	uint32_t more = front->slot_count ? 2 * front->slot_count : 64;

	front->slots = ps_realloc(front->slots, more * sizeof *front->slots);
	front->slot_uses = ps_realloc(front->slot_uses, more * sizeof *front->slot_uses);
	for (uint32_t i = front->slot_count; i < more; i++) {
		front->slots[i] = NULL;
		front->slot_uses[i] = 0;
	}
	front->slot_count = more;
}

/* Looks on from where the last was found: freed slots rest a while, and the search is short on average. */
static uint32_t free_slot(struct ps_front *front)
{
	if (front->count * 2 >= front->slot_count)
		grow_slots(front);
	while (front->slots[front->slot_hint % front->slot_count])
		front->slot_hint++;
	return front->slot_hint++ % front->slot_count;
}

void front_add(struct ps_front *front, struct conn *conn)
{
	uint32_t slot = free_slot(front);

	conn->number = (uint64_t)++front->slot_uses[slot] << 32 | slot;
	front->slots[slot] = conn;
	conn->next = front->first;
	if (conn->next)
		conn->next->prev = conn;
	front->first = conn;
	front->count++;
}

void front_remove(struct ps_front *front, struct conn *conn)
{
	front->slots[(uint32_t)conn->number] = NULL;
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		front->first = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	front->count--;
	counts_drop(front->counts, &conn->address);
	counts_drop(front->counts, &everybody);
	front_accept_resume(front);
	maybe_empty(front);
}

struct conn *front_find(struct ps_front *front, uint64_t number)
{
	uint32_t slot = (uint32_t)number;
	struct conn *conn = slot < front->slot_count ? front->slots[slot] : NULL;

	return conn && conn->number == number ? conn : NULL;
}

void ps_front_binding(const struct ps_session *s, enum ps_binding binding, struct ps_buf *out)
{
	const struct conn *conn = (const struct conn *)s;

	if (conn->stream.tls)
		tls_binding(conn->stream.tls, binding, out);
}

/* ---- sessions that are here ---------------------------------------------------------------------- */

static struct ps_session_info info_of(const struct conn *conn)
{
	uint64_t age = ps_loop_now(conn->front->loop) - conn->since;
	struct ps_session_info info = {
		.sid = conn->s.sid,
		.protocol = conn->listener->args.protocol->service,
		.remote = conn->s.remote,
		.is_tls = conn->s.is_tls,
		.age_ms = age,
	};

	if (conn->auth && conn->auth->user) {
		info.user = conn->auth->user;
		info.credential = conn->auth->credential;
	}
	return info;
}

/* Not those that another process has, which knows more of them, or that are over. */
static bool is_here(const struct conn *conn)
{
	return conn->state != CONN_PUMP && conn->state != CONN_AWAY && conn->state != CONN_OVER;
}

void ps_front_each(struct ps_front *front, void (*fn)(void *arg, const struct ps_session_info *info), void *arg)
{
	for (struct conn *conn = front->first; conn; conn = conn->next) {
		struct ps_session_info info = info_of(conn);

		if (is_here(conn) && info.user)
			fn(arg, &info);
	}
}

unsigned ps_front_end(struct ps_front *front, const struct ps_session_choice *choice)
{
	unsigned count = 0;

	for (struct conn *conn = front->first, *next; conn; conn = next) {
		struct ps_session_info info = info_of(conn);

		next = conn->next;
		if (!is_here(conn) || !ps_session_is_chosen(&info, choice))
			continue;
		count++;
		conn_cut(conn, choice->reason);
	}
	return count;
}
