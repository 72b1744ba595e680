/* SPDX-License-Identifier: MIT */
/*
 * One connection before log-in: TLS handshake, the protocol's front half, authentication, hand-over.
 *
 * Whatever happens to it (the socket, a timer, an answer) ends in conn_step(), which does what the state allows
 * until nothing more can be done, and then waits for what is missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/net/conn.h"
#include "core/net/proxy.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	OUTPUT_LIMIT = 1024 * 1024,
	BLOB_MAX = 1024,
	FLUSH_MS = 10 * 1000, /* the last words, or the answer before TLS, have so long to go out */
	TURNS_MAX = 32,       /* calls of run() before others have their turn */
	SID_LENGTH = 10,      /* 50 random bits */
};

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* The protocol has no part in the connection any more. */
static void finish_session(struct conn *conn)
{
	if (!conn->s.half)
		return;
	conn_mail_finish(conn);
	conn_cancel_exchanges(conn);
	if (conn->opened && conn->s.half->close)
		conn->s.half->close(&conn->s);
	conn->opened = false;
	session_finish(&conn->s);
	conn->s = (struct ps_session){.half = NULL};
	ps_buf_finish(&conn->blob);
}

void conn_destroy(struct conn *conn)
{
	finish_session(conn);
	away_destroy(conn->away);
	pump_destroy(conn->pump);
	ps_watch_close(conn->watch);
	ps_timer_close(conn->timer);
	stream_close(&conn->stream);
	listener_unref(conn->listener);
	front_remove(conn->front, conn);
	free(conn);
}

static void destroy_posted(void *arg)
{
	conn_destroy(arg);
}

/* After all that was posted for it. */
static void destroy_later(void *arg)
{
	struct conn *conn = arg;

	ps_loop_post(conn->front->loop, destroy_posted, conn);
}

/* No more is heard of the socket. It still counts: it has its descriptor. */
static void leave(struct conn *conn)
{
	conn->state = CONN_OVER;
	finish_session(conn);
	pump_destroy(conn->pump);
	conn->pump = NULL;
	ps_watch_close(conn->watch);
	ps_timer_close(conn->timer);
	conn->watch = NULL;
	conn->timer = NULL;
}

static void log_end(struct conn *conn, const char *reason)
{
	uint64_t age = ps_loop_now(conn->front->loop) - conn->since;

	if (!reason)
		return; /* somebody has told of it: the TLS wrapper, or the mail process */
	ps_log(PS_LOG_INFO, "disconnect", "sid", conn->s.sid, "remote", conn->s.remote, "reason", reason, "seconds",
	       ps_num((long long)(age / 1000)), "received", ps_num((long long)conn->s.received), "sent",
	       ps_num((long long)conn->s.out.sent), NULL);
}

void conn_end(struct conn *conn, const char *reason)
{
	int fd = conn->stream.fd;

	if (conn->state == CONN_OVER)
		return;
	log_end(conn, reason);
	stream_shutdown(&conn->stream);
	conn->stream.fd = -1;
	stream_close(&conn->stream);
	leave(conn);
	linger_start(&conn->front->lingers, fd, destroy_later, conn);
}

/* ---- sending, and what comes when all is sent -------------------------------------------------- */

static int conn_flush(struct ps_session *s)
{
	return output_flush(&s->out, &((struct conn *)s)->stream);
}

static void enter(struct conn *conn, enum conn_state state, uint64_t deadline)
{
	conn->state = state;
	conn->deadline = deadline;
}

static void flush_then(struct conn *conn, void (*flushed)(struct conn *conn))
{
	conn->flushed = flushed;
	enter(conn, CONN_FLUSHING, ps_loop_now(conn->front->loop) + FLUSH_MS);
}

static void flushing_step(struct conn *conn)
{
	int r = conn_flush(&conn->s);

	if (r == 0)
		conn->flushed(conn);
	else if (r != PS_E_AGAIN)
		conn_end(conn, "connection lost");
}

static void close_now(struct conn *conn)
{
	if (!conn->reason)
		conn->reason = conn->s.eof ? "client closed" : "closed";
	conn_end(conn, conn->reason);
}

/* ---- TLS ---------------------------------------------------------------------------------------- */

