/* SPDX-License-Identifier: MIT */
/*
 * One way: the target becomes what the source is.
 *
 * Mailboxes first; then flags of all mailboxes in the order in which they were set; then, mailbox by mailbox, what is
 * new and what has vanished. What is recorded of a mailbox is its modseq before anything of it was read.
 */
#include <stdlib.h>
#include "core/sync/sync_private.h"

struct work {
	const struct ps_mailbox_info *from;
	struct ps_mailbox_info to;   /* brought forward with our changes */
	struct sync_target target;   /* to, for changes of flags */
	uint64_t since;              /* the source's modseq that the target has; 0: all is compared */
	uint64_t reached;            /* the one it will have */
	uint32_t next, reached_next; /* the same of UIDNEXT */
	bool idle, whole, unfinished;
};

struct mirror {
	struct sync *s;
	struct work *works;
	size_t count;
	struct sync_changes changes;
	bool begun;
};

/* ---- may we? --------------------------------------------------------------------------------- */

static uint32_t attributes_of(const struct ps_mailbox_info *info)
{
	return info->attributes & (PS_MBOX_EXISTS | PS_MBOX_SUBSCRIBED | PS_MBOX_SPECIAL_USES);
}

static int changed_by_others(const struct sync *s, const char *name)
{
	return ps_fail(
		PS_E_CONFLICT,
		"%s was changed by somebody else since the last sync from %s: mailbox %s; force makes it follow the "
		"source all the same",
		s->to->name, s->from->name, name);
}

static bool is_as_recorded(const struct sync *s, const struct ps_mailbox_info *box)
{
	const struct sync_last *last = sync_record_named(&s->record, box->name);

	if (!last || last->attributes != attributes_of(box))
		return false;
	return !sync_exists(box) || (sync_same_id(&last->to_id, &box->id) && last->to_modseq == box->highest_modseq &&
				     last->to_next == box->uid_next);
}

static int check_recorded(const struct sync *s)
{
	for (size_t i = 0; i < s->to_boxes.count; i++)
		if (!is_as_recorded(s, &s->to_boxes.ptr[i]))
			return changed_by_others(s, s->to_boxes.ptr[i].name);
	for (size_t i = 0; i < s->record.count; i++)
		if (!sync_box_named(&s->to_boxes, s->record.boxes[i].name))
			return changed_by_others(s, s->record.boxes[i].name);
	return 0;
}

/* Mailboxes that every new user has do not make a place one that is in use. */
static int check_empty(const struct sync *s)
{
	for (size_t i = 0; i < s->to_boxes.count; i++)
		if (s->to_boxes.ptr[i].messages > 0)
			return ps_fail(
				PS_E_CONFLICT,
				"%s holds mail, and is not known to be a copy of %s: mailbox %s; force makes it follow "
				"the source, and removes what that does not have",
				s->to->name, s->from->name, s->to_boxes.ptr[i].name);
	return 0;
}

static int check_target(const struct sync *s)
{
	if (s->options->force)
		return 0;
	if (!s->record.known || s->record.both)
		return check_empty(s);
	/* Its own changes of the last run cannot be told from others': messages are compared instead. */
	return s->record.running ? 0 : check_recorded(s);
}

/* ---- the record ------------------------------------------------------------------------------ */

static struct sync_last *last_of(const struct sync *s, const struct ps_mailbox_info *from)
{
	return sync_record_find(&s->record, &from->id);
}

/* Before the first change: from now on the target is ours to finish. */
static int begin(void *arg)
{
	struct mirror *m = arg;
	struct sync *s = m->s;
	const struct ps_mailbox_info *inbox = sync_box_named(&s->from_boxes, "INBOX");
	struct sync_last *last;

	if (m->begun || s->options->dry_run)
		return 0;
	m->begun = true;
	last = last_of(s, inbox);
	if (!last) {
		last = sync_record_add(&s->record, "INBOX");
		last->from_id = last->to_id = inbox->id;
		last->attributes = PS_MBOX_EXISTS;
	}
	s->record.running = true;
	s->record.both = false;
	return sync_record_save(&s->record);
}

