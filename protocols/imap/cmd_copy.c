/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/copy.h"

/* COPY (RFC 3501, 6.4.7; RFC 4315):  "COPY" SP sequence-set SP mailbox */
static enum imap_next cmd_copy(struct imap_cmd *cmd)
{
	return imap_copy(cmd, false);
}

const struct imap_command imap_cmd_copy = {
	.name = "COPY",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID,
	.run = cmd_copy,
};
