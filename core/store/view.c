/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/store/mount.h"
#include "core/store/recent.h"
#include "core/store/view.h"
#include "core/store/watch.h"

/* Messages that came since the last look are \Recent here, unless another session was told first. */
static void take_recent(struct ps_view *view)
{
	uint32_t uid_next = view->shown.uid_next;
	uint32_t from = ps_recent_from(&view->mailbox->id, uid_next, !view->read_only);

	if (from < view->recent_upto)
		from = view->recent_upto;
	if (from < uid_next)
		ps_ranges_add(&view->recent, (struct ps_range){from, uid_next - 1});
	view->recent_upto = uid_next;
}

static int look(struct ps_view *view)
{
	struct ps_mailbox *mailbox = view->mailbox;
	int r = ps_user_look(mailbox->user, mailbox->mbox);

	return r < 0 ? r : ps_mailbox_pull(mailbox, view);
}

static int view_load(struct ps_view *view)
{
	int r = look(view);

	if (r == 0)
		r = ps_mailbox_state(view->mailbox, &view->shown);
	if (r < 0)
		return r;
	take_recent(view);
	return 0;
}

static int open_view(struct ps_user *user, const char *name, bool read_only, void (*changed)(void *arg), void *arg,
		     struct ps_view **ret_view)
{
	struct ps_view *view;
	struct ps_mailbox *mailbox;
	int r = ps_mailbox_open(user, name, &mailbox);

	if (r < 0)
		return r;
	view = ps_zalloc(sizeof *view);
	view->user = user;
	view->mailbox = mailbox;
	view->read_only = read_only;
	view->changed = changed;
	view->arg = arg;
	/* Before loading: what comes in between is told rather than missed. */
	ps_mailbox_add_view(mailbox, view);
	ps_watch_add(mailbox);
	if ((r = view_load(view)) < 0) {
		ps_view_close(view);
		return r == PS_E_GONE ? PS_E_NOTFOUND : r;
	}
	*ret_view = view;
	return 0;
}

int ps_view_open(struct ps_user *user, const char *name, bool read_only, void (*changed)(void *arg), void *arg,
		 struct ps_view **ret_view)
{
	int r = open_view(user, name, read_only, changed, arg, ret_view);

	return r == PS_E_MOVED ? open_view(user, name, read_only, changed, arg, ret_view) : r;
}

/* ---- following a store that moves ------------------------------------------------------------ */

/* The mailbox where its store is now, read, if it is the same one. */
static int find_again(const struct ps_mailbox *old, const struct ps_view *view, struct ps_mailbox **ret_mailbox)
{
	struct ps_mailbox_state state;
	struct ps_mailbox *mailbox;
	int r = ps_mailbox_state((struct ps_mailbox *)(uintptr_t)old, &state);

	if (r < 0)
		return r;
	r = ps_mailbox_open(ps_user_now(old->user), state.name, &mailbox);
	ps_mailbox_state_finish(&state);
	if (r < 0)
		return r == PS_E_NOTFOUND ? PS_E_GONE : r;
	if (memcmp(&mailbox->id, &old->id, sizeof old->id) != 0 || mailbox->uid_validity != old->uid_validity)
		r = ps_fail(PS_E_GONE, "the mailbox is another where the store moved to");
	else
		r = ps_mailbox_pull(mailbox, view);
	if (r < 0)
		ps_mailbox_close(mailbox);
	else
		*ret_mailbox = mailbox;
	return r;
}

int ps_view_here(struct ps_view *view)
{
	struct ps_mailbox *old = view->mailbox, *mailbox;
	int r;

	if (view->bodies > 0 || ps_user_now(old->user) == old->user)
		return 0;
	if ((r = find_again(old, view, &mailbox)) < 0)
		return r;
	ps_watch_remove(old);
	ps_mailbox_remove_view(old, view);
	view->mailbox = mailbox;
	ps_mailbox_add_view(mailbox, view);
	ps_watch_add(mailbox);
	ps_mailbox_close(old);
	return 0;
}

void ps_view_close(struct ps_view *view)
{
	if (!view)
		return;
	ps_watch_remove(view->mailbox);
	ps_mailbox_remove_view(view->mailbox, view);
	ps_mailbox_close(view->mailbox);
	ps_mailbox_state_finish(&view->shown);
	ps_ranges_finish(&view->recent);
	ps_buf_finish(&view->name);
	ps_view_known_finish(view);
	free(view);
}

/* ---- what it shows ------------------------------------------------------------------------- */