static void note_reached(struct sync *s, const struct work *work)
{
	struct sync_last *last = last_of(s, work->from);
	const char *name = ps_pool_strdup(s->record.pool, work->from->name);

	if (!last)
		last = sync_record_add(&s->record, name);
	*last = (struct sync_last){
		.name = name,
		.from_id = work->from->id,
		.to_id = work->to.id,
		.from_validity = work->from->uid_validity,
		.to_validity = work->to.uid_validity,
		.from_modseq = work->reached,
		.to_modseq = work->to.highest_modseq,
		.from_next = work->reached_next,
		.to_next = work->to.uid_next,
		.attributes = attributes_of(work->from),
	};
}

/* Mailboxes that the source has no more go out of it, and names that are only subscribed come in. */
static int end(struct mirror *m)
{
	struct sync *s = m->s;

	for (size_t i = s->record.count; i > 0; i--) {
		struct sync_last *last = &s->record.boxes[i - 1];

		if (!(last->attributes & PS_MBOX_EXISTS) || !sync_box_with_id(&s->from_boxes, &last->from_id))
			sync_record_remove(&s->record, last);
	}
	for (size_t i = 0; i < s->from_boxes.count; i++)
		if (!sync_exists(&s->from_boxes.ptr[i]))
			sync_record_add(&s->record, s->from_boxes.ptr[i].name)->attributes =
				attributes_of(&s->from_boxes.ptr[i]);
	if (!m->begun && !s->record.running)
		return 0;
	s->record.running = false;
	return sync_record_save(&s->record);
}

/* ---- differences ----------------------------------------------------------------------------- */

struct diff {
	struct sync_rows changed, added; /* of the source */
	struct sync_rows passed; /* changed and changed back: the target's flags are right, its modseqs are not */
	struct ps_ranges gone;   /* of the target */
	unsigned lost;           /* the target lacks it, and has given higher UIDs */
	unsigned foreign;        /* the source never had it */
};

static void diff_finish(struct diff *diff)
{
	free(diff->changed.ptr);
	free(diff->added.ptr);
	free(diff->passed.ptr);
	ps_ranges_finish(&diff->gone);
}

/* A copy's modseq is never below its source's: who comes with what the source said last must hear of all that is newer. */
static void diff_flags(const struct sync_view *from, const struct ps_row *row, const struct sync_view *to,
		       const struct ps_row *copy, struct diff *diff)
{
	if (!sync_same_flags(from, row, to, copy))
		sync_rows_add(&diff->changed, row);
	else if (copy->modseq < row->modseq)
		sync_rows_add(&diff->passed, row);
}

static void diff_since(const struct sync_view *from, uint32_t to_next, struct sync_rows *ret_changed, struct diff *diff)
{
	for (size_t i = 0; i < from->rows.count; i++)
		sync_rows_add(from->rows.ptr[i].uid < to_next ? ret_changed : &diff->added, &from->rows.ptr[i]);
	for (size_t i = 0; i < from->gone.count; i++)
		ps_ranges_add(&diff->gone, from->gone.ptr[i]);
}

/* Of the target, only what changed at the source is looked at. */
static int diff_changed(struct sync *s, const struct sync_view *from, const struct sync_rows *changed,
			struct ps_mbox *mbox, struct diff *diff)
{
	struct sync_view to;
	int r;

	if (changed->count == 0)
		return 0;
	if ((r = sync_view_of(s->to, mbox, changed, &to)) < 0)
		return r;
	for (size_t i = 0; i < changed->count; i++) {
		const struct ps_row *copy = sync_rows_find(&to.rows, changed->ptr[i].uid);

		if (copy)
			diff_flags(from, &changed->ptr[i], &to, copy, diff);
	}
	sync_view_close(&to);
	return 0;
}

static void diff_one(const struct sync_view *from, const struct ps_row *row, const struct sync_view *to,
		     const struct ps_row *copy, struct diff *diff)
{
	if (!sync_same_id(&row->email_id, &copy->email_id))
		diff->lost++;
	else
		diff_flags(from, row, to, copy, diff);
}

static void only_to(const struct sync_view *from, const struct ps_row *copy, struct diff *diff)
{
	if (copy->uid >= from->info.uid_next)
		diff->foreign++;
	ps_ranges_add(&diff->gone, (struct ps_range){copy->uid, copy->uid});
}

