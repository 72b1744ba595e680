/* SPDX-License-Identifier: MIT */
#include "protocols/imap/auth.h"
#include "protocols/imap/commands.h"

/* AUTHENTICATE (RFC 3501, 6.2.2; RFC 4959):  "AUTHENTICATE" SP auth-type [SP (base64 / "=")] */
static enum imap_next cmd_authenticate(struct imap_cmd *cmd)
{
	struct ps_bytes mechanism, initial = {NULL, 0};

	if (cmd->state)
		return imap_login_go_on(cmd);
	if (imap_args_space(&cmd->args) < 0 || imap_args_atom(&cmd->args, &mechanism) < 0)
		return imap_bad(cmd, "AUTHENTICATE takes the name of a mechanism");
	if (imap_args_take(&cmd->args, ' '))
		initial = imap_args_rest(&cmd->args);
	else if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "AUTHENTICATE takes the name of a mechanism");
	ps_login_start(imap_login(cmd), cmd->imap->session, "+ ", mechanism, initial);
	return imap_login_go_on(cmd);
}

const struct imap_command imap_cmd_authenticate = {
	.name = "AUTHENTICATE",
	.states = IMAP_NOT_AUTHENTICATED,
	.run = cmd_authenticate,
};
