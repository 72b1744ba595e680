/* SPDX-License-Identifier: MIT */
/*
 * Two ways, messages. Which UIDs belong together is kept in the record, since an end may have given a message another UID.
 * What a run that was killed copied, and did not record, is found again by the messages' ids.
 */
#include <stdlib.h>
#include "core/sync/both.h"

struct merge {
	struct both *both;
	struct sync *s;
	struct couple *couple;
	struct ps_mbox *mbox[2];
	struct sync_view view[2];
	uint64_t since[2];
	uint32_t next[2]; /* UIDNEXT then */
	struct both_map map;
	struct sync_target target[2];
	struct sync_changes changes[2];
	struct ps_ranges gone[2];  /* to be expunged at this end */
	struct sync_rows fresh[2]; /* rows of this end that have no partner */
	struct ps_ranges ours[2];  /* UIDs that this run appended or flagged at this end */
	uint64_t modseq[2];        /* HIGHESTMODSEQ, with our changes */
	struct ps_pool *pool;
};

/* ---- what vanished --------------------------------------------------------------------------- */

static bool in_ranges(const struct ps_ranges *ranges, uint32_t uid)
{
	size_t low = 0, high = ranges->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->ptr[middle].last < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ranges->count && ranges->ptr[low].first <= uid;
}

static bool has_vanished(const struct merge *m, int end, uint32_t uid)
{
	const struct sync_view *view = &m->view[end];

	return view->whole ? !sync_rows_find(&view->rows, uid) : in_ranges(&view->gone, uid);
}

static bool drop_vanished(void *arg, const struct match *match)
{
	struct merge *m = arg;
	bool gone[2] = {has_vanished(m, 0, match->uid[0]), has_vanished(m, 1, match->uid[1])};

	for (int end = 0; end < 2; end++)
		if (gone[1 - end] && !gone[end])
			ps_ranges_add(&m->gone[end], (struct ps_range){match->uid[end], match->uid[end]});
	return gone[0] || gone[1];
}

/* ---- what changed ---------------------------------------------------------------------------- */

static bool has_changed(const struct merge *m, int end, const struct ps_row *row)
{
	return row && (row->modseq > m->since[end] || row->uid >= m->next[end]);
}

static void set_at(struct merge *m, int end, uint32_t uid, const struct ps_row *row, const char *const *keywords)
{
	ps_ranges_add(&m->ours[end], (struct ps_range){uid, uid});
	sync_changes_add(&m->changes[end], &m->target[end], row, uid, keywords, false);
}

static const char *const *both_keywords(struct merge *m, const struct ps_row *const rows[2])
{
	const char **names = PS_NEWV(m->pool, const char *, 2 * PS_KEYWORDS_MAX + 1);
	size_t n = 0;

	for (int end = 0; end < 2; end++) {
		const char *const *own = sync_keyword_names(&m->view[end], rows[end]->keywords, m->pool);

		for (; own && *own; own++)
			if (ps_keyword_bit(names, n, *own) < 0)
				names[n++] = *own;
	}
	return names;
}

/* Nothing that was set at either end is lost. */
static void unite(struct merge *m, const struct ps_row *const rows[2])
{
	const char *const *keywords;

	if (sync_same_flags(&m->view[0], rows[0], &m->view[1], rows[1]))
		return;
	keywords = both_keywords(m, rows);
	for (int end = 0; end < 2; end++) {
		struct ps_row row = *rows[end];

		row.flags = rows[0]->flags | rows[1]->flags;
		set_at(m, end, rows[end]->uid, &row, keywords);
	}
}

static void settle_row(struct merge *m, int end, const struct ps_row *row)
{
	uint32_t uid = both_map_partner(&m->map, end, row->uid);
	const struct ps_row *other = uid ? sync_rows_find(&m->view[1 - end].rows, uid) : NULL;
	const struct ps_row *rows[2] = {row, other};

	if (!uid) {
		if (!in_ranges(&m->gone[end], row->uid))
			sync_rows_add(&m->fresh[end], row);
		return;
	}
	if (!has_changed(m, end, row))
		return;
	if (has_changed(m, 1 - end, other)) {
		if (end == 0) /* and not once more from the other end */
			unite(m, rows);
		return;
	}
	if (!other || !sync_same_flags(&m->view[end], row, &m->view[1 - end], other))
		set_at(m, 1 - end, uid, row, sync_keyword_names(&m->view[end], row->keywords, m->pool));
}

/* ---- what is new ----------------------------------------------------------------------------- */

