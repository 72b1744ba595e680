/* SPDX-License-Identifier: MIT */
/*
 * Planning: an operation on messages becomes changes of the index (in a transaction that is not committed yet) and
 * steps for the files (not done yet). So a plan can be thrown away and made again at any time.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include "backends/maildir/maildir_private.h"

int plan_modseq(struct plan *plan, uint64_t *ret_modseq)
{
	if (plan->modseq == 0) {
		plan->modseq = plan->w.modseq + 1;
		if (plan->batch->modseq > plan->modseq)
			plan->modseq = plan->batch->modseq;
		plan->w.modseq = plan->modseq;
	}
	*ret_modseq = plan->modseq;
	return 0;
}

/* The steps' directory for a mailbox's cur or new, or for the mailbox itself (place 0). */
static uint32_t dir_for(struct plan *plan, const struct edit *edit, enum place place)
{
	const char *part = place == PLACE_CUR ? "cur" : place == PLACE_NEW ? "new" : "";
	char dir[NAME_SIZE] = ".";
	const char *path;

	dir_of_name(plan->w.store->tree, edit->e.box.name, dir);
	if (!*part)
		path = ps_pool_strdup(plan->pool, dir);
	else if (strcmp(dir, ".") == 0)
		path = part;
	else
		path = ps_pool_printf(plan->pool, "%s/%s", dir, part);
	return steps_dir(&plan->steps, path, *part ? edit->folder : NULL, place);
}

static uint32_t tmp_dir(struct plan *plan)
{
	return steps_dir(&plan->steps, "tmp", NULL, PLACE_CUR);
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
	int r = ps_index_rows(plan->w.txn, edit->e.box.key, (struct ps_range){1, UINT32_MAX}, collect_keywords, &used);

	for (int bit = 0; bit < PS_KEYWORDS_MAX && r == 0; bit++) {
		char **name = &edit->e.keywords.names[bit];

		if (*name && !(used & UINT64_C(1) << bit))
			ps_freep(name), *name = NULL;
	}
	return r;
}

