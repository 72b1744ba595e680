/* SPDX-License-Identifier: MIT */
/*
 * postern/protocol.h - what a protocol plugin offers.                         [in-tree]
 */
#ifndef POSTERN_PROTOCOL_H
#define POSTERN_PROTOCOL_H

#include "postern/build.h"
#include "postern/plugin.h"
#include "postern/session.h"

/* One process's half of a protocol. */
struct ps_half {
	size_t state_size;
	/* Optional. Called once, before the first run(). front: on the loop. mail: on a worker, with the
	 * user's store open. Non-zero closes the connection. */
	int (*open)(struct ps_session *s);
	struct ps_wait (*run)(struct ps_session *s);
	/* Optional. Releases what the state holds; the store goes by itself. */
	void (*close)(struct ps_session *s);
};

struct ps_protocol {
	const char *service;         /* in logs and for authentication: "imap" */
	const struct ps_half *front; /* until log-in (or for ever) */
	const struct ps_half *mail;  /* after log-in; NULL: the protocol lives in front only */
	/* What to say when a connection cannot be served, with line end: the server is full, is going down.
	 * Sent in place of the greeting. */
	const char *busy_text;
	/* Sent, mail half, before a session is closed because the server stops; may be NULL. */
	const char *bye_text;
	/* Sent, either half, before a session is closed because the administrator wants it, or because what its user logged in by does
	 * not hold any more; NULL: it is closed without a word. */
	const char *ended_text;
	/* Sent, mail half, in place of all else when the user has as many sessions as they may; NULL: busy_text. */
	const char *crowded_text;
	/* ALPN names (RFC 7301), blank-separated: "imap". A client that wishes for others only is refused. NULL: any wish is passed over. */
	const char *alpn;
	/* RFC 4422 section 4: the service name in GSSAPI and SCRAM. */
	const char *gss_service;
};

#endif
