/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"

/* UNAUTHENTICATE (RFC 8437, 3) */
static enum imap_next cmd_unauthenticate(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;

	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "UNAUTHENTICATE takes no arguments");
	if (!ps_conf_bool(ps_session_conf(imap->session), "unauthenticate"))
		return imap_bad(cmd, "That is not offered");
	/* What follows is meant for somebody else's session, so it must not run in this one. */
	if (ps_session_hand_back(imap->session) < 0)
		return imap_bye(cmd, "Too much follows UNAUTHENTICATE");
	imap_unselect(imap);
	imap->gone = true;
	return imap_ok(cmd, "Nobody is logged in any more");
}

const struct imap_command imap_cmd_unauthenticate = {
	.name = "UNAUTHENTICATE",
	.states = IMAP_LOGGED_IN,
	.flags = IMAP_NO_SYNC,
	.run = cmd_unauthenticate,
};
