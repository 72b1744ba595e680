/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "auth/nets.h"
#include "core/net/choice.h"

static bool fits(const char *wanted, const char *is)
{
	return !wanted || (is && strcmp(wanted, is) == 0);
}

bool ps_session_is_chosen(const struct ps_session_info *info, const struct ps_session_choice *choice)
{
	if (!choice->user && !choice->nets && !choice->protocol && !choice->sid && !choice->credential)
		return false;
	return fits(choice->user, info->user) && fits(choice->protocol, info->protocol) &&
	       fits(choice->sid, info->sid) && (!choice->nets || ps_nets_contain(choice->nets, info->remote)) &&
	       (!choice->credential || ps_hash_eq(choice->credential, &info->credential));
}
