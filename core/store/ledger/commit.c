/* SPDX-License-Identifier: MIT */
/*
 * All batches of a commit share one transaction, and so one sync. When one of them fails, the transaction is given up and
 * begun again without it: LMDB has nothing smaller to undo than a transaction, but for nested ones, which cost each
 * batch what only a failure is worth.
 */
#include <time.h>
#include "core/store/ledger/ledger_private.h"

enum {
	GROW_TRIES = 24
};

static const operation_fn operations[] = {
	[PS_OP_APPEND] = ledger_append,       [PS_OP_FLAGS] = ledger_flags,
	[PS_OP_EXPUNGE] = ledger_expunge,     [PS_OP_COPY] = ledger_copy,
	[PS_OP_MOVE] = ledger_move,           [PS_OP_CREATE] = ledger_create,
	[PS_OP_RENAME] = ledger_rename,       [PS_OP_DELETE] = ledger_delete,
	[PS_OP_SUBSCRIBE] = ledger_subscribe, [PS_OP_ATTRIBUTES] = ledger_attributes,
	[PS_OP_IDENTITY] = ledger_identity,
};

static int run_operations(struct draft *draft, struct ps_batch *batch)
{
	int r = 0;

	for (size_t i = 0; i < batch->count && r == 0; i++) {
		batch->err_op = i;
		r = operations[batch->ops[i].kind](draft, &batch->ops[i], &batch->results[i]);
	}
	return r == 0 ? draft_write(draft) : r;
}

static int check_token(struct ps_ledger_txn *txn, struct ps_batch *batch)
{
	struct ps_index_token token;
	int r;

	batch->repeated = false;
	if (batch->token.len == 0)
		return 0;
	if (batch->token.len > PS_TOKEN_MAX)
		return ps_fail(PS_E_INVALID, "a token of %zu octets", batch->token.len);
	r = ps_index_token(txn->txn, batch->token, &token);
	if (r < 0)
		return r == PS_E_NOTFOUND ? 0 : r;
	batch->repeated = token.time >= time(NULL) - PS_TOKEN_SECONDS;
	return 0;
}

static int run_batch(struct ps_ledger_txn *txn, struct ps_batch *batch)
{
	struct draft draft;
	int r;

	memset(batch->results, 0, batch->count * sizeof *batch->results);
	batch->err_op = 0;
	if ((r = check_token(txn, batch)) < 0 || batch->repeated)
		return r;
	draft_init(&draft, txn, batch);
	r = run_operations(&draft, batch);
	draft_finish(&draft);
	txn->changed |= batch->token.len > 0;
	if (r == 0 && batch->token.len > 0)
		r = ps_index_token_put(txn->txn, &(struct ps_index_token){.octets = batch->token, .time = time(NULL)});
	return r;
}

/* What the commit takes along. */
static int tidy(struct ps_ledger_txn *txn)
{
	unsigned removed;
	int r = ledger_put_late_caches(txn);

	return r == 0 ? ledger_reap(txn, REAP_AT_ONCE, &removed) : r;
}

/* 0: all is done that could be, each of the others has its err; PS_E_AGAIN: once more, without those that failed. */
static int try_group(struct ps_ledger *ledger, struct ps_batch *const *batches, size_t count)
{
	struct ps_ledger_txn *txn;
	size_t good = 0;
	int r = ps_ledger_txn_begin(ledger, &txn);

	if (r < 0)
		return r;
	if ((r = ps_ledger_check_generation(txn)) == 0)
		r = tidy(txn);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (batches[i]->err != 0)
			continue;
		good++;
		r = run_batch(txn, batches[i]);
		if (r < 0 && r != PS_E_AGAIN) {
			batches[i]->err = r;
			ps_ledger_txn_end(txn);
			return PS_E_AGAIN;
		}
	}
	if (r == PS_E_AGAIN)
		return ps_ledger_txn_grow(txn) < 0 ? ps_fail(PS_E_FULL, "the map cannot grow") : PS_E_AGAIN;
	if (r < 0 || good == 0) {
		ps_ledger_txn_end(txn);
		return r;
	}
	return ps_ledger_txn_commit(txn);
}

static int commit_group(struct ps_ledger *ledger, struct ps_batch *const *batches, size_t count)
{
	int r = PS_E_AGAIN;

	for (size_t i = 0; r == PS_E_AGAIN && i < count + GROW_TRIES; i++)
		r = try_group(ledger, batches, count);
	for (size_t i = 0; r < 0 && i < count; i++)
		if (batches[i]->err == 0)
			batches[i]->err = r;
	return r;
}

/* The disk is full: what removes may succeed where what adds has failed. */
static int commit_one_by_one(struct ps_ledger *ledger, struct ps_batch *const *batches, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		if (!ps_no_room(batches[i]->err))
			continue;
		batches[i]->err = 0;
		r = commit_group(ledger, &batches[i], 1);
	}
	return r;
}

static void drop_staged(const struct ps_ledger *ledger, const struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		ledger->bodies.stage_drop(batch->ops[i].staged);
}

int ps_ledger_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	struct ps_ledger *ledger = ledger_of(store);
	bool any = false;
	int r;

	for (size_t i = 0; i < count; i++)
		batches[i]->err = 0;
	r = commit_group(ledger, batches, count);
	if (ps_no_room(r) && count > 1)
		r = commit_one_by_one(ledger, batches, count);
	for (size_t i = 0; i < count; i++) {
		if (batches[i]->err)
			memset(batches[i]->results, 0, batches[i]->count * sizeof *batches[i]->results);
		any |= batches[i]->err == 0;
		drop_staged(ledger, batches[i]);
	}
	return any ? 0 : r;
}
