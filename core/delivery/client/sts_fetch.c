/* SPDX-License-Identifier: MIT */
/*
 * One GET without redirects, of 64 KiB at most, from a host whose certificate must be right: with the connections of the SMTP client that is
 * less than binding a library for HTTP, which would bring more libraries than all others together into every role.
 */
#include <stdio.h>
#include <stdlib.h>
#include "core/delivery/client/http.h"
#include "core/delivery/client/sts_fetch.h"
#include "core/delivery/client/wire.h"
#include "core/dns/resolver.h"
#include "core/event/loop.h"
#include "core/net/tls.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	PORT = 443,
	TIMEOUT_MS = 60 * 1000, /* section 3.3 */
	HEAD_MAX = 16 * 1024,
	TRIES_MAX = 4,
};

struct sts_fetch {
	struct sts_options options;
	char host[DNS_NAME_SIZE + 16];
	struct ps_lookup *lookup;
	struct ps_addresses *addresses;
	size_t at;
	struct wire *wire;
	struct ps_timer *timer; /* for all of it */
	struct ps_buf answer;
	bool asked;
	sts_fetch_fn fn;
	void *arg;
};

static void on_wire(void *arg, enum wire_event event, struct ps_bytes data);

void sts_fetch_cancel(struct sts_fetch *fetch)
{
	if (!fetch)
		return;
	ps_lookup_cancel(fetch->lookup);
	wire_destroy(fetch->wire);
	ps_timer_close(fetch->timer);
	ps_buf_finish(&fetch->answer);
	free(fetch->addresses);
	free(fetch);
}

static void end(struct sts_fetch *fetch, struct ps_bytes text)
{
	fetch->fn(fetch->arg, text);
	sts_fetch_cancel(fetch);
}

static void fail(struct sts_fetch *fetch)
{
	end(fetch, ps_bytes(NULL, 0));
}

static void set_port(const struct sts_fetch *fetch, struct sockaddr_storage *address)
{
	uint16_t port = htons(fetch->options.port ? fetch->options.port : PORT);

	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = port;
	else
		((struct sockaddr_in *)address)->sin_port = port;
}

static void try_next(struct sts_fetch *fetch)
{
	while (fetch->at < fetch->addresses->count && fetch->at < TRIES_MAX) {
		struct sockaddr_storage *address = &fetch->addresses->list[fetch->at++];

		wire_destroy(fetch->wire);
		fetch->wire = NULL;
		fetch->asked = false;
		set_port(fetch, address);
		if (wire_create(fetch->options.loop, address, on_wire, fetch, &fetch->wire) == 0)
			return;
	}
	fail(fetch);
}

static void on_addresses(void *arg, const struct ps_addresses *addresses)
{
	struct sts_fetch *fetch = arg;

	fetch->lookup = NULL;
	if (addresses->status != DNS_OK) {
		ps_fail(PS_E_NOTFOUND, "%s: %s", fetch->host, dns_status_text(addresses->status));
		fail(fetch);
		return;
	}
	fetch->addresses = ps_malloc(sizeof *addresses);
	*fetch->addresses = *addresses;
	try_next(fetch);
}

static void ask(struct sts_fetch *fetch)
{
	const char *names[] = {fetch->host};

	if (tls_verify(wire_tls(fetch->wire), names, 1) < 0) {
		fail(fetch);
		return;
	}
	fetch->asked = true;
	ps_buf_printf(
		wire_out(fetch->wire),
		"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: %s\r\nUser-Agent: Postern\r\nAccept: text/plain\r\n"
		"Connection: close\r\n\r\n",
		fetch->host);
	wire_flush(fetch->wire, false);
}

static bool is_text(struct ps_bytes type)
{
	ptrdiff_t end = ps_bytes_find(type, ';');

	if (end >= 0)
		type.len = (size_t)end;
	while (type.len > 0 && type.ptr[type.len - 1] == ' ')
		type.len--;
	return ps_bytes_caseeq_str(type, "text/plain");
}

static void read_answer(struct sts_fetch *fetch, bool ended)
{
	struct http_answer answer;
	int r = http_read(&fetch->answer, ended, &answer);

	if (r == 0 && !ended)
		return;
	if (r == 0)
		r = ps_fail(PS_E_SYNTAX, "%s: the answer ends too early", fetch->host);
	else if (r > 0 && answer.status != 200)
		r = ps_fail(PS_E_NOTFOUND, "%s: HTTP status %u", fetch->host, answer.status);
	else if (r > 0 && !is_text(answer.type))
		r = ps_fail(PS_E_SYNTAX, "%s: not text/plain", fetch->host);
	else if (r > 0 && answer.body.len > STS_TEXT_MAX)
		r = ps_fail(PS_E_LIMIT, "%s: too long", fetch->host);
	end(fetch, r > 0 ? answer.body : ps_bytes(NULL, 0));
}

static void on_wire(void *arg, enum wire_event event, struct ps_bytes data)
{
	struct sts_fetch *fetch = arg;

	if (event == WIRE_CONNECTED) {
		if (wire_secure(fetch->wire, fetch->options.trust, fetch->host) < 0)
			fail(fetch);
	} else if (event == WIRE_SECURED) {
		ask(fetch);
	} else if (event == WIRE_INPUT) {
		if (ps_buf_bytes(&fetch->answer, data) < 0) {
			ps_fail(PS_E_LIMIT, "%s: too long", fetch->host);
			fail(fetch);
		} else {
			read_answer(fetch, false);
		}
	} else if (event == WIRE_BROKEN && fetch->asked) {
		read_answer(fetch, true);
	} else if (event == WIRE_BROKEN) {
		try_next(fetch);
	}
}

static void on_timeout(void *arg)
{
	struct sts_fetch *fetch = arg;

	ps_fail(PS_E_CLOSED, "%s: took too long", fetch->host);
	fail(fetch);
}

struct sts_fetch *sts_fetch_begin(const struct sts_options *options, const char *domain, sts_fetch_fn fn, void *arg)
{
	struct sts_fetch *fetch = ps_zalloc(sizeof *fetch);

	fetch->options = *options;
	fetch->answer.limit = HEAD_MAX + STS_TEXT_MAX;
	fetch->fn = fn;
	fetch->arg = arg;
	snprintf(fetch->host, sizeof fetch->host, "mta-sts.%s", domain);
	if (ps_timer_open(options->loop, on_timeout, fetch, &fetch->timer) < 0)
		abort(); /* memory: as ps_malloc() */
	ps_timer_set(fetch->timer, options->timeout_ms ? options->timeout_ms : TIMEOUT_MS, 0);
	fetch->lookup = ps_resolver_address(options->resolver, fetch->host, on_addresses, fetch);
	return fetch;
}
