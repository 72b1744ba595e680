/* SPDX-License-Identifier: MIT */
#include "protocols/imap/reader.h"
#include "tests/unit.h"

/* What a client sends, and what the reader makes of it: each verdict in a word, commands with their text. */
static const struct {
	const char *sent;
	const char *verdicts;
} dialogues[] = {
	{"a NOOP\r\n", "<a NOOP>"},
	{"a NOOP\n", "<a NOOP>"},
	{"\r\n", "<>"},
	{"a NOOP\r\nb NOOP\r\n", "<a NOOP><b NOOP>"},
	{"a LOGIN {5}\r\nalice {4}\r\npass\r\n", "continue continue <a LOGIN {5}\r\nalice {4}\r\npass>"},
	{"a LOGIN {5+}\r\nalice {4+}\r\npass\r\nb X\r\n", "<a LOGIN {5+}\r\nalice {4+}\r\npass><b X>"},
	{"a LOGIN {0}\r\n x\r\n", "continue <a LOGIN {0}\r\n x>"},
	{"a LOGIN {2}\r\n\r\n x\r\n", "continue <a LOGIN {2}\r\n\r\n x>"},
	/* Refused: what waits for us is not sent; what does not is dropped, to the octet. */
	{"a X {21}\r\nb NOOP\r\n", "big <b NOOP>"},
	{"a X {21+}\r\n123456789 123456789\r\n y\r\nb NOOP\r\n", "big <b NOOP>"},
	{"a X {21+}\r\n123456789 123456789\r\n {3+}\r\nx\r\ny {2+}\r\nz\nb\r\nc NOOP\r\n", "big <c NOOP>"},
	{"a X {21+}\r\n123456789 123456789\r\n {3}\r\nb NOOP\r\n", "big <b NOOP>"},
	{"a X {4294967296}\r\nb NOOP\r\n", "big <b NOOP>"},
	{"a X {99999999999999999999999}\r\nb NOOP\r\n", "big <b NOOP>"},
	{"a X {4294967296+}\r\n", "hopeless "},
	{"a X {99999999999999999999999+}\r\n", "hopeless "},
	/* Literals that are each small enough, and together are not. */
	{"a {20+}\r\n123456789 123456789 {20+}\r\n123456789 123456789 {20+}\r\n123456789 123456789 x\r\nb Y\r\n",
	 "big <b Y>"},
	{"a -1 {-1}\r\n", "<a -1 {-1}>"},
	/* STREAM is for those who take the literal themselves: here, what begins with "s". */
	{"s X {300}\r\n", "stream(s X )300 "},
	{"s {3+}\r\n", "stream(s )3 "},
	/* Too long, with and without an end in sight; and one that ends in a literal on its way. */
	{"a 123456789 123456789 123456789 123456789 123456789 123456789 123456789\r\nb Y\r\n", "long <b Y>"},
	{"a 123456789 123456789 123456789 123456789 123456789 123456789 123456789 {4+}\r\nb X\r\r\nb Y\r\n",
	 "long <b Y>"},
};

static bool streams(void *arg, struct ps_bytes before)
{
	(void)arg;
	return before.len > 0 && before.ptr[0] == 's';
}

static void note(struct ps_buf *out, struct imap_reader *reader, enum imap_read verdict)
{
	static const char *const words[] = {
		[IMAP_READ_CONTINUE] = "continue ", [IMAP_READ_TOO_BIG] = "big ",       [IMAP_READ_TOO_LONG] = "long ",
		[IMAP_READ_NUL] = "nul ",           [IMAP_READ_HOPELESS] = "hopeless ",
	};

	if (verdict == IMAP_READ_COMMAND) {
		ps_buf_char(out, '<');
		ps_buf_bytes(out, ps_buf_view(&reader->text));
		ps_buf_char(out, '>');
	} else if (verdict == IMAP_READ_STREAM) {
		ps_buf_printf(out, "stream(%s)%d ", ps_buf_cstr(&reader->text), (int)reader->literal.octets);
	} else {
		ps_buf_str(out, words[verdict]);
	}
	if (verdict != IMAP_READ_CONTINUE)
		imap_reader_reset(reader);
}