static void start_tls(struct conn *conn)
{
	const struct ps_front_listener *listener = &conn->listener->args;
	struct ps_front *front = conn->front;
	const struct tls_server_args args = {
		.alpn = listener->protocol->alpn,
		.asks_client = listener->asks_client,
		.needs_client = listener->needs_client,
		.client_is_common_name = front->client_is_common_name,
	};
	int r = tls_create(front->tls, conn->stream.fd, &args, &conn->stream.tls);

	if (r < 0) {
		ps_logf(PS_LOG_ERROR, "tls_failed", conn->s.sid, "%s", ps_last_error());
		conn_end(conn, NULL);
		return;
	}
	conn->starttls = false;
	enter(conn, CONN_HANDSHAKE, ps_loop_now(front->loop) + front->limits.handshake_ms);
}

static void begin(struct conn *conn)
{
	struct ps_front *front = conn->front;

	if (!conn->listener->args.implicit_tls) {
		conn_begin_session(conn);
	} else if (tls_context_has_certificate(front->tls)) {
		start_tls(conn);
	} else {
		ps_logf(PS_LOG_ERROR, "tls_failed", conn->s.sid, "there is no certificate");
		conn_end(conn, NULL);
	}
}

static void open_half(struct conn *conn)
{
	struct ps_session *s = &conn->s;

	if (conn->opened)
		return;
	if (s->half->open && s->half->open(s) != 0)
		conn_end(conn, "could not be opened");
	else
		conn->opened = true;
}

void conn_begin_session(struct conn *conn)
{
	enter(conn, CONN_SESSION, conn->login_deadline);
	open_half(conn);
}

static void handshake_step(struct conn *conn)
{
	int r = tls_handshake(conn->stream.tls);

	if (r == PS_E_AGAIN)
		return;
	if (r < 0) {
		ps_log(PS_LOG_INFO, "tls_failed", "sid", conn->s.sid, "remote", conn->s.remote, "msg", ps_last_error(),
		       NULL);
		conn_end(conn, NULL);
		return;
	}
	ps_log(PS_LOG_DEBUG, "tls", "sid", conn->s.sid, "with", tls_describe(conn->stream.tls), NULL);
	conn->s.is_tls = true;
	conn->replied = true;
	conn_begin_session(conn);
}

/* ---- PROXY -------------------------------------------------------------------------------------- */

/* From now on it is the client's connection, and counts as such. */
static void speak_for(struct conn *conn, const struct proxy_header *header)
{
	char remote[ADDRESS_NAME_SIZE], local[ADDRESS_NAME_SIZE];
	struct address address, own;

	if (header->known) {
		address_describe(&header->source, remote, &address);
		address_describe(&header->destination, local, &own);
		ps_log(PS_LOG_DEBUG, "proxied", "sid", conn->s.sid, "remote", remote, "by", conn->s.remote, NULL);
		session_rename(&conn->s, remote, local);
		if (!counts_add(conn->front->counts, &address, conn->front->limits.per_address)) {
			conn_end(conn, "too many connections from this address");
			return;
		}
		conn->address = address;
	}
	begin(conn);
}

/* What is behind the header is not ours to read here: TLS does. So it is looked at first, and then taken as far as it goes. */
static void proxy_step(struct conn *conn)
{
	struct proxy_header header;
	struct ps_buf *octets = &conn->blob; /* of no use before a log-in */
	size_t before = octets->len, length = 0;
	uint8_t *room = ps_buf_reserve(octets, PROXY_HEADER_MAX);
	ssize_t n = room ? recv(conn->stream.fd, room, PROXY_HEADER_MAX, MSG_PEEK) : -1;
	int r;

	if (n < 0 && room && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_end(conn, "connection lost");
		return;
	}
	octets->len += (size_t)n;
	r = proxy_read(ps_buf_view(octets), &header, &length);
	if (r == PS_E_SYNTAX) {
		ps_log(PS_LOG_WARNING, "proxy_refused", "sid", conn->s.sid, "remote", conn->s.remote, "msg",
		       ps_last_error(), NULL);
		conn_end(conn, NULL);
		return;
	}
	recv(conn->stream.fd, conn->front->scratch, r == 0 ? length - before : (size_t)n, 0);
	if (r == PS_E_AGAIN)
		return;
	ps_buf_finish(octets);
	speak_for(conn, &header);
}

