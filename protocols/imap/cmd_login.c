/* SPDX-License-Identifier: MIT */
#include "protocols/imap/auth.h"
#include "protocols/imap/commands.h"

/* LOGIN (RFC 3501, 6.2.3):  "LOGIN" SP userid SP password */
static enum imap_next cmd_login(struct imap_cmd *cmd)
{
	struct ps_bytes user, password;

	if (cmd->state)
		return imap_login_go_on(cmd);
	if (imap_args_space(&cmd->args) < 0 || imap_args_astring(&cmd->args, cmd->pool, &user) < 0 ||
	    imap_args_space(&cmd->args) < 0 || imap_args_astring(&cmd->args, cmd->pool, &password) < 0 ||
	    imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "LOGIN takes a user name and a password");
	if (!ps_session_plaintext_ok(cmd->imap->session))
		return imap_no(cmd, "PRIVACYREQUIRED", "Not without TLS");
	ps_login_password(imap_login(cmd), cmd->imap->session, user, password);
	return imap_login_go_on(cmd);
}

const struct imap_command imap_cmd_login = {
	.name = "LOGIN",
	.states = IMAP_NOT_AUTHENTICATED,
	.run = cmd_login,
};
