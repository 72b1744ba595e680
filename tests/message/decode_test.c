/* SPDX-License-Identifier: MIT */
#include "tests/message/message_unit.h"

#define FFFD "\xef\xbf\xbd"

/* RFC 2047 section 8 and what programs send. */
static const struct {
	const char *value, *text;
} words[] = {
	{"plain", "plain"},
	{"", ""},
	{" \r\n\tfolded\r\n twice ", "folded twice"},
	{"(=?ISO-8859-1?Q?a?=)", "(a)"},
	{"(=?ISO-8859-1?Q?a?= b)", "(a b)"},
	{"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"},
	{"(=?ISO-8859-1?Q?a?=\r\n  \t=?ISO-8859-1?Q?b?=)", "(ab)"},
	{"(=?ISO-8859-1?Q?a_b?=)", "(a b)"},
	{"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"},
	{"=?utf-8?b?aMOpbGxv?=", "h\xc3\xa9llo"},
	{"=?UTF-8*en?B?aMOpbGxv?=", "h\xc3\xa9llo"},
	{"=?iso-8859-1?q?=E9=e9?=", "\xc3\xa9\xc3\xa9"},
	{"=?windows-1252?q?=80?=", "\xe2\x82\xac"},
	{"=?iso-2022-jp?b?GyRCJCIbKEI=?=", "\xe3\x81\x82"},
	{"=?gb2312?B?xOO6ww==?=", "\xe4\xbd\xa0\xe5\xa5\xbd"},
	/* A character cut in two by words. */
	{"=?utf-8?q?a=C3?= =?utf-8?q?=A9b?=", "a\xc3\xa9"
					      "b"},
	{"=?utf-8?q?a=C3?= x", "a" FFFD " x"},
	/* What cannot be decoded stays. */
	{"=?x-unknown?q?a?=", "=?x-unknown?q?a?="},
	{"=?utf-8?q?a?= =?x-unknown?q?b?= =?utf-8?q?c?=", "a =?x-unknown?q?b?= c"},
	{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
	{"=?utf-8?q?open", "=?utf-8?q?open"},
	{"=?utf-8?q", "=?utf-8?q"},
	{"=?", "=?"},
	{"==?utf-8?q?a?=", "=a"},
	{"=?utf-8?q?"
	 "?=x",
	 "x"},
	{"=?utf-8?q?=4?=", "=4"},
	{"a\xe9z \xc3\xa9", "a" FFFD "z \xc3\xa9"},
	{"x=?utf-8?q?no blanks?=y", "xno blanksy"},
};

START_TEST(encoded_words_are_decoded)
{
	struct ps_buf out = {0};

	ck_assert_ok(ps_header_decode(ps_bytes_str(words[_i].value), &out));
	ck_assert_text_eq(ps_buf_view(&out), words[_i].text);
	ps_buf_finish(&out);
}
END_TEST

/* Beginnings without end, and with one far away that does not fit: time must not grow with the square. */
START_TEST(megabytes_of_word_beginnings_are_read_in_one_go)
{
	static const char *const beginnings[] = {"=?utf-8?q?x", "=?x-no?q?x", "=?utf-8?q?a?= ="};
	struct ps_buf text = {0}, out = {0};

	for (int i = 0; i < 500000; i++)
		ps_buf_str(&text, beginnings[_i]);
	ps_buf_str(&text, "?=");
	ck_assert_ok(ps_header_decode(ps_buf_view(&text), &out));
	ck_assert_uint_gt(out.len, 500000);
	ps_buf_finish(&text);
	ps_buf_finish(&out);
}
END_TEST

static const struct {
	const char *encoding, *charset, *in, *out;
} transfers[] = {
	{"7bit", NULL, "a=3D\r\n", "a=3D\r\n"},
	{"8bit", "iso-8859-1", "\xe9\r\n", "\xc3\xa9\r\n"},
	{"8bit", "utf-8", "\xe9\xc3\xa9\xe2\x82", FFFD "\xc3\xa9" FFFD FFFD},
	{"8bit", "utf-7", "h+AOk-llo", "h\xc3\xa9llo"},
	{"8bit", "utf-7", "htt+p://example.org", "htt" FFFD "//example.org"},
	/* Not known: as it is where that is UTF-8, else windows-1252. */
	{"8bit", "x-unknown", "\xc3\xa9\xe9\x80\xff", "\xc3\xa9\xc3\xa9\xe2\x82\xac\xc3\xbf"},
	{"8bit", "us-ascii", "\xc3\xa9\xe9", "\xc3\xa9\xc3\xa9"},
	{"8bit", NULL, "\xe9", "\xe9"},
	{"BASE64", NULL, "aGVs\r\nbG8=\r\n", "hello"},
	{"base64", NULL, "aGVsbG8", "hello"},
	{"base64", NULL, "a!G-V s\tb_G8=", "hello"},
	{"base64", NULL, "aGVsbA==aGk=", "hellhi"},
	{"base64", NULL, "a", ""},
	{"base64", NULL, "====", ""},
	{"base64", "iso-8859-15", "pA==", "\xe2\x82\xac"},
	{"base64", "utf-16le", "YQDpAA==", "a\xc3\xa9"},
	{"Quoted-Printable", NULL, "a=3Db=3d=C3=A9", "a=b=\xc3\xa9"},
	{"quoted-printable", NULL, "soft=\r\n break=\n and= \t\r\nblanks", "soft break andblanks"},
	{"quoted-printable", NULL, "blanks \t \r\nat the end ", "blanks\r\nat the end"},
	{"quoted-printable", NULL, "kept =\r\n\r\nkept \t=\nkept = \r\n\r\n", "kept \r\nkept \tkept \r\n"},
	{"quoted-printable", NULL, "=3G =G3 == =\rx =", "=3G =G3 == =\rx ="},
	{"quoted-printable", "iso-8859-1", "=E9=\r\n=E9", "\xc3\xa9\xc3\xa9"},
};

START_TEST(transfer_encodings_are_read_leniently_however_they_are_cut)
{
	const char *in = transfers[_i].in;
	size_t len = strlen(in);

	for (size_t cut = 0; cut <= len; cut++) {
		struct ps_decode *d = ps_decode_create(transfers[_i].encoding, transfers[_i].charset);
		struct ps_buf out = {0};

		ck_assert_ok(ps_decode_feed(d, ps_bytes(in, cut), &out));
		ck_assert_ok(ps_decode_feed(d, ps_bytes(in + cut, len - cut), &out));
		ck_assert_ok(ps_decode_finish(d, &out));
		ck_assert_text_eq(ps_buf_view(&out), transfers[_i].out);
		ps_buf_finish(&out);
		ps_decode_destroy(d);
	}
}
END_TEST

static const struct {
	const char *charset, *in, *out; /* NULL: the code */
	int err;
} charsets[] = {
	{"UTF-8", "h\xc3\xa9", "h\xc3\xa9", 0},
	{"utf-8", "\xc3", NULL, PS_E_SYNTAX},
	{"US-ASCII", "plain", "plain", 0},
	{"US-ASCII", "\xe9", NULL, PS_E_SYNTAX},
	{"ISO-8859-1", "\xe9", "\xc3\xa9", 0},
	{"koi8-r", "\xc1", "\xd0\xb0", 0},
	{"Shift_JIS", "\x82\xa0", "\xe3\x81\x82", 0},
	{"Shift_JIS", "\x82", NULL, PS_E_SYNTAX},
	{"x-no-such", "a", NULL, PS_E_UNSUPPORTED},
	{"../../etc/passwd", "a", NULL, PS_E_UNSUPPORTED},
	{"UTF-8//TRANSLIT", "a", NULL, PS_E_UNSUPPORTED},
	{"", "a", NULL, PS_E_UNSUPPORTED},
};

START_TEST(search_charsets_are_converted_or_refused)
{
	struct ps_buf out = {0};
	int r = ps_charset_to_utf8(charsets[_i].charset, ps_bytes_str(charsets[_i].in), &out);

	ck_assert_int_eq(r, charsets[_i].err);
	ck_assert_text_eq(ps_buf_view(&out), charsets[_i].out ? charsets[_i].out : "");
	ps_buf_finish(&out);
}
END_TEST

START_TEST(every_charset_of_the_list_has_its_converter)
{
	static const char *const names[] = {"iso-8859-2", "iso-8859-16",   "windows-1258", "big5",
					    "euc-jp",     "iso-2022-jp-2", "euc-kr",       "iso-2022-kr",
					    "utf-7",      "utf-16",        "gb18030",      "macintosh",
					    "cp437",      "ibm866",        "tis-620",      "euc-tw"};
	struct ps_buf out = {0};

	ps_charset_preload();
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++)
		ck_assert_ok(ps_charset_to_utf8(names[i], ps_bytes_str(""), &out));
	ps_buf_finish(&out);
}
END_TEST

