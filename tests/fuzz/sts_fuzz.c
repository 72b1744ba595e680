/* SPDX-License-Identifier: MIT */
/* What a domain publishes for MTA-STS: its policy, its TXT record. The first octet says which. */
#include <stdlib.h>
#include "core/delivery/client/sts.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void read_policy(struct ps_bytes text)
{
	static struct sts_policy policy;

	if (sts_policy_read(text, &policy) < 0)
		return;
	must(policy.mx_count <= STS_MX_MAX && (policy.mode == STS_NONE || policy.mx_count > 0));
	must(!sts_policy_has(&policy, "") && !sts_policy_has(&policy, "."));
	for (size_t i = 0; i < policy.mx_count; i++)
		must(policy.mx[i][0] == '*' || sts_policy_has(&policy, policy.mx[i]));
}

static void read_record(struct ps_bytes text)
{
	char id[STS_ID_SIZE];

	if (sts_record_read(text, id) == 0)
		must(id[0] && strlen(id) < STS_ID_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct ps_bytes) = {read_policy, read_record};

	if (size > 0)
		readers[data[0] % 2](ps_bytes(data + 1, size - 1));
	return 0;
}
