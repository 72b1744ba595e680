/* SPDX-License-Identifier: MIT */
#include "protocols/imap/partial.h"
#include "protocols/imap/results.h"
#include "tests/unit.h"

static const struct {
	const char *partial, *all;
	const char *part; /* NULL: PS_E_SYNTAX */
} cases[] = {
	{"1:3", "5:9", "5:7"},
	{"3:1", "5:9", "5:7"},
	{"2:4", "1,3,5,7", "3,5,7"},
	{"2:4", "1:2,10:11,20", "2,10:11"},
	{"4:9", "1:5", "4:5"},
	{"5:5", "1:5", "5"},
	{"6:9", "1:5", ""},
	{"-1:-1", "1:5", "5"},
	{"-1:-3", "1,4,7,9", "4,7,9"},
	{"-3:-2", "1,4,7,9", "4,7"},
	{"-2:-100", "1:5", "1:4"},
	{"-6:-9", "1:5", ""},
	{"1:4294967295", "1:4294967295", "1:4294967295"},
	{"-1:-4294967295", "1:4294967295", "1:4294967295"},
	{"1:1", "", ""},
	{"-1:-1", "", ""},
	{"", "1:5", NULL},
	{"1", "1:5", NULL},
	{"1:", "1:5", NULL},
	{"0:1", "1:5", NULL},
	{"1:-1", "1:5", NULL},
	{"-1:1", "1:5", NULL},
	{"-0:-1", "1:5", NULL},
	{"--1:-1", "1:5", NULL},
	{"1:4294967296", "1:5", NULL},
	{"*:1", "1:5", NULL},
};

START_TEST(places_are_counted_from_either_end)
{
	struct imap_args args = imap_args(ps_bytes_str(cases[_i].partial));
	struct ps_pool *pool = ps_pool_create("test");
	struct imap_partial partial;
	struct ps_ranges part = {0};
	struct ps_set all = {0};
	struct ps_buf out = {0};
	int r = imap_partial_parse(&args, &partial);

	ck_assert_int_eq(r, cases[_i].part ? 0 : PS_E_SYNTAX);
	if (r == 0) {
		ck_assert(imap_args_done(&args));
		ck_assert_bytes_eq(partial.text, cases[_i].partial);
		if (cases[_i].all[0])
			ck_assert_ok(ps_set_parse(ps_bytes_str(cases[_i].all), 1, pool, &all));
		imap_partial_take(&partial, all.ranges, all.count, &part);
		ps_set_format(&out, part.ptr, part.count);
		ck_assert_str_eq(ps_buf_cstr(&out), cases[_i].part);
	}
	ps_ranges_finish(&part);
	ps_buf_finish(&out);
	ps_pool_destroy(pool);
}
END_TEST

static const struct {
	const char *text;
	int asked; /* -1: PS_E_SYNTAX */
	const char *rest;
} options[] = {
	{"ALL", 0, "ALL"},
	{"RETURN () ALL", IMAP_RETURN_ALL, "ALL"},
	{"return (min Max) ALL", IMAP_RETURN_MIN | IMAP_RETURN_MAX, "ALL"},
	{"RETURN (SAVE COUNT) x", IMAP_RETURN_SAVE | IMAP_RETURN_COUNT, "x"},
	{"RETURN (PARTIAL 1:2 MIN) x", IMAP_RETURN_PARTIAL | IMAP_RETURN_MIN, "x"},
	{"RETURN", -1, ""},
	{"RETURN ()", -1, ""},
	{"RETURN (MIN", -1, ""},
	{"RETURN (MIN MIN) x", -1, ""},
	{"RETURN (MIN ) x", -1, ""},
	{"RETURN (PARTIAL) x", -1, ""},
	{"RETURN (PARTIAL 1:2 ALL) x", -1, ""},
	{"RETURN (X) x", -1, ""},
	{"RETURN MIN x", -1, ""},
};

START_TEST(return_options_are_understood)
{
	struct imap_args args = imap_args(ps_bytes_str(options[_i].text));
	struct imap_results results = {0};
	int r = imap_results_parse(&args, &results);

	ck_assert_int_eq(r, options[_i].asked < 0 ? PS_E_SYNTAX : 0);
	if (r == 0) {
		ck_assert_int_eq((int)results.asked, options[_i].asked);
		ck_assert_bytes_eq(imap_args_rest(&args), options[_i].rest);
	}
}
END_TEST

START_TEST(cut_anywhere_they_are_read_to_the_cut_and_no_further)
{
	size_t len = strlen(options[_i].text);

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = ps_malloc(cut);
		struct imap_args args = imap_args(ps_bytes(memcpy(copy, options[_i].text, cut), cut));
		struct imap_results results = {0};
		int r = imap_results_parse(&args, &results);

		ck_assert(r == 0 || r == PS_E_SYNTAX);
		ck_assert(args.at <= copy + cut);
		ps_freep(&copy);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("imap results");
	TCase *tc = tcase_create("results");

	tcase_add_loop_test(tc, places_are_counted_from_either_end, 0, PS_ARRAY_LEN(cases));
	tcase_add_loop_test(tc, return_options_are_understood, 0, PS_ARRAY_LEN(options));
	tcase_add_loop_test(tc, cut_anywhere_they_are_read_to_the_cut_and_no_further, 0, PS_ARRAY_LEN(options));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