static int keyword_bit(struct plan *plan, struct edit *edit, const char *name)
{
	uint64_t taken = edit->e.box.priv[BOX_LETTERS] & LETTERS_MASK;
	int bit = ps_keyword_table_find(&edit->e.keywords, name), r;

	if (bit >= 0)
		return bit;
	bit = ps_keyword_table_add(&edit->e.keywords, name, taken);
	if (bit != PS_E_LIMIT)
		return bit;
	if ((r = reclaim(plan, edit)) < 0)
		return r;
	return ps_keyword_table_add(&edit->e.keywords, name, taken);
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

/* What letters cannot say goes into the UID list, with the batch. */
static void note_keywords(struct plan *plan, const struct edit *edit, const char *file, uint64_t keywords,
			  uint64_t old_keywords)
{
	uint32_t dir = dir_for(plan, edit, 0);
	struct ps_buf line = {0}, old = {0};
	struct msg_name name;
	struct step *step;

	msg_name_parse(ps_bytes_str(file), &name);
	uidlist_line_keywords(&line, name.base, keywords & ~LETTERS_MASK);
	uidlist_line_keywords(&old, name.base, old_keywords & ~LETTERS_MASK);
	step = steps_add(&plan->steps, STEP_LINES, dir, NULL, dir, NULL);
	step->data = ps_bytes(ps_pool_memdup(plan->pool, line.ptr, line.len), line.len);
	step->old = ps_bytes(ps_pool_memdup(plan->pool, old.ptr, old.len), old.len);
	ps_buf_finish(&line);
	ps_buf_finish(&old);
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
	struct msg_where where;
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
	return where_decode(locator, &pick->rows[pick->count++].where);
}

static int pick_rows(struct plan *plan, uint64_t key, const struct ps_op *op, struct pick *ret_pick)
{
	struct pick pick = {.pool = plan->pool};
	int r = 0;

	for (size_t i = 0; i < op->uid_count && r == 0; i++)
		r = ps_index_rows(plan->w.txn, key, op->uids[i], pick_row, &pick);
	*ret_pick = pick;
	return r;
}

static void note_modseq(struct plan *plan, const struct edit *edit, uint32_t uid, uint64_t modseq)
{
	ps_brought_put(
		&plan->brought, plan->batch,
		&(struct ps_brought){.key = edit->e.box.key, .batch = plan->modseq, .modseq = modseq, .uid = uid});
}

static int put_row(struct plan *plan, struct edit *edit, const struct ps_row *row, const struct msg_where *where)
{
	uint8_t locator[NAME_SIZE + 1];

	note_modseq(plan, edit, row->uid, row->modseq);
	return ps_index_row_put(plan->w.txn, &edit->e.box, row, where_encode(where, locator));
}

/* ---- append ---------------------------------------------------------------------------------- */

/* A message of another store may bring its own modseq along. */
static int row_modseq(struct plan *plan, struct edit *edit, uint64_t own, uint64_t *ret_modseq)
{
	uint64_t modseq;

	plan_modseq(plan, &modseq);
	if (own > modseq)
		return ps_fail(PS_E_INVALID, "a modseq above the batch's");
	if (modseq > edit->e.box.highest_modseq)
		edit->e.box.highest_modseq = modseq;
	*ret_modseq = own ? own : modseq;
	return 0;
}

/* What an operation may say of a new message's row; 0: what comes next. */
struct wish {
	uint32_t uid;
	uint64_t modseq;
};

/* A new message's row and name. The caller adds the step that brings its file there. */
static int new_message(struct plan *plan, struct edit *edit, struct msg_facts *facts, uint64_t keywords,
		       struct wish wish, struct ps_row *ret_row, struct msg_where *ret_where)
{
	struct ps_row row = {.flags = facts->flags,
			     .keywords = keywords,
			     .size = facts->wire_size,
			     .internal_date = facts->internal_date};
	int r;

	if (wish.uid != 0 && wish.uid < edit->e.box.uid_next)
		return ps_fail(PS_E_INVALID, "UID %u is below UIDNEXT", wish.uid);
	row.uid = wish.uid ? wish.uid : edit->e.box.uid_next;
	edit->copied = wish.uid != 0;
	if (row.uid >= UINT32_MAX)
		return ps_fail(PS_E_LIMIT, "no UIDs are left in %s", edit->e.box.name);
	row.save_date = facts->save_date != 0 ? facts->save_date : ps_catalogue_now();
	facts->save_date = row.save_date;
	facts->uid_validity = edit->e.box.uid_validity;
	facts->uid = row.uid;
	facts->letters = (uint32_t)(keywords & LETTERS_MASK);
	ret_where->place = PLACE_CUR;
	if ((r = msg_name_build(plan->w.store->host, facts, ret_where->name, &row.email_id)) < 0 ||
	    (r = row_modseq(plan, edit, wish.modseq, &row.modseq)) < 0)
		return r;
	edit->e.box.uid_next = row.uid + 1;
	if (keywords & ~LETTERS_MASK)
		note_keywords(plan, edit, ret_where->name, keywords, 0);
	*ret_row = row;
	return put_row(plan, edit, &row, ret_where);
}

/* What others see as the time of arrival; ours is in the name. */
static void set_time(int dirfd, const char *name, int64_t date)
{
	struct timespec times[2] = {{.tv_sec = date}, {.tv_sec = date}};

	utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW);
}

static int plan_append(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_staged *staged = op->staged;
	struct msg_facts facts = {.flags = op->flags & PS_FLAG_ALL,
				  .internal_date = op->internal_date,
				  .save_date = op->save_date,
				  .email_id = op->email_id,
				  .token = op == plan->named ? &plan->token : NULL};
	struct msg_where where;
	struct edit *edit;
	struct ps_row row;
	uint64_t keywords;
	int r;

	if (!staged || !staged->finished || staged->err)
		return staged && staged->err ? staged->err : ps_fail(PS_E_INVALID, "a message that is not staged");
	facts.disk_size = staged->disk_size;
	facts.wire_size = staged->wire_size;
	if ((r = write_edit(&plan->w, op->mbox->key, &edit)) < 0 ||
	    (r = keyword_mask(plan, edit, op->keywords, true, &keywords)) < 0 ||
	    (r = new_message(plan, edit, &facts, keywords, (struct wish){op->uid, op->modseq}, &row, &where)) < 0)
		return r;
	set_time(plan->w.store->tmp_fd, staged->name, op->internal_date);
	steps_add(&plan->steps, STEP_RENAME, tmp_dir(plan), staged->name, dir_for(plan, edit, PLACE_CUR), where.name);
	add_uid(plan->batch->pool, &result->new_uids, &result->new_count, row.uid);
	result->uid_validity = edit->e.box.uid_validity;
	result->modseq = plan->modseq;
	return op->cache.len ? ps_index_cache_put(plan->w.txn, edit->e.box.key, row.uid, op->cache) : 0;
}

