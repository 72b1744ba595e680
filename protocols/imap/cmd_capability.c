/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* CAPABILITY (RFC 3501, 6.1.1) */
static enum imap_next cmd_capability(struct imap_cmd *cmd)
{
	struct ps_buf *out = imap_output(cmd->imap);

	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "CAPABILITY takes no arguments");
	ps_buf_str(out, "* ");
	imap_put_capabilities(cmd->imap, out);
	ps_buf_str(out, "\r\n");
	return imap_ok(cmd, "CAPABILITY completed");
}

const struct imap_command imap_cmd_capability = {
	.name = "CAPABILITY",
	.states = IMAP_ANY_STATE,
	.run = cmd_capability,
};
