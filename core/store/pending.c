/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdlib.h>
#include "core/config/config.h"
#include "core/process/plugins.h"
#include "core/store/pending.h"

struct ps_attached {
	struct ps_attached *next;
	const struct ps_extension *ops;
	void *state;
};

struct ps_pending {
	struct ps_user *user;
	const struct ps_batch *batch;
	bool question, grown;
	struct ps_usage added, removed;
	struct ps_tally *tally;
	char *target;
};

/* ---- attaching ------------------------------------------------------------------------------- */

int ps_extension_attach(struct ps_user *user, const struct ps_extension *ops, const struct ps_extension_args *args)
{
	struct ps_attached **end = &user->attached, *attached;
	void *state = NULL;
	int r = ops->open(args, &state);

	if (r < 0 || !state)
		return r;
	while (*end)
		end = &(*end)->next;
	attached = ps_zalloc(sizeof *attached);
	*attached = (struct ps_attached){.ops = ops, .state = state};
	*end = attached;
	atomic_store(&user->is_asked, true);
	return 0;
}

/* Calls fn for each that is loaded, with its section, until one gives another value than 0. */
static int each_loaded(const struct ps_extension_args *args, const struct ps_conf *core_conf,
		       int (*fn)(void *arg, const struct ps_extension *ops, const struct ps_extension_args *args),
		       void *arg)
{
	const struct ps_plugin *plugin;
	int r = 0;

	for (size_t i = 0; r == 0 && (plugin = ps_plugin_nth(i)); i++) {
		struct ps_extension_args own = *args;

		if (plugin->kind != PS_PLUGIN_EXTENSION)
			continue;
		own.conf = core_conf ? ps_conf_plugin(core_conf, "extension", plugin->name) : NULL;
		r = fn(arg, plugin->ops, &own);
	}
	return r;
}

static int attach(void *arg, const struct ps_extension *ops, const struct ps_extension_args *args)
{
	return ps_extension_attach(arg, ops, args);
}

int ps_extensions_attach(struct ps_user *user, const struct ps_extension_args *args, const struct ps_conf *core_conf)
{
	return each_loaded(args, core_conf, attach, user);
}

/* One that fails will say so where it counts. */
static int try_to_open(void *arg, const struct ps_extension *ops, const struct ps_extension_args *args)
{
	void *state = NULL;

	(void)arg;
	if (ops->open(args, &state) < 0 || !state)
		return 0;
	ops->close(state);
	return 1;
}

bool ps_extensions_concern(const struct ps_user_info *info, const struct ps_conf *core_conf)
{
	const struct ps_extension_args args = {.user = info};

	return each_loaded(&args, core_conf, try_to_open, NULL) == 1;
}

void ps_extensions_detach(struct ps_user *user)
{
	struct ps_attached *attached;

	atomic_store(&user->is_asked, false);
	while ((attached = user->attached)) {
		user->attached = attached->next;
		attached->ops->close(attached->state);
		free(attached);
	}
}

bool ps_extensions_limit(struct ps_user *user, struct ps_usage *ret_limit)
{
	bool set = false;

	*ret_limit = (struct ps_usage){0};
	for (const struct ps_attached *attached = user->attached; attached; attached = attached->next)
		if (attached->ops->limit)
			set |= attached->ops->limit(attached->state, ret_limit);
	return set;
}

int ps_extensions_set_limit(struct ps_user *user, const struct ps_usage *limit)
{
	for (const struct ps_attached *attached = user->attached; attached; attached = attached->next)
		if (attached->ops->set_limit)
			return attached->ops->set_limit(attached->state, limit);
	return ps_fail(PS_E_UNSUPPORTED, "no extension takes limits");
}

/* ---- what a batch does ----------------------------------------------------------------------- */

static int add_row(void *arg, const struct ps_row *row)
{
	struct ps_usage *usage = arg;

	usage->octets += row->size;
	usage->messages++;
	return 0;
}

struct expunging {
	struct ps_usage *usage;
	bool only_deleted;
};

static int add_expunged(void *arg, const struct ps_row *row)
{
	const struct expunging *expunging = arg;

	if (expunging->only_deleted && !(row->flags & PS_FLAG_DELETED))
		return 0;
	return add_row(expunging->usage, row);
}

