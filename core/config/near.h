/* SPDX-License-Identifier: MIT */
/*
 * core/config/near.h - the known word that a mistyped one is closest to.
 */
#ifndef CORE_CONFIG_NEAR_H
#define CORE_CONFIG_NEAR_H

/* Set `word`, offer candidates, read `best`: NULL when none is near enough to be what was meant. */
struct ps_near {
	const char *word;
	const char *best;
	unsigned distance;
};

void ps_near_offer(struct ps_near *near, const char *candidate);

#endif
