/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/message.h"
#include "tests/unit.h"

#define ADDED   "From: <u@e.test>\r\n" LATER
#define LATER   "Date: D\r\nMessage-ID: <1@h>\r\n"
#define MINIMAL "From: a@b\r\nDate: x\r\nMessage-ID: <y>\r\n"

static int append(void *arg, struct ps_bytes octets)
{
	return ps_buf_bytes(arg, octets);
}

static struct smtp_message *begin(struct ps_buf *out, bool submission, const char *reverse_path)
{
	return smtp_message_create(&(struct smtp_message_args){
		.write = append,
		.arg = out,
		.size_limit = 1000,
		.received_limit = 3,
		.counted = true,
		.submission = submission,
		.reverse_path = reverse_path,
		.date = "D",
		.message_id = "1@h",
	});
}

static const struct {
	const char *given, *want;
	unsigned code; /* 0: it is taken */
} submissions[] = {
	{MINIMAL "\r\nbody\r\n", MINIMAL "\r\nbody\r\n", 0},
	{"\r\nbody\r\n", ADDED "\r\nbody\r\n", 0},
	{"", ADDED, 0},
	{"Subject: s\r\n", "Subject: s\r\n" ADDED, 0},
	{"From: a@b\r\n\r\n", "From: a@b\r\n" LATER "\r\n", 0},
	{"from : a@b\r\n\r\n", "from : a@b\r\n" LATER "\r\n", 0},
	{"FROM: A (x)\r\n <a@b>,\r\n\tb@c\r\n\r\n", "FROM: A (x)\r\n <a@b>,\r\n\tb@c\r\n" LATER "\r\n", 0},
	{"From: g: a@b, c@d;\r\n\r\n", "From: g: a@b, c@d;\r\n" LATER "\r\n", 0},
	{MINIMAL "Bcc: x@y\r\n\r\nBcc: body\r\n", MINIMAL "\r\nBcc: body\r\n", 0},
	{"BCC : x@y,\r\n z@y\r\n\tq@y\r\n" MINIMAL "\r\n", MINIMAL "\r\n", 0},
	{"Resent-Bcc: x@y\r\n" MINIMAL, MINIMAL, 0},
	{"Return-Path: <x@y>\r\n" MINIMAL "\r\n", MINIMAL "\r\n", 0},
	{"X-Bcc: x@y\r\n" MINIMAL "\r\n", "X-Bcc: x@y\r\n" MINIMAL "\r\n", 0},
	{"Bccc: x@y\r\n" MINIMAL "\r\n", "Bccc: x@y\r\n" MINIMAL "\r\n", 0},
	/* What is no field ends the header. */
	{"hello\r\nFrom: a@b\r\n", ADDED "\r\nhello\r\nFrom: a@b\r\n", 0},
	{" hello\r\n", ADDED "\r\n hello\r\n", 0},
	{"Subject: s\r\nhello\r\n", "Subject: s\r\n" ADDED "\r\nhello\r\n", 0},
	{"Subject: s\r\n: x\r\n", "Subject: s\r\n" ADDED "\r\n: x\r\n", 0},
	{"Sub\xc3ject: s\r\n", ADDED "\r\nSub\xc3ject: s\r\n", 0},
	/* From that is not well-formed. */
	{"From: a\r\n\r\n", NULL, 554},
	{"From: \r\n\r\n", NULL, 554},
	{"From: a@b, c\r\n\r\n", NULL, 554},
	{"From: g:;\r\n\r\n", NULL, 554},
	{"From: a@\r\n\r\n", NULL, 554},
	{MINIMAL "From: a@b\r\n\r\n", NULL, 554},
};

START_TEST(a_submission_is_mended_however_it_is_cut)
{
	struct ps_bytes given = ps_bytes_str(submissions[_i].given);

	for (size_t cut = 0; cut <= given.len; cut++) {
		struct ps_buf out = {0};
		struct smtp_message *message = begin(&out, true, "u@e.test");
		const struct smtp_refusal *refusal;

		ck_assert_uint_eq(smtp_message_take(message, ps_bytes(given.ptr, cut)), cut);
		smtp_message_take(message, ps_bytes_skip(given, cut));
		refusal = smtp_message_finish(message);
		ck_assert_uint_eq(refusal ? refusal->code : 0, submissions[_i].code);
		if (!refusal)
			ck_assert_str_eq(ps_buf_cstr(&out), submissions[_i].want);
		smtp_message_destroy(message);
		ps_buf_finish(&out);
	}
}
END_TEST

START_TEST(without_a_sender_there_is_no_from_to_add)
{
	struct ps_buf out = {0};
	struct smtp_message *message = begin(&out, true, "");

	smtp_message_take(message, ps_bytes_str("Subject: s\r\n\r\n"));
	ck_assert_uint_eq(smtp_message_finish(message)->code, 554);
	smtp_message_destroy(message);
	ps_buf_finish(&out);
}
END_TEST

#define RECEIVED "Received: from x by y; z\r\n"

