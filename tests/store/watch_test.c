/* SPDX-License-Identifier: MIT */
/*
 * What somebody else does to a mailbox reaches the views that wait, without their asking.
 */
#include <stdatomic.h>
#include <time.h>
#include "postern/store.h"
#include "tests/store/user.h"

enum {
	PATIENCE = 600
}; /* tenths of a second; far more than it takes */

static void count_call(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

/* As any delivery agent does it. */
static void deliver(const char *user, unsigned number)
{
	char from[1024], to[1024];
	FILE *file;

	snprintf(from, sizeof from, "%s/%s.%ld/tmp/%u.M1.host", test_dir, user, (long)getpid(), number);
	snprintf(to, sizeof to, "%s/%s.%ld/new/%u.M1.host", test_dir, user, (long)getpid(), number);
	file = fopen(from, "w");
	ck_assert_ptr_nonnull(file);
	fputs("Subject: from outside\n\nbody\n", file);
	fclose(file);
	ck_assert_int_eq(rename(from, to), 0);
}

/* A call may come for what was seen before, too: then the next one tells it. */
static void wait_for_messages(struct ps_view *view, unsigned count)
{
	struct ps_view_status status = {0};

	for (int i = 0; i < PATIENCE; i++) {
		ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, NULL, NULL));
		ps_view_status(view, &status);
		if (status.messages == count)
			return;
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	}
	ck_assert_uint_eq(status.messages, count);
}

static void wait_for(const atomic_int *calls, int more_than)
{
	for (int i = 0; i < PATIENCE && atomic_load(calls) <= more_than; i++)
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	ck_assert_int_gt(atomic_load(calls), more_than);
}

START_TEST(who_waits_is_told_of_a_delivery_from_outside)
{
	struct ps_user *user = test_user("watch");
	struct ps_view *a, *b;
	atomic_int calls_a = 0, calls_b = 0;

	ck_assert_ok(ps_view_open(user, "INBOX", false, count_call, &calls_a, &a));
	ck_assert_ok(ps_view_open(user, "INBOX", true, count_call, &calls_b, &b));
	for (unsigned i = 1; i <= 2; i++) {
		int before_a = atomic_load(&calls_a), before_b = atomic_load(&calls_b);

		deliver("watch", 1700000000 + i);
		wait_for(&calls_a, before_a);
		wait_for(&calls_b, before_b);
		wait_for_messages(a, i);
	}
	ps_view_close(b);
	ps_view_close(a);
	ps_user_close(user);
}
END_TEST

START_TEST(a_look_brings_the_delivery_at_once)
{
	struct ps_user *user = test_user("look");
	struct ps_mailbox_info info;
	struct ps_view_status status;
	struct ps_view *view;

	ck_assert_ok(ps_view_open(user, "INBOX", false, NULL, NULL, &view));
	deliver("look", 1700000001);
	ck_assert_ok(ps_view_sync(view, PS_SYNC_LOOK, NULL, NULL));
	ps_view_status(view, &status);
	ck_assert_uint_eq(status.messages, 1);
	deliver("look", 1700000002);
	ck_assert_ok(ps_user_status(user, "INBOX", &info));
	ck_assert_uint_eq(info.messages, 2);
	ps_view_close(view);
	ps_user_close(user);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch");
	TCase *tc = tcase_create("watch");

	tcase_add_test(tc, who_waits_is_told_of_a_delivery_from_outside);
	tcase_add_test(tc, a_look_brings_the_delivery_at_once);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
