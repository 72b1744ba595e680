/* SPDX-License-Identifier: MIT */
/*
 * core/net/tls_context.h - what tls.c must see of a context; included by nobody else.
 */
#ifndef CORE_NET_TLS_CONTEXT_H
#define CORE_NET_TLS_CONTEXT_H

#include <gnutls/gnutls.h>
#include "core/net/tls.h"
#include "postern/error.h"

/* What all contexts that came one from another share. */
struct tls_shared {
	unsigned refs;
	gnutls_priority_t priority;
	gnutls_datum_t ticket_key;
	unsigned resumption_s; /* 0: no tickets */
	struct ps_buf clients; /* PEM */
	tls_sign_fn sign;
	void *sign_arg;
};

struct tls_context {
	unsigned refs;
	struct tls_shared *shared;
	struct certificate **certificates; /* by slot */
	size_t count;
};

/* The certificate for a client that asked for `name` (may be ""). There must be one. */
gnutls_certificate_credentials_t tls_context_choose(const struct tls_context *context, const char *name);

static inline int tls_fail(enum ps_err code, const char *what, int r)
{
	return ps_fail(code, "%s: %s", what, gnutls_strerror(r));
}

#endif
