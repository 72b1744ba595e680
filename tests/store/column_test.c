/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include "core/store/column.h"
#include "core/store/mailbox.h"
#include "tests/store/user.h"

static struct ps_user *user;
static struct ps_view *view;
static struct ps_pool *pool;
static uint32_t seed;

static uint32_t pick(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

/* ---- one column ---------------------------------------------------------------------------- */

static struct ps_column *columns;

static void note(struct ps_column_search *search, uint32_t uid, const char *text)
{
	ck_assert_int_eq(ps_column_find(search, uid), PS_COLUMN_UNKNOWN);
	if (text)
		ps_column_note(search, uid, ps_bytes_str(text));
	ps_column_noted(search, uid);
}

static int find(const char *text, uint32_t uid)
{
	struct ps_column_search *search = ps_column_open(&columns, "SUBJECT", ps_bytes_str(text));
	int found = ps_column_find(search, uid);

	ps_column_close(search);
	return found;
}

START_TEST(what_was_noted_is_found)
{
	struct ps_column_search *search = ps_column_open(&columns, "Subject", ps_bytes_str("x"));

	note(search, 1, "ab");
	note(search, 2, "ba");
	note(search, 4, NULL);
	note(search, 511, "the last of a block");
	note(search, 512, "the first");
	note(search, UINT32_MAX - 1, "far");
	ps_column_close(search);
	ck_assert_int_eq(find("ab", 1), 1);
	ck_assert_int_eq(find("ab", 2), 0);
	ck_assert_int_eq(find("bb", 1), 0); /* "ab" and "ba" lie side by side */
	ck_assert_int_eq(find("bb", 2), 0);
	ck_assert_int_eq(find("ab", 3), PS_COLUMN_UNKNOWN);
	ck_assert_int_eq(find("ab", 4), 0);
	ck_assert_int_eq(find("the", 511), 1);
	ck_assert_int_eq(find("the", 512), 1);
	ck_assert_int_eq(find("far", UINT32_MAX - 1), 1);
	ck_assert_int_eq(find("far", UINT32_MAX - 2), PS_COLUMN_UNKNOWN);
	ps_columns_drop(&columns);
	ck_assert_uint_eq(ps_columns_size(), 0);
}
END_TEST

START_TEST(a_message_with_several_fields_is_one)
{
	struct ps_column_search *search = ps_column_open(&columns, "Subject", ps_bytes_str("x"));

	for (uint32_t uid = 1; uid < 4; uid++) {
		ck_assert_int_eq(ps_column_find(search, uid), PS_COLUMN_UNKNOWN);
		ps_column_note(search, uid, ps_bytes_str("one"));
		ps_column_note(search, uid, ps_bytes_str(uid == 2 ? "two" : "three"));
		ps_column_noted(search, uid);
	}
	ps_column_close(search);
	ck_assert_int_eq(find("one", 2), 1);
	ck_assert_int_eq(find("two", 2), 1);
	ck_assert_int_eq(find("two", 3), 0);
	ck_assert_int_eq(find("onet", 2), 0);
	ps_columns_drop(&columns);
}
END_TEST

/* Two that search at once, and a gap that a third one fills. */
START_TEST(what_several_note_is_put_together)
{
	struct ps_column_search *first = ps_column_open(&columns, "subject", ps_bytes_str("x")),
				*second = ps_column_open(&columns, "subject", ps_bytes_str("x"));

	note(first, 10, "ten");
	note(first, 30, "thirty");
	note(second, 10, "ten");
	note(second, 20, "twenty");
	ps_column_close(first);
	ps_column_close(second); /* came too late */
	ck_assert_int_eq(find("ten", 10), 1);
	ck_assert_int_eq(find("twenty", 20), PS_COLUMN_UNKNOWN);
	second = ps_column_open(&columns, "subject", ps_bytes_str("t"));
	ck_assert_int_eq(ps_column_find(second, 10), 1);
	note(second, 20, "twenty");
	ck_assert_int_eq(ps_column_find(second, 30), 1);
	note(second, 40, "forty");
	ps_column_close(second);
	ck_assert_int_eq(find("ten", 10), 1);
	ck_assert_int_eq(find("twenty", 20), 1);
	ck_assert_int_eq(find("ten", 20), 0);
	ck_assert_int_eq(find("thirty", 30), 1);
	ck_assert_int_eq(find("forty", 40), 1);
	ps_columns_drop(&columns);
}
END_TEST

START_TEST(a_long_text_is_not_noted)
{
	static char text[5001];
	struct ps_column_search *search = ps_column_open(&columns, "Subject", ps_bytes_str("x"));

	memset(text, 'x', sizeof text - 1);
	note(search, 1, "before");
	note(search, 2, text);
	note(search, 3, "behind");
	ps_column_close(search);
	ck_assert_int_eq(find("before", 1), 1);
	ck_assert_int_eq(find("xx", 2), PS_COLUMN_UNKNOWN);
	ck_assert_int_eq(find("behind", 3), 1);
	ps_columns_drop(&columns);
}
END_TEST

/* Five columns in the room of less than two: the one searched last is there, and a search may outlive its column. */
START_TEST(those_not_searched_for_longest_make_room)
{
	static const char *const names[] = {"Subject", "From", "To", "Cc", "Bcc"};
	struct ps_column_search *search = NULL;
	char text[32];

	ps_columns_limit(70000);
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		search = ps_column_open(&columns, names[i], ps_bytes_str("number 77"));
		for (uint32_t uid = 1; uid <= 2000; uid++) {
			snprintf(text, sizeof text, "number %u of 2000", uid);
			note(search, uid, text);
		}
		ck_assert_uint_gt(ps_columns_size(), 40000);
		ck_assert_uint_le(ps_columns_size(), 70000);
		ck_assert_int_eq(ps_column_find(search, 1), 1 == 0);
		if (i + 1 < PS_ARRAY_LEN(names))
			ps_column_close(search);
	}
	ck_assert_int_eq(ps_column_find(search, 77), 1);
	ck_assert_int_eq(find("number", 77), PS_COLUMN_UNKNOWN);
	ps_columns_drop(&columns);
	ck_assert_int_eq(ps_column_find(search, 78), 0);
	ck_assert_int_eq(ps_column_find(search, 779), PS_COLUMN_UNKNOWN);
	ps_column_close(search);
	ck_assert_uint_eq(ps_columns_size(), 0);
}
END_TEST

