/* SPDX-License-Identifier: MIT */
/* Operations on messages. */
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include "core/store/ledger/ledger_private.h"

enum {
	ROW_ROOM = 1024,       /* octets that a row takes in all databases, at most */
	BATCH_ROOM = 64 * PAGE /* pages that any change writes anew on its way down the trees */
};

static int new_id(struct ps_id *ret_id)
{
	if (getrandom(ret_id, sizeof *ret_id, 0) != (ssize_t)sizeof *ret_id)
		return ps_fail_errno("random octets");
	return 0;
}

static void add_uid(struct ps_pool *pool, struct ps_range **ranges, size_t *count, uint32_t uid)
{
	size_t cap = 8;

	if (*count > 0 && (*ranges)[*count - 1].last + 1 == uid) {
		(*ranges)[*count - 1].last = uid;
		return;
	}
	while (cap < *count)
		cap *= 2;
	if (*count == 0)
		*ranges = PS_NEWV(pool, struct ps_range, cap);
	else if (*count == cap)
		*ranges = ps_pool_grow(pool, *ranges, *count, &cap, sizeof **ranges);
	(*ranges)[(*count)++] = (struct ps_range){uid, uid};
}

/* ---- the rows that an operation is about ----------------------------------------------------------- */

struct found {
	struct ps_row row;
	uint64_t body;
};

/* Collected first: a walk must not meet changes. */
struct rows {
	const struct ps_op *op;
	struct found *at;
	size_t count, cap;
};

static int take_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct rows *rows = arg;
	uint64_t body;
	int r;

	if (rows->op->only_deleted && !(row->flags & PS_FLAG_DELETED))
		return 0;
	if ((r = ps_ledger_locator(locator, &body)) < 0)
		return r;
	if (rows->count == rows->cap) {
		rows->cap = rows->cap ? rows->cap * 2 : 16;
		rows->at = ps_realloc(rows->at, rows->cap * sizeof *rows->at);
	}
	rows->at[rows->count++] = (struct found){*row, body};
	return 0;
}

static int find_rows(struct draft *draft, uint64_t key, const struct ps_op *op, struct rows *rows)
{
	int r = 0;

	*rows = (struct rows){.op = op};
	for (size_t i = 0; i < op->uid_count && r == 0; i++)
		r = ps_index_rows(draft->index, key, op->uids[i], take_row, rows);
	if (r < 0)
		ps_freep(&rows->at);
	return r;
}

static int put_row(struct draft *draft, struct draft_box *box, const struct ps_row *row, uint64_t body)
{
	return ps_index_row_put(draft->index, &box->box, row, ps_bytes(&body, sizeof body));
}

/* A new row at the end. */
static int add_row(struct draft *draft, struct draft_box *box, const struct ps_row *row, uint64_t body)
{
	if (row->uid == UINT32_MAX)
		return ps_fail(PS_E_LIMIT, "mailbox %s has no UIDs left", box->box.name);
	box->box.uid_next = row->uid + 1;
	return put_row(draft, box, row, body);
}

/* ---- append -------------------------------------------------------------------------------------- */

static int make_row(struct draft *draft, struct draft_box *box, const struct ps_op *op, struct ps_row *row)
{
	*row = (struct ps_row){
		.uid = op->uid ? op->uid : box->box.uid_next,
		.flags = op->flags & PS_FLAG_ALL,
		.modseq = op->modseq ? op->modseq : draft->modseq,
		.internal_date = op->internal_date,
		.save_date = op->save_date ? op->save_date : time(NULL),
		.email_id = op->email_id,
	};
	if (row->uid < box->box.uid_next)
		return ps_fail(PS_E_INVALID, "UID %u, where %u is the next", row->uid, box->box.uid_next);
	if (row->modseq > draft->modseq)
		return ps_fail(PS_E_INVALID, "a modseq above the batch's");
	return id_is_zero(&row->email_id) ? new_id(&row->email_id) : 0;
}

int ledger_append(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	const struct ps_ledger_bodies *bodies = draft->bodies;
	uint64_t room = op->cache.len + ROW_ROOM + BATCH_ROOM + (bodies->room ? bodies->room(op->staged) : 0);
	uint64_t body, length;
	struct draft_box *box;
	struct ps_row row;
	int r;

	if ((r = draft_box(draft, op->mbox, &box)) < 0 || (r = draft_note(draft, box, &result->modseq)) < 0 ||
	    (r = make_row(draft, box, op, &row)) < 0 ||
	    (r = draft_keywords(draft, box, op->keywords, true, &row.keywords)) < 0 ||
	    (r = ps_ledger_reserve(draft->txn, room)) < 0 ||
	    (r = bodies->put(draft->txn, op->staged, &body, &length)) < 0)
		return r;
	row.size = op->size ? op->size : length;
	if ((r = add_row(draft, box, &row, body)) < 0)
		return r;
	if (op->cache.len > 0 && (r = ps_index_cache_put(draft->index, body, 0, op->cache)) < 0)
		return r;
	add_uid(draft->batch->pool, &result->new_uids, &result->new_count, row.uid);
	result->uid_validity = box->box.uid_validity;
	return 0;
}

/* ---- flags ----------------------------------------------------------------------------------------- */

static int change_flags(struct draft *draft, struct draft_box *box, const struct ps_op *op, const struct found *found,
			uint64_t keywords, struct ps_op_result *result)
{
	struct ps_row row = found->row;
	int r;

	ps_row_change_flags(&row, op->flag_mode, op->flags, keywords);
	if (row.flags == found->row.flags && row.keywords == found->row.keywords)
		return 0;
	if ((r = draft_note(draft, box, &result->modseq)) < 0)
		return r;
	row.modseq = result->modseq;
	return put_row(draft, box, &row, found->body);
}

