/* SPDX-License-Identifier: MIT */
#include <zlib.h>
#include "core/net/compress.h"
#include "tests/unit.h"

/* Some octets that can be compressed and some that cannot. */
static void make_text(struct ps_buf *text, size_t len)
{
	uint32_t state = 12345;

	while (text->len < len) {
		state = state * 1664525 + 1013904223;
		if (state >> 30)
			ps_buf_str(text, "* 1 FETCH (FLAGS (\\Seen))\r\n");
		else
			ps_buf_append(text, &state, sizeof state);
	}
	text->len = len;
}

static void move_ready(struct deflater *deflater, struct ps_buf *wire)
{
	struct ps_bytes ready = deflater_ready(deflater);

	ps_buf_bytes(wire, ready);
	deflater_sent(deflater, ready.len);
	ck_assert_uint_eq(deflater_ready(deflater).len, 0);
}

/* All that can be had now, `step` octets at a time. */
static int take_all(struct inflater *inflater, size_t step, struct ps_buf *out)
{
	uint8_t room[4096];
	ssize_t n;

	while ((n = inflater_take(inflater, room, step)) > 0)
		ps_buf_append(out, room, (size_t)n);
	return (int)n;
}

START_TEST(what_was_fed_can_be_read_after_a_sync_and_a_rest)
{
	struct deflater *deflater = deflater_create(6);
	struct inflater *inflater = inflater_create();
	struct ps_buf text = {0}, wire = {0}, got = {0};

	make_text(&text, 200000);
	for (size_t at = 0, n = 1; at < text.len; at += n, n = n * 3 + 1) {
		size_t left = text.len - at;

		n = n < left ? n : left;
		ck_assert_ok(deflater_feed(deflater, ps_bytes(text.ptr + at, n)));
		ck_assert(deflater_is_dirty(deflater));
		deflater_rest(deflater); /* not while something is not readable */
		ck_assert_ok(deflater_sync(deflater));
		ck_assert(!deflater_is_dirty(deflater));
		move_ready(deflater, &wire);
		ck_assert_ok(inflater_put(inflater, ps_buf_view(&wire)));
		ps_buf_reset(&wire);
		ck_assert_ok(take_all(inflater, 1000, &got));
		ck_assert_uint_eq(got.len, at + n);
		ck_assert(!inflater_has_more(inflater));
		if (n & 1)
			deflater_rest(deflater);
		inflater_rest(inflater);
		inflater_rest(inflater);
	}
	ck_assert_mem_eq(got.ptr, text.ptr, text.len);
	ps_buf_finish(&text);
	ps_buf_finish(&wire);
	ps_buf_finish(&got);
	deflater_destroy(deflater);
	inflater_destroy(inflater);
}
END_TEST

