/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/network.h"
#include "tests/unit.h"

static const struct {
	const char *network, *remote;
	bool has;
} pairs[] = {
	{"192.0.2.1", "192.0.2.1:25", true},
	{"192.0.2.1", "192.0.2.2:25", false},
	{"192.0.2.1", "[::ffff:192.0.2.1]:25", true},
	{"192.0.2.0/24", "192.0.2.255:25", true},
	{"192.0.2.0/24", "192.0.3.0:25", false},
	{"192.0.2.0/31", "192.0.2.1:25", true},
	{"192.0.2.0/31", "192.0.2.2:25", false},
	{"192.0.2.128/25", "192.0.2.127:25", false},
	{"0.0.0.0/0", "192.0.2.1:25", true},
	{"0.0.0.0/0", "[2001:db8::1]:25", false},
	{"::/0", "[2001:db8::1]:25", true},
	{"2001:db8::/32", "[2001:db8:ffff::1]:25", true},
	{"2001:db8::/33", "[2001:db8:ffff::1]:25", false},
	{"2001:db8::1", "[2001:db8::1]:25", true},
	{"192.0.2.1/33", "192.0.2.1:25", false},
	{"192.0.2.1/", "192.0.2.1:25", false},
	{"192.0.2.1/x", "192.0.2.1:25", false},
	{"192.0.2.1/-1", "192.0.2.1:25", false},
	{"192.0.2", "192.0.2.1:25", false},
	{"", "192.0.2.1:25", false},
	{"/0", "192.0.2.1:25", false},
	{"::/129", "[::1]:25", false},
	{"::/4294967296", "[::1]:25", false},
};

START_TEST(a_network_has_its_addresses)
{
	struct smtp_address address;

	ck_assert_ok(smtp_address_of_remote(pairs[_i].remote, &address));
	ck_assert_int_eq(smtp_network_has(pairs[_i].network, &address), pairs[_i].has);
}
END_TEST

START_TEST(what_is_no_address)
{
	static const char *const remotes[] = {"unix", "", "192.0.2.1", "[::1", "x:25", "[192.0.2]:25", "[]:25", ":25"};
	struct smtp_address address;

	for (size_t i = 0; i < PS_ARRAY_LEN(remotes); i++)
		ck_assert_int_eq(smtp_address_of_remote(remotes[i], &address), PS_E_SYNTAX);
}
END_TEST

START_TEST(there_and_back)
{
	static const char *const remotes[] = {"192.0.2.1:25", "[2001:db8::1]:0", "[::1]:65535"};
	char text[SMTP_REMOTE_MAX];
	struct smtp_address address;

	for (size_t i = 0; i < PS_ARRAY_LEN(remotes); i++) {
		ck_assert_ok(smtp_address_of_remote(remotes[i], &address));
		smtp_address_to_remote(&address, (uint32_t)atoi(strrchr(remotes[i], ':') + 1), text);
		ck_assert_str_eq(text, remotes[i]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smtp network");
	TCase *tcase = tcase_create("network");

	tcase_add_loop_test(tcase, a_network_has_its_addresses, 0, (int)PS_ARRAY_LEN(pairs));
	tcase_add_test(tcase, what_is_no_address);
	tcase_add_test(tcase, there_and_back);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
