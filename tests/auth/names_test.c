/* SPDX-License-Identifier: MIT */
#include "auth/names.h"
#include "auth/nets.h"
#include "tests/unit.h"

/* in a table */
#define ROW(text)                                                                                                      \
	{                                                                                                              \
		(const uint8_t *)(text), sizeof(text) - 1                                                              \
	}

static const struct {
	struct ps_bytes name;
	const char *domain;
	const char *spelt; /* NULL: refused */
} names[] = {
	{ROW("alice"), NULL, "alice"},
	{ROW("alice"), "", "alice"},
	{ROW("alice"), "example.test", "alice@example.test"},
	{ROW("Alice"), "Example.test", "alice@example.test"},
	{ROW("ALICE@Other.Test"), "example.test", "alice@other.test"},
	{ROW("a.b+c-d_e=f&g'h#i$j!"), NULL, "a.b+c-d_e=f&g'h#i$j!"},
	{ROW(""), "example.test", NULL},
	{ROW("@example.test"), NULL, NULL},
	{ROW("alice@"), "example.test", NULL},
	{ROW("a@b@c"), NULL, NULL},
	{ROW("../x"), NULL, NULL},
	{ROW(".."), NULL, NULL},
	{ROW("."), NULL, NULL},
	{ROW("a..b"), NULL, NULL},
	{ROW(".a"), NULL, NULL},
	{ROW("a."), NULL, NULL},
	{ROW("a@.b"), NULL, NULL},
	{ROW("a@b."), NULL, NULL},
	{ROW("a/b"), NULL, NULL},
	{ROW("a\\b"), NULL, NULL},
	{ROW("alice\0"), NULL, NULL},
	{ROW("alice\0@example.test"), NULL, NULL},
	{ROW("*"), NULL, NULL},
	{ROW("%n"), NULL, NULL},
	{ROW("~alice"), NULL, NULL},
	{ROW("a b"), NULL, NULL},
	{ROW("a:b"), NULL, NULL},
	{ROW("a\nb"), NULL, NULL},
	{ROW("a\r"), NULL, NULL},
	{ROW("a\x7f"), NULL, NULL},
	{ROW("a\xc3\xa9"), NULL, NULL},
	{ROW("a\xff"), NULL, NULL},
	{ROW("a\"b"), NULL, NULL},
	{ROW("a;b"), NULL, NULL},
	{ROW("a(b"), NULL, NULL},
};

START_TEST(a_name_has_one_spelling_or_is_refused)
{
	struct ps_buf out = {0};
	int r = ps_user_name_normalise(names[_i].name, names[_i].domain, &out);

	ck_assert_int_eq(r, names[_i].spelt ? 0 : PS_E_INVALID);
	ck_assert_str_eq(ps_buf_cstr(&out), names[_i].spelt ? names[_i].spelt : "");
	ps_buf_finish(&out);
}
END_TEST

START_TEST(a_name_is_not_longer_than_its_limit)
{
	char text[PS_USER_NAME_MAX + 2];
	struct ps_buf out = {0};

	memset(text, 'a', sizeof text);
	ck_assert_ok(ps_user_name_normalise(ps_bytes(text, PS_USER_NAME_MAX), NULL, &out));
	ck_assert_int_eq(ps_user_name_normalise(ps_bytes(text, PS_USER_NAME_MAX + 1), NULL, &out), PS_E_INVALID);
	ck_assert_int_eq(ps_user_name_normalise(ps_bytes(text, PS_USER_NAME_MAX), "d", &out), PS_E_INVALID);
	ck_assert_uint_eq(out.len, PS_USER_NAME_MAX);
	ps_buf_finish(&out);
}
END_TEST

static const struct {
	const char *nets, *remote;
	bool inside;
} nets[] = {
	{"192.0.2.0/24", "192.0.2.255:4711", true},
	{"192.0.2.0/24", "192.0.3.0:4711", false},
	{"192.0.2.1", "192.0.2.1:1", true},
	{"192.0.2.1", "192.0.2.2:1", false},
	{"192.0.2.128/25", "192.0.2.127:1", false},
	{"192.0.2.128/25", "192.0.2.128:1", true},
	{"0.0.0.0/0", "203.0.113.9:1", true},
	{"0.0.0.0/0", "[2001:db8::1]:1", false},
	{"2001:db8::/33", "[2001:db8:7fff::1]:1", true},
	{"2001:db8::/33", "[2001:db8:8000::1]:1", false},
	{"10.0.0.0/8,192.0.2.0/24", "192.0.2.9:1", true},
	{"192.0.2.0/24", "[::ffff:192.0.2.9]:1", true},
	{"192.0.2.0/24", "unix", false},
	{"192.0.2.0/24", "", false},
};

START_TEST(a_client_is_in_a_list_of_networks_or_not)
{
	ck_assert(ps_nets_valid(nets[_i].nets));
	ck_assert_int_eq(ps_nets_contain(nets[_i].nets, nets[_i].remote), nets[_i].inside);
}
END_TEST

static const char *const bad_nets[] = {"",       "x", "192.0.2.0/33",        "192.0.2.0/-1", "192.0.2.0/", "192.0.2/24",
				       "::/129", ",", "192.0.2.1,,192.0.2.2"};

START_TEST(a_list_with_anything_else_is_refused)
{
	ck_assert(!ps_nets_valid(bad_nets[_i]));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("names");
	TCase *tc = tcase_create("names");

	tcase_add_loop_test(tc, a_name_has_one_spelling_or_is_refused, 0, PS_ARRAY_LEN(names));
	tcase_add_test(tc, a_name_is_not_longer_than_its_limit);
	tcase_add_loop_test(tc, a_client_is_in_a_list_of_networks_or_not, 0, PS_ARRAY_LEN(nets));
	tcase_add_loop_test(tc, a_list_with_anything_else_is_refused, 0, PS_ARRAY_LEN(bad_nets));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
