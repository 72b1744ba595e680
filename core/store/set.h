/* SPDX-License-Identifier: MIT */
/*
 * core/store/set.h - ranges of UIDs.
 */
#ifndef CORE_STORE_SET_H
#define CORE_STORE_SET_H

#include "postern/store.h"

/* Makes them sorted, disjoint, and merged where they touch; the new count. */
size_t ps_ranges_normalise(struct ps_range *ranges, size_t count);
/* In sorted, disjoint ranges. */
bool ps_ranges_has(const struct ps_range *ranges, size_t count, uint32_t n);

#endif
