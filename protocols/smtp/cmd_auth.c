/* SPDX-License-Identifier: MIT */
#include "postern/pool.h"
#include "protocols/smtp/commands.h"

static const struct outcome {
	enum ps_auth_status status;
	unsigned code;
	const char *enhanced, *text;
} outcomes[] = {
	{PS_AUTH_OK, 235, "2.7.0", "Logged in"},
	{PS_AUTH_FAILED, 535, "5.7.8", "User name or password is wrong"},
	{PS_AUTH_REFUSED, 525, "5.7.13", "You may not log in"},
	{PS_AUTH_UNKNOWN_MECHANISM, 504, "5.5.4", "No such authentication mechanism here"},
	{PS_AUTH_PRIVACY, 538, "5.7.11", "Not without TLS"},
	{PS_AUTH_CANCELLED, 501, "5.7.0", "AUTH was cancelled"},
	{PS_AUTH_MALFORMED, 501, "5.5.2", "That is not base64"},
	{PS_AUTH_TOO_LONG, 500, "5.5.6", "That response is far too long"},
	{PS_AUTH_TEMPFAIL, 454, "4.7.0", "Log-in is not possible now; try again later"},
};

/* What has become of the exchange under way. */
static enum smtp_next go_on(struct smtp *smtp)
{
	struct ps_wait wait;
	struct ps_auth_reply reply = ps_login_go_on(&smtp->login, smtp->session, &wait);
	const struct outcome *outcome = &outcomes[PS_ARRAY_LEN(outcomes) - 1];
	char room[PS_LOGIN_REASON_MAX + 1];
	enum smtp_next next;

	wait.timeout_ms = (uint32_t)smtp_setting(smtp, "command_timeout") * 1000;
	if (reply.status == PS_AUTH_NONE)
		return smtp_wait(smtp, wait, go_on);
	if (reply.status == PS_AUTH_GONE)
		return smtp_gave_up(smtp, &next) ? next : SMTP_CLOSE;
	for (size_t i = 0; i < PS_ARRAY_LEN(outcomes); i++)
		if (outcomes[i].status == reply.status)
			outcome = &outcomes[i];
	smtp->authenticated = reply.status == PS_AUTH_OK;
	smtp_say(smtp, outcome->code, outcome->enhanced, ps_login_reason(&reply, room, outcome->text));
	return reply.status == PS_AUTH_TOO_LONG ? SMTP_CLOSE : SMTP_NEXT;
}

/* AUTH (RFC 4954, 4):  "AUTH" SP mechanism [SP initial-response] */
static enum smtp_next cmd_auth(struct smtp_cmd *cmd)
{
	ptrdiff_t blank = ps_bytes_find(cmd->argument, ' ');
	struct ps_bytes mechanism = blank < 0 ? cmd->argument : ps_bytes(cmd->argument.ptr, (size_t)blank);
	struct ps_bytes initial = ps_bytes_skip(cmd->argument, mechanism.len);

	if (cmd->smtp->authenticated)
		return smtp_say(cmd->smtp, 503, "5.5.1", "You have logged in already");
	if (!cmd->smtp->extended)
		return smtp_say(cmd->smtp, 503, "5.5.1", "Say EHLO first");
	while (initial.len > 0 && initial.ptr[0] == ' ')
		initial = ps_bytes_skip(initial, 1);
	ps_login_start(&cmd->smtp->login, cmd->smtp->session, "334 ", mechanism,
		       initial.len > 0 ? initial : ps_bytes(NULL, 0));
	return go_on(cmd->smtp);
}

static bool is_known(const struct smtp *smtp)
{
	return smtp->kind == PS_MAIL_SUBMISSION || ps_conf_bool(ps_session_conf(smtp->session), "auth");
}

const struct smtp_verb smtp_cmd_auth = {
	.name = "AUTH",
	.run = cmd_auth,
	.where = SMTP_ON_MX | SMTP_ON_SUBMISSION,
	.flags = SMTP_NEEDS_HELO | SMTP_NEEDS_ARGUMENT | SMTP_NO_MAIL | SMTP_NO_CHUNKS,
	.syntax = "AUTH mechanism [initial-response]",
	.available = is_known,
};
