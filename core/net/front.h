/* SPDX-License-Identifier: MIT */
/*
 * core/net/front.h - connections of people who have not logged in (front role).
 *
 * core/net owns sockets, TLS and the session driver; what needs another process goes through
 * ps_front_hooks, which core/process fills with messages, and unit tests with functions.
 */
#ifndef CORE_NET_FRONT_H
#define CORE_NET_FRONT_H

#include "auth/scram.h"
#include "core/event/loop.h"
#include "core/net/choice.h"
#include "core/net/tls.h"
#include "postern/envelope.h"
#include "postern/protocol.h"
#include "postern/session.h"

struct ps_front; /* one per front process */

struct ps_front_handover {
	uint64_t number; /* by which the session may come back */
	const char *protocol;
	struct ps_bytes ticket; /* what auth gave */
	int fd;                 /* the plain socket, or our end's partner of the TLS pump's socketpair; taken over */
	struct ps_bytes unread, blob;
};

struct ps_front_hooks {
	/* Begin or go on with an authentication for the session numbered `number`, which `turn` tells from its others; the answer comes by
	 * ps_front_auth_answer(), later. */
	void (*auth_start)(void *arg, uint64_t number, uint32_t turn, struct ps_session *s, const char *mechanism,
			   struct ps_bytes initial);
	void (*auth_step)(void *arg, uint64_t number, uint32_t turn, struct ps_bytes response);
	void (*auth_cancel)(void *arg, uint64_t number, uint32_t turn);
	/* Mechanisms for this session, blank-separated. */
	const char *(*mechanisms)(void *arg, struct ps_session *s);
	/* Sends the connection to the user's mail process; *ret_holder is a number by which we will know that process.
	 * Negative: could not; the session is told and closed. */
	int (*hand_over)(void *arg, struct ps_session *s, const struct ps_front_handover *what, uint32_t *ret_holder);
	/* A transaction of the session (postern/envelope.h), which `turn` tells from its others; answers come by ps_front_mail_reply(), later. Negative: nobody can be
	 * asked. `ticket`: auth's, of who has logged in; empty: nobody has. */
	int (*mail_from)(void *arg, uint64_t number, uint32_t turn, struct ps_session *s,
			 const struct ps_mail_sender *sender, struct ps_bytes ticket);
	int (*mail_rcpt)(void *arg, uint64_t number, uint32_t turn, const struct ps_mail_recipient *recipient);
	int (*mail_data)(void *arg, uint64_t number, uint32_t turn);
	/* Asks for a file, for a message of more than PS_FRONT_SMALL octets. */
	int (*mail_room)(void *arg, uint64_t number, uint32_t turn);
	/* `octets`: all of them, if no file was asked for. */
	int (*mail_end)(void *arg, uint64_t number, uint32_t turn, uint64_t size, bool whole, struct ps_bytes octets);
	void (*mail_reset)(void *arg, uint64_t number, uint32_t turn);
	/* Signs with the private key of the certificate (another process has it); blocks. `algorithm` is a
	 * gnutls_sign_algorithm_t; `data` is hashed already where `is_hash`. */
	int (*sign)(void *arg, uint32_t key, unsigned algorithm, bool is_hash, struct ps_bytes data,
		    struct ps_buf *out);
	void *arg;
};

/* A message of no more octets goes with the message that says that it is whole. */
#define PS_FRONT_SMALL 32768

/* conf: the root; read for limits and time-outs. */
int ps_front_create(struct ps_loop *loop, const struct ps_conf *conf, const struct ps_front_hooks *hooks,
		    struct ps_front **ret_front);
void ps_front_reconfigure(struct ps_front *front, const struct ps_conf *conf); /* for new connections */

/* Connections of an address are counted in all front processes together, once each knows the tables of the others: core/net/counts.h. The
 * descriptor stays the caller's. */
int ps_front_share_counts(struct ps_front *front, uint32_t index, bool own, uint64_t seed, int fd);

