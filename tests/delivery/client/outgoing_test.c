/* SPDX-License-Identifier: MIT */
/* The message as it is sent: line ends, dots, and pieces of a file. */
#include <sys/mman.h>
#include <unistd.h>
#include "core/delivery/client/outgoing.h"
#include "tests/unit.h"

static int put_file(const void *octets, size_t len)
{
	int file = memfd_create("message", MFD_CLOEXEC);

	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(write(file, octets, len), (ssize_t)len);
	return file;
}

static void send_all(int file, size_t size, enum outgoing_form form, bool stuff, struct ps_buf *to)
{
	struct outgoing out;
	int r;

	outgoing_init(&out, file, size, form, stuff);
	while ((r = outgoing_fill(&out, to)) == 0)
		;
	ck_assert_int_eq(r, 1);
	outgoing_finish(&out);
}

static const struct {
	const char *message, *sent;
} rows[] = {
	{"a\r\nb\r\n", "a\r\nb\r\n"},
	{"", ""},
	{"a", "a\r\n"},
	{"a\n", "a\r\n"},
	{"a\r", "a\r\n"},
	{"a\rb\r\n", "a\r\nb\r\n"},
	{"a\r\r\nb", "a\r\n\r\nb\r\n"},
	{"\n\n", "\r\n\r\n"},
	{"\r\r", "\r\n\r\n"},
	{".\r\n", "..\r\n"},
	{"..\r\n", "...\r\n"},
	{"a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n"},
	{"a\n.\nb", "a\r\n..\r\nb\r\n"},
	{"a\r.\rb", "a\r\n..\r\nb\r\n"},
	{"a\r.\r\nb", "a\r\n..\r\nb\r\n"},
	{"a\n.\r\nMAIL FROM:<x@y>\r\n", "a\r\n..\r\nMAIL FROM:<x@y>\r\n"},
	{"a.b\r\n", "a.b\r\n"},
};

START_TEST(has_no_bare_line_end_and_no_lone_dot)
{
	size_t len = strlen(rows[_i].message);
	int file = put_file(rows[_i].message, len);
	struct ps_buf to = {0};

	send_all(file, len, OUTGOING_LINES, true, &to);
	ck_assert_str_eq(ps_buf_cstr(&to), rows[_i].sent);
	ps_buf_finish(&to);
	close(file);
}
END_TEST

/* Each row across the end of a piece, at each of its octets. */
START_TEST(is_the_same_across_pieces)
{
	enum {
		PIECE = 64 * 1024
	};
	size_t len = strlen(rows[_i].message);

	for (size_t before = 0; before <= len; before++) {
		struct ps_buf message = {0}, expected = {0}, to = {0};
		int file;

		while (message.len < PIECE - before - 2)
			ps_buf_char(&message, 'x');
		ps_buf_str(&message, "\r\n");
		ps_buf_bytes(&expected, ps_buf_view(&message));
		ps_buf_str(&message, rows[_i].message);
		ps_buf_str(&expected, rows[_i].sent);
		file = put_file(message.ptr, message.len);
		send_all(file, message.len, OUTGOING_LINES, true, &to);
		ck_assert(ps_bytes_eq(ps_buf_view(&to), ps_buf_view(&expected)));
		ps_buf_finish(&message);
		ps_buf_finish(&expected);
		ps_buf_finish(&to);
		close(file);
	}
}
END_TEST

START_TEST(is_as_it_lies_when_binary)
{
	const char message[] = "a\n.\r\0b\r";
	int file = put_file(message, sizeof message);
	struct ps_buf to = {0};

	send_all(file, sizeof message, OUTGOING_RAW, false, &to);
	ck_assert_uint_eq(to.len, sizeof message);
	ck_assert_mem_eq(to.ptr, message, sizeof message);
	ps_buf_finish(&to);
	close(file);
}
END_TEST

#define HEAD8  "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
#define MIXED  "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n"
#define SEVEN7 "Content-Transfer-Encoding: 7bit\r\n"
#define BASE64 "Content-Transfer-Encoding: base64\r\n"