/* ---- hand-over ---------------------------------------------------------------------------------- */

/* Descriptors for a hand-over: when none are left, those kept for this. */
static int socket_pair(struct ps_front *front, int ret_pair[2])
{
	int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

	if (socketpair(AF_UNIX, type, 0, ret_pair) == 0)
		return 0;
	if (errno == EMFILE && front_release_reserve(front) && socketpair(AF_UNIX, type, 0, ret_pair) == 0)
		return 0;
	return ps_fail_errno("socketpair");
}

static int duplicate(struct ps_front *front, int fd, int *ret_copy)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0 && errno == EMFILE && front_release_reserve(front))
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return ps_fail_errno("duplicate a socket");
	*ret_copy = copy;
	return 0;
}

static int send_over(struct conn *conn, int fd)
{
	const struct ps_front_hooks *hooks = &conn->front->hooks;
	struct ps_front_handover what = {
		.number = conn->number,
		.protocol = conn->listener->args.protocol_name,
		.ticket = conn->auth ? ps_buf_view(&conn->auth->ticket) : ps_bytes("", 0),
		.fd = fd,
		.unread = ps_session_input(&conn->s),
		.blob = ps_buf_view(&conn->blob),
	};
	uint32_t holder = 0;
	int r = hooks->hand_over(hooks->arg, &conn->s, &what, &holder);

	if (r == 0)
		away_start(conn, holder);
	return r;
}

/* The socket itself goes; it must not be shut down here. */
static int hand_over_plain(struct conn *conn)
{
	int copy = -1, r;

	if ((r = duplicate(conn->front, conn->stream.fd, &copy)) < 0 || (r = send_over(conn, copy)) < 0)
		return r;
	leave(conn);
	stream_close(&conn->stream);
	enter(conn, CONN_AWAY, 0);
	if (conn->front->stopping) /* nobody waits for it */
		conn_stop(conn);
	return 0;
}

static int hand_over_tls(struct conn *conn)
{
	int pair[2], r;

	r = socket_pair(conn->front, pair);
	if (r < 0)
		return r;
	r = send_over(conn, pair[1]);
	if (r < 0) {
		close(pair[0]);
		return r;
	}
	finish_session(conn);
	conn->deadline = 0;
	conn->state = CONN_PUMP;
	if (pump_start(conn, pair[0]) < 0)
		conn_end(conn, NULL);
	return 0;
}

static void hand_over(struct conn *conn)
{
	int r = conn->stream.tls ? hand_over_tls(conn) : hand_over_plain(conn);

	if (r == 0)
		return;
	ps_logf(PS_LOG_ERROR, "hand_over_failed", conn->s.sid, "%s", ps_last_error());
	if (conn->listener->args.protocol->busy_text)
		ps_buf_str(&conn->s.out.tail, conn->listener->args.protocol->busy_text);
	flush_then(conn, close_now);
}

/* ---- the protocol's front half ------------------------------------------------------------------- */

static bool is_due(struct conn *conn)
{
	if (conn->replied && (conn->s.wait.what == PS_WAIT_REPLY || conn->s.wait.wakeable))
		return true;
	return session_ready(&conn->s);
}

/* What run() asked for beyond a wait. */
static void follow(struct conn *conn)
{
	enum ps_wait_for what = conn->s.wait.what;

	if (conn->injected) {
		ps_log(PS_LOG_WARNING, "starttls_injection", "sid", conn->s.sid, "remote", conn->s.remote, NULL);
		conn->reason = "input after STARTTLS";
		flush_then(conn, close_now);
	} else if (what == PS_WAIT_GONE && conn->handing) {
		flush_then(conn, hand_over);
	} else if (what == PS_WAIT_CLOSE || what == PS_WAIT_GONE) {
		flush_then(conn, close_now);
	} else if (conn->starttls) {
		flush_then(conn, start_tls);
	}
}

