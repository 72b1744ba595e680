/* SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <signal.h>
#include "tests/scarce.h"
#include "tests/unit.h"

START_TEST(a_buffer_refuses_beyond_its_limit_and_stays_as_it_was)
{
	struct ps_buf buf = {.limit = 8};

	ck_assert_ok(ps_buf_str(&buf, "12345678"));
	ck_assert_int_eq(ps_buf_char(&buf, '9'), PS_E_LIMIT);
	ck_assert(buf.failed);
	ck_assert_bytes_eq(ps_buf_view(&buf), "12345678");
	ps_buf_finish(&buf);
}
END_TEST

START_TEST(appending_ends_at_the_limit_for_good)
{
	struct ps_buf buf = {.limit = 100};
	volatile size_t huge = SIZE_MAX; /* which a compiler would refuse to copy */

	ck_assert_ok(ps_buf_append(&buf, "", 0));
	for (int i = 0; i < 10; i++)
		ck_assert_ok(ps_buf_append(&buf, "0123456789", 10));
	ck_assert_uint_gt(buf.cap, buf.limit); /* room there is */
	ck_assert_ok(ps_buf_append(&buf, "", 0));
	ck_assert_int_eq(ps_buf_u64(&buf, 1), PS_E_LIMIT);
	buf.limit = 0;
	ck_assert_int_eq(ps_buf_char(&buf, '1'), PS_E_LIMIT);
	ck_assert_int_eq(ps_buf_append(&buf, "", 0), PS_E_LIMIT);
	ck_assert_uint_eq(buf.len, 100);
	ps_buf_reset(&buf);
	ck_assert_int_eq(ps_buf_append(&buf, "x", huge), PS_E_LIMIT);
	ps_buf_finish(&buf);
}
END_TEST

/* Around each power of ten and of two. */
START_TEST(numbers_are_printed_with_all_their_digits)
{
	struct ps_buf buf = {0};
	char expected[32];

	for (uint64_t base = 2; base <= 10; base += 8) {
		uint64_t power = 1;

		do {
			for (uint64_t n = power - 1; n != power + 2; n++) {
				snprintf(expected, sizeof expected, "%ju", (uintmax_t)n);
				ps_buf_reset(&buf);
				ck_assert_ok(ps_buf_u64(&buf, n));
				ck_assert_bytes_eq(ps_buf_view(&buf), expected);
			}
		} while (!__builtin_mul_overflow(power, base, &power));
	}
	ps_buf_reset(&buf);
	ck_assert_ok(ps_buf_u64(&buf, UINT64_MAX));
	ck_assert_bytes_eq(ps_buf_view(&buf), "18446744073709551615");
	ps_buf_finish(&buf);
}
END_TEST

START_TEST(a_large_buffer_with_a_limit_refuses_where_there_is_no_memory)
{
	struct ps_buf buf = {.limit = 1 << 20};
	const uint8_t *at;

	ps_buf_str(&buf, "before");
	scarce_begin(1, true);
	at = ps_buf_reserve(&buf, 100000);
	scarce_end();
	ck_assert_ptr_null(at);
	ck_assert(buf.failed);
	ck_assert_bytes_eq(ps_buf_view(&buf), "before");
	ps_buf_finish(&buf);
}
END_TEST

/* Of these nobody asks whether they have failed, or not what for. */
static const size_t limits[] = {0, 1000, 1 << 20};

START_TEST(any_other_buffer_ends_the_process_where_there_is_no_memory)
{
	struct ps_buf buf = {.limit = limits[_i]};

	scarce_begin(1, true);
	ps_buf_str(&buf, "cut short");
}
END_TEST

static const struct {
	const char *text;
	bool ok;
	uint64_t value;
} numbers[] = {
	{"0", true, 0},
	{"18446744073709551615", true, UINT64_MAX},
	{"18446744073709551616", false, 0},
	{"", false, 0},
	{"-1", false, 0},
	{"+1", false, 0},
	{" 1", false, 0},
	{"1 ", false, 0},
	{"99999999999999999999999", false, 0},
};

START_TEST(numbers_are_whole_and_do_not_overflow)
{
	uint64_t n = 7;
	int r = ps_bytes_u64(ps_bytes_str(numbers[_i].text), &n);

	ck_assert_int_eq(r, numbers[_i].ok ? 0 : PS_E_SYNTAX);
	ck_assert_uint_eq(n, numbers[_i].ok ? numbers[_i].value : 7);
}
END_TEST

