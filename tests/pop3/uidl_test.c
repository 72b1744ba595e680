/* SPDX-License-Identifier: MIT */
/* Unique-ids by format: those of the servers that clients come from. */
#include "protocols/pop3/pop3.h"
#include "tests/unit.h"

static const struct {
	const char *format, *wanted;
} rows[] = {
	{"dovecot", "0000002a5f3759df"},
	{"uw", "5f3759df0000002a"},
	{"cyrus", "1597463007.42"},
	{"cyrus-old", "42"},
	{"courier", "UID42-1597463007"},
	{"courier-old", "1597463007-42"},
	{"email-id", "000102030405060708090a0b0c0d0e0f.42"},
};

START_TEST(formats)
{
	struct ps_row row = {.uid = 42, .email_id = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}};
	char id[POP3_UIDL_SIZE];

	pop3_uidl_format(pop3_uidl_find(rows[_i].format), &row, 0x5f3759df, id);
	ck_assert_str_eq(id, rows[_i].wanted);
}
END_TEST

START_TEST(longest)
{
	struct ps_row row = {.uid = UINT32_MAX};
	char id[POP3_UIDL_SIZE];

	memset(row.email_id.octets, 0xff, sizeof row.email_id.octets);
	pop3_uidl_format(pop3_uidl_find(rows[_i].format), &row, UINT32_MAX, id);
	/* RFC 1939 section 7 allows 70; not one was cut. */
	ck_assert_uint_le(strlen(id), 45);
	ck_assert_ptr_null(pop3_uidl_find("maildir"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pop3 unique-ids");
	TCase *tc = tcase_create("formats");

	tcase_add_loop_test(tc, formats, 0, PS_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, longest, 0, PS_ARRAY_LEN(rows));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
