/* SPDX-License-Identifier: MIT */
/* Quotas on a user's store, over each backend. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/store/pending.h"
#include "extensions/quota/quota.h"
#include "postern/io.h"
#include "tests/store/user.h"

static struct ps_user *user;
static struct ps_pool *pool;

/* 11 octets. */
#define MESSAGE "S: 1\r\n\r\nx\r\n"
enum {
	SIZE = sizeof MESSAGE - 1
};

static void set_up(void)
{
	user = test_user("quota");
	pool = ps_pool_create("test");
}

static void tear_down(void)
{
	ps_pool_destroy(pool);
	ps_user_close(user);
}

static void set_quota(const char *fields)
{
	struct ps_user_info info = {.name = "quota", .fields = fields};
	struct ps_extension_args args = {.user = &info};

	ck_assert_ok(ps_extension_attach(user, &quota_extension, &args));
}

static int try_append(const char *mailbox, const char *octets, unsigned count)
{
	struct ps_append_message message = {.internal_date = INT64_MIN};
	struct ps_pool *own = ps_pool_create("append");
	struct ps_op_result result;
	struct ps_append *append;
	int r;

	ck_assert_ok(ps_append_open(user, mailbox, &append));
	for (unsigned i = 0; i < count; i++) {
		ck_assert_ok(ps_append_begin(append, &message));
		ck_assert_ok(ps_append_write(append, ps_bytes_str(octets)));
		ck_assert_ok(ps_append_end(append));
	}
	r = ps_append_commit(append, own, &result);
	ps_append_close(append);
	ps_pool_destroy(own);
	return r;
}

/* The figures are never another than those of the rows. */
static void assert_usage(uint64_t octets, uint64_t messages)
{
	struct ps_usage rows;
	struct ps_quota quota;

	ck_assert_ok(ps_user_quota(user, "", &quota));
	ck_assert_ok(ps_user_recount(user, "", &rows));
	ck_assert_uint_eq(quota.used.octets, octets);
	ck_assert_uint_eq(quota.used.messages, messages);
	ck_assert_uint_eq(rows.octets, octets);
	ck_assert_uint_eq(rows.messages, messages);
}

static struct ps_view *open_view(const char *name)
{
	struct ps_view *view;

	ck_assert_ok(ps_view_open(user, name, false, NULL, NULL, &view));
	return view;
}

static struct ps_set all_of(struct ps_view *view)
{
	struct ps_set uids;

	ck_assert_ok(ps_view_resolve(view, ps_bytes_str("1:*"), true, pool, &uids));
	return uids;
}

START_TEST(up_to_the_limit_and_no_octet_more)
{
	struct ps_quota quota;

	set_quota("quota_storage=22 quota_messages=10");
	ck_assert_ok(try_append("INBOX", MESSAGE, 1));
	ck_assert_ok(try_append("INBOX", MESSAGE, 1));
	assert_usage(2 * SIZE, 2);
	ck_assert_int_eq(try_append("INBOX", "\r\n", 1), PS_E_QUOTA);
	ck_assert_ok(ps_user_quota(user, "", &quota));
	ck_assert_uint_eq(quota.limit.octets, 22);
	ck_assert_uint_eq(quota.limit.messages, 10);
	ck_assert_int_eq(ps_user_quota(user, "other", &quota), PS_E_NOTFOUND);
}
END_TEST

static void ensure_own(const char *dir, struct quota_own *own, bool set, uint64_t octets, uint64_t messages)
{
	ck_assert_ok(quota_own_look(dir, own));
	ck_assert(own->set == set);
	if (set) {
		ck_assert_uint_eq(own->limit.octets, octets);
		ck_assert_uint_eq(own->limit.messages, messages);
	}
}

/* Each look is of another process, as it were. */
START_TEST(what_is_set_is_kept_until_it_is_set_again)
{
	char base[] = "/tmp/postern-quota-XXXXXX";
	struct quota_own own = {.set = false}, other = {.set = false};
	const char *dir, *file;

	ck_assert_ptr_nonnull(mkdtemp(base));
	dir = ps_pool_printf(pool, "%s/control", base);
	file = ps_pool_printf(pool, "%s/quota", dir);
	ensure_own(dir, &own, false, 0, 0);
	ck_assert_ok(quota_own_write(dir, NULL));
	ck_assert_ok(quota_own_write(dir, &(struct ps_usage){1000, 0}));
	ensure_own(dir, &own, true, 1000, 0);
	ck_assert_ok(quota_own_write(dir, &(struct ps_usage){0, 5}));
	ensure_own(dir, &own, true, 0, 5);
	ensure_own(dir, &other, true, 0, 5);
	ck_assert_int_eq(truncate(file, 20), 0);
	ck_assert_int_eq(quota_own_look(dir, &own), PS_E_CORRUPT);
	ck_assert(!own.set);
	ck_assert_ok(quota_own_write(dir, NULL));
	ensure_own(dir, &other, false, 0, 0);
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(rmdir(base), 0);
}
END_TEST

