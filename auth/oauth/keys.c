/* SPDX-License-Identifier: MIT */
/*
 * The issuer's keys. One thread fetches them at a time; meanwhile the others go on with the former ones, which also serve for as long as the issuer is
 * away.
 */
#include <pthread.h>
#include <stdlib.h>
#include "auth/oauth/oauth.h"
#include "core/process/ticket.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	FRESH_S = 5 * 60, /* where the answer does not say how long it may be kept */
	FRESH_MAX_S = 24 * 60 * 60,
	RETRY_MS = 1000, /* where there are no keys at all */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t fetched;
	char *url;                  /* where these came from */
	struct ps_token_keys *keys; /* NULL: none yet */
	uint64_t fresh_until, not_before;
	bool fetching, failed; /* the last time */
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER, .fetched = PTHREAD_COND_INITIALIZER};

static int fetch(struct oauth *oauth, const char *url, struct ps_token_keys **ret_keys, uint64_t *ret_ms)
{
	struct web_answer answer;
	int r = web_fetch(oauth, url, NULL, &answer);
	int64_t seconds = answer.max_age < 0 ? FRESH_S : answer.max_age;

	if (r == 0)
		r = ps_token_keys_parse(ps_buf_view(&answer.body), url, ret_keys);
	*ret_ms = (uint64_t)(seconds < FRESH_MAX_S ? seconds : FRESH_MAX_S) * 1000;
	ps_buf_finish(&answer.body);
	return r;
}

static void take(struct ps_token_keys *keys, uint64_t fresh_ms, uint64_t pause_ms)
{
	uint64_t now = ps_monotonic_ms();

	ps_token_keys_destroy(cache.keys);
	cache.keys = keys;
	cache.fresh_until = now + fresh_ms;
	cache.not_before = now + pause_ms;
	ps_log(PS_LOG_INFO, "token_keys_loaded", "url", cache.url, "keys", ps_num((long long)ps_token_keys_count(keys)),
	       "seconds", ps_num((long long)(fresh_ms / 1000)), NULL);
}

static void keep(uint64_t pause_ms)
{
	cache.not_before = ps_monotonic_ms() + (cache.keys ? pause_ms : RETRY_MS);
	ps_log(PS_LOG_WARNING, "token_keys_not_loaded", "msg", ps_last_error(), "former", cache.keys ? "kept" : "none",
	       NULL);
}

/* With the lock, which is given back for the while. True: there may be others now. */
static bool refresh(struct oauth *oauth)
{
	uint64_t pause_ms = (uint64_t)ps_conf_int(oauth->conf, "refresh_pause") * 1000, fresh_ms = 0;
	PS_CLEANUP(ps_freep) char *url = NULL;
	struct ps_token_keys *keys = NULL;

	if (cache.fetching) {
		while (cache.fetching)
			pthread_cond_wait(&cache.fetched, &cache.lock);
		return true;
	}
	if (ps_monotonic_ms() < cache.not_before)
		return false;
	cache.fetching = true;
	url = ps_strdup(cache.url);
	pthread_mutex_unlock(&cache.lock);
	cache.failed = fetch(oauth, url, &keys, &fresh_ms) < 0;
	pthread_mutex_lock(&cache.lock);
	cache.fetching = false;
	if (strcmp(url, cache.url) != 0)
		ps_token_keys_destroy(keys); /* the configuration has changed meanwhile */
	else if (keys)
		take(keys, fresh_ms, pause_ms);
	else
		keep(pause_ms);
	pthread_cond_broadcast(&cache.fetched);
	return keys;
}

static void set_url(const char *url)
{
	if (cache.url && strcmp(cache.url, url) == 0)
		return;
	free(cache.url);
	cache.url = ps_strdup(url);
	ps_token_keys_destroy(cache.keys);
	cache.keys = NULL;
	cache.not_before = 0;
}

static int judge(const struct oauth *oauth, struct ps_bytes token, int64_t now, struct ps_token_holder *ret_holder)
{
	return cache.keys ? ps_token_check(cache.keys, oauth->conf, now, token, ret_holder)
			  : ps_fail(PS_E_AGAIN, "the issuer's keys are not known");
}

int keys_check(struct oauth *oauth, struct ps_bytes token, int64_t now, struct ps_token_holder *ret_holder)
{
	int r;

	pthread_mutex_lock(&cache.lock);
	set_url(ps_conf_str(oauth->conf, "jwks"));
	if (!cache.keys || (ps_monotonic_ms() >= cache.fresh_until && !cache.fetching))
		refresh(oauth);
	r = judge(oauth, token, now, ret_holder);
	if (r == PS_E_NOTFOUND && refresh(oauth))
		r = judge(oauth, token, now, ret_holder);
	if (r == PS_E_NOTFOUND)
		r = cache.failed ? ps_fail(PS_E_AGAIN, "signed with a key that is not known, and there may be others")
				 : PS_E_AUTH;
	pthread_mutex_unlock(&cache.lock);
	return r;
}
