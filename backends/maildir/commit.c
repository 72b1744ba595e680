/* SPDX-License-Identifier: MIT */
/*
 * An attempt at a commit: plan all batches, reserve, run the steps, sync each directory once, commit the index. What goes wrong
 * with files undoes them all. Where all that is to be done is to change flags of many messages, the steps are written down instead of run
 * (later.c); before anything else is done to files, those that were written down are run.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

static void plan_finish(struct plan *plan)
{
	struct ps_store *store = plan->steps.store;

	steps_finish(&plan->steps);
	/* A batch that recovery is to complete still needs them. */
	for (size_t i = 0; i < plan->removal_count && !store->cat.pending; i++)
		if (ps_io.unlink(store->cat.aside_fd, plan->removals[i], 0) < 0)
			remove_tree(store->cat.aside_fd, plan->removals[i]);
	ps_plan_finish(&plan->p);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static bool removes(const struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		enum ps_op_kind kind = batch->ops[i].kind;

		if (kind == PS_OP_EXPUNGE || kind == PS_OP_MOVE || kind == PS_OP_DELETE)
			return true;
	}
	return false;
}

/* Chooses where the token goes, too. A time given from outside says nothing of when a name may be forgotten. */
int plan_token_seen(struct ps_plan *base, const struct ps_batch *batch)
{
	struct plan *plan = plan_of(base);

	plan->named = NULL;
	plan->token = token_id(batch->token);
	if (!plan->removes && batch->count > 0 && batch->ops[0].kind == PS_OP_APPEND && batch->ops[0].save_date == 0)
		plan->named = &batch->ops[0];
	return token_find(&plan->w, &plan->token);
}

int plan_token_keep(struct ps_plan *base, const struct ps_batch *batch)
{
	struct plan *plan = plan_of(base);
	int64_t now = ps_catalogue_now();
	bool named = plan->named != NULL;
	struct ps_buf line = {0}, refused = {0};
	struct step *step;
	uint32_t dir;

	(void)batch;
	if (!named) {
		dir = steps_dir(&plan->steps, PS_CATALOGUE_CONTROL, NULL, PLACE_CUR);
		step = steps_add(&plan->steps, STEP_LINES, dir, NULL, dir, TOKENS_FILE);
		token_line(&line, &plan->token, now, false);
		token_line(&refused, &plan->token, now, true);
		step->data = ps_bytes(ps_pool_memdup(plan->p.pool, line.ptr, line.len), line.len);
		step->old = ps_bytes(ps_pool_memdup(plan->p.pool, refused.ptr, refused.len), refused.len);
		ps_buf_finish(&line);
		ps_buf_finish(&refused);
	}
	return token_put(&plan->w, &plan->token, now, named);
}

/* Before anything is planned. Expunging must work where there is no room for a line; the index still knows then. */
static int keep_tokens(struct ps_catalogue_group *group, struct plan *plan)
{
	bool tokens = false;
	int r = 0;

	for (size_t i = 0; i < group->count; i++) {
		if (group->batches[i]->err != PS_BATCH_PENDING)
			continue;
		tokens = tokens || group->batches[i]->token.len > 0;
		plan->removes = plan->removes || removes(group->batches[i]);
	}
	if (plan->removes)
		r = tokens_to_file(&plan->w);
	if (r == 0 && (plan->removes || tokens))
		r = tokens_shorten(&plan->w);
	return ps_no_room(r) ? 0 : r;
}

/* ---- when files and index are not as they should be --------------------------------------------- */

/* Looks at all mailboxes that the batches are about. */
static int look_at(struct ps_store *store, const struct ps_mbox *mbox)
{
	int r = mbox ? scan_mailbox(store, mbox->key, false) : 0;

	return r == PS_E_GONE ? 0 : r;
}

int commit_look_again(struct ps_catalogue_group *group)
{
	int r = ps_catalogue_catch_up(group->store);

	if (r == 0)
		r = mailboxes_sync(group->store, false);

	for (size_t i = 0; i < group->count && r == 0; i++)
		for (size_t k = 0; k < group->batches[i]->count && r == 0; k++) {
			const struct ps_op *op = &group->batches[i]->ops[k];

			if ((r = look_at(group->store, op->mbox)) == 0)
				r = look_at(group->store, op->target);
		}
	return r;
}

/* Files are changed and durable, the index could not follow: it learns from the files, now or when it is made again. */
static void index_failed(struct ps_catalogue_group *group, struct plan *plan)
{
	struct ps_store *store = group->store;

	ps_log(PS_LOG_WARNING, "index_commit_failed", "user", store->cat.user, "error", ps_last_error(), NULL);
	/* What is written down only goes into the names first, or is left to who recovers it; until then nobody reads what was before. */
	if (later_recover(store) < 0) {
		store->cat.pending = true;
		ps_catalogue_renew_index(store);
		return;
	}
	store->cat.left = false;
	ps_buf_bytes(&store->cat.brought, ps_buf_view(&plan->p.brought));
	if (tokens_load(store) < 0 || commit_look_again(group) < 0)
		ps_catalogue_renew_index(store);
	ps_buf_finish(&store->cat.brought);
	if (later_recovered(store) < 0)
		store->cat.pending = true;
}

