/* SPDX-License-Identifier: MIT */
/* Counts of TLS: kept over an end, and told in pages. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/delivery/client/tlsrpt.h"
#include "core/event/loop.h"
#include "tests/unit.h"

static char folder[64];
static struct ps_loop *loop;
static struct tlsrpt *report;

static void setup(void)
{
	strcpy(folder, "/tmp/postern-tlsrpt-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_ok(ps_loop_create(&loop));
	report = tlsrpt_create(loop, folder);
	ck_assert_ptr_nonnull(report);
}

static void teardown(void)
{
	char command[100];

	tlsrpt_destroy(report);
	ps_loop_destroy(loop);
	snprintf(command, sizeof command, "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static json_t *page(const char *day, const char *after, size_t most)
{
	json_t *page = NULL;

	ck_assert_ok(tlsrpt_page(report, day, after, most, &page));
	return page;
}

static void again(void)
{
	tlsrpt_destroy(report);
	report = tlsrpt_create(loop, folder);
}

START_TEST(what_was_counted_is_told_after_the_end_too)
{
	json_t *told, *row;

	tlsrpt_count(report, "b.test", "sts", NULL);
	tlsrpt_count(report, "b.test", "sts", "certificate-expired");
	if (_i)
		again();
	told = page(NULL, NULL, 10);
	ck_assert_uint_eq(json_array_size(json_object_get(told, "rows")), 1);
	row = json_array_get(json_object_get(told, "rows"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(row, "domain")), "b.test");
	ck_assert_str_eq(json_string_value(json_object_get(row, "policy-type")), "sts");
	ck_assert_int_eq(json_integer_value(json_object_get(row, "successful")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(row, "failed"), "certificate-expired")), 1);
	json_decref(told);
}
END_TEST

/* How many domains, and on a page. */
static const struct {
	unsigned domains;
	size_t most;
} books[] = {{0, 10}, {1, 10}, {9, 10}, {10, 10}, {11, 10}, {20, 10}, {25, 10}, {3, 1}};

START_TEST(pages_tell_each_domain_once_by_name)
{
	unsigned told = 0;
	json_t *now = NULL;
	const char *after = NULL;

	for (unsigned i = books[_i].domains; i > 0; i--) {
		char name[32];

		snprintf(name, sizeof name, "d%03u.test", i - 1);
		tlsrpt_count(report, name, "tlsa", NULL);
	}
	do {
		json_t *next = page(NULL, after, books[_i].most), *row;
		size_t n;

		json_decref(now);
		now = next;
		ck_assert_uint_le(json_array_size(json_object_get(now, "rows")), books[_i].most);
		json_array_foreach(json_object_get(now, "rows"), n, row)
		{
			char name[32];

			snprintf(name, sizeof name, "d%03u.test", told++);
			ck_assert_str_eq(json_string_value(json_object_get(row, "domain")), name);
		}
		after = json_string_value(json_object_get(now, "next"));
	} while (after);
	ck_assert_uint_eq(told, books[_i].domains);
	json_decref(now);
}
END_TEST

static const char *const no_days[] = {"", "2026", "2026-11-2", "2026-11-233", "../../etc", "2026/11/23", "2026-11-2x"};

START_TEST(what_is_no_day_is_refused)
{
	json_t *told;

	ck_assert_int_eq(tlsrpt_page(report, no_days[_i], NULL, 10, &told), PS_E_INVALID);
	told = page("2020-01-01", NULL, 10);
	ck_assert_uint_eq(json_array_size(json_object_get(told, "rows")), 0);
	json_decref(told);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tlsrpt");
	TCase *tc = tcase_create("tlsrpt");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_was_counted_is_told_after_the_end_too, 0, 2);
	tcase_add_loop_test(tc, pages_tell_each_domain_once_by_name, 0, PS_ARRAY_LEN(books));
	tcase_add_loop_test(tc, what_is_no_day_is_refused, 0, PS_ARRAY_LEN(no_days));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
