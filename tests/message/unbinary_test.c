/* SPDX-License-Identifier: MIT */
#include "tests/message/message_unit.h"

#define BINARY "Content-Transfer-Encoding: binary\r\n"
#define BASE64 "Content-Transfer-Encoding: base64\r\n"
#define BIT8   "Content-Transfer-Encoding: 8bit\r\n"
#define MIXED  "Content-Type: multipart/mixed; boundary=b\r\n"
#define BYTES(text)                                                                                                    \
	{                                                                                                              \
		(const uint8_t *)(text), sizeof(text) - 1                                                              \
	}

static const struct {
	struct ps_bytes given, want;
} messages[] = {
	{BYTES(""), BYTES("")},
	{BYTES("Subject: s\r\n\r\nbody\r\n"), BYTES("Subject: s\r\n\r\nbody\r\n")},
	{BYTES(BASE64 "\r\nAA==\r\n"), BYTES(BASE64 "\r\nAA==\r\n")},
	{BYTES("Subject: s\r\n" BINARY "\r\n\0\1\2"), BYTES("Subject: s\r\n" BASE64 "\r\nAAEC\r\n")},
	{BYTES(BINARY "\r\n\0\1\2\r\n"), BYTES(BASE64 "\r\nAAECDQo=\r\n")},
	{BYTES(BINARY "\r\n"), BYTES(BASE64 "\r\n")},
	{BYTES(BINARY), BYTES(BINARY)},
	{BYTES("A: 1\r\ncontent-transfer-encoding :\r\n (c) BiNaRy\r\nB: 2\r\n\r\n\n"),
	 BYTES("A: 1\r\n" BASE64 "B: 2\r\n\r\nCg==\r\n")},
	/* What is not called binary stays, NUL and all. */
	{BYTES(BIT8 "\r\na\0b\r\n"), BYTES(BIT8 "\r\na\0b\r\n")},
	/* In a multipart: the line end ahead of a delimiter is the delimiter's. */
	{BYTES(BINARY MIXED "\r\npre\0amble\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: image/png\r\n" BINARY
			    "\r\n\0\r\n\n\r\r\n--b\r\n" BINARY "\r\n\r\n--b--\r\nepi\0logue\r\n"),
	 BYTES(BIT8 MIXED "\r\npre\0amble\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: image/png\r\n" BASE64
			  "\r\nAA0KCg0=\r\n--b\r\n" BASE64 "\r\n\r\n--b--\r\nepi\0logue\r\n")},
	{BYTES(MIXED "\r\n--b\r\n" BINARY "\r\n--b\r\n" BINARY "\r\n-\r\n--\r\n--c\0\r\n--b--"),
	 BYTES(MIXED "\r\n--b\r\n" BASE64 "\r\n--b\r\n" BASE64 "\r\nLQ0KLS0NCi0tYwA=\r\n--b--")},
	{BYTES(MIXED "\r\n--b\r\n" BINARY "\r\n\0"), BYTES(MIXED "\r\n--b\r\n" BASE64 "\r\nAA==\r\n")},
	/* Within a message. */
	{BYTES("Content-Type: message/rfc822\r\n" BINARY "\r\nSubject: in\r\n" BINARY "\r\n\0"),
	 BYTES("Content-Type: message/rfc822\r\n" BIT8 "\r\nSubject: in\r\n" BASE64 "\r\nAA==\r\n")},
	/* Lines of 76 characters. */
	{BYTES(BINARY "\r\n123456789012345678901234567890123456789012345678901234567x"),
	 BYTES(BASE64 "\r\nMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3\r\neA==\r\n")},
};

START_TEST(binary_parts_become_base64_however_the_message_is_cut)
{
	struct ps_bytes given = messages[_i].given;

	for (size_t cut = 0; cut <= given.len; cut++) {
		struct ps_buf got = {0};
		struct ps_unbinary *u = ps_unbinary_create(append_piece, &got);

		ck_assert_ok(ps_unbinary_feed(u, ps_bytes(given.ptr, cut)));
		ck_assert_ok(ps_unbinary_feed(u, ps_bytes_skip(given, cut)));
		ck_assert_ok(ps_unbinary_finish(u));
		ck_assert_same_bytes(ps_buf_view(&got), messages[_i].want);
		ps_unbinary_destroy(u);
		ps_buf_finish(&got);
	}
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	return (*state = *state * 1664525 + 1013904223) >> 16;
}

