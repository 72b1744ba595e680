/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* UNSELECT (RFC 3691): leaves the mailbox and expunges nothing */
static enum imap_next cmd_unselect(struct imap_cmd *cmd)
{
	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "UNSELECT takes no arguments");
	imap_unselect(cmd->imap);
	return imap_ok(cmd, "UNSELECT completed");
}

const struct imap_command imap_cmd_unselect = {
	.name = "UNSELECT",
	.states = IMAP_SELECTED,
	.flags = IMAP_NO_SYNC,
	.run = cmd_unselect,
};
