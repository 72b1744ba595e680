/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include "tests/store/user.h"

static struct ps_user *user;
static struct ps_pool *pool;

static void set_up(void)
{
	user = test_user("append");
	pool = ps_pool_create("test");
}

static void tear_down(void)
{
	ps_pool_destroy(pool);
	ps_user_close(user);
}

static const struct ps_append_message plain = {.internal_date = INT64_MIN};

static struct ps_append *begin(void)
{
	struct ps_append *append;

	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	ck_assert_ok(ps_append_begin(append, &plain));
	return append;
}

static int gather(void *arg, struct ps_bytes octets)
{
	return ps_buf_bytes(arg, octets);
}

/* Ends, commits, and compares what is stored. */
static void commit_and_compare(struct ps_append *append, const char *octets, size_t len)
{
	struct ps_span all = {.length = len};
	struct ps_buf stored = {0};
	struct ps_op_result result;
	struct ps_view *view;
	struct ps_body body;

	ck_assert_ok(ps_append_end(append));
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
	ck_assert_uint_eq(result.new_count, 1);
	ck_assert_ok(ps_view_open(user, "INBOX", true, NULL, NULL, &view));
	ck_assert_uint_eq(ps_view_row(view, ps_view_seq(view, result.new_uids[0].first))->size, len);
	ck_assert_ok(ps_view_body(view, result.new_uids[0].first, &body));
	all.raw_length = body.length;
	ck_assert_ok(ps_body_read(&body, &all, 0, len, gather, &stored));
	ck_assert_uint_eq(stored.len, len);
	if (len > 0)
		ck_assert_mem_eq(stored.ptr, octets, len);
	ps_buf_finish(&stored);
	ps_view_body_close(view, &body);
	ps_view_close(view);
}

static const struct {
	const char *given, *stored;
} line_ends[] = {
	{"", ""},
	{"a", "a"},
	{"\n", "\r\n"},
	{"\r\n", "\r\n"},
	{"\r", "\r"},
	{"\r\r\n", "\r\r\n"},
	{"\n\n", "\r\n\r\n"},
	{"a\nb\r\nc\n", "a\r\nb\r\nc\r\n"},
	{"a\rb", "a\rb"},
	{"\n\r", "\r\n\r"},
	{"a\r\n\nb", "a\r\n\r\nb"},
};

START_TEST(line_ends_become_crlf_however_the_text_is_cut)
{
	const char *given = line_ends[_i].given, *stored = line_ends[_i].stored;

	for (size_t cut = 0; cut <= strlen(given); cut++) {
		struct ps_append *append = begin();

		ck_assert_ok(ps_append_write(append, ps_bytes(given, cut)));
		ck_assert_ok(ps_append_write(append, ps_bytes(given + cut, strlen(given) - cut)));
		commit_and_compare(append, stored, strlen(stored));
	}
}
END_TEST

START_TEST(a_long_text_of_bare_lf_becomes_crlf)
{
	struct ps_buf given = {0}, stored = {0};
	struct ps_append *append = begin();

	for (int i = 0; i < 30000; i++) {
		ps_buf_printf(&given, "%d\n", i);
		ps_buf_printf(&stored, "%d\r\n", i);
	}
	ck_assert_ok(ps_append_write(append, ps_buf_view(&given)));
	commit_and_compare(append, (const char *)stored.ptr, stored.len);
	ps_buf_finish(&given);
	ps_buf_finish(&stored);
}
END_TEST

START_TEST(a_message_beyond_the_limit_is_refused_and_so_is_all)
{
	struct ps_op_result result;
	struct ps_append *append;
	struct ps_append_message announced = {.internal_date = INT64_MIN, .size_hint = 11};

	user->message_limit = 10;
	append = begin();
	ck_assert_ok(ps_append_write(append, ps_bytes_str("0123456789")));
	ck_assert_ok(ps_append_end(append));
	ck_assert_ok(ps_append_begin(append, &plain));
	ck_assert_ok(ps_append_write(append, ps_bytes_str("01234567\n"))); /* ten with its CR */
	ck_assert_int_eq(ps_append_write(append, ps_bytes_str("x")), PS_E_LIMIT);
	ck_assert_int_eq(ps_append_end(append), PS_E_LIMIT);
	ck_assert_int_eq(ps_append_commit(append, pool, &result), PS_E_LIMIT);
	ps_append_close(append);
	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	ck_assert_int_eq(ps_append_begin(append, &announced), PS_E_LIMIT);
	ps_append_close(append);
	user->message_limit = 0;
}
END_TEST