static void run_once(struct conn *conn)
{
	struct ps_session *s = &conn->s;
	bool last = conn->login_deadline && conn->login_deadline <= ps_loop_now(conn->front->loop);
	int r;

	if (last)
		s->timed_out = true;
	conn->running = true;
	conn->replied = false;
	s->slice_end = session_clock_us() + SESSION_SLICE_US;
	session_run(s, ps_loop_now(conn->front->loop));
	conn->running = false;
	if (last && s->wait.what != PS_WAIT_GONE) {
		s->wait = (struct ps_wait){.what = PS_WAIT_CLOSE};
		conn->reason = "log-in takes too long";
	}
	r = conn_flush(s);
	if (s->dead || (r < 0 && r != PS_E_AGAIN))
		conn_end(conn, "connection lost");
	else
		follow(conn);
	if (conn->front->stopping)
		conn_stop(conn);
}

static bool takes_input(const struct conn *conn)
{
	return session_wants_input(&conn->s) && output_pending(&conn->s.out) < SESSION_OUTPUT_HIGH &&
	       !conn_mail_awaits_file(conn);
}

/* Whether something has come: octets or the end. */
static bool read_some(struct conn *conn)
{
	struct ps_session *s = &conn->s;
	uint8_t *scratch = conn->front->scratch;
	size_t room = session_room(s);
	ssize_t n;

	if (!takes_input(conn))
		return false;
	n = stream_recv(&conn->stream, scratch, room < SCRATCH_SIZE ? room : SCRATCH_SIZE);
	if (n == PS_E_AGAIN)
		return false;
	if (n < 0) {
		conn_end(conn, "connection lost");
		return false;
	}
	if (n == 0)
		s->eof = true;
	s->received += (uint64_t)n;
	session_feed(s, ps_bytes(scratch, (size_t)n));
	explicit_bzero(scratch, (size_t)n);
	return true;
}

/* The last words, and then the end. */
static void say_last(struct conn *conn, const char *text, const char *reason)
{
	if (text)
		ps_buf_str(&conn->s.out.tail, text);
	conn->reason = reason;
	flush_then(conn, close_now);
}

static void session_step(struct conn *conn)
{
	int turns = 0;
	int r = conn_flush(&conn->s);

	if (r < 0 && r != PS_E_AGAIN) {
		conn_end(conn, "connection lost");
		return;
	}
	while (conn->state == CONN_SESSION && turns < TURNS_MAX) {
		if (conn->cut && !conn_mail_is_ending(conn)) {
			say_last(conn, conn->listener->args.protocol->ended_text, conn->cut);
		} else if (is_due(conn)) {
			turns++;
			run_once(conn);
		} else if (!read_some(conn)) {
			break;
		}
		if (conn->state == CONN_SESSION && conn->s.wait.what == PS_WAIT_TURN)
			turns = TURNS_MAX;
	}
	if (conn->state == CONN_SESSION && turns == TURNS_MAX)
		conn_again(conn);
}

/* ---- events -------------------------------------------------------------------------------------- */

static void over_step(struct conn *conn)
{
	(void)conn;
}

static void (*const steps[])(struct conn *conn) = {
	[CONN_PROXY] = proxy_step,       [CONN_HANDSHAKE] = handshake_step, [CONN_SESSION] = session_step,
	[CONN_FLUSHING] = flushing_step, [CONN_PUMP] = pump_step,           [CONN_AWAY] = over_step,
	[CONN_OVER] = over_step,
};

void conn_arm_timer(struct conn *conn, uint64_t at)
{
	uint64_t now = ps_loop_now(conn->front->loop);

	at = earlier(at, conn->deadline);
	if (at)
		ps_timer_set(conn->timer, at > now ? at - now : 0, 0);
	else
		ps_timer_stop(conn->timer);
}

static void arm(struct conn *conn)
{
	struct ps_session *s = &conn->s;
	bool writing = false;
	unsigned events = 0;

	switch (conn->state) {
	case CONN_OVER:
	case CONN_AWAY: return;
	case CONN_PUMP: pump_arm(conn); return;
	case CONN_PROXY: events = PS_READABLE; break;
	case CONN_HANDSHAKE: events = tls_wants_write(conn->stream.tls) ? PS_WRITABLE : PS_READABLE; break;
	case CONN_FLUSHING: events = PS_WRITABLE; break;
	case CONN_SESSION:
		writing = output_pending(&s->out) > 0 || stream_flush(&conn->stream) == PS_E_AGAIN;
		events = writing ? PS_WRITABLE : 0;
		if (takes_input(conn))
			events |= PS_READABLE;
		if (events == PS_READABLE)
			stream_await_more(&conn->stream);
		break;
	}
	ps_watch_set(conn->watch, events);
	conn_arm_timer(conn, conn->state == CONN_SESSION ? s->wait_until : 0);
	session_release(s);
}

