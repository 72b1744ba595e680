/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/list.h"

/* LIST "" "": what separates the levels, and the root. */
static void put_separator(struct imap_cmd *cmd)
{
	ps_session_printf(cmd->imap->session, "* LIST (\\Noselect) \"%c\" \"\"\r\n", cmd->imap->names.separator);
}

/* LIST (RFC 3501, 6.3.8; RFC 3348; RFC 6154):  "LIST" SP mailbox SP list-mailbox */
static enum imap_next cmd_list(struct imap_cmd *cmd)
{
	struct imap_list list;
	const char *pattern;
	int r;

	if ((r = imap_list_args(cmd, &pattern)) < 0)
		return imap_refuse(cmd, r, "LIST takes a reference and a pattern");
	if (pattern[0] == '\0') {
		put_separator(cmd);
		return imap_ok(cmd, "LIST completed");
	}
	if ((r = imap_list_read(cmd, false, &list)) < 0)
		return imap_no_err(cmd, r);
	for (size_t i = 0; i < list.count; i++)
		if (imap_list_matches(cmd, pattern, list.entries[i].name))
			imap_put_list(cmd, "LIST", &list.entries[i], list.entries[i].attributes & PS_MBOX_EXISTS);
	return imap_ok(cmd, "LIST completed");
}

const struct imap_command imap_cmd_list = {
	.name = "LIST",
	.states = IMAP_LOGGED_IN,
	.run = cmd_list,
};
