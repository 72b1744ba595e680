/* SPDX-License-Identifier: MIT */
#include "tests/message/message_unit.h"

#define PLAIN(charset, encoding)                                                                                       \
	"Content-Type: text/plain; charset=" charset "\nContent-Transfer-Encoding: " encoding "\n\n"
#define HTML  "Content-Type: text/html; charset=utf-8\n\n"
#define TEN   "0123456789"
#define FIFTY TEN TEN TEN TEN TEN

static const struct {
	const char *message, *preview;
} previews[] = {
	{"", ""},
	{"Subject: s\n\n", ""},
	{"Subject: s\n\nPreview text!\n", "Preview text!"},
	{"Subject: s\n\n\n\n  several   blanks\t and\n\nlines\n\n", "several blanks and lines"},
	/* Transfer encodings and charsets. */
	{PLAIN("iso-8859-1", "quoted-printable") "Gr=FC=DFe aus K=\n=F6ln\n", "Gr\xc3\xbc\xc3\x9f"
									      "e aus K\xc3\xb6ln"},
	{PLAIN("utf-8", "base64") "R3LDvMOfZQo=\n", "Gr\xc3\xbc\xc3\x9f"
						    "e"},
	{PLAIN("koi8-r", "8bit") "\xf0\xd2\xc9\xd7\xc5\xd4\n", "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"},
	{PLAIN("no-such", "7bit") "as it is\n", "as it is"},
	{"\n\xfc without a charset\n", "\xc3\xbc without a charset"},
	/* 200 characters, not octets; a blank at the end is none. */
	{"\n" FIFTY FIFTY FIFTY FIFTY "x\n", FIFTY FIFTY FIFTY FIFTY},
	{"\n" FIFTY FIFTY FIFTY "012345678901234567890123456789012345678901234567 yz\n",
	 FIFTY FIFTY FIFTY "012345678901234567890123456789012345678901234567 y"},
	{"\n" FIFTY FIFTY FIFTY "0123456789012345678901234567890123456789012345678 yz\n",
	 FIFTY FIFTY FIFTY "0123456789012345678901234567890123456789012345678"},
	/* What is not seen, or would turn the line round. */
	{PLAIN("utf-8", "8bit") "a\xe2\x80\xae"
				"b\xc2\xa0\xc2\xa0"
				"c\x01\x7f\xe2\x80\x8b"
				"d\n",
	 "ab c d"},
	/* Replies. */
	{"\nOn Monday, Alice\nwrote:\n> the old\n> text\n\nThe answer.\n", "The answer."},
	{"\nHello Bob,\n\nAlice wrote:\n\n> old\nThe answer.\n", "Hello Bob, The answer."},
	{"\nIt is this:\nnamely that.\n\n> old\n", "It is this: namely that."},
	{"\n> only\n >> quoted\n", "only quoted"},
	{"\n > old\nnew > old\n", "new > old"},
	{"\nOne.\n-- \nMy signature\n", "One."},
	{"\n-- \nOnly a signature\n", "-- Only a signature"},
	/* PGP. */
	{"\n-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n", ""},
	{"\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSigned.\n-----BEGIN PGP SIGNATURE-----\n\niQ\n",
	 "Signed."},
	{"Content-Type: multipart/encrypted; boundary=b\n\n--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n"
	 "--b\nContent-Type: application/octet-stream\n\nhQEMA\n--b--\n",
	 ""},
	/* Which part. */
	{"Content-Type: multipart/mixed; boundary=b\n\npreamble\n--b\nContent-Type: image/png\n\nAAAA\n--b\n\none\n"
	 "--b\n\ntwo\n--b--\nepilogue\n",
	 "one"},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n\n--b\n\ntwo\n--b--\n", "two"},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: ATTACHMENT; filename=x\n\none\n--b\n\n"
	 "two\n--b--\n",
	 "two"},
	{"Content-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n--b\n" HTML "<b>html</b>\n--b--\n", "plain"},
	{"Content-Type: multipart/alternative; boundary=b\n\n--b\n" HTML "<b>html</b>\n--b\n\nplain\n--b--\n", "plain"},
	{"Content-Type: multipart/alternative; boundary=b\n\n--b\n\n\n--b\n" HTML "<b>html</b>\n--b--\n", "html"},
	{"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: multipart/related; "
	 "boundary=c\n\n--c\n" HTML "<b>html</b>\n--c--\n--b\n\nplain\n--b--\n",
	 "plain"},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\n" HTML "<b>html</b>\n--b\n\nplain\n--b--\n", "html"},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: "
	 "in\n\nwithin\n--b--\n",
	 "within"},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--not a boundary\ntwo\n-\nthree\n--b--\n",
	 "one --not a boundary two - three"},
	/* HTML. */
	{HTML "<html><head><title>T</title><style>p { color: red }</style><script>a < b</script></head>"
	      "<body><p>One</p><p>two<br>three</p></body></html>",
	 "One two three"},
	{HTML "a<b>b</b>c<i >d</i><img src=\"x>y\" alt='z'>e", "abcd e"},
	{HTML "&lt;tag&gt; &amp; &quot;q&quot; &eacute;&nbsp;&#233;&#xE9; &#150; &euro;",
	 "<tag> & \"q\" \xc3\xa9 \xc3\xa9\xc3\xa9 \xe2\x80\x93 \xe2\x82\xac"},
	{HTML "&unknown; &amp &#xd800; &#1114112; &", "&unknown; & &#xd800; &#1114112; &"},
	{HTML "a<!-- no -- > --><!--[if mso]><p>no</p><![endif]-->b<!DOCTYPE x>c", "abc"},
	{HTML "1 < 2 <3 </>x</p\n", "1 < 2 <3 x"},
	{HTML "<STYLE>no</styled>no</STYLE >yes", "yes"},
	{HTML "<p>Mine</p><blockquote type=cite>theirs</blockquote>", "Mine"},
	{HTML "<blockquote>theirs</blockquote>", "theirs"},
	{HTML "<p>&zwnj;&nbsp;&zwnj;&nbsp;&#847;&shy;</p>x", "x"},
	{HTML "<style>never closed", ""},
	{"Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p style=3D\"x\">Gr=FC=DFe</p>\n",
	 "Gr\xc3\xbc\xc3\x9f"
	 "e"},
};

