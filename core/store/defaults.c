/* SPDX-License-Identifier: MIT */
/*
 * The mailboxes of a new user.
 *
 * A store is new while it knows no name but INBOX, and INBOX is not subscribed. Making the defaults subscribes INBOX
 * in the same batch: so it is done once, wholly, and not again when somebody deletes them all.
 */
#include "core/store/mount.h"

static const struct {
	const char *word;
	uint32_t attribute;
} special_uses[] = {
	{"none", 0},
	{"all", PS_MBOX_ALL},
	{"archive", PS_MBOX_ARCHIVE},
	{"drafts", PS_MBOX_DRAFTS},
	{"flagged", PS_MBOX_FLAGGED},
	{"junk", PS_MBOX_JUNK},
	{"sent", PS_MBOX_SENT},
	{"trash", PS_MBOX_TRASH},
};

static const struct {
	const char *name;
	uint32_t attribute;
} built_in[] = {
	{"Drafts", PS_MBOX_DRAFTS}, {"Sent", PS_MBOX_SENT},       {"Junk", PS_MBOX_JUNK},
	{"Trash", PS_MBOX_TRASH},   {"Archive", PS_MBOX_ARCHIVE},
};

/* Non-zero: the store is not new. */
static int looks_used(void *arg, const struct ps_mailbox_info *info)
{
	(void)arg;
	return strcmp(info->name, "INBOX") != 0 || (info->attributes & PS_MBOX_SUBSCRIBED);
}

static int is_new(struct ps_user *user)
{
	struct ps_read *read;
	int r = user->ops->read_begin(user->store, &read);

	if (r < 0)
		return r;
	r = user->ops->list(read, looks_used, NULL);
	user->ops->read_end(read);
	return r < 0 ? r : r == 0;
}

struct plan {
	struct ps_pool *pool;
	struct ps_op *ops;
	size_t count, cap;
};

static void plan_op(struct plan *plan, struct ps_op op)
{
	plan->ops = ps_pool_grow(plan->pool, plan->ops, plan->count, &plan->cap, sizeof *plan->ops);
	plan->ops[plan->count++] = op;
}

static void plan_mailbox(struct plan *plan, const char *name, uint32_t attribute, bool subscribe)
{
	plan_op(plan, (struct ps_op){.kind = PS_OP_CREATE, .name = name, .attributes = attribute});
	if (subscribe)
		plan_op(plan, (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = name, .subscribed = true});
}

static uint32_t special_use(const char *word)
{
	for (size_t i = 0; word && i < PS_ARRAY_LEN(special_uses); i++)
		if (strcmp(special_uses[i].word, word) == 0)
			return special_uses[i].attribute;
	return 0;
}

static int plan_configured(struct plan *plan, const struct ps_conf *conf)
{
	for (size_t i = 0; i < ps_conf_section_count(conf, "mailbox"); i++) {
		const struct ps_conf *section = ps_conf_section(conf, "mailbox", i);
		const char *name;
		int r = ps_mailbox_name_normalise(ps_bytes_str(ps_conf_title(section)), plan->pool, &name);

		if (r < 0)
			return r;
		if (strcmp(name, "INBOX") != 0)
			plan_mailbox(plan, name, special_use(ps_conf_str(section, "special_use")),
				     ps_conf_bool(section, "subscribe"));
	}
	return 0;
}

/* INBOX is always there: its section says only what goes from it. */
static bool is_configured(const struct ps_conf *conf)
{
	for (size_t i = 0; conf && i < ps_conf_section_count(conf, "mailbox"); i++)
		if (ps_strcasecmp(ps_conf_title(ps_conf_section(conf, "mailbox", i)), "INBOX") != 0)
			return true;
	return false;
}

/* One that lies in a mounted store, which may have it already. */
static int do_mounted(struct ps_user *user, struct ps_pool *pool, struct ps_op op)
{
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = pool, .results = &result};
	struct ps_user *store;
	int r = ps_mount_resolve(user, op.name, &store, &op.name);

	if (r < 0)
		return r;
	if (op.kind == PS_OP_CREATE && strcmp(op.name, "INBOX") == 0)
		op.kind = PS_OP_ATTRIBUTES;
	r = ps_commit(store, &batch);
	return r == PS_E_EXISTS ? 0 : r;
}

/* Does what lies in mounted stores and takes it out of the plan. Before the rest: with that, the defaults count as made. */
static int make_mounted(struct ps_user *user, struct plan *plan)
{
	size_t kept = 0;

	for (size_t i = 0; i < plan->count; i++) {
		int r = 0;

		if (ps_mount_of(user, plan->ops[i].name))
			r = do_mounted(user, plan->pool, plan->ops[i]);
		else
			plan->ops[kept++] = plan->ops[i];
		if (r < 0)
			return r;
	}
	plan->count = kept;
	return 0;
}

static int make(struct ps_user *user, struct ps_pool *pool, const struct ps_conf *conf)
{
	struct plan plan = {.pool = pool};
	struct ps_batch batch = {.pool = pool};
	int r;

	if (is_configured(conf)) {
		if ((r = plan_configured(&plan, conf)) < 0)
			return r;
	} else {
		for (size_t i = 0; i < PS_ARRAY_LEN(built_in); i++)
			plan_mailbox(&plan, built_in[i].name, built_in[i].attribute, true);
	}
	if ((r = make_mounted(user, &plan)) < 0)
		return r;
	plan_op(&plan, (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "INBOX", .subscribed = true});
	batch.ops = plan.ops;
	batch.count = plan.count;
	batch.results = PS_NEWV(pool, struct ps_op_result, plan.count);
	r = ps_commit(user, &batch);
	/* Another process was first. */
	return r == PS_E_EXISTS ? 0 : r;
}

int ps_user_make_defaults(struct ps_user *user, const struct ps_conf *core_conf)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("defaults");
	int r = is_new(user);

	return r > 0 ? make(user, pool, core_conf) : r;
}
