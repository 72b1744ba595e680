/* SPDX-License-Identifier: MIT */
#include "protocols/imap/append.h"
#include "protocols/imap/commands.h"

/* Whether what comes next is the message: something stands before it. */
static bool streams(struct imap_args before)
{
	return imap_args_take(&before, ' ') && !imap_args_done(&before);
}

/* APPEND (RFC 3501, 6.3.11; RFC 3502; RFC 4315):
 * "APPEND" SP mailbox 1*([SP flag-list] [SP date-time] SP literal) */
static enum imap_next cmd_append(struct imap_cmd *cmd)
{
	const char *mailbox;
	int r;

	if (cmd->state)
		return imap_append_go_on(cmd);
	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &mailbox)) < 0)
		return imap_refuse(cmd, r, "APPEND takes a mailbox, flags, a date and a message as literal");
	return imap_append_begin(cmd, mailbox, 0);
}

const struct imap_command imap_cmd_append = {
	.name = "APPEND",
	.states = IMAP_LOGGED_IN,
	.run = cmd_append,
	.streams = streams,
};
