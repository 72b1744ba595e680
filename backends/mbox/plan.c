/* SPDX-License-Identifier: MIT */
/*
 * What operations on messages do to mailboxes' files: changes, which are not made yet.
 */
#include "config.h"

#include "backends/mbox/mbox_private.h"

static struct edit *edit_of(struct ps_edit *edit)
{
	return (struct edit *)edit;
}

int plan_edit(struct ps_plan *plan, uint64_t key, struct ps_edit **ret_edit)
{
	struct edit *edit;
	int r = write_edit(&plan_of(plan)->w, key, &edit);

	if (r == 0)
		*ret_edit = &edit->e;
	return r;
}

static int put_row(struct ps_plan *plan, struct ps_edit *edit, const struct ps_row *row)
{
	return ps_plan_put_row(plan, edit, row, locator_encode(&edit_find_change(edit_of(edit), row->uid)->loc));
}

/* A new message behind all others: its head and place, its row. */
static int put_new(struct ps_plan *plan, struct ps_edit *edit, const struct ps_row *row, const struct locator *form,
		   const struct source *source)
{
	struct write *w = &plan_of(plan)->w;
	struct ps_buf from = {0};
	struct ps_bytes line;
	int r;

	ps_from_line_format(&from, ps_bytes("", 0), row->internal_date);
	line = ps_bytes(ps_pool_memdup(w->t.pool, from.ptr, from.len), from.len);
	ps_buf_finish(&from);
	r = edit_add(w, edit_of(edit), row, form, line, source);
	return r == 0 ? put_row(plan, edit, row) : r;
}

int plan_append(struct ps_plan *plan, struct ps_edit *edit, const struct ps_op *op, struct ps_row *row)
{
	struct source source = {.fd = -1, .staged = op->staged};
	struct locator form = {.length = op->staged->disk_size, .form = (uint16_t)op->staged->form};

	if (ps_catalogue_is_none(&row->email_id))
		row->email_id = ps_catalogue_new_id();
	return put_new(plan, edit, row, &form, &source);
}

int plan_change(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old, const struct ps_row *row)
{
	struct locator loc;
	int r = locator_decode(old->locator, &loc);

	if (r == 0)
		r = edit_rehead(&plan_of(plan)->w, edit_of(edit), row, &loc);
	return r == 0 ? put_row(plan, edit, row) : r;
}

int plan_remove(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old)
{
	struct locator loc;
	int r = locator_decode(old->locator, &loc);

	if (r == 0)
		edit_remove(&plan_of(plan)->w, edit_of(edit), &old->row, &loc);
	return r;
}

/* Where a message's content is: in the file, or where it is to come from. */
static struct source source_of(struct plan *plan, const struct edit *from, uint32_t uid, const struct locator *there)
{
	const struct change *change = edit_find_change(from, uid);
	const struct locator *loc = change && change->head.len > 0 ? &change->was : there;
	struct piece piece = {loc->at + loc->head, loc->length};

	if (change && change->has_content)
		return change->source;
	return (struct source){
		.fd = from->lock->fd, .pieces = ps_pool_memdup(plan->w.t.pool, &piece, sizeof piece), .count = 1};
}

int plan_copy(struct ps_plan *plan, struct ps_edit *from, struct ps_edit *to, const struct ps_picked *old,
	      struct ps_row *row, bool move)
{
	struct locator loc, form;
	struct source source;
	int r = locator_decode(old->locator, &loc);

	if (r < 0)
		return r;
	source = source_of(plan_of(plan), edit_of(from), old->row.uid, &loc);
	form = (struct locator){.length = loc.length, .form = loc.form};
	r = put_new(plan, to, row, &form, &source);
	return r == 0 && move ? plan_remove(plan, from, old) : r;
}