/* ---- attempts ------------------------------------------------------------------------------------ */

static void settle_watches(struct plan *plan)
{
	for (size_t i = 0; i < plan->steps.dir_count; i++)
		if (plan->steps.dirs[i].watch)
			watch_settle(plan->steps.dirs[i].watch);
}

/* Where names are to follow, whoever has the store open is told. */
static void leave(struct ps_catalogue_group *group)
{
	ps_catalogue_leave(group->store);
	for (size_t i = 0; i < group->count; i++)
		if (group->batches[i]->err == PS_BATCH_PENDING)
			group->batches[i]->unsettled = true;
}

static int run(struct ps_catalogue_group *group, struct plan *plan, bool atomic)
{
	struct ps_catalogue *cat = &group->store->cat;
	int r = write_reserve(&plan->w);

	if (r == 0)
		r = plan->later ? later_add(&plan->steps) : steps_run(&plan->steps, atomic);
	if (r < 0) {
		ps_catalogue_txn_end(&plan->w);
		if (!cat->pending)
			ps_catalogue_settled(group->store);
		return r;
	}
	settle_watches(plan);
	if (ps_catalogue_txn_commit(&plan->w) < 0)
		index_failed(group, plan);
	else if (plan->later)
		leave(group);
	if (!cat->pending)
		ps_catalogue_settled(group->store);
	return 0;
}

/* What the index alone is to have must be in the record of what is done. True: there is something. */
static bool record_brought(struct plan *plan)
{
	uint32_t dir;

	if (plan->p.brought.len == 0)
		return false;
	dir = steps_dir(&plan->steps, PS_CATALOGUE_CONTROL, NULL, PLACE_CUR);
	steps_add(&plan->steps, STEP_BROUGHT, dir, NULL, dir, NULL)->data = ps_buf_view(&plan->p.brought);
	return true;
}

enum {
	UNSUITED = 1
};

/* `later`: UNSUITED when names cannot wait, and nothing was done. */
static int attempt(struct ps_catalogue_group *group, bool later)
{
	struct plan plan = {.p = {.pool = ps_pool_create("commit")}, .later = later};
	bool atomic = false;
	int r = ps_catalogue_txn_begin(group->store, &plan.w);

	plan.p.t = &plan.w;
	steps_init(&plan.steps, group->store, plan.p.pool);
	plan.steps.relaxed = true; /* unless some batch is not */
	if (r == 0)
		r = keep_tokens(group, &plan);
	for (size_t i = 0; i < group->count && r == 0; i++) {
		struct ps_batch *batch = group->batches[i];
		size_t before = plan.steps.count;

		if (batch->err != PS_BATCH_PENDING)
			continue;
		if ((r = ps_plan_batch(&plan.p, batch)) < 0)
			group->failed = i;
		plan.steps.relaxed = plan.steps.relaxed && batch->relaxed;
		/* Batches of one step each need no record: each is whole or absent by itself. */
		atomic = atomic || plan.steps.count > before + 1 || batch->count > 1;
	}
	atomic = record_brought(&plan) || atomic;
	if (r == 0 && later && plan.steps.count > 0 && !later_suits(&plan.steps))
		r = UNSUITED;
	if (r == 0)
		r = run(group, &plan, atomic);
	else
		ps_catalogue_txn_end(&plan.w);
	plan_finish(&plan);
	return r;
}

static uint64_t messages_of(const struct ps_op *op)
{
	uint64_t n = 0;

	for (size_t i = 0; i < op->uid_count; i++)
		n += (uint64_t)op->uids[i].last - op->uids[i].first + 1;
	return n;
}

/* Whether there is nothing but changes of flags, perhaps of many messages. */
static bool may_wait(const struct ps_catalogue_group *group)
{
	uint64_t messages = 0;

	for (size_t i = 0; i < group->count; i++) {
		const struct ps_batch *batch = group->batches[i];

		if (batch->err != PS_BATCH_PENDING)
			continue;
		for (size_t k = 0; k < batch->count; k++) {
			if (batch->ops[k].kind != PS_OP_FLAGS)
				return false;
			messages += messages_of(&batch->ops[k]);
		}
	}
	return messages > group->store->rename_at_once && !later_is_long(group->store);
}

static bool only_expunges(const struct ps_catalogue_group *group)
{
	for (size_t i = 0; i < group->count; i++)
		for (size_t k = 0; group->batches[i]->err == PS_BATCH_PENDING && k < group->batches[i]->count; k++)
			if (group->batches[i]->ops[k].kind != PS_OP_EXPUNGE)
				return false;
	return true;
}

int commit_attempt(struct ps_catalogue_group *group)
{
	int r = may_wait(group) ? attempt(group, true) : UNSUITED;

	if (r != UNSUITED)
		return r;
	/* On a disk without room for names, removing messages makes some: whatever their names are by then. */
	r = ps_catalogue_catch_up(group->store);
	if (r < 0 && !(ps_no_room(r) && only_expunges(group)))
		return r;
	return attempt(group, false);
}
