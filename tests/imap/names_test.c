/* SPDX-License-Identifier: MIT */
#include "postern/store.h"
#include "protocols/imap/names.h"
#include "tests/unit.h"

static struct ps_pool *pool;

static void setup(void)
{
	pool = ps_pool_create("test");
}

static void teardown(void)
{
	ps_pool_destroy(pool);
}

static const struct imap_names plain = {"", '/', false}, dots = {"", '.', false}, courier = {"INBOX.", '.', false},
			       slashes = {"Mail/", '/', false}, utf8 = {"Pr\xc3\xa9/", '/', true};

static const struct {
	const struct imap_names *names;
	const char *wire, *name;
} both_ways[] = {
	{&plain, "INBOX", "INBOX"},
	{&plain, "Work/2026", "Work/2026"},
	{&plain, "a.b", "a.b"},
	{&plain, "&AOk-t&AOk-", "\xc3\xa9t\xc3\xa9"},
	{&plain, "R&-D", "R&D"},
	{&dots, "Work.2026", "Work/2026"},
	{&dots, "a/b", "a.b"},
	{&courier, "INBOX", "INBOX"},
	{&courier, "INBOX.Work.2026", "Work/2026"},
	{&courier, "INBOX.INBOX.x", "INBOX/x"},
	{&slashes, "Mail/Work", "Work"},
	{&utf8, "Pr\xc3\xa9/\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
	{&utf8, "Pr\xc3\xa9/R&D", "R&D"},
	{&utf8, "Pr\xc3\xa9/&AOk-", "&AOk-"},
};

START_TEST(names_go_both_ways)
{
	struct ps_buf wire = {0};
	const char *name;

	ck_assert_ok(imap_name_from_wire(both_ways[_i].names, ps_bytes_str(both_ways[_i].wire), pool, &name));
	ck_assert_str_eq(name, both_ways[_i].name);
	imap_name_to_wire(both_ways[_i].names, name, &wire);
	ck_assert_str_eq(ps_buf_cstr(&wire), both_ways[_i].wire);
	ps_buf_finish(&wire);
}
END_TEST

static const struct {
	const struct imap_names *names;
	const char *wire, *name;
} one_way[] = {
	{&plain, "inbox", "INBOX"}, {&plain, "Work/", "Work"},     {&courier, "InBox", "INBOX"},
	{&dots, "Work.", "Work"},   {&courier, "INBOX.", "INBOX"},
};

START_TEST(some_names_have_other_spellings)
{
	const char *name;

	ck_assert_ok(imap_name_from_wire(one_way[_i].names, ps_bytes_str(one_way[_i].wire), pool, &name));
	ck_assert_str_eq(name, one_way[_i].name);
}
END_TEST

static const struct {
	const struct imap_names *names;
	const char *wire;
} bad[] = {
	{&plain, ""},
	{&plain, "/"},
	{&plain, "//"},
	{&plain, "a//b"},
	{&plain, ".."},
	{&plain, "a/../b"},
	{&plain, "/etc"},
	{&plain, "&AC8-"},
	{&plain, "&AGE-"},
	{&plain, "&"},
	{&plain, "&2AA-"},
	{&plain, "a\x01"
		 "b"},
	{&plain, "\xc3\xa9"},
	{&plain, "&AAA-"},
	{&courier, "Work"},
	{&courier, "INBOXx"},
	{&slashes, "Mail"},
	{&plain, "a\r\nb"},
	{&dots, "a..b"},
};

START_TEST(unlawful_names_are_refused)
{
	const char *name = "untouched";

	ck_assert_int_eq(imap_name_from_wire(bad[_i].names, ps_bytes_str(bad[_i].wire), pool, &name), PS_E_INVALID);
	ck_assert_str_eq(name, "untouched");
}
END_TEST

static const struct {
	const struct imap_names *names;
	const char *reference, *pattern, *name;
	bool matches;
} patterns[] = {
	{&plain, "", "*", "Work/2026", true},
	{&plain, "", "%", "Work/2026", false},
	{&plain, "", "%", "Work", true},
	{&plain, "Work/", "%", "Work/2026", true},
	{&plain, "Work", "/%", "Work/2026", true},
	{&plain, "", "inbox", "INBOX", true},
	{&plain, "", "&AOk-*", "\xc3\xa9t\xc3\xa9", true},
	{&plain, "", "work", "Work", false},
	{&dots, "", "Work.%", "Work/2026", true},
	{&dots, "", "%", "a.b", true},
	{&dots, "", "a/*", "a.b", true},
	{&courier, "", "INBOX.%", "Work", true},
	{&courier, "INBOX.", "%", "Work", true},
	{&courier, "", "%", "Work", false},
	{&courier, "", "%", "INBOX", true},
	{&courier, "", "inbox*", "Work", true},
};

START_TEST(patterns_match_names_as_they_are_shown)
{
	const char *pattern;

	ck_assert_ok(imap_pattern_to_match(patterns[_i].names, ps_bytes_str(patterns[_i].reference),
					   ps_bytes_str(patterns[_i].pattern), pool, &pattern));
	ck_assert_int_eq(
		ps_mailbox_name_match(pattern, imap_name_to_match(patterns[_i].names, patterns[_i].name, pool)),
		patterns[_i].matches);
}
END_TEST

static const struct {
	const struct imap_names *names;
	const char *pattern, *top; /* NULL: none */
} tops[] = {
	{&plain, "*", NULL},
	{&plain, "%/a", NULL},
	{&plain, "Wo*", NULL},
	{&plain, "Work", "Work"},
	{&plain, "Work/2026/%", "Work/2026"},
	{&plain, "Work/20*", "Work"},
	{&plain, "inbox", "INBOX"},
	{&plain, "", ""},
	{&plain, "/%", NULL},
	{&dots, "Work.20%", "Work"},
	{&courier, "INBOX.Work", "Work"},
	{&courier, "INBOX.%", NULL},
	{&courier, "INBOX", "INBOX"},
	{&courier, "INBOX*", NULL},
};

START_TEST(a_pattern_says_where_its_names_are)
{
	const char *pattern, *top;

	ck_assert_ok(imap_pattern_to_match(tops[_i].names, ps_bytes_str(""), ps_bytes_str(tops[_i].pattern), pool,
					   &pattern));
	top = imap_pattern_top(tops[_i].names, pattern, pool);
	ck_assert_str_eq(top ? top : "none", tops[_i].top ? tops[_i].top : "none");
}
END_TEST

START_TEST(what_matches_a_pattern_is_there)
{
	const char *pattern, *top;

	ck_assert_ok(imap_pattern_to_match(patterns[_i].names, ps_bytes_str(patterns[_i].reference),
					   ps_bytes_str(patterns[_i].pattern), pool, &pattern));
	top = imap_pattern_top(patterns[_i].names, pattern, pool);
	ck_assert(!patterns[_i].matches || !top || ps_mailbox_name_is_below(patterns[_i].name, top));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("imap names");
	TCase *tc = tcase_create("names");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, names_go_both_ways, 0, PS_ARRAY_LEN(both_ways));
	tcase_add_loop_test(tc, some_names_have_other_spellings, 0, PS_ARRAY_LEN(one_way));
	tcase_add_loop_test(tc, unlawful_names_are_refused, 0, PS_ARRAY_LEN(bad));
	tcase_add_loop_test(tc, patterns_match_names_as_they_are_shown, 0, PS_ARRAY_LEN(patterns));
	tcase_add_loop_test(tc, a_pattern_says_where_its_names_are, 0, PS_ARRAY_LEN(tops));
	tcase_add_loop_test(tc, what_matches_a_pattern_is_there, 0, PS_ARRAY_LEN(patterns));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