/* Texts that are one to a reader who does not mind case. */
static const char *const equal[][2] = {
	{"Hello", "hELLO"},
	{"\xc3\xa9", "\xc3\x89"},                     /* e acute */
	{"e\xcc\x81", "\xc3\x89"},                    /* decomposed */
	{"\xcf\x83", "\xce\xa3"},                     /* sigma */
	{"\xd0\x96", "\xd0\xb6"},                     /* zhe */
	{"\xef\xac\x81", "fi"},                       /* ligature */
	{"\xef\xbc\xa1", "a"},                        /* full width */
	{"\xea\xb0\x80", "\xe1\x84\x80\xe1\x85\xa1"}, /* Hangul syllable */
	{"\xc7\x86", "\xc7\x84"},                     /* dz caron: title case differs from upper case */
	{"bad \xff octet", "BAD \xff OCTET"},
};

START_TEST(case_folds_as_rfc_5051_says)
{
	struct ps_buf a = {0}, b = {0}, again = {0};

	ck_assert_ok(ps_casefold(ps_bytes_str(equal[_i][0]), &a));
	ck_assert_ok(ps_casefold(ps_bytes_str(equal[_i][1]), &b));
	ck_assert_same_bytes(ps_buf_view(&a), ps_buf_view(&b));
	ck_assert_ok(ps_casefold(ps_buf_view(&a), &again));
	ck_assert_same_bytes(ps_buf_view(&a), ps_buf_view(&again));
	ps_buf_finish(&a);
	ps_buf_finish(&b);
	ps_buf_finish(&again);
}
END_TEST

