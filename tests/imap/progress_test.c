/* SPDX-License-Identifier: MIT */
#include "protocols/imap/progress.h"
#include "tests/unit.h"

static const struct {
	const char *tag;
	uint32_t done, total;
	const char *line;
} lines[] = {
	{"tag", 175, 1000, "* OK [INPROGRESS (\"tag\" 175 1000)] Still working\r\n"},
	{"tag", 0, 1, "* OK [INPROGRESS (\"tag\" 0 1)] Still working\r\n"},
	{"a]b", 1, 2, "* OK [INPROGRESS (NIL 1 2)] Still working\r\n"},
	{"", 1, 2, "* OK [INPROGRESS (NIL 1 2)] Still working\r\n"},
	{"tag", 4294967294, 4294967295, "* OK [INPROGRESS (\"tag\" 4294967294 4294967295)] Still working\r\n"},
	/* The goal must be greater than the progress. */
	{"tag", 2, 2, ""},
	{"tag", 3, 2, ""},
	{"tag", 0, 0, ""},
};

START_TEST(progress_is_told_as_the_grammar_has_it)
{
	struct ps_buf out = {0};

	imap_put_progress(&out, ps_bytes_str(lines[_i].tag), lines[_i].done, lines[_i].total);
	ck_assert_str_eq(ps_buf_cstr(&out), lines[_i].line);
	ps_buf_finish(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("imap progress");
	TCase *tc = tcase_create("progress");

	tcase_add_loop_test(tc, progress_is_told_as_the_grammar_has_it, 0, PS_ARRAY_LEN(lines));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
