/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* CHECK (RFC 3501, 6.4.1): everything is on disk always, so it is NOOP by another name */
static enum imap_next cmd_check(struct imap_cmd *cmd)
{
	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "CHECK takes no arguments");
	return imap_ok(cmd, "CHECK completed");
}

const struct imap_command imap_cmd_check = {
	.name = "CHECK",
	.states = IMAP_SELECTED,
	.flags = IMAP_LOOKS,
	.run = cmd_check,
};
