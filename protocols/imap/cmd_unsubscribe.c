/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* UNSUBSCRIBE (RFC 3501, 6.3.7):  "UNSUBSCRIBE" SP mailbox */
static enum imap_next cmd_unsubscribe(struct imap_cmd *cmd)
{
	const char *name;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &name)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "UNSUBSCRIBE takes a mailbox name");
	r = ps_user_subscribe(cmd->imap->user, name, false);
	return r < 0 ? imap_no_err(cmd, r) : imap_ok(cmd, "UNSUBSCRIBE completed");
}

const struct imap_command imap_cmd_unsubscribe = {
	.name = "UNSUBSCRIBE",
	.states = IMAP_LOGGED_IN,
	.run = cmd_unsubscribe,
};