struct ps_front_listener {
	int fd; /* listening; taken over */
	const char *name;
	const struct ps_protocol *protocol;
	const char *protocol_name;
	const struct ps_conf *protocol_conf;
	bool implicit_tls;
	bool asks_client, needs_client; /* for a certificate, as in core/net/tls.h */
	bool tls_available;             /* STARTTLS may be offered */
	const char *proxies; /* networks whose connections begin with a PROXY header, as in auth/nets.h; "": none */
};
int ps_front_listen(struct ps_front *front, const struct ps_front_listener *listener);
/* Stops accepting on the listener of this name and closes its descriptor; its connections go on. */
void ps_front_unlisten(struct ps_front *front, const char *name);
/* When the certificate expires that the client has shown: seconds since 1970; 0: it has shown none. */
uint64_t ps_front_certificate_expires(const struct ps_session *s);
/* Appends what the session's TLS connection may be known by; nothing, where that is not to be had. */
void ps_front_binding(const struct ps_session *s, enum ps_binding binding, struct ps_buf *out);
/* Replaces the former of its slot for new handshakes. */
int ps_front_set_certificate(struct ps_front *front, const struct tls_certificate *certificate);
/* PEM: the authorities of clients' certificates. Empty: there are none. */
int ps_front_set_client_authorities(struct ps_front *front, struct ps_bytes pem);
/* What session tickets are sealed with (core/net/tls.h). */
void ps_front_set_ticket_key(struct ps_front *front, struct ps_bytes key);
struct ps_front_auth {
	enum ps_auth_status status;
	struct ps_bytes data;
	/* With PS_AUTH_OK. */
	struct ps_bytes ticket;
	const char *user;
	unsigned sessions; /* that the user may have here, in all front processes together; 0: any number */
	struct ps_hash credential;
};
/* One session more than the user may have becomes PS_AUTH_TEMPFAIL. */
void ps_front_auth_answer(struct ps_front *front, uint64_t number, uint32_t turn, const struct ps_front_auth *answer);
/*
 * A session comes back from the process that has it: whoever logged in has logged out. `fd` is what was handed over, and is
 * taken over. One whose client has gone meanwhile is nothing wrong; PS_E_ACCESS: this process was not given it, or the
 * socket is another.
 */
int ps_front_hand_back(struct ps_front *front, uint32_t holder, uint64_t number, int fd, struct ps_bytes unread);
/* The process that has it says that it is over. */
void ps_front_over(struct ps_front *front, uint32_t holder, uint64_t number);
/* That process has gone, and with it what it had. */
void ps_front_holder_gone(struct ps_front *front, uint32_t holder);
/* What is not of the session's present transaction is dropped. */
void ps_front_mail_reply(struct ps_front *front, uint64_t number, uint32_t turn, const struct ps_mail_reply *reply,
			 const char *id);
/* Who was asked has gone: what is open will not be answered. */
void ps_front_mail_lost(struct ps_front *front);
/* After mail_room(): where the message goes, -1 if there is no room for it. The descriptor is taken over. */
void ps_front_mail_file(struct ps_front *front, uint64_t number, uint32_t turn, int file);
/* Sessions of who has logged in and stays here; those that other processes have these tell of. */
void ps_front_each(struct ps_front *front, void (*fn)(void *arg, const struct ps_session_info *info), void *arg);
/* Ends the connections that are chosen, of who has logged in and of strangers, with the protocol's ended_text; how many there are. */
unsigned ps_front_end(struct ps_front *front, const struct ps_session_choice *choice);
/* Stops accepting. drain: sessions before log-in get the busy text; pumps of logged-in TLS sessions go on.
 * `empty` is called when no connection is left. */
void ps_front_stop(struct ps_front *front, void (*empty)(void *arg), void *arg);
unsigned ps_front_connections(const struct ps_front *front);
void ps_front_destroy(struct ps_front *front);

#endif
