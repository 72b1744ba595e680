/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/store/set.h"

enum {
	SET_MAX_RANGES = 10000
};

static int by_first(const void *a, const void *b)
{
	const struct ps_range *left = a, *right = b;

	return left->first < right->first ? -1 : left->first > right->first;
}

size_t ps_ranges_normalise(struct ps_range *ranges, size_t count)
{
	size_t n = 0;

	if (count == 0)
		return 0;
	qsort(ranges, count, sizeof *ranges, by_first);
	for (size_t i = 1; i < count; i++) {
		if (ranges[n].last != UINT32_MAX && ranges[i].first > ranges[n].last + 1)
			ranges[++n] = ranges[i];
		else if (ranges[i].last > ranges[n].last)
			ranges[n].last = ranges[i].last;
	}
	return n + 1;
}

bool ps_ranges_has(const struct ps_range *ranges, size_t count, uint32_t n)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges[middle].last < n)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && ranges[low].first <= n;
}

void ps_ranges_finish(struct ps_ranges *ranges)
{
	free(ranges->ptr);
	*ranges = (struct ps_ranges){0};
}

void ps_ranges_add(struct ps_ranges *ranges, struct ps_range range)
{
	struct ps_range *last = ranges->count ? &ranges->ptr[ranges->count - 1] : NULL;

	if (last && last->last != UINT32_MAX && range.first == last->last + 1) {
		last->last = range.last;
		return;
	}
	if (ranges->count == ranges->cap) {
		ranges->cap = ranges->cap ? ranges->cap * 2 : 16;
		ranges->ptr = ps_realloc(ranges->ptr, ranges->cap * sizeof *ranges->ptr);
	}
	ranges->ptr[ranges->count++] = range;
}

void ps_ranges_sort(struct ps_ranges *ranges)
{
	ranges->count = ps_ranges_normalise(ranges->ptr, ranges->count);
}

void ps_ranges_add_difference(struct ps_ranges *ranges, const struct ps_set *a, const struct ps_set *b)
{
	size_t j = 0;

	for (size_t i = 0; i < a->count; i++) {
		uint64_t from = a->ranges[i].first, last = a->ranges[i].last;

		while (j < b->count && b->ranges[j].last < from)
			j++;
		/* The last of these may reach into the next range of `a`, and is looked at again. */
		for (; j < b->count && b->ranges[j].first <= last; j++) {
			if (b->ranges[j].first > from)
				ps_ranges_add(ranges, (struct ps_range){(uint32_t)from, b->ranges[j].first - 1});
			from = (uint64_t)b->ranges[j].last + 1;
			if (from > last)
				break;
		}
		if (from <= last)
			ps_ranges_add(ranges, (struct ps_range){(uint32_t)from, (uint32_t)last});
	}
}

struct ps_set ps_ranges_to_set(struct ps_ranges *ranges, struct ps_pool *pool)
{
	struct ps_set set = {ps_pool_memdup(pool, ranges->ptr, ranges->count * sizeof *ranges->ptr), ranges->count};

	ps_ranges_finish(ranges);
	return set;
}

/* nz-number or "*"; `text` is moved behind it. */
static int parse_number(struct ps_bytes *text, uint32_t star, uint32_t *ret_n)
{
	size_t len = 0;
	int r;

	if (text->len > 0 && text->ptr[0] == '*') {
		*text = ps_bytes_skip(*text, 1);
		*ret_n = star;
		return 0;
	}
	while (len < text->len && ps_isdigit(text->ptr[len]))
		len++;
	if (len == 0 || text->ptr[0] == '0')
		return ps_fail(PS_E_SYNTAX, "a set of numbers: a number is missing or starts with 0");
	if ((r = ps_bytes_u32(ps_bytes(text->ptr, len), ret_n)) < 0)
		return r;
	*text = ps_bytes_skip(*text, len);
	return 0;
}

static int parse_range(struct ps_bytes *text, uint32_t star, struct ps_range *ret_range)
{
	uint32_t a, b;
	int r;

	if ((r = parse_number(text, star, &a)) < 0)
		return r;
	b = a;
	if (text->len > 0 && text->ptr[0] == ':') {
		*text = ps_bytes_skip(*text, 1);
		if ((r = parse_number(text, star, &b)) < 0)
			return r;
	}
	*ret_range = a < b ? (struct ps_range){a, b} : (struct ps_range){b, a};
	return 0;
}

/* "*" of an empty mailbox is 0, which no message has. */
static void add_from_one(struct ps_ranges *ranges, struct ps_range range)
{
	if (range.last == 0)
		return;
	if (range.first == 0)
		range.first = 1;
	ps_ranges_add(ranges, range);
}

static int parse_set(struct ps_bytes text, uint32_t star, struct ps_ranges *ranges)
{
	for (size_t n = 0;; n++) {
		struct ps_range range;
		int r;

		if (n == SET_MAX_RANGES)
			return ps_fail(PS_E_LIMIT, "a set of more than %d ranges", SET_MAX_RANGES);
		if ((r = parse_range(&text, star, &range)) < 0)
			return r;
		add_from_one(ranges, range);
		if (text.len == 0)
			return 0;
		if (text.ptr[0] != ',')
			return ps_fail(PS_E_SYNTAX, "a set of numbers: octet 0x%02X", text.ptr[0]);
		text = ps_bytes_skip(text, 1);
	}
}

int ps_set_parse(struct ps_bytes text, uint32_t star, struct ps_pool *pool, struct ps_set *ret_set)
{
	struct ps_ranges ranges = {0};
	int r = parse_set(text, star, &ranges);

	ps_ranges_sort(&ranges);
	if (r == 0)
		*ret_set = ps_ranges_to_set(&ranges, pool);
	ps_ranges_finish(&ranges);
	return r;
}

void ps_set_format(struct ps_buf *out, const struct ps_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			ps_buf_char(out, ',');
		ps_buf_u64(out, ranges[i].first);
		if (ranges[i].last != ranges[i].first) {
			ps_buf_char(out, ':');
			ps_buf_u64(out, ranges[i].last);
		}
	}
}
