/* SPDX-License-Identifier: MIT */
/*
 * Commit: all batches are planned in one transaction of the index, and done. What goes wrong with one batch while planning
 * leaves it out and plans the others again; what goes wrong with files undoes them all, and each batch is then tried alone.
 */
#include "core/store/catalogue/catalogue_private.h"

enum {
	TRIES = 8
};

static void end_pending(struct ps_catalogue_group *group, int err)
{
	for (size_t i = 0; i < group->count; i++)
		if (group->batches[i]->err == PS_BATCH_PENDING)
			group->batches[i]->err = err;
}

static bool any_pending(const struct ps_catalogue_group *group)
{
	for (size_t i = 0; i < group->count; i++)
		if (group->batches[i]->err == PS_BATCH_PENDING)
			return true;
	return false;
}

/* After a failure: what is to be tried again, 0; or what fails all that are pending. */
static int mend(struct ps_catalogue_group *group, int r)
{
	struct ps_catalogue *cat = ps_catalogue_of(group->store);

	if (r == PS_E_AGAIN)
		return ps_catalogue_grow_index(group->store);
	if (r == PS_E_CORRUPT) {
		ps_catalogue_drop_index(group->store);
		return r;
	}
	if (ps_no_room(r) && cat->files->can_do_with_less && !group->no_room) {
		group->no_room = true;
		return 0;
	}
	if (group->failed < group->count) {
		group->batches[group->failed]->err = r;
		return 0;
	}
	/* A file was not where the index says. */
	if ((r == PS_E_NOTFOUND || r == PS_E_EXISTS) && !cat->pending)
		return cat->files->look_again(group);
	return r;
}

/* Attempts until all pending batches are done or have failed. Returns what failed them in the end. */
static int commit_group(struct ps_catalogue_group *group)
{
	int r = PS_OK;

	for (int i = 0; i < TRIES; i++) {
		int failure;

		group->failed = group->count;
		if ((failure = ps_catalogue_of(group->store)->files->attempt(group)) == 0)
			return 0;
		if ((r = mend(group, failure)) < 0)
			return r;
		r = failure == PS_E_NOTFOUND || failure == PS_E_EXISTS ? PS_E_BUSY : failure;
		if (group->failed < group->count)
			i--; /* one batch fewer: this comes to an end */
	}
	return r;
}

static void commit_locked(struct ps_catalogue_group *group)
{
	struct ps_catalogue *cat = ps_catalogue_of(group->store);
	int r = commit_group(group);

	if (r < 0 && group->count > 1 && !cat->pending && r != PS_E_CORRUPT) {
		for (size_t i = 0; i < group->count; i++) {
			struct ps_catalogue_group one = {
				.store = group->store, .batches = group->batches + i, .count = 1};

			if (group->batches[i]->err != PS_BATCH_PENDING || cat->pending)
				continue;
			r = commit_group(&one);
			end_pending(&one, r);
		}
	}
	if (any_pending(group))
		end_pending(group, r);
}

static void drop_staged(const struct ps_catalogue_files *files, struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->ops[i].kind == PS_OP_APPEND)
			files->stage_drop(batch->ops[i].staged);
}

int ps_catalogue_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	const struct ps_catalogue_files *files = ps_catalogue_of(store)->files;
	struct ps_catalogue_group group = {.store = store, .batches = batches, .count = count};
	int r = catalogue_lock_to_commit(store), first = 0;
	bool any = false;

	for (size_t i = 0; i < count; i++)
		batches[i]->err = r < 0 ? r : PS_BATCH_PENDING;
	if (r == 0) {
		if (files->look_before)
			files->look_before(&group);
		commit_locked(&group);
		ps_catalogue_unlock(store);
	}
	for (size_t i = 0; i < count; i++) {
		any = any || batches[i]->err == 0;
		first = first ? first : batches[i]->err;
		drop_staged(files, batches[i]);
	}
	return any || count == 0 ? 0 : first;
}
