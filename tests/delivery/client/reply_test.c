/* SPDX-License-Identifier: MIT */
/* Replies of servers, however they are cut; and what EHLO says. */
#include "core/delivery/client/caps.h"
#include "core/delivery/client/reply.h"
#include "tests/unit.h"

static struct smtp_reply reply;

static void setup(void)
{
	smtp_reply_init(&reply);
}

static void teardown(void)
{
	smtp_reply_finish(&reply);
}

static const struct {
	const char *octets;
	size_t len;
	unsigned code;
	const char *enhanced, *text;
} good[] = {
#define R(octets) octets, sizeof octets - 1
	{R("250 2.1.0 Ok\r\n"), 250, "2.1.0", "Ok"},
	{R("250\r\n"), 250, "2.0.0", ""},
	{R("250 \r\n"), 250, "2.0.0", ""},
	{R("250-first\r\n250 second\r\n"), 250, "2.0.0", "first second"},
	{R("550-5.1.1 No\r\n550 5.1.1 such user\r\n"), 550, "5.1.1", "No such user"},
	{R("550-5.1.1\r\n550 5.1.1\r\n"), 550, "5.1.1", ""},
	{R("450 5.7.1 greylisted\r\n"), 450, "4.7.1", "greylisted"},
	{R("550 4.2.2 full\r\n"), 550, "5.2.2", "full"},
	{R("554 no 5.7.1 here\r\n"), 554, "5.0.0", "no 5.7.1 here"},
	{R("550 5.1.1x y\r\n"), 550, "5.0.0", "5.1.1x y"},
	{R("550 5.1234.1 y\r\n"), 550, "5.0.0", "5.1234.1 y"},
	{R("550 55.1.1 y\r\n"), 550, "5.0.0", "55.1.1 y"},
	{R("550 5.7.509 y\r\n"), 550, "5.7.509", "y"},
	{R("220 mail\n"), 220, "2.0.0", "mail"},
	{R("220 a\0b\tc\x1b[31m\xc3\xbc\\\r\n"), 220, "2.0.0", "a\\x00b\\x09c\\x1B[31m\\xC3\\xBC\\\\"},
	{R("250 a\rb\r\n"), 250, "2.0.0", "a\\x0Db"},
	{R("354 2.0.0 go\r\n"), 354, "2.0.0", "2.0.0 go"},
};

START_TEST(is_read_however_it_is_cut)
{
	for (size_t cut = 0; cut < good[_i].len; cut++) {
		struct ps_bytes head = ps_bytes(good[_i].octets, cut),
				tail = ps_bytes(good[_i].octets + cut, good[_i].len - cut);

		if (memchr(head.ptr, '\n', head.len) && !strchr(good[_i].text, ' '))
			continue; /* it may be whole there */
		ck_assert_int_eq(smtp_reply_feed(&reply, &head), 0);
		ck_assert_int_eq(smtp_reply_feed(&reply, &tail), 1);
		ck_assert_uint_eq(tail.len, 0);
		ck_assert_uint_eq(reply.code, good[_i].code);
		if (good[_i].code != 354)
			ck_assert_str_eq(smtp_reply_enhanced(&reply), good[_i].enhanced);
		ck_assert_str_eq(ps_buf_cstr(&reply.text), good[_i].text);
	}
}
END_TEST

static const char *const bad[] = {
	"\r\n",           "25\r\n",      "abc\r\n",    "250x\r\n",           "2500 ok\r\n", "199 a\r\n",
	"600 a\r\n",      " 250 ok\r\n", "-50 ok\r\n", "250-a\r\n251 b\r\n", "+25 ok\r\n",  "HTTP/1.1 400 Bad\r\n",
	"250-a\r\nb\r\n",
};

START_TEST(is_none)
{
	struct ps_bytes in = ps_bytes_str(bad[_i]);

	ck_assert_int_eq(smtp_reply_feed(&reply, &in), PS_E_SYNTAX);
}
END_TEST

START_TEST(leaves_what_is_behind_it)
{
	struct ps_bytes in = ps_bytes_str("250 a\r\n251 b\r\nrest");

	ck_assert_int_eq(smtp_reply_feed(&reply, &in), 1);
	ck_assert_bytes_eq(in, "251 b\r\nrest");
	ck_assert_int_eq(smtp_reply_feed(&reply, &in), 1);
	ck_assert_uint_eq(reply.code, 251);
	ck_assert_str_eq(ps_buf_cstr(&reply.text), "b");
}
END_TEST

START_TEST(has_no_endless_line)
{
	char line[REPLY_LINE_MAX + 1];
	struct ps_bytes in = ps_bytes(line, sizeof line);

	memset(line, '2', sizeof line);
	ck_assert_int_eq(smtp_reply_feed(&reply, &in), PS_E_LIMIT);
}
END_TEST

START_TEST(has_no_endless_lines)
{
	for (int i = 0; i < REPLY_LINES_MAX; i++) {
		struct ps_bytes in = ps_bytes_str("250-x\r\n");

		ck_assert_int_eq(smtp_reply_feed(&reply, &in), 0);
	}
	ck_assert_int_eq(smtp_reply_feed(&reply, &(struct ps_bytes){(const uint8_t *)"250-x\r\n", 7}), PS_E_LIMIT);
}
END_TEST

START_TEST(keeps_no_more_text_than_it_should)
{
	for (int i = 0; i < 50; i++) {
		struct ps_bytes in =
			ps_bytes_str(i < 49 ? "250-0123456789012345678901234567890123456789\r\n" : "250 end\r\n");

		ck_assert_int_eq(smtp_reply_feed(&reply, &in), i == 49);
	}
	ck_assert_uint_le(reply.text.len, REPLY_TEXT_MAX);
}
END_TEST

START_TEST(ehlo_is_read)
{
	struct smtp_caps caps;

	smtp_caps_read(
		&caps,
		ps_bytes_str("PIPELINING is my name\npipelining \nSIZE 1000\nAUTH LOGIN plain\nLIMITS RCPTMAX=20 "
			     "MAILMAX=x X=\nSTARTTLS\nX\n\nDSNX\nAUTH=PLAIN\n8BITMIME extra\n"));
	ck_assert_uint_eq(caps.flags,
			  CAP_PIPELINING | CAP_SIZE | CAP_AUTH_PLAIN | CAP_AUTH_LOGIN | CAP_STARTTLS | CAP_8BITMIME);
	ck_assert_uint_eq(caps.size_max, 1000);
	ck_assert_uint_eq(caps.rcpt_max, 20);
	ck_assert_uint_eq(caps.mail_max, 0);
	smtp_caps_read(&caps, ps_bytes_str("DSN\n"));
	ck_assert_uint_eq(caps.flags, 0);
	smtp_caps_read(&caps, ps_bytes_str("x\nSIZE 99999999999999999999999\n"));
	ck_assert_uint_eq(caps.size_max, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("delivery/client/reply");
	TCase *tcase = tcase_create("reply");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, is_read_however_it_is_cut, 0, PS_ARRAY_LEN(good));
	tcase_add_loop_test(tcase, is_none, 0, PS_ARRAY_LEN(bad));
	tcase_add_test(tcase, leaves_what_is_behind_it);
	tcase_add_test(tcase, has_no_endless_line);
	tcase_add_test(tcase, has_no_endless_lines);
	tcase_add_test(tcase, keeps_no_more_text_than_it_should);
	tcase_add_test(tcase, ehlo_is_read);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
