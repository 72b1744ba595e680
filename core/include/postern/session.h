/* SPDX-License-Identifier: MIT */
/*
 * postern/session.h - a client's connection, as a protocol sees it.           [in-tree]
 *
 * A protocol is a function run() over a session: it takes what input it can use, writes answers, and
 * returns what it waits for. It is called again when that has come. In the front process run() is
 * called by the event loop and must not block. In the mail process it is called by a worker thread
 * and may block on disk; it gives the thread back (PS_WAIT_DRAIN, PS_WAIT_TURN) when the output is
 * full or its slice is over. A session belongs to the loop or to one worker, never both.
 *
 * Neither half meets TLS: the front's driver does it below this interface.
 */
#ifndef POSTERN_SESSION_H
#define POSTERN_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include "postern/buf.h"
#include "postern/settings.h"

struct ps_session;

enum ps_wait_for {
	PS_WAIT_LINE,  /* until the unread input holds an LF (or `n` octets: a line that long is complete for you) */
	PS_WAIT_INPUT, /* until the unread input holds at least `n` octets */
	PS_WAIT_DRAIN, /* until the output buffer is below its low-water mark */
	PS_WAIT_TURN,  /* call again soon: others may have a turn first */
	PS_WAIT_REPLY, /* front: until the request under way (authentication, TLS) is answered */
	PS_WAIT_TIME,  /* until the time is over; input is read meanwhile, within its limit */
	PS_WAIT_CLOSE, /* send what is in the output, then close */
	PS_WAIT_GONE,  /* the connection was handed over, or back; forget it */
};

struct ps_wait {
	enum ps_wait_for what;
	size_t n;
	/* Milliseconds until run() is called all the same with ps_session_timed_out() (also after TIME); 0: never.
	 * front: when the time to log in is over, run() is called so once more, whatever it waits for; the connection
	 * is closed after what it writes then. */
	uint32_t timeout_ms;
	/* LINE, INPUT, TIME: also return when ps_session_wake() was called; in front, when what PS_WAIT_REPLY waits for has come. */
	bool wakeable;
};

/* Input that has not been consumed. Valid until run() returns or consume is called. */
struct ps_bytes ps_session_input(struct ps_session *s);
void ps_session_consume(struct ps_session *s, size_t n);
/* The other side has sent its last octet: what is in the input is all there will be. */
bool ps_session_eof(const struct ps_session *s);
bool ps_session_timed_out(const struct ps_session *s);
/* True once per wake. */
bool ps_session_woken(struct ps_session *s);
/* The longest input kept unread; PS_WAIT_LINE and _INPUT with more are cut to it. Default 64 KiB. */
void ps_session_set_input_limit(struct ps_session *s, size_t octets);

/* Output is buffered and sent when run() returns, or when much has gathered. A protocol may append
 * to the buffer directly. Not for front and mail at the same time, of course. */
