/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "protocols/smtp/commands.h"

/* What may stand in a Received field without harm. That it is the client's true name is not asked for (RFC 5321 section 4.1.4). */
bool smtp_is_name(struct ps_bytes name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!ps_isalpha(name.ptr[i]) && !ps_isdigit(name.ptr[i]) && !strchr(".-_:[]", name.ptr[i]))
			return false;
	return name.len > 0 && name.len <= SMTP_HELO_MAX;
}

bool smtp_take_name(struct smtp_cmd *cmd, bool extended)
{
	struct smtp *smtp = cmd->smtp;

	if (!smtp_is_name(cmd->argument)) {
		smtp_say(smtp, 501, "5.5.4", "Your host's name or address literal is missing");
		return false;
	}
	smtp_forget(smtp);
	memcpy(smtp->helo, cmd->argument.ptr, cmd->argument.len);
	smtp->helo[cmd->argument.len] = '\0';
	if (smtp->told_helo[0]) /* a proxy speaks, for somebody whose name it has told */
		memcpy(smtp->helo, smtp->told_helo, sizeof smtp->helo);
	smtp->extended = extended;
	return true;
}

/* HELO (RFC 5321, 4.1.1.1) */
static enum smtp_next cmd_helo(struct smtp_cmd *cmd)
{
	return smtp_take_name(cmd, false) ? smtp_say(cmd->smtp, 250, "", smtp_hostname(cmd->smtp)) : SMTP_NEXT;
}

const struct smtp_verb smtp_cmd_helo = {
	.name = "HELO",
	.run = cmd_helo,
	.where = SMTP_ON_MX | SMTP_ON_SUBMISSION,
	.flags = SMTP_NEEDS_ARGUMENT,
	.syntax = "HELO domain",
};
