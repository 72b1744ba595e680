/* SPDX-License-Identifier: MIT */
/*
 * After log-in over TLS: octets go between the client and the mail process, which has the other end of a pair of
 * sockets. Each way holds at most one record that the receiving side does not take yet, and reads no more before
 * it is gone, so a slow reader slows the writer. When both take all, the pump holds no memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/net/conn.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	ROUNDS_MAX = 16,     /* records each way before others have their turn */
	LAST_MS = 10 * 1000, /* the last words have so long to go out */
	COMMAND_MAX = 1024,  /* what has more octets is not all of a command, which mail would answer at once */
};

/* One of the two directions. */
struct way {
	struct ps_buf kept; /* read, and not taken by the receiver yet */
	uint64_t moved;     /* octets, since the beginning */
	bool eof;           /* the sender has sent its last */
	bool broken;        /* by an error, not a proper end */
};

struct pump {
	struct conn *conn;
	struct stream mail;
	struct ps_watch *watch; /* of mail */
	struct way up;          /* from the client, to mail */
	struct way down;        /* from mail, to the client */
	bool up_ended;          /* mail was told of the end of up */
	uint64_t stall_until;   /* 0: nothing waits for the client */
	uint64_t stall_moved;   /* down.moved when that was set */
	struct ahead *back;     /* mail has handed the session back: what comes before the client's next octets */
	struct ps_buf unread;   /* and what comes before that */
};

static void on_mail(void *arg, unsigned events)
{
	struct pump *pump = arg;

	(void)events;
	conn_step(pump->conn);
}

int pump_start(struct conn *conn, int fd)
{
	struct pump *pump = ps_zalloc(sizeof *pump);
	int r;

	pump->conn = conn;
	pump->mail = (struct stream){.fd = fd};
	conn->pump = pump;
	r = ps_watch_open(conn->front->loop, fd, on_mail, pump, &pump->watch);
	if (r < 0)
		ps_logf(PS_LOG_ERROR, "pump_failed", NULL, "%s", ps_last_error());
	return r;
}

void pump_destroy(struct pump *pump)
{
	if (!pump)
		return;
	ps_watch_close(pump->watch);
	stream_close(&pump->mail);
	ps_buf_wipe(&pump->up.kept);
	ps_buf_wipe(&pump->down.kept);
	ahead_destroy(pump->back);
	ps_buf_wipe(&pump->unread);
	free(pump);
}

static ssize_t send_some(struct stream *to, struct way *way, struct ps_bytes data)
{
	ssize_t n = stream_send(to, data, false);

	if (n > 0)
		way->moved += (uint64_t)n;
	return n;
}

/* Sends what is kept, and after it `data`; keeps the rest. Negative: the receiver is gone. */
static int push(struct stream *to, struct way *way, struct ps_bytes data)
{
	ssize_t n = 0;

	while (way->kept.len > 0 && (n = send_some(to, way, ps_buf_view(&way->kept))) > 0)
		ps_buf_consume(&way->kept, (size_t)n);
	while (way->kept.len == 0 && data.len > 0 && (n = send_some(to, way, data)) > 0)
		data = ps_bytes_skip(data, (size_t)n);
	if (n < 0 && n != PS_E_AGAIN)
		return (int)n;
	ps_buf_bytes(&way->kept, data);
	if (way->kept.len == 0)
		ps_buf_wipe(&way->kept);
	return way->kept.failed ? PS_E_LIMIT : 0;
}

/* One round of one way. 1: something moved; 0: nothing can; negative: the receiver is gone. */
static int move(struct conn *conn, struct stream *from, struct stream *to, struct way *way)
{
	uint8_t *scratch = conn->front->scratch;
	ssize_t n;
	int r = push(to, way, ps_bytes(NULL, 0));

	if (r < 0 || way->kept.len > 0 || way->eof)
		return r;
	n = stream_recv(from, scratch, SCRATCH_SIZE);
	if (n == PS_E_AGAIN)
		return 0;
	if (n <= 0) {
		way->eof = true;
		way->broken = n < 0;
		return 0;
	}
	r = push(to, way, ps_bytes(scratch, (size_t)n));
	return r < 0 ? r : 1;
}

/* The client sends no more, or mail takes no more. What comes back is still wanted. */
static void end_up(struct pump *pump)
{
	shutdown(pump->mail.fd, SHUT_WR);
	pump->up.eof = pump->up_ended = true;
	ps_buf_wipe(&pump->up.kept);
}

