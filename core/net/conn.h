/* SPDX-License-Identifier: MIT */
/*
 * core/net/conn.h - a connection in the front process; shared by listen.c, front.c, conn.c, exchanges.c, envelope.c and pump.c.
 *
 * THREADS. All of it belongs to the loop.
 *
 *   PROXY (from a load balancer: its header is read; then as others begin)
 *   HANDSHAKE (implicit TLS) -> SESSION -> FLUSHING -> HANDSHAKE (STARTTLS) -> SESSION -> ...
 *                                       -> FLUSHING -> PUMP (TLS, logged in) -> OVER, or SESSION again
 *                                       -> FLUSHING -> AWAY (plain, logged in) -> OVER, or SESSION again
 *                                       -> FLUSHING -> OVER
 *
 * The way back is taken when the process that serves the user hands the session back. Of a connection that is AWAY there is nothing
 * here but its place: it counts.
 *
 * A connection that is OVER is freed by a post, so after everything that was posted for it.
 */
#ifndef CORE_NET_CONN_H
#define CORE_NET_CONN_H

#include <sys/socket.h>
#include "core/base/seldom.h"
#include "core/net/counts.h"
#include "core/net/front.h"
#include "core/net/linger.h"
#include "core/net/session.h"
#include "core/net/stream.h"
#include "core/net/tls.h"

enum {
	SCRATCH_SIZE = 16 * 1024, /* a TLS record */
	RESERVED_FDS = 3,         /* what a hand-over needs */
	ADDRESS_NAME_SIZE = 64,   /* INET6_ADDRSTRLEN and a port */
};

struct listener {
	unsigned refs;                 /* one for each connection, and one while it listens */
	struct ps_front_listener args; /* with names of its own */
	char *name, *protocol_name, *proxies;
	struct ps_front *front;
	struct ps_watch *watch;
	struct listener *next;
};

enum conn_state {
	CONN_PROXY,
	CONN_HANDSHAKE,
	CONN_SESSION,
	CONN_FLUSHING,
	CONN_PUMP,
	CONN_AWAY,
	CONN_OVER
};

/* An authentication (exchanges.c); made when it starts. */
struct conn_auth {
	struct conn_auth *next;
	uint32_t exchange; /* the protocol's number for it */
	uint32_t
		turn; /* which of the connection's it is, so that what comes late for another is not taken for its answer */
	bool pending; /* an answer is awaited */
	bool shown;   /* the protocol knows that it has come */
	enum ps_auth_status status;
	struct ps_buf data, ticket;
	char *user;              /* who has logged in; NULL: nobody has */
	struct address sessions; /* what the session counts for among the user's */
	struct ps_hash credential;
};

/* A session that another process has: what it takes to go on with it here. */
struct away {
	uint32_t holder;
	char *sid, *remote, *local;
};

struct pump;
struct conn_mail;
struct mail_reply;

struct conn {
	struct ps_session s; /* first; finished when the pump starts */
	struct ps_front *front;
	struct listener *listener;
	struct conn *prev, *next;
	uint64_t number; /* slot, and above it how often the slot was used */
	struct address address;
	struct stream stream;
	struct ps_watch *watch;
	struct ps_timer *timer;
	enum conn_state state;
	void (*flushed)(struct conn *conn); /* FLUSHING: what comes then */
	uint64_t since;
	uint64_t deadline; /* of the handshake, the log-in, the flushing; 0: none */
	uint64_t login_deadline;
	struct conn_auth *exchanges;
	struct conn_auth *auth;        /* the one that is chosen; NULL: it has not begun, or is over */
	uint32_t exchange;             /* its number */
	uint32_t auth_turn;            /* how many there were */
	struct conn_mail *mail;        /* a transaction (envelope.c); NULL: none is open */
	uint32_t mail_turn;            /* how many there were */
	struct mail_reply *mail_shown; /* the last that the protocol has taken; outlives the transaction */
	struct ps_buf blob;
	const char *reason; /* why it ends, for the log */
	const char *cut;    /* why somebody else ends it; NULL: nobody does */
	struct pump *pump;
	struct away *away; /* while another process has the session */
	bool back;         /* it was there before */
	bool opened;       /* the protocol's half was */
	bool running;      /* we are in its run() */
	bool replied;      /* what PS_WAIT_REPLY waits for has come */
	bool starttls;     /* the protocol asked for it */
	bool handing;      /* and for the hand-over */
	bool injected;     /* the client sent more after STARTTLS */
	bool posted;       /* a step was posted */
	bool stepping;
};

