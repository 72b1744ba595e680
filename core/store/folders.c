/* SPDX-License-Identifier: MIT */
/*
 * The mailboxes of a user: list, status, create, delete, rename, subscribe.
 */
#include <stdlib.h>
#include "core/store/mailbox.h"
#include "core/store/mount.h"
#include "core/store/recent.h"

/* A list of mailboxes, copied so that nothing is held while it is used. */
struct list {
	struct ps_pool *pool;
	struct ps_mailbox_info *infos;
	size_t count, cap;
};

static int take_info(void *arg, const struct ps_mailbox_info *info)
{
	struct list *list = arg;

	list->infos = ps_pool_grow(list->pool, list->infos, list->count, &list->cap, sizeof *list->infos);
	list->infos[list->count] = *info;
	list->infos[list->count++].name = ps_pool_strdup(list->pool, info->name);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct ps_mailbox_info *)a)->name, ((const struct ps_mailbox_info *)b)->name);
}

static void sort_list(struct list *list)
{
	if (list->count > 1)
		qsort(list->infos, list->count, sizeof *list->infos, by_name);
}

static struct ps_mailbox_info *find_info(const struct list *list, size_t sorted, const char *name)
{
	struct ps_mailbox_info key = {.name = name};

	return sorted ? bsearch(&key, list->infos, sorted, sizeof key, by_name) : NULL;
}

/* A name above others exists for the client, even when there is no such mailbox. */
static void add_parents(struct list *list)
{
	size_t sorted = list->count;
	const char *last = "";

	for (size_t i = 0; i < sorted; i++) {
		const char *name = list->infos[i].name;

		for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
			struct ps_mailbox_info parent = {
				.name = ps_pool_strndup(list->pool, name, (size_t)(slash - name))};

			if (strcmp(last, parent.name) == 0 || find_info(list, sorted, parent.name))
				continue;
			take_info(list, &parent);
			last = list->infos[list->count - 1].name;
		}
	}
	sort_list(list);
}

/* Siblings of one missing parent may have brought it in more than once. */
static void drop_repeated(struct list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->count; i++)
		if (n == 0 || strcmp(list->infos[n - 1].name, list->infos[i].name) != 0)
			list->infos[n++] = list->infos[i];
	list->count = n;
}

static void keep_below(struct list *list, const char *top)
{
	size_t n = 0;

	for (size_t i = 0; i < list->count; i++)
		if (ps_mailbox_name_is_below(list->infos[i].name, top))
			list->infos[n++] = list->infos[i];
	list->count = n;
}

/* Those that are `top` or below it; NULL: all. */
static int read_list(struct ps_user *user, struct ps_pool *pool, const char *top, struct list *ret_list)
{
	const struct ps_backend *ops = user->ops;
	struct list list = {.pool = pool};
	struct ps_read *read;
	int r;

	if ((r = ps_user_look(user, NULL)) < 0 || (r = ops->read_begin(user->store, &read)) < 0)
		return r;
	r = top && ops->list_below ? ops->list_below(read, top, take_info, &list) : ops->list(read, take_info, &list);
	ops->read_end(read);
	if (r < 0)
		return r;
	if (top && !ops->list_below)
		keep_below(&list, top);
	sort_list(&list);
	*ret_list = list;
	return 0;
}

/* What a mounted store holds, as its mount is named. */
static int add_mounted(void *arg, const char *name, struct ps_user *mounted)
{
	struct list *all = arg, list;
	int r = read_list(mounted, all->pool, NULL, &list);

	for (size_t i = 0; i < list.count && r == 0; i++) {
		struct ps_mailbox_info info = list.infos[i];

		info.name =
			strcmp(info.name, "INBOX") == 0 ? name : ps_pool_printf(all->pool, "%s/%s", name, info.name);
		take_info(all, &info);
	}
	return r;
}

/* What the user's own store has below a mount, from before it was mounted, cannot be reached. */
static void drop_hidden(struct ps_user *user, struct list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->count; i++)
		if (!ps_mount_of(user, list->infos[i].name))
			list->infos[n++] = list->infos[i];
	list->count = n;
}

static int gather_list(struct ps_user *user, const char *top, struct list *list)
{
	int r = read_list(user, list->pool, user->mounts ? NULL : top, list);

	if (r < 0)
		return r;
	drop_hidden(user, list);
	if ((r = ps_mounts_each(user, add_mounted, list)) < 0)
		return r;
	sort_list(list);
	add_parents(list);
	drop_repeated(list);
	if (top)
		keep_below(list, top);
	return 0;
}