/* As a client of another make writes it: the whole window, and any way of flushing. */
static void deflate_text(struct ps_bytes text, int level, int flush, struct ps_buf *wire)
{
	z_stream z = {0};

	ck_assert_int_eq(deflateInit2(&z, level, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (uint8_t *)(uintptr_t)text.ptr;
	z.avail_in = (uInt)text.len;
	z.avail_out = (uInt)text.len + 1000;
	z.next_out = ps_buf_reserve(wire, z.avail_out);
	deflate(&z, flush);
	wire->len = z.total_out;
	deflateEnd(&z);
}

static const struct {
	int level, flush;
	bool ends;
	bool whole; /* it comes to the end of an octet */
} streams[] = {
	{0, Z_SYNC_FLUSH, false, true}, {1, Z_SYNC_FLUSH, false, true},     {9, Z_SYNC_FLUSH, false, true},
	{6, Z_FULL_FLUSH, false, true}, {6, Z_PARTIAL_FLUSH, false, false}, {6, Z_BLOCK, false, false},
	{6, Z_FINISH, true, true},
};

START_TEST(input_is_inflated_however_it_is_cut)
{
	struct ps_buf text = {0}, wire = {0};

	make_text(&text, 600);
	deflate_text(ps_buf_view(&text), streams[_i].level, streams[_i].flush, &wire);
	for (size_t cut = 0; cut <= wire.len; cut++) {
		struct inflater *inflater = inflater_create();
		struct ps_buf got = {0};

		ck_assert_ok(inflater_put(inflater, ps_bytes(wire.ptr, cut)));
		ck_assert_ok(take_all(inflater, 7, &got));
		ck_assert_int_eq(inflater_has_ended(inflater), streams[_i].ends && cut == wire.len);
		inflater_rest(inflater); /* wherever it stands */
		ck_assert_ok(inflater_put(inflater, ps_bytes(wire.ptr + cut, wire.len - cut)));
		ck_assert_ok(take_all(inflater, 7, &got));
		ck_assert_int_eq(inflater_has_ended(inflater), streams[_i].ends);
		if (streams[_i].flush != Z_BLOCK) /* which may keep some bits back */
			ck_assert_uint_eq(got.len, text.len);
		ck_assert_mem_eq(got.ptr, text.ptr, got.len);
		ck_assert(!inflater_has_more(inflater));
		inflater_destroy(inflater);
		ps_buf_finish(&got);
	}
	ps_buf_finish(&text);
	ps_buf_finish(&wire);
}
END_TEST

/* The line, its end, and what is not compressed behind it, cut at every octet. */
START_TEST(a_stream_ends_where_it_ends)
{
	static const char line[] = "a UNAUTHENTICATE\r\n", plain[] = "b LOGIN x y\r\n";
	struct ps_buf wire = {0};
	size_t end;

	if (!streams[_i].whole)
		return;
	deflate_text(ps_bytes_str(line), streams[_i].level, streams[_i].flush, &wire);
	end = wire.len;
	ps_buf_str(&wire, plain);
	for (size_t cut = 0; cut <= wire.len; cut++) {
		struct inflater *inflater = inflater_create();
		struct ps_bytes rest = {0};
		uint8_t room[100];
		size_t had = 0;
		ssize_t n;
		int r;

		/* As a session does: no more than the line. */
		ck_assert_ok(inflater_put(inflater, ps_bytes(wire.ptr, cut)));
		while (had < strlen(line) && (n = inflater_take(inflater, room + had, sizeof room - had)) > 0)
			had += (size_t)n;
		r = had == strlen(line) ? inflater_end(inflater, &rest) : 0;
		ck_assert_int_eq(r, cut >= end);
		ck_assert_ok(inflater_put(inflater, ps_bytes(wire.ptr + cut, wire.len - cut)));
		while (had < strlen(line) && (n = inflater_take(inflater, room + had, sizeof room - had)) > 0)
			had += (size_t)n;
		ck_assert_mem_eq(room, line, strlen(line));
		ck_assert_int_eq(inflater_end(inflater, &rest), 1);
		ck_assert_bytes_eq(rest, plain);
		inflater_destroy(inflater);
	}
	ps_buf_finish(&wire);
}
END_TEST

START_TEST(a_stream_that_goes_on_has_no_end)
{
	struct inflater *inflater = inflater_create();
	struct ps_buf wire = {0};
	struct ps_bytes rest;
	uint8_t room[3];

	deflate_text(ps_bytes_str("a\r\nb\r\n"), 6, Z_SYNC_FLUSH, &wire);
	ck_assert_ok(inflater_put(inflater, ps_buf_view(&wire)));
	ck_assert_int_eq(inflater_take(inflater, room, sizeof room), 3);
	ck_assert_int_eq(inflater_end(inflater, &rest), PS_E_SYNTAX);
	inflater_destroy(inflater);
	ps_buf_finish(&wire);
}
END_TEST

START_TEST(what_is_sent_ends_with_an_end)
{
	struct deflater *deflater = deflater_create(6);
	struct inflater *inflater = inflater_create();
	struct ps_buf wire = {0}, got = {0};

	ck_assert_ok(deflater_feed(deflater, ps_bytes_str("u OK\r\n")));
	ck_assert(!deflater_has_ended(deflater));
	ck_assert_ok(deflater_end(deflater));
	ck_assert(deflater_has_ended(deflater));
	ck_assert(!deflater_is_dirty(deflater));
	move_ready(deflater, &wire);
	ck_assert_ok(inflater_put(inflater, ps_buf_view(&wire)));
	ck_assert_ok(take_all(inflater, 100, &got));
	ck_assert(inflater_has_ended(inflater));
	ck_assert_bytes_eq(ps_buf_view(&got), "u OK\r\n");
	ps_buf_finish(&wire);
	ps_buf_finish(&got);
	deflater_destroy(deflater);
	inflater_destroy(inflater);
}
END_TEST

START_TEST(a_bomb_comes_out_in_steps)
{
	enum {
		SIZE = 20 * 1000 * 1000
	};
	struct inflater *inflater = inflater_create();
	struct ps_bytes zeros = {ps_zalloc(SIZE), SIZE};
	struct ps_buf wire = {0};
	uint8_t room[1000];
	uint64_t total = 0;
	ssize_t n;

	deflate_text(zeros, 9, Z_SYNC_FLUSH, &wire);
	ck_assert_uint_lt(wire.len, SIZE / 900);
	ck_assert_ok(inflater_put(inflater, ps_buf_view(&wire)));
	while ((n = inflater_take(inflater, room, sizeof room)) > 0) {
		ck_assert_uint_le((size_t)n, sizeof room);
		total += (uint64_t)n;
		ck_assert(total == SIZE || inflater_has_more(inflater));
	}
	ck_assert_uint_eq(total, SIZE);
	inflater_destroy(inflater);
	ps_buf_finish(&wire);
	free((void *)(uintptr_t)zeros.ptr);
}
END_TEST

static const char *const no_streams[] = {"a1 NOOP\r\n", "\x07", "\xff\xff\xff", "\x78\x9c\x63\x60\x60"};

START_TEST(what_is_not_deflate_is_refused)
{
	struct inflater *inflater = inflater_create();
	struct ps_buf out = {0};

	ck_assert_ok(inflater_put(inflater, ps_bytes_str(no_streams[_i])));
	ck_assert_int_eq(take_all(inflater, 1000, &out), PS_E_SYNTAX);
	inflater_rest(inflater);
	inflater_destroy(inflater);
	ps_buf_finish(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("compress");
	TCase *tc = tcase_create("compress");

	tcase_add_test(tc, what_was_fed_can_be_read_after_a_sync_and_a_rest);
	tcase_add_loop_test(tc, input_is_inflated_however_it_is_cut, 0, PS_ARRAY_LEN(streams));
	tcase_add_loop_test(tc, a_stream_ends_where_it_ends, 0, PS_ARRAY_LEN(streams));
	tcase_add_test(tc, a_stream_that_goes_on_has_no_end);
	tcase_add_test(tc, what_is_sent_ends_with_an_end);
	tcase_add_test(tc, a_bomb_comes_out_in_steps);
	tcase_add_loop_test(tc, what_is_not_deflate_is_refused, 0, PS_ARRAY_LEN(no_streams));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
