/* SPDX-License-Identifier: MIT */
/*
 * auth/scram.h - SCRAM (RFC 5802, RFC 7677): what is stored for it, and the server's side of an exchange.
 *
 * A secret is made of a password and a salt, and proves who knows the password, without telling it. An exchange is
 * pure: it is given messages and a secret, and gives messages.
 */
#ifndef AUTH_SCRAM_H
#define AUTH_SCRAM_H

#include "postern/buf.h"

#define PS_SCRAM_ITERATIONS     4096u /* of new secrets, RFC 7677 section 4; and of those that do not exist */
#define PS_SCRAM_ITERATIONS_MAX 1000000u
#define PS_SCRAM_SALT_SIZE      16u /* of new ones */
#define PS_SCRAM_SALT_MAX       64u
#define PS_SCRAM_KEY_MAX        32u

/* SHA-1 or SHA-256. */
struct ps_scram_hash;
/* "SCRAM-SHA-256", also with "-PLUS"; in capitals or not. NULL: no such. */
const struct ps_scram_hash *ps_scram_hash_find(const char *name);

struct ps_scram_secret {
	const struct ps_scram_hash *hash;
	uint32_t iterations;
	size_t salt_len;
	uint8_t salt[PS_SCRAM_SALT_MAX];
	uint8_t stored_key[PS_SCRAM_KEY_MAX], server_key[PS_SCRAM_KEY_MAX];
};

/* "4096,SALT,STOREDKEY,SERVERKEY" (Dovecot) or "4096:SALT$STOREDKEY:SERVERKEY" (RFC 5803), in base64. PS_E_UNSUPPORTED. */
int ps_scram_secret_parse(const struct ps_scram_hash *hash, struct ps_bytes text, struct ps_scram_secret *ret_secret);
/* Costs CPU time by intention. The password is prepared by SASLprep (RFC 4013); PS_E_INVALID: that refuses it. */
int ps_scram_secret_derive(const struct ps_scram_hash *hash, struct ps_bytes password, struct ps_bytes salt,
			   uint32_t iterations, struct ps_scram_secret *ret_secret);
/* Dovecot's form. */
void ps_scram_secret_format(const struct ps_scram_secret *secret, struct ps_buf *out);
/* Of two made with one salt; in time that does not depend on them. */
bool ps_scram_secret_same(const struct ps_scram_secret *a, const struct ps_scram_secret *b);

/* Data that both ends of a TLS connection know and nobody else has (RFC 5056): what "-PLUS" binds an exchange to. */
enum ps_binding {
	PS_BINDING_EXPORTER,  /* tls-exporter, RFC 9266 */
	PS_BINDING_UNIQUE,    /* tls-unique, RFC 5929; only where it is unique */
	PS_BINDING_END_POINT, /* tls-server-end-point, RFC 5929 */
	PS_BINDINGS
};

/* An exchange. Zeroed is empty. */
struct ps_scram {
	char nonce[32];                      /* ours; "": one is made */
	struct ps_buf header;                /* GS2 header, and what the channel is bound to */
	struct ps_buf message;               /* AuthMessage, as far as it has come */
	size_t both_nonces, both_nonces_len; /* where in it */
	struct ps_scram_secret secret;
	bool hopeless; /* the proof is wrong, whatever it is */
};
void ps_scram_finish(struct ps_scram *scram); /* wipes */

struct ps_scram_channel {
	bool is_tls;
	bool plus;                             /* the mechanism that was asked for is a "-PLUS" */
	struct ps_bytes bindings[PS_BINDINGS]; /* absent: not to be had */
};

/* A name in which "=2C" is a comma and "=3D" an equals sign (RFC 5801 section 4), as it is without. PS_E_SYNTAX. */
int ps_scram_put_name(struct ps_buf *out, struct ps_bytes name);
/* client-first-message: appends the two names. PS_E_SYNTAX; PS_E_ACCESS: not bound as it must be. */
int ps_scram_client_first(struct ps_scram *scram, struct ps_bytes message, const struct ps_scram_channel *channel,
			  struct ps_buf *authzid, struct ps_buf *authcid);
/* server-first-message; scram->secret is there by now. */
void ps_scram_server_first(struct ps_scram *scram, struct ps_buf *out);
/* client-final-message; appends server-final-message. PS_E_SYNTAX; PS_E_ACCESS: bound to another connection; PS_E_AUTH: the
 * proof is wrong. */
int ps_scram_client_final(struct ps_scram *scram, struct ps_bytes message, struct ps_buf *out);

#endif
