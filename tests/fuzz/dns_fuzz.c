/* SPDX-License-Identifier: MIT */
/* An answer of the DNS to a question for "example.org". The first octet says for which type. */
#include <stdlib.h>
#include "core/dns/dns.h"
#include "postern/pool.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void look_at(const struct dns_record *record, uint16_t type, size_t size)
{
	if (type == DNS_MX)
		must(strlen(record->mx.exchange) < DNS_NAME_SIZE);
	if (type == DNS_TLSA)
		must(record->tlsa.data.len > 0 && record->tlsa.data.len < size);
	if (type == DNS_TXT)
		must(record->txt.len < size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t types[] = {DNS_A, DNS_AAAA, DNS_MX, DNS_TLSA, DNS_TXT, DNS_CNAME};
	struct ps_pool *pool = ps_pool_create("fuzz");
	struct dns_answer answer;
	uint16_t type;

	if (size > 0) {
		type = types[data[0] % PS_ARRAY_LEN(types)];
		if (dns_answer_read(pool, ps_bytes(data + 1, size - 1), "example.org", type, &answer) == 0) {
			must((answer.status == DNS_OK) == (answer.count > 0));
			must(answer.count <= DNS_RECORDS_MAX && answer.aliases <= DNS_ALIASES_MAX &&
			     answer.ttl <= 86400);
			must(strlen(answer.name) < DNS_NAME_SIZE);
			for (size_t i = 0; i < answer.count; i++)
				look_at(&answer.records[i], type, size);
		}
	}
	ps_pool_destroy(pool);
	return 0;
}
