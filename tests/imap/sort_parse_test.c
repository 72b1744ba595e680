/* SPDX-License-Identifier: MIT */
#include "protocols/imap/sort_parse.h"
#include "tests/unit.h"

static const struct {
	const char *text;
	int error;
	size_t count;
	enum ps_sort_key last;
	bool reverse;
} cases[] = {
	{"(ARRIVAL)", 0, 1, PS_SORT_ARRIVAL, false},
	{"(reverse date)", 0, 1, PS_SORT_DATE, true},
	{"(SUBJECT REVERSE SIZE)", 0, 2, PS_SORT_SIZE, true},
	{"(REVERSE CC FROM TO DisplayFrom DISPLAYTO)", 0, 5, PS_SORT_DISPLAYTO, false},
	{"(SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE DATE)", 0, 16, PS_SORT_DATE,
	 false},
	{.text = "(SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE)",
	 .error = PS_E_LIMIT},
	{.text = "", .error = PS_E_SYNTAX},
	{.text = "()", .error = PS_E_SYNTAX},
	{.text = "( DATE)", .error = PS_E_SYNTAX},
	{.text = "(DATE )", .error = PS_E_SYNTAX},
	{.text = "(DATE  SIZE)", .error = PS_E_SYNTAX},
	{.text = "(REVERSE)", .error = PS_E_SYNTAX},
	{.text = "(REVERSE REVERSE DATE)", .error = PS_E_SYNTAX},
	{.text = "(REVERSEDATE)", .error = PS_E_SYNTAX},
	{.text = "(\"DATE\")", .error = PS_E_SYNTAX},
	{.text = "(DATES)", .error = PS_E_SYNTAX},
	{.text = "DATE", .error = PS_E_SYNTAX},
	{.text = "((DATE))", .error = PS_E_SYNTAX},
};

START_TEST(criteria_are_understood)
{
	struct imap_args args = imap_args(ps_bytes_str(cases[_i].text));
	struct imap_sort_criteria criteria;

	ck_assert_int_eq(imap_sort_criteria_parse(&args, &criteria), cases[_i].error);
	if (cases[_i].error)
		return;
	ck_assert(imap_args_done(&args));
	ck_assert_uint_eq(criteria.count, cases[_i].count);
	ck_assert_int_eq((int)criteria.list[criteria.count - 1].key, (int)cases[_i].last);
	ck_assert_int_eq(criteria.list[criteria.count - 1].reverse, cases[_i].reverse);
}
END_TEST

START_TEST(cut_anywhere_they_are_refused)
{
	size_t len = strlen(cases[_i].text);

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = ps_malloc(cut);
		struct imap_args args = imap_args(ps_bytes(memcpy(copy, cases[_i].text, cut), cut));
		struct imap_sort_criteria criteria;

		ck_assert_int_lt(imap_sort_criteria_parse(&args, &criteria), 0);
		ck_assert_uint_le(criteria.count, IMAP_SORT_CRITERIA_MAX);
		ps_freep(&copy);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("imap sort criteria");
	TCase *tc = tcase_create("criteria");

	tcase_add_loop_test(tc, criteria_are_understood, 0, PS_ARRAY_LEN(cases));
	tcase_add_loop_test(tc, cut_anywhere_they_are_refused, 0, PS_ARRAY_LEN(cases));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