/* New at both ends with one id: copies that a run made which did not come to its end, or an earlier sync. */
static void match_fresh(struct merge *m)
{
	struct sync_rows *a = &m->fresh[0], *b = &m->fresh[1];
	size_t i = 0, j = 0, left[2] = {0, 0};

	sync_rows_sort(a, sync_by_message_and_uid);
	sync_rows_sort(b, sync_by_message_and_uid);
	while (i < a->count || j < b->count) {
		int order = i == a->count ? 1 : j == b->count ? -1 : sync_by_message(&a->ptr[i], &b->ptr[j]);

		if (order < 0) {
			a->ptr[left[0]++] = a->ptr[i++];
		} else if (order > 0) {
			b->ptr[left[1]++] = b->ptr[j++];
		} else {
			const struct ps_row *rows[2] = {&a->ptr[i++], &b->ptr[j++]};

			both_map_add(&m->map, rows[0]->uid, rows[1]->uid);
			unite(m, rows);
		}
	}
	a->count = left[0];
	b->count = left[1];
	sync_rows_sort(a, sync_by_uid);
	sync_rows_sort(b, sync_by_uid);
	both_map_settle(&m->map, NULL, NULL);
}

static void copied_to(void *arg, const struct ps_row *row, uint32_t uid)
{
	struct merge *m = arg;

	both_map_add(&m->map, row->uid, uid);
	ps_ranges_add(&m->ours[1], (struct ps_range){uid, uid});
}

static void copied_back(void *arg, const struct ps_row *row, uint32_t uid)
{
	struct merge *m = arg;

	both_map_add(&m->map, uid, row->uid);
	ps_ranges_add(&m->ours[0], (struct ps_range){uid, uid});
}

static int copy_fresh(struct merge *m, int src)
{
	int dst = 1 - src, r;
	struct sync_copy copy = {
		.src = m->both->ends[src],
		.dst = m->both->ends[dst],
		.src_mbox = m->mbox[src],
		.dst_mbox = m->mbox[dst],
		.name = m->couple->info[src].name,
		.view = &m->view[src],
		.rows = m->fresh[src].ptr,
		.count = m->fresh[src].count,
		.dst_next = m->view[dst].info.uid_next,
		.dst_modseq = m->modseq[dst],
		.any_modseqs = true,
		.other_uids = m->view[0].info.uid_validity != m->view[1].info.uid_validity,
		.copied = src == 0 ? copied_to : copied_back,
		.arg = m,
	};

	r = sync_copy_rows(m->s, &copy);
	m->modseq[dst] = copy.dst_modseq;
	return r;
}

/* ---- looking --------------------------------------------------------------------------------- */

