/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "protocols/imap/commands.h"
#include "protocols/imap/list.h"

static bool is_below(const char *name, const char *parent)
{
	size_t len = strlen(parent);

	return strncmp(name, parent, len) == 0 && name[len] == '/';
}

/* RENAME (RFC 3501, 6.3.5):  "RENAME" SP mailbox SP mailbox */
static enum imap_next cmd_rename(struct imap_cmd *cmd)
{
	const char *from, *to;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &from)) < 0 ||
	    (r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &to)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "RENAME takes two mailbox names");
	/* INBOX does not move: only its messages do, so a name below it is possible. */
	if (is_below(to, from) && strcmp(from, "INBOX") != 0)
		return imap_no(cmd, "CANNOT", "A mailbox cannot move into itself");
	r = ps_user_rename(cmd->imap->user, from, to);
	if (r < 0)
		return imap_no_err(cmd, r);
	if (cmd->denormalised)
		imap_put_list_of(cmd, to);
	return imap_ok(cmd, "RENAME completed");
}

const struct imap_command imap_cmd_rename = {
	.name = "RENAME",
	.states = IMAP_LOGGED_IN,
	.run = cmd_rename,
};
