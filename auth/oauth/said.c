/* SPDX-License-Identifier: MIT */
/*
 * Token introspection (RFC 7662). What the issuer said is kept for a short while, and looked at anew each time: so a token never holds
 * longer than it says.
 */
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include "auth/oauth/oauth.h"
#include "core/process/ticket.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	SLOTS = 1024,    /* tokens; which one a token has its hash decides */
	KEPT_MAX = 8192, /* octets; what is longer is asked for each time */
};

struct said {
	uint8_t hash[32];
	struct ps_buf json; /* empty: nothing */
	uint64_t until;
};

static struct said slots[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Of what was asked, and whom. */
static void hash_question(const struct oauth *oauth, struct ps_bytes token, uint8_t ret_hash[32])
{
	struct ps_buf text = {0};

	ps_buf_printf(&text, "%s %s ", ps_conf_str(oauth->conf, "introspection"),
		      ps_conf_str(oauth->conf, "client_id"));
	ps_buf_bytes(&text, token);
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text.ptr, text.len, ret_hash) < 0)
		abort(); /* memory: as ps_malloc() */
	ps_buf_wipe(&text);
}

static struct said *slot_of(const uint8_t hash[32])
{
	return &slots[(hash[0] << 8 | hash[1]) % SLOTS];
}

static bool recall(const uint8_t hash[32], struct ps_buf *ret_json)
{
	const struct said *said = slot_of(hash);
	bool there;

	pthread_mutex_lock(&lock);
	there = said->json.len > 0 && said->until > ps_monotonic_ms() &&
		memcmp(said->hash, hash, sizeof said->hash) == 0;
	if (there)
		ps_buf_bytes(ret_json, ps_buf_view(&said->json));
	pthread_mutex_unlock(&lock);
	return there;
}

static void remember(const uint8_t hash[32], struct ps_bytes json, uint64_t ms)
{
	struct said *said = slot_of(hash);

	if (ms == 0 || json.len == 0 || json.len > KEPT_MAX)
		return;
	pthread_mutex_lock(&lock);
	ps_buf_reset(&said->json);
	ps_buf_bytes(&said->json, json);
	memcpy(said->hash, hash, sizeof said->hash);
	said->until = ps_monotonic_ms() + ms;
	pthread_mutex_unlock(&lock);
}

static int ask(struct oauth *oauth, struct ps_bytes token, struct web_answer *ret_answer)
{
	char *encoded = curl_easy_escape(oauth->easy, (const char *)token.ptr, (int)token.len);
	struct ps_buf form = {0};
	int r;

	ps_buf_printf(&form, "token=%s&token_type_hint=access_token", encoded ? encoded : "");
	r = web_fetch(oauth, ps_conf_str(oauth->conf, "introspection"), ps_buf_cstr(&form), ret_answer);
	if (encoded)
		explicit_bzero(encoded, strlen(encoded));
	curl_free(encoded);
	ps_buf_wipe(&form);
	return r;
}

int said_check(struct oauth *oauth, struct ps_bytes token, int64_t now, struct ps_token_holder *ret_holder)
{
	struct web_answer answer = {0};
	uint8_t hash[32];
	int r = 0;
	bool known;

	hash_question(oauth, token, hash);
	known = recall(hash, &answer.body);
	if (!known)
		r = ask(oauth, token, &answer);
	if (r == 0)
		r = ps_token_introspected(ps_buf_view(&answer.body), oauth->conf, now, ret_holder);
	if (r == 0 && !known)
		remember(hash, ps_buf_view(&answer.body), (uint64_t)ps_conf_int(oauth->conf, "cache_time") * 1000);
	ps_buf_finish(&answer.body);
	return r;
}
