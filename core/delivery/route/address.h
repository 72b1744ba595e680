/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/route/address.h - mail addresses in one spelling, so that two that are the same compare the same.
 *
 * The domain: lower case, and A-labels for what is not ASCII (IDNA2008, with the mapping of UTS 46). The local part belongs to whoever
 * keeps the mailbox (RFC 5321 section 2.4): quotes that say nothing are taken off, and nothing else is changed. Here, for domains of this
 * server, letter case does not count: see ps_mail_address_key().
 */
#ifndef CORE_DELIVERY_ROUTE_ADDRESS_H
#define CORE_DELIVERY_ROUTE_ADDRESS_H

#include "postern/buf.h"
#include "postern/pool.h"

#define PS_DOMAIN_MAX     255
#define PS_LOCAL_PART_MAX 512 /* RFC 5321 says 64; longer ones are about */

struct ps_mail_address {
	const char *
		local; /* without quotes, UTF-8 without control octets; may hold what only a quoted one may: blanks, '@' */
	const char *domain; /* NULL: the path had none */
	bool literal;       /* the domain is an address literal, "[192.0.2.1]" */
};

/* Appends the one spelling of a domain. PS_E_SYNTAX: not a domain, nor an address literal. */
int ps_domain_normalise(struct ps_bytes domain, struct ps_buf *out);

/* Whether two spellings are of one domain. */
bool ps_domain_same(const char *a, const char *b);

/* "local@domain" or "local", of whatever origin, as a path holds it between its angle brackets. A second '@' outside quotes, a source
 * route and comments are refused: PS_E_SYNTAX. */
int ps_mail_address_parse(struct ps_bytes path, struct ps_pool *pool, struct ps_mail_address *ret_address);
/* Appends it as a path holds it: with quotes where they are needed. */
void ps_mail_address_write(const char *local, const char *domain, struct ps_buf *out);
/* By which an address of this server is found: the local part in one letter case and one composition (NFC), an '@', the domain. */
const char *ps_mail_address_key(const char *local, const char *domain, struct ps_pool *pool);

#endif
