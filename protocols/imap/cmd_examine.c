/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/select.h"

/* EXAMINE (RFC 3501, 6.3.2):  "EXAMINE" SP mailbox */
static enum imap_next cmd_examine(struct imap_cmd *cmd)
{
	return imap_select(cmd, true);
}

const struct imap_command imap_cmd_examine = {
	.name = "EXAMINE",
	.states = IMAP_LOGGED_IN,
	.flags = IMAP_NO_SYNC,
	.run = cmd_examine,
};
