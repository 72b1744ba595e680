/* SPDX-License-Identifier: MIT */
/*
 * Planning: an operation on messages becomes changes of the index (in a transaction that is not committed yet) and
 * of mailboxes' files (not made yet). So a plan can be thrown away and made again at any time.
 */
#include "config.h"

#include "backends/mbox/mbox_private.h"

uint64_t plan_modseq(struct plan *plan)
{
	if (plan->modseq == 0) {
		plan->modseq = plan->w.t.modseq + 1;
		if (plan->batch->modseq > plan->modseq)
			plan->modseq = plan->batch->modseq;
		plan->w.t.modseq = plan->modseq;
	}
	return plan->modseq;
}

/* A message of another store may bring its own modseq along. */
static int row_modseq(struct plan *plan, struct edit *edit, uint64_t own, uint64_t *ret_modseq)
{
	uint64_t modseq = plan_modseq(plan);

	if (own > modseq)
		return ps_fail(PS_E_INVALID, "a modseq above the batch's");
	if (modseq > edit->e.box.highest_modseq)
		edit->e.box.highest_modseq = modseq;
	*ret_modseq = own ? own : modseq;
	return 0;
}

/* ---- keywords -------------------------------------------------------------------------------- */

static int collect_keywords(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	(void)locator;
	*(uint64_t *)arg |= row->keywords;
	return 0;
}

/* A full table gives up what no message has. */
static int reclaim(struct plan *plan, struct edit *edit)
{
	uint64_t used = 0;
	int r = ps_index_rows(plan->w.t.txn, edit->e.box.key, (struct ps_range){1, UINT32_MAX}, collect_keywords,
			      &used);

	for (int bit = 0; bit < PS_KEYWORDS_MAX && r == 0; bit++) {
		char **name = &edit->e.keywords.names[bit];

		if (*name && !(used & UINT64_C(1) << bit))
			ps_freep(name), *name = NULL;
	}
	return r;
}

static int keyword_bit(struct plan *plan, struct edit *edit, const char *name)
{
	int bit = ps_keyword_table_find(&edit->e.keywords, name), r;

	if (bit >= 0 || (bit = ps_keyword_table_add(&edit->e.keywords, name, 0)) != PS_E_LIMIT)
		return bit;
	if ((r = reclaim(plan, edit)) < 0)
		return r;
	return ps_keyword_table_add(&edit->e.keywords, name, 0);
}

static int keyword_mask(struct plan *plan, struct edit *edit, const char *const *names, bool add, uint64_t *ret_mask)
{
	uint64_t mask = 0;

	for (; names && *names; names++) {
		int bit = add ? keyword_bit(plan, edit, *names) : ps_keyword_table_find(&edit->e.keywords, *names);

		if (bit < 0 && add)
			return bit;
		if (bit >= 0)
			mask |= UINT64_C(1) << bit;
	}
	*ret_mask = mask;
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

struct picked {
	struct ps_row row;
	struct locator loc;
};

struct pick {
	struct ps_pool *pool;
	struct picked *rows;
	size_t count, cap;
};

static int pick_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct pick *pick = arg;

	pick->rows = ps_pool_grow(pick->pool, pick->rows, pick->count, &pick->cap, sizeof *pick->rows);
	pick->rows[pick->count].row = *row;
	return locator_decode(locator, &pick->rows[pick->count++].loc);
}

static int pick_rows(struct plan *plan, uint64_t key, const struct ps_op *op, struct pick *ret_pick)
{
	struct pick pick = {.pool = plan->pool};
	int r = 0;

	for (size_t i = 0; i < op->uid_count && r == 0; i++)
		r = ps_index_rows(plan->w.t.txn, key, op->uids[i], pick_row, &pick);
	*ret_pick = pick;
	return r;
}

static void note_modseq(struct plan *plan, const struct edit *edit, uint32_t uid, uint64_t modseq)
{
	ps_brought_put(
		&plan->w.brought, plan->batch,
		&(struct ps_brought){.key = edit->e.box.key, .batch = plan->modseq, .modseq = modseq, .uid = uid});
}

static int put_row(struct plan *plan, struct edit *edit, const struct ps_row *row)
{
	struct ps_bytes locator = locator_encode(&edit_find_change(edit, row->uid)->loc);

	note_modseq(plan, edit, row->uid, row->modseq);
	return ps_index_row_put(plan->w.t.txn, &edit->e.box, row, locator);
}

