/* SPDX-License-Identifier: MIT */
#include "postern/login.h"
#include "protocols/imap/commands.h"

/* STARTTLS (RFC 3501, 6.2.1) */
static enum imap_next cmd_starttls(struct imap_cmd *cmd)
{
	struct ps_session *s = cmd->imap->session;

	if (cmd->state) /* the handshake is done; its answer was sent before it */
		return IMAP_DONE;
	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "STARTTLS takes no arguments");
	if (ps_session_is_tls(s))
		return imap_bad(cmd, "TLS is active already");
	if (!ps_session_tls_offered(s))
		return imap_bad(cmd, "TLS is not available here");
	if (ps_login_is_injected(s)) {
		ps_buf_bytes(imap_output(cmd->imap), cmd->tag);
		ps_buf_str(imap_output(cmd->imap), " BAD Nothing may follow STARTTLS before the handshake\r\n");
		return imap_bye(cmd, "Begin anew");
	}
	ps_buf_bytes(imap_output(cmd->imap), cmd->tag);
	ps_buf_str(imap_output(cmd->imap), " OK Begin TLS now\r\n");
	ps_session_starttls(s);
	cmd->state = cmd;
	cmd->wait = (struct ps_wait){.what = PS_WAIT_REPLY};
	return IMAP_WAIT;
}

const struct imap_command imap_cmd_starttls = {
	.name = "STARTTLS",
	.states = IMAP_NOT_AUTHENTICATED,
	.run = cmd_starttls,
};