struct front_limits {
	unsigned connections, per_address; /* of all front processes */
	unsigned here;                     /* connections that there are descriptors for */
	uint64_t preauth_ms, handshake_ms, output_ms;
};

struct ps_front {
	struct ps_loop *loop;
	const struct ps_conf *conf;
	struct ps_front_hooks hooks;
	struct front_limits limits;
	struct tls_context *tls;
	struct ps_buf client_authorities;
	bool client_is_common_name;
	struct listener *listeners;
	struct conn *first;
	unsigned count;
	struct conn **slots;
	uint32_t slot_count, *slot_uses, slot_hint;
	struct counts *counts;
	struct lingers lingers;
	struct ps_timer *accept_timer; /* runs while accepting is paused */
	bool paused;
	struct seldom pauses, refusals; /* in the log */
	bool stopping;
	int reserved[RESERVED_FDS]; /* descriptors kept for hand-overs when all others are in use */
	void (*empty)(void *arg);
	void *empty_arg;
	uint8_t scratch[SCRATCH_SIZE];
};

/* listen.c */
/* Text for people ("192.0.2.1:49152"), and the address as it is counted. */
void address_describe(const struct sockaddr_storage *address, char ret_name[ADDRESS_NAME_SIZE],
		      struct address *ret_address);
extern const struct address everybody;
/* A user's sessions are counted like the connections of an address, too. */
struct address address_of_user(const char *user);
void listener_unref(struct listener *listener);
void front_accept_stop(struct ps_front *front);   /* on all listeners, for good */
void front_accept_resume(struct ps_front *front); /* descriptors have become free */
void front_reserve(struct ps_front *front);
bool front_release_reserve(struct ps_front *front); /* false: it was released before */

/* conn.c: takes over fd. The address is counted already; for one that is `proxied`, it will be when its header was read. */
void conn_start(struct listener *listener, int fd, const struct address *address, const char *remote, const char *local,
		bool proxied);
/* Does what can be done now. */
void conn_step(struct conn *conn);
/* A NULL reason: it was logged. */
void conn_end(struct conn *conn, const char *reason);
/* Says the busy text and closes, unless the connection is in use by somebody who has logged in. */
void conn_stop(struct conn *conn);
/* Says the protocol's ended_text and closes, after an answer that is awaited. What another process has stays. */
void conn_cut(struct conn *conn, const char *reason);
void conn_destroy(struct conn *conn);
/* A step soon, after others had their turn. */
void conn_again(struct conn *conn);
/* Sets the timer to the earliest of the connection's times and `at` (0: none). */
void conn_arm_timer(struct conn *conn, uint64_t at);

/* For away.c. The names are copied. */
void conn_init_session(struct conn *conn, const char *sid, const char *remote, const char *local);
int conn_open_watch(struct conn *conn);
void conn_begin_session(struct conn *conn);

/* away.c */
/* Remembers what conn->s is, before it is finished. */
void away_start(struct conn *conn, uint32_t holder);
void away_destroy(struct away *away); /* destroy(NULL) does nothing */
/* The connection's session goes on here, with this input first. */
void away_end(struct conn *conn, struct ps_bytes unread);
/* exchanges.c */
void conn_cancel_exchanges(struct conn *conn);
/* envelope.c: drops the transaction; and what is left of all. */
void conn_mail_destroy(struct conn *conn);
void conn_mail_finish(struct conn *conn);
/* The client waits for the answer to a message. */
bool conn_mail_is_ending(const struct conn *conn);
/* No more of the message can be taken now. */
bool conn_mail_awaits_file(const struct conn *conn);

/* pump.c */
/* Takes over fd, our end of the pair. */
int pump_start(struct conn *conn, int fd);
void pump_step(struct conn *conn);
void pump_arm(struct conn *conn);
void pump_on_timer(struct conn *conn);
/* When all that mail has said is with the client, the session goes on here; fd is mail's end of the pair, and is taken
 * over. */
void pump_come_back(struct conn *conn, int fd, struct ps_bytes unread);
void pump_destroy(struct pump *pump);

/* front.c: the slots. */
struct conn *front_find(struct ps_front *front, uint64_t number); /* NULL: it has ended */
void front_add(struct ps_front *front, struct conn *conn);
void front_remove(struct ps_front *front, struct conn *conn);

#endif
