/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/base/seldom.h"
#include "postern/log.h"
#include "tests/scarce.h"
#include "tests/unit.h"

static char text[65536];

/* What was written to standard error, the log, since log_begin(). */
static int log_fd, stderr_fd;

static void log_begin(void)
{
	log_fd = memfd_create("log", 0);
	stderr_fd = dup(STDERR_FILENO);
	ck_assert_int_ge(dup2(log_fd, STDERR_FILENO), 0);
}

static const char *log_end(void)
{
	ssize_t n = pread(log_fd, text, sizeof text - 1, 0);

	dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	close(log_fd);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	return text;
}

static const struct {
	const char *value, *written;
} values[] = {
	{"plain", " key=plain end=1\n"},
	{"", " key=\"\" end=1\n"},
	{"two words", " key=\"two words\" end=1\n"},
	{"x event=forged", " key=\"x event=forged\" end=1\n"},
	{"x\" event=forged y=\"", " key=\"x\\\" event=forged y=\\\"\" end=1\n"},
	{"a\r\nb\x1b[2J\x7f\\", " key=\"a\\x0d\\x0ab\\x1b[2J\\x7f\\\\\" end=1\n"},
	{NULL, " end=1\n"},
};

START_TEST(a_value_cannot_end_its_line_or_add_a_key)
{
	const char *line, *tail;

	log_begin();
	ps_log(PS_LOG_ERROR, "test", values[_i].value ? "key" : "end", values[_i].value ? values[_i].value : "1",
	       values[_i].value ? "end" : NULL, "1", NULL);
	line = log_end();
	tail = strstr(line, "event=test");
	ck_assert_ptr_nonnull(tail);
	ck_assert_str_eq(tail + strlen("event=test"), values[_i].written);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
}
END_TEST

START_TEST(a_long_value_is_cut_and_its_line_is_not_lost)
{
	static char value[20000];
	const char *line;

	memset(value, _i ? '\n' : 'x', sizeof value - 1);
	log_begin();
	ps_log(PS_LOG_ERROR, "test", "a", value, "b", value, "c", value, "d", value, "end", "1", NULL);
	line = log_end();
	ck_assert_ptr_nonnull(strstr(line, "...\" end=1\n"));
	ck_assert_uint_lt(strlen(line), 5 * 4100);
}
END_TEST

/* libc would have some for time zones, and does without. */
START_TEST(a_line_needs_no_memory)
{
	log_begin();
	scarce_begin(1, true);
	ps_log(PS_LOG_ERROR, "out_of_memory", "octets", ps_num(5), NULL);
	ps_logf(PS_LOG_ERROR, "told", NULL, "%s of %d", "the last", 2);
	scarce_end();
	log_end();
	ck_assert_ptr_nonnull(strstr(text, "event=out_of_memory octets=5\n"));
	ck_assert_ptr_nonnull(strstr(text, "event=told msg=\"the last of 2\"\n"));
}
END_TEST

START_TEST(of_a_minute_some_lines_are_written_and_the_rest_is_counted)
{
	struct seldom seldom = {0};
	unsigned left_out = 0;

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(seldom_may(&seldom, 1000 + (uint64_t)i, 2, &left_out), i < 2);
	ck_assert_uint_eq(left_out, 0);
	ck_assert(seldom_may(&seldom, 61000, 2, &left_out));
	ck_assert_uint_eq(left_out, 3);
	ck_assert(seldom_may(&seldom, 61001, 2, &left_out));
	ck_assert_uint_eq(left_out, 0);
	ck_assert(!seldom_may(&seldom, 61002, 2, &left_out));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_add_loop_test(tc, a_value_cannot_end_its_line_or_add_a_key, 0, PS_ARRAY_LEN(values));
	tcase_add_loop_test(tc, a_long_value_is_cut_and_its_line_is_not_lost, 0, 2);
	tcase_add_test(tc, a_line_needs_no_memory);
	tcase_add_test(tc, of_a_minute_some_lines_are_written_and_the_rest_is_counted);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
