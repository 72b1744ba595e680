/* SPDX-License-Identifier: MIT */
/* What the tests of core/message share: a message made into a cache, in one go or in pieces. */
#ifndef TESTS_MESSAGE_UNIT_H
#define TESTS_MESSAGE_UNIT_H

#include "postern/backend.h"
#include "postern/message.h"
#include "tests/unit.h"

struct derived {
	struct ps_derive *derive;
	uint64_t size;
	struct ps_cache cache;
};

/* Feeds `text` cut at `cut`; ends the test if the cache is not sound. */
static inline struct derived derive_cut(struct ps_bytes text, size_t cut)
{
	struct derived d = {.derive = ps_derive_create()};
	struct ps_bytes octets;

	ps_derive_feed(d.derive, ps_bytes(text.ptr, cut));
	ps_derive_feed(d.derive, ps_bytes_skip(text, cut));
	ps_derive_finish(d.derive, &d.size, &octets);
	ck_assert_ok(ps_cache_open(&d.cache, octets));
	return d;
}

static inline struct derived derive(const char *text)
{
	return derive_cut(ps_bytes_str(text), 0);
}

static inline void derived_finish(struct derived *d)
{
	ps_derive_destroy(d->derive);
}

/* Bare LFs become CRLF. */
static inline void to_crlf(struct ps_bytes text, struct ps_buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\n' && (i == 0 || text.ptr[i - 1] != '\r'))
			ps_buf_char(out, '\r');
		ps_buf_char(out, (char)text.ptr[i]);
	}
}

static inline int append_piece(void *arg, struct ps_bytes octets)
{
	return ps_buf_bytes((struct ps_buf *)arg, octets);
}

#define ck_assert_same_bytes(a, b)                                                                                     \
	do {                                                                                                           \
		struct ps_bytes ck_a = (a), ck_b = (b);                                                                \
		ck_assert_uint_eq(ck_a.len, ck_b.len);                                                                 \
		if (ck_a.len)                                                                                          \
			ck_assert_mem_eq(ck_a.ptr, ck_b.ptr, ck_a.len);                                                \
	} while (0)

/* Says what it got: a table of texts is no use without. */
#define ck_assert_text_eq(got, want)                                                                                   \
	do {                                                                                                           \
		struct ps_bytes ck_g = (got);                                                                          \
		ck_assert_msg(ps_bytes_eq_str(ck_g, (want)), "got  %.*s\nwant %s", (int)ck_g.len,                      \
			      (const char *)ck_g.ptr, (want));                                                         \
	} while (0)

#endif