/* ---- flags ----------------------------------------------------------------------------------- */

static uint64_t combine(enum ps_flag_mode mode, uint64_t old, uint64_t change)
{
	return mode == PS_FLAGS_SET ? change : mode == PS_FLAGS_ADD ? old | change : old & ~change;
}

static int change_one(struct plan *plan, struct edit *edit, const struct picked *old, struct ps_row *row)
{
	uint64_t unknown_letters = ~ps_keyword_table_known(&edit->e.keywords) & LETTERS_MASK;
	uint32_t from = dir_for(plan, edit, old->where.place), to = dir_for(plan, edit, PLACE_CUR), letters;
	struct msg_where where = {.place = PLACE_CUR};
	struct msg_name name;
	int r;

	msg_name_parse(ps_bytes_str(old->where.name), &name);
	msg_name_flags(&name, &letters);
	letters = (uint32_t)((letters & unknown_letters) | (row->keywords & LETTERS_MASK));
	if ((r = msg_name_with_flags(&name, row->flags, letters, where.name)) < 0)
		return r;
	if (from != to || strcmp(where.name, old->where.name) != 0)
		steps_add(&plan->steps, STEP_RENAME, from, old->where.name, to, where.name);
	if ((row->keywords ^ old->row.keywords) & ~LETTERS_MASK)
		note_keywords(plan, edit, where.name, row->keywords, old->row.keywords);
	plan_modseq(plan, &row->modseq);
	return put_row(plan, edit, row, &where);
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

static int plan_expunge(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct edit *edit;
	struct pick pick;
	int r = write_edit(&plan->w, op->mbox->key, &edit);

	if (r < 0 || (r = pick_rows(plan, op->mbox->key, op, &pick)) < 0)
		return r;
	for (size_t i = 0; i < pick.count && r == 0; i++) {
		const struct picked *old = &pick.rows[i];
		uint32_t dir;

		if (op->only_deleted && !(old->row.flags & PS_FLAG_DELETED))
			continue;
		dir = dir_for(plan, edit, old->where.place);
		steps_add(&plan->steps, STEP_UNLINK, dir, old->where.name, dir, NULL);
		plan_modseq(plan, &result->modseq);
		note_modseq(plan, edit, old->row.uid, result->modseq);
		r = ps_index_row_vanish(plan->w.txn, &edit->e.box, old->row.uid, result->modseq);
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
	int r = ps_index_cache(plan->w.txn, from, from_uid, &cache);

	if (r == PS_E_NOTFOUND)
		return 0;
	return r == 0 ? ps_index_cache_put(plan->w.txn, to, to_uid, cache) : r;
}

static int copy_one(struct plan *plan, struct edit *from, struct edit *to, const struct picked *old, bool move,
		    uint32_t *ret_uid)
{
	struct msg_facts facts = {.flags = old->row.flags,
				  .wire_size = old->row.size,
				  .internal_date = old->row.internal_date,
				  .email_id = old->row.email_id};
	struct msg_where where;
	uint64_t keywords;
	struct ps_row row;
	struct stat st;
	int r;

	if (fstatat(folder_fd(from->folder, old->where.place), old->where.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		facts.disk_size = (uint64_t)st.st_size; /* else the step will find out */
	if ((r = target_keywords(plan, from, to, old->row.keywords, &keywords)) < 0 ||
	    (r = new_message(plan, to, &facts, keywords, (struct wish){0}, &row, &where)) < 0)
		return r;
	steps_add(&plan->steps, move ? STEP_RENAME : STEP_LINK, dir_for(plan, from, old->where.place), old->where.name,
		  dir_for(plan, to, PLACE_CUR), where.name);
	*ret_uid = row.uid;
	if ((r = copy_cache(plan, from->e.box.key, old->row.uid, to->e.box.key, row.uid)) < 0 || !move)
		return r;
	note_modseq(plan, from, old->row.uid, row.modseq);
	return ps_index_row_vanish(plan->w.txn, &from->e.box, old->row.uid, row.modseq);
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
