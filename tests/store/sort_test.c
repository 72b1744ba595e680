/* SPDX-License-Identifier: MIT */
#include "tests/store/user.h"

/* More than one run, and no power of two. */
enum {
	MESSAGES = 700
};

static struct ps_user *user;
static struct ps_view *view;
static struct ps_pool *pool;

/* Message n has the subject n * 37 modulo 10, and the date n. */
static void open_view(void)
{
	struct ps_append_message message = {0};
	struct ps_op_result result;
	struct ps_append *append;

	pool = ps_pool_create("test");
	user = test_user("sort");
	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	for (int n = 1; n <= MESSAGES; n++) {
		char text[200];

		snprintf(text, sizeof text, "Subject: %s%d\r\nFrom: \"Z\" <f%d@example.test>\r\n\r\n",
			 n % 2 ? "Re: " : "", n * 37 % 10, n % 3);
		message.internal_date = 1000000 + n;
		ck_assert_ok(ps_append_begin(append, &message));
		ck_assert_ok(ps_append_write(append, ps_bytes_str(text)));
		ck_assert_ok(ps_append_end(append));
	}
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
	ck_assert_ok(ps_view_open(user, "INBOX", false, NULL, NULL, &view));
}

static void close_view(void)
{
	ps_view_close(view);
	ps_user_close(user);
	ps_pool_destroy(pool);
}

static bool at_once(void *arg)
{
	++*(unsigned *)arg;
	return true;
}

static const struct {
	struct ps_sort_criterion criteria[2];
	size_t count;
} sorts[] = {
	{{{PS_SORT_ARRIVAL, true}}, 1},
	{{{PS_SORT_SUBJECT, false}, {PS_SORT_ARRIVAL, true}}, 2},
	{{{PS_SORT_FROM, true}, {PS_SORT_SUBJECT, false}}, 2},
	{{{PS_SORT_DISPLAYFROM, true}, {PS_SORT_DATE, false}}, 2},
	{{{PS_SORT_CC, false}, {PS_SORT_TO, false}}, 2},
};

static int64_t key(enum ps_sort_key kind, int64_t n)
{
	switch (kind) {
	case PS_SORT_ARRIVAL:
	case PS_SORT_DATE: return n;
	case PS_SORT_SUBJECT: return n * 37 % 10;
	case PS_SORT_FROM: return n % 3;
	default: return 0; /* all the same */
	}
}

static bool in_order(size_t which, uint32_t a, uint32_t b)
{
	for (size_t i = 0; i < sorts[which].count; i++) {
		const struct ps_sort_criterion *criterion = &sorts[which].criteria[i];
		int64_t x = key(criterion->key, a), y = key(criterion->key, b);

		if (x != y)
			return criterion->reverse ? x > y : x < y;
	}
	return a < b;
}

START_TEST(each_message_stands_where_its_keys_say)
{
	struct ps_search_node all = {.kind = PS_SEARCH_ALL};
	struct ps_sort *sort = ps_sort_create(view, pool, &all, sorts[_i].criteria, sorts[_i].count);
	unsigned slices = 0;
	uint32_t last = 0;
	int r;

	while ((r = ps_sort_step(sort, at_once, &slices)) == 0)
		;
	ck_assert_int_eq(r, 1);
	ck_assert_uint_gt(slices, 3);
	ck_assert_uint_eq(ps_sort_count(sort), MESSAGES);
	for (size_t i = 0; i < MESSAGES; i++) {
		uint32_t seq, uid;

		ps_sort_get(sort, i, &seq, &uid);
		ck_assert_uint_eq(uid, ps_view_row(view, seq)->uid);
		ck_assert(i == 0 || in_order((size_t)_i, last, seq));
		last = seq;
	}
	ps_sort_destroy(sort);
}
END_TEST

START_TEST(nothing_is_sorted_into_nothing)
{
	struct ps_search_node none = {.kind = PS_SEARCH_LARGER, .number = UINT64_MAX};
	struct ps_sort *sort = ps_sort_create(view, pool, &none, sorts[0].criteria, 1);

	ck_assert_int_eq(ps_sort_step(sort, NULL, NULL), 1);
	ck_assert_uint_eq(ps_sort_count(sort), 0);
	ps_sort_destroy(sort);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sort");
	TCase *tc = tcase_create("sort");

	tcase_add_checked_fixture(tc, open_view, close_view);
	tcase_add_loop_test(tc, each_message_stands_where_its_keys_say, 0, PS_ARRAY_LEN(sorts));
	tcase_add_test(tc, nothing_is_sorted_into_nothing);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
