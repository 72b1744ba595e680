/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/sync/sync_private.h"

enum {
	BATCHES_AT_ONCE = 64,
	ROWS_AT_ONCE = 2000
};

void sync_changes_add(struct sync_changes *changes, struct sync_target *target, const struct ps_row *row, uint32_t uid,
		      const char *const *keywords, bool same)
{
	struct sync_change *change;

	changes->ptr = ps_pool_grow(changes->pool, changes->ptr, changes->count, &changes->cap, sizeof *changes->ptr);
	change = &changes->ptr[changes->count++];
	*change = (struct sync_change){.target = target, .row = *row, .keywords = keywords, .same = same};
	change->row.uid = uid;
}

static int in_order(const void *a, const void *b)
{
	const struct sync_change *x = a, *y = b;

	if (x->row.modseq != y->row.modseq)
		return x->row.modseq < y->row.modseq ? -1 : 1;
	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	if (x->same != y->same)
		return x->same ? 1 : -1;
	return x->row.uid < y->row.uid ? -1 : x->row.uid > y->row.uid;
}

static bool same_keywords(const char *const *a, const char *const *b)
{
	if (!a || !b)
		return a == b;
	while (*a && *b && strcmp(*a, *b) == 0)
		a++, b++;
	return !*a && !*b;
}

/* ---- one commit of several batches, each with a modseq of its own ------------------------------ */

struct wave {
	struct sync *s;
	const struct ps_sync_end *end;
	struct ps_pool *pool;
	const struct sync_change *changes;
	size_t count; /* of changes taken */
	struct ps_batch *batches[BATCHES_AT_ONCE];
	struct sync_target **targets[BATCHES_AT_ONCE]; /* of each operation */
	size_t batch_count;
};

static int open_target(struct wave *wave, struct sync_target *target)
{
	return target->mbox ? 0 : sync_mailbox_open(wave->end, target->info, &target->mbox);
}

/* The operation for as many of the changes as have the same target and flags. */
static size_t fill_op(struct wave *wave, const struct sync_change *changes, size_t count, struct ps_op *op)
{
	struct ps_range *ranges = PS_NEWV(wave->pool, struct ps_range, count);
	size_t n = 0, ranges_used = 0;

	for (; n < count; n++) {
		uint32_t uid = changes[n].row.uid;

		if (n > 0 && (changes[n].target != changes[0].target || changes[n].same != changes[0].same ||
			      changes[n].row.flags != changes[0].row.flags ||
			      !same_keywords(changes[n].keywords, changes[0].keywords)))
			break;
		if (ranges_used > 0 && ranges[ranges_used - 1].last + 1 == uid)
			ranges[ranges_used - 1].last = uid;
		else
			ranges[ranges_used++] = (struct ps_range){uid, uid};
	}
	*op = (struct ps_op){
		.kind = PS_OP_FLAGS,
		.mbox = changes[0].target->mbox,
		.uids = ranges,
		.uid_count = ranges_used,
		.flag_mode = PS_FLAGS_SET,
		.flags = changes[0].row.flags,
		.keywords = changes[0].keywords,
		.unchanged_since = UINT64_MAX,
	};
	return n;
}

/* A message gets another modseq only if something changes, so what is the same already is made different first. */
static void fill_batch(struct wave *wave, const struct sync_change *changes, size_t count)
{
	struct ps_batch *batch = PS_NEW(wave->pool, struct ps_batch);
	struct ps_op *ops = PS_NEWV(wave->pool, struct ps_op, 2 * count);
	struct sync_target **targets = PS_NEWV(wave->pool, struct sync_target *, 2 * count);
	size_t at = 0;

	while (at < count) {
		struct ps_op op;

		targets[batch->count] = targets[batch->count + 1] = changes[at].target;
		if (changes[at].same) {
			fill_op(wave, changes + at, count - at, &op);
			op.flags ^= PS_FLAG_SEEN;
			ops[batch->count++] = op;
		}
		at += fill_op(wave, changes + at, count - at, &ops[batch->count++]);
	}
	batch->ops = ops;
	batch->pool = wave->pool;
	batch->results = PS_NEWV(wave->pool, struct ps_op_result, batch->count);
	batch->modseq = changes[0].row.modseq;
	wave->targets[wave->batch_count] = targets;
	wave->batches[wave->batch_count++] = batch;
}

static int fill_wave(struct wave *wave, size_t left)
{
	while (wave->count < left && wave->batch_count < BATCHES_AT_ONCE && wave->count < ROWS_AT_ONCE) {
		const struct sync_change *first = &wave->changes[wave->count];
		size_t n = 0;

		while (wave->count + n < left && first[n].row.modseq == first->row.modseq) {
			int r = open_target(wave, first[n++].target);

			if (r < 0)
				return r;
		}
		fill_batch(wave, first, n);
		wave->count += n;
	}
	return 0;
}

static int note_results(struct wave *wave)
{
	for (size_t i = 0; i < wave->batch_count; i++) {
		const struct ps_batch *batch = wave->batches[i];

		if (batch->err)
			return batch->err;
		for (size_t j = 0; j < batch->count; j++)
			if (batch->results[j].modseq)
				wave->targets[i][j]->modseq = batch->results[j].modseq;
	}
	return 0;
}

static void close_targets(struct wave *wave)
{
	for (size_t i = 0; i < wave->count; i++) {
		sync_mailbox_close(wave->end, wave->changes[i].target->mbox);
		wave->changes[i].target->mbox = NULL;
	}
}

static int commit_wave(struct wave *wave, size_t left)
{
	int r = fill_wave(wave, left);

	if (r == 0)
		r = sync_on(wave->end)->commit(wave->end->store, wave->batches, wave->batch_count);
	if (r == 0)
		r = note_results(wave);
	if (r == 0)
		wave->s->totals->flagged += wave->count;
	close_targets(wave);
	return r;
}

int sync_changes_commit(struct sync *s, const struct ps_sync_end *end, struct sync_changes *changes)
{
	int r = 0;

	if (changes->count > 0)
		qsort(changes->ptr, changes->count, sizeof *changes->ptr, in_order);
	for (size_t at = 0; r == 0 && at < changes->count && !sync_stopped(s);) {
		struct wave wave = {.s = s, .end = end, .changes = changes->ptr + at};

		wave.pool = ps_pool_create("sync flags");
		r = commit_wave(&wave, changes->count - at);
		at += wave.count;
		ps_pool_destroy(wave.pool);
	}
	return r;
}

int sync_expunge(struct sync *s, const struct ps_sync_end *end, struct ps_mbox *mbox, const struct ps_ranges *uids,
		 uint64_t modseq, uint64_t *ret_modseq)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("sync expunge");
	struct ps_op op = {.kind = PS_OP_EXPUNGE, .mbox = mbox, .uids = uids->ptr, .uid_count = uids->count};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = pool, .modseq = modseq};
	int r;

	*ret_modseq = 0;
	if (uids->count == 0)
		return 0;
	if ((r = sync_commit_one(end, &batch)) < 0)
		return r;
	for (size_t i = 0; i < uids->count; i++)
		s->totals->expunged += (uint64_t)uids->ptr[i].last - uids->ptr[i].first + 1;
	*ret_modseq = batch.results[0].modseq;
	return 0;
}