static int open_views(struct merge *m, const uint64_t since[2])
{
	for (int end = 0; end < 2; end++) {
		int r = sync_view_open(m->both->ends[end], m->mbox[end], since[end], m->next[end], &m->view[end]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void close_views(struct merge *m)
{
	for (int end = 0; end < 2; end++)
		if (m->view[end].pool)
			sync_view_close(&m->view[end]);
}

/* What changed at both ends; or all, if one of them has forgotten. */
static int look(struct merge *m)
{
	static const uint64_t never[2];
	int r = open_views(m, m->since);

	if (r == 0 && m->view[0].whole != m->view[1].whole) {
		close_views(m);
		r = open_views(m, never);
	}
	return r;
}

static void compare(struct merge *m)
{
	both_map_settle(&m->map, drop_vanished, m);
	for (int end = 0; end < 2; end++) {
		ps_ranges_sort(&m->gone[end]);
		for (size_t i = 0; i < m->view[end].rows.count; i++)
			settle_row(m, end, &m->view[end].rows.ptr[i]);
	}
	match_fresh(m);
}

static void count_only(struct merge *m)
{
	struct ps_sync_totals *t = m->s->totals;

	for (int end = 0; end < 2; end++) {
		t->copied += m->fresh[end].count;
		t->flagged += m->changes[end].count;
		for (size_t i = 0; i < m->fresh[end].count; i++)
			t->octets += m->fresh[end].ptr[i].size;
		for (size_t i = 0; i < m->gone[end].count; i++)
			t->expunged += (uint64_t)m->gone[end].ptr[i].last - m->gone[end].ptr[i].first + 1;
	}
}

static bool is_same(const struct merge *m)
{
	return m->fresh[0].count + m->fresh[1].count + m->changes[0].count + m->changes[1].count + m->gone[0].count +
		       m->gone[1].count ==
	       0;
}

/* ---- doing ----------------------------------------------------------------------------------- */

static int change_end(struct merge *m, int end)
{
	const struct ps_sync_end *it = m->both->ends[end];
	uint64_t modseq;
	int r = sync_changes_commit(m->s, it, &m->changes[end]);

	if (m->target[end].modseq)
		m->modseq[end] = m->target[end].modseq;
	if (r < 0 || (r = sync_expunge(m->s, it, m->mbox[end], &m->gone[end], 0, &modseq)) < 0)
		return r;
	if (modseq)
		m->modseq[end] = modseq;
	return 0;
}

static int apply(struct merge *m)
{
	int r = 0;

	m->s->total += m->fresh[0].count + m->fresh[1].count;
	for (int end = 0; end < 2 && r == 0; end++)
		r = copy_fresh(m, end);
	for (int end = 0; end < 2 && r == 0; end++)
		r = change_end(m, end);
	both_map_settle(&m->map, NULL, NULL);
	return r;
}

/* Whether all that happened at the end since we looked is our doing. */
static bool is_all_ours(const struct merge *m, int end, const struct sync_view *after)
{
	if (after->whole)
		return false;
	for (size_t i = 0; i < after->rows.count; i++)
		if (!in_ranges(&m->ours[end], after->rows.ptr[i].uid))
			return false;
	for (size_t i = 0; i < after->gone.count; i++)
		for (uint32_t uid = after->gone.ptr[i].first;; uid++) {
			if (!in_ranges(&m->gone[end], uid))
				return false;
			if (uid == after->gone.ptr[i].last)
				break;
		}
	return true;
}

/* Our own changes need not be looked at again, unless others made some among them. */
static int pass_ours(struct merge *m, int end)
{
	struct ps_mailbox_info *info = &m->view[end].info;
	struct sync_view after;
	int r;

	if (m->modseq[end] == info->highest_modseq)
		return 0;
	if ((r = sync_view_open(m->both->ends[end], m->mbox[end], info->highest_modseq, info->uid_next, &after)) < 0)
		return r;
	ps_ranges_sort(&m->ours[end]);
	if (is_all_ours(m, end, &after))
		*info = after.info;
	sync_view_close(&after);
	return 0;
}

static void note_reached(struct merge *m)
{
	struct sync_record *record = &m->s->record;
	const struct ps_mailbox_info *info = m->couple->info;
	struct sync_last *last = sync_record_find(record, &info[0].id);

	if (!last)
		last = sync_record_add(record, info[0].name);
	*last = (struct sync_last){
		.name = ps_pool_strdup(record->pool, info[0].name),
		.from_id = info[0].id,
		.to_id = info[1].id,
		.from_validity = info[0].uid_validity,
		.to_validity = info[1].uid_validity,
		.from_modseq = m->view[0].info.highest_modseq,
		.to_modseq = m->view[1].info.highest_modseq,
		.from_quiet = m->modseq[0],
		.to_quiet = m->modseq[1],
		.from_next = m->view[0].info.uid_next,
		.to_next = m->view[1].info.uid_next,
		.attributes = PS_MBOX_EXISTS | (info[0].attributes & (PS_MBOX_SUBSCRIBED | PS_MBOX_SPECIAL_USES)),
	};
	both_map_write(&m->map, record->pool, last);
}

static int merge_opened(struct merge *m)
{
	int r;

	m->modseq[0] = m->view[0].info.highest_modseq;
	m->modseq[1] = m->view[1].info.highest_modseq;
	compare(m);
	if (m->s->options->dry_run) {
		count_only(m);
		return 0;
	}
	if (!is_same(m) && (r = both_begin(m->both)) < 0)
		return r;
	r = apply(m);
	if (r < 0 || m->s->totals->stopped)
		return r;
	if ((r = pass_ours(m, 0)) == 0 && (r = pass_ours(m, 1)) == 0)
		note_reached(m);
	return r;
}

/* ---- one mailbox ----------------------------------------------------------------------------- */

static int merge_open(struct merge *m)
{
	for (int end = 0; end < 2; end++) {
		int r = sync_mailbox_open(m->both->ends[end], &m->couple->info[end], &m->mbox[end]);

		if (r < 0)
			return r;
		m->target[end].info = &m->couple->info[end];
		m->changes[end].pool = m->pool;
	}
	return look(m);
}

static void merge_close(struct merge *m)
{
	close_views(m);
	both_map_finish(&m->map);
	for (int end = 0; end < 2; end++) {
		ps_ranges_finish(&m->gone[end]);
		ps_ranges_finish(&m->ours[end]);
		free(m->fresh[end].ptr);
		sync_mailbox_close(m->both->ends[end], m->mbox[end]);
	}
	ps_pool_destroy(m->pool);
}

static bool is_quiet(const struct couple *couple)
{
	const struct sync_last *last = couple->last;

	return last && last->from_modseq == couple->info[0].highest_modseq &&
	       last->from_next == couple->info[0].uid_next && last->to_modseq == couple->info[1].highest_modseq &&
	       last->to_next == couple->info[1].uid_next;
}

static int merge_couple(struct both *both, struct couple *couple)
{
	struct merge m = {.both = both, .s = both->s, .couple = couple, .pool = ps_pool_create("sync merge")};
	int r;

	if (couple->last) {
		m.since[0] = couple->last->from_modseq;
		m.since[1] = couple->last->to_modseq;
		m.next[0] = couple->last->from_next;
		m.next[1] = couple->last->to_next;
	}
	both_map_read(&m.map, couple->last);
	r = merge_open(&m);
	if (r == 0)
		r = merge_opened(&m);
	else if (r == PS_E_NOTFOUND || r == PS_E_GONE)
		r = 0; /* renamed or deleted just now: the next run's matter */
	merge_close(&m);
	return r;
}

/* ---- all ------------------------------------------------------------------------------------- */

int both_begin(struct both *both)
{
	struct sync *s = both->s;
	const struct ps_mailbox_info *inbox[2] = {sync_box_named(both->boxes[0], "INBOX"),
						  sync_box_named(both->boxes[1], "INBOX")};

	if (both->begun)
		return 0;
	both->begun = true;
	if (!inbox[0] || !inbox[1])
		return ps_fail(PS_E_CORRUPT, "%s has no INBOX", both->ends[inbox[0] ? 1 : 0]->name);
	if (!s->record.known) {
		struct sync_last *last = sync_record_add(&s->record, "INBOX");

		last->from_id = inbox[0]->id;
		last->to_id = inbox[1]->id;
		last->from_validity = inbox[0]->uid_validity;
		last->to_validity = inbox[1]->uid_validity;
		last->attributes = PS_MBOX_EXISTS;
	}
	s->record.running = s->record.both = true;
	return sync_record_save(&s->record);
}

static void forget(struct sync_record *record)
{
	record->known = false;
	record->boxes = NULL;
	record->count = record->cap = 0;
}

/* Mailboxes that are no more go out of the record; subscriptions are noted as they are now. */
static int end(struct both *both)
{
	struct sync_record *record = &both->s->record;
	const struct sync_boxes *boxes = both->boxes[0];

	for (size_t i = record->count; i > 0; i--) {
		struct sync_last *last = &record->boxes[i - 1];
		const struct ps_mailbox_info *now = sync_box_with_id(boxes, &last->from_id);

		if (!(last->attributes & PS_MBOX_EXISTS) || !now) {
			sync_record_remove(record, last);
			continue;
		}
		last->name = ps_pool_strdup(record->pool, now->name);
		last->attributes = now->attributes & (PS_MBOX_EXISTS | PS_MBOX_SUBSCRIBED | PS_MBOX_SPECIAL_USES);
	}
	for (size_t i = 0; i < boxes->count; i++)
		if (!sync_exists(&boxes->ptr[i]))
			sync_record_add(record, boxes->ptr[i].name)->attributes = PS_MBOX_SUBSCRIBED;
	record->running = false;
	record->both = true;
	return sync_record_save(record);
}

/* A mailbox with a message that cannot be read does not hinder the others. */
static int merge_all(struct both *both)
{
	int r = 0, broken = 0;

	for (size_t i = 0; i < both->count && r == 0 && !sync_stopped(both->s); i++) {
		if (!is_quiet(&both->couples[i]))
			r = merge_couple(both, &both->couples[i]);
		if (r == PS_E_CORRUPT) {
			broken = r;
			r = 0;
		}
	}
	return r < 0 ? r : broken;
}

int sync_both(struct sync *s)
{
	struct both both = {.s = s, .ends = {s->from, s->to}, .boxes = {&s->from_boxes, &s->to_boxes}};
	int r, saved;

	if (!s->record.both)
		forget(&s->record);
	if ((r = both_mailboxes(&both)) < 0)
		return r;
	r = merge_all(&both);
	if (s->options->dry_run)
		return r;
	if (r == 0 && !s->totals->stopped)
		return end(&both);
	saved = both.begun ? sync_record_save(&s->record) : 0;
	return r < 0 ? r : saved;
}
