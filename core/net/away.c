/* SPDX-License-Identifier: MIT */
/*
 * Sessions that a mail process has, and their way back when the user logs out of them (RFC 8437).
 *
 * A plain socket went there and comes back. Of a TLS session the socket pair's other end comes back: what lies in it, and what mail
 * had read and not used, is input that comes before what the client sends from now on.
 *
 * A mail process can hand back, or end, only what it was given: the number must be of a session that it holds,
 * and a plain socket must be of the client that the session had.
 */
#include <stdlib.h>
#include <unistd.h>
#include "core/net/conn.h"
#include "postern/error.h"
#include "postern/log.h"

static const uint32_t NOBODY = UINT32_MAX; /* no process has this number */

void away_start(struct conn *conn, uint32_t holder)
{
	struct away *away = ps_zalloc(sizeof *away);

	*away = (struct away){.holder = holder,
			      .sid = ps_strdup(conn->s.sid),
			      .remote = ps_strdup(conn->s.remote),
			      .local = ps_strdup(conn->s.local)};
	conn->away = away;
}

void away_destroy(struct away *away)
{
	if (!away)
		return;
	free(away->sid);
	free(away->remote);
	free(away->local);
	free(away);
}

void away_end(struct conn *conn, struct ps_bytes unread)
{
	struct ps_front *front = conn->front;
	struct away *away = conn->away;

	conn->away = NULL;
	conn_init_session(conn, away->sid, away->remote, away->local);
	away_destroy(away);
	conn->s.is_tls = conn->stream.tls != NULL;
	conn->s.received = unread.len;
	session_feed(&conn->s, unread);
	conn->back = true;
	conn->handing = conn->replied = false;
	conn->reason = NULL;
	conn->login_deadline = ps_loop_now(front->loop) + front->limits.preauth_ms;
	if (!conn->watch && conn_open_watch(conn) < 0) {
		conn_end(conn, "could not be watched");
		return;
	}
	ps_log(PS_LOG_DEBUG, "came_back", "sid", conn->s.sid, NULL);
	conn_begin_session(conn);
	if (front->stopping)
		conn_stop(conn);
}

/* Whether the descriptor is a stream socket of this kind, connected to whom the session was for. */
static bool is_ours(const struct conn *conn, int fd)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
	socklen_t size = sizeof peer, type_size = sizeof(int);
	char name[ADDRESS_NAME_SIZE];
	struct address address;
	int type = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0 || type != SOCK_STREAM ||
	    getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
		return false;
	if (conn->state == CONN_PUMP)
		return peer.ss_family == AF_UNIX;
	address_describe(&peer, name, &address);
	return strcmp(name, conn->away->remote) == 0;
}

int ps_front_hand_back(struct ps_front *front, uint32_t holder, uint64_t number, int fd, struct ps_bytes unread)
{
	struct conn *conn = front_find(front, number);

	if (!conn || conn->state == CONN_OVER) {
		close(fd); /* the client has gone, or we are going */
		return 0;
	}
	if (!conn->away || conn->away->holder != holder) {
		close(fd);
		return ps_fail(PS_E_ACCESS, "session %ju is not with process %u", (uintmax_t)number, holder);
	}
	if (!is_ours(conn, fd)) {
		close(fd);
		return ps_fail(PS_E_ACCESS, "session %s comes back with another socket", conn->away->sid);
	}
	conn->away->holder = NOBODY; /* it is not handed back twice */
	if (conn->state == CONN_PUMP) {
		pump_come_back(conn, fd, unread);
	} else {
		conn->stream = (struct stream){.fd = fd};
		away_end(conn, unread);
	}
	conn_step(conn);
	return 0;
}

static void destroy_posted(void *arg)
{
	conn_destroy(arg);
}

/* Something may be posted for it still. */
static void forget(struct conn *conn)
{
	conn->state = CONN_OVER;
	ps_loop_post(conn->front->loop, destroy_posted, conn);
}

void ps_front_over(struct ps_front *front, uint32_t holder, uint64_t number)
{
	struct conn *conn = front_find(front, number);

	if (conn && conn->state == CONN_AWAY && conn->away->holder == holder)
		forget(conn);
}

void ps_front_holder_gone(struct ps_front *front, uint32_t holder)
{
	for (struct conn *conn = front->first; conn; conn = conn->next) {
		if (!conn->away || conn->away->holder != holder)
			continue;
		if (conn->state == CONN_AWAY)
			forget(conn);
		else
			conn->away->holder =
				NOBODY; /* its pump sees the end; who comes in the place of the process has it not */
	}
}
