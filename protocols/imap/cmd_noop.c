/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* NOOP (RFC 3501, 6.1.2): the driver tells what is new */
static enum imap_next cmd_noop(struct imap_cmd *cmd)
{
	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "NOOP takes no arguments");
	return imap_ok(cmd, "NOOP completed");
}

const struct imap_command imap_cmd_noop = {
	.name = "NOOP",
	.states = IMAP_ANY_STATE,
	.flags = IMAP_LOOKS,
	.run = cmd_noop,
};
