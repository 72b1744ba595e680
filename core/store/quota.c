/* SPDX-License-Identifier: MIT */
/*
 * What a user's stores hold, and may hold. The figures are the mailboxes' own (struct ps_mailbox_info): there is no counter
 * beside them that could be another.
 */
#include <stdlib.h>
#include "core/process/plugins.h"
#include "core/store/mailbox.h"
#include "core/store/mount.h"
#include "core/store/pending.h"

/* ---- counting -------------------------------------------------------------------------------- */

static int add_info(void *arg, const struct ps_mailbox_info *info)
{
	struct ps_usage *used = arg;

	if (info->attributes & PS_MBOX_EXISTS) {
		used->octets += info->size;
		used->messages += info->messages;
	}
	return 0;
}

int ps_usage_count(struct ps_user *user, struct ps_usage *ret_used)
{
	struct ps_usage used = {0};
	struct ps_read *read;
	int r = user->ops->read_begin(user->store, &read);

	if (r < 0)
		return r;
	r = user->ops->list(read, add_info, &used);
	user->ops->read_end(read);
	if (r == 0)
		*ret_used = used;
	return r;
}

struct names {
	struct ps_pool *pool;
	const char **all;
	size_t count, cap;
};

static int take_name(void *arg, const struct ps_mailbox_info *info)
{
	struct names *names = arg;

	if (!(info->attributes & PS_MBOX_EXISTS))
		return 0;
	names->all = ps_pool_grow(names->pool, names->all, names->count, &names->cap, sizeof *names->all);
	names->all[names->count++] = ps_pool_strdup(names->pool, info->name);
	return 0;
}

/* Each mailbox of one store. One that goes meanwhile is passed over. */
static int each_mailbox(struct ps_user *user, int (*fn)(struct ps_user *user, struct ps_mbox *mbox, void *arg),
			void *arg)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("mailboxes");
	struct names names = {.pool = pool};
	struct ps_read *read;
	int r = user->ops->read_begin(user->store, &read);

	if (r < 0)
		return r;
	r = user->ops->list(read, take_name, &names);
	user->ops->read_end(read);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		struct ps_mbox *mbox;

		r = user->ops->mailbox_open(user->store, names.all[i], &mbox);
		if (r == 0) {
			r = fn(user, mbox, arg);
			user->ops->mailbox_close(mbox);
		}
		if (r == PS_E_NOTFOUND || r == PS_E_GONE)
			r = 0;
	}
	return r;
}

struct looking {
	int (*look)(struct ps_user *user, struct ps_mbox *mbox);
};

static int look_at(struct ps_user *user, struct ps_mbox *mbox, void *arg)
{
	const struct looking *looking = arg;
	int r = looking->look(user, mbox);

	return r < 0 ? r : 0;
}

int ps_usage_look(struct ps_user *user, int (*look)(struct ps_user *user, struct ps_mbox *mbox))
{
	struct looking looking = {look};
	int r = look(user, NULL);

	return r < 0 ? r : each_mailbox(user, look_at, &looking);
}

static int add_row(void *arg, const struct ps_row *row)
{
	struct ps_usage *used = arg;

	used->octets += row->size;
	used->messages++;
	return 0;
}

static int add_rows(struct ps_user *user, struct ps_mbox *mbox, void *arg)
{
	const struct ps_range all = {1, UINT32_MAX};
	struct ps_read *read;
	int r = user->ops->read_begin(user->store, &read);

	if (r < 0)
		return r;
	r = user->ops->scan(read, mbox, all, 0, add_row, arg);
	user->ops->read_end(read);
	return r;
}

/* ---- roots ----------------------------------------------------------------------------------- */

bool ps_quota_offered(void)
{
	const struct ps_plugin *plugin;

	for (size_t i = 0; (plugin = ps_plugin_nth(i)); i++)
		if (plugin->kind == PS_PLUGIN_EXTENSION && ((const struct ps_extension *)plugin->ops)->limit)
			return true;
	return false;
}

const char *ps_user_quota_root(struct ps_user *user, const char *mailbox)
{
	const char *mount = ps_mount_of(ps_user_now(user), mailbox);

	return mount ? mount : "";
}

