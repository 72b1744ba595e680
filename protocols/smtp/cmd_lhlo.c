/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"

/* LHLO (RFC 2033, 4.1) */
static enum smtp_next cmd_lhlo(struct smtp_cmd *cmd)
{
	if (smtp_take_name(cmd, true))
		smtp_put_extensions(cmd->smtp, ps_session_output(cmd->smtp->session));
	return SMTP_NEXT;
}

const struct smtp_verb smtp_cmd_lhlo = {
	.name = "LHLO",
	.run = cmd_lhlo,
	.where = SMTP_ON_LMTP,
	.flags = SMTP_NEEDS_ARGUMENT,
	.syntax = "LHLO domain",
};
