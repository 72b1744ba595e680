/* SPDX-License-Identifier: MIT */
/*
 * Threading by ORDEREDSUBJECT, RFC 5256 section 3: messages sorted by base subject and sent date are cut where the
 * subject changes, and the pieces are put in the order of their first dates.
 */
#include <stdlib.h>
#include "core/store/sort.h"

struct piece {
	size_t at, count; /* of the sorted messages */
};

struct ps_thread {
	struct ps_sort *sort;
	struct piece *pieces;
	size_t count;
	bool cut;
};

enum {
	SUBJECT,
	DATE
};

static const struct ps_sort_criterion criteria[] = {
	[SUBJECT] = {PS_SORT_SUBJECT, false},
	[DATE] = {PS_SORT_DATE, false},
};

struct ps_thread *ps_thread_create(struct ps_view *view, struct ps_pool *pool, const struct ps_search_node *root)
{
	struct ps_thread *thread = ps_zalloc(sizeof *thread);

	thread->sort = ps_sort_create(view, pool, root, criteria, PS_ARRAY_LEN(criteria));
	return thread;
}

static int by_first_date(const void *a, const void *b, void *sort)
{
	return ps_sort_compare(sort, ((const struct piece *)a)->at, ((const struct piece *)b)->at, DATE);
}

static void cut(struct ps_thread *thread)
{
	size_t messages = ps_sort_count(thread->sort);

	thread->cut = true;
	if (messages == 0)
		return;
	thread->pieces = ps_malloc(messages * sizeof *thread->pieces);
	for (size_t i = 0; i < messages; i++) {
		if (i == 0 || !ps_sort_same(thread->sort, i - 1, i, SUBJECT))
			thread->pieces[thread->count++] = (struct piece){i, 0};
		thread->pieces[thread->count - 1].count++;
	}
	qsort_r(thread->pieces, thread->count, sizeof *thread->pieces, by_first_date, thread->sort);
}

int ps_thread_step(struct ps_thread *thread, bool (*slice_over)(void *arg), void *arg)
{
	int r = ps_sort_step(thread->sort, slice_over, arg);

	if (r == 1 && !thread->cut)
		cut(thread);
	return r;
}

size_t ps_thread_count(const struct ps_thread *thread)
{
	return thread->count;
}

size_t ps_thread_length(const struct ps_thread *thread, size_t at)
{
	return thread->pieces[at].count;
}

void ps_thread_get(const struct ps_thread *thread, size_t at, size_t message, uint32_t *ret_seq, uint32_t *ret_uid)
{
	ps_sort_get(thread->sort, thread->pieces[at].at + message, ret_seq, ret_uid);
}

void ps_thread_destroy(struct ps_thread *thread)
{
	if (!thread)
		return;
	ps_sort_destroy(thread->sort);
	free(thread->pieces);
	free(thread);
}
