/* SPDX-License-Identifier: MIT */
/*
 * Planning: an operation on messages becomes changes of the index (in a transaction that is not committed yet) and
 * changes of files (not made yet). So a plan can be thrown away and made again at any time.
 */
#include "core/store/catalogue/catalogue_private.h"

static const struct ps_catalogue_files *files_of(const struct ps_plan *plan)
{
	return ps_catalogue_of(plan->t->store)->files;
}

uint64_t ps_plan_modseq(struct ps_plan *plan)
{
	if (plan->modseq == 0) {
		plan->modseq = plan->t->modseq + 1;
		if (plan->batch->modseq > plan->modseq)
			plan->modseq = plan->batch->modseq;
		plan->t->modseq = plan->modseq;
	}
	return plan->modseq;
}

/* ---- keywords -------------------------------------------------------------------------------- */

static int collect_keywords(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	(void)locator;
	*(uint64_t *)arg |= row->keywords;
	return 0;
}

/* A full table gives up what no message has. */
static int reclaim(struct ps_plan *plan, struct ps_edit *edit)
{
	uint64_t used = 0;
	int r = ps_index_rows(plan->t->txn, edit->box.key, (struct ps_range){1, UINT32_MAX}, collect_keywords, &used);

	for (int bit = 0; bit < PS_KEYWORDS_MAX && r == 0; bit++) {
		char **name = &edit->keywords.names[bit];

		if (*name && !(used & UINT64_C(1) << bit))
			ps_freep(name), *name = NULL;
	}
	return r;
}

static int keyword_bit(struct ps_plan *plan, struct ps_edit *edit, const char *name)
{
	const struct ps_catalogue_files *files = files_of(plan);
	uint64_t taken = files->keyword_bits_taken ? files->keyword_bits_taken(edit) : 0;
	int bit = ps_keyword_table_find(&edit->keywords, name), r;

	if (bit >= 0 || (bit = ps_keyword_table_add(&edit->keywords, name, taken)) != PS_E_LIMIT)
		return bit;
	if ((r = reclaim(plan, edit)) < 0)
		return r;
	return ps_keyword_table_add(&edit->keywords, name, taken);
}

static int keyword_mask(struct ps_plan *plan, struct ps_edit *edit, const char *const *names, bool add,
			uint64_t *ret_mask)
{
	uint64_t mask = 0;

	for (; names && *names; names++) {
		int bit = add ? keyword_bit(plan, edit, *names) : ps_keyword_table_find(&edit->keywords, *names);

		if (bit < 0 && add)
			return bit;
		if (bit >= 0)
			mask |= UINT64_C(1) << bit;
	}
	*ret_mask = mask;
	return 0;
}

/* The same keywords in another mailbox. */
static int target_keywords(struct ps_plan *plan, const struct ps_edit *from, struct ps_edit *to, uint64_t mask,
			   uint64_t *ret_mask)
{
	uint64_t keywords = 0;

	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++) {
		int there;

		if (!(mask & UINT64_C(1) << bit) || !from->keywords.names[bit])
			continue;
		if ((there = keyword_bit(plan, to, from->keywords.names[bit])) < 0)
			return there;
		keywords |= UINT64_C(1) << there;
	}
	*ret_mask = keywords;
	return 0;
}

/* ---- results --------------------------------------------------------------------------------- */

static void add_uid(struct ps_pool *pool, struct ps_range **ranges, size_t *count, uint32_t uid)
{
	struct ps_range *last = *count ? &(*ranges)[*count - 1] : NULL;
	size_t cap = *count;

	if (last && last->last + 1 == uid) {
		last->last = uid;
		return;
	}
	/* The room is always a power of two, at least eight. */
	if (*count == 0 || (*count >= 8 && (*count & (*count - 1)) == 0))
		*ranges = ps_pool_grow(pool, *ranges, *count, &cap, sizeof **ranges);
	(*ranges)[(*count)++] = (struct ps_range){uid, uid};
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct pick {
	struct ps_pool *pool;
	struct ps_picked *rows;
	size_t count, cap;
};

static int pick_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct pick *pick = arg;

	pick->rows = ps_pool_grow(pick->pool, pick->rows, pick->count, &pick->cap, sizeof *pick->rows);
	pick->rows[pick->count].row = *row;
	pick->rows[pick->count++].locator = ps_bytes(ps_pool_memdup(pick->pool, locator.ptr, locator.len), locator.len);
	return 0;
}