START_TEST(several_messages_come_together)
{
	struct ps_append *append = begin();
	struct ps_op_result result;
	struct ps_buf uids = {0};

	for (int i = 0; i < 3; i++) {
		if (i > 0)
			ck_assert_ok(ps_append_begin(append, &plain));
		ck_assert_ok(ps_append_write(append, ps_bytes_str("x\r\n")));
		ck_assert_ok(ps_append_end(append));
	}
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
	ps_set_format(&uids, result.new_uids, result.new_count);
	ck_assert_str_eq(ps_buf_cstr(&uids), "1:3");
	ck_assert_uint_ne(result.uid_validity, 0);
	ps_buf_finish(&uids);
}
END_TEST

START_TEST(what_is_not_committed_leaves_nothing)
{
	struct ps_append *append = begin();
	struct ps_mailbox_info info;

	ck_assert_ok(ps_append_write(append, ps_bytes_str("x\r\n")));
	ck_assert_ok(ps_append_end(append));
	ck_assert_ok(ps_append_begin(append, &plain));
	ps_append_close(append);
	ck_assert_ok(ps_user_status(user, "INBOX", &info));
	ck_assert_uint_eq(info.messages, 0);
	ck_assert_int_eq(ps_append_open(user, "Nowhere", &append), PS_E_NOTFOUND);
}
END_TEST

START_TEST(a_replaced_message_goes_as_the_other_comes)
{
	struct ps_mailbox_info inbox, sent;
	struct ps_op_result result;
	struct ps_append *append;
	struct ps_view *view;

	test_append(user, "Sent", "old\r\n", 0);
	ck_assert_ok(ps_view_open(user, "Sent", false, NULL, NULL, &view));
	for (int again = 0; again < 2; again++) {
		append = begin();
		ps_append_replaces(append, view, 1);
		ck_assert_ok(ps_append_write(append, ps_bytes_str("new\r\n")));
		ck_assert_ok(ps_append_end(append));
		ck_assert_int_eq(ps_append_commit(append, pool, &result), again ? PS_E_GONE : 0);
		ps_append_close(append);
		ck_assert_ok(ps_user_status(user, "INBOX", &inbox));
		ck_assert_uint_eq(inbox.messages, 1);
		ck_assert_ok(ps_user_status(user, "Sent", &sent));
		ck_assert_uint_eq(sent.messages, 0);
	}
	ck_assert_uint_eq(result.new_count, 1);
	ps_view_close(view);
	ck_assert_ok(ps_view_open(user, "INBOX", true, NULL, NULL, &view));
	append = begin();
	ps_append_replaces(append, view, 1);
	ck_assert_ok(ps_append_end(append));
	ck_assert_int_eq(ps_append_commit(append, pool, &result), PS_E_ACCESS);
	ps_append_close(append);
	ps_view_close(view);
}
END_TEST

enum {
	THREADS = 6,
	EACH = 40
};

static void *append_some(void *arg)
{
	for (int i = 0; i < EACH; i++)
		test_append(arg, i % 2 ? "INBOX" : "Sent", "Subject: x\r\n\r\n", 0);
	return NULL;
}

START_TEST(appends_of_many_threads_are_all_there)
{
	pthread_t threads[THREADS];
	struct ps_mailbox_info inbox, sent;
	struct ps_view *view;
	struct ps_view_status status;

	ck_assert_ok(ps_view_open(user, "INBOX", false, NULL, NULL, &view));
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, append_some, user), 0);
	for (int i = 0; i < 50; i++)
		ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE | PS_SYNC_LOOK, NULL, NULL));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_ok(ps_view_sync(view, 0, NULL, NULL));
	ps_view_status(view, &status);
	ck_assert_uint_eq(status.messages, THREADS * EACH / 2);
	ps_view_close(view);
	ck_assert_ok(ps_user_status(user, "INBOX", &inbox));
	ck_assert_ok(ps_user_status(user, "Sent", &sent));
	ck_assert_uint_eq(inbox.messages + sent.messages, THREADS * EACH);
}
END_TEST

static void *come_and_go(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		struct ps_user *mine = test_user("append");
		struct ps_view *view;

		ck_assert_ok(ps_view_open(mine, i % 2 ? "INBOX" : "Sent", false, NULL, NULL, &view));
		test_append(mine, "INBOX", "x\r\n", 0);
		ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, NULL, NULL));
		ps_view_close(view);
		ps_user_close(mine);
	}
	return NULL;
}

START_TEST(sessions_come_and_go)
{
	unit_threads(THREADS, come_and_go, NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("append");
	TCase *tc = tcase_create("append");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, line_ends_become_crlf_however_the_text_is_cut, 0, PS_ARRAY_LEN(line_ends));
	tcase_add_test(tc, a_long_text_of_bare_lf_becomes_crlf);
	tcase_add_test(tc, a_message_beyond_the_limit_is_refused_and_so_is_all);
	tcase_add_test(tc, several_messages_come_together);
	tcase_add_test(tc, what_is_not_committed_leaves_nothing);
	tcase_add_test(tc, a_replaced_message_goes_as_the_other_comes);
	tcase_add_test(tc, appends_of_many_threads_are_all_there);
	tcase_add_test(tc, sessions_come_and_go);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
