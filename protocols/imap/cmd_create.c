/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "protocols/imap/commands.h"

/* CREATE (RFC 3501, 6.3.3):  "CREATE" SP mailbox */
static enum imap_next cmd_create(struct imap_cmd *cmd)
{
	const char *name;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &name)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "CREATE takes a mailbox name");
	r = ps_user_create(cmd->imap->user, name, 0);
	return r < 0 ? imap_no_err(cmd, r) : imap_ok(cmd, "CREATE completed");
}

const struct imap_command imap_cmd_create = {
	.name = "CREATE",
	.states = IMAP_LOGGED_IN,
	.run = cmd_create,
};
