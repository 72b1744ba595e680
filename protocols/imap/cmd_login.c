/* SPDX-License-Identifier: MIT */
#include "protocols/imap/auth.h"
#include "protocols/imap/commands.h"

static enum imap_next start(struct imap_cmd *cmd, struct ps_bytes user, struct ps_bytes password)
{
	struct ps_buf plain = {0}; /* SASL PLAIN, RFC 4616: NUL user NUL password */

	ps_buf_char(&plain, '\0');
	ps_buf_bytes(&plain, user);
	ps_buf_char(&plain, '\0');
	ps_buf_bytes(&plain, password);
	ps_session_auth_start(cmd->imap->session, "PLAIN", ps_buf_view(&plain));
	ps_buf_wipe(&plain);
	cmd->state = cmd;
	return imap_wait_reply(cmd);
}

/* LOGIN (RFC 3501, 6.2.3):  "LOGIN" SP userid SP password */
static enum imap_next cmd_login(struct imap_cmd *cmd)
{
	struct ps_bytes user, password;

	if (cmd->state)
		return imap_auth_outcome(cmd, ps_session_auth_reply(cmd->imap->session));
	if (imap_args_space(&cmd->args) < 0 || imap_args_astring(&cmd->args, cmd->pool, &user) < 0 ||
	    imap_args_space(&cmd->args) < 0 || imap_args_astring(&cmd->args, cmd->pool, &password) < 0 ||
	    imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "LOGIN takes a user name and a password");
	if (!ps_session_plaintext_ok(cmd->imap->session))
		return imap_no(cmd, "PRIVACYREQUIRED", "Not without TLS");
	return start(cmd, user, password);
}

const struct imap_command imap_cmd_login = {
	.name = "LOGIN",
	.states = IMAP_NOT_AUTHENTICATED,
	.run = cmd_login,
};