/* ---- searches ------------------------------------------------------------------------------ */

static const char *const words[] = {"ab",
				    "ba",
				    "AB",
				    "b",
				    "lunch",
				    "Lunch",
				    "=?utf-8?q?=C3=84pfel?=",
				    "\xc3\xa4pfel",
				    "=?utf-8?b?Z3LDvMOfZQ==?=",
				    "a\r\n b"};
static const char *const wanted[] = {"ab", "bb", "lunch", "\xc3\x84PFEL", "gr\xc3\xbc\xc3\x9f", "a b", "x", "a", ""};
static const char *const names[] = {"Subject", "From", "To", "X-Odd"};

/* Fields in any number, a few too long to be noted or to be kept in a cache. */
static void put_field(struct ps_buf *out, const char *name)
{
	static const uint32_t lengths[] = {1, 2, 3, 5, 8}, long_ones[] = {600, 6000};
	uint32_t length = pick(120) ? lengths[pick(PS_ARRAY_LEN(lengths))] : long_ones[pick(2)];

	ps_buf_printf(out, "%s:", name);
	for (uint32_t i = 0; i < length; i++)
		ps_buf_printf(out, "%s%s", i % 8 == 7 ? "\r\n " : " ", words[pick(PS_ARRAY_LEN(words))]);
	ps_buf_str(out, "\r\n");
}

static void append_messages(unsigned count)
{
	struct ps_append_message message = {.internal_date = INT64_MIN};
	struct ps_op_result result;
	struct ps_append *append;
	struct ps_buf octets = {0};

	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	for (unsigned i = 0; i < count; i++) {
		ps_buf_reset(&octets);
		for (size_t n = 0; n < PS_ARRAY_LEN(names); n++)
			for (uint32_t fields = pick(4); fields > 0; fields--)
				put_field(&octets, names[n]);
		ps_buf_str(&octets, "\r\nbody\r\n");
		message.flags = pick(4);
		ck_assert_ok(ps_append_begin(append, &message));
		ck_assert_ok(ps_append_write(append, ps_buf_view(&octets)));
		ck_assert_ok(ps_append_end(append));
	}
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
	ps_buf_finish(&octets);
	ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, NULL, NULL));
}

