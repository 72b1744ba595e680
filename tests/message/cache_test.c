/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "core/message/body.h"
#include "core/message/cache.h"
#include "tests/message/message_unit.h"

static const char sample[] =
	"From: Joe <joe@example.org>\nReceived: from there\nTo: a@b,\n c@d\nDate: Thu, 1 Jan 1970 01:00:00 +0100\n"
	"to : e@f\nX-Unknown: x\nSubject: =?utf-8?q?s?=\nContent-Type: multipart/mixed; boundary=b\n\n"
	"--b\n\none\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\ntwo\n--b--\n";

/* Uses all that a cache offers; a sanitizer sees what goes out of bounds. */
static int count_leaf(void *arg, const struct ps_part_info *info)
{
	*(size_t *)arg += strlen(info->type) + strlen(info->subtype) + info->depth;
	return 0;
}

static void use(const struct ps_cache *cache)
{
	static const uint32_t numbers[] = {2, 1, 1, 1};
	const char *names[] = {"From", "To"};
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_buf out = {.limit = 1 << 20};
	struct ps_span span;
	size_t n = 0;

	ps_cache_body(cache, &out);
	ps_buf_bytes(&out, ps_cache_preview(cache));
	ps_cache_fields(cache, names, 2, &out);
	ps_cache_leaves(cache, pool, count_leaf, &n);
	for (size_t depth = 0; depth <= PS_ARRAY_LEN(numbers); depth++)
		for (int what = PS_SECTION_ALL; what <= PS_SECTION_MIME; what++)
			ps_cache_section(cache, numbers, depth, (enum ps_section)what, &span);
	ps_buf_bytes(&out, ps_cache_envelope(cache));
	ps_buf_bytes(&out, ps_cache_bodystructure(cache));
	ps_buf_finish(&out);
	ps_pool_destroy(pool);
}

START_TEST(a_change_of_any_octet_is_seen)
{
	struct derived d = derive(sample);
	struct ps_bytes sound = d.cache.octets;
	uint8_t *copy = ps_malloc(sound.len);
	struct ps_cache cache = {0};

	memcpy(copy, sound.ptr, sound.len);
	for (size_t i = 0; i < sound.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			copy[i] ^= (uint8_t)(1 << bit);
			ck_assert_int_eq(ps_cache_open(&cache, ps_bytes(copy, sound.len)), PS_E_CORRUPT);
			copy[i] ^= (uint8_t)(1 << bit);
		}
	}
	ck_assert_ptr_null(cache.octets.ptr);
	for (size_t len = 0; len < sound.len; len++)
		ck_assert_int_eq(ps_cache_open(&cache, ps_bytes(copy, len)), PS_E_CORRUPT);
	free(copy);
	derived_finish(&d);
}
END_TEST

/* Someone may write octets that have a right checksum. */
static void seal(uint8_t *octets, size_t len)
{
	uint64_t sum = cache_checksum(ps_bytes(octets + 16, len - 16));

	for (int i = 0; i < 8; i++)
		octets[8 + i] = (uint8_t)(sum >> 8 * i);
}

START_TEST(a_hostile_cache_is_refused_or_harmless)
{
	static const uint8_t values[] = {0, 1, 2, 3, 0x7f, 0x80, 0xff};
	struct derived d = derive(sample);
	size_t len = d.cache.octets.len;
	uint8_t *copy = ps_malloc(len);
	struct ps_cache cache;

	memcpy(copy, d.cache.octets.ptr, len);
	for (size_t i = 16; i < len; i++) {
		uint8_t was = copy[i];

		for (size_t v = 0; v < sizeof values; v++) {
			copy[i] = values[v];
			seal(copy, len);
			if (ps_cache_open(&cache, ps_bytes(copy, len)) == 0)
				use(&cache);
		}
		copy[i] = was;
	}
	seal(copy, len);
	ck_assert_ok(ps_cache_open(&cache, ps_bytes(copy, len)));
	free(copy);
	derived_finish(&d);
}
END_TEST

