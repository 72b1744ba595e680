/* SPDX-License-Identifier: MIT */
/*
 * core/store/set.h - ranges of UIDs that grow one by one.
 */
#ifndef CORE_STORE_SET_H
#define CORE_STORE_SET_H

#include "postern/store.h"

/* Ranges on the heap. A zeroed one is valid and empty. */
struct ps_ranges {
	struct ps_range *ptr;
	size_t count, cap;
};

void ps_ranges_finish(struct ps_ranges *ranges);
/* Appends; one that touches the last range makes it longer. */
void ps_ranges_add(struct ps_ranges *ranges, struct ps_range range);
/* Sorted, disjoint, and merged where they touch. */
void ps_ranges_sort(struct ps_ranges *ranges);
size_t ps_ranges_normalise(struct ps_range *ranges, size_t count); /* the same in an array; the new count */
/* In sorted, disjoint ranges. */
bool ps_ranges_has(const struct ps_range *ranges, size_t count, uint32_t n);

#endif
