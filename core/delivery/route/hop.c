/* SPDX-License-Identifier: MIT */
/* Which host is next for a domain. */
#include <stdio.h>
#include "core/delivery/route/private.h"
#include "postern/error.h"

static const char *const tls_words[] = {
	[PS_HOP_TLS_NONE] = "none",         [PS_HOP_TLS_OPPORTUNISTIC] = "opportunistic",
	[PS_HOP_TLS_REQUIRED] = "required", [PS_HOP_TLS_VERIFY] = "verify",
	[PS_HOP_TLS_DANE] = "dane",
};

static enum ps_hop_tls read_tls(const struct ps_conf *section)
{
	const char *word = ps_conf_str(section, "tls");

	for (size_t i = 0; i < PS_ARRAY_LEN(tls_words); i++)
		if (strcmp(tls_words[i], word) == 0)
			return (enum ps_hop_tls)i;
	return PS_HOP_TLS_VERIFY;
}

static struct route_transport read_transport(struct ps_pool *pool, const struct ps_conf *section, const char *pattern)
{
	struct ps_buf name = {.limit = PS_DOMAIN_MAX + 2};
	bool below = pattern[0] == '.';
	struct route_transport transport = {
		.pattern = pattern,
		.host = ps_conf_str(section, "host"),
		.port = (uint16_t)ps_conf_int(section, "port"),
		.tls = read_tls(section),
	};

	if (below)
		ps_buf_char(&name, '.');
	if (ps_domain_normalise(ps_bytes_str(pattern + below), &name) == 0)
		transport.pattern = ps_pool_strdup(pool, ps_buf_cstr(&name));
	ps_buf_finish(&name);
	return transport;
}

void route_hops_read(struct ps_route *route, const struct ps_conf *root)
{
	const struct ps_conf *smarthost = ps_conf_section(root, "smarthost", 0);

	route->transport_count = ps_conf_section_count(root, "transport");
	route->transports = PS_NEWV(route->pool, struct route_transport, route->transport_count);
	for (size_t i = 0; i < route->transport_count; i++) {
		const struct ps_conf *section = ps_conf_section(root, "transport", i);

		route->transports[i] = read_transport(route->pool, section, ps_conf_title(section));
	}
	route->smarthost = read_transport(route->pool, smarthost, "*");
	route->smarthost_user = ps_conf_str(smarthost, "user");
}

static const struct route_transport *find_pattern(const struct ps_route *route, const char *pattern)
{
	for (size_t i = 0; i < route->transport_count; i++)
		if (strcmp(route->transports[i].pattern, pattern) == 0)
			return &route->transports[i];
	return NULL;
}

/* The domain itself, then what it is below, the nearest first, then everything. */
static const struct route_transport *find_transport(const struct ps_route *route, const char *domain)
{
	const struct route_transport *transport = find_pattern(route, domain);

	for (const char *dot = strchr(domain, '.'); !transport && dot; dot = strchr(dot + 1, '.'))
		transport = find_pattern(route, dot);
	return transport ? transport : find_pattern(route, "*");
}

static void fill(struct ps_hop *hop, const struct route_transport *transport)
{
	hop->host = transport->host;
	hop->port = transport->port;
	hop->tls = transport->tls;
}

/* What is particular to a hop is in it: a connection must not serve one that asks for more. */
static void put_key(struct ps_hop *hop)
{
	bool plain = hop->tls == PS_HOP_TLS_OPPORTUNISTIC || hop->smarthost;

	if (hop->host)
		snprintf(hop->key, sizeof hop->key, "%s:%s:%u%s%s", hop->smarthost ? "smarthost" : "host", hop->host,
			 (unsigned)hop->port, plain ? "" : "/", plain ? "" : tls_words[hop->tls]);
	else
		snprintf(hop->key, sizeof hop->key, "mx:%s", hop->domain);
}

int ps_route_hop(const struct ps_route *route, struct ps_pool *pool, const char *domain, struct ps_hop *ret_hop)
{
	struct ps_buf name = {.limit = PS_DOMAIN_MAX + 1};
	struct ps_hop hop = {.port = 25, .tls = PS_HOP_TLS_OPPORTUNISTIC};
	const struct route_transport *transport;
	int r = ps_domain_normalise(ps_bytes_str(domain), &name);

	if (r == 0) {
		hop.domain = ps_pool_strdup(pool, ps_buf_cstr(&name));
		transport = find_transport(route, hop.domain);
		hop.smarthost = !transport && route->smarthost.host;
		if (hop.smarthost)
			transport = &route->smarthost;
		if (transport)
			fill(&hop, transport);
		if (hop.smarthost && route->smarthost_user) {
			hop.user = route->smarthost_user;
			hop.password = route->password.len ? (const char *)route->password.ptr : NULL;
		}
		put_key(&hop);
		*ret_hop = hop;
	}
	ps_buf_finish(&name);
	return r;
}
