/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/trace.h"
#include "tests/unit.h"

static const struct {
	struct smtp_trace trace;
	const char *want;
} traces[] = {
	{{.helo = "c.example", .remote = "192.0.2.1:25", .extended = true, .recipient = "a@b"},
	 "Received: from c.example ([192.0.2.1])\r\n\tby h (Postern) with ESMTP id 7\r\n\tfor <a@b>;\r\n\tThu, 1 Jan "
	 "1970 00:00:00 +0000\r\n"},
	{{.helo = "c.example", .remote = "192.0.2.1:25"},
	 "Received: from c.example ([192.0.2.1])\r\n\tby h (Postern) with SMTP id 7;\r\n\tThu, 1 Jan 1970 00:00:00 "
	 "+0000\r\n"},
	{{.helo = "c.example", .remote = "[2001:db8::1]:25", .extended = true, .tls = true, .time = 1774000000},
	 "Received: from c.example ([IPv6:2001:db8::1])\r\n\tby h (Postern) with ESMTPS id 7;\r\n\tFri, 20 Mar 2026 "
	 "09:46:40 +0000\r\n"},
	{{.helo = "c.example", .remote = "[::ffff:192.0.2.1]:25", .extended = true, .authenticated = true},
	 "Received: from c.example ([192.0.2.1])\r\n\tby h (Postern) with ESMTPA id 7;\r\n\tThu, 1 Jan 1970 00:00:00 "
	 "+0000\r\n"},
	{{.helo = "c.example", .remote = "unix", .lmtp = true, .extended = true},
	 "Received: from c.example\r\n\tby h (Postern) with LMTP id 7;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n"},
	{{.helo = "", .remote = "unix", .lmtp = true, .extended = true, .tls = true, .utf8 = true},
	 "Received: from unknown\r\n\tby h (Postern) with UTF8LMTPS id 7;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n"},
	{{.helo = "c", .remote = "unix", .extended = true, .tls = true, .authenticated = true, .utf8 = true},
	 "Received: from c\r\n\tby h (Postern) with UTF8SMTPSA id 7;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n"},
};

START_TEST(tells_where_a_message_came_from)
{
	struct smtp_trace trace = traces[_i].trace;
	struct ps_buf out = {0};

	trace.hostname = "h";
	trace.id = "7";
	smtp_put_received(&trace, &out);
	ck_assert_str_eq(ps_buf_cstr(&out), traces[_i].want);
	ps_buf_finish(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smtp trace");
	TCase *tcase = tcase_create("trace");

	tcase_add_loop_test(tcase, tells_where_a_message_came_from, 0, (int)PS_ARRAY_LEN(traces));
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
