/* SPDX-License-Identifier: MIT */
#include "core/message/msgid.h"
#include "tests/message/message_unit.h"

/* RFC 5256 section 3 and RFC 5322 section 3.6.4; ids are parted by blanks in `ids`. */
static const struct {
	const char *value, *ids;
} fields[] = {
	{"<a@b>", "a@b"},
	{" <a@b> <c@d>\r\n\t<e@f>", "a@b c@d e@f"},
	{"<a@b><c@d>", "a@b c@d"},
	{"<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com"},
	{"<\"a\\\"b\"@c>", "a\"b@c"},
	{"<\"a>b\"@c>", "a>b@c"},
	{"<a@\r\n b>", "a@b"},
	{"<(x (y)>)a@b(z)>", "a@b"},
	{"<a@[127.0.0.1]>", "a@[127.0.0.1]"},
	{"<A@b> <a@B>", "A@b a@B"},
	{"<a@b@c>", "a@b@c"},
	{"Your message of \"Mon\" <a@b>", "a@b"},
	{"<no-at> <a@b>", "a@b"},
	{"<@b> <a@> <@> <> <a@b>", "a@b"},
	{"<\"x@y\"> <a@b>", "a@b"},
	{"<a@b <c@d>", "c@d"},
	{"<a\"b@c> <d@e>", "d@e"},
	{"<a(b@c> <d@e>", "d@e"},
	{"<a@[b> <d@e>", "d@e"},
	{"<a@b", ""},
	{"a@b", ""},
	{"", ""},
	{"<<<<a@b>>>>", "a@b"},
	{"<a\\", ""},
	{"<\"a\\", ""},
};

START_TEST(ids_are_found_and_written_one_way)
{
	struct ps_bytes rest = ps_bytes_str(fields[_i].value);
	struct ps_buf id = {0}, ids = {0};

	while (ps_msgid_next(&rest, &id)) {
		if (ids.len > 0)
			ps_buf_char(&ids, ' ');
		ps_buf_bytes(&ids, ps_buf_view(&id));
	}
	ck_assert_str_eq(ps_buf_cstr(&ids), fields[_i].ids);
	ps_buf_finish(&id);
	ps_buf_finish(&ids);
}
END_TEST

/* However it is cut, nothing is read behind the end; what is found has both sides and is no longer than what it came from. */
START_TEST(cut_anywhere_an_id_is_whole_or_none)
{
	size_t len = strlen(fields[_i].value);

	for (size_t cut = 0; cut <= len; cut++) {
		uint8_t *copy = ps_malloc(cut);
		struct ps_bytes rest = ps_bytes(memcpy(copy, fields[_i].value, cut), cut);
		struct ps_buf id = {0};

		while (ps_msgid_next(&rest, &id)) {
			ck_assert_uint_ge(id.len, 3);
			ck_assert_ptr_nonnull(memchr(id.ptr + 1, '@', id.len - 2));
			ck_assert_uint_le(id.len + rest.len + 2, cut);
			ck_assert_ptr_eq(rest.ptr + rest.len, copy + cut);
		}
		ck_assert_uint_eq(rest.len, 0);
		ps_buf_finish(&id);
		ps_freep(&copy);
	}
}
END_TEST

/* What was found is found again, where it needs no quoting. */
START_TEST(an_id_written_plainly_is_the_same)
{
	struct ps_bytes rest = ps_bytes_str(fields[_i].value);
	struct ps_buf id = {0}, plain = {0}, again = {0};

	while (ps_msgid_next(&rest, &id)) {
		struct ps_bytes text;

		if (strpbrk(ps_buf_cstr(&id), "\"\\<>()"))
			continue;
		ps_buf_reset(&plain);
		ps_buf_printf(&plain, "<%s>", ps_buf_cstr(&id));
		text = ps_buf_view(&plain);
		ck_assert(ps_msgid_next(&text, &again));
		ck_assert_str_eq(ps_buf_cstr(&again), ps_buf_cstr(&id));
	}
	ps_buf_finish(&id);
	ps_buf_finish(&plain);
	ps_buf_finish(&again);
}
END_TEST

/* A megabyte of beginnings costs one reading: with one for each, this would take hours. */
START_TEST(beginnings_without_end_are_read_once)
{
	static const char *const pieces[] = {"<", "<\"", "<(", "<[", "<a@b", "(<\"["};
	struct ps_buf value = {0}, id = {0};
	struct ps_bytes rest;

	while (value.len < 1 << 20)
		ps_buf_str(&value, pieces[_i]);
	rest = ps_buf_view(&value);
	ck_assert(!ps_msgid_next(&rest, &id));
	ck_assert_uint_eq(rest.len, 0);
	ps_buf_finish(&value);
	ps_buf_finish(&id);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("msgid");
	TCase *tc = tcase_create("msgid");

	tcase_add_loop_test(tc, ids_are_found_and_written_one_way, 0, PS_ARRAY_LEN(fields));
	tcase_add_loop_test(tc, cut_anywhere_an_id_is_whole_or_none, 0, PS_ARRAY_LEN(fields));
	tcase_add_loop_test(tc, an_id_written_plainly_is_the_same, 0, PS_ARRAY_LEN(fields));
	tcase_add_loop_test(tc, beginnings_without_end_are_read_once, 0, 6);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