static uint32_t count_recent(const struct ps_view *view)
{
	uint32_t n = 0;

	for (size_t i = 0; i < view->recent.count; i++)
		n += ps_snapshot_seq_from(view->shown.snapshot, view->recent.ptr[i].last + 1) -
		     ps_snapshot_seq_from(view->shown.snapshot, view->recent.ptr[i].first);
	return n;
}

void ps_view_status(struct ps_view *view, struct ps_view_status *ret_status)
{
	const struct ps_mailbox_state *shown = &view->shown;

	ps_buf_reset(&view->name);
	ps_mount_put_name(ps_user_now(view->user), view->mailbox->user, shown->name, &view->name);
	*ret_status = (struct ps_view_status){
		.messages = ps_snapshot_count(shown->snapshot),
		.recent = count_recent(view),
		.first_unseen = ps_snapshot_first_unseen(shown->snapshot),
		.uid_validity = view->mailbox->uid_validity,
		.uid_next = shown->uid_next,
		.highest_modseq = shown->highest_modseq,
		.id = view->mailbox->id,
		.attributes = shown->attributes,
		.read_only = view->read_only,
		.keywords = shown->keywords->names,
		.keyword_count = shown->keywords->count,
		.name = ps_buf_cstr(&view->name),
	};
}

const struct ps_row *ps_view_row(const struct ps_view *view, uint32_t seq)
{
	return ps_snapshot_row(view->shown.snapshot, seq);
}

uint32_t ps_view_seq(const struct ps_view *view, uint32_t uid)
{
	return ps_snapshot_seq(view->shown.snapshot, uid);
}

uint32_t ps_view_seq_from(const struct ps_view *view, uint32_t uid)
{
	return ps_snapshot_seq_from(view->shown.snapshot, uid);
}

uint32_t ps_view_seq_changed(const struct ps_view *view, uint32_t seq, uint64_t since)
{
	return ps_snapshot_seq_changed(view->shown.snapshot, seq, since);
}

bool ps_view_is_recent(const struct ps_view *view, uint32_t uid)
{
	return ps_ranges_has(view->recent.ptr, view->recent.count, uid);
}

/* Rows seq_first..seq_last as ranges of UIDs. */
static void add_uids(const struct ps_view *view, uint32_t seq_first, uint32_t seq_last, struct ps_ranges *uids)
{
	for (uint32_t seq = seq_first; seq <= seq_last; seq++) {
		uint32_t uid = ps_view_row(view, seq)->uid;

		ps_ranges_add(uids, (struct ps_range){uid, uid});
	}
}

static void add_range_by_uid(const struct ps_view *view, struct ps_range range, struct ps_ranges *uids)
{
	uint32_t first = ps_view_seq_from(view, range.first);
	uint32_t end = range.last == UINT32_MAX ? ps_snapshot_count(view->shown.snapshot) + 1
						: ps_view_seq_from(view, range.last + 1);

	add_uids(view, first, end - 1, uids);
}

int ps_view_resolve(const struct ps_view *view, struct ps_bytes text, bool by_uid, struct ps_pool *pool,
		    struct ps_set *ret_uids)
{
	uint32_t messages = ps_snapshot_count(view->shown.snapshot);
	uint32_t star = by_uid ? ps_snapshot_last_uid(view->shown.snapshot) : messages;
	struct ps_ranges uids = {0};
	struct ps_set set;
	int r = ps_set_parse(text, star, pool, &set);

	if (r < 0)
		return r;
	if (!by_uid && (messages == 0 || (set.count > 0 && set.ranges[set.count - 1].last > messages)))
		return ps_fail(PS_E_INVALID, "a sequence number above %u", messages);
	for (size_t i = 0; i < set.count; i++) {
		if (by_uid)
			add_range_by_uid(view, set.ranges[i], &uids);
		else
			add_uids(view, set.ranges[i].first, set.ranges[i].last, &uids);
	}
	*ret_uids = ps_ranges_to_set(&uids, pool);
	return 0;
}

/* ---- sync ---------------------------------------------------------------------------------- */

/* The differences between what was shown and what will be. */
struct differences {
	const struct ps_view *view;
	struct ps_row *gone; /* with the number each had */
	uint32_t *gone_seqs;
	size_t gone_count, gone_cap;
	uint32_t *changed_seqs; /* as they will be */
	size_t changed_count, changed_cap;
	uint32_t came;
	bool kept; /* rows that went are shown yet */
};

static void differences_finish(struct differences *d)
{
	free(d->gone);
	free(d->gone_seqs);
	free(d->changed_seqs);
}

