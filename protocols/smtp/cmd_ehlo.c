/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"

/* EHLO (RFC 5321, 4.1.1.1) */
static enum smtp_next cmd_ehlo(struct smtp_cmd *cmd)
{
	if (smtp_take_name(cmd, true))
		smtp_put_extensions(cmd->smtp, ps_session_output(cmd->smtp->session));
	return SMTP_NEXT;
}

const struct smtp_verb smtp_cmd_ehlo = {
	.name = "EHLO",
	.run = cmd_ehlo,
	.where = SMTP_ON_MX | SMTP_ON_SUBMISSION,
	.flags = SMTP_NEEDS_ARGUMENT,
	.syntax = "EHLO domain",
};
