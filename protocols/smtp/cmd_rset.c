/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"

/* RSET (RFC 5321, 4.1.1.5) */
static enum smtp_next cmd_rset(struct smtp_cmd *cmd)
{
	smtp_forget(cmd->smtp);
	return smtp_say(cmd->smtp, 250, "2.0.0", "OK");
}

const struct smtp_verb smtp_cmd_rset = {
	.name = "RSET",
	.run = cmd_rset,
	.where = SMTP_EVERYWHERE,
	.flags = SMTP_NO_ARGUMENT,
	.syntax = "RSET",
};