START_TEST(a_message_says_what_it_is_about_however_it_is_cut)
{
	struct ps_bytes text = ps_bytes_str(previews[_i].message);

	for (size_t cut = 0; cut <= text.len; cut++) {
		struct derived d = derive_cut(text, cut);

		ck_assert_text_eq(ps_cache_preview(&d.cache), previews[_i].preview);
		derived_finish(&d);
	}
}
END_TEST

START_TEST(line_ends_make_no_difference)
{
	struct ps_buf crlf = {0};
	struct derived d;

	to_crlf(ps_bytes_str(previews[_i].message), &crlf);
	d = derive_cut(ps_buf_view(&crlf), crlf.len / 2);
	ck_assert_text_eq(ps_cache_preview(&d.cache), previews[_i].preview);
	derived_finish(&d);
	ps_buf_finish(&crlf);
}
END_TEST

/* What says nothing is not read to its end, and what is behind it not at all. */
START_TEST(a_part_of_nothing_is_given_up)
{
	struct ps_buf text = {0};
	struct derived d;

	ps_buf_str(&text, "Content-Type: multipart/mixed; boundary=b\n\n");
	for (int part = 0; part < 5; part++) {
		ps_buf_str(&text, "--b\n" HTML "<style>");
		for (int i = 0; i < 300 * 1024 / 50; i++)
			ps_buf_str(&text, "p { color: black; background: white; margin: 0 }\r\n");
		ps_buf_str(&text, "</style>text\n");
	}
	ps_buf_str(&text, "--b\n\nplain\n--b--\n");
	d = derive_cut(ps_buf_view(&text), text.len / 3);
	ck_assert_text_eq(ps_cache_preview(&d.cache), "");
	derived_finish(&d);
	ps_buf_finish(&text);
}
END_TEST

START_TEST(long_lines_of_wide_characters_are_cut_between_characters)
{
	struct ps_buf text = {0}, want = {0};
	struct derived d;

	ps_buf_str(&text, PLAIN("utf-8", "8bit"));
	for (int i = 0; i < 5000; i++)
		ps_buf_str(&text, "\xf0\x9f\x93\xa7");
	for (int i = 0; i < 200; i++)
		ps_buf_str(&want, "\xf0\x9f\x93\xa7");
	for (size_t cut = text.len - 20000; cut < text.len - 18990; cut++) {
		d = derive_cut(ps_buf_view(&text), cut);
		ck_assert_same_bytes(ps_cache_preview(&d.cache), ps_buf_view(&want));
		derived_finish(&d);
	}
	ps_buf_finish(&text);
	ps_buf_finish(&want);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("preview");
	TCase *tc = tcase_create("preview");

	tcase_add_loop_test(tc, a_message_says_what_it_is_about_however_it_is_cut, 0, PS_ARRAY_LEN(previews));
	tcase_add_loop_test(tc, line_ends_make_no_difference, 0, PS_ARRAY_LEN(previews));
	tcase_add_test(tc, a_part_of_nothing_is_given_up);
	tcase_add_test(tc, long_lines_of_wide_characters_are_cut_between_characters);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
