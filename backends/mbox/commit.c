/* SPDX-License-Identifier: MIT */
/*
 * A commit: lock the mailboxes' files and take in what others did to them; plan all batches; change the files, durably; commit the
 * index. What goes wrong with files undoes them all.
 */
#include "config.h"

#include "backends/mbox/mbox_private.h"

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
void commit_look_before(struct ps_catalogue_group *group)
{
	for (size_t i = 0; i < group->count; i++) {
		int r = ready_batch(group->store, group->batches[i]);

		if (r < 0 && !ps_no_room(r))
			group->batches[i]->err = r;
	}
}

int commit_look_again(struct ps_catalogue_group *group)
{
	return mailboxes_sync(group->store, false);
}

/* ---- attempts ------------------------------------------------------------------------------------ */

/* Directories of mailboxes that were renamed or deleted, if nothing is in them any more. */
static void prune(struct ps_catalogue_group *group)
{
	for (size_t i = 0; i < group->count; i++)
		for (size_t k = 0; k < group->batches[i]->count; k++) {
			const struct ps_op *op = &group->batches[i]->ops[k];
			char path[PATH_SIZE];

			if ((op->kind == PS_OP_RENAME || op->kind == PS_OP_DELETE) &&
			    group->batches[i]->err == PS_BATCH_PENDING &&
			    path_of_name(group->store, op->name, path) == 0)
				tree_prune(group->store, path);
		}
}

int commit_attempt(struct ps_catalogue_group *group)
{
	struct plan plan = {.p = {.pool = ps_pool_create("commit")}};
	int r = write_begin(group->store, &plan.w);

	plan.p.t = &plan.w.t;
	plan.w.brought = &plan.p.brought;
	plan.w.mark_dead = group->no_room;
	for (size_t i = 0; i < group->count && r == 0; i++)
		if (group->batches[i]->err == PS_BATCH_PENDING && (r = ps_plan_batch(&plan.p, group->batches[i])) < 0)
			group->failed = i;
	if (r == 0)
		r = write_run(&plan.w);
	else
		write_abort(&plan.w);
	if (r == 0)
		prune(group);
	ps_plan_finish(&plan.p);
	return r;
}
