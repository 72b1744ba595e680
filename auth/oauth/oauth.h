/* SPDX-License-Identifier: MIT */
/*
 * auth/oauth/oauth.h - what the files of the driver share.
 *
 * What was fetched belongs to the process: threads, which have handles of their own, share it, and it outlives a handle that is closed
 * because the issuer could not be reached.
 */
#ifndef AUTH_OAUTH_OAUTH_H
#define AUTH_OAUTH_OAUTH_H

#include <curl/curl.h>
#include "auth/tokens.h"
#include "postern/buf.h"
#include "postern/settings.h"

/* A handle. */
struct oauth {
	const struct ps_conf *conf;
	CURL *easy; /* keeps its connection */
};

/* ---- web.c: requests, which block ---- */

struct web_answer {
	struct ps_buf body;
	int64_t max_age; /* seconds that it may be kept; -1: not told */
};

int web_open(struct oauth *oauth);
void web_close(struct oauth *oauth);
/* `form` NULL: GET. Anything but status 200 is PS_E_AGAIN. The body is the caller's to finish, in any case. */
int web_fetch(struct oauth *oauth, const char *url, const char *form, struct web_answer *ret_answer);

/* ---- both return what ps_token_check() does, and PS_E_AGAIN: it cannot be told now ---- */

/* keys.c: by the keys at the URL `jwks`. */
int keys_check(struct oauth *oauth, struct ps_bytes token, int64_t now, struct ps_token_holder *ret_holder);
/* said.c: by what the URL `introspection` says. */
int said_check(struct oauth *oauth, struct ps_bytes token, int64_t now, struct ps_token_holder *ret_holder);

#endif
