/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "extensions/quota/quota.h"
#include "postern/error.h"

/* Of one store. One that has no limit has none of these. */
struct quota {
	const struct ps_conf *conf;
	struct ps_usage limit;
	bool mounted;
	char user[]; /* the name */
};

static int quota_open(const struct ps_extension_args *args, void **ret_state)
{
	size_t size = strlen(args->user->name) + 1;
	struct ps_usage limit;
	struct quota *quota;

	quota_limits(args, &limit);
	if (limit.octets == 0 && limit.messages == 0)
		return 0;
	quota = ps_zalloc(sizeof *quota + size);
	quota->conf = args->conf;
	quota->limit = limit;
	quota->mounted = args->mount != NULL;
	memcpy(quota->user, args->user->name, size);
	*ret_state = quota;
	return 0;
}

static void quota_close(void *state)
{
	free(state);
}

static void quota_limit(void *state, struct ps_usage *ret_limit)
{
	const struct quota *quota = state;

	*ret_limit = quota->limit;
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
	const struct quota *quota = state;
	struct ps_usage added, removed, used, after;
	int r = ps_pending_growth(pending, &added, &removed);

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
};