/* ---- append ---------------------------------------------------------------------------------- */

/* A new message behind all others: its UID and modseq, its row, its head and place. */
static int new_message(struct plan *plan, struct edit *edit, struct ps_row *row, const struct locator *form,
		       const struct source *source)
{
	struct ps_buf from = {0};
	struct ps_bytes line;
	int r;

	if (row->uid != 0 && row->uid < edit->e.box.uid_next)
		return ps_fail(PS_E_INVALID, "UID %u is below UIDNEXT", row->uid);
	row->uid = row->uid ? row->uid : edit->e.box.uid_next;
	if (row->uid >= UINT32_MAX)
		return ps_fail(PS_E_LIMIT, "no UIDs are left in %s", edit->e.box.name);
	if ((r = row_modseq(plan, edit, row->modseq, &row->modseq)) < 0)
		return r;
	if (row->save_date == 0)
		row->save_date = ps_catalogue_now();
	edit->e.box.uid_next = row->uid + 1;
	ps_from_line_format(&from, ps_bytes("", 0), row->internal_date);
	line = ps_bytes(ps_pool_memdup(plan->w.t.pool, from.ptr, from.len), from.len);
	ps_buf_finish(&from);
	if ((r = edit_add(&plan->w, edit, row, form, line, source)) < 0)
		return r;
	return put_row(plan, edit, row);
}

static int plan_append(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_staged *staged = op->staged;
	struct ps_row row = {.uid = op->uid,
			     .flags = op->flags & PS_FLAG_ALL,
			     .modseq = op->modseq,
			     .internal_date = op->internal_date,
			     .save_date = op->save_date,
			     .email_id = ps_catalogue_is_none(&op->email_id) ? ps_catalogue_new_id() : op->email_id};
	struct source source = {.fd = -1, .staged = staged};
	struct locator form = {0};
	struct edit *edit;
	int r;

	if (!staged || !staged->finished || staged->err)
		return staged && staged->err ? staged->err : ps_fail(PS_E_INVALID, "a message that is not staged");
	row.size = staged->wire_size;
	form.length = staged->disk_size;
	form.form = (uint16_t)staged->form;
	if ((r = write_edit(&plan->w, op->mbox->key, &edit)) < 0 ||
	    (r = keyword_mask(plan, edit, op->keywords, true, &row.keywords)) < 0 ||
	    (r = new_message(plan, edit, &row, &form, &source)) < 0)
		return r;
	add_uid(plan->batch->pool, &result->new_uids, &result->new_count, row.uid);
	result->uid_validity = edit->e.box.uid_validity;
	result->modseq = plan->modseq;
	return op->cache.len ? ps_index_cache_put(plan->w.t.txn, edit->e.box.key, row.uid, op->cache) : 0;
}

/* ---- flags ----------------------------------------------------------------------------------- */

static uint64_t combine(enum ps_flag_mode mode, uint64_t old, uint64_t change)
{
	return mode == PS_FLAGS_SET ? change : mode == PS_FLAGS_ADD ? old | change : old & ~change;
}

static int change_one(struct plan *plan, struct edit *edit, const struct picked *old, struct ps_row *row)
{
	int r = row_modseq(plan, edit, 0, &row->modseq);

	if (r == 0)
		r = edit_rehead(&plan->w, edit, row, &old->loc);
	if (r < 0)
		return r;
	return put_row(plan, edit, row);
}

static int plan_flags(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	bool have_keywords = false;
	uint64_t keywords = 0;
	struct edit *edit;
	struct pick pick;
	int r = write_edit(&plan->w, op->mbox->key, &edit);

	if (r < 0 || (r = pick_rows(plan, op->mbox->key, op, &pick)) < 0)
		return r;
	for (size_t i = 0; i < pick.count && r == 0; i++) {
		const struct picked *old = &pick.rows[i];
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
		row.flags = (uint32_t)combine(op->flag_mode, row.flags, op->flags & PS_FLAG_ALL);
		row.keywords = combine(op->flag_mode, row.keywords, keywords);
		if (row.flags == old->row.flags && row.keywords == old->row.keywords)
			continue;
		r = change_one(plan, edit, old, &row);
		result->modseq = plan->modseq;
	}
	return r;
}

/* ---- expunge --------------------------------------------------------------------------------- */

