/* SPDX-License-Identifier: MIT */
/*
 * What is expected of TLS with a host. The configuration says what is wanted of a hop; where it leaves that to the domain (opportunistic), the
 * domain's TLSA records (DANE, RFC 7672) say more, else its MTA-STS policy (RFC 8461).
 *
 * DANE fails closed: where DNSSEC vouches for the way to a host, and its TLSA records cannot be had, the host is passed over. It is only believed
 * of a resolver that the configuration calls validating.
 */
#include <stdio.h>
#include "core/delivery/client/client_private.h"
#include "core/net/dane.h"
#include "core/net/tls.h"
#include "postern/error.h"
#include "postern/log.h"

static const enum smtp_need needs[] = {
	[PS_HOP_TLS_NONE] = NEED_NOTHING, [PS_HOP_TLS_OPPORTUNISTIC] = NEED_NOTHING,
	[PS_HOP_TLS_REQUIRED] = NEED_TLS, [PS_HOP_TLS_VERIFY] = NEED_VERIFIED,
	[PS_HOP_TLS_DANE] = NEED_DANE,
};

void policy_count(const struct smtp_transfer *transfer, const char *failure)
{
	const char *policy = transfer->need == NEED_DANE || transfer->tlsa_failed ? "tlsa"
			     : transfer->sts                                      ? "sts"
										  : "no-policy-found";

	if (transfer->by_mx && transfer->hop.tls != PS_HOP_TLS_NONE)
		tlsrpt_count(transfer->sender->report, transfer->hop.domain, policy, failure);
}

static void pass_over(struct smtp_transfer *transfer, const char *enhanced, const char *text)
{
	const struct trouble trouble = {*enhanced == '5' ? PS_SEND_FAILED : PS_SEND_DEFERRED, 0, enhanced, text,
					transfer->hosts[transfer->host_at].host};

	hosts_pass_over(transfer, &trouble);
}

static bool enforces(const struct smtp_transfer *transfer)
{
	return transfer->sts && transfer->sts->mode == STS_ENFORCE;
}

/* RFC 8461 section 2: what DANE asks for is not lessened by MTA-STS, so the latter counts where there is none of the former. */
static void no_records(struct smtp_transfer *transfer)
{
	const char *host = transfer->hosts[transfer->host_at].host;

	if (transfer->hop.tls == PS_HOP_TLS_DANE) {
		pass_over(transfer, "4.7.5", "the host has no TLSA records that can be used, and they are required");
	} else if (enforces(transfer) && !sts_policy_has(transfer->sts, host)) {
		policy_count(transfer, "validation-failure");
		pass_over(transfer, "4.7.5", "the host is not one that the domain's MTA-STS policy allows");
	} else {
		if (enforces(transfer) && transfer->need < NEED_VERIFIED)
			transfer->need = NEED_VERIFIED;
		hosts_connect(transfer);
	}
}

static void keep_records(struct smtp_transfer *transfer, const struct dns_answer *answer)
{
	struct ps_pool *pool = transfer->pool;

	transfer->tlsa = PS_NEWV(pool, struct dns_record, answer->count);
	for (size_t i = 0; i < answer->count; i++) {
		struct dns_record *record = &transfer->tlsa[transfer->tlsa_count];

		if (!dane_is_usable(&answer->records[i]))
			continue;
		*record = answer->records[i];
		record->tlsa.data.ptr = ps_pool_memdup(pool, record->tlsa.data.ptr, record->tlsa.data.len);
		transfer->tlsa_count++;
	}
}

static void ask_for_records(struct smtp_transfer *transfer);

static void on_records(void *arg, const struct dns_answer *answer)
{
	struct smtp_transfer *transfer = arg;

	transfer->lookup = NULL;
	explain_tlsa(transfer, answer->name, answer);
	if (dns_is_temporary(answer->status)) {
		transfer->tlsa_failed = true;
		policy_count(transfer, answer->status == DNS_BOGUS ? "dnssec-invalid" : "tlsa-invalid");
		pass_over(transfer, "4.7.5",
			  ps_pool_printf(transfer->pool, "TLSA records: %s", dns_status_text(answer->status)));
		return;
	}
	if (answer->status != DNS_OK || !answer->secure) {
		transfer->tlsa_base++;
		ask_for_records(transfer);
		return;
	}
	keep_records(transfer, answer);
	if (transfer->tlsa_count > 0) {
		transfer->need = NEED_DANE;
	} else if (transfer->hop.tls == PS_HOP_TLS_DANE) {
		no_records(transfer);
		return;
	} else if (transfer->need < NEED_TLS) {
		transfer->need = NEED_TLS; /* RFC 7672 section 2.2: encrypted, if not verified */
	}
	hosts_connect(transfer);
}

