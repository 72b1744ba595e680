/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* NAMESPACE (RFC 2342): one personal namespace */
static enum imap_next cmd_namespace(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;
	struct ps_buf *out = imap_output(imap), wire = {0};

	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "NAMESPACE takes no arguments");
	imap_text_to_wire(&imap->names, imap->names.prefix, &wire);
	ps_buf_str(out, "* NAMESPACE ((");
	imap_put_text(imap, out, ps_buf_view(&wire));
	ps_buf_char(out, ' ');
	imap_put_string(out, ps_bytes(&imap->names.separator, 1));
	ps_buf_str(out, ")) NIL NIL\r\n");
	ps_buf_finish(&wire);
	return imap_ok(cmd, "NAMESPACE completed");
}

const struct imap_command imap_cmd_namespace = {
	.name = "NAMESPACE",
	.states = IMAP_LOGGED_IN,
	.run = cmd_namespace,
};
