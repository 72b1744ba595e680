/* SPDX-License-Identifier: MIT */
/* core/net/dane.h - certificates by TLSA records, as SMTP wants them: RFC 7672, RFC 7671. GnuTLS is below. */
#ifndef CORE_NET_DANE_H
#define CORE_NET_DANE_H

#include "core/dns/dns.h"

/* Whether a record is one that SMTP can use: DANE-TA(2) or DANE-EE(3), with parameters that are known (RFC 7672 section 3.1). */
bool dane_is_usable(const struct dns_record *record);
/* 0: a record vouches for the chain (DER, the server's own certificate first), and where it is that of an authority, for a certificate of one of
 * `names` too. PS_E_ACCESS: none does. */
int dane_verify(const struct ps_bytes *chain, size_t length, const struct dns_record *records, size_t count,
		const char *const *names, size_t name_count);

#endif
