/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/path.h"
#include "tests/unit.h"

static const struct {
	const char *given, *want, *rest;
	bool utf8;
} good[] = {
	{"<a@b>", "a@b", "", false},
	{"<>", "", "", false},
	{"<Postmaster>", "Postmaster", "", false},
	{"<a@b> SIZE=1", "a@b", " SIZE=1", false},
	{"<a.b+c@d-e.example>", "a.b+c@d-e.example", "", false},
	{"<\"a b\"@c>", "\"a b\"@c", "", false},
	{"<\"ab\"@c>", "ab@c", "", false},
	{"<\"a\\b\"@c>", "ab@c", "", false},
	{"<\"a\\\"b\"@c>", "\"a\\\"b\"@c", "", false},
	{"<\"\"@c>", "\"\"@c", "", false},
	{"<\">\"@c> X", "\">\"@c", " X", false},
	{"<\"a@b\"@c>", "\"a@b\"@c", "", false},
	{"<\"a@b\">", "\"a@b\"", "", false},
	{"<@x,@y:a@b>", "a@b", "", false},
	{"<a@[192.0.2.1]>", "a@[192.0.2.1]", "", false},
	{"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "", false},
	{"<a%b@c>", "a%b@c", "", false},
	{"<a!b@c>", "a!b@c", "", false},
	{"<a@1.2.3.4>", "a@1.2.3.4", "", false},
	{"<a_b@c_d.example>", "a_b@c_d.example", "", false},
	{"<j\xc3\xbcrgen@b\xc3\xbc"
	 "cher.example>",
	 "j\xc3\xbcrgen@b\xc3\xbc"
	 "cher.example",
	 "", true},
};

START_TEST(takes_a_path)
{
	struct ps_bytes argument = ps_bytes_str(good[_i].given);
	struct ps_buf out = {0};

	ck_assert_ok(smtp_take_path(&argument, good[_i].utf8, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), good[_i].want);
	ck_assert_bytes_eq(argument, good[_i].rest);
	ps_buf_finish(&out);
}
END_TEST

static const struct {
	const char *given;
	bool utf8;
} bad[] = {
	{"", false},
	{"a@b", false},
	{"<", false},
	{"<a@b", false},
	{"<a@b>x", false},
	{"<@b>", false},
	{"<a@>", false},
	{"<a@b.>", false},
	{"<a@.b>", false},
	{"<a..b@c>", false},
	{"<.a@b>", false},
	{"<a.@b>", false},
	{"<a b@c>", false},
	{"<a@b c>", false},
	{"<a@b@c>", false},
	{"<a@-b>", false},
	{"<a@b->", false},
	{"<\"a@b>", false},
	{"<\"a\"b@c>", false},
	{"<\"\x01\"@c>", false},
	{"<\"a\\\x7f\"@c>", false},
	{"<(a)@b>", false},
	{"<@x a@b>", false},
	{"<<a@b>>", false},
	{"< a@b>", false},
	{"<a@b >", false},
	{"< >", false},
	{"<a,b@c>", false},
	{"<a@[1.2.3]>", false},
	{"<a@[192.0.2.256]>", false},
	{"<a@[IPv6:zz]>", false},
	{"<a@[x-tag:1]>", false},
	{"<a@[]>", false},
	{"<a@[192.0.2.1>", false},
	{"<a@[192.0.2.1]x>", false},
	{"<j\xc3\xbcrgen@b>", false},
	{"<j\xffrgen@b>", true},
	{"<a@b\xc3\xbc"
	 "cher>",
	 false},
	{"<a@b/c>", false},
	{"<\"j\xc3\xbcrgen\"@b>", false},
	{"<a@b..c>", false},
};

START_TEST(refuses_what_is_none)
{
	struct ps_bytes argument = ps_bytes_str(bad[_i].given);
	struct ps_buf out = {0};

	ck_assert_int_eq(smtp_take_path(&argument, bad[_i].utf8, &out), PS_E_SYNTAX);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(long_parts_are_refused)
{
	struct ps_buf given = {0}, out = {0};
	struct ps_bytes argument;

	ps_buf_char(&given, '<');
	for (int i = 0; i < 257; i++)
		ps_buf_char(&given, 'a');
	ps_buf_str(&given, "@b>");
	argument = ps_buf_view(&given);
	ck_assert_int_eq(smtp_take_path(&argument, false, &out), PS_E_LIMIT);
	ps_buf_reset(&given);
	ps_buf_str(&given, "<a@");
	for (int i = 0; i < 64; i++)
		ps_buf_char(&given, 'a');
	ps_buf_char(&given, '>');
	argument = ps_buf_view(&given);
	ck_assert_int_eq(smtp_take_path(&argument, false, &out), PS_E_SYNTAX);
	ps_buf_finish(&given);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(the_domain_of_a_path)
{
	ck_assert_str_eq(smtp_path_domain("a@b"), "b");
	ck_assert_str_eq(smtp_path_domain("\"a@b\"@c"), "c");
	ck_assert_ptr_null(smtp_path_domain("\"a@b\""));
	ck_assert_ptr_null(smtp_path_domain("postmaster"));
}
END_TEST

static const struct {
	const char *given;
	int error; /* of the last */
	const char *want;
} parameters[] = {
	{"", 0, ""},
	{" SIZE=1", 0, "SIZE=1,"},
	{"  SIZE=1  SMTPUTF8 ", 0, "SIZE=1,SMTPUTF8,"},
	{" X-y=a+3Db", 0, "X-y=a+3Db,"},
	{" SIZE=", PS_E_SYNTAX, ""},
	{" =1", PS_E_SYNTAX, ""},
	{" -X=1", PS_E_SYNTAX, ""},
	{" S\xc3\xbc=1", PS_E_SYNTAX, ""},
	{" A=b=c", PS_E_SYNTAX, ""},
	{" A=\x01", PS_E_SYNTAX, ""},
};

START_TEST(takes_parameters)
{
	struct ps_bytes argument = ps_bytes_str(parameters[_i].given), keyword, value;
	struct ps_buf got = {0};
	int error = 0;

	while (error == 0 && smtp_take_parameter(&argument, &keyword, &value, &error)) {
		if (error < 0)
			break;
		ps_buf_bytes(&got, keyword);
		ps_buf_str(&got, value.ptr ? "=" : "");
		ps_buf_bytes(&got, value);
		ps_buf_char(&got, ',');
	}
	ck_assert_int_eq(error, parameters[_i].error);
	ck_assert_str_eq(ps_buf_cstr(&got), parameters[_i].want);
	ps_buf_finish(&got);
}
END_TEST

static const struct {
	const char *given, *want; /* NULL: none */
	bool utf8;
} xtexts[] = {
	{"abc", "abc", false},     {"a+2Bb+3D", "a+b=", false},    {"", "", false},
	{"+20", " ", false},       {"a+2b", NULL, false},          {"a+", NULL, false},
	{"a+2", NULL, false},      {"a=b", NULL, false},           {"a+00", NULL, false},
	{"a+0Ab", NULL, false},    {"a b", NULL, false},           {"+7F", NULL, false},
	{"\xc3\xbc", NULL, false}, {"\xc3\xbc", "\xc3\xbc", true}, {"+GG", NULL, false},
};

START_TEST(decodes_xtext)
{
	struct ps_buf out = {0};
	int r = smtp_xtext_decode(ps_bytes_str(xtexts[_i].given), xtexts[_i].utf8, &out);

	ck_assert_int_eq(r, xtexts[_i].want ? 0 : PS_E_SYNTAX);
	if (r == 0)
		ck_assert_str_eq(ps_buf_cstr(&out), xtexts[_i].want);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(takes_a_word_in_any_case)
{
	struct ps_bytes argument = ps_bytes_str("FrOm: <a@b>");

	ck_assert_ok(smtp_take_word(&argument, "from:"));
	ck_assert_bytes_eq(argument, "<a@b>");
	argument = ps_bytes_str("FRO");
	ck_assert_int_eq(smtp_take_word(&argument, "from:"), PS_E_SYNTAX);
	argument = ps_bytes_str("FROM\x1a<a@b>");
	ck_assert_int_eq(smtp_take_word(&argument, "from:"), PS_E_SYNTAX);
	argument = ps_bytes_str("TO :<a@b>");
	ck_assert_int_eq(smtp_take_word(&argument, "to:"), PS_E_SYNTAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smtp path");
	TCase *tcase = tcase_create("path");

	tcase_add_loop_test(tcase, takes_a_path, 0, (int)PS_ARRAY_LEN(good));
	tcase_add_loop_test(tcase, refuses_what_is_none, 0, (int)PS_ARRAY_LEN(bad));
	tcase_add_test(tcase, long_parts_are_refused);
	tcase_add_test(tcase, the_domain_of_a_path);
	tcase_add_loop_test(tcase, takes_parameters, 0, (int)PS_ARRAY_LEN(parameters));
	tcase_add_loop_test(tcase, decodes_xtext, 0, (int)PS_ARRAY_LEN(xtexts));
	tcase_add_test(tcase, takes_a_word_in_any_case);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
