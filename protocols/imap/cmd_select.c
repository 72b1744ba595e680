/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/select.h"

/* SELECT (RFC 3501, 6.3.1):  "SELECT" SP mailbox */
static enum imap_next cmd_select(struct imap_cmd *cmd)
{
	return imap_select(cmd, false);
}

const struct imap_command imap_cmd_select = {
	.name = "SELECT",
	.states = IMAP_LOGGED_IN,
	.flags = IMAP_NO_SYNC,
	.run = cmd_select,
};