START_TEST(a_cache_of_another_version_is_refused)
{
	struct derived d = derive(sample);
	size_t len = d.cache.octets.len;
	uint8_t *copy = ps_malloc(len);
	struct ps_cache cache;

	memcpy(copy, d.cache.octets.ptr, len);
	copy[3]--;
	seal(copy, len);
	ck_assert_int_eq(ps_cache_open(&cache, ps_bytes(copy, len)), PS_E_CORRUPT);
	free(copy);
	derived_finish(&d);
}
END_TEST

/* Names asked for and what comes; NULL: not from the cache. */
static const struct {
	const char *names[4];
	const char *fields;
} wanted[] = {
	{{"from"}, "From: Joe <joe@example.org>\r\n"},
	{{"TO"}, "To: a@b,\r\n c@d\r\nto : e@f\r\n"},
	{{"Subject", "From"}, "From: Joe <joe@example.org>\r\nSubject: =?utf-8?q?s?=\r\n"},
	{{"Cc"}, ""},
	{{"Cc", "References", "Date"}, "Date: Thu, 1 Jan 1970 01:00:00 +0100\r\n"},
	{{"Received"}, NULL},
	{{"From", "X-Unknown"}, NULL},
};

START_TEST(common_fields_come_from_the_cache)
{
	struct derived d = derive(sample);
	struct ps_buf out = {0};
	size_t n = 0;
	int r;

	while (wanted[_i].names[n])
		n++;
	r = ps_cache_fields(&d.cache, wanted[_i].names, n, &out);
	ck_assert_int_eq(r, wanted[_i].fields ? 0 : PS_E_NOTFOUND);
	ck_assert_text_eq(ps_buf_view(&out), wanted[_i].fields ? wanted[_i].fields : "");
	ps_buf_finish(&out);
	derived_finish(&d);
}
END_TEST

START_TEST(the_date_is_in_the_cache)
{
	struct derived d = derive(sample), none = derive("Date: soon\n\n");
	int64_t time = 7;
	int zone = 7;

	ck_assert_int_eq(ps_cache_date(&none.cache, &time, &zone), PS_E_NOTFOUND);
	ck_assert_int_eq(zone, 7);
	ck_assert_ok(ps_cache_date(&d.cache, &time, &zone));
	ck_assert_int_eq(time, 0);
	ck_assert_int_eq(zone, 60);
	derived_finish(&d);
	derived_finish(&none);
}
END_TEST

static const struct {
	const char *names[3];
	bool except;
	const char *fields;
} filters[] = {
	{{"b"}, false, "B: 2\r\n folded\r\nb: 3\r\n"}, {{"A", "C"}, false, "A: 1\r\nC : 4\r\n"}, {{"none"}, false, ""},
	{{"B"}, true, "A: 1\r\nC : 4\r\nD: 5\r\n"},    {{"A", "B"}, true, "C : 4\r\nD: 5\r\n"},
};

