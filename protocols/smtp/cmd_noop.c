/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"

/* NOOP (RFC 5321, 4.1.1.9) */
static enum smtp_next cmd_noop(struct smtp_cmd *cmd)
{
	return smtp_say(cmd->smtp, 250, "2.0.0", "OK");
}

const struct smtp_verb smtp_cmd_noop = {
	.name = "NOOP",
	.run = cmd_noop,
	.where = SMTP_EVERYWHERE,
	.syntax = "NOOP",
};
