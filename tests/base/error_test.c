/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include "tests/unit.h"

static const struct {
	int error;
	int code;
	bool no_room;
} calls[] = {
	{ENOSPC, PS_E_FULL, true},      {EDQUOT, PS_E_QUOTA, true},   {EIO, PS_E_STORAGE, false},
	{ENOENT, PS_E_NOTFOUND, false}, {EEXIST, PS_E_EXISTS, false}, {EACCES, PS_E_ACCESS, false},
	{EMFILE, PS_E_SCARCE, false},   {ENOMEM, PS_E_SCARCE, false},
};

START_TEST(a_failed_call_is_something_to_act_on)
{
	errno = calls[_i].error;
	int r = ps_fail_errno("open %s", "x");

	ck_assert_int_eq(r, calls[_i].code);
	ck_assert_int_eq(ps_no_room(r), calls[_i].no_room);
	ck_assert_ptr_nonnull(strstr(ps_last_error(), strerror(calls[_i].error)));
}
END_TEST

START_TEST(the_last_sentence_may_be_a_part_of_the_next)
{
	ps_fail(PS_E_STORAGE, "inner");
	ps_fail(PS_E_STORAGE, "outer: %s", ps_last_error());
	ck_assert_str_eq(ps_last_error(), "outer: inner");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("errors");
	TCase *tcase = tcase_create("errors");

	tcase_add_loop_test(tcase, a_failed_call_is_something_to_act_on, 0, (int)PS_ARRAY_LEN(calls));
	tcase_add_test(tcase, the_last_sentence_may_be_a_part_of_the_next);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
