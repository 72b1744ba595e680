/* SPDX-License-Identifier: MIT */
/* What a client that knew the mailbox once has to forget. */
#include "core/store/set.h"
#include "core/store/view.h"

static int take_range(void *arg, struct ps_range uids)
{
	ps_ranges_add(arg, uids);
	return 0;
}

/* UIDs that may have vanished since: those the backend remembers, or, where it does not reach back so far, all. */
static int read_candidates(const struct ps_mailbox *mailbox, struct ps_read *read, uint64_t since,
			   struct ps_ranges *candidates)
{
	const struct ps_backend *ops = mailbox->user->ops;
	struct ps_mailbox_info info;
	int r = ops->info(read, mailbox->mbox, &info);

	if (r < 0)
		return r;
	if (since >= info.vanished_since)
		return ops->vanished(read, mailbox->mbox, since, take_range, candidates);
	ps_ranges_add(candidates, (struct ps_range){1, UINT32_MAX});
	return 0;
}

static int find_candidates(const struct ps_mailbox *mailbox, uint64_t since, struct ps_ranges *candidates)
{
	const struct ps_backend *ops = mailbox->user->ops;
	struct ps_read *read;
	int r = ops->read_begin(mailbox->user->store, &read);

	if (r < 0)
		return r;
	r = read_candidates(mailbox, read, since, candidates);
	ops->read_end(read);
	ps_ranges_sort(candidates);
	return r;
}

/* Adds what the view does not show of first..last. */
static void add_absent(const struct ps_view *view, uint32_t first, uint32_t last, struct ps_ranges *gone)
{
	uint32_t seq = ps_view_seq_from(view, first);
	const struct ps_row *row;

	for (; (row = ps_view_row(view, seq)) && row->uid <= last; seq++) {
		if (row->uid > first)
			ps_ranges_add(gone, (struct ps_range){first, row->uid - 1});
		first = row->uid + 1;
	}
	if (first <= last)
		ps_ranges_add(gone, (struct ps_range){first, last});
}

/* What is in both, without what came or will be told later. */
static void add_known(const struct ps_view *view, const struct ps_ranges *candidates, const struct ps_set *known,
		      struct ps_ranges *gone)
{
	uint32_t end = view->shown.uid_next - 1;
	size_t i = 0, k = 0;

	while (i < candidates->count && k < known->count) {
		const struct ps_range *a = &candidates->ptr[i], *b = &known->ranges[k];
		uint32_t first = a->first > b->first ? a->first : b->first;
		uint32_t last = a->last < b->last ? a->last : b->last;

		if (last > end)
			last = end;
		if (first <= last)
			add_absent(view, first, last, gone);
		if (a->last < b->last)
			i++;
		else
			k++;
	}
}

int ps_view_vanished(struct ps_view *view, uint64_t since, const struct ps_set *known, struct ps_pool *pool,
		     struct ps_set *ret_uids)
{
	struct ps_ranges candidates = {0}, gone = {0};
	int r = find_candidates(view->mailbox, since, &candidates);

	if (r == 0) {
		add_known(view, &candidates, known, &gone);
		*ret_uids = ps_ranges_to_set(&gone, pool);
	}
	ps_ranges_finish(&candidates);
	return r;
}
