/* SPDX-License-Identifier: MIT */
/*
 * Sessions after log-in.
 *
 * The loop reads sockets, keeps time, and sends what memory holds; workers open stores, call the
 * protocol, and send files. A session is handed to the workers by submit() and comes back by
 * done(); in between (WORKING) the loop leaves all of it alone but the list links and the watch. So
 * nothing here is locked.
 *
 *   take -> WORKING (open, run) -> PARKED -> WORKING (run) -> ... -> CLOSING (last output) ->
 * ENDING (close) -> freed
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/event/workers.h"
#include "core/net/compress.h"
#include "core/net/linger.h"
#include "core/net/mail.h"
#include "core/net/session.h"
#include "core/store/index/renew.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	FOR_OTHERS = 1, /* a thread that no user takes from them */
	READ_SIZE = 64 * 1024,
	WORKER_READ_SIZE = 16 * 1024,    /* on its stack */
	AWAIT_MS = 1,                    /* a worker waits so long for the next command of who was quick */
	OUTPUT_LIMIT = 64 * 1024 * 1024, /* a protocol that writes so much between two looks at
				      ps_session_full() is       broken; better its session than the process */
	STOP_MS = 10 * 1000,             /* at the end, commands under way get so long */
	INFLATE_MAX = 16 * 1024,         /* octets inflated in one step */
	REST_MS = 5 * 1000,              /* a session that is idle for so long lets the tables of its compression go */
};

static const uint32_t NOWHERE = UINT32_MAX; /* no process has this number */

enum mail_state {
	WORKING,
	PARKED,
	CLOSING,
	ENDING
};

struct mail_session {
	struct ps_session s; /* first */
	struct ps_mail *mail;
	struct mail_session *prev, *next;
	struct stream stream;
	struct ps_watch *watch;
	struct ps_timer *timer;
	void (*job)(struct mail_session *m);
	enum mail_state state;
	bool opened;               /* the protocol's half was */
	bool closed;               /* and is no more: nothing is left to do for a worker */
	bool is_admin;             /* a master user has logged in */
	bool quick;                /* its last command came at once after the answer before */
	const char *reason;        /* why it ends, for the log */
	bool resting;              /* its compression has no tables now */
	bool handing;              /* it goes back where it came from */
	bool ending;               /* and the client's end of compression is awaited */
	const char *cut;           /* why somebody else ends it; NULL: nobody does */
	uint32_t from;             /* whence */
	uint64_t number;           /* and what it is there */
	struct inflater *inflater; /* NULL: what comes in is not compressed */
	struct ps_user *user;
	char *user_name;
	struct ps_buf blob;
	struct opening *opening; /* until the store is open */
	struct ps_hash credential;
	uint64_t since, active; /* CLOCK_MONOTONIC milliseconds */
	uint64_t stall_until;   /* 0: nothing waits to be sent */
	uint64_t stall_sent;    /* s.out.sent when that was set */
	uint64_t cut_until;     /* it is closed then, whatever it has to send; 0: not so */
};

/* A parked session is this, its protocol state and a few short strings. */
_Static_assert(sizeof(struct mail_session) <= 640, "sessions are many");

/* What is needed to open the store, and not afterwards. */
struct opening {
	struct ps_user_info info;
	char *home, *backend, *root, *fields;
	bool crowded; /* the user has as many sessions as they may */
};

struct ps_mail {
	struct ps_loop *loop;
	struct ps_workers *workers;
	const struct ps_conf *_Atomic conf; /* written by the loop */
	struct ps_mail_hooks hooks;
	uint64_t output_ms; /* a client that takes nothing for so long is dropped */
	struct mail_session *first;
	unsigned count;
	unsigned errands; /* of ps_mail_run(), that are under way */
	struct lingers lingers;
	bool stopping;
	bool stopped; /* the time to end by themselves is over */
	struct ps_timer *stop_timer;
	void (*empty)(void *arg);
	void *empty_arg;
	uint8_t scratch[READ_SIZE]; /* the loop's */
};