static int add_op(struct ps_pending *pending, struct ps_read *read, const struct ps_op *op)
{
	const struct ps_backend *ops = pending->user->ops;
	struct expunging expunging = {&pending->removed, op->only_deleted};
	int r = 0;

	if (op->kind == PS_OP_APPEND) {
		pending->added.octets += op->size;
		pending->added.messages++;
	}
	for (size_t i = 0; i < op->uid_count && r == 0; i++) {
		if (op->kind == PS_OP_COPY)
			r = ops->scan(read, op->mbox, op->uids[i], 0, add_row, &pending->added);
		else if (op->kind == PS_OP_EXPUNGE)
			r = ops->scan(read, op->mbox, op->uids[i], 0, add_expunged, &expunging);
	}
	return r;
}

static bool adds(const struct ps_op *op)
{
	return op->kind == PS_OP_APPEND || op->kind == PS_OP_COPY;
}

/* The rows of what is only removed need not be read: nobody minds. */
static bool adds_anything(const struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		if (adds(&batch->ops[i]))
			return true;
	return false;
}

static int measure(struct ps_pending *pending)
{
	const struct ps_backend *ops = pending->user->ops;
	struct ps_read *read;
	int r;

	pending->grown = true;
	if (!adds_anything(pending->batch))
		return 0;
	if ((r = ops->read_begin(pending->user->store, &read)) < 0)
		return r;
	for (size_t i = 0; i < pending->batch->count && r == 0; i++)
		r = add_op(pending, read, &pending->batch->ops[i]);
	ops->read_end(read);
	return r == PS_E_GONE ? 0 : r; /* the commit will say so, too */
}

const struct ps_batch *ps_pending_batch(const struct ps_pending *pending)
{
	return pending->batch;
}

bool ps_pending_is_question(const struct ps_pending *pending)
{
	return pending->question;
}

int ps_pending_growth(struct ps_pending *pending, struct ps_usage *ret_added, struct ps_usage *ret_removed)
{
	int r = pending->grown ? 0 : measure(pending);

	if (r < 0)
		return r;
	*ret_added = pending->added;
	*ret_removed = pending->removed;
	return 0;
}

int ps_pending_usage(struct ps_pending *pending, struct ps_usage *ret_used)
{
	struct ps_tally *tally = pending->tally;
	int r = tally->counted ? 0 : ps_usage_count(pending->user, &tally->used);

	if (r < 0)
		return r;
	tally->counted = true;
	*ret_used = tally->used;
	return 0;
}

/* NULL: there is more than one, or none. */
static struct ps_mbox *only_target(const struct ps_batch *batch)
{
	struct ps_mbox *only = NULL;

	for (size_t i = 0; i < batch->count; i++) {
		const struct ps_op *op = &batch->ops[i];
		struct ps_mbox *target = op->kind == PS_OP_COPY ? op->target : op->mbox;

		if (!adds(op))
			continue;
		if (only && only != target)
			return NULL;
		only = target;
	}
	return only;
}

static int read_name(struct ps_pending *pending, struct ps_mbox *mbox)
{
	const struct ps_backend *ops = pending->user->ops;
	struct ps_mailbox_info info;
	struct ps_read *read;
	int r = ops->read_begin(pending->user->store, &read);

	if (r < 0)
		return r;
	if ((r = ops->info(read, mbox, &info)) == 0)
		pending->target = ps_strdup(info.name);
	ops->read_end(read);
	return r;
}

int ps_pending_target(struct ps_pending *pending, const char **ret_name)
{
	struct ps_mbox *mbox = only_target(pending->batch);
	int r = mbox && !pending->target ? read_name(pending, mbox) : 0;

	if (r == 0)
		*ret_name = pending->target;
	return r;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* The next batch is asked about before this one is committed. What is removed counts when it has gone. */
static void count_in(const struct ps_pending *pending)
{
	struct ps_tally *tally = pending->tally;

	if (!tally->counted || pending->question)
		return;
	tally->used.octets += pending->added.octets;
	tally->used.messages += pending->added.messages;
}

int ps_pending_ask(struct ps_user *user, const struct ps_batch *batch, bool question, struct ps_tally *tally)
{
	struct ps_pending pending = {.user = user, .batch = batch, .question = question, .tally = tally};
	int r = 0;

	for (const struct ps_attached *attached = user->attached; attached && r == 0; attached = attached->next)
		if (attached->ops->before_commit)
			r = attached->ops->before_commit(attached->state, &pending);
	if (r == 0)
		count_in(&pending);
	free(pending.target);
	return r;
}
