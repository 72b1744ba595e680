/* SPDX-License-Identifier: MIT */
/* Stores that stay open for a while when their last user has gone. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/store/user.h"
#include "postern/plugin.h"
#include "tests/unit.h"

extern const struct ps_plugin postern_plugin; /* the reference backend's */

static int opened, closed;
static struct ps_backend counting;
static char root[64];

static int count_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	const struct ps_backend *real = postern_plugin.ops;

	opened++;
	return real->open(args, ret_store);
}

static void count_close(struct ps_store *store)
{
	const struct ps_backend *real = postern_plugin.ops;

	closed++;
	real->close(store);
}

static void set_up(void)
{
	counting = *(const struct ps_backend *)postern_plugin.ops;
	counting.open = count_open;
	counting.close = count_close;
	opened = closed = 0;
	snprintf(root, sizeof root, "/tmp/postern-keep-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void tear_down(void)
{
	ps_users_close_kept(true);
	rmdir(root);
}

static void visit(const char *where)
{
	struct ps_user_info info = {.name = where, .root = where, .backend = "memory"};
	struct ps_user *user;

	ck_assert_ok(ps_user_open_with(&counting, NULL, NULL, &info, &user));
	ps_user_close(user);
}

START_TEST(without_a_word_a_store_is_closed_with_its_last_user)
{
	visit(root);
	visit(root);
	ck_assert_int_eq(opened, 2);
	ck_assert_int_eq(closed, 2);
}
END_TEST

START_TEST(a_kept_store_is_opened_once)
{
	ps_users_keep(8, 3600);
	visit(root);
	visit(root);
	ck_assert_int_eq(opened, 1);
	ck_assert_int_eq(closed, 0);
	ps_users_close_kept(false); /* its time is not over */
	ck_assert_int_eq(closed, 0);
	ps_users_close_kept(true);
	ck_assert_int_eq(closed, 1);
}
END_TEST

START_TEST(of_too_many_the_one_that_was_left_first_is_closed)
{
	ps_users_keep(2, 3600);
	visit(root);
	visit("/");
	visit(root); /* now "/" was left first */
	visit("/tmp");
	ck_assert_int_eq(opened, 3);
	ck_assert_int_eq(closed, 1);
	visit(root);
	ck_assert_int_eq(opened, 3);
	visit("/");
	ck_assert_int_eq(opened, 4);
}
END_TEST

START_TEST(a_store_whose_folder_was_replaced_is_opened_anew)
{
	char aside[80];

	ps_users_keep(8, 3600);
	visit(root);
	snprintf(aside, sizeof aside, "%s.aside", root); /* kept, so that the new one has another inode */
	ck_assert_int_eq(rename(root, aside), 0);
	ck_assert_int_eq(mkdir(root, 0700), 0);
	visit(root);
	ck_assert_int_eq(opened, 2);
	ck_assert_int_eq(closed, 1);
	rmdir(aside);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("keep");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, without_a_word_a_store_is_closed_with_its_last_user);
	tcase_add_test(tc, a_kept_store_is_opened_once);
	tcase_add_test(tc, of_too_many_the_one_that_was_left_first_is_closed);
	tcase_add_test(tc, a_store_whose_folder_was_replaced_is_opened_anew);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