static void expunge_some(unsigned every)
{
	struct ps_range *ranges = PS_NEWV(pool, struct ps_range, 1000);
	struct ps_set set = {ranges, 0};

	for (uint32_t seq = 1; ps_view_row(view, seq); seq += 1 + pick(2 * every)) {
		uint32_t uid = ps_view_row(view, seq)->uid;

		ranges[set.count++] = (struct ps_range){uid, uid};
	}
	ck_assert_ok(ps_view_remove(view, &set));
	ck_assert_ok(ps_view_sync(view, PS_SYNC_EXPUNGE, NULL, NULL));
}

static struct ps_search_node *random_program(unsigned depth)
{
	struct ps_search_node *node = PS_NEW(pool, struct ps_search_node);
	struct ps_search_node **at = &node->children;
	uint32_t kind = pick(depth > 2 ? 6 : 10);

	if (kind < 4) {
		node->kind = PS_SEARCH_HEADER;
		node->name = names[pick(PS_ARRAY_LEN(names))];
		node->text = ps_bytes_str(wanted[pick(PS_ARRAY_LEN(wanted))]);
	} else if (kind < 6) {
		node->kind = PS_SEARCH_FLAG;
		node->number = pick(2) ? PS_FLAG_SEEN : pick(2) ? PS_FLAG_ANSWERED : PS_FLAG_SEEN | PS_FLAG_ANSWERED;
	} else {
		node->kind = kind == 6 ? PS_SEARCH_OR : kind == 7 ? PS_SEARCH_NOT : PS_SEARCH_AND;
		for (uint32_t children = kind == 7 ? 1 : 1 + pick(3); children > 0; children--) {
			*at = random_program(depth + 1);
			at = &(*at)->next;
		}
	}
	return node;
}

/* By the rows alone, where a program asks for nothing else: the children are looked at one by one, in the order given. */
static bool row_matches(const struct ps_search_node *node, const struct ps_row *row)
{
	const struct ps_search_node *child = node->children;

	switch (node->kind) {
	case PS_SEARCH_FLAG: return row->flags & node->number;
	case PS_SEARCH_OR:
		while (child && !row_matches(child, row))
			child = child->next;
		return child;
	default:
		while (child && row_matches(child, row))
			child = child->next;
		return !child == (node->kind == PS_SEARCH_AND);
	}
}

static bool asks_rows_only(const struct ps_search_node *node)
{
	for (const struct ps_search_node *child = node->children; child; child = child->next)
		if (!asks_rows_only(child))
			return false;
	return node->kind != PS_SEARCH_HEADER;
}

static int note_hit(void *arg, uint32_t seq, const struct ps_row *row)
{
	(void)row;
	ps_buf_printf(arg, "%u ", seq);
	return 0;
}

static bool now_and_then(void *arg)
{
	return ++*(unsigned *)arg % 64 == 0;
}

static void search(const struct ps_search_node *root, struct ps_buf *hits)
{
	struct ps_pool *own = ps_pool_create("search");
	struct ps_search *s = ps_search_create(view, own, root);
	unsigned asked = 0;
	int r;

	ps_buf_reset(hits);
	while ((r = ps_search_step(s, now_and_then, &asked, note_hit, hits)) == 0)
		;
	ck_assert_int_eq(r, 1);
	ps_search_destroy(s);
	ps_pool_destroy(own);
}

/* The same search without columns, which reads each message's cache, and twice with them. */
static void check_search(size_t limit)
{
	struct ps_search_node *root = random_program(0);
	struct ps_buf slow = {0}, hits = {0};

	ps_columns_limit(0);
	search(root, &slow);
	ps_columns_limit(limit);
	for (int i = 0; i < 2; i++) {
		search(root, &hits);
		ck_assert_str_eq(ps_buf_cstr(&hits), ps_buf_cstr(&slow));
		ck_assert_uint_le(ps_columns_size(), limit);
	}
	if (asks_rows_only(root)) {
		ps_buf_reset(&slow);
		for (uint32_t seq = 1; ps_view_row(view, seq); seq++)
			if (row_matches(root, ps_view_row(view, seq)))
				ps_buf_printf(&slow, "%u ", seq);
		ck_assert_str_eq(ps_buf_cstr(&hits), ps_buf_cstr(&slow));
	}
	ps_buf_finish(&slow);
	ps_buf_finish(&hits);
}

static void open_view(void)
{
	seed = 1;
	pool = ps_pool_create("test");
	user = test_user("column");
	ck_assert_ok(ps_view_open(user, "INBOX", false, NULL, NULL, &view));
}

static void close_view(void)
{
	ps_view_close(view);
	ps_user_close(user);
	ps_pool_destroy(pool);
}