static void advance(struct mail_session *m);

/* ---- on a worker ------------------------------------------------------------------------------
 */

static void kill_session(struct mail_session *m, const char *reason)
{
	m->s.dead = true;
	if (!m->reason)
		m->reason = reason;
}

static int session_flush(struct ps_session *s)
{
	struct mail_session *m = (struct mail_session *)s;

	return output_flush(&s->out, &m->stream);
}

static int session_write(struct ps_session *s, struct ps_bytes data)
{
	struct mail_session *m = (struct mail_session *)s;

	return output_write(&s->out, &m->stream, data);
}

static void flush(struct mail_session *m)
{
	int r = session_flush(&m->s);

	if (r == 0 || r == PS_E_AGAIN)
		return;
	if (r != PS_E_CLOSED)
		ps_logf(PS_LOG_ERROR, "output_failed", m->s.sid, "%s", ps_last_error());
	kill_session(m, r == PS_E_CLOSED ? "connection lost" : "output failed");
}

/* A long command may work for nobody; the loop does not look at the socket meanwhile. */
static void look_for_hangup(struct mail_session *m)
{
	struct pollfd pfd = {.fd = m->stream.fd};

	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLHUP | POLLERR)))
		kill_session(m, "connection lost");
}

static ssize_t receive(struct mail_session *m, uint8_t *scratch, size_t size)
{
	ssize_t n = stream_recv(&m->stream, scratch, size);

	if (n > 0)
		m->s.received += (uint64_t)n;
	else if (n == 0)
		m->s.eof = true;
	else if (n != PS_E_AGAIN)
		kill_session(m, "connection lost");
	return n;
}

static void inflate_some(struct mail_session *m, uint8_t *scratch, size_t size)
{
	size_t room = session_room(&m->s);
	ssize_t n;

	if (room > size)
		room = size;
	n = inflater_take(m->inflater, scratch, room < INFLATE_MAX ? room : INFLATE_MAX);
	if (n > 0)
		session_feed(&m->s, ps_bytes(scratch, (size_t)n));
	else if (n < 0)
		kill_session(m, n == PS_E_SYNTAX ? "input is not compressed" : "no memory");
	if (inflater_has_ended(m->inflater))
		m->s.eof = true;
}

/* Octets have come off the socket that are not inflated yet, so no readiness of the socket will tell of them. */
static bool holds_input(const struct mail_session *m)
{
	return m->inflater && inflater_has_more(m->inflater) && session_wants_input(&m->s) &&
	       output_pending(&m->s.out) < SESSION_OUTPUT_HIGH;
}

static void take_input(struct mail_session *m, uint8_t *scratch, size_t size)
{
	struct ps_session *s = &m->s;
	size_t room = session_room(s);
	ssize_t n;

	if (m->inflater && inflater_has_more(m->inflater)) {
		inflate_some(m, scratch, size);
		return;
	}
	n = receive(m, scratch, room < size ? room : size);
	if (n <= 0)
		return;
	m->resting = false;
	if (!m->inflater)
		session_feed(s, ps_bytes(scratch, (size_t)n));
	else if (inflater_put(m->inflater, ps_bytes(scratch, (size_t)n)) < 0)
		kill_session(m, "no memory");
	else
		inflate_some(m, scratch, size);
}

/*
 * A client that sends one command after the other has the next here sooner than the loop and another worker could
 * have passed the session on. Only while a thread has nothing to do anyway.
 */
static bool await_next(struct mail_session *m)
{
	struct ps_session *s = &m->s;
	struct pollfd pfd = {.fd = m->stream.fd, .events = POLLIN};
	uint8_t scratch[WORKER_READ_SIZE];

	if (holds_input(m)) {
		take_input(m, scratch, sizeof scratch);
		return true;
	}
	if (!m->quick || s->wait.wakeable || !session_wants_input(s) || output_pending(&s->out) > 0 ||
	    !ps_workers_spare(m->mail->workers))
		return false;
	stream_await_more(&m->stream);
	m->quick = poll(&pfd, 1, AWAIT_MS) == 1;
	if (m->quick)
		take_input(m, scratch, sizeof scratch);
	return m->quick;
}

