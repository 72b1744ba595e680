/* SPDX-License-Identifier: MIT */
#include "core/store/set.h"
#include "tests/unit.h"

static const struct {
	const char *text;
	uint32_t star;
	const char *set; /* sorted and merged; NULL: PS_E_SYNTAX */
} sets[] = {
	{"1", 9, "1"},
	{"1:3,7,*", 9, "1:3,7,9"},
	{"3:1", 9, "1:3"},
	{"*:4", 9, "4:9"},
	{"*:12", 9, "9:12"},
	{"5,4,3", 9, "3:5"},
	{"1:5,2:3", 9, "1:5"},
	{"1:5,6:7,9", 9, "1:7,9"},
	{"4294967295", 9, "4294967295"},
	{"4294967294:4294967295,1:*", UINT32_MAX, "1:4294967295"},
	{"*", 0, ""}, /* an empty mailbox */
	{"3:*", 0, "1:3"},
	{"*:*", 0, ""},
	{"", 9, NULL},
	{",", 9, NULL},
	{"1,", 9, NULL},
	{"1:", 9, NULL},
	{":1", 9, NULL},
	{"0", 9, NULL},
	{"0:3", 9, NULL},
	{"01", 9, NULL},
	{"1:2:3", 9, NULL},
	{"-1", 9, NULL},
	{"1 ", 9, NULL},
	{"**", 9, NULL},
	{"4294967296", 9, NULL},
	{"$", 9, NULL},
};

START_TEST(sets_are_parsed_sorted_and_merged)
{
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_buf out = {0};
	struct ps_set set = {0};
	int r = ps_set_parse(ps_bytes_str(sets[_i].text), sets[_i].star, pool, &set);

	ck_assert_int_eq(r, sets[_i].set ? 0 : PS_E_SYNTAX);
	ps_set_format(&out, set.ranges, set.count);
	ck_assert_str_eq(ps_buf_cstr(&out), sets[_i].set ? sets[_i].set : "");
	ps_buf_finish(&out);
	ps_pool_destroy(pool);
}
END_TEST

START_TEST(a_set_has_ten_thousand_ranges_at_most)
{
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_buf text = {0};
	struct ps_set set;

	for (unsigned i = 10000; i > 0; i--)
		ps_buf_printf(&text, "%s%u", i == 10000 ? "" : ",", i * 2);
	ck_assert_ok(ps_set_parse(ps_buf_view(&text), 1, pool, &set));
	ck_assert_uint_eq(set.count, 10000);
	ck_assert_uint_eq(set.ranges[0].first, 2);
	ps_buf_str(&text, ",1");
	ck_assert_int_eq(ps_set_parse(ps_buf_view(&text), 1, pool, &set), PS_E_LIMIT);
	ps_buf_finish(&text);
	ps_pool_destroy(pool);
}
END_TEST

START_TEST(formatting_keeps_the_order_given)
{
	static const struct ps_range ranges[] = {{7, 9}, {3, 3}, {1, 2}};
	struct ps_buf out = {0};

	ps_set_format(&out, ranges, PS_ARRAY_LEN(ranges));
	ck_assert_str_eq(ps_buf_cstr(&out), "7:9,3,1:2");
	ps_buf_finish(&out);
}
END_TEST

START_TEST(membership_is_that_of_the_ranges)
{
	static const struct ps_range ranges[] = {{2, 3}, {5, 5}, {8, UINT32_MAX}};
	static const struct {
		uint32_t n;
		bool has;
	} members[] = {{1, false}, {2, true},  {3, true}, {4, false},
		       {5, true},  {7, false}, {8, true}, {UINT32_MAX, true}};

	for (size_t i = 0; i < PS_ARRAY_LEN(members); i++)
		ck_assert_int_eq(ps_ranges_has(ranges, PS_ARRAY_LEN(ranges), members[i].n), members[i].has);
	ck_assert(!ps_ranges_has(NULL, 0, 1));
}
END_TEST

static const struct {
	const char *a, *b, *difference;
} differences[] = {
	{"1:10", "3,5:6", "1:2,4,7:10"},
	{"1:10", "1:10", ""},
	{"1:3,5:7,9", "2:5,9:20", "1,6:7"},
	{"1:2,4:5,7:8", "1:8", ""},
	{"5:6", "1:4,7:9", "5:6"},
	{"1,3,5", "*", "1,3,5"},
	{"1:4294967295", "2:4294967294", "1,4294967295"},
	{"1:4294967295", "4294967295", "1:4294967294"},
};

START_TEST(a_difference_is_what_only_the_first_has)
{
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_ranges ranges = {0};
	struct ps_buf out = {0};
	struct ps_set a, b, none = {0}, got;

	ck_assert_ok(ps_set_parse(ps_bytes_str(differences[_i].a), 99, pool, &a));
	ck_assert_ok(ps_set_parse(ps_bytes_str(differences[_i].b), 99, pool, &b));
	ps_ranges_add_difference(&ranges, &a, &b);
	got = ps_ranges_to_set(&ranges, pool);
	ps_set_format(&out, got.ranges, got.count);
	ck_assert_str_eq(ps_buf_cstr(&out), differences[_i].difference);
	ps_ranges_add_difference(&ranges, &a, &none);
	ck_assert_uint_eq(ranges.count, a.count);
	ps_ranges_finish(&ranges);
	ps_ranges_add_difference(&ranges, &none, &a);
	ck_assert_uint_eq(ranges.count, 0);
	ps_buf_finish(&out);
	ps_pool_destroy(pool);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("set");
	TCase *tc = tcase_create("set");

	tcase_add_loop_test(tc, sets_are_parsed_sorted_and_merged, 0, PS_ARRAY_LEN(sets));
	tcase_add_test(tc, a_set_has_ten_thousand_ranges_at_most);
	tcase_add_test(tc, formatting_keeps_the_order_given);
	tcase_add_test(tc, membership_is_that_of_the_ranges);
	tcase_add_loop_test(tc, a_difference_is_what_only_the_first_has, 0, PS_ARRAY_LEN(differences));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