/* The store that is a root. */
struct finding {
	const char *root;
	struct ps_user *store;
};

static int find_mounted(void *arg, const char *name, struct ps_user *mounted)
{
	struct finding *finding = arg;

	if (strcmp(name, finding->root) == 0)
		finding->store = mounted;
	return 0;
}

static int find_root(struct ps_user *user, const char *root, struct ps_user **ret_store)
{
	struct finding finding = {.root = root, .store = *root ? NULL : ps_user_now(user)};
	int r = *root ? ps_mounts_each(ps_user_now(user), find_mounted, &finding) : 0;

	if (r < 0)
		return r;
	if (!finding.store)
		return ps_fail(PS_E_NOTFOUND, "no quota root %s", root);
	*ret_store = finding.store;
	return 0;
}

static int quota_once(struct ps_user *user, const char *root, struct ps_quota *ret_quota)
{
	struct ps_quota quota = {.root = root};
	struct ps_user *store;
	int r;

	if ((r = find_root(user, root, &store)) < 0 || (r = ps_usage_look(store, ps_user_look)) < 0 ||
	    (r = ps_usage_count(store, &quota.used)) < 0)
		return r;
	quota.set = ps_commit_limit(store, &quota.limit);
	*ret_quota = quota;
	return 0;
}

int ps_user_quota(struct ps_user *user, const char *root, struct ps_quota *ret_quota)
{
	int r = quota_once(user, root, ret_quota);

	return r == PS_E_MOVED ? quota_once(user, root, ret_quota) : r;
}

int ps_user_set_quota(struct ps_user *user, const char *root, const struct ps_usage *limit)
{
	struct ps_user *store;
	int r = find_root(user, root, &store);

	return r < 0 ? r : ps_commit_set_limit(store, limit);
}

struct telling {
	struct ps_user *user;
	int (*fn)(void *arg, const struct ps_quota *quota);
	void *arg;
};

static int tell(struct telling *telling, const char *root)
{
	struct ps_quota quota;
	int r = ps_user_quota(telling->user, root, &quota);

	return r < 0 ? r : telling->fn(telling->arg, &quota);
}

static int tell_mounted(void *arg, const char *name, struct ps_user *mounted)
{
	(void)mounted;
	return tell(arg, name);
}

int ps_user_quotas(struct ps_user *user, int (*fn)(void *arg, const struct ps_quota *quota), void *arg)
{
	struct telling telling = {user, fn, arg};
	int r = tell(&telling, "");

	return r != 0 ? r : ps_mounts_each(ps_user_now(user), tell_mounted, &telling);
}

int ps_user_recount(struct ps_user *user, const char *root, struct ps_usage *ret_used)
{
	struct ps_usage used = {0};
	struct ps_user *store;
	int r;

	if ((r = find_root(user, root, &store)) < 0 || (r = ps_usage_look(store, ps_user_look)) < 0 ||
	    (r = each_mailbox(store, add_rows, &used)) < 0)
		return r;
	*ret_used = used;
	return 0;
}

/* ---- what deleting would win ----------------------------------------------------------------- */

static int add_deleted(void *arg, const struct ps_row *row)
{
	if (row->flags & PS_FLAG_DELETED)
		*(uint64_t *)arg += row->size;
	return 0;
}

int ps_user_deleted_octets(struct ps_user *user, const char *name, uint64_t *ret_octets)
{
	const struct ps_range all = {1, UINT32_MAX};
	struct ps_mailbox *mailbox;
	struct ps_read *read;
	uint64_t octets = 0;
	int r = ps_mailbox_open(user, name, &mailbox);

	if (r < 0)
		return r;
	user = mailbox->user;
	if ((r = user->ops->read_begin(user->store, &read)) == 0) {
		r = user->ops->scan(read, mailbox->mbox, all, 0, add_deleted, &octets);
		user->ops->read_end(read);
	}
	ps_mailbox_close(mailbox);
	if (r == 0)
		*ret_octets = octets;
	return r == PS_E_GONE ? PS_E_NOTFOUND : r;
}
