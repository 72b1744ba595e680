/* SPDX-License-Identifier: MIT */
/* What LOGIN and AUTHENTICATE answer. */
#include "protocols/imap/auth.h"

static const struct {
	enum ps_auth_status status;
	const char *code, *text; /* without a code it is BAD */
} refusals[] = {
	{PS_AUTH_FAILED, "AUTHENTICATIONFAILED", "User name or password is wrong"},
	{PS_AUTH_TEMPFAIL, "UNAVAILABLE", "Log-in is not possible now; try again later"},
	{PS_AUTH_REFUSED, "AUTHORIZATIONFAILED", "You may not log in"},
	{PS_AUTH_UNKNOWN_MECHANISM, "CANNOT", "No such authentication mechanism here"},
	{PS_AUTH_PRIVACY, "PRIVACYREQUIRED", "Not without TLS"},
	{PS_AUTH_CANCELLED, NULL, "AUTHENTICATE was cancelled"},
	{PS_AUTH_MALFORMED, NULL, "The response is not base64"},
};

struct ps_login *imap_login(struct imap_cmd *cmd)
{
	cmd->state = PS_NEW(cmd->pool, struct ps_login);
	return cmd->state;
}

static enum imap_next refuse(struct imap_cmd *cmd, struct ps_auth_reply reply)
{
	char *room = ps_pool_alloc(cmd->pool, PS_LOGIN_REASON_MAX + 1); /* the answer is written later */

	for (size_t i = 0; i < PS_ARRAY_LEN(refusals); i++) {
		if (refusals[i].status != reply.status)
			continue;
		if (!refusals[i].code)
			return imap_bad(cmd, refusals[i].text);
		return imap_no(cmd, refusals[i].code, ps_login_reason(&reply, room, refusals[i].text));
	}
	return imap_no(cmd, "UNAVAILABLE", "Log-in is not possible now; try again later");
}

enum imap_next imap_login_go_on(struct imap_cmd *cmd)
{
	struct ps_auth_reply reply = ps_login_go_on(cmd->state, cmd->imap->session, &cmd->wait);

	switch (reply.status) {
	case PS_AUTH_NONE: cmd->wait.timeout_ms = cmd->imap->timeout_ms; return IMAP_WAIT;
	case PS_AUTH_OK:
		ps_session_hand_over(cmd->imap->session, cmd->tag);
		cmd->wait = (struct ps_wait){.what = PS_WAIT_GONE};
		return IMAP_WAIT;
	case PS_AUTH_TOO_LONG: return imap_bye(cmd, "That response is far too long");
	case PS_AUTH_GONE: imap_gave_up(cmd); return IMAP_DONE;
	default: return refuse(cmd, reply);
	}
}