START_TEST(a_header_is_filtered_by_name)
{
	static const char header[] = "From someone Thu\r\n\tfolded\r\nA: 1\r\nB: 2\r\n folded\r\nno colon\r\nb: 3\r\n"
				     "C : 4\r\n: none\r\nD: 5\r\n\r\nE: 6\r\n";
	struct ps_buf out = {0};
	size_t n = filters[_i].names[1] ? 2 : 1;

	ck_assert_ok(ps_header_filter(ps_bytes_str(header), filters[_i].names, n, filters[_i].except, &out));
	ck_assert_text_eq(ps_buf_view(&out), filters[_i].fields);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(a_header_is_walked_field_by_field)
{
	struct ps_header_walk walk = {ps_bytes_str("A : 1\nB:2\r\n 3\nno field\nC:\n\nD: 4\n")};
	struct ps_bytes name, value;

	ck_assert(ps_header_next(&walk, &name, &value));
	ck_assert_bytes_eq(name, "A");
	ck_assert_bytes_eq(value, " 1");
	ck_assert(ps_header_next(&walk, &name, &value));
	ck_assert_bytes_eq(name, "B");
	ck_assert_bytes_eq(value, "2\r\n 3");
	ck_assert(ps_header_next(&walk, &name, &value));
	ck_assert_bytes_eq(name, "C");
	ck_assert_bytes_eq(value, "");
	ck_assert(!ps_header_next(&walk, &name, &value));
}
END_TEST

/* ---- reading bodies ------------------------------------------------------------------------ */

static const char lines[] = "one\r\ntwo\n\nfour\r\r\nfi\rve\n\0six\n";

/* Every range of the message, from memory, from a file and in pieces, is what the CRLF form has there. */
static void check_ranges(const struct ps_body *body, const struct ps_span *span, struct ps_bytes want)
{
	for (uint64_t from = 0; from <= want.len + 1; from++) {
		for (uint64_t len = 0; len <= want.len + 1; len++) {
			size_t start = from < want.len ? (size_t)from : want.len;
			size_t n = len < want.len - start ? (size_t)len : want.len - start;
			struct ps_buf got = {0};

			ck_assert_ok(ps_body_read(body, span, from, len, append_piece, &got));
			ck_assert_same_bytes(ps_buf_view(&got), ps_bytes(want.ptr + start, n));
			ps_buf_finish(&got);
		}
	}
}

/* Three octets at a time, as a backend gives them that keeps messages in chunks. */
static int read_three(const struct ps_body *body, uint64_t offset, struct ps_bytes *ret_octets)
{
	struct ps_bytes all = {body->priv, body->length};

	ck_assert_uint_lt(offset, all.len);
	all = ps_bytes_skip(all, (size_t)offset);
	*ret_octets = ps_bytes(all.ptr, all.len < 3 ? all.len : 3);
	return 0;
}

START_TEST(any_range_of_a_body_can_be_read)
{
	struct ps_body body = {.data = (const uint8_t *)lines, .fd = -1, .length = sizeof lines - 1};
	struct derived d = derive_cut(ps_bytes(lines, sizeof lines - 1), 0);
	struct ps_buf want = {0};
	struct ps_span span;
	FILE *file = tmpfile();

	to_crlf(ps_bytes(lines, sizeof lines - 1), &want);
	for (size_t i = 0; i < want.len; i++)
		want.ptr[i] = want.ptr[i] ? want.ptr[i] : 0x80;
	ck_assert_uint_eq(d.size, want.len);
	ck_assert_ok(ps_cache_section(&d.cache, NULL, 0, PS_SECTION_ALL, &span));
	check_ranges(&body, &span, ps_buf_view(&want));
	fputs("before", file);
	fwrite(lines, 1, sizeof lines - 1, file);
	fflush(file);
	body = (struct ps_body){.fd = fileno(file), .offset = 6, .length = sizeof lines - 1};
	check_ranges(&body, &span, ps_buf_view(&want));
	fclose(file);
	body = (struct ps_body){
		.fd = -1, .length = sizeof lines - 1, .priv = (void *)(uintptr_t)lines, .read = read_three};
	check_ranges(&body, &span, ps_buf_view(&want));
	ps_buf_finish(&want);
	derived_finish(&d);
}
END_TEST

/* A message of many parts, and the octets that were asked of it. */
struct counted {
	struct ps_bytes octets;
	uint64_t given;
};

static int read_counted(const struct ps_body *body, uint64_t offset, struct ps_bytes *ret_octets)
{
	struct counted *counted = body->priv;
	struct ps_bytes rest = ps_bytes_skip(counted->octets, (size_t)offset);

	*ret_octets = ps_bytes(rest.ptr, rest.len < 100 ? rest.len : 100);
	counted->given += ret_octets->len;
	return 0;
}

struct in_order {
	const struct ps_body *body;
	struct ps_body_place place;
	struct ps_bytes wire;
	int leaves;
};

static int read_leaf(void *arg, const struct ps_part_info *info)
{
	struct in_order *reading = arg;
	const struct ps_span *spans[] = {&info->header, &info->body};

	for (size_t i = 0; i < PS_ARRAY_LEN(spans); i++) {
		struct ps_bytes want = ps_bytes_skip(reading->wire, (size_t)spans[i]->offset);
		struct ps_buf got = {0};

		ck_assert_ok(ps_body_read_on(reading->body, &reading->place, spans[i], spans[i]->length, append_piece,
					     &got));
		ck_assert_same_bytes(ps_buf_view(&got), ps_bytes(want.ptr, (size_t)spans[i]->length));
		ps_buf_finish(&got);
	}
	reading->leaves++;
	return 0;
}

/* As with a message that was appended: the cache is of the CRLF form, the body lies with bare LFs, or with both. */
START_TEST(many_parts_in_order_cost_one_reading)
{
	enum {
		PARTS = 3000
	};
	struct ps_buf raw = {0}, wire = {0};
	struct ps_pool *pool = ps_pool_create("test");
	struct counted counted;
	struct ps_body body = {.fd = -1, .priv = &counted, .read = read_counted};
	struct in_order reading = {.body = &body};
	struct derived d;

	ps_buf_str(&raw, "Content-Type: multipart/mixed; boundary=b\n\n");
	for (int i = 0; i < PARTS; i++)
		ps_buf_printf(&raw, "--b\nContent-Id: <%d>%s\n\n%.*s\rx\n", i, _i && i % 3 == 0 ? "\r" : "", i % 90,
			      "one\ntwo\n\nfour\r\r\nfive is a line that is longer than the others\n\n\n\n\nand one at "
			      "the end\n");
	to_crlf(ps_buf_view(&raw), &wire);
	d = derive_cut(ps_buf_view(&wire), 0);
	counted = (struct counted){ps_buf_view(&raw), 0};
	body.length = raw.len;
	reading.wire = ps_buf_view(&wire);
	ck_assert_ok(ps_cache_leaves(&d.cache, pool, read_leaf, &reading));
	ck_assert_int_eq(reading.leaves, PARTS);
	ck_assert_uint_lt(counted.given, 8 * raw.len + (uint64_t)2 * PARTS * 100);
	ps_pool_destroy(pool);
	derived_finish(&d);
	ps_buf_finish(&raw);
	ps_buf_finish(&wire);
}
END_TEST

/* A body in a file behind six other octets, and whether it may be sent from there. */
static const struct {
	const char *text;
	size_t len;
	bool wire_form;
	size_t cut; /* octets that the file has lost since */
	bool as_sent;
} lying[] = {
	{"a: b\r\n\r\ntext\r\n", 14, true, 0, true},   {"a: b\r\n\r\ntext\r\n", 14, false, 0, false},
	{"a: b\r\n\r\nte\0t\r\n", 14, true, 0, false}, {"a\0: b\r\n\r\ntex\r\n", 14, true, 0, false},
	{"a: b\r\n\r\ntext\r\n", 14, true, 1, false},
};

START_TEST(a_file_is_sent_as_it_lies_only_where_that_is_lawful)
{
	for (size_t cut = 0; cut <= lying[_i].len; cut++) {
		struct derived d = derive_cut(ps_bytes(lying[_i].text, lying[_i].len), cut);
		struct ps_body body = {.fd = 7,
				       .offset = 6,
				       .length = lying[_i].len - lying[_i].cut,
				       .wire_form = lying[_i].wire_form};
		struct ps_span span;
		uint64_t at = 1;

		ck_assert_int_eq(ps_cache_has_nul(&d.cache), memchr(lying[_i].text, 0, lying[_i].len) != NULL);
		ck_assert_ok(ps_cache_section(&d.cache, NULL, 0, PS_SECTION_TEXT, &span));
		ck_assert_int_eq(ps_body_lies_as_sent(&body, &d.cache, &span, 2, span.length - 2, &at),
				 lying[_i].as_sent);
		ck_assert_uint_eq(at, lying[_i].as_sent ? 6 + 8 + 2 : 1);
		body.data = (const uint8_t *)lying[_i].text;
		ck_assert(!ps_body_lies_as_sent(&body, &d.cache, &span, 0, 1, &at));
		derived_finish(&d);
	}
}
END_TEST

static int refuse(void *arg, struct ps_bytes octets)
{
	ck_assert_uint_le(octets.len, 64 * 1024);
	return ++*(int *)arg == 3 ? 42 : 0;
}

START_TEST(pieces_are_bounded_and_the_reader_may_stop)
{
	struct ps_buf text = {0};
	struct ps_body body;
	struct ps_span span;
	struct derived d;
	int calls = 0;

	for (int i = 0; i < 300000; i++)
		ps_buf_char(&text, '\n');
	d = derive_cut(ps_buf_view(&text), 0);
	body = (struct ps_body){.data = text.ptr, .fd = -1, .length = text.len};
	ck_assert_ok(ps_cache_section(&d.cache, NULL, 0, PS_SECTION_ALL, &span));
	ck_assert_uint_eq(span.length, 600000);
	ck_assert_int_eq(ps_body_read(&body, &span, 0, UINT64_MAX, refuse, &calls), 42);
	ck_assert_int_eq(calls, 3);
	derived_finish(&d);
	ps_buf_finish(&text);
}
END_TEST

START_TEST(a_body_that_lost_octets_is_an_error)
{
	struct ps_body body = {.data = (const uint8_t *)"a\nb", .fd = -1, .length = 3};
	struct derived d = derive("a\nb\nc\n");
	struct ps_buf out = {0};
	struct ps_span span;

	ck_assert_ok(ps_cache_section(&d.cache, NULL, 0, PS_SECTION_ALL, &span));
	ck_assert_int_eq(ps_body_read(&body, &span, 0, UINT64_MAX, append_piece, &out), PS_E_STORAGE);
	body.wire_form = true;
	ck_assert_int_eq(ps_body_read(&body, &span, 5, 1, append_piece, &out), PS_E_STORAGE);
	ps_buf_finish(&out);
	derived_finish(&d);
}
END_TEST

START_TEST(a_file_is_derived_from_its_start)
{
	struct derived want = derive(sample);
	FILE *file = tmpfile();
	struct ps_derive *d = NULL;
	struct ps_bytes cache;
	uint64_t size;

	fputs(sample, file);
	fflush(file);
	ck_assert_ok(ps_derive_fd(fileno(file), &d, &size, &cache));
	ck_assert_uint_eq(size, want.size);
	ck_assert_same_bytes(cache, want.cache.octets);
	ps_derive_destroy(d);
	fclose(file);
	d = NULL;
	ck_assert_int_lt(ps_derive_fd(-1, &d, &size, &cache), 0);
	ck_assert_ptr_null(d);
	derived_finish(&want);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cache");
	TCase *tc = tcase_create("cache");

	tcase_add_test(tc, a_change_of_any_octet_is_seen);
	tcase_add_test(tc, a_hostile_cache_is_refused_or_harmless);
	tcase_add_test(tc, a_cache_of_another_version_is_refused);
	tcase_add_loop_test(tc, common_fields_come_from_the_cache, 0, PS_ARRAY_LEN(wanted));
	tcase_add_test(tc, the_date_is_in_the_cache);
	tcase_add_loop_test(tc, a_header_is_filtered_by_name, 0, PS_ARRAY_LEN(filters));
	tcase_add_test(tc, a_header_is_walked_field_by_field);
	tcase_add_test(tc, any_range_of_a_body_can_be_read);
	tcase_add_loop_test(tc, many_parts_in_order_cost_one_reading, 0, 2);
	tcase_add_loop_test(tc, a_file_is_sent_as_it_lies_only_where_that_is_lawful, 0, PS_ARRAY_LEN(lying));
	tcase_add_test(tc, pieces_are_bounded_and_the_reader_may_stop);
	tcase_add_test(tc, a_body_that_lost_octets_is_an_error);
	tcase_add_test(tc, a_file_is_derived_from_its_start);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
