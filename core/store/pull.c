/* SPDX-License-Identifier: MIT */
/*
 * Brings the shared state of a mailbox to the present: "what changed, what vanished since what we have".
 */
#include <stdlib.h>
#include "core/store/mailbox.h"
#include "core/store/set.h"
#include "core/store/view.h"

/* What one read of the backend tells. */
struct pull {
	struct ps_mailbox_info info;
	struct ps_keywords *keywords;
	struct ps_row *rows;
	size_t row_count, row_cap;
	struct ps_ranges gone;
};

static void pull_finish(struct pull *pull)
{
	ps_keywords_unref(pull->keywords);
	free(pull->rows);
	ps_ranges_finish(&pull->gone);
}

static int take_row(void *arg, const struct ps_row *row)
{
	struct pull *pull = arg;

	if (pull->row_count == pull->row_cap) {
		pull->row_cap = pull->row_cap ? pull->row_cap * 2 : 16;
		pull->rows = ps_realloc(pull->rows, pull->row_cap * sizeof *pull->rows);
	}
	pull->rows[pull->row_count++] = *row;
	return 0;
}

static int take_gone(void *arg, struct ps_range uids)
{
	struct pull *pull = arg;

	ps_ranges_add(&pull->gone, uids);
	return 0;
}

static bool is_the_same(const struct ps_mailbox *mailbox, const struct ps_mailbox_info *info)
{
	const struct ps_mailbox_state *state = &mailbox->state;

	return state->snapshot && info->highest_modseq == state->highest_modseq && info->uid_next == state->uid_next &&
	       info->attributes == state->attributes && strcmp(info->name, state->name) == 0;
}

static int read_keywords(const struct ps_mailbox *mailbox, struct ps_read *read, struct pull *pull)
{
	const char *const *names;
	size_t count;
	int r = mailbox->user->ops->keywords(read, mailbox->mbox, &names, &count);

	if (r < 0)
		return r;
	pull->keywords = ps_keywords_eq(mailbox->state.keywords, names, count)
				 ? ps_keywords_ref(mailbox->state.keywords)
				 : ps_keywords_create(names, count);
	return 0;
}

/* All rows, where there are none yet or the backend does not know any more what vanished since. */
static int read_changes(const struct ps_mailbox *mailbox, struct ps_read *read, struct pull *pull, bool *ret_whole)
{
	const struct ps_backend *ops = mailbox->user->ops;
	uint64_t since = mailbox->state.highest_modseq;
	/* A message that came may have an older modseq, when it is the copy of another store's. */
	struct ps_range all = {1, UINT32_MAX}, known = {1, mailbox->state.uid_next - 1},
			unknown = {mailbox->state.uid_next, UINT32_MAX};
	int r;

	*ret_whole = !mailbox->state.snapshot || since < pull->info.vanished_since;
	if (*ret_whole)
		return ops->scan(read, mailbox->mbox, all, 0, take_row, pull);
	if ((r = ops->scan(read, mailbox->mbox, known, since, take_row, pull)) < 0 ||
	    (r = ops->scan(read, mailbox->mbox, unknown, 0, take_row, pull)) < 0)
		return r;
	r = ops->vanished(read, mailbox->mbox, since, take_gone, pull);
	ps_ranges_sort(&pull->gone);
	return r;
}

static struct ps_snapshot *next_snapshot(const struct ps_mailbox *mailbox, const struct pull *pull, bool whole)
{
	struct ps_snapshot *empty, *snapshot;

	if (!whole && pull->row_count == 0 && pull->gone.count == 0)
		return ps_snapshot_ref(mailbox->state.snapshot);
	if (!whole)
		return ps_snapshot_apply(mailbox->state.snapshot, pull->rows, pull->row_count, pull->gone.ptr,
					 pull->gone.count);
	empty = ps_snapshot_empty();
	snapshot = ps_snapshot_apply(empty, pull->rows, pull->row_count, NULL, 0);
	ps_snapshot_unref(empty);
	return snapshot;
}

static void replace_state(struct ps_mailbox *mailbox, struct ps_mailbox_state *next)
{
	struct ps_mailbox_state old;

	pthread_mutex_lock(&mailbox->lock);
	old = mailbox->state;
	mailbox->state = *next;
	pthread_mutex_unlock(&mailbox->lock);
	ps_mailbox_state_finish(&old);
}

/* 1: there was a difference. */
static int pull_read(struct ps_mailbox *mailbox, struct ps_read *read, struct pull *pull)
{
	struct ps_mailbox_state next = {0};
	bool whole;
	int r = mailbox->user->ops->info(read, mailbox->mbox, &pull->info);

	if (r == 0 && pull->info.uid_validity != mailbox->uid_validity)
		return ps_fail(PS_E_GONE, "mailbox %s: UIDVALIDITY was %u, is %u", pull->info.name,
			       mailbox->uid_validity, pull->info.uid_validity);
	if (r < 0 || is_the_same(mailbox, &pull->info))
		return r;
	if ((r = read_keywords(mailbox, read, pull)) < 0 || (r = read_changes(mailbox, read, pull, &whole)) < 0)
		return r;
	next.snapshot = next_snapshot(mailbox, pull, whole);
	next.keywords = ps_keywords_ref(pull->keywords);
	next.name = ps_strdup(pull->info.name);
	next.attributes = pull->info.attributes;
	next.uid_next = pull->info.uid_next;
	next.highest_modseq = pull->info.highest_modseq;
	replace_state(mailbox, &next);
	return 1;
}

static int pull_once(struct ps_mailbox *mailbox)
{
	const struct ps_backend *ops = mailbox->user->ops;
	struct pull pull = {0};
	struct ps_read *read;
	int r = ops->read_begin(mailbox->user->store, &read);

	if (r < 0)
		return r;
	r = pull_read(mailbox, read, &pull);
	ops->read_end(read);
	pull_finish(&pull);
	return r;
}

/* True the first time. */
static bool mark_gone(struct ps_mailbox *mailbox)
{
	bool first;

	pthread_mutex_lock(&mailbox->lock);
	first = !mailbox->gone;
	mailbox->gone = true;
	pthread_mutex_unlock(&mailbox->lock);
	return first;
}

void ps_mailbox_notify(struct ps_mailbox *mailbox, const struct ps_view *except)
{
	pthread_mutex_lock(&mailbox->notify_lock);
	for (struct ps_view *view = mailbox->views; view; view = view->next)
		if (view != except && view->changed)
			view->changed(view->arg);
	pthread_mutex_unlock(&mailbox->notify_lock);
}

int ps_mailbox_pull(struct ps_mailbox *mailbox, const struct ps_view *except)
{
	bool news;
	int r;

	pthread_mutex_lock(&mailbox->pull_lock);
	r = pull_once(mailbox);
	news = r == PS_E_GONE ? mark_gone(mailbox) : r > 0;
	pthread_mutex_unlock(&mailbox->pull_lock);
	if (news)
		ps_mailbox_notify(mailbox, except);
	return r < 0 ? r : 0;
}
