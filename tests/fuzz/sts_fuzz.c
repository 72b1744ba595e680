/* SPDX-License-Identifier: MIT */
/* What a domain publishes for MTA-STS: the answer of its web server, its policy, its TXT record. The first octet says which. */
#include <stdlib.h>
#include "core/delivery/client/http.h"
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

static void read_http(struct ps_bytes text)
{
	struct http_answer answer;
	struct ps_buf octets = {0};

	ps_buf_bytes(&octets, text);
	if (http_read(&octets, false, &answer) == 1 || http_read(&octets, true, &answer) == 1) {
		must(answer.body.len <= text.len && answer.status <= 999);
		read_policy(answer.body);
	}
	ps_buf_finish(&octets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct ps_bytes) = {read_policy, read_record, read_http};

	if (size > 0)
		readers[data[0] % 3](ps_bytes(data + 1, size - 1));
	return 0;
}
