/* SPDX-License-Identifier: MIT */
/*
 * What a session does to the messages of its view.
 */
#include <stdlib.h>
#include "core/store/across.h"
#include "core/store/view.h"

/* One operation on the view's mailbox as a batch. */
static int try_one(struct ps_view *view, struct ps_op *op, struct ps_pool *pool, struct ps_op_result *ret_result)
{
	struct ps_batch batch = {.ops = op, .count = 1, .pool = pool, .results = ret_result};

	*ret_result = (struct ps_op_result){0};
	op->mbox = view->mailbox->mbox;
	return ps_commit(view->mailbox->user, &batch);
}

/* The same, where the store is by now; then everybody who looks at the mailbox is brought up to date. A target is not looked for
 * again. */
static int commit_one(struct ps_view *view, struct ps_op *op, struct ps_pool *pool, struct ps_op_result *ret_result)
{
	struct ps_op_result result;
	int r = op->target ? 0 : ps_view_here(view);

	if (r == 0)
		r = try_one(view, op, pool, &result);
	if (r == PS_E_MOVED && !op->target && (r = ps_view_here(view)) == 0)
		r = try_one(view, op, pool, &result);
	if (r < 0)
		return r;
	ps_mailbox_refresh(view->mailbox, view);
	*ret_result = result;
	return 0;
}

static int check_writable(const struct ps_view *view)
{
	return view->read_only ? ps_fail(PS_E_ACCESS, "the mailbox is open read-only") : 0;
}

int ps_view_change_flags(struct ps_view *view, const struct ps_set *uids, const struct ps_flag_change *change,
			 struct ps_pool *pool, struct ps_op_result *ret_result)
{
	struct ps_op op = {
		.kind = PS_OP_FLAGS,
		.uids = uids->ranges,
		.uid_count = uids->count,
		.flag_mode = change->mode,
		.flags = change->flags,
		.keywords = change->keywords,
		.unchanged_since = change->unchanged_since,
	};
	int r = check_writable(view);

	if (r < 0 || (r = commit_one(view, &op, pool, ret_result)) < 0)
		return r;
	if (ret_result->modseq)
		ps_view_note_change(view, change, ret_result->modseq);
	return 0;
}

/* Those that are marked, so that the commit need not read each row to find them; all, if it cannot be known here. */
static struct ps_set marked_of(struct ps_view *view, const struct ps_set *uids, struct ps_pool *pool)
{
	struct ps_mailbox_state now;
	struct ps_ranges marked = {0};
	const struct ps_row *row;

	if (ps_view_here(view) < 0 || ps_user_look(view->mailbox->user, view->mailbox->mbox) < 0 ||
	    ps_mailbox_pull(view->mailbox, view) < 0 || ps_mailbox_state(view->mailbox, &now) < 0)
		return *uids;
	for (size_t i = 0; i < uids->count; i++) {
		uint32_t from = ps_snapshot_seq_from(now.snapshot, uids->ranges[i].first);

		for (uint32_t seq = ps_snapshot_seq_deleted(now.snapshot, from);
		     (row = ps_snapshot_row(now.snapshot, seq)) != NULL && row->uid <= uids->ranges[i].last;
		     seq = ps_snapshot_seq_deleted(now.snapshot, seq + 1))
			ps_ranges_add(&marked, (struct ps_range){row->uid, row->uid});
	}
	ps_mailbox_state_finish(&now);
	return ps_ranges_to_set(&marked, pool);
}

static int expunge(struct ps_view *view, const struct ps_set *uids, bool only_deleted)
{
	/* What the client has not seen it did not mean. */
	struct ps_range shown = {1, ps_snapshot_last_uid(view->shown.snapshot)};
	struct ps_set chosen = uids ? *uids : (struct ps_set){.ranges = &shown, .count = shown.last > 0};
	struct ps_op op = {.kind = PS_OP_EXPUNGE, .only_deleted = only_deleted};
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = NULL;
	struct ps_op_result result;
	int r = check_writable(view);

	if (r < 0 || shown.last == 0)
		return r;
	pool = ps_pool_create("expunge");
	if (only_deleted)
		chosen = marked_of(view, &chosen, pool);
	op.uids = chosen.ranges;
	op.uid_count = chosen.count;
	return chosen.count > 0 ? commit_one(view, &op, pool, &result) : 0;
}

int ps_view_expunge(struct ps_view *view, const struct ps_set *uids)
{
	return expunge(view, uids, true);
}

int ps_view_remove(struct ps_view *view, const struct ps_set *uids)
{
	return expunge(view, uids, false);
}

