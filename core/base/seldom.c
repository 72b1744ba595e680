/* SPDX-License-Identifier: MIT */
#include "core/base/seldom.h"

static const uint64_t MINUTE_MS = 60 * 1000;

bool seldom_may(struct seldom *seldom, uint64_t now_ms, unsigned most, unsigned *ret_left_out)
{
	if (!seldom->written || now_ms - seldom->minute >= MINUTE_MS) {
		seldom->minute = now_ms;
		seldom->written = 0;
	}
	if (seldom->written >= most) {
		seldom->left_out++;
		return false;
	}
	seldom->written++;
	*ret_left_out = seldom->left_out;
	seldom->left_out = 0;
	return true;
}