static int remove_one(struct plan *plan, struct edit *edit, const struct picked *old)
{
	uint64_t modseq = plan_modseq(plan);

	edit_remove(&plan->w, edit, &old->row, &old->loc);
	note_modseq(plan, edit, old->row.uid, modseq);
	return ps_index_row_vanish(plan->w.t.txn, &edit->e.box, old->row.uid, modseq);
}

static int plan_expunge(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct edit *edit;
	struct pick pick;
	int r = write_edit(&plan->w, op->mbox->key, &edit);

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

/* ---- copy and move --------------------------------------------------------------------------- */

static int target_keywords(struct plan *plan, const struct edit *from, struct edit *to, uint64_t mask,
			   uint64_t *ret_mask)
{
	uint64_t keywords = 0;

	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++) {
		int there;

		if (!(mask & UINT64_C(1) << bit) || !from->e.keywords.names[bit])
			continue;
		if ((there = keyword_bit(plan, to, from->e.keywords.names[bit])) < 0)
			return there;
		keywords |= UINT64_C(1) << there;
	}
	*ret_mask = keywords;
	return 0;
}

static int copy_cache(struct plan *plan, uint64_t from, uint32_t from_uid, uint64_t to, uint32_t to_uid)
{
	struct ps_bytes cache;
	int r = ps_index_cache(plan->w.t.txn, from, from_uid, &cache);

	if (r == PS_E_NOTFOUND)
		return 0;
	return r == 0 ? ps_index_cache_put(plan->w.t.txn, to, to_uid, cache) : r;
}

/* Where a message's content is: in the file, or where it is to come from. */
static struct source source_of(struct plan *plan, const struct edit *from, const struct picked *old)
{
	const struct change *change = edit_find_change(from, old->row.uid);
	const struct locator *loc = change && change->head.len > 0 ? &change->was : &old->loc;
	struct piece piece = {loc->at + loc->head, loc->length};

	if (change && change->has_content)
		return change->source;
	return (struct source){
		.fd = from->lock->fd, .pieces = ps_pool_memdup(plan->w.t.pool, &piece, sizeof piece), .count = 1};
}

static int copy_one(struct plan *plan, struct edit *from, struct edit *to, const struct picked *old, bool move,
		    uint32_t *ret_uid)
{
	struct source source = source_of(plan, from, old);
	struct ps_row row = {.flags = old->row.flags,
			     .size = old->row.size,
			     .internal_date = old->row.internal_date,
			     .email_id = old->row.email_id};
	struct locator form = {.length = old->loc.length, .form = old->loc.form};
	int r = target_keywords(plan, from, to, old->row.keywords, &row.keywords);

	if (r < 0 || (r = new_message(plan, to, &row, &form, &source)) < 0)
		return r;
	*ret_uid = row.uid;
	if ((r = copy_cache(plan, from->e.box.key, old->row.uid, to->e.box.key, row.uid)) < 0 || !move)
		return r;
	return remove_one(plan, from, old);
}

static int plan_copy(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_pool *pool = plan->batch->pool;
	struct edit *from, *to;
	struct pick pick;
	int r;

	if ((r = write_edit(&plan->w, op->mbox->key, &from)) < 0 ||
	    (r = write_edit(&plan->w, op->target->key, &to)) < 0 || (r = pick_rows(plan, op->mbox->key, op, &pick)) < 0)
		return r;
	for (size_t i = 0; i < pick.count && r == 0; i++) {
		uint32_t uid;

		if ((r = copy_one(plan, from, to, &pick.rows[i], op->kind == PS_OP_MOVE, &uid)) < 0)
			break;
		add_uid(pool, &result->old_uids, &result->old_count, pick.rows[i].row.uid);
		add_uid(pool, &result->new_uids, &result->new_count, uid);
		result->modseq = plan->modseq;
	}
	result->uid_validity = to->e.box.uid_validity;
	return r;
}

int plan_message_op(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	static int (*const ops[])(struct plan *, const struct ps_op *, struct ps_op_result *) = {
		[PS_OP_APPEND] = plan_append, [PS_OP_FLAGS] = plan_flags, [PS_OP_EXPUNGE] = plan_expunge,
		[PS_OP_COPY] = plan_copy,     [PS_OP_MOVE] = plan_copy,
	};

	return ops[op->kind](plan, op, result);
}
