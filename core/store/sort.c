/* SPDX-License-Identifier: MIT */
/*
 * Sorting, RFC 5256 and RFC 5957: search, get the keys of what was found from the caches, merge. All in slices.
 */
#include <stdlib.h>
#include "core/message/subject.h"
#include "postern/store.h"

enum {
	KEY_MAX = 512, /* octets of a text that count */
	RUN = 256,     /* sorted at once before merging begins */
};

union key {
	int64_t number;
	struct ps_bytes text;
};

struct entry {
	uint32_t seq, uid;
	union key *keys; /* one for each criterion */
};

enum phase {
	SEARCHING,
	KEYS,
	MERGING,
	DONE
};

struct ps_sort {
	struct ps_view *view;
	const struct ps_sort_criterion *criteria;
	size_t criterion_count;
	struct ps_search *search;
	struct ps_pool *pool; /* its own: keys */
	enum phase phase;
	struct entry *entries, *other;
	size_t count, cap;
	size_t at;    /* of the phase */
	size_t width; /* of the runs being merged; 0: there are none yet */
	struct ps_buf text, folded;
};

/* ---- keys ---------------------------------------------------------------------------------- */

/* What a key needs of a message; without a cache (the message is gone) texts are empty. */
struct source {
	struct ps_sort *sort;
	const struct ps_row *row;
	const struct ps_cache *cache; /* or NULL */
};

static int64_t arrival(const struct source *source)
{
	return source->row->internal_date;
}

static int64_t size(const struct source *source)
{
	return (int64_t)source->row->size;
}

/* RFC 5256 section 2.2. */
static int64_t sent(const struct source *source)
{
	int64_t time;
	int zone;

	if (source->cache && ps_cache_date(source->cache, &time, &zone) == 0)
		return time;
	return source->row->internal_date;
}

static void subject(const struct source *source, struct ps_buf *out)
{
	bool reply;

	ps_cache_base_subject(source->cache, out, &reply);
}

static void from(const struct source *source, struct ps_buf *out)
{
	ps_cache_first_address(source->cache, "From", false, out);
}

static void to(const struct source *source, struct ps_buf *out)
{
	ps_cache_first_address(source->cache, "To", false, out);
}

static void cc(const struct source *source, struct ps_buf *out)
{
	ps_cache_first_address(source->cache, "Cc", false, out);
}

static void display_from(const struct source *source, struct ps_buf *out)
{
	ps_cache_first_address(source->cache, "From", true, out);
}

static void display_to(const struct source *source, struct ps_buf *out)
{
	ps_cache_first_address(source->cache, "To", true, out);
}

static const struct kind {
	int64_t (*number)(const struct source *source);
	void (*text)(const struct source *source, struct ps_buf *out); /* UTF-8 */
	bool row;                                                      /* needs no cache */
} kinds[] = {
	[PS_SORT_ARRIVAL] = {arrival, NULL, true},
	[PS_SORT_SIZE] = {size, NULL, true},
	[PS_SORT_DATE] = {sent, NULL, false},
	[PS_SORT_SUBJECT] = {NULL, subject, false},
	[PS_SORT_FROM] = {NULL, from, false},
	[PS_SORT_TO] = {NULL, to, false},
	[PS_SORT_CC] = {NULL, cc, false},
	[PS_SORT_DISPLAYFROM] = {NULL, display_from, false},
	[PS_SORT_DISPLAYTO] = {NULL, display_to, false},
};

static bool needs_cache(const struct ps_sort *sort)
{
	for (size_t i = 0; i < sort->criterion_count; i++)
		if (!kinds[sort->criteria[i].key].row)
			return true;
	return false;
}

/* Whether octets were no text in the charset they were said to be in: they are U+FFFD by now. */
static bool is_broken(struct ps_bytes text)
{
	static const char replaced[] = "\xef\xbf\xbd";

	return text.len > 0 && memmem(text.ptr, text.len, replaced, sizeof replaced - 1);
}

