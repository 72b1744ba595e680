/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

static const struct {
	const char *name;
	size_t len;
} lengths[] = {{"1 octet", 1},
	       {"511 octets", 511},
	       {"4,096 octets", 4096},
	       {"20,000 octets", 20000},
	       {"300,000 octets", 300000}};

static struct ps_bytes opaque(struct kit *kit, size_t len)
{
	uint8_t *octets = ps_pool_alloc(kit->pool, len);

	for (size_t i = 0; i < len; i++)
		octets[i] = (uint8_t)pick(kit, 256);
	return ps_bytes(octets, len);
}

static int read_cache(struct kit *kit, uint32_t uid, struct ps_bytes *ret_cache)
{
	struct ps_read *read;
	int r;

	must_ok(kit->ops->read_begin(kit->store, &read));
	r = kit->ops->cache(read, kit->inbox, uid, ret_cache);
	if (r == 0) /* valid until read_end() */
		ret_cache->ptr = ps_pool_memdup(kit->pool, ret_cache->ptr, ret_cache->len);
	kit->ops->read_end(read);
	return r;
}

static void cache_must_be(struct kit *kit, uint32_t uid, struct ps_bytes cache)
{
	struct ps_bytes got;

	must_ok(read_cache(kit, uid, &got));
	must(ps_bytes_eq(got, cache), "the cache of UID %u has %zu octets that are not the %zu that were given", uid,
	     got.len, cache.len);
}

static uint32_t append_with(struct kit *kit, struct ps_bytes cache)
{
	struct ps_op_result result;
	struct ps_op op;

	kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	op.cache = cache;
	must_ok(kit_try(kit, kit->store, &op, &result));
	return result.new_uids[0].first;
}

static void given_back(struct kit *kit)
{
	struct ps_bytes cache;
	uint32_t uid;

	kit_begin(kit, 1);
	cache = opaque(kit, lengths[kit->row].len);
	uid = append_with(kit, cache);
	cache_must_be(kit, uid, cache);
	kit_end(kit);
}

/* Whether the backend kept it or not, it never gives another's. */
static void kept_or_missing(struct kit *kit, uint32_t uid, struct ps_bytes cache)
{
	struct ps_bytes got;
	int r = read_cache(kit, uid, &got);

	must(r == 0 || r == PS_E_NOTFOUND, "%s: %s", ps_err_name(r), ps_last_error());
	must(r != 0 || ps_bytes_eq(got, cache), "UID %u has another cache", uid);
}

static void over_changes(struct kit *kit)
{
	struct ps_bytes first, second;
	struct ps_op_result copied;

	kit_begin(kit, 0);
	first = opaque(kit, 100);
	second = opaque(kit, 200);
	append_with(kit, first);
	append_with(kit, second);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, PS_FLAG_SEEN, WORDS("word"));
	cache_must_be(kit, 1, first);
	copied = kit_copy(kit, kit->store, kit->inbox, UIDS(1, 1), kit->inbox, false);
	kept_or_missing(kit, copied.new_uids[0].first, first);
	kit_expunge(kit, kit->store, kit->inbox, UIDS(1, 1));
	cache_must_be(kit, 2, second);
	kit_again(kit);
	kept_or_missing(kit, 2, second);
	kit_end(kit);
}

static void put_later(struct kit *kit)
{
	struct ps_bytes cache = opaque(kit, 3000), got;
	uint32_t uid;
	int r;

	kit_begin(kit, 0);
	uid = append_with(kit, (struct ps_bytes){0});
	r = read_cache(kit, uid, &got);
	must(r == 0 || r == PS_E_NOTFOUND, "a missing cache: %s", ps_err_name(r));
	if (r == PS_E_NOTFOUND) {
		must_ok(kit->ops->cache_put(kit->inbox, uid, cache));
		kept_or_missing(kit, uid, cache);
	}
	kit_end(kit);
}

static void of_nothing(struct kit *kit)
{
	struct ps_bytes got;
	int r;

	kit_begin(kit, 2);
	kit_expunge(kit, kit->store, kit->inbox, UIDS(1, 1));
	r = read_cache(kit, 1, &got);
	must(r == PS_E_NOTFOUND || r == PS_E_GONE, "of an expunged message: %s", ps_err_name(r));
	must(kit->ops->cache_put(kit->inbox, 1, ps_bytes_str("cache")) <= 0, "it is positive");
	r = read_cache(kit, 1, &got);
	must(r == PS_E_NOTFOUND || r == PS_E_GONE, "of an expunged message that was given one: %s", ps_err_name(r));
	kit_end(kit);
}

static const struct check checks[] = {
	{"cache: what was given comes back", given_back, ROWS(lengths)},
	{"cache: stays with its message over flags, copies, expunges", over_changes},
	{"cache_put: a message that has none gets one", put_later},
	{"cache: an expunged message has none", of_nothing},
};
GROUP(caches, "caches: opaque octets beside a message", checks);
