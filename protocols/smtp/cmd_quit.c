/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"

/* QUIT (RFC 5321, 4.1.1.10) */
static enum smtp_next cmd_quit(struct smtp_cmd *cmd)
{
	return smtp_bye(cmd->smtp, 221, "2.0.0", "Goodbye");
}

const struct smtp_verb smtp_cmd_quit = {
	.name = "QUIT",
	.run = cmd_quit,
	.where = SMTP_EVERYWHERE,
	.flags = SMTP_NO_ARGUMENT,
	.syntax = "QUIT",
};