/* Feeds what has arrived, as a session does: what was not used comes again, with more behind it. */
static size_t feed(struct imap_reader *reader, struct ps_bytes arrived, struct ps_buf *out)
{
	size_t total = 0, used;
	enum imap_read verdict;

	do {
		verdict = imap_reader_feed(reader, ps_bytes_skip(arrived, total), &used);
		total += used;
		if (verdict != IMAP_READ_MORE)
			note(out, reader, verdict);
	} while (verdict != IMAP_READ_MORE && verdict != IMAP_READ_HOPELESS && verdict != IMAP_READ_STREAM);
	return total;
}

static const struct imap_reader_limits limits = {.command = 64, .literal = 20, .non_synchronising = 20};

static void reader_init(struct imap_reader *reader)
{
	imap_reader_init(reader, &limits);
	reader->streams = streams;
}

START_TEST(commands_are_read_however_they_are_cut)
{
	struct ps_bytes sent = ps_bytes_str(dialogues[_i].sent);

	for (size_t cut = 0; cut <= sent.len; cut++) {
		struct imap_reader reader;
		struct ps_buf out = {0};
		size_t used;

		reader_init(&reader);
		used = feed(&reader, ps_bytes(sent.ptr, cut), &out);
		feed(&reader, ps_bytes_skip(sent, used), &out);
		ck_assert_str_eq(ps_buf_cstr(&out), dialogues[_i].verdicts);
		imap_reader_finish(&reader);
		ps_buf_finish(&out);
	}
}
END_TEST

START_TEST(commands_are_read_octet_by_octet)
{
	struct ps_bytes sent = ps_bytes_str(dialogues[_i].sent);
	struct imap_reader reader;
	struct ps_buf out = {0};
	size_t from = 0;

	reader_init(&reader);
	for (size_t to = 1; to <= sent.len; to++)
		from += feed(&reader, ps_bytes(sent.ptr + from, to - from), &out);
	ck_assert_str_eq(ps_buf_cstr(&out), dialogues[_i].verdicts);
	imap_reader_finish(&reader);
	ps_buf_finish(&out);
}
END_TEST

#define WITH_LENGTH(text)                                                                                              \
	{                                                                                                              \
		text, sizeof(text) - 1                                                                                 \
	}

static const struct {
	const char *sent;
	size_t len;
} with_nul[] = {
	WITH_LENGTH("a NO\0P\r\nb X\r\n"),
	WITH_LENGTH("a X {3+}\r\n1\0"
		    "3\r\nb X\r\n"),
	WITH_LENGTH("a X {3}\r\n1\0"
		    "3 {2+}\r\n\0\0\r\nb X\r\n"),
	WITH_LENGTH("\0 {5+}\r\nb Y\r\n\r\nb X\r\n"),
};

START_TEST(nul_is_refused_and_its_command_dropped)
{
	struct ps_bytes sent = ps_bytes(with_nul[_i].sent, with_nul[_i].len);
	struct imap_reader reader;
	struct ps_buf out = {0};
	const char *verdicts;

	reader_init(&reader);
	feed(&reader, sent, &out);
	verdicts = ps_buf_cstr(&out);
	if (strncmp(verdicts, "continue ", 9) == 0)
		verdicts += 9;
	ck_assert_str_eq(verdicts, "nul <b X>");
	imap_reader_finish(&reader);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(a_line_without_end_does_not_fill_memory)
{
	struct imap_reader reader;
	struct ps_buf out = {0};
	uint8_t xs[65];
	size_t used = 0;

	memset(xs, 'x', sizeof xs);
	reader_init(&reader);
	ck_assert_int_eq(imap_reader_feed(&reader, ps_bytes(xs, 64), &used), IMAP_READ_MORE);
	ck_assert_uint_eq(used, 0);
	ck_assert_int_eq(imap_reader_feed(&reader, ps_bytes(xs, 65), &used), IMAP_READ_TOO_LONG);
	imap_reader_reset(&reader);
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(imap_reader_feed(&reader, ps_bytes(xs, 65), &used), IMAP_READ_MORE);
		ck_assert_uint_gt(used, 0);
	}
	ck_assert_uint_le(reader.text.len, 64);
	feed(&reader, ps_bytes_str("\r\na X\r\n"), &out);
	ck_assert_str_eq(ps_buf_cstr(&out), "<a X>");
	imap_reader_finish(&reader);
	ps_buf_finish(&out);
}
END_TEST

