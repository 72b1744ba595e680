/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* EXPUNGE (RFC 3501, 6.4.3; RFC 4315):  "EXPUNGE"  or  "UID EXPUNGE" SP sequence-set */
static enum imap_next cmd_expunge(struct imap_cmd *cmd)
{
	struct ps_set uids;
	int r = 0;

	if ((cmd->by_uid && (r = imap_set_arg(cmd, &uids)) < 0) || (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r,
				   cmd->by_uid ? "UID EXPUNGE takes a set of UIDs" : "EXPUNGE takes no arguments");
	if (cmd->imap->mailbox.read_only)
		return imap_no(cmd, "READ-ONLY", "The mailbox is open for reading only");
	r = ps_view_expunge(cmd->imap->view, cmd->by_uid ? &uids : NULL);
	return r < 0 ? imap_no_err(cmd, r) : imap_ok_expunged(cmd, "EXPUNGE completed");
}

const struct imap_command imap_cmd_expunge = {
	.name = "EXPUNGE",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_LOOKS,
	.run = cmd_expunge,
};
