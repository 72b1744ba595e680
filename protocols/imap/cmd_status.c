/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/status_items.h"

/* STATUS (RFC 3501, 6.3.10):  "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" */
static enum imap_next cmd_status(struct imap_cmd *cmd)
{
	struct ps_mailbox_info info;
	const char *name;
	unsigned asked = 0;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &name)) < 0 ||
	    (r = imap_args_space(&cmd->args)) < 0 || (r = imap_status_items_parse(&cmd->args, &asked)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "STATUS takes a mailbox name and a list of items");
	if ((r = ps_user_status(cmd->imap->user, name, &info)) < 0)
		return imap_no_err(cmd, r);
	info.name = name;
	imap_put_status(cmd, &info, asked);
	return imap_ok(cmd, "STATUS completed");
}

const struct imap_command imap_cmd_status = {
	.name = "STATUS",
	.states = IMAP_LOGGED_IN,
	.run = cmd_status,
};