static void feed_pieces(struct ps_bytes sent, size_t piece, struct ps_buf *out)
{
	struct imap_reader reader;
	size_t from = 0;

	reader_init(&reader);
	for (size_t to = 0; to < sent.len;) {
		to = sent.len - to < piece ? sent.len : to + piece;
		from += feed(&reader, ps_bytes(sent.ptr + from, to - from), out);
	}
	imap_reader_finish(&reader);
}

/* No length has so many digits; and in small pieces, its "{" is dropped before its end comes. */
START_TEST(a_literal_of_a_dropped_line_is_the_same_in_pieces)
{
	static const char sent[] = "a \0 {000000000000000000000000000000000000000009+}\r\nb X\r\n";
	struct ps_buf whole = {0}, pieces = {0};

	feed_pieces(ps_bytes(sent, sizeof sent - 1), sizeof sent, &whole);
	feed_pieces(ps_bytes(sent, sizeof sent - 1), 1, &pieces);
	ck_assert_str_eq(ps_buf_cstr(&whole), "nul <b X>");
	ck_assert_str_eq(ps_buf_cstr(&pieces), "nul <b X>");
	ps_buf_finish(&whole);
	ps_buf_finish(&pieces);
}
END_TEST

/* The line behind a literal that is dropped, too; with lengths at which the "{" is just dropped, or just not. */
START_TEST(a_literal_of_any_length_is_the_same_in_pieces)
{
	struct ps_buf sent = {0}, whole = {0}, pieces = {0};

	ps_buf_append(&sent, "a \0 {1+}\r\nx{", 12);
	for (int i = 0; i < _i; i++)
		ps_buf_char(&sent, '0');
	ps_buf_str(&sent, "3+}\r\n+++\r\nb X\r\n");
	feed_pieces(ps_buf_view(&sent), sent.len, &whole);
	feed_pieces(ps_buf_view(&sent), 1, &pieces);
	ck_assert_str_eq(ps_buf_cstr(&whole), ps_buf_cstr(&pieces));
	ps_buf_finish(&sent);
	ps_buf_finish(&whole);
	ps_buf_finish(&pieces);
}
END_TEST

START_TEST(it_says_how_much_it_wants)
{
	struct imap_reader reader;
	size_t used;

	reader_init(&reader);
	ck_assert_uint_eq(imap_reader_wants(&reader), 0);
	imap_reader_feed(&reader, ps_bytes_str("a {12}\r\n"), &used);
	imap_reader_feed(&reader, ps_bytes_str("123"), &used);
	ck_assert_uint_eq(imap_reader_wants(&reader), 9);
	imap_reader_reset(&reader);
	imap_reader_skip(&reader, 1 << 20);
	ck_assert_uint_gt(imap_reader_wants(&reader), 0);
	ck_assert_uint_le(imap_reader_wants(&reader), 64 << 10);
	imap_reader_finish(&reader);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("imap reader");
	TCase *tc = tcase_create("reader");

	tcase_add_loop_test(tc, commands_are_read_however_they_are_cut, 0, PS_ARRAY_LEN(dialogues));
	tcase_add_loop_test(tc, commands_are_read_octet_by_octet, 0, PS_ARRAY_LEN(dialogues));
	tcase_add_loop_test(tc, nul_is_refused_and_its_command_dropped, 0, PS_ARRAY_LEN(with_nul));
	tcase_add_test(tc, a_line_without_end_does_not_fill_memory);
	tcase_add_test(tc, a_literal_of_a_dropped_line_is_the_same_in_pieces);
	tcase_add_loop_test(tc, a_literal_of_any_length_is_the_same_in_pieces, 20, 40);
	tcase_add_test(tc, it_says_how_much_it_wants);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