static const struct {
	const char *given, *want;
	const char *enhanced; /* NULL: it is taken */
} others[] = {
	{"Bcc: x@y\r\n\r\nbody\r\n", "Bcc: x@y\r\n\r\nbody\r\n", NULL},
	{"Return-Path: <x@y>\r\n\t(z)\r\nSubject: s\r\n\r\nReturn-Path: body\r\n",
	 "Subject: s\r\n\r\nReturn-Path: body\r\n", NULL},
	{"", "", NULL},
	{"body\r\n", "\r\nbody\r\n", NULL},
	{" body\r\n", "\r\n body\r\n", NULL},
	{"Subject: s\r\nbody\r\n", "Subject: s\r\nbody\r\n", NULL},
	{"Subject: s", "Subject: s\r\n", NULL},
	{"\r\n" RECEIVED RECEIVED RECEIVED RECEIVED, "\r\n" RECEIVED RECEIVED RECEIVED RECEIVED, NULL},
	{RECEIVED RECEIVED RECEIVED, RECEIVED RECEIVED RECEIVED, NULL},
	{RECEIVED "RECEIVED:x\r\n" RECEIVED RECEIVED, NULL, "5.4.6"},
	{"a\nb", NULL, "5.6.0"},
	{"a\rb", NULL, "5.6.0"},
	{"a\r", NULL, "5.6.0"},
};

START_TEST(other_mail_is_left_alone_or_refused)
{
	struct ps_bytes given = ps_bytes_str(others[_i].given);

	for (size_t cut = 0; cut <= given.len; cut++) {
		struct ps_buf out = {0};
		struct smtp_message *message = begin(&out, false, "a@b");
		const struct smtp_refusal *refusal;

		smtp_message_take(message, ps_bytes(given.ptr, cut));
		smtp_message_take(message, ps_bytes_skip(given, cut));
		refusal = smtp_message_finish(message);
		ck_assert_int_eq(refusal == NULL, others[_i].enhanced == NULL);
		if (refusal)
			ck_assert_str_eq(refusal->enhanced, others[_i].enhanced);
		else
			ck_assert_str_eq(ps_buf_cstr(&out), others[_i].want);
		smtp_message_destroy(message);
		ps_buf_finish(&out);
	}
}
END_TEST

START_TEST(the_size_is_that_of_the_message)
{
	static const char line[] =
		"..................................................\r\n"; /* 51 octets without the first dot */

	for (int lines = 19; lines <= 20; lines++) {
		struct ps_buf out = {0};
		struct smtp_message *message = smtp_message_create(&(struct smtp_message_args){
			.write = append, .arg = &out, .size_limit = 19 * 51, .received_limit = 3});

		for (int i = 0; i < lines; i++)
			smtp_message_take(message, ps_bytes_str(line));
		ck_assert_uint_eq(smtp_message_take(message, ps_bytes_str(".\r\nNOOP\r\n")), 3);
		ck_assert(smtp_message_has_ended(message));
		ck_assert_int_eq(smtp_message_finish(message) != NULL, lines == 20);
		smtp_message_destroy(message);
		ps_buf_finish(&out);
	}
}
END_TEST

START_TEST(binary_parts_are_made_storable)
{
	static const char given[] = "Content-Transfer-Encoding: binary\r\n\r\n\0\n\r", nul[] = "A: b\r\n\r\n\0";

	for (size_t cut = 0; cut < sizeof given; cut++) {
		struct ps_buf out = {0};
		struct smtp_message *message = smtp_message_create(&(struct smtp_message_args){
			.write = append, .arg = &out, .received_limit = 3, .counted = true, .binary = true});

		smtp_message_take(message, ps_bytes(given, cut));
		smtp_message_take(message, ps_bytes(given + cut, sizeof given - 1 - cut));
		ck_assert_ptr_null(smtp_message_finish(message));
		ck_assert_str_eq(ps_buf_cstr(&out), "Content-Transfer-Encoding: base64\r\n\r\nAAoN\r\n");
		smtp_message_destroy(message);
		ps_buf_reset(&out);
		/* NUL in a part that is not called binary stays, and that is refused */
		message = smtp_message_create(&(struct smtp_message_args){
			.write = append, .arg = &out, .received_limit = 3, .counted = true, .binary = true});
		smtp_message_take(message, ps_bytes(nul, sizeof nul - 1));
		ck_assert_ptr_nonnull(smtp_message_finish(message));
		smtp_message_destroy(message);
		ps_buf_finish(&out);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smtp message");
	TCase *tcase = tcase_create("message");

	tcase_add_loop_test(tcase, a_submission_is_mended_however_it_is_cut, 0, (int)PS_ARRAY_LEN(submissions));
	tcase_add_test(tcase, without_a_sender_there_is_no_from_to_add);
	tcase_add_loop_test(tcase, other_mail_is_left_alone_or_refused, 0, (int)PS_ARRAY_LEN(others));
	tcase_add_test(tcase, the_size_is_that_of_the_message);
	tcase_add_test(tcase, binary_parts_are_made_storable);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
