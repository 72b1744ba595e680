/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "core/config/config.h"
#include "core/delivery/route/limits.h"
#include "tests/unit.h"

static struct ps_config *config;

static struct ps_limits *open_limits(const char *settings, size_t users_max)
{
	char text[400];

	snprintf(text, sizeof text, "mail_root = /m\nlimits { %s }\n", settings);
	ck_assert_ok(ps_config_read("t.conf", ps_bytes_str(text), NULL, &config));
	return ps_limits_create(ps_config_root(config), users_max);
}

static void close_limits(struct ps_limits *limits)
{
	ps_limits_destroy(limits);
	ps_config_destroy(config);
}

static const char small[] = "user_messages_per_hour = 10 user_messages_per_day = 30 user_recipients_per_day = 100";

static bool sends(struct ps_limits *limits, unsigned messages, unsigned recipients, uint64_t now)
{
	return ps_limits_take(limits, "a@example.org", messages, recipients, now) == NULL;
}

START_TEST(so_many_in_an_hour)
{
	struct ps_limits *limits = open_limits(small, 100);

	for (int i = 0; i < 10; i++)
		ck_assert(sends(limits, 1, 1, 7200 + 10));
	ck_assert(!sends(limits, 1, 1, 7200 + 11));
	ck_assert(sends(limits, 0, 1, 7200 + 11));
	ck_assert_ptr_null(ps_limits_take(limits, "b@example.org", 1, 1, 7200 + 11));
	/* Half an hour into the next hour half of them count. */
	ck_assert(!sends(limits, 1, 1, 10800));
	for (int i = 0; i < 5; i++)
		ck_assert(sends(limits, 1, 1, 10800 + 1800));
	ck_assert(!sends(limits, 1, 1, 10800 + 1800));
	/* After an hour of silence, none. */
	for (int i = 0; i < 10; i++)
		ck_assert(sends(limits, 1, 1, 10800 + 7200));
	close_limits(limits);
}
END_TEST

START_TEST(so_many_in_a_day)
{
	struct ps_limits *limits = open_limits(small, 100);

	for (int hour = 0; hour < 6; hour += 2)
		for (int i = 0; i < 10; i++)
			ck_assert(sends(limits, 1, 1, 86400 + (uint64_t)hour * 3600));
	ck_assert_str_eq(ps_limits_take(limits, "a@example.org", 1, 1, 86400 + 10 * 3600),
			 "You have sent too many messages in a day; try again later");
	ck_assert(sends(limits, 1, 1, 86400 * 3));
	close_limits(limits);
}
END_TEST

START_TEST(so_many_recipients_and_all_or_none)
{
	struct ps_limits *limits = open_limits(small, 100);

	ck_assert(sends(limits, 1, 99, 86400));
	ck_assert(!sends(limits, 1, 2, 86400));
	ck_assert(sends(limits, 1, 1, 86400));
	ck_assert(!sends(limits, 0, 1, 86400));
	ps_limits_give_back(limits, "a@example.org", 1, 50, 86400);
	ck_assert(sends(limits, 0, 50, 86400));
	ck_assert(!sends(limits, 0, 1, 86400));
	ps_limits_give_back(limits, "a@example.org", 1000, 1000, 86400);
	ps_limits_give_back(limits, "nobody", 1, 1, 86400);
	ck_assert(sends(limits, 10, 100, 86400));
	ck_assert(!sends(limits, 1, 0, 86400));
	close_limits(limits);
}
END_TEST

START_TEST(zero_is_no_limit)
{
	struct ps_limits *limits =
		open_limits("user_messages_per_hour = 0 user_messages_per_day = 0 user_recipients_per_day = 0", 100);

	ck_assert(sends(limits, 1000000, 1000000, 0));
	ck_assert(sends(limits, 1000000, 1000000, 0));
	close_limits(limits);
}
END_TEST

START_TEST(memory_is_bounded_and_the_oldest_go_first)
{
	struct ps_limits *limits = open_limits(small, 3);

	ck_assert(sends(limits, 10, 1, 100));
	ps_limits_take(limits, "b", 1, 1, 101);
	ps_limits_take(limits, "c", 1, 1, 102);
	ck_assert(!sends(limits, 1, 1, 103)); /* and a@example.org is the youngest again */
	ps_limits_take(limits, "d", 10, 1, 104);
	ck_assert(!sends(limits, 1, 1, 105));
	for (int i = 0; i < 10000; i++) {
		char name[20];

		snprintf(name, sizeof name, "u%d", i);
		ps_limits_take(limits, name, 1, 1, 106);
	}
	ck_assert(sends(limits, 10, 1, 107));
	close_limits(limits);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("limits");
	TCase *tc = tcase_create("limits");

	tcase_add_test(tc, so_many_in_an_hour);
	tcase_add_test(tc, so_many_in_a_day);
	tcase_add_test(tc, so_many_recipients_and_all_or_none);
	tcase_add_test(tc, zero_is_no_limit);
	tcase_add_test(tc, memory_is_bounded_and_the_oldest_go_first);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
