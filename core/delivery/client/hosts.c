/* SPDX-License-Identifier: MIT */
/*
 * Which hosts a transfer is tried at, and in which order: RFC 5321 section 5.1. What goes wrong on the way is remembered: when no host is
 * left, the last trouble that may pass puts the recipients off; if there was none, the last one for good refuses them.
 */
#include <stdio.h>
#include "core/delivery/client/client_private.h"
#include "postern/error.h"
#include "postern/log.h"

static void next_address(struct smtp_transfer *transfer);

static void give_up(struct smtp_transfer *transfer)
{
	smtp_transfer_settle_open(transfer, transfer->put_off.text ? &transfer->put_off : &transfer->refused);
	smtp_transfer_finish(transfer);
}

static void give_up_for(struct smtp_transfer *transfer, enum ps_send_outcome outcome, const char *enhanced,
			const char *text)
{
	const struct trouble trouble = {outcome, 0, enhanced, text, NULL};

	smtp_transfer_settle_open(transfer, &trouble);
	smtp_transfer_finish(transfer);
}

static void remember(struct smtp_transfer *transfer, const struct trouble *trouble)
{
	struct trouble *to = trouble->outcome == PS_SEND_FAILED ? &transfer->refused : &transfer->put_off;

	*to = (struct trouble){trouble->outcome, trouble->code, ps_pool_strdup(transfer->pool, trouble->enhanced),
			       ps_pool_strdup(transfer->pool, trouble->text),
			       ps_pool_strdup(transfer->pool, trouble->host)};
	explain_trouble(transfer, trouble);
	if (!transfer->story)
		ps_log(PS_LOG_INFO, "smtp_host_failed", "id", transfer->id, "host", trouble->host, "text",
		       trouble->text, NULL);
}

/* ---- addresses of a host ------------------------------------------------------------------------ */

/* Addresses that are this machine, or nobody. */
static bool is_loopback(const struct sockaddr_storage *address)
{
	const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;
	uint32_t four = ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);

	if (address->ss_family == AF_INET6) {
		if (!IN6_IS_ADDR_V4MAPPED(six))
			return IN6_IS_ADDR_LOOPBACK(six) || IN6_IS_ADDR_UNSPECIFIED(six) || IN6_IS_ADDR_MULTICAST(six);
		memcpy(&four, &six->s6_addr[12], sizeof four);
		four = ntohl(four);
	}
	return four >> 24 == 0 || four >> 24 == 127 || four >> 28 == 14 || four == UINT32_MAX;
}

void hosts_ourselves(struct smtp_transfer *transfer, const char *host)
{
	uint16_t preference = transfer->hosts[transfer->host_at].preference;
	struct trouble trouble = {PS_SEND_FAILED, 0, "5.4.6", NULL, host};

	trouble.text = ps_pool_printf(transfer->pool, "mail for %s loops back to this server", transfer->hop.domain);
	remember(transfer, &trouble);
	/* RFC 5321 section 5.1: those that are no nearer than we are would give it back to us. */
	while (transfer->host_at < transfer->host_count && transfer->hosts[transfer->host_at].preference >= preference)
		transfer->host_at++;
	transfer->host_count = transfer->host_at;
	transfer->address_at = transfer->address_count;
}

static void set_addresses(struct smtp_transfer *transfer, const struct sockaddr_storage *list, size_t count)
{
	transfer->addresses = ps_pool_memdup(transfer->pool, list, count * sizeof *list);
	transfer->address_count = count;
	transfer->address_at = 0;
}

static void no_addresses(struct smtp_transfer *transfer, const char *host, enum dns_status status)
{
	struct trouble trouble = {PS_SEND_DEFERRED, 0, "4.4.3", NULL, host};

	/* A host that the settings name may be mistyped: nobody's mail is to go back for that. */
	if (!dns_is_temporary(status) && transfer->hop.host) {
		trouble.enhanced = "4.4.4";
	} else if (!dns_is_temporary(status)) {
		trouble.outcome = PS_SEND_FAILED;
		trouble.enhanced = transfer->implicit ? "5.1.2" : "5.4.4";
	}
	trouble.text = ps_pool_printf(transfer->pool, "address of %s: %s", host, dns_status_text(status));
	remember(transfer, &trouble);
}

static void on_addresses(void *arg, const struct ps_addresses *found)
{
	struct smtp_transfer *transfer = arg;
	const char *host = transfer->hosts[transfer->host_at].host;

	transfer->lookup = NULL;
	if (found->status != DNS_OK) {
		no_addresses(transfer, host, found->status);
		next_address(transfer);
		return;
	}
	set_addresses(transfer, found->list, found->count);
	transfer->host_secure = found->secure;
	transfer->host_name = ps_pool_strdup(transfer->pool, found->name);
	explain_addresses(transfer, found->list, found->count, found->secure);
	policy_for_host(transfer);
}

void hosts_connect(struct smtp_transfer *transfer)
{
	next_address(transfer);
}

void hosts_pass_over(struct smtp_transfer *transfer, const struct trouble *trouble)
{
	remember(transfer, trouble);
	transfer->address_at = transfer->address_count;
	next_address(transfer);
}

/* Transports name hosts by address, too. */
static bool is_literal(const char *host, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *four = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret_address;

	memset(ret_address, 0, sizeof *ret_address);
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1)
		ret_address->ss_family = AF_INET;
	else if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1)
		ret_address->ss_family = AF_INET6;
	return ret_address->ss_family != AF_UNSPEC;
}

