/* SPDX-License-Identifier: MIT */
/*
 * core/base/seldom.h - lines of the log that strangers can cause as often as they like: some of a minute are written, and the first of
 * a later minute says how many were left out.
 */
#ifndef CORE_BASE_SELDOM_H
#define CORE_BASE_SELDOM_H

#include <stdbool.h>
#include <stdint.h>

/* All 0 at first. */
struct seldom {
	uint64_t minute; /* when it began */
	unsigned written;
	unsigned left_out;
};

/* Whether to write now, if `most` are in a minute; then *ret_left_out is how many were not before. */
bool seldom_may(struct seldom *seldom, uint64_t now_ms, unsigned most, unsigned *ret_left_out);

#endif