int ps_user_list_below(struct ps_user *user, const char *top, ps_mailbox_fn fn, void *arg)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("list");
	struct list list = {.pool = pool};
	int r = gather_list(ps_user_now(user), top, &list);

	if (r == PS_E_MOVED)
		r = gather_list(ps_user_now(user), top, &list);
	for (size_t i = 0; i < list.count && r == 0; i++)
		r = fn(arg, &list.infos[i]);
	return r;
}

int ps_user_list(struct ps_user *user, ps_mailbox_fn fn, void *arg)
{
	return ps_user_list_below(user, NULL, fn, arg);
}

static int count_row(void *arg, const struct ps_row *row)
{
	(void)row;
	++*(uint32_t *)arg;
	return 0;
}

/* The messages a session that selects the mailbox now would be told as \Recent. */
static int count_recent(const struct ps_backend *ops, struct ps_read *read, struct ps_mbox *mbox,
			struct ps_mailbox_info *info)
{
	struct ps_range uids = {ps_recent_from(&info->id, info->uid_next, false), UINT32_MAX};

	info->recent = uids.first == 1 ? info->messages : 0;
	if (uids.first == 1 || uids.first >= info->uid_next)
		return 0;
	return ops->scan(read, mbox, uids, 0, count_row, &info->recent);
}

static int status_once(struct ps_user *user, const char *name, struct ps_mailbox_info *ret_info)
{
	const struct ps_backend *ops;
	struct ps_mailbox *mailbox;
	struct ps_mailbox_info info;
	struct ps_read *read;
	int r = ps_mailbox_open(user, name, &mailbox);

	if (r < 0)
		return r;
	user = mailbox->user;
	ops = user->ops;
	if ((r = ps_user_look(user, mailbox->mbox)) >= 0 && (r = ops->read_begin(user->store, &read)) == 0) {
		if ((r = ops->info(read, mailbox->mbox, &info)) == 0)
			r = count_recent(ops, read, mailbox->mbox, &info);
		ops->read_end(read);
	}
	/* What was found out is news for those who have the mailbox open, too. */
	ps_mailbox_refresh(mailbox, NULL);
	ps_mailbox_close(mailbox);
	if (r < 0)
		return r == PS_E_GONE ? PS_E_NOTFOUND : r;
	info.name = name;
	*ret_info = info;
	return 0;
}

int ps_user_status(struct ps_user *user, const char *name, struct ps_mailbox_info *ret_info)
{
	int r = status_once(user, name, ret_info);

	return r == PS_E_MOVED ? status_once(user, name, ret_info) : r;
}

static int commit_ops(struct ps_user *user, struct ps_pool *pool, const struct ps_op *ops, size_t count)
{
	struct ps_batch batch = {
		.ops = ops, .count = count, .pool = pool, .results = PS_NEWV(pool, struct ps_op_result, count)};

	return ps_commit(user, &batch);
}

static int commit_op(struct ps_user *user, const struct ps_op *op)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("mailbox");

	return commit_ops(user, pool, op, 1);
}

static int create_once(struct ps_user *user, const char *name, uint32_t special_use)
{
	struct ps_op op = {.kind = PS_OP_CREATE, .attributes = special_use & PS_MBOX_SPECIAL_USES};
	int r;

	if ((r = ps_mailbox_name_check(name)) < 0 || (r = ps_mount_resolve(user, name, &user, &op.name)) < 0 ||
	    (r = ps_user_look(user, NULL)) < 0)
		return r;
	return commit_op(user, &op);
}

int ps_user_create(struct ps_user *user, const char *name, uint32_t special_use)
{
	int r = create_once(user, name, special_use);

	return r == PS_E_MOVED ? create_once(user, name, special_use) : r;
}

static int delete_once(struct ps_user *user, const char *name)
{
	struct ps_op op = {.kind = PS_OP_DELETE};
	struct ps_mailbox *mailbox;
	int r = ps_mount_resolve(user, name, &user, &op.name);

	if (r < 0)
		return r;
	if (strcmp(op.name, "INBOX") == 0)
		return ps_fail(PS_E_INVALID, "%s cannot be deleted", name);
	if ((r = ps_mailbox_open(user, op.name, &mailbox)) < 0)
		return r;
	r = commit_op(user, &op);
	ps_mailbox_refresh(mailbox, NULL);
	ps_mailbox_close(mailbox);
	return r;
}

int ps_user_delete(struct ps_user *user, const char *name)
{
	int r = delete_once(user, name);

	return r == PS_E_MOVED ? delete_once(user, name) : r;
}

static int subscribe_once(struct ps_user *user, const char *name, bool subscribed)
{
	struct ps_op op = {.kind = PS_OP_SUBSCRIBE, .subscribed = subscribed};
	int r = ps_mailbox_name_check(name);

	if (r < 0 || (r = ps_mount_resolve(user, name, &user, &op.name)) < 0)
		return r;
	return commit_op(user, &op);
}

