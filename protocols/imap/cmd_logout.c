/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* LOGOUT (RFC 3501, 6.1.3) */
static enum imap_next cmd_logout(struct imap_cmd *cmd)
{
	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "LOGOUT takes no arguments");
	imap_bye(cmd, "Logging out");
	return imap_ok(cmd, "LOGOUT completed");
}

const struct imap_command imap_cmd_logout = {
	.name = "LOGOUT",
	.states = IMAP_ANY_STATE,
	.flags = IMAP_NO_SYNC,
	.run = cmd_logout,
};