static void only_from(const struct ps_row *row, uint32_t to_next, struct diff *diff)
{
	if (row->uid < to_next)
		diff->lost++;
	else
		sync_rows_add(&diff->added, row);
}

static void diff_whole(const struct sync_view *from, const struct sync_view *to, struct diff *diff)
{
	const struct ps_row *a = from->rows.ptr, *a_end = a + from->rows.count;
	const struct ps_row *b = to->rows.ptr, *b_end = b + to->rows.count;

	while (a < a_end || b < b_end) {
		if (b == b_end || (a < a_end && a->uid < b->uid))
			only_from(a++, to->info.uid_next, diff);
		else if (a == a_end || b->uid < a->uid)
			only_to(from, b++, diff);
		else
			diff_one(from, a++, to, b++, diff);
	}
}

/* Both mailboxes of a pair, and what is different. */
struct pair {
	struct ps_mbox *from, *to;
	struct sync_view view;
	struct diff diff;
};

static void pair_close(struct sync *s, struct pair *pair)
{
	diff_finish(&pair->diff);
	sync_view_close(&pair->view);
	sync_mailbox_close(s->from, pair->from);
	sync_mailbox_close(s->to, pair->to);
}

static int compare(struct sync *s, struct work *work, struct pair *pair)
{
	struct sync_view to;
	int r = sync_view_open(s->from, pair->from, work->since, work->next, &pair->view);

	if (r < 0)
		return r;
	if (!pair->view.whole) {
		struct sync_rows changed = {0};

		diff_since(&pair->view, work->to.uid_next, &changed, &pair->diff);
		r = diff_changed(s, &pair->view, &changed, pair->to, &pair->diff);
		free(changed.ptr);
		return r;
	}
	work->whole = true;
	if ((r = sync_view_open(s->to, pair->to, 0, 0, &to)) < 0)
		return r;
	diff_whole(&pair->view, &to, &pair->diff);
	sync_view_close(&to);
	return 0;
}

static int pair_open(struct sync *s, struct work *work, struct pair *ret_pair)
{
	struct pair pair = {0};
	int r;

	if ((r = sync_mailbox_open(s->from, work->from, &pair.from)) < 0 ||
	    (r = sync_mailbox_open(s->to, &work->to, &pair.to)) < 0 || (r = compare(s, work, &pair)) < 0)
		pair_close(s, &pair);
	else
		*ret_pair = pair;
	return r;
}

/* Renamed or deleted just now: the next run will see it as it is then. */
static int is_passed(int r, struct work *work)
{
	if (r != PS_E_NOTFOUND && r != PS_E_GONE)
		return r;
	work->unfinished = true;
	return 0;
}

/* ---- mailboxes that cannot be mended ----------------------------------------------------------- */

static int rebuild(struct sync *s, struct work *work)
{
	struct sync_plan plan = {.pool = s->pool};
	int r;

	sync_plan_op(&plan, (struct ps_op){.kind = PS_OP_DELETE, .name = work->to.name});
	sync_plan_op(&plan, (struct ps_op){.kind = PS_OP_CREATE,
					   .name = work->to.name,
					   .attributes = work->from->attributes & PS_MBOX_SPECIAL_USES,
					   .uid_validity = work->from->uid_validity,
					   .mailbox_id = work->from->id});
	if ((r = sync_plan_commit(s->to, &plan, &work->to.highest_modseq)) < 0)
		return r;
	work->to.uid_next = 1;
	work->to.messages = 0;
	return 0;
}

static int check_diff(struct sync *s, const struct work *work, const struct diff *diff, bool *ret_rebuild)
{
	bool lost = diff->lost > 0 && !s->options->pass_broken;

	*ret_rebuild = false;
	if (diff->foreign > 0 && !s->options->force)
		return ps_fail(PS_E_CONFLICT, "%s: mailbox %s has %u messages that %s never had; force removes them",
			       s->to->name, work->to.name, diff->foreign, s->from->name);
	if (!lost)
		return 0;
	if (!s->options->force || strcmp(work->to.name, "INBOX") == 0)
		return ps_fail(
			PS_E_CONFLICT,
			"%s: mailbox %s lacks %u messages of %s, or has others under their UIDs, which cannot be given "
			"again; %s",
			s->to->name, work->to.name, diff->lost, s->from->name,
			s->options->force ? "begin with an empty target" : "force makes the mailbox anew");
	*ret_rebuild = true;
	return 0;
}

