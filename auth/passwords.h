/* SPDX-License-Identifier: MIT */
/*
 * auth/passwords.h - stored passwords, "{SCHEME}hash".
 */
#ifndef AUTH_PASSWORDS_H
#define AUTH_PASSWORDS_H

#include "postern/buf.h"

#define PS_PASSWORD_MAX 1024

/* 0: `password` is the one. PS_E_AUTH: it is not. PS_E_UNSUPPORTED: no such scheme here, or
 * `stored` is none of its hashes. Without {SCHEME} it is {CRYPT}. Costs CPU time by intention; any
 * thread. */
int ps_password_check(const char *stored, struct ps_bytes password);

/* Whether ps_password_check() could use `stored`: a known scheme, with something behind it. */
int ps_password_stored_check(const char *stored);

/* The part of `stored` that says what checking it costs, its method and parameters ("$6$rounds=5000"); empty where it
 * costs nothing. Equal parts take equally long. */
struct ps_bytes ps_password_cost(const char *stored);

/* Appends "{SCHEME}hash" of a new password, with a fresh salt. `scheme` NULL: the best that this
 * machine's libcrypt makes, YESCRYPT or SHA512-CRYPT. PS_E_UNSUPPORTED; PS_E_INVALID: empty, too
 * long, or with a NUL octet. */
int ps_password_hash(struct ps_bytes password, const char *scheme, struct ps_buf *out);

#endif
