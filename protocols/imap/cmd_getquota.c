/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/quota.h"

struct asked {
	struct imap_cmd *cmd;
	struct ps_bytes root;
};

/* 1: it was this one. */
static int tell(void *arg, const struct ps_quota *quota)
{
	const struct asked *asked = arg;

	if (!ps_bytes_eq(asked->root, imap_quota_root(asked->cmd, quota->root)))
		return 0;
	imap_put_quota(asked->cmd, quota);
	return 1;
}

/* GETQUOTA (RFC 9208, 4.1.1):  "GETQUOTA" SP quota-root-name */
static enum imap_next cmd_getquota(struct imap_cmd *cmd)
{
	struct asked asked = {.cmd = cmd};
	int r;

	if (!ps_quota_offered())
		return imap_bad(cmd, "There are no quotas");
	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_args_astring(&cmd->args, cmd->pool, &asked.root)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return imap_refuse(cmd, r, "GETQUOTA takes the name of a quota root");
	if ((r = ps_user_quotas(cmd->imap->user, tell, &asked)) < 0)
		return imap_no_err(cmd, r);
	return r == 0 ? imap_no(cmd, "NONEXISTENT", "There is no such quota root") : imap_ok(cmd, "GETQUOTA completed");
}

const struct imap_command imap_cmd_getquota = {
	.name = "GETQUOTA",
	.states = IMAP_LOGGED_IN,
	.run = cmd_getquota,
};
