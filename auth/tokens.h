/* SPDX-License-Identifier: MIT */
/*
 * auth/tokens.h - access tokens that are signed JSON (JWT, RFC 7519), and the keys of who makes them (JWKS, RFC 7517).
 */
#ifndef AUTH_TOKENS_H
#define AUTH_TOKENS_H

#include "postern/buf.h"
#include "postern/settings.h"

#define PS_ACCESS_TOKEN_MAX 8192 /* octets */

struct ps_token_keys;

/* `path` is for messages. A key that is not for signatures, or of a kind that is not known here, is passed over; keys that
 * both ends share (HS256) are. PS_E_INVALID: no JWKS, or nothing in it can be used. */
int ps_token_keys_parse(struct ps_bytes json, const char *path, struct ps_token_keys **ret_keys);
void ps_token_keys_destroy(struct ps_token_keys *keys); /* destroy(NULL) does nothing */
size_t ps_token_keys_count(const struct ps_token_keys *keys);

struct ps_token_holder {
	struct ps_buf user; /* appended to; the caller's to finish */
	int64_t expires;    /* seconds since 1970; 0: not told */
};

/* Who the token was made for. `conf`: a section with `issuer`, `audience` and `scope`, of which those that are set are asked for, and `user_claim`.
 * `now`: seconds since 1970. Where it does not hold ps_last_error() has why: PS_E_NOTFOUND: it is signed with another key than these; PS_E_AUTH:
 * all else. */
int ps_token_check(const struct ps_token_keys *keys, const struct ps_conf *conf, int64_t now, struct ps_bytes token,
		   struct ps_token_holder *ret_holder);
/* The same, from what the issuer said of the token (RFC 7662 section 2.2). PS_E_INVALID: that is no such answer. */
int ps_token_introspected(struct ps_bytes json, const struct ps_conf *conf, int64_t now,
			  struct ps_token_holder *ret_holder);

#endif
