/* SPDX-License-Identifier: MIT */
/*
 * Mutants of the reference's commit: a batch is changed before, or the mail after.
 */
#include <signal.h>
#include <unistd.h>
#include "backends/memory/memory_private.h"
#include "tests/conformance/mutants/fault.h"
#include "tests/conformance/mutants/memory_mutants.h"

static int sound_commit(struct ps_store *store, struct ps_batch *batch)
{
	return ((const struct ps_backend *)sound_plugin.ops)->commit(store, &batch, 1);
}

/* ---- before -------------------------------------------------------------------------------- */

static void change_flags(struct ps_op *op)
{
	if (fault("keywords"))
		op->keywords = NULL;
	if (fault("draft"))
		op->flags &= ~(uint32_t)PS_FLAG_DRAFT;
	if (fault("set-adds") && op->flag_mode == PS_FLAGS_SET)
		op->flag_mode = PS_FLAGS_ADD;
	if (fault("condition"))
		op->unchanged_since = UINT64_MAX;
	if (fault("condition-or-equal") && op->unchanged_since != UINT64_MAX)
		op->unchanged_since--;
}

static void change_append(struct ps_op *op)
{
	static const struct ps_id none;

	if (fault("uid-ignored"))
		op->uid = 0;
	if (fault("date-32-bit"))
		op->internal_date = (int32_t)op->internal_date;
	if (fault("save-date"))
		op->save_date = 0;
	if (fault("email-id"))
		op->email_id = none;
	if (fault("own-modseq"))
		op->modseq = 0;
	if (fault("born-unseen"))
		op->flags &= ~(uint32_t)PS_FLAG_SEEN;
}

static void change_op(struct ps_op *op)
{
	if (op->kind == PS_OP_FLAGS)
		change_flags(op);
	if (op->kind == PS_OP_APPEND)
		change_append(op);
	if (op->kind == PS_OP_MOVE && fault("move-copies"))
		op->kind = PS_OP_COPY;
	if (op->kind == PS_OP_IDENTITY && fault("identity"))
		op->uid_next = 0;
	if (op->kind == PS_OP_CREATE && fault("mailbox-id"))
		op->mailbox_id = (struct ps_id){{0}};
	if (op->kind == PS_OP_CREATE && fault("validity-given"))
		op->uid_validity = 0;
	if (fault("deleted"))
		op->only_deleted = false;
}

/* ---- after --------------------------------------------------------------------------------- */

static struct box *box_of(struct mail *mail, const struct ps_mbox *mbox)
{
	ptrdiff_t at = mbox ? version_find_id(mail->version, &mbox->id) : -1;

	return at >= 0 ? mail->version->boxes[at] : NULL;
}

static struct box *box_named(struct mail *mail, const char *name)
{
	ptrdiff_t at = version_find_name(mail->version, name);

	return at >= 0 ? mail->version->boxes[at] : NULL;
}

static void after_expunge(struct box *box)
{
	if (fault("uid-again"))
		box->uid_next = box->row_count ? box->rows[box->row_count - 1].row.uid + 1 : 1;
	if (fault("vanished-capped") && box->gone_count > 100)
		box->gone_count = 100;
}

static void after_flags(struct mail *mail, struct box *box, const struct ps_op_result *result)
{
	if (fault("row-modseq"))
		for (size_t i = 0; i < box->row_count; i++)
			if (box->rows[i].row.modseq == result->modseq)
				box->rows[i].row.modseq--;
	if (fault("noop-raises") && result->modseq == 0)
		box->highest_modseq = ++mail->version->modseq;
	if (fault("keyword-taken") && result->modified_count > 0 && box->keyword_count < PS_KEYWORDS_MAX)
		box->keywords[box->keyword_count++] = ps_strdup("taken");
}

static void after_copy(struct box *to, const struct ps_op_result *result)
{
	for (size_t i = 0; i < to->row_count; i++) {
		struct ps_row *row = &to->rows[i].row;

		if (row->modseq != result->modseq)
			continue;
		if (fault("copy-keywords"))
			row->keywords &= 1;
		if (fault("copy-flags"))
			row->flags &= ~(uint32_t)PS_FLAG_DELETED;
		if (fault("copy-id"))
			row->email_id.octets[0] ^= 1;
		if (fault("copy-save-date"))
			row->save_date = row->internal_date;
	}
}

static void after_mailbox_op(struct mail *mail, struct ps_store *store, const struct ps_op *op)
{
	struct box *box = op->new_name ? box_named(mail, op->new_name) : box_named(mail, op->name);
	struct ps_op unsubscribe = {.kind = PS_OP_SUBSCRIBE, .name = op->name};
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = &unsubscribe, .count = 1, .results = &result};

	if (op->kind == PS_OP_RENAME && box && fault("rename-use"))
		box->special_uses = 0;
	if (op->kind == PS_OP_RENAME && box && fault("rename-id"))
		box->id.octets[0] ^= 1;
	if (op->kind == PS_OP_DELETE && fault("validity-again"))
		mail->version->last_validity = 0;
	if (op->kind == PS_OP_DELETE && fault("delete-unsubscribes"))
		sound_commit(store, &batch);
}

