/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdlib.h>
#include "core/store/set.h"
#include "core/store/snapshot.h"

/* A chunk that is copied should not be much work; chunks should not be so many that their list is. */
enum {
	CHUNK_MAX = 256,
	CHUNK_MIN = 64
};

struct chunk {
	atomic_uint refs;
	uint32_t count;        /* 1..CHUNK_MAX */
	uint32_t first_unseen; /* of rows; count: none */
	uint32_t deleted;      /* how many are marked */
	uint64_t modseq;       /* the highest */
	struct ps_row rows[];  /* by UID; their flags follow */
};

struct ps_snapshot {
	atomic_uint refs;
	uint32_t messages;
	size_t chunk_count;
	struct chunk **chunks;
	uint32_t *starts;  /* how many rows stand before each chunk */
	uint64_t *modseqs; /* the highest of each; side by side, so that looking for changes does not look at chunks */
	uint32_t first_unseen; /* number; 0: none */
};

static uint32_t *chunk_flags(struct chunk *chunk)
{
	return (uint32_t *)(chunk->rows + chunk->count);
}

static struct chunk *chunk_create(const struct ps_row *rows, uint32_t count)
{
	struct chunk *chunk = ps_malloc(sizeof *chunk + count * (sizeof *rows + sizeof(uint32_t)));

	atomic_init(&chunk->refs, 1);
	chunk->count = count;
	chunk->first_unseen = count;
	chunk->deleted = 0;
	chunk->modseq = 0;
	memcpy(chunk->rows, rows, count * sizeof *rows);
	for (uint32_t i = 0; i < count; i++) {
		chunk_flags(chunk)[i] = rows[i].flags;
		if (chunk->first_unseen == count && !(rows[i].flags & PS_FLAG_SEEN))
			chunk->first_unseen = i;
		chunk->deleted += (rows[i].flags & PS_FLAG_DELETED) != 0;
		if (rows[i].modseq > chunk->modseq)
			chunk->modseq = rows[i].modseq;
	}
	return chunk;
}

static struct chunk *chunk_ref(struct chunk *chunk)
{
	atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
	return chunk;
}

static void chunk_unref(struct chunk *chunk)
{
	if (atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) == 1)
		free(chunk);
}

static uint32_t chunk_last_uid(const struct chunk *chunk)
{
	return chunk->rows[chunk->count - 1].uid;
}