struct ps_buf *ps_session_output(struct ps_session *s);
/* Large pieces are sent from where they lie, as far as the client takes them now. */
void ps_session_write(struct ps_session *s, const void *data, size_t len);
void ps_session_printf(struct ps_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Mail: after what is buffered, sends octets of a file without copying them through us. The descriptor
 * is duplicated. */
int ps_session_send_file(struct ps_session *s, int fd, uint64_t offset, uint64_t length);
/* Tries to send now (mail) and says whether the caller should return PS_WAIT_DRAIN. Call it between
 * pieces of at most 64 KiB. */
bool ps_session_full(struct ps_session *s);
/* True when this call of run() has had its time slice (10 ms). */
bool ps_session_slice_over(const struct ps_session *s);
/* The connection is broken: stop working for it. */
bool ps_session_dead(const struct ps_session *s);

/* Makes a wakeable wait end. Any thread, any time while the session is open. */
void ps_session_wake(struct ps_session *s);

/* The protocol's own state: zeroed memory of the half's state_size. */
void *ps_session_state(struct ps_session *s);
const char *ps_session_sid(const struct ps_session *s);    /* in every log line */
const char *ps_session_remote(const struct ps_session *s); /* "192.0.2.1:49152", "unix" */
const char *ps_session_local(const struct ps_session *s);
bool ps_session_is_tls(const struct ps_session *s);
const struct ps_conf *ps_session_conf(const struct ps_session *s);      /* the protocol's section */
const struct ps_conf *ps_session_core_conf(const struct ps_session *s); /* the root */

/* ---- front only ------------------------------------------------------------------------------ */

/* The session has come back from the mail half: the client knows us already, and is not greeted. */
bool ps_session_is_back(const struct ps_session *s);

/* STARTTLS: consume the line, write the answer, call this, return PS_WAIT_REPLY: the output is sent, then the
 * handshake starts. Input still unread at the call was injected: the connection is closed without TLS. The
 * next run() finds ps_session_is_tls(), or the session is closed. `ps_session_tls_offered` says whether
 * this listener has a certificate and the session no TLS yet. */
bool ps_session_tls_offered(const struct ps_session *s);
void ps_session_starttls(struct ps_session *s);
/* Whether a password may travel on this connection: TLS, or the setting allows it. */
bool ps_session_plaintext_ok(const struct ps_session *s);

/* The user whom the client's certificate names, as it stands there; NULL: it showed none that is believed. */
const char *ps_session_certificate_user(const struct ps_session *s);

/* Whether the client's address is in one of the networks that a list of the protocol's section names: "192.0.2.0/24". */
bool ps_session_is_from(const struct ps_session *s, const char *setting);
/* A proxy that is trusted says who the client is: ps_session_remote() from now on, in the log and to other processes. What was counted
 * for its address stays counted for the proxy's. Not for a protocol with a mail half. */
void ps_session_set_remote(struct ps_session *s, const char *remote);

/* The exchange that starts next is for a client of the one who has connected, another server: where that client is, and whether its
 * connection there is safe for a password. In place of what the session says of itself. */
void ps_session_speak_for(struct ps_session *s, const char *remote, bool is_secured);

/* SASL, RFC 4422. Mechanism names offered on this connection now, blank-separated. */
const char *ps_session_mechanisms(struct ps_session *s);
/* Starts or continues an exchange; data is decoded (not base64). `initial` {NULL,0}: the client sent
 * none. Return PS_WAIT_REPLY; then ps_session_auth_reply() tells. */
void ps_session_auth_start(struct ps_session *s, const char *mechanism, struct ps_bytes initial);
void ps_session_auth_step(struct ps_session *s, struct ps_bytes response);
void ps_session_auth_cancel(struct ps_session *s);
/* Of many at a time, as another server asks for its clients, each has a number that the protocol gives it; the functions here are about
 * the one that was chosen last. Whoever chooses none has one at a time. false: none goes on by that number yet. */
bool ps_session_auth_choose(struct ps_session *s, uint32_t exchange);
/* Chooses one whose reply has come and was not chosen for that before; false: there is none. A wakeable wait ends when one comes. */
bool ps_session_auth_choose_answered(struct ps_session *s, uint32_t *ret_exchange);

enum ps_auth_status {
	PS_AUTH_NONE,     /* nothing has come */
	PS_AUTH_CONTINUE, /* send data as a challenge */
	PS_AUTH_OK,       /* call ps_session_hand_over(); or, if nobody is to be logged in, ps_session_auth_cancel() */
	PS_AUTH_FAILED,   /* wrong credentials: [AUTHENTICATIONFAILED] */
	PS_AUTH_TEMPFAIL, /* cannot tell now: [UNAVAILABLE] */
	PS_AUTH_REFUSED,  /* right, but may not log in: [AUTHORIZATIONFAILED]; data is text for the user */
	PS_AUTH_UNKNOWN_MECHANISM,
	PS_AUTH_PRIVACY, /* not without TLS: [PRIVACYREQUIRED] */
	/* Auth does not say these; ps_login_go_on() (postern/login.h) does. */
	PS_AUTH_CANCELLED, /* by the client */
	PS_AUTH_MALFORMED, /* a response was not base64 */
	PS_AUTH_TOO_LONG,  /* or far too long: close the connection */
	PS_AUTH_GONE,      /* the client has gone, or the time is over */
};

struct ps_auth_reply {
	enum ps_auth_status status;
	struct ps_bytes data; /* valid until the next call of run() returns */
	const char *user;     /* the same; with OK: the name, in its one spelling */
};
struct ps_auth_reply ps_session_auth_reply(struct ps_session *s);

/* After PS_AUTH_OK: the session goes on in the user's mail process, with the unread input. `blob` is
 * what the front half wants to tell the mail half (the tag to answer, say): at most 1 KiB, without
 * pointers. Return PS_WAIT_GONE. */
void ps_session_hand_over(struct ps_session *s, struct ps_bytes blob);

/* ---- mail only ------------------------------------------------------------------------------- */

/* DEFLATE (RFC 1951) in both directions: of the output, all that is written from now on is compressed; of the input, all that is
 * unread now and all that comes is inflated, in steps, never beyond the input limit. `level` 1 (quick) to 9 (small). Once. */
int ps_session_compress(struct ps_session *s, int level);
bool ps_session_is_compressed(const struct ps_session *s);

/* The session goes back to the front half, which begins anew with it; the unread input goes along. What is written is sent before;
 * compression ends with it, in both directions. Return PS_WAIT_GONE. PS_E_LIMIT: too much is unread, and
 * nothing was done. */
#define PS_HAND_BACK_MAX (16 * 1024)
int ps_session_hand_back(struct ps_session *s);

struct ps_user;
struct ps_user *ps_session_user(struct ps_session *s); /* the open store, postern/store.h */
const char *ps_session_user_name(const struct ps_session *s);
/* Whether it is a master user who has logged in, as the user or as oneself. */
bool ps_session_is_admin(const struct ps_session *s);
struct ps_bytes ps_session_blob(const struct ps_session *s); /* from hand_over */

#endif
