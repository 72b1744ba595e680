/* SPDX-License-Identifier: MIT */
/*
 * The part of a session that is the same before and after log-in: input, output, waiting. Functions
 * that only one of the two has are in front.c and mail.c.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include "auth/nets.h"
#include "core/net/session.h"
#include "postern/error.h"
#include "postern/log.h"

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t session_clock_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

void session_init(struct ps_session *s, const struct session_args *args)
{
	s->driver = args->driver;
	s->protocol = args->protocol;
	s->half = args->half;
	s->conf = args->conf;
	s->core_conf = args->core_conf;
	s->loop = args->loop;
	s->sid = ps_strdup(args->sid);
	s->remote = ps_strdup(args->remote);
	s->local = ps_strdup(args->local);
	s->is_tls = args->is_tls;
	s->secret = args->secret;
	s->in_limit = SESSION_INPUT_LIMIT;
	s->state = ps_zalloc(s->half->state_size);
	s->wait = (struct ps_wait){.what = PS_WAIT_TURN}; /* the first run() waits for nothing */
}

void session_rename(struct ps_session *s, const char *remote, const char *local)
{
	free(s->remote);
	free(s->local);
	s->remote = ps_strdup(remote);
	s->local = ps_strdup(local);
}

void session_finish(struct ps_session *s)
{
	if (s->state)
		explicit_bzero(s->state, s->half->state_size);
	free(s->state);
	if (s->secret)
		ps_buf_wipe(&s->in);
	ps_buf_finish(&s->in);
	output_finish(&s->out);
	free(s->sid);
	free(s->remote);
	free(s->local);
	free(s->client);
}

/* ---- input ------------------------------------------------------------------------------------
 */

static struct ps_bytes unread(const struct ps_session *s)
{
	return s->in.len ? ps_bytes(s->in.ptr + s->taken, s->in.len - s->taken) : ps_bytes("", 0);
}

size_t session_room(const struct ps_session *s)
{
	size_t have = s->in.len - s->taken;

	return have < s->in_limit ? s->in_limit - have : 0;
}

/* Moves what is unread to the start of the buffer, and leaves no password behind it. */
static void compact(struct ps_session *s)
{
	size_t taken = s->taken;

	if (taken == 0)
		return;
	ps_buf_consume(&s->in, taken);
	s->taken = 0;
	if (s->secret)
		explicit_bzero(s->in.ptr + s->in.len, taken);
}

/* realloc() would leave a copy of the old octets in the heap. */
static void grow_secret(struct ps_buf *in, size_t len)
{
	struct ps_buf larger = {0};

	if (in->cap - in->len >= len)
		return;
	ps_buf_reserve(&larger, 2 * (in->len + len));
	ps_buf_bytes(&larger, ps_buf_view(in));
	ps_buf_wipe(in);
	*in = larger;
}

void session_feed(struct ps_session *s, struct ps_bytes octets)
{
	compact(s);
	if (s->secret)
		grow_secret(&s->in, octets.len);
	ps_buf_bytes(&s->in, octets);
	if (s->in.failed)
		s->dead = true; /* out of memory: this connection cannot be served */
}

