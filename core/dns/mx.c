/* SPDX-License-Identifier: MIT */
/* Where mail for a domain goes: RFC 5321 section 5.1, RFC 7505. */
#include <stdlib.h>
#include <sys/random.h>
#include "core/dns/lookup.h"
#include "postern/pool.h"

struct candidate {
	struct ps_mx mx;
	uint64_t lot; /* decides among those of the same preference */
};

static int by_preference(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->mx.preference != y->mx.preference)
		return x->mx.preference < y->mx.preference ? -1 : 1;
	return x->lot < y->lot ? -1 : x->lot > y->lot;
}

static uint64_t draw(void)
{
	uint64_t lot;

	if (getrandom(&lot, sizeof lot, 0) != sizeof lot)
		abort();
	return lot;
}

static bool is_listed(const struct ps_mx_list *list, const char *host)
{
	for (size_t i = 0; i < list->count; i++)
		if (ps_strcasecmp(list->hosts[i].host, host) == 0)
			return true;
	return false;
}

/* Exchanges that are no names of hosts are passed over; so is the root beside others (RFC 7505 section 3). */
static void list_hosts(struct ps_pool *pool, const struct dns_answer *answer, struct ps_mx_list *list)
{
	struct candidate *candidates = PS_NEWV(pool, struct candidate, answer->count);
	size_t count = 0;

	for (size_t i = 0; i < answer->count; i++)
		if (dns_is_hostname(answer->records[i].mx.exchange))
			candidates[count++] = (struct candidate){
				.mx = {answer->records[i].mx.exchange, answer->records[i].mx.preference},
				.lot = draw()};
	qsort(candidates, count, sizeof *candidates, by_preference);
	for (size_t i = 0; i < count && list->count < PS_MX_MAX; i++)
		if (!is_listed(list, candidates[i].mx.host))
			list->hosts[list->count++] = candidates[i].mx;
	if (list->count == 0)
		list->status = DNS_BADNAME;
}

static void finish_mx(struct ps_lookup *lookup)
{
	const struct dns_question *question = &lookup->questions[0];
	const struct dns_answer *answer = &question->answer;
	struct ps_mx_list *list = PS_NEW(lookup->pool, struct ps_mx_list);

	list->status = answer->status;
	list->secure = answer->secure;
	list->ttl = answer->ttl;
	if (answer->status == DNS_NODATA) {
		list->status = DNS_OK;
		list->implicit = true;
		list->hosts[list->count++] = (struct ps_mx){.host = answer->name};
	} else if (answer->count == 1 && *answer->records[0].mx.exchange == '\0') {
		list->null_mx = true;
	} else if (answer->status == DNS_OK) {
		list_hosts(lookup->pool, answer, list);
	}
	lookup->done.mx(lookup->arg, list);
}

struct ps_lookup *ps_resolver_mx(struct ps_resolver *resolver, const char *domain, ps_mx_fn done, void *arg)
{
	static const uint16_t types[] = {DNS_MX, 0};
	struct ps_lookup *lookup = ps_lookup_begin(resolver, domain, types);

	lookup->finish = finish_mx;
	lookup->done.mx = done;
	lookup->arg = arg;
	return lookup;
}