/* What is broken comes last, behind an octet that UTF-8 does not have (RFC 5255 section 4.6). */
static struct ps_bytes text_key(struct ps_sort *sort, const struct source *source, const struct kind *kind)
{
	size_t len;

	ps_buf_reset(&sort->text);
	ps_buf_reset(&sort->folded);
	if (source->cache)
		kind->text(source, &sort->text);
	if (is_broken(ps_buf_view(&sort->text)))
		ps_buf_char(&sort->folded, '\xff');
	ps_casefold(ps_buf_view(&sort->text), &sort->folded);
	len = sort->folded.len < KEY_MAX ? sort->folded.len : KEY_MAX;
	return ps_bytes(ps_pool_memdup(sort->pool, sort->folded.ptr, len), len);
}

static int get_keys(struct ps_sort *sort, struct ps_reader *reader, struct entry *entry)
{
	struct source source = {.sort = sort, .row = ps_view_row(sort->view, entry->seq)};
	struct ps_cache cache;
	int r;

	if (reader) {
		if ((r = ps_reader_cache(reader, entry->uid, &cache)) == 0)
			source.cache = &cache;
		else if (r != PS_E_GONE)
			return r;
	}
	entry->keys = PS_NEWV(sort->pool, union key, sort->criterion_count);
	for (size_t i = 0; i < sort->criterion_count; i++) {
		const struct kind *kind = &kinds[sort->criteria[i].key];

		if (kind->number)
			entry->keys[i].number = kind->number(&source);
		else
			entry->keys[i].text = text_key(sort, &source, kind);
	}
	return 0;
}

/* ---- order --------------------------------------------------------------------------------- */

static int compare_texts(struct ps_bytes a, struct ps_bytes b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len ? memcmp(a.ptr, b.ptr, len) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_key(const struct ps_sort *sort, const struct entry *a, const struct entry *b, size_t i)
{
	const union key *x = &a->keys[i], *y = &b->keys[i];

	if (kinds[sort->criteria[i].key].number)
		return (x->number > y->number) - (x->number < y->number);
	return compare_texts(x->text, y->text);
}

static int compare(const struct ps_sort *sort, const struct entry *a, const struct entry *b)
{
	for (size_t i = 0; i < sort->criterion_count; i++) {
		int order = compare_key(sort, a, b, i);

		if (order)
			return sort->criteria[i].reverse ? -order : order;
	}
	return (a->seq > b->seq) - (a->seq < b->seq);
}

static void sort_run(const struct ps_sort *sort, struct entry *run, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct entry entry = run[i];
		size_t at = i;

		for (; at > 0 && compare(sort, &entry, &run[at - 1]) < 0; at--)
			run[at] = run[at - 1];
		run[at] = entry;
	}
}

/* Two runs from entries to other. */
static void merge(struct ps_sort *sort, size_t from_at, size_t middle, size_t end)
{
	size_t a = from_at, b = middle;

	for (size_t i = from_at; i < end; i++) {
		bool first = a < middle && (b == end || compare(sort, &sort->entries[a], &sort->entries[b]) <= 0);

		sort->other[i] = sort->entries[first ? a++ : b++];
	}
}

static size_t at_most(size_t n, size_t most)
{
	return n < most ? n : most;
}

/* One pair of runs, or one run. */
static void merge_step(struct ps_sort *sort)
{
	size_t width = sort->width ? sort->width : RUN;
	size_t middle = at_most(sort->at + width, sort->count);
	size_t end = sort->width ? at_most(middle + width, sort->count) : middle;

	if (sort->width)
		merge(sort, sort->at, middle, end);
	else
		sort_run(sort, sort->entries + sort->at, end - sort->at);
	sort->at = end;
	if (end < sort->count)
		return;
	sort->at = 0;
	if (sort->width) {
		struct entry *merged = sort->other;

		sort->other = sort->entries;
		sort->entries = merged;
	}
	sort->width = sort->width ? sort->width * 2 : RUN;
	if (sort->width >= sort->count)
		sort->phase = DONE;
}

/* ---- running ------------------------------------------------------------------------------- */

