/* SPDX-License-Identifier: MIT */
#include "tests/store/user.h"

static const char message[] = "Subject: x\r\n\r\nbody\r\n";

static struct ps_user *user;
static struct ps_view *view;
static struct ps_pool *pool;
static uint64_t marks[4]; /* mod-sequences: at first; after 2 and 3 went; after 7 went; after a flag */

static void expunge(const char *uids)
{
	struct ps_flag_change deleted = {PS_FLAGS_ADD, PS_FLAG_DELETED, NULL, UINT64_MAX};
	struct ps_op_result result;
	struct ps_set set;

	ck_assert_ok(ps_view_resolve(view, ps_bytes_str(uids), true, pool, &set));
	ck_assert_ok(ps_view_change_flags(view, &set, &deleted, pool, &result));
	ck_assert_ok(ps_view_expunge(view, &set));
}

static uint64_t mark(void)
{
	struct ps_view_status status;

	ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, NULL, NULL));
	ps_view_status(view, &status);
	return status.highest_modseq;
}

/* UIDs 1, 4, 5, 6, 8, 9 are left of nine. */
static void setup(void)
{
	struct ps_flag_change flag = {PS_FLAGS_ADD, PS_FLAG_FLAGGED, NULL, UINT64_MAX};
	struct ps_op_result result;
	struct ps_set set;

	pool = ps_pool_create("test");
	user = test_user("alice");
	for (int i = 0; i < 9; i++)
		test_append(user, "INBOX", message, 0);
	ck_assert_ok(ps_view_open(user, "INBOX", false, NULL, NULL, &view));
	marks[0] = mark();
	expunge("2:3");
	marks[1] = mark();
	expunge("7");
	marks[2] = mark();
	ck_assert_ok(ps_view_resolve(view, ps_bytes_str("9"), true, pool, &set));
	ck_assert_ok(ps_view_change_flags(view, &set, &flag, pool, &result));
	marks[3] = mark();
}

static void teardown(void)
{
	ps_view_close(view);
	ps_user_close(user);
	ps_pool_destroy(pool);
}

static void check(uint64_t since, const char *known, const char *expected)
{
	struct ps_set set, gone;
	struct ps_buf out = {0};

	ck_assert_ok(ps_set_parse(ps_bytes_str(known), UINT32_MAX, pool, &set));
	ck_assert_ok(ps_view_vanished(view, since, &set, pool, &gone));
	ps_set_format(&out, gone.ranges, gone.count);
	ck_assert_str_eq(ps_buf_cstr(&out), expected);
	ps_buf_finish(&out);
}

static const struct {
	int since; /* of marks; -1: before there was anything to remember */
	const char *known, *vanished;
} cases[] = {
	{0, "1:*", "2:3,7"},
	{0, "1:9", "2:3,7"},
	{0, "3:7", "3,7"},
	{0, "1,4:6", ""},
	{0, "2,7,100:200", "2,7"},
	{1, "1:*", "7"},
	{1, "1:6", ""},
	{2, "1:*", ""},
	{3, "1:*", ""},
	/* Nothing is remembered so far back: all that is known and not there. */
	{-1, "1:*", "2:3,7"},
	{-1, "3,5,7:9", "3,7"},
	{-1, "10:20", ""},
};

START_TEST(what_vanished_is_known_and_not_there)
{
	check(cases[_i].since < 0 ? 0 : marks[cases[_i].since], cases[_i].known, cases[_i].vanished);
}
END_TEST

START_TEST(what_the_view_still_shows_has_not_vanished)
{
	ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, NULL, NULL));
	expunge("8");
	check(marks[3], "1:*", "");
	check(marks[0], "1:*", "2:3,7");
	ck_assert_ok(ps_view_sync(view, 0, NULL, NULL));
	check(marks[3], "1:*", "");
	ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, NULL, NULL));
	check(marks[3], "1:*", "8");
}
END_TEST

START_TEST(the_mod_sequence_waits_for_expunges_that_are_not_told)
{
	struct ps_view_status status;

	expunge("8");
	ck_assert_ok(ps_view_sync(view, 0, NULL, NULL));
	ps_view_status(view, &status);
	ck_assert_uint_eq(status.highest_modseq, marks[3]);
	ck_assert_uint_gt(mark(), marks[3]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vanished");
	TCase *tc = tcase_create("vanished");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_vanished_is_known_and_not_there, 0, PS_ARRAY_LEN(cases));
	tcase_add_test(tc, what_the_view_still_shows_has_not_vanished);
	tcase_add_test(tc, the_mod_sequence_waits_for_expunges_that_are_not_told);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