/* RFC 4648 section 10 and what must be refused. */
static const struct {
	const char *plain, *coded;
} base64[] = {
	{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"},
};
static const char *const bad_base64[] = {
	"Z", "Zg=", "Zg", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm 9v", "Zm9v\n"};

START_TEST(base64_goes_both_ways)
{
	struct ps_buf out = {0}, back = {0};

	ck_assert_ok(ps_base64_encode(&out, ps_bytes_str(base64[_i].plain)));
	ck_assert_str_eq(ps_buf_cstr(&out), base64[_i].coded);
	ck_assert_ok(ps_base64_decode(&back, ps_buf_view(&out)));
	ck_assert_str_eq(ps_buf_cstr(&back), base64[_i].plain);
	ps_buf_finish(&out);
	ps_buf_finish(&back);
}
END_TEST

START_TEST(bad_base64_is_refused_and_leaves_nothing)
{
	struct ps_buf out = {0};

	ck_assert_int_eq(ps_base64_decode(&out, ps_bytes_str(bad_base64[_i])), PS_E_SYNTAX);
	ck_assert_uint_eq(out.len, 0);
	ps_buf_finish(&out);
}
END_TEST

static const struct {
	const char *text;
	bool valid;
} utf8[] = {
	{"plain", true},     {"\xc3\xa9", true},      {"\xf0\x9f\x93\xa7", true},  {"\xc3", false},
	{"\xc0\x80", false}, {"\xe0\x80\x80", false}, {"\xed\xa0\x80", false},     {"\xf4\x90\x80\x80", false},
	{"\xff", false},     {"a\x80", false},        {"\xf0\x8f\xbf\xbf", false},
};

START_TEST(utf8_is_what_rfc_3629_says)
{
	ck_assert_int_eq(ps_utf8_valid(ps_bytes_str(utf8[_i].text)), utf8[_i].valid);
}
END_TEST

START_TEST(a_pool_keeps_small_and_large_pieces_apart)
{
	struct ps_pool *pool = ps_pool_create("test");
	char *small = ps_pool_strdup(pool, "small");
	char *large = ps_pool_zalloc(pool, 100000);
	char *text = ps_pool_printf(pool, "%s-%d", "n", 42);

	memset(large, 'x', 100000);
	ck_assert_str_eq(small, "small");
	ck_assert_str_eq(text, "n-42");
	ps_pool_reset(pool);
	ck_assert_uint_eq(ps_pool_used(pool), 0);
	ps_pool_destroy(pool);
}
END_TEST

/* Under a sanitizer always the same. */
static size_t octets_allocated(void)
{
	return mallinfo2().uordblks + mallinfo2().hblkhd;
}

START_TEST(a_pool_that_is_reset_gives_large_memory_back)
{
	struct ps_pool *pool = ps_pool_create("test");
	size_t before = octets_allocated();

	ps_pool_strdup(pool, "small");
	ps_pool_zalloc(pool, 1000000);
	ps_pool_reset(pool);
	ck_assert_uint_lt(octets_allocated(), before + 4096);
	ps_pool_destroy(pool);
}
END_TEST

START_TEST(a_pool_takes_little_for_little_and_grows)
{
	struct ps_pool *pool = ps_pool_create("test");
	size_t before = octets_allocated();
	char *pieces[1000];

	ps_pool_strdup(pool, "small");
	ck_assert_uint_lt(octets_allocated(), before + 1024);
	for (size_t i = 0; i < PS_ARRAY_LEN(pieces); i++)
		memset(pieces[i] = ps_pool_alloc(pool, i * 7), (int)i, i * 7);
	for (size_t i = 0; i < PS_ARRAY_LEN(pieces); i++)
		for (size_t j = 0; j < i * 7; j++)
			ck_assert_int_eq(pieces[i][j], (char)i);
	ps_pool_destroy(pool);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *tc = tcase_create("buf");

	tcase_add_test(tc, a_buffer_refuses_beyond_its_limit_and_stays_as_it_was);
	tcase_add_test(tc, appending_ends_at_the_limit_for_good);
	tcase_add_test(tc, numbers_are_printed_with_all_their_digits);
	tcase_add_test(tc, a_large_buffer_with_a_limit_refuses_where_there_is_no_memory);
	tcase_add_loop_test_raise_signal(tc, any_other_buffer_ends_the_process_where_there_is_no_memory, SIGABRT, 0,
					 PS_ARRAY_LEN(limits));
	tcase_add_loop_test(tc, numbers_are_whole_and_do_not_overflow, 0, PS_ARRAY_LEN(numbers));
	tcase_add_loop_test(tc, base64_goes_both_ways, 0, PS_ARRAY_LEN(base64));
	tcase_add_loop_test(tc, bad_base64_is_refused_and_leaves_nothing, 0, PS_ARRAY_LEN(bad_base64));
	tcase_add_loop_test(tc, utf8_is_what_rfc_3629_says, 0, PS_ARRAY_LEN(utf8));
	tcase_add_test(tc, a_pool_keeps_small_and_large_pieces_apart);
	tcase_add_test(tc, a_pool_that_is_reset_gives_large_memory_back);
	tcase_add_test(tc, a_pool_takes_little_for_little_and_grows);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
