/* SPDX-License-Identifier: MIT */
/*
 * auth/passwords.h - stored passwords, "{SCHEME}hash".
 */
#ifndef AUTH_PASSWORDS_H
#define AUTH_PASSWORDS_H

#include "auth/scram.h"

#define PS_PASSWORD_MAX 1024

/* 0: `password` is the one. PS_E_AUTH: it is not. PS_E_UNSUPPORTED: no such scheme here, or
 * `stored` is none of its hashes. Without {SCHEME} it is {CRYPT}. Costs CPU time by intention; any
 * thread. */
int ps_password_check(const char *stored, struct ps_bytes password);

/* Whether ps_password_check() could use `stored`: a known scheme, with something behind it. */
int ps_password_stored_check(const char *stored);

/* What `stored` can be used for: PS_SERVES_*; 0 where ps_password_stored_check() fails. */
enum {
	PS_SERVES_PASSWORD = 1, /* checking a password that was sent */
	PS_SERVES_SCRAM_SHA_1 = 2,
	PS_SERVES_SCRAM_SHA_256 = 4,
	PS_SERVES_ALL = 7,   /* that a password can */
	PS_SERVES_TOKEN = 8, /* no password, but access tokens (auth/tokens.h) */
};
unsigned ps_password_serves(const char *stored);

/* The secret for SCRAM with this hash: one that is stored, or made of a password in clear text with this salt. PS_E_UNSUPPORTED: there is
 * none in `stored` (NULL: there is no such user), and the secret is one that nobody can prove to have, with this salt. Takes equally
 * long in any case; any thread. */
int ps_password_scram(const char *stored, const struct ps_scram_hash *hash, struct ps_bytes salt,
		      struct ps_scram_secret *ret_secret);

/* The part of `stored` that says what checking it costs, its method and parameters ("$6$rounds=5000"); empty where it
 * costs nothing. Equal parts take equally long. */
struct ps_bytes ps_password_cost(const char *stored);

/* Appends "{SCHEME}hash" of a new password, with a fresh salt. `scheme` NULL: the best that this
 * machine's libcrypt makes, YESCRYPT or SHA512-CRYPT. PS_E_UNSUPPORTED; PS_E_INVALID: empty, too
 * long, or with a NUL octet. */
int ps_password_hash(struct ps_bytes password, const char *scheme, struct ps_buf *out);

#endif
