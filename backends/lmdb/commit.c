/* SPDX-License-Identifier: MIT */
/*
 * All batches of a commit share one transaction, and so one sync. When one of them fails, the transaction is given up and
 * begun again without it: LMDB has nothing smaller to undo than a transaction, but for nested ones, which cost each
 * batch what only a failure is worth.
 */
#include <time.h>
#include "backends/lmdb/lmdb_private.h"

enum {
	REAP_AT_ONCE = 2 * AHEAD_CHUNKS, /* chunks of dead bodies that a commit takes along */
	GROW_TRIES = 24
};

static const operation_fn operations[] = {
	[PS_OP_APPEND] = op_append,       [PS_OP_FLAGS] = op_flags,
	[PS_OP_EXPUNGE] = op_expunge,     [PS_OP_COPY] = op_copy,
	[PS_OP_MOVE] = op_move,           [PS_OP_CREATE] = op_create,
	[PS_OP_RENAME] = op_rename,       [PS_OP_DELETE] = op_delete,
	[PS_OP_SUBSCRIBE] = op_subscribe, [PS_OP_ATTRIBUTES] = op_attributes,
	[PS_OP_IDENTITY] = op_identity,
};

static int run_operations(struct draft *draft, struct ps_batch *batch)
{
	int r = 0;

	for (size_t i = 0; i < batch->count && r == 0; i++) {
		batch->err_op = i;
		r = operations[batch->ops[i].kind](draft, &batch->ops[i], &batch->results[i]);
	}
	return r == 0 ? draft_finish(draft) : r;
}

static int check_token(struct writer *w, struct ps_batch *batch)
{
	struct ps_index_token token;
	int r;

	batch->repeated = false;
	if (batch->token.len == 0)
		return 0;
	if (batch->token.len > PS_TOKEN_MAX)
		return ps_fail(PS_E_INVALID, "a token of %zu octets", batch->token.len);
	r = ps_index_token(w->txn, batch->token, &token);
	if (r < 0)
		return r == PS_E_NOTFOUND ? 0 : r;
	batch->repeated = token.time >= time(NULL) - PS_TOKEN_SECONDS;
	return 0;
}

static int run_batch(struct writer *w, struct ps_batch *batch)
{
	struct draft draft = {.w = w, .batch = batch};
	int r;

	memset(batch->results, 0, batch->count * sizeof *batch->results);
	batch->err_op = 0;
	if ((r = check_token(w, batch)) < 0 || batch->repeated)
		return r;
	draft.pool = ps_pool_create("lmdb batch");
	r = run_operations(&draft, batch);
	ps_pool_destroy(draft.pool);
	w->changed |= batch->token.len > 0;
	if (r == 0 && batch->token.len > 0)
		r = ps_index_token_put(w->txn, &(struct ps_index_token){.octets = batch->token, .time = time(NULL)});
	return r;
}

/* What the commit takes along. */
static int tidy(struct writer *w)
{
	unsigned removed;
	int r = late_caches_put(w);

	return r == 0 ? bodies_reap(w, REAP_AT_ONCE, &removed) : r;
}

/* 0: all is done that could be, each of the others has its err; PS_E_AGAIN: once more, without those that failed. */
static int try_group(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	struct writer w;
	size_t good = 0;
	int r = writer_begin(store, &w);

	if (r < 0)
		return r;
	if ((r = writer_check_generation(&w)) == 0)
		r = tidy(&w);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (batches[i]->err != 0)
			continue;
		good++;
		r = run_batch(&w, batches[i]);
		if (r < 0 && r != PS_E_AGAIN) {
			batches[i]->err = r;
			writer_end(&w);
			return PS_E_AGAIN;
		}
	}
	if (r == PS_E_AGAIN)
		return writer_grow(&w) < 0 ? ps_fail(PS_E_FULL, "the map cannot grow") : PS_E_AGAIN;
	if (r < 0 || good == 0) {
		writer_end(&w);
		return r;
	}
	return writer_commit(&w);
}

static int commit_group(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	int r = PS_E_AGAIN;

	for (size_t i = 0; r == PS_E_AGAIN && i < count + GROW_TRIES; i++)
		r = try_group(store, batches, count);
	for (size_t i = 0; r < 0 && i < count; i++)
		if (batches[i]->err == 0)
			batches[i]->err = r;
	return r;
}

/* The disk is full: what removes may succeed where what adds has failed. */
static int commit_one_by_one(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		if (!ps_no_room(batches[i]->err))
			continue;
		batches[i]->err = 0;
		r = commit_group(store, &batches[i], 1);
	}
	return r;
}

static void drop_staged(const struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		lmdb_stage_drop(batch->ops[i].staged);
}

int lmdb_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	bool any = false;
	int r;

	for (size_t i = 0; i < count; i++)
		batches[i]->err = 0;
	r = commit_group(store, batches, count);
	if (ps_no_room(r) && count > 1)
		r = commit_one_by_one(store, batches, count);
	for (size_t i = 0; i < count; i++) {
		if (batches[i]->err)
			memset(batches[i]->results, 0, batches[i]->count * sizeof *batches[i]->results);
		any |= batches[i]->err == 0;
		drop_staged(batches[i]);
	}
	return any ? 0 : r;
}
