/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include "core/delivery/client/sts_fetch.h"
#include "core/dns/resolver.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	PORT = 443,
	TIMEOUT_MS = 60 * 1000, /* section 3.3 */
};

struct sts_fetch {
	struct https *https;
	uint16_t port;
	unsigned timeout_ms;
	char host[DNS_NAME_SIZE + 16];
	struct ps_lookup *lookup;
	struct https_get *get;
	sts_fetch_fn fn;
	void *arg;
};

void sts_fetch_cancel(struct sts_fetch *fetch)
{
	if (!fetch)
		return;
	ps_lookup_cancel(fetch->lookup);
	https_cancel(fetch->get);
	free(fetch);
}

static void end(struct sts_fetch *fetch, int error, struct ps_bytes text)
{
	fetch->fn(fetch->arg, error, text);
	sts_fetch_cancel(fetch);
}

/* "text/plain; charset=utf-8" */
static bool is_text(const char *type)
{
	struct ps_bytes word = ps_bytes(type, type ? strcspn(type, "; \t") : 0);

	return ps_bytes_caseeq_str(word, "text/plain");
}

static int check(const struct sts_fetch *fetch, const struct https_answer *answer)
{
	if (answer->status != 200)
		return ps_fail(PS_E_NOTFOUND, "%s: HTTP status %u", fetch->host, answer->status);
	if (!is_text(answer->type))
		return ps_fail(PS_E_UNSUPPORTED, "%s: not text/plain", fetch->host);
	return 0;
}

static void on_answer(void *arg, int error, const struct https_answer *answer)
{
	struct sts_fetch *fetch = arg;

	fetch->get = NULL;
	if (error == 0)
		error = check(fetch, answer);
	end(fetch, error, error == 0 ? answer->body : ps_bytes(NULL, 0));
}

static void on_addresses(void *arg, const struct ps_addresses *addresses)
{
	struct sts_fetch *fetch = arg;
	const struct https_request request = {
		.host = fetch->host,
		.path = "/.well-known/mta-sts.txt",
		.port = fetch->port,
		.addresses = addresses->list,
		.count = addresses->count,
		.limit = STS_TEXT_MAX,
		.timeout_ms = fetch->timeout_ms,
	};
	int r;

	fetch->lookup = NULL;
	r = addresses->status == DNS_OK
		    ? https_get(fetch->https, &request, on_answer, fetch, &fetch->get)
		    : ps_fail(PS_E_NOTFOUND, "%s: %s", fetch->host, dns_status_text(addresses->status));
	if (r < 0)
		end(fetch, r, ps_bytes(NULL, 0));
}

struct sts_fetch *sts_fetch_begin(struct https *https, const struct sts_options *options, const char *domain,
				  sts_fetch_fn fn, void *arg)
{
	struct sts_fetch *fetch = ps_zalloc(sizeof *fetch);

	fetch->https = https;
	fetch->port = options->port ? options->port : PORT;
	fetch->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
	fetch->fn = fn;
	fetch->arg = arg;
	snprintf(fetch->host, sizeof fetch->host, "mta-sts.%s", domain);
	fetch->lookup = ps_resolver_address(options->resolver, fetch->host, on_addresses, fetch);
	return fetch;
}
