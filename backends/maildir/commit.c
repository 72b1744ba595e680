/* SPDX-License-Identifier: MIT */
/*
 * Commit: plan all batches in one transaction of the index, reserve, run the steps, sync each directory once, commit the
 * index. What goes wrong with one batch while planning leaves it out and plans the others again; what goes wrong with
 * files undoes them all, and each batch is then tried alone.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

enum {
	TRIES = 8,
	PENDING = 1
};

static void plan_finish(struct plan *plan)
{
	struct ps_store *store = plan->steps.store;

	steps_finish(&plan->steps);
	ps_buf_finish(&plan->subscriptions);
	ps_buf_finish(&plan->brought);
	/* A batch that recovery is to complete still needs them. */
	for (size_t i = 0; i < plan->removal_count && !store->cat.pending; i++)
		if (ps_io.unlink(store->cat.aside_fd, plan->removals[i], 0) < 0)
			remove_tree(store->cat.aside_fd, plan->removals[i]);
	ps_pool_destroy(plan->pool);
}

static bool removes(const struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		enum ps_op_kind kind = batch->ops[i].kind;

		if (kind == PS_OP_EXPUNGE || kind == PS_OP_MOVE || kind == PS_OP_DELETE)
			return true;
	}
	return false;
}

/* Looks whether a batch has come before, and chooses where its token goes. 1: it has. A time given from outside says
 * nothing of when a name may be forgotten. */
static int begin_token(struct plan *plan, const struct ps_batch *batch)
{
	plan->named = NULL;
	if (batch->token.len == 0)
		return 0;
	plan->token = token_id(batch->token);
	if (!plan->removes && batch->count > 0 && batch->ops[0].kind == PS_OP_APPEND && batch->ops[0].save_date == 0)
		plan->named = &batch->ops[0];
	return token_find(&plan->w, &plan->token);
}

static int end_token(struct plan *plan)
{
	int64_t now = ps_catalogue_now();
	struct ps_buf line = {0}, refused = {0};
	struct step *step;
	uint32_t dir;

	if (plan->batch->token.len == 0)
		return 0;
	if (!plan->named) {
		dir = steps_dir(&plan->steps, "postern-control", NULL, PLACE_CUR);
		step = steps_add(&plan->steps, STEP_LINES, dir, NULL, dir, TOKENS_FILE);
		token_line(&line, &plan->token, now, false);
		token_line(&refused, &plan->token, now, true);
		step->data = ps_bytes(ps_pool_memdup(plan->pool, line.ptr, line.len), line.len);
		step->old = ps_bytes(ps_pool_memdup(plan->pool, refused.ptr, refused.len), refused.len);
		ps_buf_finish(&line);
		ps_buf_finish(&refused);
	}
	return token_put(&plan->w, &plan->token, now, plan->named != NULL);
}

static int plan_batch(struct plan *plan, struct ps_batch *batch)
{
	int r;

	plan->batch = batch;
	plan->modseq = 0;
	batch->repeated = false;
	if (batch->token.len > PS_TOKEN_MAX || batch->modseq > INT64_MAX)
		return ps_fail(PS_E_INVALID, "a batch with a token of %zu octets, or a modseq too high",
			       batch->token.len);
	if ((r = begin_token(plan, batch)) != 0) {
		batch->repeated = r > 0;
		return r < 0 ? r : 0;
	}
	for (size_t i = 0; i < batch->count && r == 0; i++) {
		const struct ps_op *op = &batch->ops[i];

		batch->results[i] = (struct ps_op_result){0};
		batch->err_op = i;
		if (op->kind <= PS_OP_MOVE)
			r = plan_message_op(plan, op, &batch->results[i]);
		else
			r = plan_mailbox_op(plan, op, &batch->results[i]);
	}
	if (r == 0)
		r = plan_subscriptions(plan);
	return r == 0 ? end_token(plan) : r;
}

struct group {
	struct ps_store *store;
	struct ps_batch *const *batches;
	size_t count;
	size_t failed; /* the batch whose planning failed; count: none */
};

static int grow(struct ps_store *store)
{
	struct ps_index *index = ps_catalogue_index(store);
	int r = ps_index_grow(index);

	ps_index_close(index);
	return r;
}

/* A file was not where the index says: look at all mailboxes that the batches are about. */
static int look_again(struct group *group)
{
	int r = mailboxes_sync(group->store, false);

	for (size_t i = 0; i < group->count && r == 0; i++)
		for (size_t k = 0; k < group->batches[i]->count && r == 0; k++) {
			const struct ps_op *op = &group->batches[i]->ops[k];

			if (op->mbox && (r = scan_mailbox(group->store, op->mbox->key, false)) == PS_E_GONE)
				r = 0;
		}
	return r;
}

/* Files are changed and durable, the index could not follow: it learns from the files, now or when it is made again. */
static void index_failed(struct group *group, struct plan *plan)
{
	struct ps_store *store = group->store;

	ps_log(PS_LOG_WARNING, "index_commit_failed", "user", store->cat.user, "error", ps_last_error(), NULL);
	ps_buf_bytes(&store->cat.brought, ps_buf_view(&plan->brought));
	if (tokens_load(store) < 0 || look_again(group) < 0)
		ps_catalogue_renew_index(store);
	ps_buf_finish(&store->cat.brought);
}

