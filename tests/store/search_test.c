/* SPDX-License-Identifier: MIT */
#include "core/store/search.h"
#include "tests/store/user.h"

/* 784111777: Sun, 6 Nov 1994 08:49:37 UTC */
static const struct {
	const char *octets;
	uint32_t flags;
	const char *keyword;
	int64_t date;
} messages[] = {
	{"From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus K\r\n"
	 "Date: Sat, 5 Nov 1994 23:30:00 -0800\r\nX-Odd: strange value\r\n\r\nHello World\r\n",
	 PS_FLAG_SEEN, NULL, 784111777},
	{"From: bob@example.test\r\nSubject: plain\r\nDate: Mon, 7 Nov 1994 00:10:00 +0100\r\n"
	 "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
	 "caf=E9 soft =\r\nbreak\r\n",
	 PS_FLAG_FLAGGED, "work", 784111777 + 86400},
	{"From: carol@example.test\r\nSubject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
	 "boundary=b\r\n\r\n"
	 "preamble word\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	 "w4RwZmVsIHVuZCBCaXJuZW4=\r\n--b\r\nContent-Type: application/octet-stream; name=secret.bin\r\n\r\nbinary "
	 "needle\r\n"
	 "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: within\r\nFrom: dave@example.test\r\n\r\ndeep "
	 "text\r\n--b--\r\n",
	 PS_FLAG_DELETED | PS_FLAG_DRAFT, NULL, 784111777 + 2 * 86400},
	{"\r\n", 0, "Work", 0},
};

static struct ps_user *user;
static struct ps_view *view;
static struct ps_pool *pool;

static void append_many(unsigned count)
{
	static const uint32_t flags[] = {PS_FLAG_SEEN, 0, PS_FLAG_SEEN | PS_FLAG_FLAGGED, PS_FLAG_FLAGGED,
					 PS_FLAG_SEEN | PS_FLAG_DRAFT};
	struct ps_op_result result;
	struct ps_append *append;

	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	for (unsigned i = 0; i < count; i++) {
		ck_assert_ok(
			ps_append_begin(append, &(struct ps_append_message){.flags = flags[i % PS_ARRAY_LEN(flags)]}));
		ck_assert_ok(ps_append_write(append, ps_bytes_str("\r\n")));
		ck_assert_ok(ps_append_end(append));
	}
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
}

static void append_all(void)
{
	struct ps_op_result result;
	struct ps_append *append;

	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	for (size_t i = 0; i < PS_ARRAY_LEN(messages); i++) {
		const char *keywords[] = {messages[i].keyword, NULL};
		struct ps_append_message m = {
			.flags = messages[i].flags, .keywords = keywords, .internal_date = messages[i].date};

		ck_assert_ok(ps_append_begin(append, &m));
		ck_assert_ok(ps_append_write(append, ps_bytes_str(messages[i].octets)));
		ck_assert_ok(ps_append_end(append));
	}
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
}

static void open_view(void)
{
	pool = ps_pool_create("test");
	user = test_user("search");
	append_all();
	ck_assert_ok(ps_view_open(user, "INBOX", false, NULL, NULL, &view));
}

static void close_view(void)
{
	ps_view_close(view);
	ps_user_close(user);
	ps_pool_destroy(pool);
}

static int note_hit(void *arg, uint32_t seq, const struct ps_row *row)
{
	ck_assert_ptr_eq(row, ps_view_row(view, seq));
	ps_buf_printf(arg, "%u ", seq);
	return 0;
}

static bool at_once(void *arg)
{
	++*(unsigned *)arg;
	return true;
}

/* The numbers found, "1 3 ". */
static const char *search(const struct ps_search_node *root)
{
	static struct ps_buf hits;
	struct ps_search *s = ps_search_create(view, pool, root);

	ps_buf_reset(&hits);
	ck_assert_int_eq(ps_search_step(s, NULL, NULL, note_hit, &hits), 1);
	ps_search_destroy(s);
	return ps_buf_cstr(&hits);
}

#define TEXT(s) .text = {(const uint8_t *)(s), sizeof(s) - 1}
#define DAY(n)  (784080000 + (n)*86400) /* 6 Nov 1994 */

