/* SPDX-License-Identifier: MIT */
/*
 * auth/verified.h - passwords that were right a short while ago, so that a client that logs in again and again does
 * not cost a password hash each time.
 *
 * It holds no passwords: each entry is an HMAC, under a random key of this process, of user, service, stored hash and
 * password. So a changed hash is another entry, and a wrong password never hits: it is hashed like any other.
 */
#ifndef AUTH_VERIFIED_H
#define AUTH_VERIFIED_H

#include "postern/buf.h"

struct ps_verified;

/* One log-in; only a password that is right for all three others hits. */
struct ps_verified_login {
	const char *user, *service, *stored;
	struct ps_bytes password;
};

/* A fixed number of entries, those that would be forgotten first make room. */
struct ps_verified *ps_verified_create(void);
void ps_verified_destroy(struct ps_verified *verified); /* wipes */

void ps_verified_add(struct ps_verified *verified, const struct ps_verified_login *login, uint64_t until_ms);
bool ps_verified_has(const struct ps_verified *verified, const struct ps_verified_login *login, uint64_t now_ms);
/* Wipes what is over. UINT64_MAX: everything. */
void ps_verified_forget(struct ps_verified *verified, uint64_t now_ms);

#endif