static const struct {
	const char *message, *sent; /* NULL: octets above 127 are left */
} sevens[] = {
	{HEAD8 "Content-Transfer-Encoding: 8bit\r\n\r\n\xfc\r\n", HEAD8 BASE64 "\r\n/A0K\r\n"},
	{HEAD8 "Content-Transfer-Encoding: 8BIT (x)\r\n\r\n.\r\n\xfc", HEAD8 BASE64 "\r\nLg0K/A==\r\n"},
	{HEAD8 "\r\na\r\n.\r\n", HEAD8 "\r\na\r\n..\r\n"},
	{HEAD8 "\r\n\xfc\r\n", NULL},
	{HEAD8 "Content-Transfer-Encoding: 7bit\r\n\r\n\xfc\r\n", NULL},
	{MIXED "Content-Transfer-Encoding: 8bit\r\n\r\n--x\r\nContent-Transfer-Encoding: "
	       "8bit\r\n\r\n\xfc\r\n--x\r\n\r\nplain\r\n--x--\r\n",
	 MIXED SEVEN7 "\r\n--x\r\n" BASE64 "\r\n/A==\r\n--x\r\n\r\nplain\r\n--x--\r\n"},
	{MIXED "\r\n--x\r\nContent-Transfer-Encoding: binary\r\n\r\na\nb\r\n--x--\r\n",
	 MIXED "\r\n--x\r\n" BASE64 "\r\nYQpi\r\n--x--\r\n"},
};

START_TEST(becomes_seven_bit)
{
	size_t len = strlen(sevens[_i].message);
	int file = put_file(sevens[_i].message, len);
	struct ps_buf to = {0};
	bool header, body;

	ck_assert_ok(outgoing_look(file, len, OUTGOING_SEVEN, &header, &body));
	ck_assert(!header);
	ck_assert_int_eq(body, !sevens[_i].sent);
	send_all(file, len, OUTGOING_SEVEN, true, &to);
	if (sevens[_i].sent)
		ck_assert_str_eq(ps_buf_cstr(&to), sevens[_i].sent);
	ps_buf_finish(&to);
	close(file);
}
END_TEST

START_TEST(a_file_that_got_shorter_is_not_sent_as_whole)
{
	int file = put_file("abc\r\n", 5);
	struct outgoing out;
	struct ps_buf to = {0};
	int r;

	outgoing_init(&out, file, 10, OUTGOING_LINES, true);
	while ((r = outgoing_fill(&out, &to)) == 0)
		;
	ck_assert_int_eq(r, PS_E_STORAGE);
	outgoing_finish(&out);
	ps_buf_finish(&to);
	close(file);
}
END_TEST

static const struct {
	const char *message;
	bool header, body;
} eights[] = {
	{"Subject: a\r\n\r\nb\r\n", false, false},
	{"Subject: \xc3\xbc\r\n\r\nb\r\n", true, false},
	{"Subject: a\r\n\r\n\xc3\xbc\r\n", false, true},
	{"Subject: a\n\n\xfc\n", false, true},
	{"\r\n\xfc", false, true},
	{"Subject: \xfc\r\n b\r\n\r\n\xfc", true, true},
};

START_TEST(octets_above_127_are_found)
{
	int file = put_file(eights[_i].message, strlen(eights[_i].message));
	bool header, body;

	ck_assert_ok(outgoing_look(file, strlen(eights[_i].message), OUTGOING_LINES, &header, &body));
	ck_assert_int_eq(header, eights[_i].header);
	ck_assert_int_eq(body, eights[_i].body);
	close(file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("delivery/client/outgoing");
	TCase *tcase = tcase_create("outgoing");

	tcase_add_loop_test(tcase, has_no_bare_line_end_and_no_lone_dot, 0, PS_ARRAY_LEN(rows));
	tcase_add_loop_test(tcase, is_the_same_across_pieces, 0, PS_ARRAY_LEN(rows));
	tcase_add_test(tcase, is_as_it_lies_when_binary);
	tcase_add_loop_test(tcase, becomes_seven_bit, 0, PS_ARRAY_LEN(sevens));
	tcase_add_test(tcase, a_file_that_got_shorter_is_not_sent_as_whole);
	tcase_add_loop_test(tcase, octets_above_127_are_found, 0, PS_ARRAY_LEN(eights));
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