static int no_descriptor(int dirfd, const char *name, int flags, mode_t mode)
{
	(void)dirfd, (void)name, (void)flags, (void)mode;
	errno = EMFILE;
	return -1;
}

START_TEST(a_limit_that_cannot_be_read_just_now_is_not_forgotten)
{
	char dir[] = "/tmp/postern-quota-XXXXXX";
	const struct ps_io real = ps_io;
	struct quota_own own = {.set = false};

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_ok(quota_own_write(dir, &(struct ps_usage){1000, 0}));
	ensure_own(dir, &own, true, 1000, 0);
	ck_assert_ok(quota_own_write(dir, &(struct ps_usage){2000, 0}));
	ps_io.open = no_descriptor;
	ck_assert_int_eq(quota_own_look(dir, &own), PS_E_SCARCE);
	ps_io = real;
	ck_assert(own.set);
	ck_assert_uint_eq(own.limit.octets, 1000);
	ensure_own(dir, &own, true, 2000, 0);
	ck_assert_ok(quota_own_write(dir, NULL));
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* Over those of the user database; those of another store are its own. */
START_TEST(what_is_set_wins)
{
	char base[] = "/tmp/postern-quota-XXXXXX";
	struct ps_user_info info = {.name = "quota", .fields = "quota_messages=1"};
	struct ps_extension_args args = {.user = &info, .control = base};
	struct ps_usage two = {0, 2};
	struct ps_quota quota;

	ck_assert_ptr_nonnull(mkdtemp(base));
	ck_assert_ok(ps_extension_attach(user, &quota_extension, &args));
	ck_assert_ok(try_append("INBOX", MESSAGE, 1));
	ck_assert_int_eq(try_append("INBOX", MESSAGE, 1), PS_E_QUOTA);
	ck_assert_ok(ps_user_set_quota(user, "", &two));
	ck_assert_ok(try_append("INBOX", MESSAGE, 1));
	ck_assert_int_eq(try_append("INBOX", MESSAGE, 1), PS_E_QUOTA);
	ck_assert_ok(ps_user_quota(user, "", &quota));
	ck_assert(quota.set);
	ck_assert_uint_eq(quota.limit.messages, 2);
	ck_assert_ok(ps_user_set_quota(user, "", NULL));
	ck_assert_ok(ps_user_quota(user, "", &quota));
	ck_assert(!quota.set);
	ck_assert_uint_eq(quota.limit.messages, 1);
	ck_assert_int_eq(ps_user_set_quota(user, "other", NULL), PS_E_NOTFOUND);
	ck_assert_int_eq(rmdir(base), 0);
}
END_TEST

START_TEST(messages_are_counted_too_and_a_batch_is_taken_whole_or_not)
{
	set_quota("quota_messages=3");
	ck_assert_ok(try_append("INBOX", MESSAGE, 2));
	ck_assert_int_eq(try_append("INBOX", MESSAGE, 2), PS_E_QUOTA);
	assert_usage(2 * SIZE, 2);
	ck_assert_ok(try_append("INBOX", MESSAGE, 1));
	ck_assert_int_eq(try_append("INBOX", MESSAGE, 1), PS_E_QUOTA);
	assert_usage(3 * SIZE, 3);
}
END_TEST

START_TEST(copies_count_moves_do_not_and_deleting_makes_room)
{
	struct ps_op_result result;
	struct ps_view *view;
	struct ps_set uids;

	set_quota("quota_messages=3");
	ck_assert_ok(ps_user_create(user, "Other", 0));
	ck_assert_ok(try_append("INBOX", MESSAGE, 2));
	view = open_view("INBOX");
	uids = all_of(view);
	ck_assert_int_eq(ps_view_copy(view, &uids, "Other", false, pool, &result), PS_E_QUOTA);
	assert_usage(2 * SIZE, 2);
	ck_assert_ok(ps_view_copy(view, &uids, "Other", true, pool, &result));
	assert_usage(2 * SIZE, 2);
	ps_view_close(view);
	view = open_view("Other");
	uids = all_of(view);
	ck_assert_ok(ps_view_remove(view, &uids));
	ps_view_close(view);
	assert_usage(0, 0);
	ck_assert_ok(try_append("Other", MESSAGE, 3));
	ck_assert_ok(ps_user_delete(user, "Other"));
	assert_usage(0, 0);
	ck_assert_ok(try_append("INBOX", MESSAGE, 3));
}
END_TEST

START_TEST(a_full_store_takes_what_replaces_as_much)
{
	struct ps_append_message message = {.internal_date = INT64_MIN};
	struct ps_op_result result;
	struct ps_append *append;
	struct ps_view *view;

	ck_assert_ok(try_append("INBOX", MESSAGE, 3));
	set_quota("quota_messages=2 quota_storage=1000");
	view = open_view("INBOX");
	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	ps_append_replaces(append, view, ps_view_row(view, 1)->uid);
	ck_assert_ok(ps_append_begin(append, &message));
	ck_assert_ok(ps_append_write(append, ps_bytes_str(MESSAGE)));
	ck_assert_ok(ps_append_end(append));
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
	ps_view_close(view);
	assert_usage(3 * SIZE, 3);
}
END_TEST

START_TEST(a_question_changes_nothing)
{
	struct ps_append *append;

	set_quota("quota_storage=100");
	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	ck_assert_ok(ps_append_ask(append, 100));
	ck_assert_int_eq(ps_append_ask(append, 101), PS_E_QUOTA);
	ps_append_close(append);
	assert_usage(0, 0);
}
END_TEST

/* Nobody is told that a delivery failed which succeeded. */
START_TEST(a_delivery_tried_again_is_not_refused)
{
	struct ps_append_message message = {.internal_date = INT64_MIN};

	set_quota("quota_messages=1");
	for (int i = 0; i < 3; i++) {
		struct ps_op_result result;
		struct ps_append *append;

		ck_assert_ok(ps_append_open(user, "INBOX", &append));
		ps_append_once(append, ps_bytes_str(i < 2 ? "first" : "second"));
		ck_assert_ok(ps_append_begin(append, &message));
		ck_assert_ok(ps_append_write(append, ps_bytes_str(MESSAGE)));
		ck_assert_ok(ps_append_end(append));
		ck_assert_int_eq(ps_append_commit(append, pool, &result), i < 2 ? 0 : PS_E_QUOTA);
		ps_append_close(append);
		assert_usage(SIZE, 1);
	}
}
END_TEST

START_TEST(extensions_are_told_what_the_user_database_says_anew)
{
	struct ps_user_info info = {.name = "quota", .backend = postern_plugin.name, .root = user->origin.root};
	struct ps_user *again;
	struct ps_quota quota;

	set_quota("quota_messages=1");
	info.fields = "quota_messages=2";
	ck_assert_ok(ps_user_open_with(postern_plugin.ops, NULL, NULL, &info, &again));
	ck_assert_ptr_eq(again, user);
	/* No plugin is loaded here, so there is nobody left. */
	ck_assert_ok(ps_user_quota(user, "", &quota));
	ck_assert_uint_eq(quota.limit.messages, 0);
	ps_user_close(again);
}
END_TEST

enum {
	THREADS = 8,
	EACH = 7,
	ROOM = 20
};
static atomic_uint stored, refused;

static void *append_some(void *arg)
{
	(void)arg;
	for (int i = 0; i < EACH; i++) {
		int r = try_append("INBOX", MESSAGE, 1);

		ck_assert(r == 0 || r == PS_E_QUOTA);
		atomic_fetch_add(r == 0 ? &stored : &refused, 1);
	}
	return NULL;
}

START_TEST(appends_side_by_side_do_not_overshoot)
{
	set_quota("quota_messages=20");
	unit_threads(THREADS, append_some, NULL);
	ck_assert_uint_eq(stored, ROOM);
	ck_assert_uint_eq(refused, THREADS * EACH - ROOM);
	assert_usage(ROOM * SIZE, ROOM);
}
END_TEST

/* Extensions come and go in turns of their own. */
START_TEST(what_is_said_anew_does_not_meet_who_is_asked)
{
	pthread_t threads[2];

	set_quota("quota_messages=1000");
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, append_some, NULL), 0);
	for (int i = 0; i < 50; i++) {
		struct ps_user_info info = {.name = "quota",
					    .backend = postern_plugin.name,
					    .root = user->origin.root,
					    .fields = i % 2 ? "quota_messages=1" : "quota_messages=2"};
		struct ps_usage limit;
		struct ps_user *again;

		ck_assert_ok(ps_user_open_with(postern_plugin.ops, NULL, NULL, &info, &again));
		ps_commit_limit(again, &limit);
		ps_user_close(again);
	}
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	assert_usage(2 * EACH * SIZE, 2 * EACH);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("quota");
	TCase *tc = tcase_create("quota");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, up_to_the_limit_and_no_octet_more);
	tcase_add_test(tc, what_is_set_is_kept_until_it_is_set_again);
	tcase_add_test(tc, a_limit_that_cannot_be_read_just_now_is_not_forgotten);
	tcase_add_test(tc, what_is_set_wins);
	tcase_add_test(tc, messages_are_counted_too_and_a_batch_is_taken_whole_or_not);
	tcase_add_test(tc, copies_count_moves_do_not_and_deleting_makes_room);
	tcase_add_test(tc, a_full_store_takes_what_replaces_as_much);
	tcase_add_test(tc, a_question_changes_nothing);
	tcase_add_test(tc, a_delivery_tried_again_is_not_refused);
	tcase_add_test(tc, extensions_are_told_what_the_user_database_says_anew);
	tcase_add_test(tc, appends_side_by_side_do_not_overshoot);
	tcase_add_test(tc, what_is_said_anew_does_not_meet_who_is_asked);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
