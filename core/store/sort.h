/* SPDX-License-Identifier: MIT */
/*
 * core/store/sort.h - the keys of what was sorted, for threading.
 */
#ifndef CORE_STORE_SORT_H
#define CORE_STORE_SORT_H

#include "postern/store.h"

/* When it is finished: two places of the order by one criterion; equal ones by their numbers. */
int ps_sort_compare(const struct ps_sort *sort, size_t a, size_t b, size_t criterion);
bool ps_sort_same(const struct ps_sort *sort, size_t a, size_t b, size_t criterion);

#endif
