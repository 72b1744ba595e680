/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/partial.h"

static int parse_place(struct imap_args *args, bool from_end, uint32_t *ret_place)
{
	if (imap_args_take(args, '-') != from_end || imap_args_number(args, ret_place) < 0 || *ret_place == 0)
		return ps_fail(PS_E_SYNTAX, "PARTIAL: a place is missing, or 0");
	return 0;
}

int imap_partial_parse(struct imap_args *args, struct imap_partial *ret_partial)
{
	const uint8_t *from = args->at;
	bool from_end = imap_args_peek(args) == '-';
	uint32_t a, b;
	int r;

	if ((r = parse_place(args, from_end, &a)) < 0)
		return r;
	if (!imap_args_take(args, ':'))
		return ps_fail(PS_E_SYNTAX, "PARTIAL: not a range");
	if ((r = parse_place(args, from_end, &b)) < 0)
		return r;
	*ret_partial = (struct imap_partial){
		.first = a < b ? a : b,
		.last = a < b ? b : a,
		.from_end = from_end,
		.text = ps_bytes(from, (size_t)(args->at - from)),
	};
	return 0;
}

void imap_partial_take(const struct imap_partial *partial, const struct ps_range *all, size_t count,
		       struct ps_ranges *part)
{
	uint64_t total = 0, first = partial->first, last = partial->last, at = 1;

	for (size_t i = 0; i < count; i++)
		total += all[i].last - all[i].first + 1;
	if (partial->from_end && partial->first > total)
		return;
	if (partial->from_end) {
		first = partial->last > total ? 1 : total - partial->last + 1;
		last = total - partial->first + 1;
	}
	for (size_t i = 0; i < count && at <= last; i++) {
		uint64_t size = (uint64_t)all[i].last - all[i].first + 1, end = at + size - 1;

		if (end >= first) {
			uint64_t skip = first > at ? first - at : 0, drop = end > last ? end - last : 0;

			ps_ranges_add(part, (struct ps_range){(uint32_t)(all[i].first + skip),
							      (uint32_t)(all[i].last - drop)});
		}
		at = end + 1;
	}
}
