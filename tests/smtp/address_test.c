/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/address.h"
#include "tests/unit.h"

static const struct {
	const char *address;
	uint32_t port;
	const char *want; /* NULL: it is none */
} addresses[] = {
	{"192.0.2.1", 25, "192.0.2.1:25"},
	{"2001:DB8:0::1", 65535, "[2001:db8::1]:65535"},
	{"::ffff:192.0.2.1", 0, "[::ffff:192.0.2.1]:0"},
	{"192.0.2", 25, NULL},
	{"192.0.2.256", 25, NULL},
	{"[::1]", 25, NULL},
	{"::1%lo", 25, NULL},
	{"localhost", 25, NULL},
	{" 192.0.2.1", 25, NULL},
	{"", 25, NULL},
};

START_TEST(an_address_and_a_port)
{
	char remote[SMTP_REMOTE_MAX] = "";
	int r = smtp_remote_make(addresses[_i].address, addresses[_i].port, remote);

	ck_assert_int_eq(r, addresses[_i].want ? 0 : PS_E_SYNTAX);
	ck_assert_str_eq(remote, addresses[_i].want ? addresses[_i].want : "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smtp address");
	TCase *tcase = tcase_create("address");

	tcase_add_loop_test(tcase, an_address_and_a_port, 0, (int)PS_ARRAY_LEN(addresses));
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