/* Whether the session has something to do, and has not had its turn. */
static bool goes_on(struct mail_session *m)
{
	struct ps_session *s = &m->s;

	if (s->wait.what == PS_WAIT_TURN)
		return false;
	while (!s->dead && !session_ready(s))
		if (ps_session_slice_over(s) || !await_next(m))
			return false;
	return !s->dead && !ps_session_slice_over(s);
}

static void job_close(struct mail_session *m)
{
	if (m->opened && m->s.half->close)
		m->s.half->close(&m->s);
	if (m->user)
		ps_user_close(m->user);
	m->user = NULL;
	m->closed = true;
}

/* run() is not called any more. */
static bool is_leaving(const struct mail_session *m)
{
	return m->s.wait.what == PS_WAIT_CLOSE || m->s.wait.what == PS_WAIT_GONE;
}

/* Goes on with the next command until the slice is over. */
static void job_run(struct mail_session *m)
{
	struct ps_session *s = &m->s;

	s->slice_end = session_clock_us() + SESSION_SLICE_US;
	do {
		session_run(s, session_clock_us() / 1000);
		if (s->wait.what == PS_WAIT_GONE)
			output_compress_end(&s->out);
		flush(m);
		if (s->wait.what == PS_WAIT_TURN)
			look_for_hangup(m);
	} while (goes_on(m));
	if (s->dead || (is_leaving(m) && output_pending(&s->out) == 0))
		job_close(m);
}

/* A little more of what is held, and then as ever. */
static void job_inflate(struct mail_session *m)
{
	m->s.slice_end = session_clock_us() + SESSION_SLICE_US;
	if (goes_on(m))
		job_run(m);
	else if (m->s.dead)
		job_close(m);
}

static void opening_destroy(struct opening *opening)
{
	if (!opening)
		return;
	free(opening->home);
	free(opening->backend);
	free(opening->root);
	free(opening->fields);
	free(opening);
}

/* The client waits for the answer to its log-in; what it may be told is that this did not go. */
static void refuse(struct mail_session *m, const char *what, const char *text)
{
	struct ps_session *s = &m->s;

	ps_log(PS_LOG_ERROR, "session_refused", "sid", s->sid, "user", m->user_name, "what", what, "why",
	       ps_last_error(), NULL);
	if (!text)
		text = s->protocol->busy_text;
	if (text)
		ps_buf_str(&s->out.tail, text);
	s->wait = (struct ps_wait){.what = PS_WAIT_CLOSE};
	m->reason = "could not be opened";
}

static void job_open(struct mail_session *m)
{
	struct ps_session *s = &m->s;
	bool crowded = m->opening->crowded;
	int r = crowded ? ps_fail(PS_E_LIMIT, "the user has as many as they may")
			: ps_user_open(s->core_conf, &m->opening->info, &m->user);

	opening_destroy(m->opening);
	m->opening = NULL;
	if (r < 0) {
		refuse(m, crowded ? "one more session" : "open the store", crowded ? s->protocol->crowded_text : NULL);
		return;
	}
	if (s->half->open && s->half->open(s) != 0) {
		refuse(m, "open the session", NULL);
		return;
	}
	m->opened = true;
	job_run(m);
}

static void work(void *arg)
{
	struct mail_session *m = arg;

	m->job(m);
}

/* ---- on the loop ------------------------------------------------------------------------------
 */

static void maybe_empty(struct ps_mail *mail)
{
	if (!mail->stopping || mail->count > 0 || mail->errands > 0 || !mail->empty)
		return;
	mail->empty(mail->empty_arg);
	mail->empty = NULL;
}

