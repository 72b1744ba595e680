/* SPDX-License-Identifier: MIT */
#include "auth/revoked.h"
#include "core/net/choice.h"
#include "tests/unit.h"

static const struct ps_hash_key key = {{1, 2}};

START_TEST(a_mark_is_of_user_and_credential_and_key)
{
	static const struct ps_hash_key other_key = {{1, 3}};
	const struct ps_hash mark = ps_credential_mark(&key, "ann", "{PLAIN}x");
	const struct ps_hash same = ps_credential_mark(&key, "ann", "{PLAIN}x");
	const struct ps_hash others[] = {
		ps_credential_mark(&key, "bob", "{PLAIN}x"),
		ps_credential_mark(&key, "ann", "{PLAIN}y"),
		ps_credential_mark(&key, "ann{", "PLAIN}x"),
		ps_credential_mark(&other_key, "ann", "{PLAIN}x"),
	};
	struct ps_hash back = ps_credential_from(ps_credential_octets(&mark));

	ck_assert(ps_hash_eq(&mark, &same));
	ck_assert(ps_hash_eq(&mark, &back));
	for (size_t i = 0; i < PS_ARRAY_LEN(others); i++)
		ck_assert(!ps_hash_eq(&mark, &others[i]));
	back = ps_credential_from(ps_bytes("short", 5));
	ck_assert(!ps_hash_eq(&mark, &back));
}
END_TEST

static const struct {
	const char *user;
	bool one; /* of the credentials: the first */
	uint64_t made;
	const char *asked;
	bool first; /* is asked about */
	bool revoked;
} cases[] = {
	{"ann", true, 1000, "ann", true, true},   {"ann", true, 999, "ann", true, true},
	{"ann", true, 1001, "ann", true, false}, /* it was made after the change, so it knew */
	{"ann", true, 1000, "ann", false, false}, {"ann", true, 1000, "bob", true, true}, /* ann may log in as bob */
	{"ann", false, 1000, "ann", true, true},  {"ann", false, 1000, "ann", false, true},
	{"ann", false, 1001, "ann", true, false}, {"ann", false, 1000, "bob", true, false},
};

START_TEST(what_was_made_before_does_not_hold)
{
	struct ps_revoked *revoked = ps_revoked_create(60000);
	const struct ps_hash first = ps_credential_mark(&key, "ann", "1"),
			     second = ps_credential_mark(&key, "ann", "2");
	struct ps_revocation revocation = {cases[_i].user, cases[_i].one ? &first : NULL, 1000};

	ck_assert(!ps_revoked_has(revoked, cases[_i].asked, &first, cases[_i].made));
	ps_revoked_add(revoked, &revocation);
	ck_assert_int_eq(ps_revoked_has(revoked, cases[_i].asked, cases[_i].first ? &first : &second, cases[_i].made),
			 cases[_i].revoked);
	ps_revoked_destroy(revoked);
}
END_TEST

START_TEST(what_has_expired_by_itself_is_forgotten)
{
	struct ps_revoked *revoked = ps_revoked_create(60000);
	const struct ps_hash mark = ps_credential_mark(&key, "ann", "1");

	ps_revoked_add(revoked, &(struct ps_revocation){"ann", &mark, 1000});
	ps_revoked_add(revoked, &(struct ps_revocation){"ann", &mark, 61000});
	ck_assert(ps_revoked_has(revoked, "ann", &mark, 1000));
	ps_revoked_destroy(revoked);
	revoked = ps_revoked_create(60000);
	ps_revoked_add(revoked, &(struct ps_revocation){"ann", &mark, 1000});
	ps_revoked_add(revoked, &(struct ps_revocation){"ann", &(struct ps_hash){{mark.h[0], 7}}, 61001});
	ck_assert(!ps_revoked_has(revoked, "ann", &mark, 1000));
	ps_revoked_destroy(revoked);
}
END_TEST

static const struct ps_hash one = {{1, 1}}, two = {{2, 2}};

static const struct {
	struct ps_session_choice choice;
	bool chosen;
} choices[] = {
	{{.user = "ann@example.test"}, true},
	{{.user = "ann"}, false},
	{{.protocol = "imap"}, true},
	{{.protocol = "pop3"}, false},
	{{.nets = "192.0.2.0/24"}, true},
	{{.nets = "192.0.2.7"}, true},
	{{.nets = "198.51.100.0/24"}, false},
	{{.sid = "S"}, true},
	{{.sid = "T"}, false},
	{{.user = "ann@example.test", .protocol = "imap", .nets = "192.0.2.7", .sid = "S"}, true},
	{{.user = "ann@example.test", .protocol = "pop3"}, false},
	{{.user = "ann@example.test", .credential = &one}, true},
	{{.user = "ann@example.test", .credential = &two}, false},
	{{.credential = &one}, true},
	{{.credential = &two}, false},
	{{.reason = "nothing is asked for"}, false},
};

START_TEST(a_session_is_chosen_by_all_that_is_said)
{
	const struct ps_session_info info = {.sid = "S",
					     .user = "ann@example.test",
					     .protocol = "imap",
					     .remote = "192.0.2.7:4711",
					     .credential = one};
	struct ps_session_info stranger = info;

	stranger.user = NULL;
	ck_assert_int_eq(ps_session_is_chosen(&info, &choices[_i].choice), choices[_i].chosen);
	ck_assert_int_eq(ps_session_is_chosen(&stranger, &choices[_i].choice),
			 choices[_i].chosen && !choices[_i].choice.user);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("revoked");
	TCase *tc = tcase_create("revoked");

	tcase_add_test(tc, a_mark_is_of_user_and_credential_and_key);
	tcase_add_loop_test(tc, what_was_made_before_does_not_hold, 0, PS_ARRAY_LEN(cases));
	tcase_add_test(tc, what_has_expired_by_itself_is_forgotten);
	tcase_add_loop_test(tc, a_session_is_chosen_by_all_that_is_said, 0, PS_ARRAY_LEN(choices));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
