/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"

/* VRFY (RFC 5321, 3.5.3): who has an address here is told to who sends there, by RCPT, and to nobody else. */
static enum smtp_next cmd_vrfy(struct smtp_cmd *cmd)
{
	return smtp_say(cmd->smtp, 252, "2.5.0", "Cannot tell; send some mail and see");
}

const struct smtp_verb smtp_cmd_vrfy = {
	.name = "VRFY",
	.run = cmd_vrfy,
	.where = SMTP_EVERYWHERE,
	.flags = SMTP_NEEDS_ARGUMENT,
	.syntax = "VRFY string",
};
