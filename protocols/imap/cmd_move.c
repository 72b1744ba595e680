/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/copy.h"

/* MOVE (RFC 6851):  "MOVE" SP sequence-set SP mailbox */
static enum imap_next cmd_move(struct imap_cmd *cmd)
{
	return imap_copy(cmd, true);
}

const struct imap_command imap_cmd_move = {
	.name = "MOVE",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID,
	.run = cmd_move,
};
