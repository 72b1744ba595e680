/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* CLOSE (RFC 3501, 6.4.2): expunges without telling, and leaves the mailbox */
static enum imap_next cmd_close(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;
	int r = 0;

	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "CLOSE takes no arguments");
	if (!imap->mailbox.read_only)
		r = ps_view_expunge(imap->view, NULL);
	if (r < 0)
		return imap_no_err(cmd, r);
	imap_unselect(imap);
	return imap_ok(cmd, "CLOSE completed");
}

const struct imap_command imap_cmd_close = {
	.name = "CLOSE",
	.states = IMAP_SELECTED,
	.flags = IMAP_NO_SYNC,
	.run = cmd_close,
};
