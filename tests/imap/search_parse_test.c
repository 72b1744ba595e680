/* SPDX-License-Identifier: MIT */
#include "protocols/imap/search_parse.h"
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

/* A mailbox with messages 1..9, UIDs 101..109. */
static int resolve(void *arg, struct ps_bytes text, bool by_uid, struct ps_set *ret_uids)
{
	struct ps_set set;
	int r = ps_set_parse(text, by_uid ? 109 : 9, pool, &set);

	(void)arg;
	if (r < 0)
		return r;
	for (size_t i = 0; i < set.count && !by_uid; i++) {
		if (set.ranges[i].last > 9)
			return PS_E_SYNTAX;
		set.ranges[i].first += 100;
		set.ranges[i].last += 100;
	}
	*ret_uids = set;
	return 0;
}

static void show(struct ps_buf *out, const struct ps_search_node *node);

static void show_children(struct ps_buf *out, const char *name, const struct ps_search_node *node)
{
	ps_buf_printf(out, "%s(", name);
	for (const struct ps_search_node *child = node->children; child; child = child->next) {
		show(out, child);
		ps_buf_str(out, child->next ? " " : "");
	}
	ps_buf_char(out, ')');
}

static void show(struct ps_buf *out, const struct ps_search_node *node)
{
	switch (node->kind) {
	case PS_SEARCH_AND: show_children(out, "and", node); return;
	case PS_SEARCH_OR: show_children(out, "or", node); return;
	case PS_SEARCH_NOT: show_children(out, "not", node); return;
	case PS_SEARCH_ALL: ps_buf_str(out, "all"); return;
	case PS_SEARCH_MODSEQ: ps_buf_printf(out, "modseq:%llu", (unsigned long long)node->number); return;
	case PS_SEARCH_RECENT: ps_buf_str(out, "recent"); return;
	case PS_SEARCH_FLAG: ps_buf_printf(out, "flag:%d", (int)node->number); return;
	case PS_SEARCH_SEQ:
		ps_buf_str(out, "uids:");
		ps_set_format(out, node->set.ranges, node->set.count);
		return;
	case PS_SEARCH_HEADER: ps_buf_printf(out, "%s:%.*s", node->name, (int)node->text.len, node->text.ptr); return;
	case PS_SEARCH_KEYWORD:
	case PS_SEARCH_BODY:
	case PS_SEARCH_TEXT: ps_buf_printf(out, "text%d:%.*s", node->kind, (int)node->text.len, node->text.ptr); return;
	case PS_SEARCH_LARGER:
	case PS_SEARCH_SMALLER: ps_buf_printf(out, "size:%d", (int)node->number); return;
	default: ps_buf_printf(out, "day:%d", (int)(node->date / 86400)); return;
	}
}

static const struct {
	const char *text, *tree;
} good[] = {
	{"ALL", "and(all)"},
	{"all unseen", "and(all not(flag:1))"},
	{"NEW", "and(and(recent not(flag:1)))"},
	{"OLD RECENT", "and(not(recent) recent)"},
	{"1:3,9", "and(uids:101:103,109)"},
	{"*", "and(uids:109)"},
	{"UID 105:*", "and(uids:105:109)"},
	{"FROM smith", "and(From:smith)"},
	{"SUBJECT \"a b\" TO {2}\r\nxy", "and(Subject:a b To:xy)"},
	{"HEADER \"X-Spam\" \"\"", "and(X-Spam:)"},
	{"OR SEEN (DRAFT FLAGGED)", "and(or(flag:1 and(flag:16 flag:4)))"},
	{"NOT NOT DELETED", "and(not(not(flag:8)))"},
	{"OR OR 1 2 NOT 3", "and(or(or(uids:101 uids:102) not(uids:103)))"},
	{"((ALL))", "and(and(and(all)))"},
	{"KEYWORD $Forwarded UNKEYWORD x", "and(text6:$Forwarded not(text6:x))"},
	{"LARGER 100 SMALLER 4294967295", "and(size:100 size:-1)"},
	{"SINCE 2-Jan-1970 BEFORE \"3-Jan-1970\"", "and(day:1 day:2)"},
	{"SENTON  1-Jan-1970", NULL},
	{"CHARSET UTF-8 TEXT {2}\r\n\xc3\xa9", "and(text18:\xc3\xa9)"},
	{"CHARSET \"iso-8859-1\" BODY {1}\r\n\xe9", "and(text17:\xc3\xa9)"},
	{"TEXT {2}\r\n\xc3\xa9", "and(text18:\xc3\xa9)"},
	{"MODSEQ 620162338", "and(modseq:620162338)"},
	{"MODSEQ \"/flags/\\\\draft\" all 620162338", "and(modseq:620162338)"},
	{"MODSEQ \"/flags/x\" priv 1", "and(modseq:1)"},
	{"MODSEQ 9223372036854775808", NULL},
	{"MODSEQ \"/flags/x\" 1", NULL},
	{"MODSEQ \"/flags/x\" mine 1", NULL},
	{"MODSEQ \"/mail\" all 1", NULL},
	{"MODSEQ", NULL},
	{"OLDER", NULL},
	{"OLDER 0", NULL},
	{"YOUNGER 4294967296", NULL},
	{"$,1", NULL},
};