static void settle_watches(struct plan *plan)
{
	for (size_t i = 0; i < plan->steps.dir_count; i++)
		if (plan->steps.dirs[i].folder)
			watch_settle(plan->steps.dirs[i].folder);
}

static bool is_atomic(const struct group *group)
{
	/* Batches of one step each need no record: each is whole or absent by itself. */
	for (size_t i = 0; i < group->count; i++)
		if (group->batches[i]->err == PENDING && group->batches[i]->count > 1)
			return true;
	return false;
}

static int run(struct group *group, struct plan *plan, bool atomic)
{
	int r = write_reserve(&plan->w);

	if (r == 0)
		r = steps_run(&plan->steps, atomic || is_atomic(group));
	if (r < 0) {
		ps_catalogue_end(&plan->w);
		if (!group->store->cat.pending)
			ps_catalogue_settled(group->store);
		return r;
	}
	settle_watches(plan);
	if (ps_catalogue_commit(&plan->w) < 0)
		index_failed(group, plan);
	ps_catalogue_settled(group->store);
	return 0;
}

/* Before anything is planned. Expunging must work where there is no room for a line; the index still knows then. */
static int keep_tokens(struct group *group, struct plan *plan)
{
	bool tokens = false;
	int r = 0;

	for (size_t i = 0; i < group->count; i++) {
		if (group->batches[i]->err != PENDING)
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

/* What the index alone is to have must be in the record of what is done. True: there is something. */
static bool record_brought(struct plan *plan)
{
	uint32_t dir;

	if (plan->brought.len == 0)
		return false;
	dir = steps_dir(&plan->steps, "postern-control", NULL, PLACE_CUR);
	steps_add(&plan->steps, STEP_BROUGHT, dir, NULL, dir, NULL)->data = ps_buf_view(&plan->brought);
	return true;
}

/* One attempt at all pending batches. */
static int attempt(struct group *group)
{
	struct plan plan = {.pool = ps_pool_create("commit")};
	bool atomic = false;
	int r = ps_catalogue_begin(group->store, &plan.w);

	group->failed = group->count;
	steps_init(&plan.steps, group->store, plan.pool);
	if (r == 0)
		r = keep_tokens(group, &plan);
	for (size_t i = 0; i < group->count && r == 0; i++) {
		size_t before = plan.steps.count;

		if (group->batches[i]->err != PENDING)
			continue;
		r = plan_batch(&plan, group->batches[i]);
		if (r < 0)
			group->failed = i;
		atomic = atomic || plan.steps.count > before + 1;
	}
	if (r == 0 && plan.brought.failed)
		r = ps_fail(PS_E_LIMIT, "no memory for a batch's modseqs");
	if (r == 0)
		r = run(group, &plan, record_brought(&plan) || atomic);
	else
		ps_catalogue_end(&plan.w);
	plan_finish(&plan);
	return r;
}

static void end_pending(struct group *group, int err)
{
	for (size_t i = 0; i < group->count; i++)
		if (group->batches[i]->err == PENDING)
			group->batches[i]->err = err;
}

/* Attempts until all pending batches are done or have failed. Returns what failed them in the end. */
static int commit_group(struct group *group)
{
	int r = PS_OK;

	for (int i = 0; i < TRIES; i++) {
		r = attempt(group);
		if (r == 0)
			break;
		if (r == PS_E_AGAIN) {
			if ((r = grow(group->store)) < 0)
				break;
		} else if (r == PS_E_CORRUPT) {
			ps_catalogue_drop_index(group->store);
			break;
		} else if (group->failed < group->count) {
			group->batches[group->failed]->err = r;
			i--; /* one batch fewer: this comes to an end */
		} else if (r == PS_E_NOTFOUND || r == PS_E_EXISTS) {
			if (group->store->cat.pending || (r = look_again(group)) < 0)
				break;
			r = PS_E_BUSY;
		} else {
			break;
		}
	}
	return r;
}

static bool any_pending(const struct group *group)
{
	for (size_t i = 0; i < group->count; i++)
		if (group->batches[i]->err == PENDING)
			return true;
	return false;
}

static void commit_locked(struct group *group)
{
	int r = commit_group(group);

	if (r < 0 && group->count > 1 && !group->store->cat.pending && r != PS_E_CORRUPT) {
		for (size_t i = 0; i < group->count; i++) {
			struct group one = {.store = group->store, .batches = group->batches + i, .count = 1};

			if (group->batches[i]->err != PENDING || group->store->cat.pending)
				continue;
			r = commit_group(&one);
			end_pending(&one, r);
		}
	}
	if (any_pending(group))
		end_pending(group, r);
}

static void drop_staged(struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->ops[i].kind == PS_OP_APPEND)
			stage_drop(batch->ops[i].staged);
}

int maildir_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	struct group group = {.store = store, .batches = batches, .count = count};
	int r = ps_catalogue_lock(store), first = 0;
	bool any = false;

	for (size_t i = 0; i < count; i++)
		batches[i]->err = r < 0 ? r : PENDING;
	if (r == 0) {
		commit_locked(&group);
		ps_catalogue_unlock(store);
	}
	for (size_t i = 0; i < count; i++) {
		any = any || batches[i]->err == 0;
		first = first ? first : batches[i]->err;
		drop_staged(batches[i]);
	}
	return any || count == 0 ? 0 : first;
}