void conn_step(struct conn *conn)
{
	enum conn_state before;

	if (conn->running || conn->stepping)
		return; /* whoever is stepping looks again afterwards */
	conn->stepping = true;
	do {
		before = conn->state;
		steps[before](conn);
	} while (conn->state != before && conn->state != CONN_OVER);
	conn->stepping = false;
	arm(conn);
}

static void on_again(void *arg)
{
	struct conn *conn = arg;

	conn->posted = false;
	conn_step(conn);
}

void conn_again(struct conn *conn)
{
	if (conn->posted)
		return;
	conn->posted = true;
	ps_loop_post(conn->front->loop, on_again, conn);
}

static void on_socket(void *arg, unsigned events)
{
	(void)events;
	conn_step(arg);
}

static void on_wake(void *arg)
{
	conn_step(arg);
}

static void on_timer(void *arg)
{
	struct conn *conn = arg;
	uint64_t now = ps_loop_now(conn->front->loop);

	switch (conn->state) {
	case CONN_PROXY:
		if (now >= conn->deadline)
			conn_end(conn, "PROXY header takes too long");
		break;
	case CONN_HANDSHAKE:
		if (now >= conn->deadline)
			conn_end(conn, "TLS handshake takes too long");
		break;
	case CONN_FLUSHING:
		if (now >= conn->deadline)
			conn_end(conn, "client does not read");
		break;
	case CONN_SESSION:
		if ((conn->deadline && now >= conn->deadline) || (conn->s.wait_until && now >= conn->s.wait_until))
			conn->s.timed_out = true;
		break;
	case CONN_PUMP: pump_on_timer(conn); break;
	case CONN_AWAY:
	case CONN_OVER: break;
	}
	conn_step(conn);
}

static const struct session_driver front_driver = {.flush = conn_flush, .woken = on_wake};

/* ---- the beginning ------------------------------------------------------------------------------- */

static void make_sid(char ret_sid[SID_LENGTH + 1])
{
	uint64_t bits = 0;

	if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
		bits = session_clock_us(); /* a name, not a secret */
	for (int i = 0; i < SID_LENGTH; i++, bits >>= 5)
		ret_sid[i] = base32[bits & 31];
	ret_sid[SID_LENGTH] = '\0';
}

void conn_init_session(struct conn *conn, const char *sid, const char *remote, const char *local)
{
	const struct listener *listener = conn->listener;

	session_init(&conn->s, &(struct session_args){
				       .driver = &front_driver,
				       .protocol = listener->args.protocol,
				       .half = listener->args.protocol->front,
				       .conf = listener->args.protocol_conf,
				       .core_conf = conn->front->conf,
				       .loop = conn->front->loop,
				       .sid = sid,
				       .remote = remote,
				       .local = local,
				       .secret = true,
			       });
	conn->s.out.tail.limit = OUTPUT_LIMIT;
}

static struct conn *conn_create(struct listener *listener, int fd, const struct address *address, const char *remote,
				const char *local)
{
	struct ps_front *front = listener->front;
	struct conn *conn = ps_zalloc(sizeof *conn);
	char sid[SID_LENGTH + 1];

	make_sid(sid);
	conn->front = front;
	conn->listener = listener;
	listener->refs++;
	conn_init_session(conn, sid, remote, local);
	conn->address = *address;
	conn->stream = (struct stream){.fd = fd};
	conn->since = ps_loop_now(front->loop);
	if (listener->args.protocol->mail) /* else there is no log-in to wait for */
		conn->login_deadline = conn->since + front->limits.preauth_ms;
	conn->deadline = conn->login_deadline;
	front_add(front, conn);
	return conn;
}

int conn_open_watch(struct conn *conn)
{
	struct ps_loop *loop = conn->front->loop;

	if (ps_watch_open(loop, conn->stream.fd, on_socket, conn, &conn->watch) == 0 &&
	    ps_timer_open(loop, on_timer, conn, &conn->timer) == 0)
		return 0;
	ps_logf(PS_LOG_ERROR, "connect_failed", conn->s.sid, "%s", ps_last_error());
	return PS_E_INTERNAL;
}