/* Octets are folded several at a time: each comes in each place, with its neighbours. */
START_TEST(ascii_folds_octet_for_octet)
{
	uint8_t text[256 + 16], want[sizeof text];

	for (size_t i = 0; i < sizeof text; i++) {
		text[i] = (uint8_t)(i % 128);
		want[i] = (uint8_t)ps_toupper(text[i]);
	}
	for (size_t start = 0; start < 16; start++) {
		for (size_t len = 0; len <= sizeof text - start; len++) {
			struct ps_buf folded = {0};

			ck_assert_ok(ps_casefold(ps_bytes(text + start, len), &folded));
			ck_assert_same_bytes(ps_buf_view(&folded), ps_bytes(want + start, len));
			ps_buf_finish(&folded);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("decode");
	TCase *tc = tcase_create("decode");

	tcase_add_loop_test(tc, encoded_words_are_decoded, 0, PS_ARRAY_LEN(words));
	tcase_add_loop_test(tc, megabytes_of_word_beginnings_are_read_in_one_go, 0, 3);
	tcase_add_loop_test(tc, transfer_encodings_are_read_leniently_however_they_are_cut, 0, PS_ARRAY_LEN(transfers));
	tcase_add_loop_test(tc, search_charsets_are_converted_or_refused, 0, PS_ARRAY_LEN(charsets));
	tcase_add_test(tc, every_charset_of_the_list_has_its_converter);
	tcase_add_loop_test(tc, case_folds_as_rfc_5051_says, 0, PS_ARRAY_LEN(equal));
	tcase_add_test(tc, ascii_folds_octet_for_octet);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