static void session_destroy(struct mail_session *m)
{
	struct ps_mail *mail = m->mail;

	if (mail->hooks.over && m->from != NOWHERE && !m->s.is_tls) /* of TLS, the pump's end tells it */
		mail->hooks.over(mail->hooks.arg, m->from, m->number);

	if (m->prev)
		m->prev->next = m->next;
	else
		mail->first = m->next;
	if (m->next)
		m->next->prev = m->prev;
	mail->count--;
	ps_watch_close(m->watch);
	ps_timer_close(m->timer);
	if (m->stream.fd >= 0)
		linger_start(&mail->lingers, m->stream.fd, NULL, NULL);
	opening_destroy(m->opening);
	inflater_destroy(m->inflater);
	session_finish(&m->s);
	ps_buf_finish(&m->blob);
	free(m->user_name);
	free(m);
	maybe_empty(mail);
}

static void done(void *arg)
{
	struct mail_session *m = arg;

	if (m->state == ENDING) {
		session_destroy(m);
		return;
	}
	m->active = ps_loop_now(m->mail->loop);
	m->resting = false;
	m->state = is_leaving(m) ? CLOSING : PARKED;
	advance(m);
}

static void submit(struct mail_session *m, enum mail_state state, void (*job)(struct mail_session *m))
{
	m->state = state;
	m->job = job;
	ps_workers_run_for(m->mail->workers, m->user_name, work, done, m);
}

static void log_end(struct mail_session *m, const char *event, const char *reason)
{
	const struct ps_session *s = &m->s;
	uint64_t age = ps_loop_now(m->mail->loop) - m->since;

	ps_log(PS_LOG_INFO, event, "sid", s->sid, "user", m->user_name, "reason", reason, "seconds",
	       ps_num((long long)(age / 1000)), "received", ps_num((long long)s->received), "sent",
	       ps_num((long long)s->out.sent), NULL);
}

