/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/client/wire.h - a connection to a server: its socket, TLS on it or not, what waits to be sent, and one time limit.
 *
 * Each event is one call of the wire's function, in which the wire may be destroyed.
 */
#ifndef CORE_DELIVERY_CLIENT_WIRE_H
#define CORE_DELIVERY_CLIENT_WIRE_H

#include <sys/socket.h>
#include "postern/buf.h"

struct ps_loop;
struct tls;
struct tls_trust;
struct wire;

enum wire_event {
	WIRE_CONNECTED, /* may be sent to */
	WIRE_SECURED,   /* the TLS handshake is done */
	WIRE_INPUT,     /* `data` has come */
	WIRE_DRAINED,   /* all that was to be sent is with the kernel, as wire_flush() was asked to tell */
	WIRE_BROKEN,    /* nothing comes any more; the reason is in ps_last_error() */
	WIRE_TIMEOUT,   /* the limit has passed */
};
typedef void (*wire_fn)(void *arg, enum wire_event event, struct ps_bytes data);

/* Begins to connect. Fails where the kernel knows at once that there is no way. */
int wire_create(struct ps_loop *loop, const struct sockaddr_storage *to, wire_fn fn, void *arg, struct wire **ret_wire);
void wire_destroy(struct wire *wire); /* destroy(NULL) does nothing */
/* WIRE_TIMEOUT after so long, in place of the limit before; 0: never. */
void wire_set_limit(struct wire *wire, unsigned ms);
/* Where octets that are to be sent go; wire_flush() sends them. A failure is told as WIRE_BROKEN, when what came before it has been read. */
struct ps_buf *wire_out(struct wire *wire);
void wire_flush(struct wire *wire, bool tell_drained);
/* The client's side of a handshake; WIRE_SECURED or WIRE_BROKEN follow. */
int wire_secure(struct wire *wire, struct tls_trust *trust, const char *name);
struct tls *wire_tls(struct wire *wire); /* NULL: in the clear */
/* Both ends are addresses of this machine. */
bool wire_is_local(const struct wire *wire);

#endif
