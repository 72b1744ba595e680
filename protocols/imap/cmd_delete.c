/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "protocols/imap/commands.h"
#include "protocols/imap/list.h"

/* DELETE (RFC 3501, 6.3.4):  "DELETE" SP mailbox */
static enum imap_next cmd_delete(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;
	const char *name;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &name)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "DELETE takes a mailbox name");
	if (strcmp(name, "INBOX") == 0)
		return imap_no(cmd, "CANNOT", "INBOX cannot be deleted");
	if ((r = ps_user_delete(imap->user, name)) < 0)
		return imap_no_err(cmd, r);
	if (imap->view && strcmp(imap->mailbox.name, name) == 0)
		imap_unselect(imap); /* its own deletion does not throw the client out */
	if (cmd->denormalised)
		imap_put_list_of(cmd, name);
	return imap_ok(cmd, "DELETE completed");
}

const struct imap_command imap_cmd_delete = {
	.name = "DELETE",
	.states = IMAP_LOGGED_IN,
	.run = cmd_delete,
};
