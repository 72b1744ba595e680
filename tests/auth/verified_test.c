/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "auth/verified.h"
#include "tests/unit.h"

#define BYTES(text) ps_bytes(text, sizeof(text) - 1)

static struct ps_verified_login login(const char *user, const char *service, const char *stored, const char *password)
{
	return (struct ps_verified_login){user, service, stored, ps_bytes_str(password)};
}

static const struct {
	const char *user, *service, *stored, *password;
	bool hit;
} others[] = {
	{"alice", "imap", "{PLAIN}x", "pass", true},    {"bob", "imap", "{PLAIN}x", "pass", false},
	{"alice", "submit", "{PLAIN}x", "pass", false}, {"alice", "imap", "{PLAIN}y", "pass", false},
	{"alice", "imap", "{PLAIN}x", "Pass", false},   {"alice", "imap", "{PLAIN}x", "pas", false},
	{"alice", "imap", "{PLAIN}x", "", false},       {"alice", "imap", "{PLAIN}xpass", "", false},
	{"aliceimap", "", "{PLAIN}x", "pass", false},
};

START_TEST(only_the_same_login_hits)
{
	struct ps_verified *verified = ps_verified_create();
	struct ps_verified_login first = login("alice", "imap", "{PLAIN}x", "pass");
	struct ps_verified_login other =
		login(others[_i].user, others[_i].service, others[_i].stored, others[_i].password);

	ck_assert(!ps_verified_has(verified, &first, 0));
	ps_verified_add(verified, &first, 1000);
	ck_assert(ps_verified_has(verified, &other, 999) == others[_i].hit);
	ck_assert(!ps_verified_has(verified, &other, 1000));
	ps_verified_destroy(verified);
}
END_TEST

START_TEST(what_is_over_is_wiped_and_the_rest_is_not)
{
	struct ps_verified *verified = ps_verified_create();
	struct ps_verified_login early = login("alice", "imap", "x", "pass"), late = login("bob", "imap", "x", "pass");

	ps_verified_add(verified, &early, 1000);
	ps_verified_add(verified, &late, 2000);
	ps_verified_forget(verified, 1500);
	ck_assert(!ps_verified_has(verified, &early, 0));
	ck_assert(ps_verified_has(verified, &late, 0));
	ps_verified_forget(verified, UINT64_MAX);
	ck_assert(!ps_verified_has(verified, &late, 0));
	ps_verified_destroy(verified);
}
END_TEST

/* It is bounded: of far more log-ins than it has room for, the last is there, and the first is not. */
START_TEST(the_oldest_make_room)
{
	struct ps_verified *verified = ps_verified_create();
	struct ps_verified_login one = {.service = "imap", .stored = "x", .password = BYTES("pass")};
	unsigned found = 0;
	char user[16];

	one.user = user;
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(user, sizeof user, "%u", i);
		ps_verified_add(verified, &one, 1000 + i);
		ck_assert(ps_verified_has(verified, &one, 0));
	}
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(user, sizeof user, "%u", i);
		found += ps_verified_has(verified, &one, 0);
	}
	ck_assert_uint_gt(found, 1000);
	ck_assert_uint_le(found, 8192);
	ps_verified_destroy(verified);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("verified");
	TCase *tc = tcase_create("verified");

	tcase_add_loop_test(tc, only_the_same_login_hits, 0, PS_ARRAY_LEN(others));
	tcase_add_test(tc, what_is_over_is_wiped_and_the_rest_is_not);
	tcase_add_test(tc, the_oldest_make_room);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
