/* SPDX-License-Identifier: MIT */
/*
 * core/net/session.h - what the drivers of front and mail share of a session.
 *
 * THREADS. A session belongs to the loop, or, in the mail role between handing it to the workers
 * and their done function, to one worker; the owner alone touches it. The one exception is `wake`.
 */
#ifndef CORE_NET_SESSION_H
#define CORE_NET_SESSION_H

#include <stdatomic.h>
#include "core/event/loop.h"
#include "core/net/output.h"
#include "postern/pool.h"
#include "postern/protocol.h"
#include "postern/session.h"

/* What the two drivers do differently. */
struct session_driver {
	/* Sends what the socket takes now. As output_flush(). */
	int (*flush)(struct ps_session *s);
	/* Sends what the socket takes now of the output and of `data`, and keeps the rest. As output_write(). NULL: it is
	 * only kept. */
	int (*write)(struct ps_session *s, struct ps_bytes data);
	/* On the loop, after ps_session_wake(): looks whether the wait is over. */
	void (*woken)(void *s);
};

struct ps_session {
	const struct session_driver *driver;
	const struct ps_protocol *protocol;
	const struct ps_half *half;
	const struct ps_conf *conf;
	const struct ps_conf *core_conf;
	struct ps_loop *loop;
	void *state;
	char *sid;
	char *remote;
	char *local;
	char *client; /* of who has connected, for whom the exchange is; NULL: the session's own */
	bool client_secured;

	struct ps_buf in; /* of which `taken` octets are consumed */
	size_t taken;
	size_t scanned; /* octets of the unread input known to hold no LF */
	size_t in_limit;
	uint64_t received; /* octets as they came in, since the beginning */
	struct output out;

	struct ps_wait wait;
	uint64_t wait_until; /* CLOCK_MONOTONIC milliseconds; 0: for ever */
	uint64_t slice_end;  /* the same in microseconds */
	_Atomic bool wake;   /* set by any thread, cleared by the owner */
	bool woken;
	bool timed_out;
	bool eof;
	bool dead;
	bool secret; /* what comes in may be a password: wipe it when it is done with */
	bool is_tls;
};

struct session_args {
	const struct session_driver *driver;
	const struct ps_protocol *protocol;
	const struct ps_half *half;
	const struct ps_conf *conf;
	const struct ps_conf *core_conf;
	struct ps_loop *loop;
	const char *sid, *remote, *local;
	bool is_tls;
	bool secret;
};

enum {
	SESSION_INPUT_LIMIT = 64 * 1024,
	SESSION_OUTPUT_HIGH = 64 * 1024, /* from here on ps_session_full() */
	SESSION_OUTPUT_LOW = 16 * 1024,  /* PS_WAIT_DRAIN is over */
	SESSION_SLICE_US = 10 * 1000,
	SESSION_WRITE_THROUGH = 16 * 1024, /* to copy so much costs more than to send it by itself */
};

void session_init(struct ps_session *s, const struct session_args *args);
/* The client is another than who has connected. Before the protocol sees it. */
void session_rename(struct ps_session *s, const char *remote, const char *local);
void session_finish(struct ps_session *s);

/* How much more may be read. */
size_t session_room(const struct ps_session *s);
void session_feed(struct ps_session *s, struct ps_bytes octets);
/* Whether input would bring the session on. */
bool session_wants_input(const struct ps_session *s);
/* Whether run() is to be called now. */
bool session_ready(struct ps_session *s);
/* Calls run() once, and notes what it waits for from `now` on. */
void session_run(struct ps_session *s, uint64_t now);
/* Gives back the memory of empty buffers: the session is going to wait. */
void session_release(struct ps_session *s);

/* CLOCK_MONOTONIC. */
uint64_t session_clock_us(void);

#endif
