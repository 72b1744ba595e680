/* SPDX-License-Identifier: MIT */
#include "tests/message/message_unit.h"

#define BAD INT64_MIN

/* RFC 5322 section 3.3 and 4.3, appendix A, and what people send. */
static const struct {
	const char *text;
	int64_t time;
	int zone;
} dates[] = {
	{"Thu, 01 Jan 1970 00:00:00 +0000", 0, 0},
	{"Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360},
	{"21 Nov 97 09:55:06 GMT", 880106106, 0},
	{" Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland "
	 "Time)",
	 -27723480, -210},
	{"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360},
	{"Mon, 1 Jan 100 00:00:00 +0000", 946684800, 0},
	{"1 Jan 49 00:00 UT", 2493072000, 0},
	{"1 Jan 50 00:00 EST", -631134000, -300},
	{"1 Jan 2000 00:00:00 PDT", 946709999 + 1, -420},
	{"1 Jan 2000 00:00:00 XYZ", 946684800, 0},
	{"1 Jan 2000 00:00:00", 946684800, 0},
	{"1 Jan 2000", 946684800, 0},
	{"1 Jan 2000 00:00 0130", 946679400, 90},
	{"1 Jan 2000 00:00 +-0130", 946684800, 0},
	{"Thursday, 29 February 2024 23:59:60 +0000", 1709251200, 0},
	{"Sat Jan  1 00:00:00 2000", 946684800, 0},
	{"Sat Jan  1 01:00:00 CET 2000", 946684800, 60},
	{"Sat Jan  1 01:00:00 2000 +0100", 946684800, 60},
	{"1-Jan-2000 00:00:00 +0000", 946684800, 0},
	{"Sat,1 Jan 2000 0:0:0 +0000", 946684800, 0},
	{"1 Jan 2000 00.00.00 +0000", 946684800, 0},
	{"31 Dec 9999 23:59:59 +0000", 253402300799, 0},
	{"", BAD, 0},
	{"soon", BAD, 0},
	{"30 Feb 2000 00:00 +0000", BAD, 0},
	{"29 Feb 1900 00:00 +0000", BAD, 0},
	{"0 Jan 2000 00:00 +0000", BAD, 0},
	{"1 Foo 2000 00:00 +0000", BAD, 0},
	{"1 Jan 2000 24:00 +0000", BAD, 0},
	{"1 Jan 2000 00:60 +0000", BAD, 0},
	{"1 Jan 2000 00:00:61 +0000", BAD, 0},
	{"1 Jan 99999 00:00 +0000", BAD, 0},
	{"1 Jan 2000 noon", BAD, 0},
	{"111 Jan 2000", BAD, 0},
	{"((((((((", BAD, 0},
};

START_TEST(dates_of_messages)
{
	int64_t time = BAD;
	int zone = 0;
	int r = ps_date_parse(ps_bytes_str(dates[_i].text), &time, &zone);

	ck_assert_int_eq(r, dates[_i].time == BAD ? PS_E_SYNTAX : 0);
	ck_assert_int_eq(time, dates[_i].time);
	ck_assert_int_eq(zone, dates[_i].zone);
}
END_TEST

/* RFC 3501 section 9, date-time; `back` is the same in UTC. */
static const struct {
	const char *text;
	int64_t time;
	const char *back;
} imap_dates[] = {
	{"17-Jul-1996 02:44:25 -0700", 837596665, "17-Jul-1996 09:44:25 +0000"},
	{" 1-jan-1970 00:00:00 +0000", 0, " 1-Jan-1970 00:00:00 +0000"},
	{"01-JAN-1970 00:00:00 +0100", -3600, "31-Dec-1969 23:00:00 +0000"},
	{"29-Feb-2000 12:00:00 +0000", 951825600, "29-Feb-2000 12:00:00 +0000"},
	{" 1-Jan-0001 00:00:00 +0000", -62135596800, " 1-Jan-0001 00:00:00 +0000"},
	{"1-Jan-1970 00:00:00 +0000", BAD, NULL},
	{" 01-Jan-1970 00:00:00 +0000", BAD, NULL},
	{"01-January-1970 00:00:00 +0000", BAD, NULL},
	{"01-Jan-70 00:00:00 +0000", BAD, NULL},
	{"01-Jan-1970 0:00:00 +0000", BAD, NULL},
	{"01-Jan-1970 00:00 +0000", BAD, NULL},
	{"01-Jan-1970 00:00:00 +0060", BAD, NULL},
	{"01-Jan-1970 00:00:00 GMT", BAD, NULL},
	{"01-Jan-1970 00:00:00 +0000 ", BAD, NULL},
	{"31-Apr-1970 00:00:00 +0000", BAD, NULL},
	{"01-Jan-1970", BAD, NULL},
	{"", BAD, NULL},
};

START_TEST(dates_of_imap_go_both_ways)
{
	struct ps_buf out = {0};
	int64_t time = BAD;
	int r = ps_imap_date_parse(ps_bytes_str(imap_dates[_i].text), &time);

	ck_assert_int_eq(r, imap_dates[_i].time == BAD ? PS_E_SYNTAX : 0);
	ck_assert_int_eq(time, imap_dates[_i].time);
	if (imap_dates[_i].back) {
		ps_imap_date_format(&out, time);
		ck_assert_text_eq(ps_buf_view(&out), imap_dates[_i].back);
	}
	ps_buf_finish(&out);
}
END_TEST

static const struct {
	const char *text;
	int64_t time;
} days[] = {
	{"1-Feb-1994", 760060800},
	{"01-Feb-1994", 760060800},
	{"28-feb-1994", 762393600},
	{"29-Feb-1994", BAD},
	{" 1-Feb-1994", BAD},
	{"1-Feb-1994 ", BAD},
	{"1-Feb-94", BAD},
	{"1-February-1994", BAD},
	{"1 Feb 1994", BAD},
	{"", BAD},
	{"1-Feb", BAD},
};

START_TEST(days_of_imap_search)
{
	int64_t time = BAD;

	ck_assert_int_eq(ps_imap_day_parse(ps_bytes_str(days[_i].text), &time), days[_i].time == BAD ? PS_E_SYNTAX : 0);
	ck_assert_int_eq(time, days[_i].time);
}
END_TEST

START_TEST(days_of_four_thousand_years_come_back)
{
	struct ps_buf out = {0};

	for (int64_t day = -719162; day < 719162; day += 13) {
		int64_t time = day * 86400 + 86399, back;

		ps_buf_reset(&out);
		ps_imap_date_format(&out, time);
		ck_assert_ok(ps_imap_date_parse(ps_buf_view(&out), &back));
		ck_assert_int_eq(back, time);
	}
	ps_imap_date_format(&out, INT64_MIN);
	ps_imap_date_format(&out, INT64_MAX);
	ps_buf_finish(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("date");
	TCase *tc = tcase_create("date");

	tcase_add_loop_test(tc, dates_of_messages, 0, PS_ARRAY_LEN(dates));
	tcase_add_loop_test(tc, dates_of_imap_go_both_ways, 0, PS_ARRAY_LEN(imap_dates));
	tcase_add_loop_test(tc, days_of_imap_search, 0, PS_ARRAY_LEN(days));
	tcase_add_test(tc, days_of_four_thousand_years_come_back);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
