/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/route/private.h - what the files of this folder share.
 */
#ifndef CORE_DELIVERY_ROUTE_PRIVATE_H
#define CORE_DELIVERY_ROUTE_PRIVATE_H

#include "core/delivery/route/aliases.h"
#include "core/delivery/route/route.h"

/* All domains here are in their one spelling. */
struct route_domain {
	const char *name;
	const char *catch_all, *postmaster; /* NULL: none */
};

struct route_transport {
	const char *pattern; /* "example.org", ".example.org", "*" */
	const char *host;    /* NULL: by MX */
	uint16_t port;
	enum ps_hop_tls tls;
};

struct ps_route {
	struct ps_pool *pool;
	const char *hostname, *default_domain, *postmaster; /* the last two may be NULL */
	const char *separators;                             /* of user+folder: any of these; "": none */
	struct route_domain *domains;
	size_t domain_count;
	struct route_transport *transports;
	size_t transport_count;
	struct route_transport smarthost; /* host NULL: there is none */
	const char *smarthost_user;
	struct ps_buf password;
	struct ps_aliases *aliases;
};

/* `domain` in its one spelling; NULL: not of this server. */
const struct route_domain *route_domain_find(const struct ps_route *route, const char *domain);
void route_domains_read(struct ps_route *route, const struct ps_conf *root);
void route_hops_read(struct ps_route *route, const struct ps_conf *root);

#endif
