/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* ENABLE (RFC 5161):  "ENABLE" 1*(SP capability); what is unknown is passed over */
static enum imap_next cmd_enable(struct imap_cmd *cmd)
{
	struct imap_args args = cmd->args;
	struct ps_buf *out = imap_output(cmd->imap);
	unsigned before = cmd->imap->enabled;
	struct ps_bytes name;

	do {
		if (imap_args_space(&args) < 0 || imap_args_atom(&args, &name) < 0)
			return imap_bad(cmd, "ENABLE takes names of capabilities");
	} while (!imap_args_done(&args));

	ps_buf_str(out, "* ENABLED");
	while (imap_args_take(&cmd->args, ' ') && imap_args_atom(&cmd->args, &name) == 0) {
		const char *enabled = imap_enable(cmd->imap, name);

		if (enabled)
			ps_session_printf(cmd->imap->session, " %s", enabled);
	}
	ps_buf_str(out, "\r\n");
	if (cmd->imap->view && (cmd->imap->enabled & ~before & IMAP_CONDSTORE))
		imap_put_highest_modseq(cmd->imap);
	return imap_ok(cmd, "ENABLE completed");
}

const struct imap_command imap_cmd_enable = {
	.name = "ENABLE",
	.states = IMAP_LOGGED_IN,
	.run = cmd_enable,
};
