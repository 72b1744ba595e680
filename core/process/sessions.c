/* SPDX-License-Identifier: MIT */
#include "auth/revoked.h"
#include "core/process/sessions.h"

_Static_assert(PS_CREDENTIAL_MAX == PS_CREDENTIAL_SIZE, "a mark goes into a message");

void sessions_tell(void *arg, const struct ps_session_info *info)
{
	const struct who_asked *who = arg;
	struct ps_msg_who_row row = {
		.request = who->request,
		.sid = info->sid,
		.user = info->user,
		.protocol = info->protocol,
		.remote = info->remote,
		.is_tls = info->is_tls,
		.credential = ps_credential_octets(&info->credential),
		.age_ms = info->age_ms,
		.idle_ms = info->idle_ms,
	};

	ps_channel_send(who->channel, PS_MSG_WHO_ROW, &row);
}

void sessions_told(const struct who_asked *who)
{
	struct ps_msg_who_end end = {.request = who->request};

	ps_channel_send(who->channel, PS_MSG_WHO_END, &end);
}

struct ps_session_choice sessions_to_kick(const struct ps_msg_kick *kick)
{
	return (struct ps_session_choice){
		.user = kick->user,
		.nets = kick->nets,
		.protocol = kick->protocol,
		.sid = kick->sid,
		.reason = "ended by the administrator",
	};
}

void sessions_kicked(struct ps_channel *master, const struct ps_msg_kick *kick, unsigned count)
{
	struct ps_msg_kicked message = {.request = kick->request, .count = count};

	ps_channel_send(master, PS_MSG_KICKED, &message);
}

struct ps_session_choice sessions_revoked(const struct ps_msg_revoked *revoked, struct ps_hash *credential)
{
	*credential = ps_credential_from(revoked->credential);
	return (struct ps_session_choice){
		.user = revoked->credential.ptr ? NULL : revoked->user,
		.credential = revoked->credential.ptr ? credential : NULL,
		.reason = "credential revoked",
	};
}
