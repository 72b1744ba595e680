/* SPDX-License-Identifier: MIT */
/* A message: its cache is sound, however it was cut, and what it says of sections can be read. */
#include <stdlib.h>
#include "postern/backend.h"
#include "postern/message.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static int count(void *arg, struct ps_bytes octets)
{
	*(uint64_t *)arg += octets.len;
	return 0;
}

struct reading {
	const struct ps_cache *cache;
	struct ps_body body;
	uint64_t size;
	unsigned left; /* sections to read, so that time stays in proportion */
};

static void read_span(struct reading *r, const struct ps_span *span)
{
	uint64_t n = 0;

	must(span->offset <= r->size && span->length <= r->size - span->offset);
	must(span->raw_offset <= r->body.length && span->raw_length <= r->body.length - span->raw_offset);
	r->left--;
	must(ps_body_read(&r->body, span, 0, UINT64_MAX, count, &n) == 0);
	must(n == span->length);
}

static int read_leaf(void *arg, const struct ps_part_info *info)
{
	struct reading *r = arg;
	struct ps_span span;

	if (r->left == 0)
		return 0;
	must(ps_cache_section(r->cache, info->part, info->depth, PS_SECTION_MIME, &span) == 0);
	read_span(r, &span);
	must(ps_cache_section(r->cache, info->part, info->depth, PS_SECTION_ALL, &span) == 0);
	read_span(r, &span);
	return 0;
}

static void use(const struct ps_cache *cache, struct ps_bytes text, uint64_t size)
{
	struct reading r = {.cache = cache,
			    .body = {.data = text.ptr ? text.ptr : (const uint8_t *)"", .fd = -1, .length = text.len},
			    .size = size,
			    .left = 65};
	struct ps_pool *pool = ps_pool_create("fuzz");
	struct ps_buf out = {0};
	struct ps_span span;

	must(ps_cache_section(cache, NULL, 0, PS_SECTION_ALL, &span) == 0);
	must(span.length == size);
	read_span(&r, &span);
	must(ps_cache_leaves(cache, pool, read_leaf, &r) == 0);
	must(ps_cache_body(cache, &out) == 0);
	ps_buf_finish(&out);
	ps_pool_destroy(pool);
}

static struct ps_derive *derive(struct ps_bytes text, size_t piece, uint64_t *ret_size, struct ps_bytes *ret_cache)
{
	struct ps_derive *d = ps_derive_create();

	while (text.len) {
		size_t n = piece < text.len ? piece : text.len;

		ps_derive_feed(d, ps_bytes(text.ptr, n));
		text = ps_bytes_skip(text, n);
	}
	ps_derive_finish(d, ret_size, ret_cache);
	return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? data[size - 1] % 16 + 1 : 1;
	struct ps_bytes text = ps_bytes(data, size), whole, cut;
	uint64_t whole_size, cut_size;
	struct ps_derive *a = derive(text, SIZE_MAX, &whole_size, &whole);
	struct ps_derive *b = derive(text, piece, &cut_size, &cut);
	struct ps_cache cache;

	must(whole_size == cut_size && ps_bytes_eq(whole, cut));
	must(ps_cache_open(&cache, whole) == 0);
	use(&cache, text, whole_size);
	ps_derive_destroy(a);
	ps_derive_destroy(b);
	return 0;
}
