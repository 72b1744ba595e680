/* SPDX-License-Identifier: MIT */
#include "protocols/imap/args.h"
#include "tests/unit.h"

static struct ps_pool *pool;

static void setup(void)
{
	pool = ps_pool_create("test");
}

static void teardown(void)
{
	ps_pool_destroy(pool);
}

static const struct {
	const char *text, *value, *rest;
} astrings[] = {
	{"INBOX", "INBOX", ""},
	{"a]b x", "a]b", " x"},
	{"\"\"", "", ""},
	{"\"with blank\" x", "with blank", " x"},
	{"\"q\\\"b\\\\s\"", "q\"b\\s", ""},
	{"{5}\r\nhello x", "hello", " x"},
	{"{5}\nhello x", "hello", " x"},
	{"{3+}\r\na\r\n", "a\r\n", ""},
	{"{0}\r\n x", "", " x"},
	{"{2}\r\n{1", "{1", ""},
	{"a&b", "a&b", ""},
	{"a)", "a", ")"},
};

START_TEST(an_astring_is_an_atom_a_quoted_string_or_a_literal)
{
	struct imap_args args = imap_args(ps_bytes_str(astrings[_i].text));
	struct ps_bytes value;

	ck_assert_ok(imap_args_astring(&args, pool, &value));
	ck_assert_bytes_eq(value, astrings[_i].value);
	ck_assert_bytes_eq(imap_args_rest(&args), astrings[_i].rest);
}
END_TEST

static const char *const bad_astrings[] = {
	"",
	" a",
	"(",
	")",
	"%",
	"*",
	"\"",
	"\"a",
	"\"a\\\"",
	"\"a\\",
	"\"a\\x\"",
	"\"\xc3\xa9\"",
	"\"a\rb\"",
	"\"a\nb\"",
	"{5}\r\nhell",
	"{5}hello",
	"{5",
	"{}\r\n",
	"{-1}\r\n",
	"{ 1}\r\na",
	"{5}\rhello",
	"{18446744073709551616}\r\na",
	"{9223372036854775808}\r\na",
	"{18446744073709551615+}\r\nabc",
	"{+}\r\n",
	"{1++}\r\na",
	"\\a",
	"\x7f",
	"\x80",
};

START_TEST(anything_else_is_not)
{
	struct imap_args args = imap_args(ps_bytes_str(bad_astrings[_i]));
	struct ps_bytes value = {NULL, 77};

	ck_assert_int_eq(imap_args_astring(&args, pool, &value), PS_E_SYNTAX);
	ck_assert_uint_eq(value.len, 77);
}
END_TEST

/* Where a string was cut it is no string, wherever that is; and nothing behind the cut is read (ASan sees it). */
START_TEST(a_string_that_is_cut_is_no_string)
{
	static const char *const strings[] = {"\"quoted \\\" string\"", "{12+}\r\nhello, world"};
	size_t len = strlen(strings[_i]);

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = ps_malloc(cut);
		struct imap_args args = imap_args(ps_bytes(memcpy(copy, strings[_i], cut), cut));
		struct ps_bytes value;

		ck_assert_int_eq(imap_args_string(&args, pool, &value), PS_E_SYNTAX);
		ps_freep(&copy);
	}
}
END_TEST

/* UTF-8 in quoted strings, RFC 9755 section 3: only where it was agreed on, and only if it is UTF-8. */
static const struct {
	const char *text;
	bool good;
} utf8_strings[] = {
	{"\"\xc3\xa9\"", true},
	{"\"a\xf0\x9f\x93\xa7\\\"\"", true},
	{"\"\xc3\"", false},
	{"\"\xff\"", false},
	{"\"\xc0\xaf\"", false},
	{"\"\xed\xa0\x80\"", false},
	{"\"\xf5\x80\x80\x80\"", false},
	{"\xc3\xa9", false},
};

START_TEST(a_quoted_string_may_have_utf8_where_that_is_enabled)
{
	struct imap_args plain = imap_args(ps_bytes_str(utf8_strings[_i].text)), enabled = plain;
	struct ps_bytes value;

	enabled.utf8 = true;
	ck_assert_int_eq(imap_args_astring(&plain, pool, &value), PS_E_SYNTAX);
	ck_assert_int_eq(imap_args_astring(&enabled, pool, &value), utf8_strings[_i].good ? 0 : PS_E_SYNTAX);
}
END_TEST

START_TEST(a_literal8_is_one_that_may_have_nul)
{
	struct imap_literal literal;

	ck_assert_int_eq(imap_literal_at_end(ps_bytes_str("a APPEND x ~{12+}"), &literal), 1);
	ck_assert(literal.binary && !literal.synchronising);
	ck_assert_uint_eq(literal.header, 6);
	ck_assert_int_eq(imap_literal_at_end(ps_bytes_str("~{12}"), &literal), 1);
	ck_assert(literal.binary && literal.synchronising);
	ck_assert_uint_eq(literal.header, 5);
	ck_assert_int_eq(imap_literal_at_end(ps_bytes_str("a APPEND x {12}"), &literal), 1);
	ck_assert(!literal.binary);
	ck_assert_uint_eq(literal.header, 4);
}
END_TEST