static int on_hit(void *arg, uint32_t seq, const struct ps_row *row)
{
	struct ps_sort *sort = arg;

	if (sort->count == sort->cap) {
		sort->cap = sort->cap ? sort->cap * 2 : 64;
		sort->entries = ps_realloc(sort->entries, sort->cap * sizeof *sort->entries);
	}
	sort->entries[sort->count++] = (struct entry){.seq = seq, .uid = row->uid};
	return 0;
}

static int search_step(struct ps_sort *sort, bool (*slice_over)(void *arg), void *arg)
{
	int r = ps_search_step(sort->search, slice_over, arg, on_hit, sort);

	if (r == 1)
		sort->phase = KEYS;
	return r < 0 ? r : 0;
}

static int keys_step(struct ps_sort *sort, bool (*slice_over)(void *arg), void *arg)
{
	struct ps_reader *reader = NULL;
	int r = 0;

	if (needs_cache(sort) && (r = ps_reader_open(sort->view, &reader)) < 0)
		return r;
	while (r == 0 && sort->at < sort->count) {
		r = get_keys(sort, reader, &sort->entries[sort->at++]);
		if (sort->at % 16 == 0 && slice_over && slice_over(arg))
			break;
	}
	ps_reader_close(reader);
	if (r < 0 || sort->at < sort->count)
		return r;
	sort->at = 0;
	sort->phase = sort->count ? MERGING : DONE;
	if (sort->count > RUN)
		sort->other = ps_malloc(sort->count * sizeof *sort->other);
	return 0;
}

static int merging_step(struct ps_sort *sort, bool (*slice_over)(void *arg), void *arg)
{
	do {
		merge_step(sort);
	} while (sort->phase == MERGING && !(slice_over && slice_over(arg)));
	return 0;
}

static int (*const steps[])(struct ps_sort *sort, bool (*slice_over)(void *arg), void *arg) = {
	[SEARCHING] = search_step,
	[KEYS] = keys_step,
	[MERGING] = merging_step,
};

struct ps_sort *ps_sort_create(struct ps_view *view, struct ps_pool *pool, const struct ps_search_node *root,
			       const struct ps_sort_criterion *criteria, size_t count)
{
	struct ps_sort *sort = ps_zalloc(sizeof *sort);

	sort->view = view;
	sort->criteria = criteria;
	sort->criterion_count = count;
	sort->search = ps_search_create(view, pool, root);
	sort->pool = ps_pool_create("sort");
	return sort;
}

int ps_sort_step(struct ps_sort *sort, bool (*slice_over)(void *arg), void *arg)
{
	while (sort->phase != DONE) {
		int r = steps[sort->phase](sort, slice_over, arg);

		if (r < 0)
			return r;
		if (sort->phase != DONE && slice_over && slice_over(arg))
			return 0;
	}
	return 1;
}

/* Half of it is finding the messages, half getting their keys; merging is quick. */
unsigned ps_sort_progress(const struct ps_sort *sort)
{
	uint32_t done, total;

	switch (sort->phase) {
	case SEARCHING:
		ps_search_progress(sort->search, &done, &total);
		return total ? (unsigned)(UINT64_C(50) * done / total) : 0;
	case KEYS: return 50 + (unsigned)(sort->count ? 49 * sort->at / sort->count : 0);
	default: return 99;
	}
}

size_t ps_sort_count(const struct ps_sort *sort)
{
	return sort->count;
}

void ps_sort_get(const struct ps_sort *sort, size_t at, uint32_t *ret_seq, uint32_t *ret_uid)
{
	*ret_seq = sort->entries[at].seq;
	*ret_uid = sort->entries[at].uid;
}

void ps_sort_destroy(struct ps_sort *sort)
{
	if (!sort)
		return;
	ps_search_destroy(sort->search);
	ps_pool_destroy(sort->pool);
	ps_buf_finish(&sort->text);
	ps_buf_finish(&sort->folded);
	free(sort->entries);
	free(sort->other);
	free(sort);
}