static const struct {
	struct ps_search_node node;
	const char *hits;
} single[] = {
	{{.kind = PS_SEARCH_ALL}, "1 2 3 4 "},
	{{.kind = PS_SEARCH_FLAG, .number = PS_FLAG_SEEN}, "1 "},
	{{.kind = PS_SEARCH_KEYWORD, TEXT("WORK")}, "2 4 "},
	{{.kind = PS_SEARCH_KEYWORD, TEXT("unknown")}, ""},
	{{.kind = PS_SEARCH_RECENT}, "1 2 3 4 "},
	{{.kind = PS_SEARCH_SMALLER, .number = 3}, "4 "},
	{{.kind = PS_SEARCH_LARGER, .number = 2}, "1 2 3 "},
	{{.kind = PS_SEARCH_MODSEQ, .number = 1}, "1 2 3 4 "},
	{{.kind = PS_SEARCH_MODSEQ, .number = UINT64_MAX}, ""},
	{{.kind = PS_SEARCH_BEFORE, .date = DAY(0)}, "4 "},
	{{.kind = PS_SEARCH_ON, .date = DAY(0)}, "1 "},
	{{.kind = PS_SEARCH_SINCE, .date = DAY(1)}, "2 3 "},
	{{.kind = PS_SEARCH_SENTON, .date = DAY(-1)}, "1 "}, /* the day there, not here */
	{{.kind = PS_SEARCH_SENTON, .date = DAY(1)}, "2 "},
	{{.kind = PS_SEARCH_SENTBEFORE, .date = DAY(0)}, "1 4 "}, /* no Date: the internal one */
	{{.kind = PS_SEARCH_SENTSINCE, .date = DAY(1)}, "2 3 "},
	{{.kind = PS_SEARCH_HEADER, .name = "Subject", TEXT("GR\xc3\x9c\xc3\x9f")}, "1 "},
	{{.kind = PS_SEARCH_HEADER, .name = "from", TEXT("bob")}, "2 "},
	{{.kind = PS_SEARCH_HEADER, .name = "X-Odd", TEXT("STRANGE")}, "1 "},
	{{.kind = PS_SEARCH_HEADER, .name = "X-Odd", TEXT("")}, "1 "},
	{{.kind = PS_SEARCH_HEADER, .name = "Date", TEXT("")}, "1 2 "},
	{{.kind = PS_SEARCH_HEADER, .name = "X-None", TEXT("")}, ""},
	{{.kind = PS_SEARCH_BODY, TEXT("hello world")}, "1 "},
	{{.kind = PS_SEARCH_BODY, TEXT("CAF\xc3\x89 SOFT BREAK")}, "2 "}, /* decoded and converted */
	{{.kind = PS_SEARCH_BODY, TEXT("\xc3\xa4pfel")}, "3 "},
	{{.kind = PS_SEARCH_BODY, TEXT("lO wOr")}, "1 "},
	{{.kind = PS_SEARCH_BODY, TEXT("soft break")}, "2 "}, /* nowhere as it lies: a line ends there, */
	{{.kind = PS_SEARCH_BODY, TEXT("PFEL und")}, "3 "},   /* and here it is base64 */
	{{.kind = PS_SEARCH_BODY, TEXT("deep text")}, "3 "},
	{{.kind = PS_SEARCH_BODY, TEXT("dave@")}, "3 "},
	{{.kind = PS_SEARCH_BODY, TEXT("needle")}, ""},       /* an attachment is no text */
	{{.kind = PS_SEARCH_BODY, TEXT("secret.bin")}, "3 "}, /* its name is */
	{{.kind = PS_SEARCH_BODY, TEXT("carol")}, ""},
	{{.kind = PS_SEARCH_TEXT, TEXT("carol")}, "3 "},
	{{.kind = PS_SEARCH_TEXT, TEXT("gr\xc3\xbc\xc3\x9f")}, "1 "},
	{{.kind = PS_SEARCH_TEXT, TEXT("")}, "1 2 3 4 "},
	{{.kind = PS_SEARCH_TEXT, TEXT("nowhere")}, ""},
};

START_TEST(each_key_finds_what_it_says)
{
	ck_assert_str_eq(search(&single[_i].node), single[_i].hits);
}
END_TEST

START_TEST(keys_combine)
{
	struct ps_search_node seen = {.kind = PS_SEARCH_FLAG, .number = PS_FLAG_SEEN};
	struct ps_search_node work = {.kind = PS_SEARCH_KEYWORD, TEXT("work")};
	struct ps_search_node body = {.kind = PS_SEARCH_BODY, TEXT("caf\xc3\xa9")};
	struct ps_search_node node = {.kind = PS_SEARCH_OR, .children = &seen};

	seen.next = &work;
	ck_assert_str_eq(search(&node), "1 2 4 ");
	node.kind = PS_SEARCH_AND;
	ck_assert_str_eq(search(&node), "");
	node.kind = PS_SEARCH_NOT;
	seen.next = NULL;
	ck_assert_str_eq(search(&node), "2 3 4 ");
	node = (struct ps_search_node){.kind = PS_SEARCH_AND, .children = &body};
	body.next = &work;
	ck_assert_str_eq(search(&node), "2 ");
}
END_TEST

START_TEST(a_set_is_of_uids)
{
	struct ps_range ranges[] = {{2, 3}, {9, 10}};
	struct ps_search_node node = {.kind = PS_SEARCH_SEQ, .set = {ranges, 2}};

	ck_assert_str_eq(search(&node), "2 3 ");
}
END_TEST

