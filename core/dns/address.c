/* SPDX-License-Identifier: MIT */
#include "core/dns/lookup.h"
#include "postern/pool.h"

/* The order within a family is that of the server, which may rotate it. */
static void add(struct ps_addresses *addresses, const struct dns_answer *answer, size_t nth, bool six)
{
	struct sockaddr_storage *to = &addresses->list[addresses->count];

	if (nth >= answer->count || addresses->count == PS_ADDRESSES_MAX)
		return;
	addresses->count++;
	if (six)
		*(struct sockaddr_in6 *)to =
			(struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = answer->records[nth].aaaa};
	else
		*(struct sockaddr_in *)to =
			(struct sockaddr_in){.sin_family = AF_INET, .sin_addr = answer->records[nth].a};
}

/* Of two failures, the one that may be over soon; then the one that says more. */
static enum dns_status worse(enum dns_status a, enum dns_status b)
{
	if (dns_is_temporary(a) || dns_is_temporary(b))
		return a > b ? a : b;
	return a == DNS_NODATA ? b : a;
}

static void finish_addresses(struct ps_lookup *lookup)
{
	const struct dns_answer *six = &lookup->questions[0].answer, *four = &lookup->questions[1].answer;
	struct ps_addresses *addresses = PS_NEW(lookup->pool, struct ps_addresses);

	for (size_t i = 0; i < six->count || i < four->count; i++) {
		add(addresses, six, i, true);
		add(addresses, four, i, false);
	}
	addresses->status = addresses->count > 0 ? DNS_OK : worse(six->status, four->status);
	addresses->secure = (six->secure || six->status != addresses->status) &&
			    (four->secure || four->status != addresses->status);
	addresses->name = six->count > 0 ? six->name : four->name;
	lookup->done.addresses(lookup->arg, addresses);
}

struct ps_lookup *ps_resolver_address(struct ps_resolver *resolver, const char *host, ps_addresses_fn done, void *arg)
{
	static const uint16_t types[] = {DNS_AAAA, DNS_A, 0};
	struct ps_lookup *lookup = ps_lookup_begin(resolver, host, types);

	lookup->finish = finish_addresses;
	lookup->done.addresses = done;
	lookup->arg = arg;
	return lookup;
}
