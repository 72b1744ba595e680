/* SPDX-License-Identifier: MIT */
#include "cli/rate.h"
#include "postern/pool.h"

int cli_parse_rate(const char *text, struct ps_sync_options *options)
{
	static const struct {
		const char *unit;
		uint64_t octets; /* 0: messages */
	} units[] = {{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"msg", 0}};
	size_t digits = strspn(text, "0123456789");
	uint64_t n;

	if (digits > 12 || ps_bytes_u64(ps_bytes(text, digits), &n) < 0 || n == 0)
		return PS_E_SYNTAX;
	for (size_t i = 0; i < PS_ARRAY_LEN(units); i++) {
		if (ps_strcasecmp(text + digits, units[i].unit) != 0)
			continue;
		if (units[i].octets)
			options->octets_per_second = n * units[i].octets;
		else
			options->messages_per_second = n;
		return 0;
	}
	return PS_E_SYNTAX;
}
