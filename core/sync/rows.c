/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/sync/sync_private.h"

static int take_row(void *arg, const struct ps_row *row)
{
	sync_rows_add(arg, row);
	return 0;
}

void sync_rows_add(struct sync_rows *rows, const struct ps_row *row)
{
	if (rows->count == rows->cap) {
		rows->cap = rows->cap ? rows->cap * 2 : 64;
		rows->ptr = ps_realloc(rows->ptr, rows->cap * sizeof *rows->ptr);
	}
	rows->ptr[rows->count++] = *row;
}

const struct ps_row *sync_rows_find(const struct sync_rows *rows, uint32_t uid)
{
	size_t low = 0, high = rows->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (rows->ptr[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < rows->count && rows->ptr[low].uid == uid ? &rows->ptr[low] : NULL;
}

int sync_by_uid(const void *a, const void *b)
{
	const struct ps_row *x = a, *y = b;

	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

int sync_by_message(const struct ps_row *a, const struct ps_row *b)
{
	int r = memcmp(&a->email_id, &b->email_id, sizeof a->email_id);

	return r ? r : a->size < b->size ? -1 : a->size > b->size;
}

int sync_by_message_and_uid(const void *a, const void *b)
{
	int r = sync_by_message(a, b);

	return r ? r : sync_by_uid(a, b);
}

void sync_rows_sort(struct sync_rows *rows, int (*order)(const void *a, const void *b))
{
	if (rows->count > 0)
		qsort(rows->ptr, rows->count, sizeof *rows->ptr, order);
}

static int take_gone(void *arg, struct ps_range uids)
{
	ps_ranges_add(arg, uids);
	return 0;
}

static int read_keywords(const struct ps_sync_end *end, struct ps_read *read, struct ps_mbox *mbox,
			 struct sync_view *view)
{
	const char *const *names;
	size_t count;
	int r = sync_on(end)->keywords(read, mbox, &names, &count);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count && i < PS_KEYWORDS_MAX; i++)
		view->keywords[i] = ps_pool_strdup(view->pool, names[i]);
	view->keyword_count = count;
	return 0;
}

/* Changes below `next`, and all from there on. */
static int scan(const struct ps_sync_end *end, struct ps_read *read, struct ps_mbox *mbox, uint64_t since,
		uint32_t next, struct sync_view *view)
{
	const struct ps_backend *ops = sync_on(end);
	int r = 0;

	if (view->whole)
		return ops->scan(read, mbox, (struct ps_range){1, UINT32_MAX}, 0, take_row, &view->rows);
	if (next > 1)
		r = ops->scan(read, mbox, (struct ps_range){1, next - 1}, since, take_row, &view->rows);
	return r < 0 ? r : ops->scan(read, mbox, (struct ps_range){next, UINT32_MAX}, 0, take_row, &view->rows);
}

static int read_view(const struct ps_sync_end *end, struct ps_read *read, struct ps_mbox *mbox, uint64_t since,
		     uint32_t next, struct sync_view *view)
{
	int r;

	if ((r = sync_on(end)->info(read, mbox, &view->info)) < 0 || (r = read_keywords(end, read, mbox, view)) < 0)
		return r;
	view->info.name = NULL;
	/* A modseq that was never reached is that of another history: somebody put an older state back. */
	view->whole = since == 0 || next == 0 || since < view->info.vanished_since ||
		      since > view->info.highest_modseq || next > view->info.uid_next;
	if ((r = scan(end, read, mbox, since, next, view)) < 0 || view->whole)
		return r;
	r = sync_on(end)->vanished(read, mbox, since, take_gone, &view->gone);
	ps_ranges_sort(&view->gone);
	return r;
}

int sync_view_open(const struct ps_sync_end *end, struct ps_mbox *mbox, uint64_t since, uint32_t next,
		   struct sync_view *ret_view)
{
	struct sync_view view = {.pool = ps_pool_create("sync view")};
	struct ps_read *read;
	int r = sync_on(end)->read_begin(end->store, &read);

	if (r == 0) {
		r = read_view(end, read, mbox, since, next, &view);
		sync_on(end)->read_end(read);
	}
	if (r < 0)
		sync_view_close(&view);
	else
		*ret_view = view;
	return r;
}

static int scan_each(const struct ps_sync_end *end, struct ps_read *read, struct ps_mbox *mbox,
		     const struct sync_rows *uids, struct sync_view *view)
{
	int r = 0;

	for (size_t i = 0; i < uids->count && r == 0;) {
		struct ps_range range = {uids->ptr[i].uid, uids->ptr[i].uid};

		while (++i < uids->count && uids->ptr[i].uid == range.last + 1)
			range.last++;
		r = sync_on(end)->scan(read, mbox, range, 0, take_row, &view->rows);
	}
	return r;
}

int sync_view_of(const struct ps_sync_end *end, struct ps_mbox *mbox, const struct sync_rows *uids,
		 struct sync_view *ret_view)
{
	struct sync_view view = {.pool = ps_pool_create("sync view")};
	struct ps_read *read;
	int r = sync_on(end)->read_begin(end->store, &read);

	if (r == 0) {
		if ((r = read_keywords(end, read, mbox, &view)) == 0)
			r = scan_each(end, read, mbox, uids, &view);
		sync_on(end)->read_end(read);
	}
	if (r < 0)
		sync_view_close(&view);
	else
		*ret_view = view;
	return r;
}

void sync_view_close(struct sync_view *view)
{
	free(view->rows.ptr);
	ps_ranges_finish(&view->gone);
	ps_pool_destroy(view->pool);
	*view = (struct sync_view){0};
}

const char *const *sync_keyword_names(const struct sync_view *view, uint64_t mask, struct ps_pool *pool)
{
	const char **names;
	size_t n = 0;

	if (mask == 0)
		return NULL;
	names = PS_NEWV(pool, const char *, PS_KEYWORDS_MAX + 1);
	for (size_t i = 0; i < view->keyword_count; i++)
		if (mask & (UINT64_C(1) << i))
			names[n++] = ps_pool_strdup(pool, view->keywords[i]);
	return names;
}

bool sync_same_flags(const struct sync_view *a, const struct ps_row *row_a, const struct sync_view *b,
		     const struct ps_row *row_b)
{
	uint64_t mask = 0;

	if (row_a->flags != row_b->flags)
		return false;
	for (size_t i = 0; i < a->keyword_count; i++) {
		int bit;

		if (!(row_a->keywords & (UINT64_C(1) << i)))
			continue;
		bit = ps_keyword_bit(b->keywords, b->keyword_count, a->keywords[i]);
		if (bit < 0)
			return false;
		mask |= UINT64_C(1) << bit;
	}
	return mask == row_b->keywords;
}