/* Whether to go on: both ways as far as they go, in turns. One that could not go on is not tried again before the loop says so: each
 * record of a download would cost a look at a client that says nothing. */
static bool move_both(struct conn *conn, bool *ret_more)
{
	struct pump *pump = conn->pump;
	int up = 1, down = 1;

	for (int i = 0; i < ROUNDS_MAX && (up > 0 || down > 0); i++) {
		if (up > 0)
			up = move(conn, &conn->stream, &pump->mail, &pump->up);
		if (down > 0)
			down = move(conn, &pump->mail, &conn->stream, &pump->down);
		if (down < 0 || (pump->up.broken && pump->up.kept.len == 0))
			return false;
		if (!pump->up_ended && (up < 0 || (pump->up.eof && pump->up.kept.len == 0)))
			end_up(pump);
	}
	*ret_more = up > 0 || down > 0;
	return true;
}

/* ---- the way back --------------------------------------------------------------------------------- */

void pump_come_back(struct conn *conn, int fd, struct ps_bytes unread)
{
	struct pump *pump = conn->pump;
	struct ahead *back = ps_zalloc(sizeof *back);

	back->fd = fd;
	back->octets = pump->up.kept;
	pump->up.kept = (struct ps_buf){0};
	back->eof = pump->up.eof;
	pump->back = back;
	ps_buf_bytes(&pump->unread, unread);
}

/* All that mail has said is in the pair: it says no more. */
static void come_back(struct conn *conn)
{
	struct pump *pump = conn->pump;
	struct ps_buf unread = pump->unread;

	pump->back->next = conn->stream.ahead;
	conn->stream.ahead = pump->back;
	pump->back = NULL;
	pump->unread = (struct ps_buf){0};
	conn->pump = NULL;
	pump_destroy(pump);
	away_end(conn, ps_buf_view(&unread));
	ps_buf_wipe(&unread);
}

static void return_step(struct conn *conn)
{
	struct pump *pump = conn->pump;
	int r = 1;

	for (int i = 0; i < ROUNDS_MAX && r > 0; i++)
		r = move(conn, &pump->mail, &conn->stream, &pump->down);
	if (r < 0)
		conn_end(conn, NULL);
	else if (r > 0)
		conn_again(conn);
	else if (pump->down.kept.len == 0)
		come_back(conn);
}

void pump_step(struct conn *conn)
{
	const struct pump *pump = conn->pump;
	bool more = false;
	int r = 0;

	if (pump->back) {
		return_step(conn);
		return;
	}

	if (!move_both(conn, &more)) {
		conn_end(conn, NULL);
		return;
	}
	if (more) {
		conn_again(conn);
		return;
	}
	r = stream_flush(&conn->stream);
	if (r < 0 && r != PS_E_AGAIN)
		conn_end(conn, NULL);
	else if (r == 0 && pump->down.eof && pump->down.kept.len == 0)
		conn_end(conn, NULL); /* mail has ended, and what it said last has gone out */
}

/* The client's time to take something begins anew with each octet that it takes. */
static void arm_stall_timer(struct conn *conn, bool waiting)
{
	struct pump *pump = conn->pump;
	uint64_t patience = pump->down.eof ? LAST_MS : conn->front->limits.output_ms;

	if (!waiting) {
		pump->stall_until = 0;
	} else if (!pump->stall_until || pump->stall_moved != pump->down.moved) {
		pump->stall_until = ps_loop_now(conn->front->loop) + patience;
		pump->stall_moved = pump->down.moved;
	}
	conn_arm_timer(conn, pump->stall_until);
}

void pump_arm(struct conn *conn)
{
	struct pump *pump = conn->pump;
	bool waiting = pump->down.kept.len > 0 || stream_flush(&conn->stream) == PS_E_AGAIN;
	unsigned client = 0, mail = 0;

	if (waiting)
		client |= PS_WRITABLE;
	else if (!pump->down.eof)
		mail |= PS_READABLE;
	if (pump->up.kept.len > 0)
		mail |= PS_WRITABLE;
	else if (!pump->up.eof && !pump->back)
		client |= PS_READABLE;
	if (client == PS_READABLE && conn->stream.unanswered > COMMAND_MAX)
		stream_await_more(&conn->stream);
	ps_watch_set(conn->watch, client);
	ps_watch_set(pump->watch, mail);
	arm_stall_timer(conn, waiting);
}

void pump_on_timer(struct conn *conn)
{
	const struct pump *pump = conn->pump;

	if (pump->stall_until && ps_loop_now(conn->front->loop) >= pump->stall_until)
		conn_end(conn, NULL);
}
