/* SPDX-License-Identifier: MIT */
/*
 * auth/tokens.h - access tokens that are signed JSON (JWT, RFC 7519), and the keys of who makes them (JWKS, RFC 7517).
 */
#ifndef AUTH_TOKENS_H
#define AUTH_TOKENS_H

#include "postern/buf.h"
#include "postern/settings.h"

struct ps_token_keys;

/* `path` is for messages. A key that is not for signatures, or of a kind that is not known here, is passed over; keys that
 * both ends share (HS256) are. PS_E_INVALID: no JWKS, or nothing in it can be used. */
int ps_token_keys_parse(struct ps_bytes json, const char *path, struct ps_token_keys **ret_keys);
void ps_token_keys_destroy(struct ps_token_keys *keys); /* destroy(NULL) does nothing */
size_t ps_token_keys_count(const struct ps_token_keys *keys);

/* Who the token was made for, by the claim that the section `oauth` names; appended. `now`: seconds since 1970. PS_E_AUTH: it does not
 * hold here; ps_last_error() has why. */
int ps_token_check(const struct ps_token_keys *keys, const struct ps_conf *oauth, int64_t now, struct ps_bytes token,
		   struct ps_buf *ret_user);

#endif
