/* SPDX-License-Identifier: MIT */
/*
 * core/dns/resolver.h - asks the DNS, on an event loop.
 *
 * Each look-up calls its function once, on the loop, after the function that began it has returned. What it hands over is valid until
 * that function returns; so is the look-up, which may be cancelled until then.
 *
 * Nothing is kept between look-ups: what a recursive resolver next door remembers need not be remembered here.
 */
#ifndef CORE_DNS_RESOLVER_H
#define CORE_DNS_RESOLVER_H

#include <sys/socket.h>
#include "core/dns/dns.h"

struct ps_loop;
struct ps_lookup;
struct ps_resolver;

struct ps_resolver_options {
	const char *servers; /* "127.0.0.1:53,[::1]:53"; NULL: those of /etc/resolv.conf, as it is now */
	unsigned timeout_ms; /* for the first try, more for further ones; 0: 3 s */
	unsigned tries;      /* of each server; 0: 3 */
	bool validating;     /* the servers validate, and the way to them is safe: their AD bit counts */
};

int ps_resolver_create(struct ps_loop *loop, const struct ps_resolver_options *options,
		       struct ps_resolver **ret_resolver);
/* Look-ups under way are cancelled. Not from a look-up's function. destroy(NULL) does nothing. */
void ps_resolver_destroy(struct ps_resolver *resolver);
void ps_lookup_cancel(struct ps_lookup *lookup); /* cancel(NULL) does nothing */

/* Names are in UTF-8. Where the status is not DNS_OK, ps_last_error() says no more than that. `name` of an answer is where the
 * CNAMEs led. */
typedef void (*ps_answer_fn)(void *arg, const struct dns_answer *answer);
struct ps_lookup *ps_resolver_query(struct ps_resolver *resolver, const char *name, enum dns_type type,
				    ps_answer_fn done, void *arg);

enum {
	PS_MX_MAX = 20,       /* hosts of a domain that are tried */
	PS_ADDRESSES_MAX = 20 /* addresses of a host */
};

/* Where mail for a domain goes, RFC 5321 section 5.1: hosts by preference, those of the same preference in an order by chance. */
struct ps_mx_list {
	enum dns_status status; /* DNS_OK with null_mx, too */
	bool secure;            /* as of an answer; also of the answer that there is no MX */
	bool null_mx;           /* RFC 7505: it takes no mail. No hosts. */
	bool implicit;          /* it has no MX: the one host is the domain itself, if that has an address */
	uint32_t ttl;
	size_t count;
	struct ps_mx {
		const char *host;
		uint16_t preference;
	} hosts[PS_MX_MAX];
};
typedef void (*ps_mx_fn)(void *arg, const struct ps_mx_list *list);
struct ps_lookup *ps_resolver_mx(struct ps_resolver *resolver, const char *domain, ps_mx_fn done, void *arg);

/* The addresses of a host, IPv6 and IPv4 by turns. DNS_OK when it has any, even where one of both questions failed. */
struct ps_addresses {
	enum dns_status status;
	bool secure;      /* of all answers that gave some, or of those that there are none */
	const char *name; /* where the CNAMEs led: the TLSA base domain when `secure`, RFC 7672 section 2.2.2 */
	size_t count;
	struct sockaddr_storage list[PS_ADDRESSES_MAX]; /* port 0 */
};
typedef void (*ps_addresses_fn)(void *arg, const struct ps_addresses *addresses);
struct ps_lookup *ps_resolver_address(struct ps_resolver *resolver, const char *host, ps_addresses_fn done, void *arg);

#endif
