/* SPDX-License-Identifier: MIT */
/*
 * Adding to what is there: restoring a message or a mailbox into an account that is in use, or bringing one account's mail
 * into another. A message is there already if the mailbox has one with its id; so a run that was killed can be run again.
 */
#include "core/sync/sync_private.h"

/* ---- which messages are missing ---------------------------------------------------------------- */

/* Leaves in `rows` those that are not in `there`; of several copies of a message, as many as are missing. */
static uint64_t leave_missing(struct sync_rows *rows, struct sync_rows *there)
{
	size_t n = 0, at = 0;
	uint64_t found = 0;

	sync_rows_sort(rows, sync_by_message_and_uid);
	sync_rows_sort(there, sync_by_message_and_uid);
	for (size_t i = 0; i < rows->count; i++) {
		const struct ps_row *row = &rows->ptr[i];

		while (at < there->count && sync_by_message(&there->ptr[at], row) < 0)
			at++;
		if (at < there->count && sync_by_message(&there->ptr[at], row) == 0) {
			at++;
			found++;
			continue;
		}
		rows->ptr[n++] = *row;
	}
	rows->count = n;
	sync_rows_sort(rows, sync_by_uid);
	return found;
}

static bool is_wanted(const struct ps_set *uids, uint32_t uid)
{
	for (size_t i = 0; i < uids->count; i++)
		if (uid >= uids->ranges[i].first && uid <= uids->ranges[i].last)
			return true;
	return false;
}

/* Late: those that were not there when the source was left. */
static void leave_late(struct sync_rows *rows, uint32_t next)
{
	size_t n = 0;

	for (size_t i = 0; i < rows->count; i++)
		if (rows->ptr[i].uid >= next)
			rows->ptr[n++] = rows->ptr[i];
	rows->count = n;
}

static int leave_wanted(struct sync *s, const char *mailbox, struct sync_rows *rows)
{
	size_t n = 0;

	if (!s->options->uids)
		return 0;
	for (size_t i = 0; i < rows->count; i++)
		if (is_wanted(s->options->uids, rows->ptr[i].uid))
			rows->ptr[n++] = rows->ptr[i];
	rows->count = n;
	return n > 0 ? 0
		     : ps_fail(PS_E_NOTFOUND, "%s: mailbox %s has no message with such a UID", s->from->name, mailbox);
}

/* ---- one mailbox ----------------------------------------------------------------------------- */

/* With the source's identity, where nobody else has it. */
static int make_mailbox(struct sync *s, const struct ps_mailbox_info *from)
{
	struct sync_plan plan = {.pool = s->pool};
	struct ps_op create = {.kind = PS_OP_CREATE, .name = from->name, .uid_validity = from->uid_validity};
	uint32_t uses = 0;
	uint64_t modseq;
	int r;

	for (size_t i = 0; i < s->to_boxes.count; i++)
		uses |= s->to_boxes.ptr[i].attributes & PS_MBOX_SPECIAL_USES;
	create.attributes = from->attributes & PS_MBOX_SPECIAL_USES & ~uses;
	if (!sync_box_with_id(&s->to_boxes, &from->id))
		create.mailbox_id = from->id;
	sync_plan_op(&plan, create);
	if (from->attributes & PS_MBOX_SUBSCRIBED)
		sync_plan_op(&plan, (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = from->name, .subscribed = true});
	s->totals->mailboxes_made++;
	if (s->options->dry_run)
		return 0;
	if ((r = sync_plan_commit(s->to, &plan, &modseq)) < 0)
		return r;
	return sync_look(s->to, s->pool, &s->to_boxes);
}

static struct sync_last *late_of(const struct sync *s, const struct ps_mailbox_info *from)
{
	return s->options->mode == PS_SYNC_LATE ? sync_record_find(&s->record, &from->id) : NULL;
}