START_TEST(a_search_goes_on_where_its_slice_ended)
{
	struct ps_search_node node = {.kind = PS_SEARCH_BODY, TEXT("e")};
	struct ps_search *s = ps_search_create(view, pool, &node);
	struct ps_buf hits = {0};
	unsigned asked = 0, steps = 1;

	while (ps_search_step(s, at_once, &asked, note_hit, &hits) == 0)
		steps++;
	ck_assert_uint_eq(steps, 4);
	ck_assert_str_eq(ps_buf_cstr(&hits), "1 2 3 ");
	ps_search_destroy(s);
	ps_buf_finish(&hits);
}
END_TEST

static int compare_hit(void *arg, uint32_t seq, const struct ps_row *row)
{
	uint32_t *last = arg;

	while (++*last < seq)
		ck_assert((ps_view_row(view, *last)->flags & (PS_FLAG_SEEN | PS_FLAG_FLAGGED)) != PS_FLAG_SEEN);
	ck_assert_ptr_eq(row, ps_view_row(view, seq));
	ck_assert_uint_eq(row->flags & (PS_FLAG_SEEN | PS_FLAG_FLAGGED), PS_FLAG_SEEN);
	return 0;
}

/* They are asked for side by side, a part of the mailbox after the other; none but those is a hit. */
START_TEST(flags_of_many_are_found_slice_by_slice)
{
	struct ps_search_node flagged = {.kind = PS_SEARCH_FLAG, .number = PS_FLAG_FLAGGED},
			      not = {.kind = PS_SEARCH_NOT, .children = &flagged},
			      seen = {.kind = PS_SEARCH_FLAG, .number = PS_FLAG_SEEN, .next = &not },
			      node = {.kind = PS_SEARCH_AND, .children = &seen};
	unsigned asked = 0, steps = 1;
	struct ps_search *s;
	uint32_t last = 0;

	append_many(300);
	ck_assert_ok(ps_view_sync(view, 0, NULL, NULL));
	s = ps_search_create(view, pool, &node);
	append_many(1); /* one that would be found */
	while (ps_search_step(s, at_once, &asked, compare_hit, &last) == 0) {
		steps++;
		ck_assert_ok(ps_view_sync(view, 0, NULL, NULL));
	}
	ck_assert_uint_gt(steps, 1);
	ck_assert_uint_eq(last, PS_ARRAY_LEN(messages) + 300);
	ps_search_destroy(s);
}
END_TEST

/* There is one way for short texts and one for long ones. */
START_TEST(a_part_is_found_wherever_it_is)
{
	char text[520];

	for (size_t len = 0; len < sizeof text; len++) {
		memset(text, 'A', sizeof text);
		ck_assert(!ps_bytes_contain(ps_bytes(text, len), ps_bytes_str("AB")));
		ck_assert(ps_bytes_contain(ps_bytes(text, len), ps_bytes_str("")));
		ck_assert_int_eq(ps_bytes_contain(ps_bytes(text, len), ps_bytes_str("AAA")), len >= 3);
		if (len > 0)
			text[len - 1] = 'B';
		ck_assert_int_eq(ps_bytes_contain(ps_bytes(text, len), ps_bytes_str("AB")), len >= 2);
		ck_assert_int_eq(ps_bytes_contain(ps_bytes(text, len), ps_bytes_str("B")), len >= 1);
	}
}
END_TEST

/* At each place of texts of each length, of which nothing round them may be read. */
START_TEST(ascii_that_has_a_part_may_have_it)
{
	static const struct ps_bytes parts[] = {
		{(const uint8_t *)"AZA", 3}, {(const uint8_t *)"1-A", 3}, {(const uint8_t *)"{`[", 3}};
	const struct ps_bytes part = parts[_i];

	for (size_t len = 0; len < 40; len++) {
		uint8_t *text = malloc(len + !len);

		memset(text, 'a', len);
		ck_assert(!ps_ascii_may_contain(ps_bytes(text, len), part));
		for (size_t at = 0; at + part.len <= len; at++) {
			memset(text, 'z', len);
			for (size_t i = 0; i < part.len; i++)
				text[at + i] = (uint8_t)(at % 2 ? ps_tolower(part.ptr[i]) : part.ptr[i]);
			ck_assert(ps_ascii_may_contain(ps_bytes(text, len), part));
			text[at + 1] ^= 0x08;
			ck_assert(!ps_ascii_may_contain(ps_bytes(text, len), part));
		}
		free(text);
	}
}
END_TEST

