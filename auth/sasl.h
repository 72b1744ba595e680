/* SPDX-License-Identifier: MIT */
/*
 * auth/sasl.h - SASL mechanisms (RFC 4422): a mechanism is a row of the table in sasl.c.
 */
#ifndef AUTH_SASL_H
#define AUTH_SASL_H

#include "auth/passwords.h"
#include "auth/scram.h"
#include "auth/tokens.h"
#include "postern/settings.h"

struct ps_sasl_mechanism;

/* An exchange. Zeroed is empty; ps_sasl_start() fills it, ps_sasl_finish() wipes it. */
struct ps_sasl {
	const struct ps_sasl_mechanism *mechanism;
	bool begun;
	unsigned state; /* the mechanism's own */
	struct ps_buf challenge;
	struct ps_buf authzid, authcid, password;
	struct ps_buf token;
	const char *reason; /* with PS_SASL_WRONG: what is wrong; NULL: what the client knows */
	struct ps_scram_channel channel;
	struct ps_scram scram;
};

enum ps_sasl_result {
	PS_SASL_CHALLENGE, /* send `challenge`, then call again with the answer */
	PS_SASL_PASSWORD,  /* authzid, authcid and password are there, to be checked */
	PS_SASL_SECRET,    /* authzid and authcid are there: find the user's secret, give it to ps_sasl_set_secret() */
	PS_SASL_TOKEN, /* authzid and token are there: check it, then call ps_sasl_refuse_token(), or it is whom the token names */
	PS_SASL_TRUSTED,  /* authzid and authcid are there, and authcid is whom the client has proved to be */
	PS_SASL_VERIFIED, /* the client has proved to have the secret */
	PS_SASL_WRONG,    /* it has not */
	PS_SASL_BAD,      /* not of the mechanism's grammar; ps_last_error() */
};

/* Of the connection. */
struct ps_sasl_terms {
	const struct ps_conf *conf; /* the root: sasl_mechanisms; NULL: no mechanism is left out */
	bool plaintext_ok;          /* a password may travel on it */
	bool is_tls;
	const char *certificate_user; /* whom the client's certificate names; NULL: nobody */
	unsigned serves;              /* PS_SERVES_* (auth/passwords.h): what users have */
};
bool ps_sasl_is_known(const char *mechanism);
/* Whether it asks for what the TLS connection may be bound to. */
bool ps_sasl_is_bound(const char *mechanism);
/* Appends the names of the mechanisms that may be used, blank-separated, the best first. */
void ps_sasl_put_names(const struct ps_sasl_terms *terms, struct ps_buf *out);

/* `bindings`: PS_BINDINGS of them, which outlive the exchange; NULL: none is to be had. PS_E_NOTFOUND: no such mechanism.
 * PS_E_ACCESS: not without TLS. */
int ps_sasl_start(struct ps_sasl *sasl, const char *mechanism, const struct ps_sasl_terms *terms,
		  const struct ps_bytes *bindings);
/* `data` is absent when the client sent no initial response. */
enum ps_sasl_result ps_sasl_step(struct ps_sasl *sasl, struct ps_bytes data);
/* After PS_SASL_SECRET: of which hash the secret must be; and it. `hopeless`: whatever the client proves is wrong. Then `challenge` is there. */
const struct ps_scram_hash *ps_sasl_hash(const struct ps_sasl *sasl);
void ps_sasl_set_secret(struct ps_sasl *sasl, const struct ps_scram_secret *secret, bool hopeless);
/* After PS_SASL_TOKEN, which does not hold: `challenge` says so, and whatever the client answers ends the exchange. */
void ps_sasl_refuse_token(struct ps_sasl *sasl);
void ps_sasl_finish(struct ps_sasl *sasl);

#endif
