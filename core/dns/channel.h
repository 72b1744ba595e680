/* SPDX-License-Identifier: MIT */
/*
 * core/dns/channel.h - questions to name servers. c-ares is below, and seen by channel.c alone.
 */
#ifndef CORE_DNS_CHANNEL_H
#define CORE_DNS_CHANNEL_H

#include "core/dns/dns.h"
#include "core/dns/resolver.h"

struct dns_channel;

int dns_channel_create(struct ps_loop *loop, const struct ps_resolver_options *options,
		       struct dns_channel **ret_channel);
/* What was asked is answered with DNS_TIMEOUT. Not from an answer function. destroy(NULL) does nothing. */
void dns_channel_destroy(struct dns_channel *channel);
/* The servers in the form of the options; the caller frees it. NULL: none. */
char *dns_channel_servers(const struct dns_channel *channel);
bool dns_channel_is_idle(const struct dns_channel *channel);

/* `status`: DNS_OK, and `message` is what came (its id and its question fit); or DNS_TIMEOUT. */
typedef void (*dns_channel_fn)(void *arg, enum dns_status status, struct ps_bytes message);
/* May call fn before it returns. `unchecked`: with the CD bit, RFC 4035 section 3.2.2. */
void dns_channel_ask(struct dns_channel *channel, const char *name, uint16_t type, bool unchecked, dns_channel_fn fn,
		     void *arg);

#endif
