/* SPDX-License-Identifier: MIT */
#include "tests/message/message_unit.h"

enum {
	LONGEST = 7
};

static int put(void *arg, struct ps_bytes octets)
{
	return append_piece(arg, octets);
}

/* LF becomes CRLF. */
static int expand(void *arg)
{
	struct ps_buf *kept = arg, wire = {0};

	for (size_t i = 0; i < kept->len; i++) {
		if (kept->ptr[i] == '\n')
			ps_buf_char(&wire, '\r');
		ps_buf_char(&wire, (char)kept->ptr[i]);
	}
	ps_buf_finish(kept);
	*kept = wire;
	return 0;
}

/* The n-th text of `len` octets of CR, LF and "x". */
static void make_text(char text[LONGEST], size_t len, unsigned n)
{
	for (size_t i = 0; i < len; i++, n /= 3)
		text[i] = "\r\nx"[n % 3];
}

static bool has_way_back(struct ps_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\n' && (i == 0 || text.ptr[i - 1] != '\r' || (i > 1 && text.ptr[i - 2] == '\r')))
			return false;
	return true;
}

static void check_text(struct ps_bytes text, size_t cut)
{
	struct ps_buf kept = {0};
	struct ps_line_ends ends = {.put = put, .expand = expand, .arg = &kept};

	ck_assert_ok(ps_line_ends_feed(&ends, ps_bytes(text.ptr, cut)));
	ck_assert_ok(ps_line_ends_feed(&ends, ps_bytes_skip(text, cut)));
	ck_assert_ok(ps_line_ends_finish(&ends));
	ck_assert_int_eq(!ends.as_they_are, has_way_back(text));
	if (!ends.as_they_are) {
		ck_assert(kept.len == 0 || !memmem(kept.ptr, kept.len, "\r\n", 2));
		ck_assert_ok(expand(&kept));
	}
	ck_assert_same_bytes(ps_buf_view(&kept), text);
	ps_buf_finish(&kept);
}

START_TEST(every_text_comes_back_however_it_is_cut)
{
	char text[LONGEST];
	unsigned texts = 1;

	for (size_t len = 0; len <= LONGEST; len++, texts *= 3)
		for (unsigned n = 0; n < texts; n++) {
			make_text(text, len, n);
			for (size_t cut = 0; cut <= len; cut++)
				check_text(ps_bytes(text, len), cut);
		}
}
END_TEST

START_TEST(nothing_is_changed_if_it_is_not_to_be)
{
	struct ps_buf kept = {0};
	struct ps_line_ends ends = {.put = put, .expand = expand, .arg = &kept, .as_they_are = true};

	ck_assert_ok(ps_line_ends_feed(&ends, ps_bytes_str("a\r\nb\nc\r")));
	ck_assert_ok(ps_line_ends_finish(&ends));
	ck_assert_same_bytes(ps_buf_view(&kept), ps_bytes_str("a\r\nb\nc\r"));
	ps_buf_finish(&kept);
}
END_TEST

static int refuse(void *arg, struct ps_bytes octets)
{
	(void)octets;
	return *(int *)arg;
}

START_TEST(a_failure_is_passed_on)
{
	static const char *const texts[] = {"a", "\r\n", "\ra"};
	int failure = PS_E_FULL;

	for (size_t i = 0; i < PS_ARRAY_LEN(texts); i++) {
		struct ps_line_ends ends = {.put = refuse, .arg = &failure};

		ck_assert_int_eq(ps_line_ends_feed(&ends, ps_bytes_str(texts[i])), PS_E_FULL);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("line_ends");
	TCase *tc = tcase_create("line_ends");

	tcase_add_test(tc, every_text_comes_back_however_it_is_cut);
	tcase_add_test(tc, nothing_is_changed_if_it_is_not_to_be);
	tcase_add_test(tc, a_failure_is_passed_on);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
