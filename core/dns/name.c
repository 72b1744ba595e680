/* SPDX-License-Identifier: MIT */
#include <idn2.h>
#include <stdio.h>
#include "core/dns/dns.h"
#include "postern/error.h"

enum {
	LABEL_MAX = 63,
	NAME_MAX_OCTETS = 253
};

static bool is_host_octet(char c)
{
	return ps_isalpha(c) || ps_isdigit(c) || c == '-' || c == '_';
}

bool dns_is_hostname(const char *name)
{
	size_t label = 0, digits = 0, i;

	for (i = 0; name[i] && i <= NAME_MAX_OCTETS; i++) {
		if (name[i] == '.' && label > 0) {
			label = digits = 0;
			continue;
		}
		if (!is_host_octet(name[i]) || ++label > LABEL_MAX)
			return false;
		digits += ps_isdigit(name[i]);
	}
	return label > 0 && digits < label && i <= NAME_MAX_OCTETS;
}

int dns_name_ascii(const char *name, char *ret_name, size_t size)
{
	char *ascii = NULL;
	size_t len;
	int r = idn2_to_ascii_8z(name, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);

	/* Names with an underscore and some others are no IDNs, and none is needed for them. */
	if (r != IDN2_OK && dns_is_hostname(name))
		r = IDN2_OK;
	if (r != IDN2_OK)
		return ps_fail(PS_E_INVALID, "domain \"%.253s\": %s", name, idn2_strerror(r));
	len = (size_t)snprintf(ret_name, size, "%s", ascii ? ascii : name);
	idn2_free(ascii);
	if (len > 0 && len < size && ret_name[len - 1] == '.')
		ret_name[len - 1] = '\0';
	if (len >= size || !dns_is_hostname(ret_name))
		return ps_fail(PS_E_INVALID, "\"%.253s\" is not a domain name", name);
	return 0;
}

const char *dns_status_text(enum dns_status status)
{
	static const char *const texts[] = {
		[DNS_OK] = "found",
		[DNS_NXDOMAIN] = "the name does not exist",
		[DNS_NODATA] = "the name has no such records",
		[DNS_BADNAME] = "not a domain name",
		[DNS_BOGUS] = "the signature in the DNS is wrong",
		[DNS_SERVFAIL] = "the name servers failed",
		[DNS_TIMEOUT] = "no name server answered",
		[DNS_MALFORMED] = "the name server's answer makes no sense",
	};

	return texts[status];
}
