/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* SUBSCRIBE (RFC 3501, 6.3.6):  "SUBSCRIBE" SP mailbox */
static enum imap_next cmd_subscribe(struct imap_cmd *cmd)
{
	const char *name;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &name)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "SUBSCRIBE takes a mailbox name");
	r = ps_user_subscribe(cmd->imap->user, name, true);
	return r < 0 ? imap_no_err(cmd, r) : imap_ok(cmd, "SUBSCRIBE completed");
}

const struct imap_command imap_cmd_subscribe = {
	.name = "SUBSCRIBE",
	.states = IMAP_LOGGED_IN,
	.run = cmd_subscribe,
};