/* ---- first: flags ---------------------------------------------------------------------------- */

static void collect_rows(struct mirror *m, struct work *work, const struct pair *pair, const struct sync_rows *rows,
			 bool same)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct ps_row *row = &rows->ptr[i];

		sync_changes_add(&m->changes, &work->target, row, row->uid,
				 sync_keyword_names(&pair->view, row->keywords, m->changes.pool), same);
	}
}

static void collect_changes(struct mirror *m, struct work *work, const struct pair *pair)
{
	collect_rows(m, work, pair, &pair->diff.changed, false);
	collect_rows(m, work, pair, &pair->diff.passed, true);
	m->s->total += pair->diff.added.count;
}

static int look_at(struct mirror *m, struct work *work)
{
	struct sync *s = m->s;
	struct pair pair;
	bool anew;
	int r = pair_open(s, work, &pair);

	if (r < 0)
		return is_passed(r, work);
	work->reached = pair.view.info.highest_modseq;
	work->reached_next = pair.view.info.uid_next;
	r = check_diff(s, work, &pair.diff, &anew);
	if (r == 0 && !anew)
		collect_changes(m, work, &pair);
	pair_close(s, &pair);
	if (r < 0 || !anew)
		return r;
	if (s->options->dry_run) {
		sync_note(s, "mailbox %s would be made anew", work->to.name);
		return 0;
	}
	if ((r = begin(m)) < 0)
		return r;
	s->total += work->from->messages;
	return rebuild(s, work);
}

static int commit_changes(struct mirror *m)
{
	struct sync *s = m->s;
	int r;

	if (m->changes.count == 0)
		return 0;
	if (s->options->dry_run) {
		s->totals->flagged = m->changes.count;
		return 0;
	}
	if ((r = begin(m)) < 0 || (r = sync_changes_commit(s, s->to, &m->changes)) < 0)
		return r;
	for (size_t i = 0; i < m->count; i++)
		if (m->works[i].target.modseq)
			m->works[i].to.highest_modseq = m->works[i].target.modseq;
	return 0;
}

/* ---- then: messages -------------------------------------------------------------------------- */

/* UIDs at the end that the source gave to what it no longer has, and a HIGHESTMODSEQ that clients were told. */
static int copy_figures(struct sync *s, struct work *work, const struct ps_mailbox_info *from)
{
	struct sync_plan plan = {.pool = s->pool};
	struct ps_batch batch = {.pool = s->pool, .count = 1, .modseq = from->highest_modseq};
	int r;

	if (work->to.uid_next >= from->uid_next && work->to.highest_modseq >= from->highest_modseq)
		return 0;
	sync_plan_op(&plan, (struct ps_op){.kind = PS_OP_IDENTITY, .name = work->to.name, .uid_next = from->uid_next});
	batch.ops = plan.ops;
	if ((r = sync_commit_one(s->to, &batch)) < 0)
		return r;
	if (work->to.uid_next < from->uid_next)
		work->to.uid_next = from->uid_next;
	work->to.highest_modseq = batch.results[0].modseq;
	return 0;
}

static int copy_messages(struct sync *s, struct work *work, struct pair *pair)
{
	struct sync_copy copy = {
		.src = s->from,
		.dst = s->to,
		.src_mbox = pair->from,
		.dst_mbox = pair->to,
		.name = work->from->name,
		.view = &pair->view,
		.rows = pair->diff.added.ptr,
		.count = pair->diff.added.count,
		.dst_next = work->to.uid_next,
		.dst_modseq = work->to.highest_modseq,
		.modseq = pair->view.info.highest_modseq,
		.keep_uids = true,
		.keep_modseqs = s->options->unshared,
	};
	uint64_t modseq;
	int r = sync_copy_rows(s, &copy);

	work->to.uid_next = copy.dst_next;
	work->to.highest_modseq = copy.dst_modseq;
	if (r < 0 || s->totals->stopped)
		return r;
	r = sync_expunge(s, s->to, pair->to, &pair->diff.gone, copy.modseq, &modseq);
	if (modseq)
		work->to.highest_modseq = modseq;
	return r < 0 ? r : copy_figures(s, work, &pair->view.info);
}