static int parse(const char *text, size_t len, struct ps_search_node **ret_root)
{
	struct imap_args args = imap_args(ps_bytes(text, len));
	struct imap_search_parser parser = {.args = &args, .pool = pool, .resolve = resolve};

	return imap_search_parse(&parser, ret_root);
}

START_TEST(programs_become_trees)
{
	struct ps_search_node *root;
	struct ps_buf out = {0};
	int r = parse(good[_i].text, strlen(good[_i].text), &root);

	if (!good[_i].tree) {
		ck_assert_int_eq(r, PS_E_SYNTAX);
		return;
	}
	ck_assert_ok(r);
	show(&out, root);
	ck_assert_str_eq(ps_buf_cstr(&out), good[_i].tree);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(cut_anywhere_nothing_is_read_behind_the_cut)
{
	for (size_t cut = 0; cut < strlen(good[_i].text); cut++) {
		char *copy = memcpy(ps_malloc(cut), good[_i].text, cut);
		struct ps_search_node *root;

		parse(copy, cut, &root);
		ps_freep(&copy);
	}
}
END_TEST

static const char *const bad[] = {
	"",
	" ALL",
	"ALL ",
	"X",
	"FROM",
	"FROM ",
	"HEADER a",
	"HEADER \"a:\" b",
	"HEADER \"a b\" c",
	"NOT",
	"OR SEEN",
	"OR SEEN ",
	"()",
	"(ALL",
	"ALL)",
	"(ALL )",
	"10",
	"0",
	"1:",
	"UID",
	"UID x",
	"LARGER x",
	"LARGER -1",
	"LARGER 9223372036854775808",
	"SINCE 32-Jan-2020",
	"SINCE 1-Foo-2020",
	"SINCE 2020-01-01",
	"BEFORE \"1-Jan-2020 \"",
	"KEYWORD \\Seen",
	"KEYWORD \"x\"",
	"UNKEYWORD",
	"TEXT {1}\r\n\xe9",
	"CHARSET",
	"CHARSET UTF-8",
	"ALL CHARSET UTF-8",
	"CHARSET UTF-8 TEXT {1}\r\n\xe9",
	"TEXT \"\xc3\xa9\"",
	"SEEN\tDRAFT",
};

START_TEST(all_else_is_refused)
{
	struct ps_search_node *root;

	ck_assert_int_eq(parse(bad[_i], strlen(bad[_i]), &root), PS_E_SYNTAX);
}
END_TEST

START_TEST(an_unknown_charset_is_told_apart)
{
	struct ps_search_node *root;

	ck_assert_int_eq(parse("CHARSET X-NONE ALL", 18, &root), PS_E_UNSUPPORTED);
}
END_TEST

static const struct {
	const char *piece, *end;
	int count, result;
} deep[] = {
	{"NOT ", "ALL", 25, 0},
	{"NOT ", "ALL", 2000, PS_E_LIMIT},
	{"(", "ALL", 20000, PS_E_LIMIT},
	{"OR ALL ", "ALL", 25, 0},
	{"OR ALL ", "ALL", 5000, PS_E_LIMIT},
	{"ALL ", "ALL", 1900, 0},
	{"ALL ", "ALL", 2100, PS_E_LIMIT},
};

START_TEST(depth_and_size_have_limits)
{
	struct ps_search_node *root;
	struct ps_buf text = {0};

	for (int i = 0; i < deep[_i].count; i++)
		ps_buf_str(&text, deep[_i].piece);
	ps_buf_str(&text, deep[_i].end);
	ck_assert_int_eq(parse((const char *)text.ptr, text.len, &root), deep[_i].result);
	ps_buf_finish(&text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("imap search");
	TCase *tc = tcase_create("parse");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, programs_become_trees, 0, PS_ARRAY_LEN(good));
	tcase_add_loop_test(tc, cut_anywhere_nothing_is_read_behind_the_cut, 0, PS_ARRAY_LEN(good));
	tcase_add_loop_test(tc, all_else_is_refused, 0, PS_ARRAY_LEN(bad));
	tcase_add_test(tc, an_unknown_charset_is_told_apart);
	tcase_add_loop_test(tc, depth_and_size_have_limits, 0, PS_ARRAY_LEN(deep));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