static void add_gone(struct differences *d, const struct ps_row *row, uint32_t seq)
{
	if (d->gone_count == d->gone_cap) {
		d->gone_cap = d->gone_cap ? d->gone_cap * 2 : 16;
		d->gone = ps_realloc(d->gone, d->gone_cap * sizeof *d->gone);
		d->gone_seqs = ps_realloc(d->gone_seqs, d->gone_cap * sizeof *d->gone_seqs);
	}
	d->gone[d->gone_count] = *row;
	d->gone_seqs[d->gone_count++] = seq;
}

static void add_changed(struct differences *d, uint32_t seq)
{
	if (d->changed_count == d->changed_cap) {
		d->changed_cap = d->changed_cap ? d->changed_cap * 2 : 16;
		d->changed_seqs = ps_realloc(d->changed_seqs, d->changed_cap * sizeof *d->changed_seqs);
	}
	d->changed_seqs[d->changed_count++] = seq;
}

static void take_difference(void *arg, const struct ps_row *before, uint32_t seq_before, const struct ps_row *after,
			    uint32_t seq_after)
{
	struct differences *d = arg;

	if (!after)
		add_gone(d, before, seq_before);
	else if (!before)
		d->came++;
	else if (!ps_view_expects(d->view, before, after))
		add_changed(d, seq_after);
}

/* Puts the expunged rows that are not told yet back into the new snapshot. */
static void keep_gone(struct differences *d, struct ps_snapshot **snapshot)
{
	struct ps_snapshot *with = ps_snapshot_apply(*snapshot, d->gone, d->gone_count, NULL, 0);

	ps_snapshot_unref(*snapshot);
	*snapshot = with;
}

/* Numbers in the new snapshot are without the rows that went; with them kept, they are other numbers. */
static void find_differences(struct differences *d, const struct ps_view *view, struct ps_mailbox_state *next,
			     bool expunge)
{
	d->view = view;
	ps_snapshot_diff(view->shown.snapshot, next->snapshot, take_difference, d);
	if (expunge || d->gone_count == 0)
		return;
	keep_gone(d, &next->snapshot);
	d->kept = true;
	d->gone_count = d->changed_count = d->came = 0;
	ps_snapshot_diff(view->shown.snapshot, next->snapshot, take_difference, d);
}

static void tell(struct ps_view *view, const struct differences *d, bool keywords, const struct ps_view_events *events,
		 void *arg)
{
	for (size_t i = d->gone_count; i-- > 0 && events->expunged;)
		events->expunged(arg, d->gone_seqs[i], d->gone[i].uid);
	if (keywords && events->keywords)
		events->keywords(arg);
	for (size_t i = 0; i < d->changed_count && events->flags; i++)
		events->flags(arg, d->changed_seqs[i], ps_view_row(view, d->changed_seqs[i]));
	if (d->came > 0 && events->exists)
		events->exists(arg, ps_snapshot_count(view->shown.snapshot), count_recent(view));
}

int ps_view_sync(struct ps_view *view, unsigned how, const struct ps_view_events *events, void *arg)
{
	static const struct ps_view_events silence = {0};
	struct ps_mailbox_state next, old = view->shown;
	struct differences d = {0};
	bool keywords;
	int r = ps_view_here(view);

	if (r < 0)
		return r;
	if ((how & PS_SYNC_LOOK) && (r = look(view)) == PS_E_MOVED && (r = ps_view_here(view)) == 0)
		r = look(view);
	if (r < 0 || (r = ps_mailbox_state(view->mailbox, &next)) < 0)
		return r;
	find_differences(&d, view, &next, how & PS_SYNC_EXPUNGE);
	keywords = !ps_keywords_eq(old.keywords, next.keywords->names, next.keywords->count);
	/* An expunge that is not told is not behind the client. */
	if (d.kept)
		next.highest_modseq = old.highest_modseq;
	view->shown = next;
	take_recent(view);
	ps_view_known_finish(view);
	tell(view, &d, keywords, events ? events : &silence, arg);
	differences_finish(&d);
	ps_mailbox_state_finish(&old);
	return 0;
}

static void take_gone(void *arg, const struct ps_row *before, uint32_t seq_before, const struct ps_row *after,
		      uint32_t seq_after)
{
	(void)seq_before;
	(void)seq_after;
	if (!after)
		ps_ranges_add(arg, (struct ps_range){before->uid, before->uid});
}

int ps_view_gone(struct ps_view *view, struct ps_pool *pool, struct ps_set *ret_uids)
{
	struct ps_mailbox_state now;
	struct ps_ranges gone = {0};
	int r = ps_mailbox_state(view->mailbox, &now);

	if (r < 0)
		return r;
	ps_snapshot_diff(view->shown.snapshot, now.snapshot, take_gone, &gone);
	ps_mailbox_state_finish(&now);
	*ret_uids = ps_ranges_to_set(&gone, pool);
	return 0;
}
