/* SPDX-License-Identifier: MIT */
/*
 * What would become of a message, without sending one: a transfer that goes its way through DNS and policies, and instead of connecting notes
 * where it would have. So what is told cannot differ from what is done.
 */
#include <jansson.h>
#include "core/delivery/client/client_private.h"

static const char *const need_texts[] = {
	[NEED_NOTHING] = "opportunistic",
	[NEED_TLS] = "required",
	[NEED_VERIFIED] = "verified",
	[NEED_DANE] = "dane",
};

static const char *const sts_modes[] = {[STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce"};

static json_t *host_entry(struct smtp_transfer *transfer)
{
	json_t *hosts = json_object_get(transfer->story, "hosts");
	size_t count = json_array_size(hosts);
	const struct ps_mx *mx;

	if (transfer->host_at >= transfer->host_count)
		return NULL;
	mx = &transfer->hosts[transfer->host_at];
	if (count <= transfer->host_at)
		json_array_append_new(hosts,
				      json_pack("{s:s, s:i}", "host", mx->host, "preference", (int)mx->preference));
	return json_array_get(hosts, json_array_size(hosts) - 1);
}

void explain_mx(struct smtp_transfer *transfer, const struct ps_mx_list *list)
{
	if (!transfer->story)
		return;
	json_object_set_new(transfer->story, "mx",
			    json_pack("{s:s, s:b, s:b, s:b, s:i}", "status", dns_status_text(list->status), "secure",
				      (int)list->secure, "null", (int)list->null_mx, "implicit", (int)list->implicit,
				      "count", (int)list->count));
}

void explain_sts(struct smtp_transfer *transfer, const struct sts_policy *policy, const char *why)
{
	json_t *hosts;

	if (!transfer->story)
		return;
	if (why)
		json_object_set_new(transfer->story, "mta_sts_problem", json_string(why));
	if (!policy)
		return;
	hosts = json_array();
	for (size_t i = 0; i < policy->mx_count; i++)
		json_array_append_new(hosts, json_string(policy->mx[i]));
	json_object_set_new(transfer->story, "mta_sts",
			    json_pack("{s:s, s:I, s:o}", "mode", sts_modes[policy->mode], "max_age",
				      (json_int_t)policy->max_age, "mx", hosts));
}

static json_t *address_text(const struct sockaddr_storage *address)
{
	const void *octets = address->ss_family == AF_INET6
				     ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
				     : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(address->ss_family, octets, text, sizeof text);
	return json_string(text);
}

void explain_addresses(struct smtp_transfer *transfer, const struct sockaddr_storage *list, size_t count, bool secure)
{
	json_t *entry = transfer->story ? host_entry(transfer) : NULL, *addresses;

	if (!entry)
		return;
	addresses = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(addresses, address_text(&list[i]));
	json_object_set_new(entry, "addresses", addresses);
	json_object_set_new(entry, "addresses_secure", json_boolean(secure));
}

void explain_tlsa(struct smtp_transfer *transfer, const char *name, const struct dns_answer *answer)
{
	json_t *entry = transfer->story ? host_entry(transfer) : NULL, *records;

	if (!entry)
		return;
	records = json_array();
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *record = &answer->records[i];
		struct ps_buf line = {0};

		ps_buf_printf(&line, "%u %u %u ", record->tlsa.usage, record->tlsa.selector, record->tlsa.matching);
		ps_hex_encode(&line, record->tlsa.data);
		json_array_append_new(records, json_string(ps_buf_cstr(&line)));
		ps_buf_finish(&line);
	}
	json_object_set_new(entry, "tlsa",
			    json_pack("{s:s, s:s, s:b, s:o}", "name", name, "status", dns_status_text(answer->status),
				      "secure", (int)answer->secure, "records", records));
}

void explain_trouble(struct smtp_transfer *transfer, const struct trouble *trouble)
{
	json_t *entry = transfer->story ? host_entry(transfer) : NULL;

	if (!entry)
		return;
	json_object_set_new(entry, "problem", json_string(trouble->text));
	json_object_set_new(entry, "enhanced", json_string(trouble->enhanced));
}

bool explain_connect(struct smtp_transfer *transfer)
{
	json_t *entry;
	bool never = transfer->hop.tls == PS_HOP_TLS_NONE && transfer->need == NEED_NOTHING;

	if (!transfer->story)
		return false;
	entry = host_entry(transfer);
	json_object_set_new(entry, "tls", json_string(never ? "none" : need_texts[transfer->need]));
	json_object_set_new(entry, "port", json_integer(hosts_port(transfer)));
	json_object_set_new(transfer->story, "tried", json_true());
	/* The other addresses are those of the entry; what comes next is the next host. */
	transfer->address_at = transfer->address_count;
	return true;
}

static const char *outcome_text(const struct ps_send_result *result)
{
	return result->outcome == PS_SEND_FAILED ? "failed" : "deferred";
}

void explain_end(struct smtp_transfer *transfer)
{
	const struct ps_send_result *result = &transfer->results[0];

	if (!transfer->story)
		return;
	if (json_object_get(transfer->story, "tried"))
		json_object_set_new(transfer->story, "outcome", json_string("sent"));
	else
		json_object_update_new(transfer->story, json_pack("{s:s, s:s, s:s}", "outcome", outcome_text(result),
								  "enhanced", result->enhanced, "text", result->text));
	json_object_del(transfer->story, "tried");
}
