/* SPDX-License-Identifier: MIT */
#include "postern/store.h"
#include "tests/unit.h"

/* ---- names --------------------------------------------------------------------------------- */

static const struct {
	const char *given, *name; /* NULL: refused */
} names[] = {
	{"Work", "Work"},
	{"inbox", "INBOX"},
	{"iNbOx/Sub", "INBOX/Sub"},
	{"Work/inbox", "Work/inbox"},
	{"inboxes", "inboxes"},
	{"e\xcc\x81", "\xc3\xa9"}, /* NFC */
	{"a b&c~#*%.d", "a b&c~#*%.d"},
	{"cur", "cur"},
	{"...", "..."},
	{"", NULL},
	{"/", NULL},
	{"/a", NULL},
	{"a/", NULL},
	{"a//b", NULL},
	{".", NULL},
	{"..", NULL},
	{"a/../b", NULL},
	{"a/./b", NULL},
	{"a\nb", NULL},
	{"a\x7f", NULL},
	{"a\xc2\x85", NULL},     /* C1 */
	{"a\xe2\x80\xa8", NULL}, /* line separator */
	{"a\xff", NULL},         /* not UTF-8 */
	{"a\xed\xa0\x80", NULL}, /* a surrogate */
	{"1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2",
	 "1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2"},
	{"1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3", NULL},
};

START_TEST(names_are_made_lawful_or_refused)
{
	struct ps_pool *pool = ps_pool_create("test");
	const char *name = "untouched";
	int r = ps_mailbox_name_normalise(ps_bytes_str(names[_i].given), pool, &name);

	ck_assert_int_eq(r, names[_i].name ? 0 : PS_E_INVALID);
	ck_assert_str_eq(name, names[_i].name ? names[_i].name : "untouched");
	ps_pool_destroy(pool);
}
END_TEST

START_TEST(a_name_holds_a_thousand_octets_and_no_nul)
{
	struct ps_pool *pool = ps_pool_create("test");
	char text[4000];
	const char *name;

	memset(text, 'x', sizeof text);
	ck_assert_ok(ps_mailbox_name_normalise(ps_bytes(text, 1000), pool, &name));
	ck_assert_int_eq(ps_mailbox_name_normalise(ps_bytes(text, 1001), pool, &name), PS_E_INVALID);
	ck_assert_int_eq(ps_mailbox_name_normalise(ps_bytes(text, 4000), pool, &name), PS_E_INVALID);
	ck_assert_int_eq(ps_mailbox_name_normalise(ps_bytes("a\0b", 3), pool, &name), PS_E_INVALID);
	ck_assert_int_eq(ps_mailbox_name_check("inbox"), PS_E_INVALID);
	ck_assert_int_eq(ps_mailbox_name_check("Inbox/x"), PS_E_INVALID);
	ps_pool_destroy(pool);
}
END_TEST

/* ---- modified UTF-7, RFC 3501 section 5.1.3 ------------------------------------------------ */

