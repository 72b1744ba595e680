/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include "auth/oauth/oauth.h"
#include "postern/error.h"
#include "postern/pool.h"

#define BODY_MAX ((size_t)64 * 1024)

static void begin(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_body(char *octets, size_t one, size_t len, void *arg)
{
	struct web_answer *answer = arg;

	return ps_buf_append(&answer->body, octets, one * len) < 0 ? 0 : len;
}

static struct ps_bytes next_word(struct ps_bytes *rest)
{
	ptrdiff_t comma = ps_bytes_find(*rest, ',');
	struct ps_bytes word = ps_bytes(rest->ptr, comma < 0 ? rest->len : (size_t)comma);

	*rest = ps_bytes_skip(*rest, word.len + (comma >= 0));
	while (word.len > 0 && *word.ptr <= ' ')
		word = ps_bytes_skip(word, 1);
	while (word.len > 0 && word.ptr[word.len - 1] <= ' ')
		word.len--;
	return word;
}

/* RFC 9111 section 5.2.2 */
static void read_cache_control(struct ps_bytes value, struct web_answer *answer)
{
	static const char age[] = "max-age=";
	uint64_t seconds;

	while (value.len > 0) {
		struct ps_bytes word = next_word(&value), start = ps_bytes(word.ptr, sizeof age - 1);

		if (ps_bytes_caseeq_str(word, "no-store") || ps_bytes_caseeq_str(word, "no-cache"))
			answer->max_age = 0;
		else if (word.len >= start.len && ps_bytes_caseeq_str(start, age) && answer->max_age < 0 &&
			 ps_bytes_u64(ps_bytes_skip(word, start.len), &seconds) == 0)
			answer->max_age = seconds < INT32_MAX ? (int64_t)seconds : INT32_MAX;
	}
}

static size_t on_head(char *octets, size_t one, size_t len, void *arg)
{
	static const char name[] = "cache-control:";
	struct ps_bytes line = ps_bytes(octets, one * len), start = ps_bytes(octets, sizeof name - 1);

	if (line.len >= start.len && ps_bytes_caseeq_str(start, name))
		read_cache_control(ps_bytes_skip(line, start.len), arg);
	return len;
}

/* The two are URL-encoded before they are put together (RFC 6749 section 2.3.1). */
static CURLcode set_client(struct oauth *oauth)
{
	const struct {
		CURLoption option;
		const char *setting;
	} rows[] = {{CURLOPT_USERNAME, "client_id"}, {CURLOPT_PASSWORD, "client_secret"}};
	CURLcode r = curl_easy_setopt(oauth->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);

	for (size_t i = 0; i < PS_ARRAY_LEN(rows) && r == CURLE_OK; i++) {
		const char *value = ps_conf_str(oauth->conf, rows[i].setting);
		char *encoded = value ? curl_easy_escape(oauth->easy, value, 0) : NULL;

		r = encoded ? curl_easy_setopt(oauth->easy, rows[i].option, encoded) : CURLE_OK;
		curl_free(encoded);
	}
	return r;
}

/* No redirects and no proxies: what is asked is what the configuration names. */
static CURLcode set_options(struct oauth *oauth)
{
	const char *ca_file = ps_conf_str(oauth->conf, "ca_file");
	CURL *easy = oauth->easy;
	CURLcode r;

	if ((r = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https")) != CURLE_OK ||
	    (r = curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2)) != CURLE_OK ||
	    (r = curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L)) != CURLE_OK ||
	    (r = curl_easy_setopt(easy, CURLOPT_PROXY, "")) != CURLE_OK ||
	    (ca_file && (r = curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file)) != CURLE_OK))
		return r;
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "Postern");
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)ps_conf_int(oauth->conf, "timeout") * 1000);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
	return set_client(oauth);
}

int web_open(struct oauth *oauth)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CURLcode r;

	pthread_once(&once, begin);
	oauth->easy = curl_easy_init();
	if (!oauth->easy)
		return ps_fail(PS_E_UNSUPPORTED, "libcurl does not begin");
	r = set_options(oauth);
	return r == CURLE_OK ? 0 : ps_fail(PS_E_UNSUPPORTED, "libcurl: %s", curl_easy_strerror(r));
}

void web_close(struct oauth *oauth)
{
	curl_easy_cleanup(oauth->easy);
}

int web_fetch(struct oauth *oauth, const char *url, const char *form, struct web_answer *ret_answer)
{
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURLcode r;

	*ret_answer = (struct web_answer){.body.limit = BODY_MAX, .max_age = -1};
	curl_easy_setopt(oauth->easy, CURLOPT_URL, url);
	curl_easy_setopt(oauth->easy, CURLOPT_POSTFIELDS, form);
	curl_easy_setopt(oauth->easy, form ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(oauth->easy, CURLOPT_WRITEDATA, ret_answer);
	curl_easy_setopt(oauth->easy, CURLOPT_HEADERDATA, ret_answer);
	curl_easy_setopt(oauth->easy, CURLOPT_ERRORBUFFER, why);
	r = curl_easy_perform(oauth->easy);
	curl_easy_setopt(oauth->easy, CURLOPT_ERRORBUFFER, NULL);
	if (r != CURLE_OK)
		return ps_fail(PS_E_AGAIN, "%s: %s", url, *why ? why : curl_easy_strerror(r));
	curl_easy_getinfo(oauth->easy, CURLINFO_RESPONSE_CODE, &status);
	return status == 200 ? 0 : ps_fail(PS_E_AGAIN, "%s: status %ld", url, status);
}