void session_release(struct ps_session *s)
{
	compact(s);
	if (s->in.len == 0) {
		if (s->secret)
			ps_buf_wipe(&s->in);
		ps_buf_finish(&s->in);
	}
	output_release(&s->out);
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

/* So many octets will do even without a line end, or are all that will be kept. */
static size_t enough(const struct ps_session *s, size_t without)
{
	size_t n = s->wait.n ? s->wait.n : without;

	return n < s->in_limit ? n : s->in_limit;
}

static bool line_is_there(struct ps_session *s)
{
	struct ps_bytes in = unread(s);

	if (in.len >= enough(s, s->in_limit))
		return true;
	if (ps_bytes_find(ps_bytes_skip(in, s->scanned), '\n') >= 0)
		return true;
	s->scanned = in.len;
	return false;
}

static bool input_is_there(struct ps_session *s)
{
	return unread(s).len >= enough(s, 1);
}

static bool is_drained(struct ps_session *s)
{
	return output_pending(&s->out) <= SESSION_OUTPUT_LOW;
}

static bool always(struct ps_session *s)
{
	(void)s;
	return true;
}

static bool not_by_itself(struct ps_session *s)
{
	(void)s;
	return false;
}

static const struct {
	bool (*met)(struct ps_session *s);
	bool takes_input; /* and gives up on it when its end has come */
	bool reads;       /* while waiting */
} waits[] = {
	[PS_WAIT_LINE] = {line_is_there, true, true},    [PS_WAIT_INPUT] = {input_is_there, true, true},
	[PS_WAIT_DRAIN] = {is_drained, false, false},    [PS_WAIT_TURN] = {always, false, false},
	[PS_WAIT_REPLY] = {not_by_itself, false, false}, /* front.c ends it */
	[PS_WAIT_TIME] = {not_by_itself, false, true},   [PS_WAIT_CLOSE] = {not_by_itself, false, false},
	[PS_WAIT_GONE] = {not_by_itself, false, false},
};

bool session_wants_input(const struct ps_session *s)
{
	return waits[s->wait.what].reads && !s->eof && session_room(s) > 0;
}

static bool is_woken(const struct ps_session *s)
{
	return s->wait.wakeable && waits[s->wait.what].reads && atomic_load(&s->wake);
}

bool session_ready(struct ps_session *s)
{
	if (s->timed_out)
		return true;
	/* A client that does not read its answers gets no further ones. */
	if (waits[s->wait.what].reads && output_pending(&s->out) >= SESSION_OUTPUT_HIGH)
		return false;
	if (is_woken(s) || waits[s->wait.what].met(s))
		return true;
	return s->eof && waits[s->wait.what].takes_input;
}

void session_run(struct ps_session *s, uint64_t now)
{
	bool starved = s->eof && !waits[s->wait.what].met(s);
	size_t before = s->in.len - s->taken;

	s->scanned = 0;
	s->woken = is_woken(s) && atomic_exchange(&s->wake, false);
	s->wait = s->half->run(s);
	s->wait_until = s->wait.timeout_ms ? now + s->wait.timeout_ms : 0;
	s->woken = false;
	s->timed_out = false;
	/* It knows that no more will come, and waits for more: it would do so for ever. */
	if (starved && waits[s->wait.what].takes_input && s->in.len - s->taken == before && !waits[s->wait.what].met(s))
		s->wait = (struct ps_wait){.what = PS_WAIT_CLOSE};
}

/* ---- the public functions (postern/session.h) -------------------------------------------------
 */

struct ps_bytes ps_session_input(struct ps_session *s)
{
	return unread(s);
}

void ps_session_consume(struct ps_session *s, size_t n)
{
	if (n > s->in.len - s->taken)
		n = s->in.len - s->taken;
	if (s->secret && n)
		explicit_bzero(s->in.ptr + s->taken, n);
	s->taken += n;
	s->scanned = 0;
}

bool ps_session_eof(const struct ps_session *s)
{
	return s->eof;
}

bool ps_session_timed_out(const struct ps_session *s)
{
	return s->timed_out;
}

bool ps_session_woken(struct ps_session *s)
{
	bool woken = atomic_exchange(&s->wake, false) || s->woken;

	s->woken = false;
	return woken;
}

void ps_session_wake(struct ps_session *s)
{
	/* Whoever sets it posts; until it is cleared, the owner looks at it before it waits. */
	if (!atomic_exchange(&s->wake, true))
		ps_loop_post(s->loop, s->driver->woken, s);
}

void ps_session_set_input_limit(struct ps_session *s, size_t octets)
{
	s->in_limit = octets;
}

struct ps_buf *ps_session_output(struct ps_session *s)
{
	return &s->out.tail;
}

void ps_session_write(struct ps_session *s, const void *data, size_t len)
{
	int r = 0;

	if (s->driver->write && len >= SESSION_WRITE_THROUGH && !s->dead)
		r = s->driver->write(s, ps_bytes(data, len));
	else
		ps_buf_append(&s->out.tail, data, len);
	if (r < 0 && r != PS_E_AGAIN)
		s->dead = true;
}

void ps_session_printf(struct ps_session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ps_buf_vprintf(&s->out.tail, fmt, ap);
	va_end(ap);
}

int ps_session_send_file(struct ps_session *s, int fd, uint64_t offset, uint64_t length)
{
	return output_add_file(&s->out, fd, offset, length);
}

bool ps_session_full(struct ps_session *s)
{
	int r;

	if (s->dead)
		return true;
	if (output_pending(&s->out) < SESSION_OUTPUT_HIGH)
		return false;
	r = s->driver->flush(s);
	if (r < 0 && r != PS_E_AGAIN)
		s->dead = true;
	return s->dead || output_pending(&s->out) >= SESSION_OUTPUT_HIGH;
}

/* Asked for each row of an answer, so by the clock that costs a quarter of the other. It is late by a tick of the kernel at
 * most, 1 to 10 ms, and so may the slice be. */
bool ps_session_slice_over(const struct ps_session *s)
{
	return clock_us(CLOCK_MONOTONIC_COARSE) >= s->slice_end;
}

bool ps_session_dead(const struct ps_session *s)
{
	return s->dead;
}

void *ps_session_state(struct ps_session *s)
{
	return s->state;
}

const char *ps_session_sid(const struct ps_session *s)
{
	return s->sid;
}

const char *ps_session_remote(const struct ps_session *s)
{
	return s->remote;
}

bool ps_session_is_from(const struct ps_session *s, const char *setting)
{
	for (size_t i = 0; i < ps_conf_list_size(s->conf, setting); i++)
		if (ps_nets_contain(ps_conf_list_nth(s->conf, setting, i), s->remote))
			return true;
	return false;
}

void ps_session_set_remote(struct ps_session *s, const char *remote)
{
	ps_log(PS_LOG_INFO, "proxied", "sid", s->sid, "by", s->remote, "remote", remote, NULL);
	free(s->remote);
	s->remote = ps_strdup(remote);
}

const char *ps_session_local(const struct ps_session *s)
{
	return s->local;
}

bool ps_session_is_tls(const struct ps_session *s)
{
	return s->is_tls;
}

const struct ps_conf *ps_session_conf(const struct ps_session *s)
{
	return s->conf;
}

const struct ps_conf *ps_session_core_conf(const struct ps_session *s)
{
	return s->core_conf;
}