static const struct {
	const char *utf8, *utf7;
} both_ways[] = {
	{"", ""},
	{"INBOX", "INBOX"},
	{"a&b", "a&-b"},
	{"&", "&-"},
	{"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
	 "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
	{"Entw\xc3\xbcrfe", "Entw&APw-rfe"},
	{"\xf0\x9f\x93\xa7", "&2D3c5w-"}, /* a pair of surrogates */
	{"\xc3\xa9&", "&AOk-&-"},
	{"\xc3\xa9\xc3\xa9\xc3\xa9", "&AOkA6QDp-"},
	{"\t", "&AAk-"}, /* the octets are a matter of names, not of this */
};

START_TEST(mutf7_goes_both_ways)
{
	struct ps_buf there = {0}, back = {0};

	ck_assert_ok(ps_mutf7_encode(ps_bytes_str(both_ways[_i].utf8), &there));
	ck_assert_str_eq(ps_buf_cstr(&there), both_ways[_i].utf7);
	ck_assert_ok(ps_mutf7_decode(ps_buf_view(&there), &back));
	ck_assert_str_eq(ps_buf_cstr(&back), both_ways[_i].utf8);
	ps_buf_finish(&there);
	ps_buf_finish(&back);
}
END_TEST

static const char *const bad_mutf7[] = {
	"&",          /* unterminated */
	"a&AOk",      /* unterminated */
	"&AGE-",      /* "a" is written as itself */
	"&ACY-",      /* so is "&" */
	"&AOkAYQ-",   /* and within a run */
	"&2D0-",      /* a lone high surrogate */
	"&3Oc-",      /* a lone low one */
	"&2D0AOQ-",   /* high, then something else */
	"&AOkA-",     /* the tail is not a character */
	"&AOl-",      /* bits behind the last character */
	"&A-",        /* nothing whole */
	"&AOk-&AOk-", /* one run in two */
	"&AO/k-",     /* "/" is base64, not this base64 */
	"&AOk=-",     /* no padding */
	"\xc3\xa9",   /* 8 bit */
	"a\tb",       "a\x7f",
};

START_TEST(mutf7_takes_no_other_spelling)
{
	struct ps_buf out = {0};

	ps_buf_str(&out, "before");
	ck_assert_int_eq(ps_mutf7_decode(ps_bytes_str(bad_mutf7[_i]), &out), PS_E_SYNTAX);
	ck_assert_bytes_eq(ps_buf_view(&out), "before");
	ps_buf_finish(&out);
}
END_TEST

START_TEST(mutf7_encodes_utf8_only)
{
	struct ps_buf out = {0};

	ck_assert_int_eq(ps_mutf7_encode(ps_bytes_str("a\xff"), &out), PS_E_SYNTAX);
	ps_buf_finish(&out);
}
END_TEST

/* ---- LIST patterns ------------------------------------------------------------------------- */

static const struct {
	const char *pattern, *name;
	bool match;
} patterns[] = {
	{"*", "a", true},        {"*", "a/b/c", true},     {"%", "a", true},
	{"%", "a/b", false},     {"%/%", "a/b", true},     {"%/%", "a/b/c", false},
	{"a/%", "a/", true},     {"a*", "a", true},        {"a*c", "a/b/c", true},
	{"a%c", "a/b/c", false}, {"a%c", "abc", true},     {"*c", "a/bc/c", true},
	{"*b%", "ab/b", true},   {"*b%", "b/x", false},    {"*b%/x", "b/b/x", true},
	{"*%b", "a/b", true},    {"%*b", "a/c/b", true},   {"%%%", "abc", true},
	{"%%%", "a/c", false},   {"INBOX", "INBOX", true}, {"INBOX", "INBOX/a", false},
	{"", "a", false},        {"", "", true},           {"a.c", "abc", false},
};

START_TEST(patterns_match_as_list_says)
{
	ck_assert_int_eq(ps_mailbox_name_match(patterns[_i].pattern, patterns[_i].name), patterns[_i].match);
}
END_TEST

/* What a backtracking matcher would need 2^400 steps for. */
START_TEST(a_pattern_of_many_wildcards_is_no_work)
{
	char pattern[2001], name[1001];

	for (size_t i = 0; i < 2000; i += 4)
		memcpy(pattern + i, "a*%*", 4);
	pattern[2000] = '\0';
	memset(name, 'a', 1000);
	name[1000] = '\0';
	ck_assert(ps_mailbox_name_match(pattern, name));
	name[999] = 'b';
	ck_assert(ps_mailbox_name_match(pattern, name));
	strcpy(pattern + 1990, "c");
	ck_assert(!ps_mailbox_name_match(pattern, name));
}
END_TEST

START_TEST(a_pattern_may_be_longer_than_any_name)
{
	size_t len = 100000;
	char *pattern = ps_malloc(len + 1);

	memset(pattern, '*', len);
	pattern[len] = '\0';
	ck_assert(ps_mailbox_name_match(pattern, "a/b"));
	memset(pattern, 'a', len);
	ck_assert(!ps_mailbox_name_match(pattern, "a"));
	free(pattern);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("name");
	TCase *tc = tcase_create("name");

	tcase_add_loop_test(tc, names_are_made_lawful_or_refused, 0, PS_ARRAY_LEN(names));
	tcase_add_test(tc, a_name_holds_a_thousand_octets_and_no_nul);
	tcase_add_loop_test(tc, mutf7_goes_both_ways, 0, PS_ARRAY_LEN(both_ways));
	tcase_add_loop_test(tc, mutf7_takes_no_other_spelling, 0, PS_ARRAY_LEN(bad_mutf7));
	tcase_add_test(tc, mutf7_encodes_utf8_only);
	tcase_add_loop_test(tc, patterns_match_as_list_says, 0, PS_ARRAY_LEN(patterns));
	tcase_add_test(tc, a_pattern_of_many_wildcards_is_no_work);
	tcase_add_test(tc, a_pattern_may_be_longer_than_any_name);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
