/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "extensions/quota/quota.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

/* Of one store. One that has no limit, and cannot get one, has none of these. */
struct quota {
	const struct ps_conf *conf;
	struct ps_usage configured, limit; /* as configuration and user database have it; that in force */
	struct quota_own own;
	bool mounted;
	char *control;
	char user[]; /* the name */
};

/* Another process may have set another, too. */
static void refresh(struct quota *quota)
{
	if (quota->control && quota_own_look(quota->control, &quota->own) < 0)
		ps_log(PS_LOG_ERROR, "quota_unreadable", "user", quota->user, "msg", ps_last_error(), NULL);
	quota->limit = quota->own.set ? quota->own.limit : quota->configured;
}

static int quota_open(const struct ps_extension_args *args, void **ret_state)
{
	size_t size = strlen(args->user->name) + 1;
	struct ps_usage limit;
	struct quota *quota;

	quota_limits(args, &limit);
	if (limit.octets == 0 && limit.messages == 0 && !args->control)
		return 0;
	quota = ps_zalloc(sizeof *quota + size);
	quota->conf = args->conf;
	quota->configured = limit;
	quota->mounted = args->mount != NULL;
	quota->control = args->control ? ps_strdup(args->control) : NULL;
	memcpy(quota->user, args->user->name, size);
	refresh(quota);
	*ret_state = quota;
	return 0;
}

static void quota_close(void *state)
{
	struct quota *quota = state;

	free(quota->control);
	free(quota);
}

static bool quota_limit(void *state, struct ps_usage *ret_limit)
{
	struct quota *quota = state;

	refresh(quota);
	*ret_limit = quota->limit;
	return quota->own.set;
}

static int quota_set_limit(void *state, const struct ps_usage *limit)
{
	const struct quota *quota = state;

	if (!quota->control)
		return ps_fail(PS_E_UNSUPPORTED, "%s: there is no place to keep a limit", quota->user);
	return quota_own_write(quota->control, limit);
}

static bool is_over(uint64_t limit, uint64_t extra, uint64_t after)
{
	return limit > 0 && after > limit + extra;
}

static int check(const struct quota *quota, struct ps_pending *pending, const struct ps_usage *after, bool more_octets,
		 bool more_messages)
{
	const struct ps_usage *limit = &quota->limit;
	bool octets = more_octets && is_over(limit->octets, 0, after->octets);
	bool messages = more_messages && is_over(limit->messages, 0, after->messages);
	struct ps_usage extra;
	const char *target;
	int r;

	if (!octets && !messages)
		return 0;
	if ((r = ps_pending_target(pending, &target)) < 0)
		return r;
	quota_extra(quota->conf, target, &extra);
	if (octets && is_over(limit->octets, extra.octets, after->octets))
		return ps_fail(PS_E_QUOTA, "%s: %llu octets of mail would be more than the quota of %llu", quota->user,
			       (unsigned long long)after->octets, (unsigned long long)limit->octets);
	if (messages && is_over(limit->messages, extra.messages, after->messages))
		return ps_fail(PS_E_QUOTA, "%s: %llu messages would be more than the quota of %llu", quota->user,
			       (unsigned long long)after->messages, (unsigned long long)limit->messages);
	return 0;
}

/* What makes the store no larger is lawful, however full it is. */
static int quota_before_commit(void *state, struct ps_pending *pending)
{
	struct quota *quota = state;
	struct ps_usage added, removed, used, after;
	int r;

	refresh(quota);
	if (quota->limit.octets == 0 && quota->limit.messages == 0)
		return 0;
	r = ps_pending_growth(pending, &added, &removed);
	if (r < 0 || (added.octets <= removed.octets && added.messages <= removed.messages))
		return r;
	if ((r = ps_pending_usage(pending, &used)) < 0)
		return r;
	after.octets = used.octets + added.octets - removed.octets;
	after.messages = used.messages + added.messages - removed.messages;
	r = check(quota, pending, &after, added.octets > removed.octets, added.messages > removed.messages);
	if (r == 0 && !quota->mounted && !ps_pending_is_question(pending))
		quota_warn(quota->conf, quota->user, &quota->limit, &used, &after);
	return r;
}

const struct ps_extension quota_extension = {
	.open = quota_open,
	.close = quota_close,
	.before_commit = quota_before_commit,
	.limit = quota_limit,
	.set_limit = quota_set_limit,
};
