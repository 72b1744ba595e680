/* SPDX-License-Identifier: MIT */
/*
 * core/process/sessions.h - what front and mail do alike when master asks for sessions, or wants them ended.
 */
#ifndef CORE_PROCESS_SESSIONS_H
#define CORE_PROCESS_SESSIONS_H

#include "core/net/choice.h"
#include "core/process/channel.h"

/* Who asked, and by which number. */
struct who_asked {
	struct ps_channel *channel;
	uint64_t request;
};
/* `arg` is a struct who_asked. */
void sessions_tell(void *arg, const struct ps_session_info *info);
void sessions_told(const struct who_asked *who);

/* Its texts are the message's. */
struct ps_session_choice sessions_to_kick(const struct ps_msg_kick *kick);
void sessions_kicked(struct ps_channel *master, const struct ps_msg_kick *kick, unsigned count);
/* `credential` is storage for the choice. */
struct ps_session_choice sessions_revoked(const struct ps_msg_revoked *revoked, struct ps_hash *credential);

#endif
