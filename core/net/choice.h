/* SPDX-License-Identifier: MIT */
/*
 * core/net/choice.h - what is told of sessions, and which of them are meant: for `postern who` and `postern kick`, and when a
 * credential does not hold any more.
 */
#ifndef CORE_NET_CHOICE_H
#define CORE_NET_CHOICE_H

#include "core/base/hash.h"

struct ps_session_info {
	const char *sid;
	const char *user; /* NULL: nobody has logged in */
	const char *protocol, *remote;
	struct ps_hash credential; /* by which the user has logged in (auth/revoked.h) */
	bool is_tls;
	uint64_t age_ms, idle_ms;
};

/* What is NULL is not looked at. All else must be so; a choice of nothing chooses no session. */
struct ps_session_choice {
	const char *user, *nets, *protocol, *sid; /* nets: as in auth/nets.h */
	const struct ps_hash *credential;
	const char *reason; /* why the sessions are to end, for the log; static */
};

bool ps_session_is_chosen(const struct ps_session_info *info, const struct ps_session_choice *choice);

#endif