static int pick_rows(struct ps_plan *plan, uint64_t key, const struct ps_op *op, struct pick *ret_pick)
{
	struct pick pick = {.pool = plan->pool};
	int r = 0;

	for (size_t i = 0; i < op->uid_count && r == 0; i++)
		r = ps_index_rows(plan->t->txn, key, op->uids[i], pick_row, &pick);
	*ret_pick = pick;
	return r;
}

static void note_modseq(struct ps_plan *plan, const struct ps_edit *edit, uint32_t uid, uint64_t modseq)
{
	ps_brought_put(&plan->brought, plan->batch,
		       &(struct ps_brought){.key = edit->box.key, .batch = plan->modseq, .modseq = modseq, .uid = uid});
}

int ps_plan_put_row(struct ps_plan *plan, struct ps_edit *edit, const struct ps_row *row, struct ps_bytes locator)
{
	note_modseq(plan, edit, row->uid, row->modseq);
	return ps_index_row_put(plan->t->txn, &edit->box, row, locator);
}

int ps_plan_vanish(struct ps_plan *plan, struct ps_edit *edit, uint32_t uid)
{
	uint64_t modseq = ps_plan_modseq(plan);

	note_modseq(plan, edit, uid, modseq);
	return ps_index_row_vanish(plan->t->txn, &edit->box, uid, modseq);
}

/* A message of another store may bring its own modseq along. */
static int give_modseq(struct ps_plan *plan, struct ps_edit *edit, uint64_t *modseq)
{
	uint64_t batch = ps_plan_modseq(plan);

	if (*modseq > batch)
		return ps_fail(PS_E_INVALID, "a modseq above the batch's");
	if (batch > edit->box.highest_modseq)
		edit->box.highest_modseq = batch;
	if (*modseq == 0)
		*modseq = batch;
	return 0;
}

static int number_row(struct ps_plan *plan, struct ps_edit *edit, struct ps_row *row)
{
	if (row->uid != 0 && row->uid < edit->box.uid_next)
		return ps_fail(PS_E_INVALID, "UID %u is below UIDNEXT", row->uid);
	if (row->uid == 0)
		row->uid = edit->box.uid_next;
	if (row->uid >= UINT32_MAX)
		return ps_fail(PS_E_LIMIT, "no UIDs are left in %s", edit->box.name);
	if (row->save_date == 0)
		row->save_date = ps_catalogue_now();
	edit->box.uid_next = row->uid + 1;
	return give_modseq(plan, edit, &row->modseq);
}

/* ---- the operations -------------------------------------------------------------------------- */

static int plan_append(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_row row = {.uid = op->uid,
			     .flags = op->flags & PS_FLAG_ALL,
			     .modseq = op->modseq,
			     .internal_date = op->internal_date,
			     .save_date = op->save_date,
			     .email_id = op->email_id};
	struct ps_edit *edit;
	int r;

	if ((r = files_of(plan)->staged(op->staged, &row.size)) < 0 ||
	    (r = files_of(plan)->edit(plan, op->mbox->key, &edit)) < 0 ||
	    (r = keyword_mask(plan, edit, op->keywords, true, &row.keywords)) < 0 ||
	    (r = number_row(plan, edit, &row)) < 0 || (r = files_of(plan)->append(plan, edit, op, &row)) < 0)
		return r;
	add_uid(plan->batch->pool, &result->new_uids, &result->new_count, row.uid);
	result->uid_validity = edit->box.uid_validity;
	result->modseq = plan->modseq;
	return op->cache.len ? ps_index_cache_put(plan->t->txn, edit->box.key, row.uid, op->cache) : 0;
}

static int plan_flags(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	bool have_keywords = false;
	uint64_t keywords = 0;
	struct ps_edit *edit;
	struct pick pick;
	int r = files_of(plan)->edit(plan, op->mbox->key, &edit);

	if (r < 0 || (r = pick_rows(plan, op->mbox->key, op, &pick)) < 0)
		return r;
	for (size_t i = 0; i < pick.count && r == 0; i++) {
		const struct ps_picked *old = &pick.rows[i];
		struct ps_row row = old->row;

		if (row.modseq > op->unchanged_since) {
			add_uid(plan->batch->pool, &result->modified, &result->modified_count, row.uid);
			continue;
		}
		/* Not before there is a message that gets them: a keyword that none has needs no bit. */
		if (!have_keywords &&
		    (r = keyword_mask(plan, edit, op->keywords, op->flag_mode != PS_FLAGS_REMOVE, &keywords)) < 0)
			return r;
		have_keywords = true;
		ps_row_change_flags(&row, op->flag_mode, op->flags, keywords);
		if (row.flags == old->row.flags && row.keywords == old->row.keywords)
			continue;
		row.modseq = ps_plan_modseq(plan);
		r = files_of(plan)->change(plan, edit, old, &row);
		result->modseq = plan->modseq;
	}
	return r;
}

