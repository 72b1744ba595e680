/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "protocols/imap/fetch_parse.h"
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

enum {
	FAST = IMAP_FETCH_FLAGS | IMAP_FETCH_DATE | IMAP_FETCH_SIZE,
};

/* `labels`: of the sections, with blanks between; `-` before those that peek. */
static const struct {
	const char *text;
	unsigned items;
	const char *labels;
} good[] = {
	{"FLAGS", IMAP_FETCH_FLAGS, ""},
	{"fast", FAST, ""},
	{"ALL", FAST | IMAP_FETCH_ENVELOPE, ""},
	{"FULL", FAST | IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY, ""},
	{"(UID BODY BODYSTRUCTURE)", IMAP_FETCH_UID | IMAP_FETCH_BODY | IMAP_FETCH_STRUCTURE, ""},
	{"(RFC822.SIZE INTERNALDATE)", IMAP_FETCH_SIZE | IMAP_FETCH_DATE, ""},
	{"RFC822", 0, "RFC822"},
	{"(RFC822.HEADER RFC822.TEXT)", 0, "-RFC822.HEADER RFC822.TEXT"},
	{"BODY[]", 0, "BODY[]"},
	{"BODY.PEEK[]", 0, "-BODY[]"},
	{"body.peek[header]", 0, "-BODY[HEADER]"},
	{"BODY[TEXT]<0.1024>", 0, "BODY[TEXT]<0>"},
	{"BODY[1.2.3]", 0, "BODY[1.2.3]"},
	{"BODY[1.MIME]", 0, "BODY[1.MIME]"},
	{"BODY[4.2.HEADER]", 0, "BODY[4.2.HEADER]"},
	{"BODY[3.TEXT]", 0, "BODY[3.TEXT]"},
	{"(FLAGS BODY.PEEK[HEADER.FIELDS (From \"To\" \"x\\\"y\")])", IMAP_FETCH_FLAGS,
	 "-BODY[HEADER.FIELDS (From To \"x\\\"y\")]"},
	{"BODY[HEADER.FIELDS.NOT ({2}\r\nCc)]<7.1>", 0, "BODY[HEADER.FIELDS.NOT (Cc)]<7>"},
	{"BODY[1.HEADER.FIELDS (a)]", 0, "BODY[1.HEADER.FIELDS (a)]"},
	{"BINARY[]", 0, "BINARY[]"},
	{"binary.peek[1.2]<7.1>", 0, "-BINARY[1.2]<7>"},
	{"(BINARY.SIZE[3] BINARY[3])", 0, "-BINARY.SIZE[3] BINARY[3]"},
	{"(MODSEQ)", IMAP_FETCH_MODSEQ, ""},
	{"UID (CHANGEDSINCE 12345 VANISHED)", IMAP_FETCH_UID | IMAP_FETCH_MODSEQ, ""},
	{"UID (PARTIAL -1:-30)", IMAP_FETCH_UID, ""},
	{"PREVIEW", IMAP_FETCH_PREVIEW, ""},
	{"preview (lazy)", IMAP_FETCH_PREVIEW, ""},
	{"PREVIEW (PARTIAL 1:2)", IMAP_FETCH_PREVIEW, ""},
	{"PREVIEW (LAZY) (CHANGEDSINCE 1)", IMAP_FETCH_PREVIEW | IMAP_FETCH_MODSEQ, ""},
	{"(UID PREVIEW (LAZY LAZY) FLAGS)", IMAP_FETCH_UID | IMAP_FETCH_PREVIEW | IMAP_FETCH_FLAGS, ""},
	{"FLAGS (changedsince 9223372036854775807)", IMAP_FETCH_FLAGS | IMAP_FETCH_MODSEQ, ""},
};

