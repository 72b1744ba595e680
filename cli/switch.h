/* SPDX-License-Identifier: MIT */
/*
 * cli/switch.h - moves one user's mail to another store while they are logged in.
 *
 * It is copied while sessions go on, again and again what has changed meanwhile. Then the old store is shut, the rest is copied, the
 * record of the place is changed, and sessions follow (core/store/place.h). Whenever it ends early, one of the two places is the
 * right one, and the next run goes on.
 */
#ifndef CLI_SWITCH_H
#define CLI_SWITCH_H

#include <signal.h>
#include "cli/cli.h"

enum switch_what {
	SWITCH_TO,
	SWITCH_UNDO,
	SWITCH_PURGE
};

struct switch_order {
	enum switch_what what;
	const char *backend; /* SWITCH_TO */
	uint64_t octets_per_second, messages_per_second;
	bool progress;
};

enum switch_outcome {
	SWITCH_FAILED,
	SWITCH_DONE,
	SWITCH_NOTHING, /* it was there already */
	SWITCH_STOPPED
};

/* Goes through a pipe as it is. */
struct switch_result {
	enum switch_outcome outcome;
	char from[64], to[64]; /* backends */
	uint64_t copied, octets;
	uint64_t passes;
	uint64_t late; /* what others delivered to the old place afterwards */
	uint64_t pause_ms, took_ms;
	char error[512];
};

extern volatile sig_atomic_t switch_interrupted;

/* In a process that acts as the user. */
void switch_user(struct cli *cli, const struct ps_user_info *info, const struct switch_order *order,
		 struct switch_result *ret_result);

#endif
