/* SPDX-License-Identifier: MIT */
/*
 * Commit: lock the mailboxes' files and take in what others did to them; plan all batches in one transaction of the index; change
 * the files, durably; commit the index. What goes wrong with one batch while planning leaves it out and plans the others
 * again; what goes wrong with files undoes them all, and each batch is then tried alone.
 */
#include "config.h"

#include <stdlib.h>
#include "backends/mbox/mbox_private.h"
#include "postern/log.h"

enum {
	TRIES = 8,
	PENDING = 1
};

struct group {
	struct ps_store *store;
	struct ps_batch *const *batches;
	size_t count;
	size_t failed; /* the batch whose planning failed; count: none */
	bool mark_dead;
};

/* ---- before: locks, and what others did ------------------------------------------------------- */

/* What is not there is planning's to tell. */
static int ready_mailbox(struct ps_store *store, uint64_t key, const char *name)
{
	struct ps_index_box box;
	struct file_lock *lock;
	char path[PATH_SIZE];
	struct stat st;
	int r = ps_catalogue_box(store, key, name, &box);

	if (r == PS_E_NOTFOUND)
		return 0;
	if (r < 0 || (r = path_of_name(store, box.name, path)) < 0)
		return r;
	if ((r = lock_file(store, path, &lock)) == PS_E_NOTFOUND)
		return mailboxes_sync(store, false);
	if (r < 0)
		return r;
	if (fstat(lock->fd, &st) < 0)
		return ps_fail_errno("stat %s", path);
	return box_is_as(&box, &st) ? 0 : scan_mailbox(store, box.key, false);
}

static int ready_batch(struct ps_store *store, const struct ps_batch *batch)
{
	int r = 0;

	for (size_t i = 0; i < batch->count && r == 0; i++) {
		const struct ps_op *op = &batch->ops[i];

		if (op->mbox)
			r = ready_mailbox(store, op->mbox->key, NULL);
		if (r == 0 && op->target)
			r = ready_mailbox(store, op->target->key, NULL);
		if (r == 0 && op->name && op->kind > PS_OP_CREATE && op->kind != PS_OP_SUBSCRIBE)
			r = ready_mailbox(store, 0, op->name);
	}
	return r;
}

/* A file that cannot be had, or taken in, hinders those who need it. */
static void ready(struct group *group)
{
	for (size_t i = 0; i < group->count; i++) {
		int r = ready_batch(group->store, group->batches[i]);

		if (r < 0 && !ps_no_room(r))
			group->batches[i]->err = r;
	}
}

/* ---- planning ------------------------------------------------------------------------------------ */

static void plan_finish(struct plan *plan)
{
	ps_buf_finish(&plan->subscriptions);
	ps_pool_destroy(plan->pool);
}

static int plan_batch(struct plan *plan, struct ps_batch *batch)
{
	int r = 0;

	plan->batch = batch;
	plan->modseq = 0;
	batch->repeated = false;
	if (batch->token.len > PS_TOKEN_MAX || batch->modseq > INT64_MAX)
		return ps_fail(PS_E_INVALID, "a batch with a token of %zu octets, or a modseq too high",
			       batch->token.len);
	if (batch->token.len > 0 && (r = token_seen(&plan->w, batch->token)) != 0) {
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
	return r == 0 && batch->token.len > 0 ? token_keep(&plan->w, batch->token) : r;
}

/* Directories of mailboxes that were renamed or deleted, if nothing is in them any more. */
static void prune(struct group *group)
{
	for (size_t i = 0; i < group->count; i++)
		for (size_t k = 0; k < group->batches[i]->count; k++) {
			const struct ps_op *op = &group->batches[i]->ops[k];
			char path[PATH_SIZE];

			if ((op->kind == PS_OP_RENAME || op->kind == PS_OP_DELETE) &&
			    group->batches[i]->err == PENDING && path_of_name(group->store, op->name, path) == 0)
				tree_prune(group->store, path);
		}
}

/* One attempt at all pending batches. */
static int attempt(struct group *group)
{
	struct plan plan = {.pool = ps_pool_create("commit")};
	int r = write_begin(group->store, &plan.w);

	group->failed = group->count;
	plan.w.mark_dead = group->mark_dead;
	for (size_t i = 0; i < group->count && r == 0; i++) {
		if (group->batches[i]->err != PENDING)
			continue;
		r = plan_batch(&plan, group->batches[i]);
		if (r < 0)
			group->failed = i;
	}
	if (r == 0)
		r = write_run(&plan.w);
	else
		write_abort(&plan.w);
	if (r == 0)
		prune(group);
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
			if ((r = ps_catalogue_grow_index(group->store)) < 0)
				break;
		} else if (r == PS_E_CORRUPT) {
			ps_catalogue_drop_index(group->store);
			break;
		} else if (ps_no_room(r) && !group->mark_dead) {
			group->mark_dead = true;
		} else if (group->failed < group->count) {
			group->batches[group->failed]->err = r;
			i--; /* one batch fewer: this comes to an end */
		} else if (r == PS_E_NOTFOUND || r == PS_E_EXISTS) {
			if (group->store->cat.pending || (r = mailboxes_sync(group->store, false)) < 0)
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

int mbox_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	struct group group = {.store = store, .batches = batches, .count = count};
	int r = ps_catalogue_lock(store), first = 0;
	bool any = false;

	for (size_t i = 0; i < count; i++)
		batches[i]->err = r < 0 ? r : PENDING;
	if (r == 0) {
		ready(&group);
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