void conn_start(struct listener *listener, int fd, const struct address *address, const char *remote, const char *local,
		bool proxied)
{
	struct conn *conn = conn_create(listener, fd, address, remote, local);
	struct ps_front *front = conn->front;

	ps_log(PS_LOG_DEBUG, "connect", "sid", conn->s.sid, "remote", remote, "local", local, "listener",
	       listener->args.name, NULL);
	if (conn_open_watch(conn) < 0) {
		conn_destroy(conn);
		return;
	}
	if (proxied)
		enter(conn, CONN_PROXY, ps_loop_now(front->loop) + front->limits.handshake_ms);
	else
		begin(conn);
	conn_step(conn);
}

void conn_stop(struct conn *conn)
{
	if (conn->state == CONN_HANDSHAKE || conn->state == CONN_PROXY)
		conn_end(conn, "server stops");
	if (conn->state == CONN_AWAY) {
		conn->state = CONN_OVER;
		destroy_later(conn);
	}
	if (conn->state != CONN_SESSION || conn_mail_is_ending(conn))
		return; /* it ends soon, or somebody who has logged in uses it */
	say_last(conn, conn->listener->args.protocol->busy_text, "server stops");
	conn_step(conn);
}

void conn_cut(struct conn *conn, const char *reason)
{
	conn->cut = reason;
	if (conn->state == CONN_HANDSHAKE || conn->state == CONN_PROXY)
		conn_end(conn, reason);
	else
		conn_step(conn);
}

/* ---- the public functions that only this half has ----------------------------------------------- */

static struct conn *conn_of(struct ps_session *s)
{
	return (struct conn *)s;
}

bool ps_session_tls_offered(const struct ps_session *s)
{
	const struct conn *conn = (const struct conn *)s;

	if (s->driver != &front_driver) /* after log-in it is too late */
		return false;
	return !conn->stream.tls && !conn->starttls && conn->listener->args.tls_available &&
	       tls_context_has_certificate(conn->front->tls);
}

void ps_session_starttls(struct ps_session *s)
{
	struct conn *conn = conn_of(s);
	size_t more = ps_session_input(s).len;

	/* What came before the handshake may be somebody else's, and would be taken as said under TLS. */
	conn->injected = more > 0;
	ps_session_consume(s, more);
	conn->starttls = true;
	conn_cancel_exchanges(conn);
}

bool ps_session_is_back(const struct ps_session *s)
{
	return s->driver == &front_driver && ((const struct conn *)s)->back;
}

bool ps_session_plaintext_ok(const struct ps_session *s)
{
	if (s->client ? s->client_secured : s->is_tls || strcmp(s->local, "unix") == 0)
		return true;
	return s->core_conf && ps_conf_bool(s->core_conf, "plaintext_without_tls");
}

const char *ps_session_certificate_user(const struct ps_session *s)
{
	const struct conn *conn = (const struct conn *)s;

	return s->driver == &front_driver && conn->stream.tls ? tls_client_user(conn->stream.tls) : NULL;
}

uint64_t ps_front_certificate_expires(const struct ps_session *s)
{
	const struct conn *conn = (const struct conn *)s;

	return s->driver == &front_driver && conn->stream.tls ? tls_client_expires(conn->stream.tls) : 0;
}

void ps_session_speak_for(struct ps_session *s, const char *remote, bool is_secured)
{
	char *client = ps_strdup(remote);

	free(s->client);
	s->client = client;
	s->client_secured = is_secured;
}

const char *ps_session_mechanisms(struct ps_session *s)
{
	const struct ps_front_hooks *hooks;

	if (s->driver != &front_driver)
		return "";
	hooks = &conn_of(s)->front->hooks;
	return hooks->mechanisms(hooks->arg, s);
}

void ps_session_hand_over(struct ps_session *s, struct ps_bytes blob)
{
	struct conn *conn = conn_of(s);

	if (blob.len > BLOB_MAX || !conn->auth || conn->auth->status != PS_AUTH_OK) {
		ps_logf(PS_LOG_ERROR, "hand_over_refused", s->sid, "blob of %zu octets, or nobody has logged in",
			blob.len);
		return; /* GONE without a hand-over closes */
	}
	conn->blob.len = 0;
	ps_buf_bytes(&conn->blob, blob);
	conn->handing = true;
}