static int remove_one(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old)
{
	int r = files_of(plan)->remove(plan, edit, old);

	return r == 0 ? ps_plan_vanish(plan, edit, old->row.uid) : r;
}

static int plan_expunge(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_edit *edit;
	struct pick pick;
	int r = files_of(plan)->edit(plan, op->mbox->key, &edit);

	if (r < 0 || (r = pick_rows(plan, op->mbox->key, op, &pick)) < 0)
		return r;
	for (size_t i = 0; i < pick.count && r == 0; i++) {
		if (op->only_deleted && !(pick.rows[i].row.flags & PS_FLAG_DELETED))
			continue;
		r = remove_one(plan, edit, &pick.rows[i]);
		result->modseq = plan->modseq;
	}
	return r;
}

static int copy_cache(struct ps_plan *plan, uint64_t from, uint32_t from_uid, uint64_t to, uint32_t to_uid)
{
	struct ps_bytes cache;
	int r = ps_index_cache(plan->t->txn, from, from_uid, &cache);

	if (r == PS_E_NOTFOUND)
		return 0;
	return r == 0 ? ps_index_cache_put(plan->t->txn, to, to_uid, cache) : r;
}

static int copy_one(struct ps_plan *plan, struct ps_edit *from, struct ps_edit *to, const struct ps_picked *old,
		    bool move, uint32_t *ret_uid)
{
	struct ps_row row = {.flags = old->row.flags,
			     .size = old->row.size,
			     .internal_date = old->row.internal_date,
			     .email_id = old->row.email_id};
	int r;

	if ((r = target_keywords(plan, from, to, old->row.keywords, &row.keywords)) < 0 ||
	    (r = number_row(plan, to, &row)) < 0 || (r = files_of(plan)->copy(plan, from, to, old, &row, move)) < 0 ||
	    (r = copy_cache(plan, from->box.key, old->row.uid, to->box.key, row.uid)) < 0)
		return r;
	*ret_uid = row.uid;
	return move ? ps_plan_vanish(plan, from, old->row.uid) : 0;
}

static int plan_copy(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_pool *pool = plan->batch->pool;
	struct ps_edit *from, *to;
	struct pick pick;
	int r;

	if ((r = files_of(plan)->edit(plan, op->mbox->key, &from)) < 0 ||
	    (r = files_of(plan)->edit(plan, op->target->key, &to)) < 0 ||
	    (r = pick_rows(plan, op->mbox->key, op, &pick)) < 0)
		return r;
	for (size_t i = 0; i < pick.count && r == 0; i++) {
		uint32_t uid;

		if ((r = copy_one(plan, from, to, &pick.rows[i], op->kind == PS_OP_MOVE, &uid)) < 0)
			break;
		add_uid(pool, &result->old_uids, &result->old_count, pick.rows[i].row.uid);
		add_uid(pool, &result->new_uids, &result->new_count, uid);
		result->modseq = plan->modseq;
	}
	result->uid_validity = to->box.uid_validity;
	return r;
}

/* ---- mailboxes --------------------------------------------------------------------------------- */

int ps_plan_find_box(struct ps_plan *plan, const char *name, struct ps_index_box *ret_box)
{
	int r;

	for (struct ps_edit *edit = plan->t->edits; edit; edit = edit->next)
		if (!edit->removed && strcmp(edit->box.name, name) == 0) {
			*ret_box = edit->box;
			return 0;
		}
	r = ps_index_box_find(plan->t->txn, name, ret_box);
	return r == PS_E_NOTFOUND ? ps_fail(PS_E_NOTFOUND, "no mailbox %s", name) : r;
}

int ps_plan_free_name(struct ps_plan *plan, const char *name)
{
	struct ps_index_box box;
	int r = strlen(name) > PS_INDEX_NAME_MAX ? ps_fail(PS_E_LIMIT, "a mailbox name that is too long")
						 : ps_plan_find_box(plan, name, &box);

	if (r == 0)
		return ps_fail(PS_E_EXISTS, "the mailbox %s exists", name);
	return r == PS_E_NOTFOUND ? 0 : r;
}