static void count_only(struct sync *s, const struct pair *pair)
{
	s->totals->copied += pair->diff.added.count;
	for (size_t i = 0; i < pair->diff.added.count; i++)
		s->totals->octets += pair->diff.added.ptr[i].size;
	for (size_t i = 0; i < pair->diff.gone.count; i++)
		s->totals->expunged += (uint64_t)pair->diff.gone.ptr[i].last - pair->diff.gone.ptr[i].first + 1;
}

static int finish_one(struct mirror *m, struct work *work)
{
	struct sync *s = m->s;
	struct pair pair;
	int r = pair_open(s, work, &pair);

	if (r < 0)
		return is_passed(r, work);
	if (s->options->dry_run)
		count_only(s, &pair);
	else if ((r = begin(m)) == 0)
		r = copy_messages(s, work, &pair);
	pair_close(s, &pair);
	if (r < 0 || s->totals->stopped)
		work->unfinished = true;
	return r;
}

/* A mailbox with a message that cannot be read does not hinder the others. */
static int finish_all(struct mirror *m)
{
	struct sync *s = m->s;
	int broken = 0, r = 0;

	for (size_t i = 0; i < m->count && r == 0 && !s->totals->stopped; i++) {
		struct work *work = &m->works[i];

		if (work->unfinished)
			continue;
		if (!work->idle)
			r = finish_one(m, work);
		if (r == PS_E_CORRUPT) {
			broken = r;
			r = 0;
		}
		if (r == 0 && !work->unfinished)
			note_reached(s, work);
	}
	return r < 0 ? r : broken;
}

/* ---- all ------------------------------------------------------------------------------------- */

static struct work make_work(struct sync *s, const struct ps_mailbox_info *from, const struct ps_mailbox_info *to)
{
	const struct sync_last *last = last_of(s, from);
	struct work work = {.from = from, .to = *to, .reached = from->highest_modseq, .reached_next = from->uid_next};
	bool untouched = !s->options->force && last && last->to_modseq == to->highest_modseq &&
			 sync_same_id(&last->to_id, &to->id) && last->from_validity == from->uid_validity &&
			 last->to_validity == to->uid_validity;

	work.since = untouched ? last->from_modseq : 0;
	work.next = untouched ? last->from_next : 0;
	work.idle = untouched && last->from_modseq == from->highest_modseq && last->from_next == from->uid_next;
	return work;
}

/* Pairs are known by their ids, which are the same at both ends. */
static void make_works(struct mirror *m)
{
	struct sync *s = m->s;

	m->works = PS_NEWV(s->pool, struct work, s->from_boxes.count);
	for (size_t i = 0; i < s->from_boxes.count; i++) {
		const struct ps_mailbox_info *from = &s->from_boxes.ptr[i];
		const struct ps_mailbox_info *to = sync_box_with_id(&s->to_boxes, &from->id);

		if (!sync_exists(from))
			continue;
		if (!to) { /* a dry run, which has made none */
			s->totals->copied += from->messages;
			s->totals->octets += from->size;
			continue;
		}
		m->works[m->count] = make_work(s, from, to);
		m->works[m->count].target.info = &m->works[m->count].to;
		m->count++;
	}
}

static bool is_finished(const struct mirror *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->works[i].unfinished)
			return false;
	return !m->s->totals->stopped;
}

static int run(struct mirror *m)
{
	int r = 0, saved;

	make_works(m);
	for (size_t i = 0; i < m->count && r == 0; i++)
		if (!m->works[i].idle)
			r = look_at(m, &m->works[i]);
	if (r < 0 || (r = commit_changes(m)) < 0)
		return r;
	r = finish_all(m);
	if (m->s->options->dry_run)
		return r;
	if (r == 0 && is_finished(m))
		return end(m);
	saved = m->begun ? sync_record_save(&m->s->record) : 0;
	return r < 0 ? r : saved;
}

int sync_mirror(struct sync *s)
{
	struct mirror m = {.s = s};
	int r = check_target(s);

	if (r < 0 || (r = sync_mirror_structure(s, begin, &m)) < 0)
		return r;
	m.changes.pool = ps_pool_create("sync changes");
	r = run(&m);
	ps_pool_destroy(m.changes.pool);
	return r;
}