static const struct {
	const char *line;
	int result;
	uint64_t octets;
	bool synchronising;
} literals[] = {
	{"a APPEND x {12}", 1, 12, true},
	{"a APPEND x {12+}", 1, 12, false},
	{"{0}", 1, 0, true},
	{"x{4294967296}", 1, 4294967296, true},
	{"{9223372036854775807}", 1, INT64_MAX, true},
	{"{9223372036854775808}", PS_E_LIMIT, UINT64_MAX, true},
	{"{99999999999999999999999+}", PS_E_LIMIT, UINT64_MAX, false},
	{"{-1}", 0, 0, false},
	{"{}", 0, 0, false},
	{"{+}", 0, 0, false},
	{"12}", 0, 0, false},
	{"}", 0, 0, false},
	{"", 0, 0, false},
	{"{12} ", 0, 0, false},
	{"{1 2}", 0, 0, false},
	{"{0x12}", 0, 0, false},
};

START_TEST(a_literal_is_seen_at_the_end_of_a_line)
{
	struct imap_literal literal = {0};

	ck_assert_int_eq(imap_literal_at_end(ps_bytes_str(literals[_i].line), &literal), literals[_i].result);
	ck_assert_uint_eq(literal.octets, literals[_i].octets);
	ck_assert_int_eq(literal.synchronising, literals[_i].synchronising);
}
END_TEST

START_TEST(tokens_follow_each_other)
{
	struct imap_args args = imap_args(ps_bytes_str("a1 FETCH 1:*,7 (FLAGS) NIL 42"));
	struct ps_bytes bytes;
	uint32_t number;

	ck_assert_ok(imap_args_tag(&args, &bytes));
	ck_assert_bytes_eq(bytes, "a1");
	ck_assert_ok(imap_args_space(&args));
	ck_assert(!imap_args_take_word(&args, "FET"));
	ck_assert(imap_args_take_word(&args, "fetch"));
	ck_assert_ok(imap_args_space(&args));
	ck_assert_ok(imap_args_set(&args, &bytes));
	ck_assert_bytes_eq(bytes, "1:*,7");
	ck_assert_ok(imap_args_space(&args));
	ck_assert(!imap_args_take(&args, ')'));
	ck_assert(imap_args_take(&args, '('));
	ck_assert_ok(imap_args_atom(&args, &bytes));
	ck_assert_bytes_eq(bytes, "FLAGS");
	ck_assert(imap_args_take(&args, ')'));
	ck_assert_ok(imap_args_space(&args));
	ck_assert_ok(imap_args_nstring(&args, pool, &bytes));
	ck_assert_ptr_null(bytes.ptr);
	ck_assert_int_eq(imap_args_end(&args), PS_E_SYNTAX);
	ck_assert_ok(imap_args_space(&args));
	ck_assert_ok(imap_args_number(&args, &number));
	ck_assert_uint_eq(number, 42);
	ck_assert_ok(imap_args_end(&args));
	ck_assert_int_eq(imap_args_peek(&args), -1);
}
END_TEST

static const char *const bad_tags[] = {"", " ", "+ x", "*", "(", "a+", "\"a\"", "{1}", "%", "\\", "\x01"};

START_TEST(a_tag_has_no_hostile_characters)
{
	struct imap_args args = imap_args(ps_bytes_str(bad_tags[_i]));
	struct ps_bytes tag;

	/* A tag may end where such a character comes, but then no space follows. */
	ck_assert(imap_args_tag(&args, &tag) == PS_E_SYNTAX || imap_args_space(&args) == PS_E_SYNTAX);
}
END_TEST

static const char *const bad_numbers[] = {"", "x", "-1", "4294967296", "99999999999999999999"};

START_TEST(a_number_has_32_bits)
{
	struct imap_args args = imap_args(ps_bytes_str(bad_numbers[_i]));
	uint32_t number;

	ck_assert_int_eq(imap_args_number(&args, &number), PS_E_SYNTAX);
	ck_assert_bytes_eq(imap_args_rest(&args), bad_numbers[_i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("imap args");
	TCase *tc = tcase_create("args");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, an_astring_is_an_atom_a_quoted_string_or_a_literal, 0, PS_ARRAY_LEN(astrings));
	tcase_add_loop_test(tc, anything_else_is_not, 0, PS_ARRAY_LEN(bad_astrings));
	tcase_add_loop_test(tc, a_string_that_is_cut_is_no_string, 0, 2);
	tcase_add_loop_test(tc, a_literal_is_seen_at_the_end_of_a_line, 0, PS_ARRAY_LEN(literals));
	tcase_add_loop_test(tc, a_quoted_string_may_have_utf8_where_that_is_enabled, 0, PS_ARRAY_LEN(utf8_strings));
	tcase_add_test(tc, a_literal8_is_one_that_may_have_nul);
	tcase_add_test(tc, tokens_follow_each_other);
	tcase_add_loop_test(tc, a_tag_has_no_hostile_characters, 0, PS_ARRAY_LEN(bad_tags));
	tcase_add_loop_test(tc, a_number_has_32_bits, 0, PS_ARRAY_LEN(bad_numbers));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
