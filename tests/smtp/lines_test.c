/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/lines.h"
#include "tests/unit.h"

#define BYTES(text)                                                                                                    \
	{                                                                                                              \
		(const uint8_t *)(text), sizeof(text) - 1                                                              \
	}

static const struct {
	struct ps_bytes given, want;
	bool ends, bare, has_nul;
	size_t rest; /* octets behind the end */
} messages[] = {
	{BYTES(".\r\n"), BYTES(""), true, false, false, 0},
	{BYTES("a\r\n.\r\n"), BYTES("a\r\n"), true, false, false, 0},
	{BYTES("a\r\n.\r\nQUIT\r\n"), BYTES("a\r\n"), true, false, false, 6},
	{BYTES("..\r\n...b\r\n.c\r\n.\r\n"), BYTES(".\r\n..b\r\nc\r\n"), true, false, false, 0},
	{BYTES("a"), BYTES("a"), false, false, false, 0},
	{BYTES("a\r\n."), BYTES("a\r\n"), false, false, false, 0},
	{BYTES("a\r\n.\r"), BYTES("a\r\n"), false, false, false, 0},
	{BYTES("a.\r\nb\r\n.\r\n"), BYTES("a.\r\nb\r\n"), true, false, false, 0},
	/* What others have taken for an end. */
	{BYTES("a\n.\nb\r\n.\r\n"), BYTES("a\n.\nb\r\n"), true, true, false, 0},
	{BYTES("a\n.\r\nb\r\n.\r\n"), BYTES("a\n.\r\nb\r\n"), true, true, false, 0},
	{BYTES("a\r\n.\nb\r\n.\r\n"), BYTES("a\r\n\nb\r\n"), true, true, false, 0},
	{BYTES("a\r.\r\nb\r\n.\r\n"), BYTES("a\r.\r\nb\r\n"), true, true, false, 0},
	{BYTES("a\r.\rb\r\n.\r\n"), BYTES("a\r.\rb\r\n"), true, true, false, 0},
	{BYTES("a\r\n.\rb\r\n.\r\n"), BYTES("a\r\n\rb\r\n"), true, true, false, 0},
	{BYTES("a\r\n.\r\r\nb\r\n.\r\n"), BYTES("a\r\n\r\r\nb\r\n"), true, true, false, 0},
	{BYTES("a\r\r\n.\r\n"), BYTES("a\r\r\n"), true, true, false, 0},
	{BYTES("a\0\r\n.\r\n"), BYTES("a\0\r\n"), true, false, true, 0},
	{BYTES("\0\r\n.\r\n"), BYTES("\0\r\n"), true, false, true, 0},
	{BYTES("a\r\n\0.\r\n.\r\n"), BYTES("a\r\n\0.\r\n"), true, false, true, 0},
	{BYTES("a\r\n.\0\r\n.\r\n"), BYTES("a\r\n\0\r\n"), true, false, true, 0},
};

START_TEST(a_message_ends_in_one_way_however_it_is_cut)
{
	struct ps_bytes given = messages[_i].given;

	for (size_t cut = 0; cut <= given.len; cut++) {
		struct smtp_lines lines = {0};
		struct ps_buf out = {0};
		size_t taken = smtp_lines_take(&lines, ps_bytes(given.ptr, cut), &out);

		taken += smtp_lines_take(&lines, ps_bytes_skip(given, taken), &out);
		ck_assert_uint_eq(taken, given.len - messages[_i].rest);
		ck_assert_int_eq(lines.state == LINES_END, messages[_i].ends);
		ck_assert_int_eq(lines.bare, messages[_i].bare);
		ck_assert_int_eq(lines.has_nul, messages[_i].has_nul);
		ck_assert_uint_eq(out.len, messages[_i].want.len);
		if (out.len > 0)
			ck_assert_mem_eq(out.ptr, messages[_i].want.ptr, out.len);
		ps_buf_finish(&out);
	}
}
END_TEST

static const struct {
	const char *given, *want;
	bool counted;
} converted[] = {
	{"a\nb\rc\r\n.\r\n", "a\r\nb\r\nc\r\n", false},
	{"a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", false},
	{"a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", false},
	{"a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n", false},
	{"a\r.\rb\r\n.\r\n", "a\r\n.\r\nb\r\n", false},
	{"a\r\r\n.\r\n", "a\r\n\r\n", false},
	{"a\r\n.\rb\r\n.\r\n", "a\r\n\r\nb\r\n", false},
	{"\n\r\n.\r\n", "\r\n\r\n", false},
	{"a\nb\rc", "a\r\nb\r\nc\r\n", true},
	{".\r\n..\r\n", ".\r\n..\r\n", true},
	{"a\r", "a\r\n", true},
	{"a\r\n", "a\r\n", true},
	{"a\n", "a\r\n\r\n", true},
	{"", "", true},
};

START_TEST(bare_line_ends_become_whole_and_end_no_message)
{
	struct ps_bytes given = ps_bytes_str(converted[_i].given);

	for (size_t cut = 0; cut <= given.len; cut++) {
		struct smtp_lines lines = {.convert = true, .counted = converted[_i].counted};
		struct ps_buf out = {0};

		smtp_lines_take(&lines, ps_bytes(given.ptr, cut), &out);
		ck_assert_uint_eq(smtp_lines_take(&lines, ps_bytes_skip(given, cut), &out), given.len - cut);
		if (lines.counted)
			smtp_lines_finish(&lines, &out);
		ck_assert_int_eq(lines.state, LINES_END);
		ck_assert_str_eq(ps_buf_cstr(&out), converted[_i].want);
		ps_buf_finish(&out);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smtp lines");
	TCase *tcase = tcase_create("lines");

	tcase_add_loop_test(tcase, a_message_ends_in_one_way_however_it_is_cut, 0, (int)PS_ARRAY_LEN(messages));
	tcase_add_loop_test(tcase, bare_line_ends_become_whole_and_end_no_message, 0, (int)PS_ARRAY_LEN(converted));
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
