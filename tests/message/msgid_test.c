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

int main(void)
{
	Suite *suite = suite_create("msgid");
	TCase *tc = tcase_create("msgid");

	tcase_add_loop_test(tc, ids_are_found_and_written_one_way, 0, PS_ARRAY_LEN(fields));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