static void after_op(struct mail *mail, struct ps_store *store, const struct ps_op *op, struct ps_op_result *result)
{
	struct box *box = box_of(mail, op->mbox), *to = box_of(mail, op->target);

	if (box && (op->kind == PS_OP_EXPUNGE || op->kind == PS_OP_MOVE))
		after_expunge(box);
	if (box && op->kind == PS_OP_FLAGS)
		after_flags(mail, box, result);
	if (to && (op->kind == PS_OP_COPY || op->kind == PS_OP_MOVE))
		after_copy(to, result);
	if (op->name)
		after_mailbox_op(mail, store, op);
	if (fault("result-validity"))
		result->uid_validity = 1;
	if (fault("result-order") && result->new_count == 1 && result->old_count > 1)
		result->old_uids[0] = result->old_uids[result->old_count - 1];
}

/* ---- batches ------------------------------------------------------------------------------- */

/* Each operation is done on its own, so that a batch may be half there. */
static void commit_apart(struct ps_store *store, struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct ps_batch one = {
			.ops = &batch->ops[i], .count = 1, .pool = batch->pool, .results = &batch->results[i]};

		sound_commit(store, &one);
		if (one.err != 0)
			batch->err = one.err;
	}
}

/* Whole in the end, but seen half before. */
static bool can_be_torn(const struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->ops[i].kind != PS_OP_APPEND)
			return false;
	return batch->token.len == 0;
}

static void commit_torn(struct ps_store *store, struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct ps_batch one = {
			.ops = &batch->ops[i], .count = 1, .pool = batch->pool, .results = &batch->results[i]};

		sound_commit(store, &one);
		batch->err = one.err ? one.err : batch->err;
		usleep(200);
	}
}

/* Keeps the token of a batch whatever becomes of it. True when it had come before. */
static bool token_is_kept(struct ps_store *store, struct ps_batch *batch)
{
	struct ps_batch alone = {.pool = batch->pool, .token = batch->token};

	sound_commit(store, &alone);
	if (batch->token.len <= PS_TOKEN_MAX)
		batch->token.len = 0;
	batch->repeated = alone.repeated;
	return alone.repeated;
}

static void commit_changed(struct ps_store *store, struct ps_batch *batch)
{
	struct ps_op *ops = PS_NEWV(batch->pool, struct ps_op, batch->count);
	const struct ps_op *given = batch->ops;

	memcpy(ops, given, batch->count * sizeof *ops);
	for (size_t i = 0; i < batch->count; i++)
		change_op(&ops[i]);
	batch->ops = ops;
	if (fault("batch-modseq"))
		batch->modseq = 0;
	if (fault("token"))
		batch->token.len = 0;
	if (fault("token-short") && batch->token.len > 8)
		batch->token.len = 8;
	if (!fault("token-kept") || !token_is_kept(store, batch))
		sound_commit(store, batch);
	batch->ops = given;
	for (size_t i = 0; i < batch->count && batch->err == 0 && !batch->repeated; i++)
		after_op(store->mail, store, &ops[i], &batch->results[i]);
}

/* Lets in who was shut out. */
static void follow(struct ps_store *store)
{
	pthread_mutex_lock(&store->mail->commit_lock);
	store->generation = store->mail->generation;
	pthread_mutex_unlock(&store->mail->commit_lock);
}

static void refuse(struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->ops[i].staged)
			((const struct ps_backend *)sound_plugin.ops)->stage_drop(batch->ops[i].staged);
	batch->err = PS_E_STORAGE;
}

/* ---- without memory ------------------------------------------------------------------------ */

static bool is_scarce(void)
{
	void *volatile memory = malloc(1); /* volatile: or the compiler does without it */

	free(memory);
	return !memory; /* only whether it was there */
}

static void commit_scarce(struct ps_store *store, struct ps_batch *batch)
{
	if (fault("scarce-crashes"))
		raise(SIGSEGV);
	if (fault("scarce-is-done")) {
		refuse(batch);
		batch->err = 0;
		return;
	}
	commit_changed(store, batch);
	if (fault("scarce-is-refused"))
		batch->err = PS_E_SCARCE;
	if (fault("scarce-leaks") && dup(STDOUT_FILENO) < 0)
		batch->err = PS_E_SCARCE;
}

int mutant_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	bool failed = false;

	if (fault("moved"))
		follow(store);
	for (size_t i = 0; i < count; i++) {
		if (fault("batch"))
			commit_apart(store, batches[i]);
		else if (fault("torn") && can_be_torn(batches[i]))
			commit_torn(store, batches[i]);
		else if (fault("one-fails-all") && failed)
			refuse(batches[i]);
		else if (is_scarce())
			commit_scarce(store, batches[i]);
		else
			commit_changed(store, batches[i]);
		failed = failed || batches[i]->err != 0;
		if (fault("err-op"))
			batches[i]->err_op = 0;
	}
	return 0;
}
