/* SPDX-License-Identifier: MIT */
/* Of a message that a record names twice the later modseq counts, which is the higher one. */
#include <stdlib.h>
#include "postern/catalogue.h"

void ps_brought_put(struct ps_buf *record, const struct ps_batch *batch, const struct ps_brought *one)
{
	if (batch->modseq != 0 || one->modseq != one->batch)
		ps_buf_append(record, one, sizeof *one);
}

static int by_uid(const void *a, const void *b)
{
	const struct ps_brought *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return (x->modseq > y->modseq) - (x->modseq < y->modseq);
}

void ps_brought_find(struct ps_bytes record, struct ps_index_box *box, struct ps_pool *pool, uint64_t *modseq,
		     struct ps_brought_table *ret_table)
{
	struct ps_brought_table table = {0};
	uint64_t known = box->highest_modseq;
	struct ps_brought one;
	size_t cap = 0;

	for (; record.len >= sizeof one; record = ps_bytes_skip(record, sizeof one)) {
		memcpy(&one, record.ptr, sizeof one);
		if (one.key != box->key || one.batch <= known)
			continue;
		table.rows = ps_pool_grow(pool, table.rows, table.count, &cap, sizeof one);
		table.rows[table.count++] = one;
		if (one.batch > box->highest_modseq)
			box->highest_modseq = one.batch;
		if (one.batch > *modseq)
			*modseq = one.batch;
	}
	if (table.count > 1)
		qsort(table.rows, table.count, sizeof one, by_uid);
	*ret_table = table;
}

uint64_t ps_brought_modseq(const struct ps_brought_table *table, uint32_t uid)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (table->rows[mid].uid <= uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 && table->rows[low - 1].uid == uid ? table->rows[low - 1].modseq : 0;
}
