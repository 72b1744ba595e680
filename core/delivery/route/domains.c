/* SPDX-License-Identifier: MIT */
/* The domains whose mail is kept here: default_domain, and those that have a section. */
#include <stdlib.h>
#include "core/delivery/route/private.h"

/* NULL for what is no domain; the check of the configuration has told. */
static const char *one_spelling(struct ps_pool *pool, const char *domain)
{
	struct ps_buf out = {.limit = PS_DOMAIN_MAX + 1};
	const char *name = NULL;

	if (domain && ps_domain_normalise(ps_bytes_str(domain), &out) == 0 && out.ptr[0] != '[')
		name = ps_pool_strdup(pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return name;
}

const struct route_domain *route_domain_find(const struct ps_route *route, const char *domain)
{
	size_t low = 0, high = route->domain_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(domain, route->domains[middle].name);

		if (order == 0)
			return &route->domains[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct route_domain *)a)->name, ((const struct route_domain *)b)->name);
}

void route_domains_read(struct ps_route *route, const struct ps_conf *root)
{
	size_t count = ps_conf_section_count(root, "domain");

	route->hostname = one_spelling(route->pool, ps_conf_str(root, "hostname"));
	route->default_domain = one_spelling(route->pool, ps_conf_str(root, "default_domain"));
	route->postmaster = ps_conf_str(root, "postmaster");
	route->separators = ps_conf_str(root, "subaddress_separator");
	route->domains = PS_NEWV(route->pool, struct route_domain, count + 1);
	for (size_t i = 0; i < count; i++) {
		const struct ps_conf *section = ps_conf_section(root, "domain", i);
		struct route_domain domain = {
			.name = one_spelling(route->pool, ps_conf_title(section)),
			.catch_all = ps_conf_str(section, "catch_all"),
			.postmaster = ps_conf_str(section, "postmaster"),
		};

		if (domain.name)
			route->domains[route->domain_count++] = domain;
	}
	qsort(route->domains, route->domain_count, sizeof *route->domains, by_name);
	if (route->default_domain && !route_domain_find(route, route->default_domain)) {
		route->domains[route->domain_count++] = (struct route_domain){.name = route->default_domain};
		qsort(route->domains, route->domain_count, sizeof *route->domains, by_name);
	}
}

bool ps_route_is_local(const struct ps_route *route, const char *domain)
{
	struct ps_buf out = {.limit = PS_DOMAIN_MAX + 1};
	bool local =
		ps_domain_normalise(ps_bytes_str(domain), &out) == 0 && route_domain_find(route, ps_buf_cstr(&out));

	ps_buf_finish(&out);
	return local;
}
