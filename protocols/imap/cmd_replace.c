/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/append.h"
#include "protocols/imap/commands.h"

/* Whether what comes next is the message: a number and something more stand before it. */
static bool streams(struct imap_args before)
{
	if (!imap_args_take(&before, ' '))
		return false;
	while (imap_args_peek(&before) > ' ')
		before.at++;
	return imap_args_take(&before, ' ') && !imap_args_done(&before);
}

/* One message. *ret_uid 0: a UID that no message has; a sequence number must be in use. */
static int parse_number(struct imap_cmd *cmd, uint32_t *ret_uid)
{
	const struct ps_row *row;
	uint32_t number;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_args_number(&cmd->args, &number)) < 0)
		return r;
	row = ps_view_row(cmd->imap->view, cmd->by_uid ? ps_view_seq(cmd->imap->view, number) : number);
	if (number == 0 || (!row && !cmd->by_uid))
		return ps_fail(PS_E_SYNTAX, "REPLACE: no message has that number");
	*ret_uid = row ? row->uid : 0;
	return 0;
}

/* REPLACE (RFC 8508):  "REPLACE" SP seq-number SP mailbox [SP flag-list] [SP date-time] SP literal */
static enum imap_next cmd_replace(struct imap_cmd *cmd)
{
	const char *mailbox;
	uint32_t uid;
	int r;

	if (cmd->state)
		return imap_append_go_on(cmd);
	if ((r = parse_number(cmd, &uid)) < 0 || (r = imap_args_space(&cmd->args)) < 0 ||
	    (r = imap_mailbox_arg(cmd, &mailbox)) < 0)
		return imap_refuse(cmd, r,
				   "REPLACE takes a message, a mailbox, flags, a date and a message as literal");
	if (cmd->imap->mailbox.read_only)
		return imap_no(cmd, "READ-ONLY", "The mailbox is open for reading only");
	if (uid == 0)
		return imap_no(cmd, "EXPUNGEISSUED", "There is no message with that UID");
	return imap_append_begin(cmd, mailbox, uid);
}

const struct imap_command imap_cmd_replace = {
	.name = "REPLACE",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID,
	.run = cmd_replace,
	.streams = streams,
};