static void look_for_addresses(struct smtp_transfer *transfer)
{
	struct sockaddr_storage literal;
	const char *host = transfer->hosts[transfer->host_at].host;

	transfer->address_count = transfer->address_at = 0;
	if (!transfer->by_mx && is_literal(host, &literal)) {
		set_addresses(transfer, &literal, 1);
		transfer->host_secure = false;
		transfer->host_name = host;
		explain_addresses(transfer, &literal, 1, false);
		policy_for_host(transfer);
		return;
	}
	transfer->lookup = ps_resolver_address(transfer->sender->options.resolver, host, on_addresses, transfer);
}

/* The port of a hop is that of the host it names. */
uint16_t hosts_port(const struct smtp_transfer *transfer)
{
	return transfer->by_mx || !transfer->hop.port ? transfer->sender->options.mx_port : transfer->hop.port;
}

static void set_port(struct smtp_transfer *transfer, struct sockaddr_storage *address)
{
	uint16_t port = htons(hosts_port(transfer));

	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = port;
	else
		((struct sockaddr_in *)address)->sin_port = port;
}

static void next_address(struct smtp_transfer *transfer)
{
	struct sockaddr_storage *address;

	if (transfer->address_at >= transfer->address_count) {
		if (transfer->host_at < transfer->host_count)
			transfer->host_at++;
		hosts_next(transfer);
		return;
	}
	if (transfer->tries++ == TRIES_MAX) {
		give_up(transfer);
		return;
	}
	address = &transfer->addresses[transfer->address_at];
	set_port(transfer, address);
	if (transfer->by_mx && !transfer->sender->options.allow_loopback && is_loopback(address)) {
		hosts_ourselves(transfer, transfer->hosts[transfer->host_at].host);
		next_address(transfer);
		return;
	}
	if (explain_connect(transfer))
		next_address(transfer);
	else
		smtp_session_open(transfer, address, transfer->hosts[transfer->host_at].host);
}

void hosts_next(struct smtp_transfer *transfer)
{
	if (transfer->host_at < transfer->host_count)
		look_for_addresses(transfer);
	else
		give_up(transfer);
}

void hosts_failed(struct smtp_transfer *transfer, const struct trouble *trouble)
{
	remember(transfer, trouble);
	if (!transfer->hosts) { /* the connection was of an earlier transfer */
		hosts_begin(transfer);
		return;
	}
	transfer->address_at++;
	transfer->clear_only = false;
	next_address(transfer);
}

void hosts_again_clear(struct smtp_transfer *transfer)
{
	transfer->clear_only = true;
	transfer->tries--;
	next_address(transfer);
}

/* ---- hosts of a domain -------------------------------------------------------------------------- */

/* And those that are no nearer to the goal: RFC 5321 section 5.1. */
static void drop_ourselves(struct smtp_transfer *transfer)
{
	for (size_t i = 0; i < transfer->host_count; i++) {
		if (ps_strcasecmp(transfer->hosts[i].host, transfer->sender->hostname) != 0)
			continue;
		while (i > 0 && transfer->hosts[i - 1].preference == transfer->hosts[i].preference)
			i--;
		transfer->host_count = i;
	}
}

static void mx_failed(struct smtp_transfer *transfer, const struct ps_mx_list *list)
{
	const char *text =
		ps_pool_printf(transfer->pool, "%s: %s", transfer->hop.domain, dns_status_text(list->status));
	char name[DNS_NAME_SIZE];

	if (list->null_mx)
		give_up_for(transfer, PS_SEND_FAILED, "5.1.10",
			    ps_pool_printf(transfer->pool, "%s takes no mail (null MX)", transfer->hop.domain));
	else if (dns_is_temporary(list->status))
		give_up_for(transfer, PS_SEND_DEFERRED, "4.4.3", text);
	else if (list->status == DNS_BADNAME && dns_name_ascii(transfer->hop.domain, name, sizeof name) == 0)
		give_up_for(transfer, PS_SEND_FAILED, "5.4.4", text);
	else
		give_up_for(transfer, PS_SEND_FAILED, "5.1.2", text);
}

static void on_mx(void *arg, const struct ps_mx_list *list)
{
	struct smtp_transfer *transfer = arg;

	transfer->lookup = NULL;
	explain_mx(transfer, list);
	if (list->status != DNS_OK || list->null_mx) {
		mx_failed(transfer, list);
		return;
	}
	transfer->implicit = list->implicit;
	transfer->mx_secure = list->secure;
	transfer->hosts = ps_pool_memdup(transfer->pool, list->hosts, list->count * sizeof *list->hosts);
	transfer->host_count = list->count;
	for (size_t i = 0; i < list->count; i++)
		transfer->hosts[i].host = ps_pool_strdup(transfer->pool, list->hosts[i].host);
	drop_ourselves(transfer);
	if (transfer->host_count == 0)
		give_up_for(
			transfer, PS_SEND_FAILED, "5.4.6",
			ps_pool_printf(transfer->pool, "mail for %s loops back to this server", transfer->hop.domain));
	else
		policy_for_domain(transfer);
}

void hosts_begin(struct smtp_transfer *transfer)
{
	transfer->by_mx = !transfer->hop.host;
	transfer->tries = 0;
	transfer->host_at = 0;
	if (transfer->by_mx) {
		transfer->lookup =
			ps_resolver_mx(transfer->sender->options.resolver, transfer->hop.domain, on_mx, transfer);
		return;
	}
	transfer->hosts = PS_NEW(transfer->pool, struct ps_mx);
	transfer->hosts[0].host = transfer->hop.host;
	transfer->host_count = 1;
	transfer->mx_secure = true; /* the configuration says so */
	hosts_next(transfer);
}