/* RFC 7672 section 2.2.3: first below the name that the aliases lead to, then below the one that they begin with. */
static void ask_for_records(struct smtp_transfer *transfer)
{
	const char *host = transfer->hosts[transfer->host_at].host;
	const char *bases[] = {transfer->host_name, host};
	char name[DNS_NAME_SIZE + 16];

	if (transfer->tlsa_base == 0 && ps_strcasecmp(bases[0], bases[1]) == 0)
		transfer->tlsa_base++;
	if (transfer->tlsa_base >= PS_ARRAY_LEN(bases)) {
		no_records(transfer);
		return;
	}
	snprintf(name, sizeof name, "_%u._tcp.%s", hosts_port(transfer), bases[transfer->tlsa_base]);
	transfer->lookup = ps_resolver_query(transfer->sender->options.resolver, name, DNS_TLSA, on_records, transfer);
}

void policy_for_host(struct smtp_transfer *transfer)
{
	enum ps_hop_tls wish = transfer->hop.tls;

	transfer->need = needs[wish];
	transfer->tlsa_count = transfer->tlsa_base = 0;
	transfer->tlsa_failed = false;
	if ((transfer->options & PS_MAIL_REQUIRETLS) && transfer->need < NEED_VERIFIED)
		transfer->need = NEED_VERIFIED;
	/* RFC 8689 section 4.2.1: somebody must vouch for the list of hosts, too. */
	if ((transfer->options & PS_MAIL_REQUIRETLS) && !transfer->mx_secure && !enforces(transfer)) {
		pass_over(transfer, "5.7.30",
			  "the message requires TLS all the way, and nothing vouches for the domain's hosts");
		return;
	}
	if (wish != PS_HOP_TLS_OPPORTUNISTIC && wish != PS_HOP_TLS_DANE)
		hosts_connect(transfer);
	else if (transfer->mx_secure && transfer->host_secure)
		ask_for_records(transfer);
	else
		no_records(transfer);
}

static void on_policy(void *arg, const struct sts_policy *policy, const struct sts_problem *problem)
{
	struct smtp_transfer *transfer = arg;

	transfer->wait = NULL;
	explain_sts(transfer, policy, problem ? problem->text : NULL);
	if (problem)
		policy_count(transfer, problem->kind);
	if (policy)
		transfer->sts = ps_pool_memdup(transfer->pool, policy, sizeof *policy);
	hosts_next(transfer);
}

void policy_for_domain(struct smtp_transfer *transfer)
{
	struct sts *sts = transfer->sender->sts;

	if (sts && transfer->hop.tls == PS_HOP_TLS_OPPORTUNISTIC) {
		/* It may have answered already, and the transfer be gone. */
		struct sts_wait *wait = sts_ask(sts, transfer->hop.domain, on_policy, transfer);

		if (wait)
			transfer->wait = wait;
		return;
	}
	hosts_next(transfer);
}

static int verify(struct smtp_session *session)
{
	const struct smtp_transfer *transfer = session->transfer;
	const char *names[] = {session->host, transfer->host_name ? transfer->host_name : session->host,
			       transfer->hop.domain};
	struct tls *tls = wire_tls(session->wire);
	struct ps_bytes chain[16];
	size_t length;

	if (session->need == NEED_VERIFIED)
		return tls_verify(tls, names, 1);
	if (session->need != NEED_DANE)
		return 0;
	length = tls_peer_chain(tls, chain, PS_ARRAY_LEN(chain));
	return dane_verify(chain, length, transfer->tlsa, transfer->tlsa_count, names, PS_ARRAY_LEN(names));
}

int policy_verify(struct smtp_session *session)
{
	const struct smtp_transfer *transfer = session->transfer;
	const char *names[] = {session->host};
	bool testing = transfer->sts && transfer->sts->mode == STS_TESTING && session->need < NEED_VERIFIED;
	const char *failure = NULL;
	int r = verify(session);

	if (r < 0)
		failure =
			session->need == NEED_DANE ? "validation-failure" : tls_verify_failure(wire_tls(session->wire));
	else if (testing && !sts_policy_has(transfer->sts, session->host))
		failure = "validation-failure"; /* counted, and no more: RFC 8461 section 5 */
	else if (testing && tls_verify(wire_tls(session->wire), names, 1) < 0)
		failure = tls_verify_failure(wire_tls(session->wire));
	policy_count(transfer, failure);
	return r;
}
