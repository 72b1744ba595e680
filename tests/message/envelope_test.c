/* SPDX-License-Identifier: MIT */
#include "tests/message/message_unit.h"

#define ADDRESSES(list) "(NIL NIL " list " " list " " list " NIL NIL NIL NIL NIL)"

/* RFC 3501 section 7.4.2, and what people send. */
static const struct {
	const char *header, *envelope;
} envelopes[] = {
	{"", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"\n", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\n"
	 "From: Terry Gray <gray@cac.washington.edu>\n"
	 "Subject: IMAP4rev1 WG mtg summary and minutes\n"
	 "To: imap@cac.washington.edu\n"
	 "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\n"
	 "Message-Id: <B27397-0100000@cac.washington.edu>\n\n",
	 "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" "
	 "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
	 "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
	 "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
	 "((NIL NIL \"imap\" \"cac.washington.edu\")) "
	 "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) "
	 "NIL NIL \"<B27397-0100000@cac.washington.edu>\")"},
	/* There but empty is not absent. */
	{"Date:\nSubject: \nFrom:\nTo: \nMessage-ID:\nIn-Reply-To:  \n\n",
	 "(\"\" \"\" NIL NIL NIL NIL NIL NIL \"\" \"\")"},
	/* Sender and Reply-To of their own; an empty one is as good as none. */
	{"From: a@b\nSender: c@d\nReply-To: e@f\n\n",
	 "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) ((NIL NIL \"e\" \"f\")) NIL NIL NIL NIL NIL)"},
	{"From: a@b\nSender:\nReply-To: ,\n\n", ADDRESSES("((NIL NIL \"a\" \"b\"))")},
	/* The first of several texts, all of several address fields. */
	{"Subject: one\nSubject: two\n\n", "(NIL \"one\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"To: a@b\nTo: c@d\n\n", "(NIL NIL NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)"},
	/* Strings. */
	{"Subject: say \"hi\" \\o/\n\n", "(NIL \"say \\\"hi\\\" \\\\o/\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"Subject: caf\xc3\xa9\n\n", "(NIL {5}\r\ncaf\xc3\xa9 NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"Subject: bare\rCR\n\n", "(NIL {7}\r\nbare\rCR NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"Subject: =?utf-8?q?raw?=\n =?utf-8?q?_still?=\t\n\n",
	 "(NIL \"=?utf-8?q?raw?= =?utf-8?q?_still?=\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"SUBJECT  : blanks ahead of the colon\r\n\r\n",
	 "(NIL \"blanks ahead of the colon\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"no colon here\n folded\nSubject: s\n\n", "(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"From someone@example.org Thu Aug 22 12:36:23 2002\nSubject: s\n\n",
	 "(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"Subject: at the end", "(NIL \"at the end\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"Subject: at the end\r", "(NIL \"at the end\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
};

START_TEST(envelope_is_as_rfc_3501_has_it)
{
	struct derived d = derive(envelopes[_i].header);

	ck_assert_text_eq(ps_cache_envelope(&d.cache), envelopes[_i].envelope);
	derived_finish(&d);
}
END_TEST

/* An address list and what ENVELOPE makes of it. */
static const struct {
	const char *value, *list;
} addresses[] = {
	{"joe@example.org", "((NIL NIL \"joe\" \"example.org\"))"},
	{"Joe Doe <joe@example.org>", "((\"Joe Doe\" NIL \"joe\" \"example.org\"))"},
	{"\"Joe, Jr.\" <joe@example.org>", "((\"Joe, Jr.\" NIL \"joe\" \"example.org\"))"},
	{"joe@example.org (Joe Doe)", "((\"Joe Doe\" NIL \"joe\" \"example.org\"))"},
	{"<joe@example.org> (Joe (the) Doe)", "((\"Joe (the) Doe\" NIL \"joe\" \"example.org\"))"},
	{"joe(a comment)@(b)example(c).(d)org", "((\"d\" NIL \"joe\" \"example.org\"))"},
	{"J. R. Doe <j.doe@example.org>", "((\"J. R. Doe\" NIL \"j.doe\" \"example.org\"))"},
	{"joe . doe @ example . org", "((NIL NIL \"joe.doe\" \"example.org\"))"},
	{"<@one.example,@two.example:joe@example.org>",
	 "((NIL \"@one.example,@two.example\" \"joe\" \"example.org\"))"},
	{"\"joe doe\"@example.org", "((NIL NIL \"joe doe\" \"example.org\"))"},
	{"joe@[192.0.2.1]", "((NIL NIL \"joe\" \"[192.0.2.1]\"))"},
	{"friends: a@b, C <c@d>;, e@f", "((NIL NIL \"friends\" NIL)(NIL NIL \"a\" \"b\")(\"C\" NIL \"c\" \"d\")(NIL "
					"NIL NIL NIL)(NIL NIL \"e\" \"f\"))"},
	{"undisclosed-recipients:;", "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL))"},
	{"Undisclosed recipients:", "((NIL NIL \"Undisclosed recipients\" NIL)(NIL NIL NIL NIL))"},
	{"a@b; c@d;", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))"},
	{",, a@b,,c@d ,", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))"},
	/* Both the mailbox and the host are strings, or it would be a group. */
	{"joe", "((NIL NIL \"joe\" \"\"))"},
	{"Joe Doe", "((NIL NIL \"Joe Doe\" \"\"))"},
	{"Joe <>", "((\"Joe\" NIL \"\" \"\"))"},
	{"<joe>", "((NIL NIL \"joe\" \"\"))"},
	{"joe@", "((NIL NIL \"joe\" \"\"))"},
	{"@example.org", "((NIL NIL \"\" \"example.org\"))"},
	{"joe@example.org <joe@example.org>", "((\"joe@example.org\" NIL \"joe\" \"example.org\"))"},
	{"Joe Doe <joe@example.org", "((\"Joe Doe\" NIL \"joe\" \"example.org\"))"},
	{"Joe <joe@example.org, a@b", "((\"Joe\" NIL \"joe\" \"example.org\")(NIL NIL \"a\" \"b\"))"},
	{"<a@b> <c@d>", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))"},
	{"\"Joe <joe@example.org>", "((NIL NIL \"Joe <joe@example.org>\" \"\"))"},
	{"Joe (unclosed <joe@example.org>", "((\"unclosed <joe@example.org>\" NIL \"Joe\" \"\"))"},
	{"Joe [work] <joe@example.org>", "((\"Joe [work]\" NIL \"joe\" \"example.org\"))"},
	{"=?utf-8?q?J=C3=B6?= <j@example.org>", "((\"=?utf-8?q?J=C3=B6?=\" NIL \"j\" \"example.org\"))"},
	{"J\xc3\xb6 <j@example.org>", "(({3}\r\nJ\xc3\xb6 NIL \"j\" \"example.org\"))"},
	{"\"Joe\n Doe\" <joe@example.org>,\n a@b", "((\"Joe Doe\" NIL \"joe\" \"example.org\")(NIL NIL \"a\" \"b\"))"},
	{"\"a\\\"b\\\\c\" <a@b>", "((\"a\\\"b\\\\c\" NIL \"a\" \"b\"))"},
	{"<mailto:joe@example.org>", "((NIL NIL \"mailto:joe\" \"example.org\"))"},
	{"a@b@c", "((NIL NIL \"a\" \"b\"))"},
};

START_TEST(addresses_are_read_leniently)
{
	struct ps_buf header = {0}, want = {0};
	struct derived d;

	ps_buf_printf(&header, "To: %s\n\n", addresses[_i].value);
	ps_buf_printf(&want, "(NIL NIL NIL NIL NIL %s NIL NIL NIL NIL)", addresses[_i].list);
	d = derive(ps_buf_cstr(&header));
	ck_assert_text_eq(ps_cache_envelope(&d.cache), ps_buf_cstr(&want));
	derived_finish(&d);
	ps_buf_finish(&header);
	ps_buf_finish(&want);
}
END_TEST

static size_t count(struct ps_bytes in, const char *what)
{
	size_t n = 0, len = strlen(what);

	for (const uint8_t *at = in.ptr, *end = in.ptr + in.len; (at = memmem(at, (size_t)(end - at), what, len));
	     at += len)
		n++;
	return n;
}

START_TEST(an_envelope_holds_at_most_1000_addresses)
{
	struct ps_buf text = {0};
	struct derived d;

	ps_buf_str(&text, "Subject: many\nTo: a@b");
	for (int i = 0; i < 500000; i++)
		ps_buf_str(&text, ",\n a@b");
	ps_buf_str(&text, "\nMessage-ID: <1@b>\n\n");
	d = derive_cut(ps_buf_view(&text), 0);
	ck_assert_uint_eq(count(ps_cache_envelope(&d.cache), "(NIL NIL \"a\" \"b\")"), 1000);
	ck_assert_uint_eq(count(ps_cache_envelope(&d.cache), "\"<1@b>\")"), 1);
	derived_finish(&d);
	ps_buf_finish(&text);
}
END_TEST

START_TEST(nul_octets_do_not_reach_the_envelope)
{
	static const char text[] = "Subject: a\0b\nTo: \"x\0y\" <a@b>\n\n";
	struct derived d = derive_cut(ps_bytes(text, sizeof text - 1), 0);

	ck_assert_text_eq(ps_cache_envelope(&d.cache),
			  "(NIL {3}\r\na\x80"
			  "b NIL NIL NIL (({3}\r\nx\x80y NIL \"a\" \"b\")) NIL NIL NIL NIL)");
	derived_finish(&d);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("envelope");
	TCase *tc = tcase_create("envelope");

	tcase_add_loop_test(tc, envelope_is_as_rfc_3501_has_it, 0, PS_ARRAY_LEN(envelopes));
	tcase_add_loop_test(tc, addresses_are_read_leniently, 0, PS_ARRAY_LEN(addresses));
	tcase_add_test(tc, an_envelope_holds_at_most_1000_addresses);
	tcase_add_test(tc, nul_octets_do_not_reach_the_envelope);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
