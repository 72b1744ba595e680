/* SPDX-License-Identifier: MIT */
/*
 * partial.h - "the first hundred", "the last ten": RFC 9394. Pure.
 */
#ifndef PROTOCOLS_IMAP_PARTIAL_H
#define PROTOCOLS_IMAP_PARTIAL_H

#include "postern/store.h"
#include "protocols/imap/args.h"

/* Places first..last, counted from 1; from the end when `from_end`. */
struct imap_partial {
	uint32_t first, last; /* first <= last; 0: none was given */
	bool from_end;
	struct ps_bytes text; /* as it was given */
};

/* "1:100" or "-1:-100", in any order. */
int imap_partial_parse(struct imap_args *args, struct imap_partial *ret_partial);
/* Appends those of `all` that are at these places. */
void imap_partial_take(const struct imap_partial *partial, const struct ps_range *all, size_t count,
		       struct ps_ranges *part);

#endif