/* While messages come and go, and with room for all, for some, and for hardly any. */
START_TEST(a_column_finds_what_reading_finds)
{
	static const size_t limits[] = {PS_COLUMNS_MAX, 30000, 1500};

	seed = (uint32_t)_i + 1;
	for (int round = 0; round < 3; round++) {
		append_messages(120);
		for (int i = 0; i < 15; i++)
			check_search(limits[_i % (int)PS_ARRAY_LEN(limits)]);
		expunge_some(5 + 20 * (unsigned)round);
	}
}
END_TEST

/* Columns do what they are for: the second search does not read what the first has noted, so it finds what is gone since. */
START_TEST(the_second_search_reads_nothing)
{
	struct ps_search_node node = {.kind = PS_SEARCH_HEADER, .name = "Subject", .text = ps_bytes_str("lunch")};
	struct ps_buf first = {0}, second = {0};
	struct ps_range all = {1, UINT32_MAX};

	append_messages(100);
	search(&node, &first);
	ck_assert_uint_gt(ps_columns_size(), 100);
	ck_assert_uint_gt(first.len, 0);
	ck_assert_ok(ps_view_remove(view, &(struct ps_set){&all, 1}));
	search(&node, &second);
	ck_assert_uint_gt(second.len, 0);
	ps_columns_limit(0);
	search(&node, &second);
	ck_assert_uint_eq(second.len, 0);
	ps_buf_finish(&first);
	ps_buf_finish(&second);
}
END_TEST

START_TEST(columns_go_with_their_mailbox)
{
	struct ps_search_node node = {.kind = PS_SEARCH_HEADER, .name = "To", .text = ps_bytes_str("a")};
	struct ps_buf hits = {0};

	append_messages(10);
	search(&node, &hits);
	ck_assert_uint_gt(ps_columns_size(), 0);
	ps_view_close(view);
	ps_user_close(user);
	ck_assert_uint_eq(ps_columns_size(), 0);
	user = test_user("column");
	ck_assert_ok(ps_view_open(user, "INBOX", false, NULL, NULL, &view));
	ps_buf_finish(&hits);
}
END_TEST

static void *searcher(void *arg)
{
	struct ps_search_node node = {.kind = PS_SEARCH_HEADER, .name = "Subject", .text = ps_bytes_str("lunch")};
	struct ps_pool *own = ps_pool_create("searcher");
	struct ps_view *other;

	ck_assert_ok(ps_view_open(user, "INBOX", true, NULL, NULL, &other));
	for (int i = 0; i < 8; i++) {
		struct ps_buf hits = {0};
		struct ps_search *s = ps_search_create(other, own, &node);

		ck_assert_int_eq(ps_search_step(s, NULL, NULL, note_hit, &hits), 1);
		ps_search_destroy(s);
		ck_assert_str_eq(ps_buf_cstr(&hits), arg);
		ps_buf_finish(&hits);
		if (i % 2 == 0)
			ps_columns_limit(i % 4 ? PS_COLUMNS_MAX : 3000);
	}
	ps_view_close(other);
	ps_pool_destroy(own);
	return NULL;
}

START_TEST(many_may_search_at_once)
{
	struct ps_search_node node = {.kind = PS_SEARCH_HEADER, .name = "Subject", .text = ps_bytes_str("lunch")};
	struct ps_buf hits = {0};

	append_messages(550);
	ps_columns_limit(0);
	search(&node, &hits);
	unit_threads(4, searcher, (void *)(uintptr_t)ps_buf_cstr(&hits));
	ps_buf_finish(&hits);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("column");
	TCase *one = tcase_create("column"), *searches = tcase_create("searches");

	tcase_add_test(one, what_was_noted_is_found);
	tcase_add_test(one, a_message_with_several_fields_is_one);
	tcase_add_test(one, what_several_note_is_put_together);
	tcase_add_test(one, a_long_text_is_not_noted);
	tcase_add_test(one, those_not_searched_for_longest_make_room);
	suite_add_tcase(suite, one);
	tcase_add_checked_fixture(searches, open_view, close_view);
	tcase_add_loop_test(searches, a_column_finds_what_reading_finds, 0, 3);
	tcase_add_test(searches, the_second_search_reads_nothing);
	tcase_add_test(searches, columns_go_with_their_mailbox);
	tcase_add_test(searches, many_may_search_at_once);
	suite_add_tcase(suite, searches);
	return test_main(suite);
}
