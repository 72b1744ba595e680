/* SPDX-License-Identifier: MIT */
/*
 * ask [--validating] [--timeout MS] [--servers LIST] TYPE NAME... - asks for all names at once and prints a line for each, as answers come.
 * TYPE: mx address tlsa txt a aaaa; or "cancel": asks for addresses, and takes it back.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/dns/resolver.h"
#include "core/event/loop.h"
#include "postern/error.h"
#include "postern/pool.h"

static struct ps_loop *loop;
static int left;

static const char *const words[] = {
	[DNS_OK] = "ok",       [DNS_NXDOMAIN] = "nxdomain", [DNS_NODATA] = "nodata",   [DNS_BADNAME] = "badname",
	[DNS_BOGUS] = "bogus", [DNS_SERVFAIL] = "servfail", [DNS_TIMEOUT] = "timeout", [DNS_MALFORMED] = "malformed",
};

static void end_line(void)
{
	printf("\n");
	if (--left == 0)
		ps_loop_stop(loop);
}

static void begin_line(const char *name, enum dns_status status, bool secure)
{
	printf("%s %s%s", name, words[status], secure ? " secure" : "");
}

static void on_mx(void *arg, const struct ps_mx_list *list)
{
	begin_line(arg, list->status, list->secure);
	printf("%s%s", list->null_mx ? " null" : "", list->implicit ? " implicit" : "");
	for (size_t i = 0; i < list->count; i++)
		printf(" %u:%s", list->hosts[i].preference, list->hosts[i].host);
	end_line();
}

static void print_address(int family, const void *octets)
{
	char text[INET6_ADDRSTRLEN];

	printf(" %s", inet_ntop(family, octets, text, sizeof text));
}

static void on_addresses(void *arg, const struct ps_addresses *addresses)
{
	begin_line(arg, addresses->status, addresses->secure);
	for (size_t i = 0; i < addresses->count; i++) {
		const struct sockaddr_storage *at = &addresses->list[i];

		if (at->ss_family == AF_INET6)
			print_address(AF_INET6, &((const struct sockaddr_in6 *)at)->sin6_addr);
		else
			print_address(AF_INET, &((const struct sockaddr_in *)at)->sin_addr);
	}
	if (strcmp(addresses->name, arg) != 0)
		printf(" as %s", addresses->name);
	end_line();
}

static void on_tlsa(void *arg, const struct dns_answer *answer)
{
	begin_line(arg, answer->status, answer->secure);
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *record = &answer->records[i];
		struct ps_buf hex = {0};

		ps_hex_encode(&hex, record->tlsa.data);
		printf(" %u:%u:%u:%s", record->tlsa.usage, record->tlsa.selector, record->tlsa.matching,
		       ps_buf_cstr(&hex));
		ps_buf_finish(&hex);
	}
	end_line();
}

static void on_txt(void *arg, const struct dns_answer *answer)
{
	begin_line(arg, answer->status, answer->secure);
	for (size_t i = 0; i < answer->count; i++)
		printf(" [%.*s]", (int)(answer->records[i].txt.len > 40 ? 40 : answer->records[i].txt.len),
		       (const char *)answer->records[i].txt.ptr);
	if (answer->count > 0)
		printf(" %zu", answer->records[0].txt.len);
	end_line();
}

static void on_any(void *arg, const struct dns_answer *answer)
{
	begin_line(arg, answer->status, answer->secure);
	printf(" %zu ttl=%u", answer->count, (unsigned)answer->ttl);
	end_line();
}

static void never(void *arg, const struct ps_addresses *addresses)
{
	(void)arg;
	(void)addresses;
	abort();
}

static const struct {
	const char *word;
	enum dns_type type;
	ps_answer_fn print;
} types[] = {
	{"tlsa", DNS_TLSA, on_tlsa},
	{"txt", DNS_TXT, on_txt},
	{"a", DNS_A, on_any},
	{"aaaa", DNS_AAAA, on_any},
};

static void on_cancel_timer(void *arg)
{
	(void)arg;
	ps_loop_stop(loop);
}

/* One is taken back at once, the other when the resolver ends. */
static void cancel(struct ps_resolver *resolver, const char *name)
{
	static struct ps_timer *timer;

	ps_lookup_cancel(ps_resolver_address(resolver, name, never, NULL));
	ps_resolver_address(resolver, name, never, NULL);
	ps_timer_open(loop, on_cancel_timer, NULL, &timer);
	ps_timer_set(timer, 50, 0);
}

static void ask(struct ps_resolver *resolver, const char *type, char *name)
{
	left++;
	if (strcmp(type, "mx") == 0)
		ps_resolver_mx(resolver, name, on_mx, name);
	else if (strcmp(type, "address") == 0)
		ps_resolver_address(resolver, name, on_addresses, name);
	else if (strcmp(type, "cancel") == 0)
		cancel(resolver, name);
	for (size_t i = 0; i < PS_ARRAY_LEN(types); i++)
		if (strcmp(type, types[i].word) == 0)
			ps_resolver_query(resolver, name, types[i].type, types[i].print, name);
}

int main(int argc, char **argv)
{
	struct ps_resolver_options options = {.timeout_ms = 3000, .tries = 2};
	struct ps_resolver *resolver;
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strcmp(argv[at], "--validating") == 0)
			options.validating = true;
		else if (strcmp(argv[at], "--timeout") == 0)
			options.timeout_ms = (unsigned)atoi(argv[++at]);
		else
			options.servers = argv[++at];
	}
	if (argc - at < 2 || ps_loop_create(&loop) < 0)
		return 2;
	if (ps_resolver_create(loop, &options, &resolver) < 0) {
		printf("%s\n", ps_last_error());
		return 1;
	}
	for (int i = at + 1; i < argc; i++)
		ask(resolver, argv[at], argv[i]);
	ps_loop_run(loop);
	ps_resolver_destroy(resolver);
	ps_loop_destroy(loop);
	return 0;
}