static void end(struct mail_session *m)
{
	const char *how = m->s.eof ? "client closed" : "closed";

	log_end(m, "disconnect", m->reason ? m->reason : how);
	ps_watch_close(m->watch);
	m->watch = NULL;
	ps_timer_stop(m->timer);
	stream_shutdown(&m->stream);
	if (m->closed)
		session_destroy(m);
	else
		submit(m, ENDING, job_close);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static void arm_timer(struct mail_session *m)
{
	uint64_t now = ps_loop_now(m->mail->loop);
	uint64_t at;

	if (output_pending(&m->s.out) == 0) {
		m->stall_until = 0;
	} else if (!m->stall_until || m->stall_sent != m->s.out.sent) {
		m->stall_until = now + m->mail->output_ms;
		m->stall_sent = m->s.out.sent;
	}
	at = earlier(m->stall_until, m->state == PARKED || m->ending ? m->s.wait_until : 0);
	at = earlier(at, m->cut_until);
	if (m->inflater && !m->resting && m->state == PARKED)
		at = earlier(at, m->active + REST_MS);
	if (at)
		ps_timer_set(m->timer, at > now ? at - now : 0, 0);
	else
		ps_timer_stop(m->timer);
}

/* Waits for what the session needs, and gives back the memory it does not. */
static void arm(struct mail_session *m)
{
	struct ps_session *s = &m->s;
	unsigned events = 0;

	if (output_pending(&s->out) > 0)
		events |= PS_WRITABLE;
	if (m->state == PARKED && session_wants_input(s) && output_pending(&s->out) < SESSION_OUTPUT_HIGH)
		events |= PS_READABLE;
	if (events == PS_READABLE)
		stream_await_more(&m->stream);
	if (m->ending)
		events |= PS_READABLE;
	ps_watch_set(m->watch, events);
	session_release(s);
	arm_timer(m);
}

static bool may_be_interrupted(const struct mail_session *m)
{
	enum ps_wait_for what = m->s.wait.what;

	return m->opened && (what == PS_WAIT_LINE || what == PS_WAIT_INPUT || what == PS_WAIT_TIME);
}

static void say_bye(struct mail_session *m, const char *text, const char *reason)
{
	if (text)
		ps_buf_str(&m->s.out.tail, text);
	m->reason = reason;
	m->s.wait = (struct ps_wait){.what = PS_WAIT_CLOSE};
	m->state = CLOSING;
}

/* Between commands the client is told; in the middle of an answer there is no place for that. */
static void cut(struct mail_session *m)
{
	m->handing = false;
	if (m->state == PARKED && may_be_interrupted(m))
		say_bye(m, m->s.protocol->ended_text, m->cut);
	else if (m->state == PARKED)
		kill_session(m, m->cut);
	m->cut_until = ps_loop_now(m->mail->loop) + STOP_MS;
	m->cut = NULL;
}

/* What the client sends from now on is not compressed: where does that begin? As inflater_end(). */
static int end_of_compression(struct mail_session *m, struct ps_bytes *ret_rest)
{
	int r = inflater_end(m->inflater, ret_rest);

	if (r < 0 || (r > 0 && ret_rest->len > PS_HAND_BACK_MAX))
		kill_session(m, "more than the end of compression");
	if (r == 0 && !m->ending) {
		m->ending = true;
		m->s.wait_until = ps_loop_now(m->mail->loop) + STOP_MS;
	}
	return m->s.dead ? PS_E_SYNTAX : r;
}

/* All is said, and the store is closed. */
static void hand_back(struct mail_session *m)
{
	const struct ps_mail_hooks *hooks = &m->mail->hooks;
	struct ps_bytes unread = ps_session_input(&m->s);
	uint32_t from = m->from;
	int fd = m->stream.fd;

	if (m->inflater && end_of_compression(m, &unread) <= 0) {
		if (m->s.dead)
			end(m);
		else
			arm(m);
		return;
	}
	if (!hooks->hand_back || from == NOWHERE) {
		m->reason = "there is nobody to go back to";
		end(m);
		return;
	}
	log_end(m, "unauthenticate", "asked for");
	ps_watch_close(m->watch);
	m->watch = NULL;
	m->stream.fd = -1;
	m->from = NOWHERE; /* it is not over */
	if (hooks->hand_back(hooks->arg, from, m->number, fd, unread) < 0)
		ps_logf(PS_LOG_ERROR, "hand_back_failed", m->s.sid, "%s", ps_last_error());
	session_destroy(m);
}

/* Nothing is left to be sent. */
static void leave(struct mail_session *m)
{
	if (!m->handing || m->s.wait.what != PS_WAIT_GONE)
		end(m);
	else if (!m->closed)
		submit(m, WORKING, job_close);
	else
		hand_back(m);
}

/* Decides what is next for a session that the loop owns. */
static void advance(struct mail_session *m)
{
	struct ps_session *s = &m->s;

	if (m->mail->stopped)
		kill_session(m, "server stops");
	if (m->cut)
		cut(m);
	if (m->state == PARKED && m->mail->stopping && may_be_interrupted(m))
		say_bye(m, m->s.protocol->bye_text, "server stops");
	if (s->dead)
		end(m);
	else if (m->state == CLOSING && output_pending(&s->out) == 0)
		leave(m);
	else if (m->state == PARKED && session_ready(s))
		submit(m, WORKING, job_run);
	else if (m->state == PARKED && holds_input(m))
		submit(m, WORKING, job_inflate);
	else
		arm(m);
}

static void read_some(struct mail_session *m)
{
	if (m->ending) {
		ssize_t n = receive(m, m->mail->scratch, PS_HAND_BACK_MAX);

		if (n == 0 || (n > 0 && inflater_put(m->inflater, ps_bytes(m->mail->scratch, (size_t)n)) < 0))
			kill_session(m, "client closed");
		return;
	}
	if (m->state != PARKED || !session_wants_input(&m->s))
		return;
	m->quick = ps_loop_now(m->mail->loop) - m->active <= AWAIT_MS;
	take_input(m, m->mail->scratch, READ_SIZE);
}

static void on_socket(void *arg, unsigned events)
{
	struct mail_session *m = arg;

	if (m->state == WORKING || m->state == ENDING) {
		ps_watch_set(m->watch, 0); /* done() sets it again; most commands are over before the next comes */
		return;
	}
	if (events & PS_READABLE)
		read_some(m);
	if ((events & PS_WRITABLE) && output_pending(&m->s.out) > 0) {
		if (output_is_work(&m->s.out) && !m->s.dead) {
			submit(m, WORKING, flush); /* the disk may be slow, and compressing is */
			return;
		}
		flush(m);
	}
	advance(m);
}

static void rest(struct mail_session *m)
{
	m->resting = true;
	inflater_rest(m->inflater);
	output_rest(&m->s.out);
}

static void on_timer(void *arg)
{
	struct mail_session *m = arg;
	uint64_t now = ps_loop_now(m->mail->loop);

	if (m->state == WORKING || m->state == ENDING)
		return; /* done() arms it again */
	if (m->inflater && !m->resting && m->state == PARKED && now >= m->active + REST_MS)
		rest(m);
	if (m->stall_until && now >= m->stall_until)
		kill_session(m, "client does not read");
	else if (m->cut_until && now >= m->cut_until)
		kill_session(m, "client does not read");
	else if (m->ending && now >= m->s.wait_until)
		kill_session(m, "compression is not ended");
	else if (m->state == PARKED && m->s.wait_until && now >= m->s.wait_until)
		m->s.timed_out = true;
	advance(m);
}

static void on_wake(void *arg)
{
	struct mail_session *m = arg;

	/* Posted while the session was open, so before the done() that frees it. */
	if (m->state == PARKED)
		advance(m);
}

static const struct session_driver mail_driver = {.flush = session_flush, .write = session_write, .woken = on_wake};

/* ---- taking over ------------------------------------------------------------------------------
 */

static struct opening *opening_create(const struct ps_user_info *info, const char *user_name)
{
	struct opening *opening = ps_zalloc(sizeof *opening);

	opening->home = ps_strdup(info->home);
	opening->backend = ps_strdup(info->backend);
	opening->root = ps_strdup(info->root);
	opening->fields = info->fields ? ps_strdup(info->fields) : NULL;
	opening->info = (struct ps_user_info){
		.name = user_name,
		.uid = info->uid,
		.gid = info->gid,
		.home = opening->home,
		.backend = opening->backend,
		.root = opening->root,
		.fields = opening->fields,
	};
	return opening;
}

static struct mail_session *session_create(struct ps_mail *mail, const struct ps_handover *handover)
{
	struct mail_session *m = ps_zalloc(sizeof *m);

	session_init(&m->s, &(struct session_args){
				    .driver = &mail_driver,
				    .protocol = handover->protocol,
				    .half = handover->protocol->mail,
				    .conf = handover->protocol_conf,
				    .core_conf = mail->conf,
				    .loop = mail->loop,
				    .sid = handover->sid,
				    .remote = handover->remote,
				    .local = handover->local,
				    .is_tls = handover->is_tls,
			    });
	m->mail = mail;
	m->stream = (struct stream){.fd = handover->fd};
	m->from = handover->from;
	m->number = handover->number;
	m->user_name = ps_strdup(handover->user.name);
	m->credential = handover->credential;
	m->is_admin = handover->is_admin;
	m->opening = opening_create(&handover->user, m->user_name);
	m->s.out.tail.limit = OUTPUT_LIMIT;
	m->since = m->active = ps_loop_now(mail->loop);
	m->quick = true;
	ps_buf_bytes(&m->blob, handover->blob);
	m->s.received = handover->unread.len;
	session_feed(&m->s, handover->unread);
	m->next = mail->first;
	if (m->next)
		m->next->prev = m;
	mail->first = m;
	mail->count++;
	return m;
}

/* A user's sessions are all in one process. */
static unsigned count_like(const struct mail_session *m)
{
	unsigned count = 0;

	for (const struct mail_session *other = m->mail->first; other; other = other->next)
		count += other->state != ENDING && other->s.protocol == m->s.protocol &&
			 strcmp(other->user_name, m->user_name) == 0;
	return count;
}

int ps_mail_take(struct ps_mail *mail, const struct ps_handover *handover)
{
	struct mail_session *m;
	int r;

	if (mail->stopping || !handover->protocol->mail) {
		close(handover->fd);
		return ps_fail(PS_E_CLOSED, "this process takes no more sessions of %s", handover->protocol->service);
	}
	m = session_create(mail, handover);
	m->opening->crowded = handover->sessions && count_like(m) > handover->sessions;
	if ((r = ps_watch_open(mail->loop, handover->fd, on_socket, m, &m->watch)) < 0 ||
	    (r = ps_timer_open(mail->loop, on_timer, m, &m->timer)) < 0) {
		session_destroy(m);
		return r;
	}
	submit(m, WORKING, job_open);
	return 0;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static void tend_stores(void *arg)
{
	const struct ps_mail *mail = arg;

	ps_users_settle();
	ps_users_expire(mail->conf);
	ps_users_close_kept(false);
	ps_indexes_renew(PS_RENEW_SECONDS);
}

struct errand {
	struct ps_mail *mail;
	void (*fn)(void *arg), (*then)(void *arg);
	void *arg;
};

static void errand_work(void *arg)
{
	struct errand *errand = arg;

	errand->fn(errand->arg);
}

static void errand_done(void *arg)
{
	struct errand *errand = arg;
	struct ps_mail *mail = errand->mail;

	errand->then(errand->arg);
	free(errand);
	mail->errands--;
	maybe_empty(mail);
}

void ps_mail_run(struct ps_mail *mail, const char *user, void (*fn)(void *arg), void (*then)(void *arg), void *arg)
{
	struct errand *errand = ps_malloc(sizeof *errand);

	*errand = (struct errand){mail, fn, then, arg};
	mail->errands++;
	ps_workers_run_for(mail->workers, user, errand_work, errand_done, errand);
}

bool ps_mail_is_idle(const struct ps_mail *mail)
{
	return mail->count == 0 && mail->errands == 0;
}

int ps_mail_create(struct ps_loop *loop, const struct ps_conf *conf, unsigned workers, struct ps_mail **ret_mail)
{
	struct ps_mail *mail = ps_zalloc(sizeof *mail);
	int r;

	mail->loop = loop;
	ps_mail_reconfigure(mail, conf);
	mail->lingers.loop = loop;
	signal(SIGPIPE, SIG_IGN); /* sendfile() has no MSG_NOSIGNAL */
	if ((r = ps_workers_create(loop, workers + FOR_OTHERS, &mail->workers)) < 0 ||
	    (r = ps_workers_tend(mail->workers, PS_RENEW_EVERY_MS, tend_stores, mail)) < 0) {
		ps_workers_destroy(mail->workers);
		free(mail);
		return r;
	}
	*ret_mail = mail;
	return 0;
}

void ps_mail_set_hooks(struct ps_mail *mail, const struct ps_mail_hooks *hooks)
{
	mail->hooks = *hooks;
}

void ps_mail_from_gone(struct ps_mail *mail, uint32_t from)
{
	for (struct mail_session *m = mail->first; m; m = m->next)
		if (m->from == from)
			m->from = NOWHERE;
}

void ps_mail_reconfigure(struct ps_mail *mail, const struct ps_conf *conf)
{
	const struct ps_conf *limits = ps_conf_section(conf, "limits", 0);

	mail->conf = conf;
	mail->output_ms = (uint64_t)ps_conf_int(limits, "output_timeout") * 1000;
	ps_users_keep((unsigned)ps_conf_int(limits, "idle_stores"), (unsigned)ps_conf_int(limits, "idle_store_time"));
}

/* Of what a worker may have at this moment, only what it does not change. */
static struct ps_session_info info_of(const struct mail_session *m)
{
	uint64_t now = ps_loop_now(m->mail->loop);

	return (struct ps_session_info){
		.sid = m->s.sid,
		.user = m->user_name,
		.protocol = m->s.protocol->service,
		.remote = m->s.remote,
		.credential = m->credential,
		.is_tls = m->s.is_tls,
		.age_ms = now - m->since,
		.idle_ms = m->state == WORKING ? 0 : now - m->active,
	};
}

void ps_mail_each(struct ps_mail *mail, void (*fn)(void *arg, const struct ps_session_info *info), void *arg)
{
	for (struct mail_session *m = mail->first; m; m = m->next) {
		struct ps_session_info info = info_of(m);

		fn(arg, &info);
	}
}

/* What a worker has comes back to the loop soon, and ends there. */
unsigned ps_mail_end(struct ps_mail *mail, const struct ps_session_choice *choice)
{
	unsigned count = 0;

	for (struct mail_session *m = mail->first, *next; m; m = next) {
		struct ps_session_info info = info_of(m);

		next = m->next;
		if (m->state == ENDING || !ps_session_is_chosen(&info, choice))
			continue;
		count++;
		m->cut = choice->reason;
		if (m->state != WORKING)
			advance(m);
	}
	return count;
}

static void advance_all(struct ps_mail *mail)
{
	for (struct mail_session *m = mail->first, *next; m; m = next) {
		next = m->next;
		if (m->state == PARKED || m->state == CLOSING)
			advance(m);
	}
}

static void on_stop_timer(void *arg)
{
	struct ps_mail *mail = arg;

	mail->stopped = true;
	advance_all(mail);
}

void ps_mail_stop(struct ps_mail *mail, void (*empty)(void *arg), void *arg)
{
	mail->stopping = true;
	mail->empty = empty;
	mail->empty_arg = arg;
	if (!mail->stop_timer && ps_timer_open(mail->loop, on_stop_timer, mail, &mail->stop_timer) == 0)
		ps_timer_set(mail->stop_timer, STOP_MS, 0);
	advance_all(mail);
	maybe_empty(mail);
}

void ps_mail_destroy(struct ps_mail *mail)
{
	if (!mail)
		return;
	ps_workers_destroy(mail->workers);
	ps_users_close_kept(true);
	ps_timer_close(mail->stop_timer);
	lingers_finish(&mail->lingers);
	free(mail);
}

/* ---- the public functions that only this half has ---------------------------------------------
 */

int ps_session_compress(struct ps_session *s, int level)
{
	struct mail_session *m = (struct mail_session *)s;
	struct inflater *inflater = inflater_create();
	int r = inflater_put(inflater, ps_session_input(s));

	if (r < 0) {
		inflater_destroy(inflater);
		return r;
	}
	ps_session_consume(s, ps_session_input(s).len);
	output_compress(&s->out, level);
	m->inflater = inflater;
	return 0;
}

bool ps_session_is_compressed(const struct ps_session *s)
{
	return s->driver == &mail_driver && ((const struct mail_session *)s)->inflater;
}

int ps_session_hand_back(struct ps_session *s)
{
	struct mail_session *m = (struct mail_session *)s;

	if (ps_session_input(s).len > (m->inflater ? 0 : PS_HAND_BACK_MAX))
		return ps_fail(PS_E_LIMIT, "%zu octets are unread", ps_session_input(s).len);
	m->handing = true;
	return 0;
}

struct ps_user *ps_session_user(struct ps_session *s)
{
	return ((struct mail_session *)s)->user;
}

const char *ps_session_user_name(const struct ps_session *s)
{
	return ((const struct mail_session *)s)->user_name;
}

bool ps_session_is_admin(const struct ps_session *s)
{
	return ((const struct mail_session *)s)->is_admin;
}

struct ps_bytes ps_session_blob(const struct ps_session *s)
{
	return ps_buf_view(&((const struct mail_session *)s)->blob);
}