static int copy_across(struct ps_view *view, const struct ps_set *uids, const char *target, bool move,
		       struct ps_pool *pool, struct ps_op_result *ret_result)
{
	struct ps_append *append;
	int r = ps_append_open(view->user, target, &append);

	if (r < 0)
		return r;
	r = ps_copy_across(view->mailbox, append, uids, move, pool, ret_result);
	ps_append_close(append);
	if (move)
		ps_mailbox_refresh(view->mailbox, view);
	return r;
}

static int copy_within(struct ps_view *view, struct ps_mailbox *to, struct ps_op *op, struct ps_pool *pool,
		       struct ps_op_result *ret_result)
{
	int r;

	op->target = to->mbox;
	r = commit_one(view, op, pool, ret_result);
	if (r == 0 && to != view->mailbox)
		ps_mailbox_refresh(to, view);
	return r;
}

static int copy_once(struct ps_view *view, const struct ps_set *uids, const char *target, bool move,
		     struct ps_pool *pool, struct ps_op_result *ret_result, bool *ret_across)
{
	struct ps_mailbox *to;
	struct ps_op op = {
		.kind = move ? PS_OP_MOVE : PS_OP_COPY,
		.uids = uids->ranges,
		.uid_count = uids->count,
	};
	int r;

	if ((r = ps_view_here(view)) < 0 || (r = ps_mailbox_open(view->user, target, &to)) < 0)
		return r;
	*ret_across = to->user != view->mailbox->user;
	if (!*ret_across)
		r = copy_within(view, to, &op, pool, ret_result);
	else
		r = copy_across(view, uids, target, move, pool, ret_result);
	ps_mailbox_close(to);
	return r;
}

/* From one store to another it is several batches, so that a part may be done already when one of them has moved. */
int ps_view_copy(struct ps_view *view, const struct ps_set *uids, const char *target, bool move, struct ps_pool *pool,
		 struct ps_op_result *ret_result)
{
	bool across = false;
	int r = move ? check_writable(view) : 0;

	if (r == 0)
		r = copy_once(view, uids, target, move, pool, ret_result, &across);
	return r == PS_E_MOVED && !across ? copy_once(view, uids, target, move, pool, ret_result, &across) : r;
}

/* ---- what the client knows of its own changes ---------------------------------------------- */

static void known_free(struct ps_known_change *known)
{
	if (known)
		free(known->uids);
	free(known);
}

void ps_view_known_finish(struct ps_view *view)
{
	while (view->known) {
		struct ps_known_change *known = view->known;

		view->known = known->next;
		known_free(known);
	}
	known_free(view->last_change);
	view->last_change = NULL;
}

static uint64_t keyword_mask(struct ps_mailbox *mailbox, const char *const *names)
{
	const struct ps_keywords *table;
	uint64_t mask = 0;

	pthread_mutex_lock(&mailbox->lock);
	table = mailbox->state.keywords;
	for (; names && *names; names++) {
		int bit = ps_keyword_bit(table->names, table->count, *names);

		if (bit >= 0)
			mask |= UINT64_C(1) << bit;
	}
	pthread_mutex_unlock(&mailbox->lock);
	return mask;
}

void ps_view_note_change(struct ps_view *view, const struct ps_flag_change *change, uint64_t modseq)
{
	struct ps_known_change *known = ps_zalloc(sizeof *known);

	known->modseq = modseq;
	known->mode = change->mode;
	known->flags = change->flags;
	known->keywords = keyword_mask(view->mailbox, change->keywords);
	known_free(view->last_change);
	view->last_change = known;
}

void ps_view_known(struct ps_view *view, const struct ps_range *uids, size_t count, uint64_t modseq)
{
	struct ps_known_change *known = view->last_change, **at = &view->known;

	if (!known || known->modseq != modseq)
		return;
	view->last_change = NULL;
	known->uids = ps_malloc(count * sizeof *uids);
	memcpy(known->uids, uids, count * sizeof *uids);
	known->count = ps_ranges_normalise(known->uids, count);
	while (*at)
		at = &(*at)->next;
	*at = known;
}

bool ps_view_expects(const struct ps_view *view, const struct ps_row *before, const struct ps_row *after)
{
	struct ps_row expected = *before;
	bool any = false;

	for (const struct ps_known_change *known = view->known; known; known = known->next) {
		if (!ps_ranges_has(known->uids, known->count, before->uid))
			continue;
		ps_row_change_flags(&expected, known->mode, known->flags, known->keywords);
		expected.modseq = known->modseq;
		any = true;
	}
	return any && expected.modseq == after->modseq && expected.flags == after->flags &&
	       expected.keywords == after->keywords;
}