START_TEST(all_items_are_understood)
{
	struct imap_args args = imap_args(ps_bytes_str(good[_i].text));
	struct imap_fetch fetch;
	struct ps_buf labels = {0};
	bool seen = false;

	ck_assert_ok(imap_fetch_parse(&args, pool, &fetch));
	ck_assert_uint_eq(fetch.items, good[_i].items);
	for (const struct imap_section *s = fetch.sections; s; s = s->next) {
		ps_buf_str(&labels, s->peek ? "-" : "");
		ps_buf_bytes(&labels, s->label);
		ps_buf_str(&labels, s->next ? " " : "");
		seen = seen || !s->peek;
	}
	ck_assert_str_eq(ps_buf_cstr(&labels), good[_i].labels);
	ck_assert_int_eq(fetch.sets_seen, seen);
	ps_buf_finish(&labels);
}
END_TEST

START_TEST(cut_anywhere_it_is_refused_or_something_lawful)
{
	size_t len = strlen(good[_i].text);

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = ps_malloc(cut);
		struct imap_args args = imap_args(ps_bytes(memcpy(copy, good[_i].text, cut), cut));
		struct imap_fetch fetch;
		int r = imap_fetch_parse(&args, pool, &fetch);

		ck_assert(r == PS_E_SYNTAX || (r == 0 && imap_args_done(&args)));
		ck_assert(good[_i].text[0] != '(' || r == PS_E_SYNTAX);
		ps_freep(&copy);
	}
}
END_TEST

static const char *const bad[] = {
	"",
	"()",
	"( FLAGS)",
	"(FLAGS )",
	"(FLAGS",
	"FLAGS)",
	"(ALL)",
	"(FLAGS FAST)",
	"FLAGS UID",
	"X",
	"(FLAGS X)",
	"BODY.PEEK",
	"BODY[",
	"BODY[X]",
	"BODY[0]",
	"BODY[1.]",
	"BODY[1..2]",
	"BODY[.1]",
	"BODY[MIME]",
	"BODY[1.0]",
	"BODY[4294967296]",
	"BODY[HEADER.FIELDS]",
	"BODY[HEADER.FIELDS ()]",
	"BODY[HEADER.FIELDS (a]",
	"BODY[HEADER.FIELDS a]",
	"BODY[HEADER.FIELDS (\"a:b\")]",
	"BODY[HEADER.FIELDS (\"a b\")]",
	"BODY[HEADER.FIELDS (\"\")]",
	"BODY[]<0>",
	"BODY[]<0.0>",
	"BODY[]<0.1",
	"BODY[]<-1.1>",
	"BODY[]<0.9223372036854775808>",
	"BODY[TEXT].1",
	"RFC822[]",
	"BODY []",
	"BODY[HEADER.FIELDS ({3}\r\na\r\n)]",
	"FLAGS\r\n",
	"FLAGS ()",
	"FLAGS (CHANGEDSINCE)",
	"FLAGS (CHANGEDSINCE x)",
	"FLAGS (CHANGEDSINCE 9223372036854775808)",
	"FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 1)",
	"FLAGS (CHANGEDSINCE 1",
	"FLAGS (CHANGEDSINCE 1) ",
	"FLAGS CHANGEDSINCE 1",
	"FLAGS (X)",
	"FLAGS (PARTIAL)",
	"FLAGS (PARTIAL 1)",
	"FLAGS (PARTIAL 1:-1)",
	"FLAGS (VANISHED)",
	"BODY[1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1."
	"1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1."
	"1.1.1.1.1"
	".1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1]",
};

START_TEST(all_else_is_refused)
{
	struct imap_args args = imap_args(ps_bytes_str(bad[_i]));
	struct imap_fetch fetch;

	ck_assert_int_eq(imap_fetch_parse(&args, pool, &fetch), PS_E_SYNTAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("imap fetch");
	TCase *tc = tcase_create("parse");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, all_items_are_understood, 0, PS_ARRAY_LEN(good));
	tcase_add_loop_test(tc, cut_anywhere_it_is_refused_or_something_lawful, 0, PS_ARRAY_LEN(good));
	tcase_add_loop_test(tc, all_else_is_refused, 0, PS_ARRAY_LEN(bad));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