int ps_user_subscribe(struct ps_user *user, const char *name, bool subscribed)
{
	int r = subscribe_once(user, name, subscribed);

	return r == PS_E_MOVED ? subscribe_once(user, name, subscribed) : r;
}

/* ---- rename -------------------------------------------------------------------------------- */

/* Others may have put mail into it already. */
static void remove_empty(struct ps_user *user, const char *name)
{
	struct ps_mailbox_info info;

	if (ps_user_status(user, name, &info) == 0 && info.messages == 0)
		commit_op(user, &(struct ps_op){.kind = PS_OP_DELETE, .name = name});
}

/*
 * RFC 9051 section 6.3.6: the messages of INBOX move to a new mailbox; what is below INBOX stays. These are two batches,
 * as a MOVE needs a handle, and the new mailbox has none before it is there.
 */
static int rename_inbox(struct ps_user *user, const char *to)
{
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op op = {.kind = PS_OP_MOVE, .uids = &all, .uid_count = 1};
	struct ps_mailbox *inbox = NULL, *target = NULL;
	int r;

	if ((r = ps_user_create(user, to, 0)) < 0)
		return r;
	if ((r = ps_mailbox_open(user, "INBOX", &inbox)) == 0 && (r = ps_mailbox_open(user, to, &target)) == 0) {
		op.mbox = inbox->mbox;
		op.target = target->mbox;
		r = commit_op(user, &op);
		ps_mailbox_refresh(inbox, NULL);
		ps_mailbox_refresh(target, NULL);
	}
	ps_mailbox_close(target);
	ps_mailbox_close(inbox);
	if (r < 0)
		remove_empty(user, to);
	return r;
}

static int add_rename(struct ps_pool *pool, const char *name, const char *from, const char *to, struct ps_op *op)
{
	const char *new_name = ps_pool_printf(pool, "%s%s", to, name + strlen(from));

	*op = (struct ps_op){.kind = PS_OP_RENAME, .name = name, .new_name = new_name};
	return ps_mailbox_name_check(new_name);
}

static int rename_within(struct ps_user *user, const char *from, const char *to)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("rename");
	const struct ps_mailbox_info *there;
	struct list list, taken;
	struct ps_op *ops;
	size_t count = 0;
	int r;

	if (ps_mailbox_name_is_below(to, from))
		return ps_fail(strcmp(to, from) == 0 ? PS_E_EXISTS : PS_E_INVALID, "rename %s to %s", from, to);
	if ((r = read_list(user, pool, to, &taken)) < 0 || (r = read_list(user, pool, from, &list)) < 0)
		return r;
	/* The backend sees to it where `from` is a mailbox itself; here it may be but a name with others below. */
	there = find_info(&taken, taken.count, to);
	if (there && there->attributes & PS_MBOX_EXISTS)
		return ps_fail(PS_E_EXISTS, "mailbox %s exists", to);
	ops = PS_NEWV(pool, struct ps_op, list.count);
	for (size_t i = 0; i < list.count && r == 0; i++)
		if (list.infos[i].attributes & PS_MBOX_EXISTS)
			r = add_rename(pool, list.infos[i].name, from, to, &ops[count++]);
	if (r < 0)
		return r;
	if (count == 0)
		return ps_fail(PS_E_NOTFOUND, "mailbox %s does not exist", from);
	if ((r = commit_ops(user, pool, ops, count)) < 0)
		return r;
	ps_mailboxes_refresh(user); /* open views learn the new name */
	return 0;
}

static int rename_once(struct ps_user *user, const char *from, const char *to)
{
	const char *from_there, *to_there;
	struct ps_user *store, *target;
	int r;

	if ((r = ps_mailbox_name_check(to)) < 0 || (r = ps_mount_resolve(user, from, &store, &from_there)) < 0 ||
	    (r = ps_mount_resolve(user, to, &target, &to_there)) < 0)
		return r;
	if (store != target || ps_mount_is_at_or_below(ps_user_now(user), from))
		return ps_fail(PS_E_UNSUPPORTED, "rename %s to %s: from one store to another", from, to);
	if (strcmp(from_there, "INBOX") == 0) {
		r = rename_inbox(store, to_there);
		return r == PS_E_MOVED ? PS_E_BUSY : r; /* a part may be done: the client shall look first */
	}
	return rename_within(store, from_there, to_there);
}

int ps_user_rename(struct ps_user *user, const char *from, const char *to)
{
	int r = rename_once(user, from, to);

	return r == PS_E_MOVED ? rename_once(user, from, to) : r;
}
