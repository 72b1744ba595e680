/* SPDX-License-Identifier: MIT */
#include "protocols/imap/commands.h"
#include "protocols/imap/quota.h"

struct order {
	struct imap_cmd *cmd;
	struct ps_bytes name;
	const char *root; /* as the store has it; NULL: there is none of that name */
	struct ps_usage limit;
	bool unknown; /* a resource that is not counted here, or a limit that cannot be */
};

static const struct {
	const char *name;
	size_t at;
	uint64_t unit;
} resources[] = {
	{"STORAGE", offsetof(struct ps_usage, octets), 1024},
	{"MESSAGE", offsetof(struct ps_usage, messages), 1},
};

/* To us 0 is no limit, so one of 0 cannot be kept. */
static int set_limit(struct order *order, struct ps_bytes name, uint64_t limit)
{
	const uint64_t most = INT64_MAX;

	for (size_t i = 0; i < PS_ARRAY_LEN(resources); i++) {
		uint64_t *amount = (uint64_t *)((char *)&order->limit + resources[i].at);

		if (!ps_bytes_caseeq_str(name, resources[i].name))
			continue;
		if (*amount)
			return ps_fail(PS_E_SYNTAX, "a resource is named twice");
		order->unknown |= limit == 0 || limit > most / resources[i].unit;
		*amount = order->unknown ? 1 : limit * resources[i].unit;
		return 0;
	}
	order->unknown = true;
	return 0;
}

/* setquota-list = "(" [setquota-resource *(SP setquota-resource)] ")" */
static int parse_list(struct order *order)
{
	struct imap_args *args = &order->cmd->args;
	struct ps_bytes name;
	uint64_t limit;
	int r = 0;

	if (!imap_args_take(args, '('))
		return ps_fail(PS_E_SYNTAX, "( is missing");
	for (bool first = true; r == 0 && !imap_args_take(args, ')'); first = false)
		if ((first || (r = imap_args_space(args)) == 0) && (r = imap_args_atom(args, &name)) == 0 &&
		    (r = imap_args_space(args)) == 0 && (r = imap_args_number64(args, &limit)) == 0)
			r = set_limit(order, name, limit);
	return r;
}

static int parse(struct order *order)
{
	struct imap_cmd *cmd = order->cmd;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_args_astring(&cmd->args, cmd->pool, &order->name)) < 0 ||
	    (r = imap_args_space(&cmd->args)) < 0 || (r = parse_list(order)) < 0)
		return r;
	return imap_args_end(&cmd->args);
}

/* 1: it was this one. */
static int find(void *arg, const struct ps_quota *quota)
{
	struct order *order = arg;

	if (!ps_bytes_eq(order->name, imap_quota_root(order->cmd, quota->root)))
		return 0;
	order->root = ps_pool_strdup(order->cmd->pool, quota->root);
	return 1;
}

/* SETQUOTA (RFC 9208, 4.1.3):  "SETQUOTA" SP quota-root-name SP setquota-list */
static enum imap_next cmd_setquota(struct imap_cmd *cmd)
{
	struct order order = {.cmd = cmd};
	struct ps_user *user = cmd->imap->user;
	struct ps_quota quota;
	int r;

	if (!ps_quota_offered())
		return imap_bad(cmd, "There are no quotas");
	if ((r = parse(&order)) < 0)
		return imap_refuse(cmd, r, "SETQUOTA takes a quota root and a list of resources with their limits");
	if (!ps_session_is_admin(cmd->imap->session))
		return imap_no(cmd, "NOPERM", "Only an administrator may set quotas");
	if ((r = ps_user_quotas(user, find, &order)) < 0)
		return imap_no_err(cmd, r);
	if (!order.root)
		return imap_no(cmd, "NONEXISTENT", "There is no such quota root");
	if (order.unknown)
		return imap_no(cmd, "CANNOT", "Only STORAGE and MESSAGE can be limited, to 1 or more");
	if ((r = ps_user_set_quota(user, order.root, &order.limit)) < 0 ||
	    (r = ps_user_quota(user, order.root, &quota)) < 0)
		return imap_no_err(cmd, r);
	imap_put_quota(cmd, &quota);
	return imap_ok(cmd, "SETQUOTA completed");
}

const struct imap_command imap_cmd_setquota = {
	.name = "SETQUOTA",
	.states = IMAP_LOGGED_IN,
	.run = cmd_setquota,
};