int ps_plan_free_id(struct ps_plan *plan, const struct ps_id *id, uint64_t mine)
{
	uint64_t key = ps_catalogue_key(id);
	struct ps_index_box box;
	int r;

	if (ps_catalogue_is_none(id) || key == mine)
		return 0;
	for (struct ps_edit *edit = plan->t->edits; edit; edit = edit->next)
		if (!edit->removed && edit->box.key == key)
			return ps_fail(PS_E_EXISTS, "another mailbox has that id");
	r = ps_index_box(plan->t->txn, key, &box);
	if (r == 0)
		return ps_fail(PS_E_EXISTS, "another mailbox has that id");
	return r == PS_E_NOTFOUND ? 0 : r;
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static void drop_name(struct ps_buf *names, const char *name)
{
	size_t size = strlen(name) + 1, at = 0;

	while (at < names->len) {
		size_t len = strlen((const char *)names->ptr + at) + 1;

		if (len == size && memcmp(names->ptr + at, name, size) == 0) {
			memmove(names->ptr + at, names->ptr + at + len, names->len - at - len);
			names->len -= len;
			return;
		}
		at += len;
	}
}

static int plan_subscribe(struct ps_plan *plan, const struct ps_op *op)
{
	struct ps_store *store = plan->t->store;
	int r;

	if ((r = files_of(plan)->name_fits(store, op->name)) < 0)
		return r;
	if (!plan->subscriptions_loaded && (r = files_of(plan)->read_subscriptions(store, &plan->subscriptions)) < 0)
		return r;
	plan->subscriptions_loaded = true;
	if (ps_indexed_is_subscribed(ps_buf_view(&plan->subscriptions), op->name) == op->subscribed)
		return 0;
	plan->subscriptions_changed = true;
	if (op->subscribed)
		return ps_buf_append(&plan->subscriptions, op->name, strlen(op->name) + 1);
	drop_name(&plan->subscriptions, op->name);
	return 0;
}

/* All that a batch changes in the file, at once. */
static int plan_subscriptions(struct ps_plan *plan)
{
	int r;

	if (!plan->subscriptions_changed)
		return 0;
	plan->subscriptions_changed = false;
	r = files_of(plan)->write_subscriptions(plan, ps_buf_view(&plan->subscriptions));
	return r == 0 ? ps_indexed_subscriptions_put(plan->t->txn, ps_buf_view(&plan->subscriptions)) : r;
}

/* ---- batches ---------------------------------------------------------------------------------- */

static int plan_op(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	static int (*const message_ops[])(struct ps_plan *, const struct ps_op *, struct ps_op_result *) = {
		[PS_OP_APPEND] = plan_append, [PS_OP_FLAGS] = plan_flags, [PS_OP_EXPUNGE] = plan_expunge,
		[PS_OP_COPY] = plan_copy,     [PS_OP_MOVE] = plan_copy,
	};

	if (op->kind <= PS_OP_MOVE)
		return message_ops[op->kind](plan, op, result);
	return op->kind == PS_OP_SUBSCRIBE ? plan_subscribe(plan, op) : files_of(plan)->mailbox_op(plan, op, result);
}

int ps_plan_batch(struct ps_plan *plan, struct ps_batch *batch)
{
	int r = 0;

	plan->batch = batch;
	plan->modseq = 0;
	batch->repeated = false;
	if (batch->token.len > PS_TOKEN_MAX || batch->modseq > INT64_MAX)
		return ps_fail(PS_E_INVALID, "a batch with a token of %zu octets, or a modseq too high",
			       batch->token.len);
	if (batch->token.len > 0 && (r = files_of(plan)->token_seen(plan, batch)) != 0) {
		batch->repeated = r > 0;
		return r < 0 ? r : 0;
	}
	for (size_t i = 0; i < batch->count && r == 0; i++) {
		batch->results[i] = (struct ps_op_result){0};
		batch->err_op = i;
		r = plan_op(plan, &batch->ops[i], &batch->results[i]);
	}
	if (r == 0)
		r = plan_subscriptions(plan);
	if (r == 0 && batch->token.len > 0)
		r = files_of(plan)->token_keep(plan, batch);
	return r == 0 && plan->brought.failed ? ps_fail(PS_E_LIMIT, "no memory for a batch's modseqs") : r;
}

void ps_plan_finish(struct ps_plan *plan)
{
	ps_buf_finish(&plan->subscriptions);
	ps_buf_finish(&plan->brought);
	ps_pool_destroy(plan->pool);
}