static int copy_missing(struct sync *s, struct sync_copy *copy, struct sync_view *view, struct sync_view *there)
{
	struct sync_last *last = late_of(s, &view->info);
	int r = leave_wanted(s, copy->name, &view->rows);

	if (r < 0)
		return r;
	if (last)
		leave_late(&view->rows, last->from_next);
	s->totals->there += leave_missing(&view->rows, &there->rows);
	copy->view = view;
	copy->rows = view->rows.ptr;
	copy->count = view->rows.count;
	copy->dst_next = there->info.uid_next;
	copy->dst_modseq = there->info.highest_modseq;
	copy->other_uids = view->info.uid_validity != there->info.uid_validity;
	s->total += copy->count;
	if (!s->options->dry_run) {
		r = sync_copy_rows(s, copy);
		if (r == 0 && last && !s->totals->stopped)
			last->from_next = view->info.uid_next;
		return r;
	}
	s->totals->copied += copy->count;
	for (size_t i = 0; i < copy->count; i++)
		s->totals->octets += copy->rows[i].size;
	return 0;
}

static int add_between(struct sync *s, struct sync_copy *copy)
{
	struct sync_view view, there;
	int r = sync_view_open(copy->src, copy->src_mbox, 0, 0, &view);

	if (r < 0)
		return r;
	if ((r = sync_view_open(copy->dst, copy->dst_mbox, 0, 0, &there)) == 0) {
		r = copy_missing(s, copy, &view, &there);
		sync_view_close(&there);
	}
	sync_view_close(&view);
	return r;
}

static const struct ps_mailbox_info *find_target(const struct sync *s, const struct ps_mailbox_info *from)
{
	const struct ps_mailbox_info *to =
		s->options->mode == PS_SYNC_LATE ? sync_box_with_id(&s->to_boxes, &from->id) : NULL;

	return to ? to : sync_box_named(&s->to_boxes, from->name);
}

static int add_mailbox(struct sync *s, const struct ps_mailbox_info *from)
{
	const struct ps_mailbox_info *to = find_target(s, from);
	struct sync_copy copy = {.src = s->from, .dst = s->to, .name = from->name, .any_modseqs = true};
	int r;

	if (!to || !sync_exists(to)) {
		if ((r = make_mailbox(s, from)) < 0)
			return r;
		to = sync_box_named(&s->to_boxes, from->name);
	}
	if (!to || !sync_exists(to)) { /* a dry run, which has made none */
		s->totals->copied += from->messages;
		s->totals->octets += from->size;
		return 0;
	}
	if ((r = sync_mailbox_open(s->from, from, &copy.src_mbox)) == 0 &&
	    (r = sync_mailbox_open(s->to, to, &copy.dst_mbox)) == 0)
		r = add_between(s, &copy);
	sync_mailbox_close(s->from, copy.src_mbox);
	sync_mailbox_close(s->to, copy.dst_mbox);
	return r;
}

/* A mailbox that was deleted since is not made again for nothing. */
static bool has_nothing_late(const struct sync *s, const struct ps_mailbox_info *from)
{
	const struct sync_last *last = late_of(s, from);

	return last && last->from_next >= from->uid_next;
}

int sync_add(struct sync *s)
{
	const char *only = s->options->mailbox;
	int r = 0, broken = 0;

	if (s->options->mode == PS_SYNC_LATE && !s->record.known)
		return ps_fail(PS_E_NOTFOUND, "%s is not known to have taken the place of %s", s->to->name,
			       s->from->name);
	if (only && !sync_box_named(&s->from_boxes, only))
		return ps_fail(PS_E_NOTFOUND, "%s has no mailbox %s", s->from->name, only);
	for (size_t i = 0; i < s->from_boxes.count && r == 0 && !sync_stopped(s); i++) {
		const struct ps_mailbox_info *from = &s->from_boxes.ptr[i];

		if (!sync_exists(from) || (only && strcmp(only, from->name) != 0) || has_nothing_late(s, from))
			continue;
		r = add_mailbox(s, from);
		if (r == PS_E_CORRUPT) {
			broken = r;
			r = 0;
		}
	}
	if (s->options->mode == PS_SYNC_LATE && !s->options->dry_run && r == 0)
		r = sync_record_save(&s->record);
	return r < 0 ? r : broken;
}
