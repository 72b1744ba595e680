/* SPDX-License-Identifier: MIT */
/* A cache block that may have been written by someone else: the checksum is made to fit, so that what is behind it is
 * tried. Whatever opens is safe to use. */
#include <stdlib.h>
#include "core/message/cache.h"
#include "tests/fuzz/fuzz.h"

static int look(void *arg, const struct ps_part_info *info)
{
	*(size_t *)arg += info->depth + strlen(info->type);
	return 0;
}

static int count(void *arg, struct ps_bytes octets)
{
	*(size_t *)arg += octets.len;
	return 0;
}

static void use_sections(const struct ps_cache *cache)
{
	static const uint8_t text[] = "Subject: x\n\nline\nline\r\n";
	static const uint32_t part[] = {1, 1, 2, 1};
	struct ps_body body = {.data = text, .fd = -1, .length = sizeof text - 1};
	struct ps_span span;
	size_t n = 0;

	for (size_t depth = 0; depth <= PS_ARRAY_LEN(part); depth++)
		for (int what = PS_SECTION_ALL; what <= PS_SECTION_MIME; what++)
			if (ps_cache_section(cache, part, depth, (enum ps_section)what, &span) == 0)
				ps_body_read(&body, &span, depth, 1000, count, &n);
}

static void use(const struct ps_cache *cache)
{
	const char *names[] = {"From", "Subject"};
	struct ps_pool *pool = ps_pool_create("fuzz");
	struct ps_buf out = {0};
	int64_t time;
	size_t n = 0;
	int zone;

	ps_buf_bytes(&out, ps_cache_envelope(cache));
	ps_buf_bytes(&out, ps_cache_bodystructure(cache));
	ps_cache_body(cache, &out);
	ps_cache_fields(cache, names, 2, &out);
	ps_cache_date(cache, &time, &zone);
	ps_cache_leaves(cache, pool, look, &n);
	use_sections(cache);
	ps_buf_finish(&out);
	ps_pool_destroy(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ps_cache cache;
	uint64_t sum;
	uint8_t *copy;

	if (size < CACHE_HEAD)
		return 0;
	copy = ps_malloc(size);
	memcpy(copy, data, size);
	for (int i = 0; i < 4; i++) {
		copy[i] = (uint8_t)((uint32_t)CACHE_MAGIC >> 8 * i);
		copy[4 + i] = (uint8_t)(size >> 8 * i);
	}
	sum = cache_checksum(ps_bytes(copy + 16, size - 16));
	for (int i = 0; i < 8; i++)
		copy[8 + i] = (uint8_t)(sum >> 8 * i);
	if (ps_cache_open(&cache, ps_bytes(copy, size)) == 0)
		use(&cache);
	free(copy);
	return 0;
}
