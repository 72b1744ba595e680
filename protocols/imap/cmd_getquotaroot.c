/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/quota.h"

/* GETQUOTAROOT (RFC 9208, 4.1.2):  "GETQUOTAROOT" SP mailbox, which need not exist */
static enum imap_next cmd_getquotaroot(struct imap_cmd *cmd)
{
	struct ps_buf *out = imap_output(cmd->imap);
	struct ps_quota quota;
	const char *name;
	int r;

	if (!ps_quota_offered())
		return imap_bad(cmd, "There are no quotas");
	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_mailbox_arg(cmd, &name)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "GETQUOTAROOT takes a mailbox name");
	if ((r = ps_user_quota(cmd->imap->user, ps_user_quota_root(cmd->imap->user, name), &quota)) < 0)
		return imap_no_err(cmd, r);
	ps_buf_str(out, "* QUOTAROOT ");
	imap_put_mailbox(cmd->imap, out, name);
	ps_buf_char(out, ' ');
	imap_put_text(cmd->imap, out, imap_quota_root(cmd, quota.root));
	ps_buf_str(out, "\r\n");
	imap_put_quota(cmd, &quota);
	return imap_ok(cmd, "GETQUOTAROOT completed");
}

const struct imap_command imap_cmd_getquotaroot = {
	.name = "GETQUOTAROOT",
	.states = IMAP_LOGGED_IN,
	.run = cmd_getquotaroot,
};