/* What would take long is not found out. */
START_TEST(ascii_that_nearly_has_a_part_everywhere_may_have_it)
{
	static uint8_t text[100000], part[1000];

	memset(text, 'q', sizeof text);
	memset(part, 'Q', sizeof part);
	part[sizeof part - 1] = 'X';
	ck_assert(!ps_ascii_may_contain(ps_bytes(text, 100), ps_bytes_str("QW")));
	ck_assert(ps_ascii_may_contain(ps_bytes(text, sizeof text), ps_bytes(part, sizeof part)));
}
END_TEST

START_TEST(an_expunged_message_is_not_found)
{
	struct ps_search_node deep = {.kind = PS_SEARCH_BODY, TEXT("deep")},
			      not = {.kind = PS_SEARCH_NOT, .children = &deep};

	ck_assert_ok(ps_view_expunge(view, NULL));
	ck_assert_ok(ps_view_sync(view, 0, NULL, NULL)); /* it still has its number */
	ck_assert_ptr_nonnull(ps_view_row(view, 4));
	ck_assert_str_eq(search(&not ), "1 2 4 ");
}
END_TEST

START_TEST(too_many_keys_are_refused)
{
	struct ps_search_node *nodes = ps_zalloc(2001 * sizeof *nodes), deep[40] = {{0}};
	struct ps_search *s;

	for (int i = 0; i < 2001; i++)
		nodes[i] = (struct ps_search_node){.kind = i ? PS_SEARCH_ALL : PS_SEARCH_AND,
						   .children = i ? NULL : &nodes[1],
						   .next = i > 0 && i < 2000 ? &nodes[i + 1] : NULL};
	s = ps_search_create(view, pool, nodes);
	ck_assert_int_eq(ps_search_step(s, NULL, NULL, note_hit, NULL), PS_E_LIMIT);
	ps_search_destroy(s);
	for (int i = 0; i < 39; i++)
		deep[i] = (struct ps_search_node){.kind = PS_SEARCH_NOT, .children = &deep[i + 1]};
	s = ps_search_create(view, pool, deep);
	ck_assert_int_eq(ps_search_step(s, NULL, NULL, note_hit, NULL), PS_E_LIMIT);
	ps_search_destroy(s);
	free(nodes);
}
END_TEST

/* The needle lies across every border that reading and decoding have, at each of its octets. */
START_TEST(a_needle_is_found_wherever_the_text_is_cut)
{
	static const char needle[] = "\xc3\xa4pfel UND birnen in Gro\xc3\x9f";
	struct ps_search_node node = {.kind = PS_SEARCH_BODY, TEXT("\xc3\x84pfel und Birnen in gro\xc3\x9f")};
	size_t border = (size_t)(_i + 1) * 65536, count = 0;
	struct ps_append_message m = {.internal_date = INT64_MIN};
	struct ps_op_result result;
	struct ps_append *append;
	struct ps_buf filler = {0}, expected = {0};

	memset(ps_buf_reserve(&filler, 300000), 'a', 300000);
	ck_assert_ok(ps_append_open(user, "Trash", &append));
	for (size_t at = border - sizeof needle; at <= border + 1; at++) {
		ck_assert_ok(ps_append_begin(append, &m));
		ck_assert_ok(ps_append_write(append, ps_bytes_str("Content-Type: text/plain; charset=utf-8\r\n\r\n")));
		ck_assert_ok(ps_append_write(append, ps_bytes(filler.ptr, at)));
		ck_assert_ok(ps_append_write(append, ps_bytes_str(needle)));
		ck_assert_ok(ps_append_write(append, ps_bytes(filler.ptr, 100000)));
		ck_assert_ok(ps_append_end(append));
		ps_buf_printf(&expected, "%zu ", ++count);
	}
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
	ps_view_close(view);
	ck_assert_ok(ps_view_open(user, "Trash", false, NULL, NULL, &view));
	ck_assert_str_eq(search(&node), ps_buf_cstr(&expected));
	ps_buf_finish(&filler);
	ps_buf_finish(&expected);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("search");
	TCase *tc = tcase_create("search");

	tcase_add_checked_fixture(tc, open_view, close_view);
	tcase_add_loop_test(tc, each_key_finds_what_it_says, 0, PS_ARRAY_LEN(single));
	tcase_add_test(tc, keys_combine);
	tcase_add_test(tc, a_set_is_of_uids);
	tcase_add_test(tc, a_search_goes_on_where_its_slice_ended);
	tcase_add_test(tc, flags_of_many_are_found_slice_by_slice);
	tcase_add_test(tc, a_part_is_found_wherever_it_is);
	tcase_add_loop_test(tc, ascii_that_has_a_part_may_have_it, 0, 3);
	tcase_add_test(tc, ascii_that_nearly_has_a_part_everywhere_may_have_it);
	tcase_add_test(tc, an_expunged_message_is_not_found);
	tcase_add_test(tc, too_many_keys_are_refused);
	tcase_add_loop_test(tc, a_needle_is_found_wherever_the_text_is_cut, 0, 3);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
