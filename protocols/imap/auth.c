/* SPDX-License-Identifier: MIT */
/* What LOGIN and AUTHENTICATE answer. */
#include "protocols/imap/auth.h"

static const struct {
	enum ps_auth_status status;
	const char *code, *text;
} refusals[] = {
	{PS_AUTH_FAILED, "AUTHENTICATIONFAILED", "User name or password is wrong"},
	{PS_AUTH_TEMPFAIL, "UNAVAILABLE", "Log-in is not possible now; try again later"},
	{PS_AUTH_REFUSED, "AUTHORIZATIONFAILED", "You may not log in"},
	{PS_AUTH_UNKNOWN_MECHANISM, "CANNOT", "No such authentication mechanism here"},
	{PS_AUTH_PRIVACY, "PRIVACYREQUIRED", "Not without TLS"},
};

enum imap_next imap_wait_reply(struct imap_cmd *cmd)
{
	cmd->wait = (struct ps_wait){.what = PS_WAIT_REPLY};
	return IMAP_WAIT;
}

static const char *printable(struct imap_cmd *cmd, struct ps_bytes text)
{
	if (text.len == 0)
		return NULL;
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < ' ' || text.ptr[i] >= 0x7f)
			return NULL;
	return ps_pool_strndup(cmd->pool, (const char *)text.ptr, text.len);
}

enum imap_next imap_auth_outcome(struct imap_cmd *cmd, struct ps_auth_reply reply)
{
	const char *text = NULL;

	if (reply.status == PS_AUTH_NONE)
		return imap_wait_reply(cmd);
	if (reply.status == PS_AUTH_OK) {
		ps_session_hand_over(cmd->imap->session, cmd->tag);
		cmd->wait = (struct ps_wait){.what = PS_WAIT_GONE};
		return IMAP_WAIT;
	}
	if (reply.status == PS_AUTH_REFUSED)
		text = printable(cmd, reply.data);
	for (size_t i = 0; i < PS_ARRAY_LEN(refusals); i++)
		if (refusals[i].status == reply.status)
			return imap_no(cmd, refusals[i].code, text ? text : refusals[i].text);
	return imap_no(cmd, "UNAVAILABLE", "Log-in is not possible now; try again later");
}
