/* SPDX-License-Identifier: MIT */
/*
 * auth/sasl.h - SASL mechanisms (RFC 4422): a mechanism is a row of the table in sasl.c.
 */
#ifndef AUTH_SASL_H
#define AUTH_SASL_H

#include "postern/buf.h"

struct ps_sasl_mechanism;

/* An exchange. Zeroed is empty; ps_sasl_start() fills it, ps_sasl_finish() wipes it. */
struct ps_sasl {
	const struct ps_sasl_mechanism *mechanism;
	unsigned state;
	struct ps_bytes challenge; /* static text */
	struct ps_buf authzid, authcid, password;
};

enum ps_sasl_result {
	PS_SASL_CHALLENGE, /* send `challenge`, then call again with the answer */
	PS_SASL_PASSWORD,  /* authzid, authcid and password are there */
	PS_SASL_BAD,       /* not of the mechanism's grammar; ps_last_error() */
};

/* Names of the mechanisms that may be used, blank-separated. `plaintext_ok`: a password may travel on the connection. */
const char *ps_sasl_names(bool plaintext_ok);

/* PS_E_NOTFOUND: no such mechanism. PS_E_ACCESS: not without TLS. */
int ps_sasl_start(struct ps_sasl *sasl, const char *mechanism, bool plaintext_ok);
/* `data` is absent when the client sent no initial response. */
enum ps_sasl_result ps_sasl_step(struct ps_sasl *sasl, struct ps_bytes data);
void ps_sasl_finish(struct ps_sasl *sasl);

#endif