int ledger_flags(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	bool have_keywords = false;
	uint64_t keywords = 0;
	struct draft_box *box;
	struct rows rows;
	int r;

	if ((r = draft_box(draft, op->mbox, &box)) < 0 || (r = find_rows(draft, box->box.key, op, &rows)) < 0)
		return r;
	for (size_t i = 0; i < rows.count && r == 0; i++) {
		const struct found *found = &rows.at[i];

		if (found->row.modseq > op->unchanged_since) {
			add_uid(draft->batch->pool, &result->modified, &result->modified_count, found->row.uid);
			continue;
		}
		/* Not before there is a message that gets them: a keyword that none has needs no bit. */
		if (!have_keywords)
			r = draft_keywords(draft, box, op->keywords, op->flag_mode != PS_FLAGS_REMOVE, &keywords);
		have_keywords = true;
		if (r == 0)
			r = change_flags(draft, box, op, found, keywords, result);
	}
	free(rows.at);
	return r;
}

/* ---- expunge ----------------------------------------------------------------------------------------- */

static int remove_rows(struct draft *draft, struct draft_box *box, const struct rows *rows, bool drop,
		       uint64_t *ret_modseq)
{
	int r = 0;

	if (rows->count > 0)
		r = draft_note(draft, box, ret_modseq);
	for (size_t i = 0; i < rows->count && r == 0; i++) {
		r = ps_index_row_vanish(draft->index, &box->box, rows->at[i].row.uid, *ret_modseq);
		if (r == 0 && drop)
			r = draft_drop_body(draft, rows->at[i].body);
	}
	return r;
}

int ledger_expunge(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct draft_box *box;
	struct rows rows;
	int r;

	if ((r = draft_box(draft, op->mbox, &box)) < 0 || (r = find_rows(draft, box->box.key, op, &rows)) < 0)
		return r;
	r = remove_rows(draft, box, &rows, true, &result->modseq);
	free(rows.at);
	return r;
}

/* ---- copy and move ----------------------------------------------------------------------------------- */

/* Keyword masks as the other mailbox numbers them; most messages have the same few. */
struct translation {
	uint64_t from, to;
	bool known;
};

static int translate(struct draft *draft, struct draft_box *from, struct draft_box *to, uint64_t mask,
		     struct translation *last, uint64_t *ret_mask)
{
	const char *names[PS_KEYWORDS_MAX + 1];
	size_t n = 0;
	int r;

	if (mask == 0 || from == to || (last->known && last->from == mask)) {
		*ret_mask = mask == 0 || from == to ? mask : last->to;
		return 0;
	}
	if ((r = draft_load_keywords(draft, from)) < 0)
		return r;
	for (size_t i = 0; i < from->keyword_count; i++)
		if (mask & (UINT64_C(1) << i))
			names[n++] = from->keywords[i];
	names[n] = NULL;
	if ((r = draft_keywords(draft, to, names, true, &last->to)) < 0)
		return r;
	last->from = mask;
	last->known = true;
	*ret_mask = last->to;
	return 0;
}

/* A body for another row, with its cache. */
static int copy_body(struct draft *draft, uint64_t body, uint64_t *ret_copy)
{
	struct ps_bytes cache;
	uint64_t copy;
	int r = draft->bodies->copy(draft->txn, body, &copy);

	if (r == 0 && copy != body && ps_index_cache(draft->index, body, 0, &cache) == 0)
		r = ps_index_cache_put(draft->index, copy, 0, cache);
	if (r == 0)
		*ret_copy = copy;
	return r;
}

static int copy_rows(struct draft *draft, struct draft_box *from, struct draft_box *to, const struct rows *rows,
		     bool move, struct ps_op_result *result)
{
	struct ps_pool *pool = draft->batch->pool;
	struct translation last = {0};
	int64_t now = time(NULL);
	int r = rows->count > 0 ? draft_note(draft, to, &result->modseq) : 0;

	for (size_t i = 0; i < rows->count && r == 0; i++) {
		struct ps_row copy = rows->at[i].row;
		uint64_t body = rows->at[i].body;

		copy.uid = to->box.uid_next;
		copy.modseq = result->modseq;
		copy.save_date = now;
		if ((r = translate(draft, from, to, rows->at[i].row.keywords, &last, &copy.keywords)) < 0 ||
		    (!move && (r = copy_body(draft, body, &body)) < 0) || (r = add_row(draft, to, &copy, body)) < 0)
			return r;
		add_uid(pool, &result->old_uids, &result->old_count, rows->at[i].row.uid);
		add_uid(pool, &result->new_uids, &result->new_count, copy.uid);
	}
	return r;
}

static int copy(struct draft *draft, const struct ps_op *op, bool move, struct ps_op_result *result)
{
	struct draft_box *from, *to;
	struct rows rows;
	int r;

	if ((r = draft_box(draft, op->target, &to)) < 0 || (r = draft_box(draft, op->mbox, &from)) < 0 ||
	    (r = find_rows(draft, from->box.key, op, &rows)) < 0)
		return r;
	/* A move is a way of deleting for many, so it works when there is no room for more. */
	if (!move)
		r = ps_ledger_reserve(draft->txn, rows.count * ROW_ROOM + BATCH_ROOM);
	if (r == 0)
		r = copy_rows(draft, from, to, &rows, move, result);
	if (r == 0 && move)
		r = remove_rows(draft, from, &rows, false, &result->modseq);
	result->uid_validity = to->box.uid_validity;
	free(rows.at);
	return r;
}

int ledger_copy(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	return copy(draft, op, false, result);
}

int ledger_move(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	return copy(draft, op, true, result);
}