/* Octets that are mostly line ends, dashes and NULs come back as they were. */
START_TEST(what_was_in_it_comes_out_of_it)
{
	static const char some[] = "\r\n\r\n--b\0x";
	struct ps_buf given = {0}, body = {0}, got = {0}, decoded = {0};
	struct ps_unbinary *u = ps_unbinary_create(append_piece, &got);
	struct ps_decode *decode = ps_decode_create("base64", NULL);
	uint32_t state = (uint32_t)_i, part[] = {1};
	struct ps_span span;
	struct derived d;

	while (body.len < 20000) {
		ps_buf_char(&body, some[next_random(&state) % (sizeof some - 1)]);
		if (body.len >= 3 && memcmp(body.ptr + body.len - 3, "--b", 3) == 0)
			body.ptr[body.len - 1] = 'c'; /* no delimiter */
	}
	ps_buf_append(&given, MIXED "\r\n--b\r\n" BINARY "\r\n", strlen(MIXED "\r\n--b\r\n" BINARY "\r\n"));
	ps_buf_bytes(&given, ps_buf_view(&body));
	ps_buf_str(&given, "\r\n--b--\r\n");
	for (size_t at = 0, n; at < given.len; at += n) {
		n = next_random(&state) % 700;
		n = n < given.len - at ? n : given.len - at;
		ck_assert_ok(ps_unbinary_feed(u, ps_bytes(given.ptr + at, n)));
	}
	ck_assert_ok(ps_unbinary_finish(u));
	d = derive_cut(ps_buf_view(&got), 0);
	ck_assert(!ps_cache_has_nul(&d.cache));
	ck_assert_ok(ps_cache_section(&d.cache, part, 1, PS_SECTION_ALL, &span));
	ck_assert_ok(ps_decode_feed(decode, ps_bytes(got.ptr + span.offset, (size_t)span.length), &decoded));
	ck_assert_ok(ps_decode_finish(decode, &decoded));
	ck_assert_same_bytes(ps_buf_view(&decoded), ps_buf_view(&body));
	ps_decode_destroy(decode);
	ps_unbinary_destroy(u);
	derived_finish(&d);
	ps_buf_finish(&given);
	ps_buf_finish(&body);
	ps_buf_finish(&got);
	ps_buf_finish(&decoded);
}
END_TEST

/* One that cannot be held passes as it is. */
START_TEST(a_header_without_end_is_not_held)
{
	struct ps_buf given = {0}, got = {0};
	struct ps_unbinary *u = ps_unbinary_create(append_piece, &got);

	ps_buf_str(&given, BINARY);
	for (int i = 0; i < 3 * 1024; i++)
		ps_buf_printf(&given, "X-%d: %01000d\r\n", i, i);
	ps_buf_str(&given, "\r\nbody\r\n");
	ck_assert_ok(ps_unbinary_feed(u, ps_buf_view(&given)));
	ck_assert_ok(ps_unbinary_finish(u));
	ck_assert_same_bytes(ps_buf_view(&got), ps_buf_view(&given));
	ps_unbinary_destroy(u);
	ps_buf_finish(&given);
	ps_buf_finish(&got);
}
END_TEST

static int refuse(void *arg, struct ps_bytes octets)
{
	(void)arg;
	(void)octets;
	return PS_E_FULL;
}

START_TEST(a_failed_write_is_told)
{
	struct ps_unbinary *u = ps_unbinary_create(refuse, NULL);

	ck_assert_int_eq(ps_unbinary_feed(u, ps_bytes_str(BINARY "\r\nbody")), PS_E_FULL);
	ps_unbinary_destroy(u);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("unbinary");
	TCase *tc = tcase_create("unbinary");

	tcase_add_loop_test(tc, binary_parts_become_base64_however_the_message_is_cut, 0, PS_ARRAY_LEN(messages));
	tcase_add_loop_test(tc, what_was_in_it_comes_out_of_it, 0, 20);
	tcase_add_test(tc, a_header_without_end_is_not_held);
	tcase_add_test(tc, a_failed_write_is_told);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