/* The first row with a UID >= uid; count if none. */
static uint32_t chunk_find(const struct chunk *chunk, uint32_t uid)
{
	uint32_t low = 0, high = chunk->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (chunk->rows[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct ps_snapshot *ps_snapshot_empty(void)
{
	struct ps_snapshot *snapshot = ps_zalloc(sizeof *snapshot);

	atomic_init(&snapshot->refs, 1);
	return snapshot;
}

struct ps_snapshot *ps_snapshot_ref(struct ps_snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
	return snapshot;
}

void ps_snapshot_unref(struct ps_snapshot *snapshot)
{
	if (!snapshot || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < snapshot->chunk_count; i++)
		chunk_unref(snapshot->chunks[i]);
	free(snapshot->chunks);
	free(snapshot->starts);
	free(snapshot->modseqs);
	free(snapshot);
}

uint32_t ps_snapshot_count(const struct ps_snapshot *snapshot)
{
	return snapshot->messages;
}

uint32_t ps_snapshot_last_uid(const struct ps_snapshot *snapshot)
{
	return snapshot->chunk_count ? chunk_last_uid(snapshot->chunks[snapshot->chunk_count - 1]) : 0;
}

/* The chunk that seq, which there is, lies in: the last that starts before it. Where all chunks but the last are full, as
 * in a mailbox that only grew, it is found by a division. */
static size_t find_chunk(const struct ps_snapshot *snapshot, uint32_t seq)
{
	size_t low = (seq - 1) / CHUNK_MAX, high = snapshot->chunk_count;

	if (low < high && snapshot->starts[low] < seq && (low + 1 == high || snapshot->starts[low + 1] >= seq))
		return low;
	low = 0;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (snapshot->starts[middle] < seq)
			low = middle;
		else
			high = middle;
	}
	return low;
}

bool ps_snapshot_run(const struct ps_snapshot *snapshot, uint32_t seq, struct ps_snapshot_run *ret_run)
{
	struct chunk *chunk;
	uint32_t at;
	size_t n;

	if (seq == 0 || seq > snapshot->messages)
		return false;
	n = find_chunk(snapshot, seq);
	chunk = snapshot->chunks[n];
	at = seq - 1 - snapshot->starts[n];
	*ret_run = (struct ps_snapshot_run){chunk->rows + at, chunk_flags(chunk) + at, chunk->count - at};
	return true;
}

const struct ps_row *ps_snapshot_row(const struct ps_snapshot *snapshot, uint32_t seq)
{
	size_t chunk;

	if (seq == 0 || seq > snapshot->messages)
		return NULL;
	chunk = find_chunk(snapshot, seq);
	return &snapshot->chunks[chunk]->rows[seq - 1 - snapshot->starts[chunk]];
}

uint32_t ps_snapshot_seq_from(const struct ps_snapshot *snapshot, uint32_t uid)
{
	size_t low = 0, high = snapshot->chunk_count;

	while (low < high) { /* the first chunk that ends at or behind uid */
		size_t middle = low + (high - low) / 2;

		if (chunk_last_uid(snapshot->chunks[middle]) < uid)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == snapshot->chunk_count)
		return snapshot->messages + 1;
	return snapshot->starts[low] + chunk_find(snapshot->chunks[low], uid) + 1;
}

uint32_t ps_snapshot_seq(const struct ps_snapshot *snapshot, uint32_t uid)
{
	uint32_t seq = ps_snapshot_seq_from(snapshot, uid);
	const struct ps_row *row = ps_snapshot_row(snapshot, seq);

	return row && row->uid == uid ? seq : 0;
}

uint32_t ps_snapshot_seq_changed(const struct ps_snapshot *snapshot, uint32_t seq, uint64_t since)
{
	if (seq == 0 || seq > snapshot->messages)
		return snapshot->messages + 1;
	for (size_t c = find_chunk(snapshot, seq); c < snapshot->chunk_count; c++) {
		const struct chunk *chunk = snapshot->chunks[c];
		uint32_t i = seq > snapshot->starts[c] ? seq - 1 - snapshot->starts[c] : 0;

		if (snapshot->modseqs[c] <= since)
			continue;
		for (; i < chunk->count; i++)
			if (chunk->rows[i].modseq > since)
				return snapshot->starts[c] + i + 1;
	}
	return snapshot->messages + 1;
}

uint32_t ps_snapshot_seq_deleted(const struct ps_snapshot *snapshot, uint32_t seq)
{
	if (seq == 0 || seq > snapshot->messages)
		return snapshot->messages + 1;
	for (size_t c = find_chunk(snapshot, seq); c < snapshot->chunk_count; c++) {
		const struct chunk *chunk = snapshot->chunks[c];
		uint32_t i = seq > snapshot->starts[c] ? seq - 1 - snapshot->starts[c] : 0;

		for (; chunk->deleted > 0 && i < chunk->count; i++)
			if (chunk->rows[i].flags & PS_FLAG_DELETED)
				return snapshot->starts[c] + i + 1;
	}
	return snapshot->messages + 1;
}

uint32_t ps_snapshot_first_unseen(const struct ps_snapshot *snapshot)
{
	return snapshot->first_unseen;
}

/* ---- building ------------------------------------------------------------------------------ */

struct builder {
	struct ps_snapshot *snapshot;
	size_t cap;
	uint32_t loose_count;
	struct ps_row loose[2 * CHUNK_MAX]; /* rows that are not yet in a chunk */
};

static void add_chunk(struct builder *b, struct chunk *chunk)
{
	struct ps_snapshot *s = b->snapshot;

	if (s->chunk_count == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 8;
		s->chunks = ps_realloc(s->chunks, b->cap * sizeof *s->chunks);
		s->starts = ps_realloc(s->starts, b->cap * sizeof *s->starts);
		s->modseqs = ps_realloc(s->modseqs, b->cap * sizeof *s->modseqs);
	}
	if (s->first_unseen == 0 && chunk->first_unseen < chunk->count)
		s->first_unseen = s->messages + chunk->first_unseen + 1;
	s->chunks[s->chunk_count] = chunk;
	s->modseqs[s->chunk_count] = chunk->modseq;
	s->starts[s->chunk_count++] = s->messages;
	s->messages += chunk->count;
}

static void flush_some(struct builder *b, uint32_t count)
{
	if (count == 0)
		return;
	add_chunk(b, chunk_create(b->loose, count));
	b->loose_count -= count;
	memmove(b->loose, b->loose + count, b->loose_count * sizeof *b->loose);
}

static void flush_all(struct builder *b)
{
	if (b->loose_count > CHUNK_MAX)
		flush_some(b, b->loose_count / 2);
	flush_some(b, b->loose_count);
}

static void add_row(struct builder *b, const struct ps_row *row)
{
	if (b->loose_count == PS_ARRAY_LEN(b->loose))
		flush_some(b, CHUNK_MAX);
	b->loose[b->loose_count++] = *row;
}

static void copy_chunk(struct builder *b, const struct chunk *chunk)
{
	for (uint32_t i = 0; i < chunk->count; i++)
		add_row(b, &chunk->rows[i]);
}

/* Takes a chunk as it is, unless the rows before it are too few to stand alone. */
static void share_chunk(struct builder *b, struct chunk *chunk)
{
	if (b->loose_count > 0 && b->loose_count < CHUNK_MIN) {
		copy_chunk(b, chunk);
		if (b->loose_count >= CHUNK_MIN)
			flush_all(b);
		return;
	}
	flush_all(b);
	add_chunk(b, chunk_ref(chunk));
}

/* What is left to apply. */
struct changes {
	const struct ps_row *rows;
	size_t row_count;
	const struct ps_range *gone;
	size_t gone_count;
};

/* Whether the changes reach into the chunk. Rows behind the last UID of all go into the last chunk if it has room. */
static bool chunk_is_touched(const struct chunk *chunk, bool is_last, struct changes *changes)
{
	uint32_t first = chunk->rows[0].uid, last = chunk_last_uid(chunk);

	while (changes->gone_count > 0 && changes->gone->last < first) {
		changes->gone++;
		changes->gone_count--;
	}
	if (changes->gone_count > 0 && changes->gone->first <= last)
		return true;
	if (changes->row_count == 0)
		return false;
	return changes->rows->uid <= last || (is_last && chunk->count < CHUNK_MAX);
}

static void merge_chunk(struct builder *b, const struct chunk *chunk, struct changes *changes)
{
	for (uint32_t i = 0; i < chunk->count; i++) {
		uint32_t uid = chunk->rows[i].uid;

		for (; changes->row_count > 0 && changes->rows->uid < uid; changes->row_count--)
			add_row(b, changes->rows++);
		if (changes->row_count > 0 && changes->rows->uid == uid) {
			add_row(b, changes->rows++);
			changes->row_count--;
		} else if (!ps_ranges_has(changes->gone, changes->gone_count, uid)) {
			add_row(b, &chunk->rows[i]);
		}
	}
}

struct ps_snapshot *ps_snapshot_apply(const struct ps_snapshot *base, const struct ps_row *rows, size_t row_count,
				      const struct ps_range *gone, size_t gone_count)
{
	struct changes changes = {rows, row_count, gone, gone_count};
	struct builder *b = ps_malloc(sizeof *b);
	struct ps_snapshot *snapshot = ps_snapshot_empty();

	b->snapshot = snapshot;
	b->cap = 0;
	b->loose_count = 0;
	for (size_t i = 0; i < base->chunk_count; i++) {
		if (chunk_is_touched(base->chunks[i], i + 1 == base->chunk_count, &changes))
			merge_chunk(b, base->chunks[i], &changes);
		else
			share_chunk(b, base->chunks[i]);
	}
	/* Full chunks first: the last one is where the next messages go. */
	for (; changes.row_count > 0; changes.row_count--)
		add_row(b, changes.rows++);
	while (b->loose_count > CHUNK_MAX)
		flush_some(b, CHUNK_MAX);
	flush_all(b);
	free(b);
	return snapshot;
}

/* ---- comparing ----------------------------------------------------------------------------- */

struct cursor {
	const struct ps_snapshot *snapshot;
	size_t chunk;
	uint32_t at; /* in the chunk */
};

static const struct ps_row *cursor_row(const struct cursor *c)
{
	return c->chunk < c->snapshot->chunk_count ? &c->snapshot->chunks[c->chunk]->rows[c->at] : NULL;
}

static uint32_t cursor_seq(const struct cursor *c)
{
	return c->snapshot->starts[c->chunk] + c->at + 1;
}

static void cursor_next(struct cursor *c)
{
	if (++c->at == c->snapshot->chunks[c->chunk]->count) {
		c->at = 0;
		c->chunk++;
	}
}

/* As rows are sorted, two cursors come to a shared chunk at the same time. */
static bool skip_shared(struct cursor *a, struct cursor *b)
{
	if (a->at != 0 || b->at != 0 || a->chunk == a->snapshot->chunk_count || b->chunk == b->snapshot->chunk_count ||
	    a->snapshot->chunks[a->chunk] != b->snapshot->chunks[b->chunk])
		return false;
	a->chunk++;
	b->chunk++;
	return true;
}

static bool row_eq(const struct ps_row *a, const struct ps_row *b)
{
	return a->flags == b->flags && a->keywords == b->keywords && a->modseq == b->modseq && a->size == b->size &&
	       a->internal_date == b->internal_date;
}

void ps_snapshot_diff(const struct ps_snapshot *before, const struct ps_snapshot *after, ps_snapshot_diff_fn fn,
		      void *arg)
{
	struct cursor a = {.snapshot = before}, b = {.snapshot = after};

	if (before == after)
		return;
	for (;;) {
		const struct ps_row *old, *new;

		if (skip_shared(&a, &b))
			continue;
		old = cursor_row(&a);
		new = cursor_row(&b);
		if (!old && !new)
			return;
		if (!new || (old && old->uid < new->uid)) {
			fn(arg, old, cursor_seq(&a), NULL, 0);
			cursor_next(&a);
		} else if (!old || new->uid < old->uid) {
			fn(arg, NULL, 0, new, cursor_seq(&b));
			cursor_next(&b);
		} else {
			if (!row_eq(old, new))
				fn(arg, old, cursor_seq(&a), new, cursor_seq(&b));
			cursor_next(&a);
			cursor_next(&b);
		}
	}
}

size_t ps_snapshot_shared(const struct ps_snapshot *a, const struct ps_snapshot *b, size_t *ret_chunks)
{
	size_t shared = 0;

	for (size_t i = 0; i < a->chunk_count; i++)
		for (size_t j = 0; j < b->chunk_count; j++)
			shared += a->chunks[i] == b->chunks[j];
	*ret_chunks = a->chunk_count;
	return shared;
}
