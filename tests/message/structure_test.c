/* SPDX-License-Identifier: MIT */
#include "tests/message/message_unit.h"

#define TEXT(n, lines)                                                                                                 \
	"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" " n " " lines " NIL NIL NIL NIL)"
#define MIXED(boundary) " \"mixed\" (\"boundary\" \"" boundary "\") NIL NIL NIL)"
#define NIL_ENVELOPE    "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

/* A section as IMAP names it and its octets, bare LF for CRLF; NULL: there is none. */
struct section {
	const char *name, *octets;
};

static const struct structure {
	const char *message, *structure;
	struct section sections[8];
} structures[] = {
	{"", TEXT("0", "0"), {{"", ""}, {"1", ""}, {"HEADER", ""}, {"TEXT", ""}, {"2", NULL}, {"1.1", NULL}}},
	{"Subject: s\n\nbody\n",
	 TEXT("6", "1"),
	 {{"", "Subject: s\n\nbody\n"},
	  {"HEADER", "Subject: s\n\n"},
	  {"TEXT", "body\n"},
	  {"1", "body\n"},
	  {"1.MIME", "Subject: s\n\n"},
	  {"1.HEADER", NULL},
	  {"1.TEXT", NULL},
	  {"0", NULL}}},
	{"Subject: no body\n", TEXT("0", "0"), {{"HEADER", "Subject: no body\n"}, {"TEXT", ""}, {"1", ""}}},
	{"Content-Type: TEXT/HTML; charset=\"utf-8\"; name=\"a\\\"b\"\n"
	 "Content-Transfer-Encoding: (c) Quoted-Printable\nContent-ID: <i@d>\nContent-Description: a\n description\n"
	 "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\nContent-Disposition: attachment; filename*=utf-8''%c3%a9\n"
	 "Content-Language: de, en\nContent-Location: http://example.org/\n\nx",
	 "(\"TEXT\" \"HTML\" (\"charset\" \"utf-8\" \"name\" \"a\\\"b\") \"<i@d>\" \"a description\" "
	 "\"Quoted-Printable\" 1 0 \"Q2hlY2sgSW50ZWdyaXR5IQ==\" (\"attachment\" (\"filename*\" \"utf-8''%c3%a9\")) "
	 "(\"de\" \"en\") \"http://example.org/\")",
	 {{"1", "x"}}},
	/* What is not of the grammar is plain text. */
	{"Content-Type: text\n\n", TEXT("0", "0"), {{"1", ""}}},
	{"Content-Type: /plain\n\n", TEXT("0", "0"), {{"1", ""}}},
	{"Content-Type:\n\n", TEXT("0", "0"), {{"1", ""}}},
	{"Content-Type: multipart/mixed\n\nno boundary\n", TEXT("13", "1"), {{"1", "no boundary\n"}}},
	{"Content-Type: multipart/mixed; boundary=\"\"\n\n--\n", TEXT("4", "1"), {{"1", "--\n"}}},
	{"Content-Type: multipart/mixed; boundary=b\n\nno part\n", TEXT("9", "1"), {{"1", "no part\n"}, {"2", NULL}}},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b--\n--b\n", TEXT("12", "2"), {{"1", "--b--\n--b\n"}}},
	{"Content-Type: image/png;\n name=my picture.png; x\nContent-Transfer-Encoding: base64\n\nAAAA\n",
	 "(\"image\" \"png\" (\"name\" \"my picture.png\") NIL NIL \"base64\" 6 NIL NIL NIL NIL)",
	 {{"1", "AAAA\n"}}},
	{"Content-Type: text/plain; charset=utf-8 name=x\n\n",
	 "(\"text\" \"plain\" (\"charset\" \"utf-8\" \"name\" \"x\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
	 {{"1", ""}}},
	/* Two parts; the line end ahead of a delimiter is the delimiter's. */
	{"Content-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n\none\n--b \nContent-Type: image/gif\n\ntwo\n\n"
	 "--b--\nepilogue\n",
	 "(" TEXT("3", "0") "(\"image\" \"gif\" NIL NIL NIL \"7bit\" 5 NIL NIL NIL NIL)" MIXED("b"),
	 {{"1", "one"},
	  {"1.MIME", "\n"},
	  {"2", "two\n"},
	  {"2.MIME", "Content-Type: image/gif\n\n"},
	  {"TEXT", "preamble\n--b\n\none\n--b \nContent-Type: image/gif\n\ntwo\n\n--b--\nepilogue\n"},
	  {"3", NULL},
	  {"1.1", NULL}}},
	/* Without closing delimiter; a delimiter at the very end; parts without body, blank line or anything. */
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n", "(" TEXT("5", "1") MIXED("b"), {{"1", "one\n"}}},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b",
	 "(" TEXT("3", "0") TEXT("0", "0") MIXED("b"),
	 {{"1", "one"}, {"2", ""}, {"2.MIME", ""}}},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\nX: y\n--b\nX: y\n\n--b--",
	 "(" TEXT("0", "0") TEXT("0", "0") TEXT("0", "0") MIXED("b"),
	 {{"1", ""}, {"1.MIME", ""}, {"2.MIME", "X: y\n"}, {"3.MIME", "X: y\n\n"}, {"3", ""}}},
	/* A boundary that is the start of another: the longer one is meant. */
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\n1.1\n"
	 "--bb\n\n1.2\n--bb--\n--b\n\n2\n--b--\n",
	 "((" TEXT("3", "0") TEXT("3", "0") MIXED("bb") TEXT("1", "0") MIXED("b"),
	 {{"1", "--bb\n\n1.1\n--bb\n\n1.2\n--bb--"}, {"1.1", "1.1"}, {"1.2", "1.2"}, {"2", "2"}, {"1.3", NULL}}},
	{"Content-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n1.1\n"
	 "--b--\n--bb\n\n2\n--bb--\n",
	 "((" TEXT("3", "0") MIXED("b") TEXT("1", "0") MIXED("bb"),
	 {{"1.1", "1.1"}, {"2", "2"}, {"1.2", NULL}}},
	/* Equal boundaries: the innermost is meant, until it is closed. */
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n1.1\n"
	 "--b\n\n1.2\n--b--\n--b\n\n2\n--b--\n",
	 "((" TEXT("3", "0") TEXT("3", "0") MIXED("b") TEXT("1", "0") MIXED("b"),
	 {{"1.1", "1.1"}, {"1.2", "1.2"}, {"2", "2"}}},
	/* The inner one is never closed. */
	{"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\n1.1\n"
	 "--o\n\n2\n--i\nstill 2\n--o--\n",
	 "((" TEXT("3", "0") MIXED("i") TEXT("15", "2") MIXED("o"),
	 {{"1.1", "1.1"}, {"1", "--i\n\n1.1"}, {"2", "2\n--i\nstill 2"}}},
	{"Content-Type: multipart/mixed; boundary=\"b c\"\n\n--b c\n\none\n--b c--\n",
	 "(" TEXT("3", "0") MIXED("b c"),
	 {{"1", "one"}}},
	{"Content-Type: multipart/mixed; boundary*0=b; boundary*1=c\n\n--bc\n\none\n--bc--\n",
	 "(" TEXT("3", "0") " \"mixed\" (\"boundary*0\" \"b\" \"boundary*1\" \"c\") NIL NIL NIL)",
	 {{"1", "one"}}},
	/* Messages within. */
	{"Content-Type: message/rfc822\n\nSubject: in\n\nbody\n",
	 "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) " TEXT(
		 "6", "1") " 3 NIL NIL NIL NIL)",
	 {{"1", "Subject: in\n\nbody\n"},
	  {"1.HEADER", "Subject: in\n\n"},
	  {"1.TEXT", "body\n"},
	  {"1.1", "body\n"},
	  {"1.1.MIME", "Subject: in\n\n"},
	  {"1.1.1", NULL}}},
	{"Content-Type: message/global\n\n\nx",
	 "(\"message\" \"global\" NIL NIL NIL \"7bit\" 3 " NIL_ENVELOPE " " TEXT("1", "0") " 1 NIL NIL NIL NIL)",
	 {{"1.HEADER", "\n"}, {"1.TEXT", "x"}}},
	{"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\nContent-Type: multipart/mixed; boundary=c\n"
	 "\n--c\n\n1.1\n--c\n\n1.2\n--c--\n--b\nContent-Type: text/plain\n\n2\n--b--\n",
	 "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 87 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) (" TEXT(
		 "3", "0") TEXT("3", "0") MIXED("c") " 9 NIL NIL NIL NIL)"
						     "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) "
						     "\"digest\" (\"boundary\" \"b\") NIL NIL NIL)",
	 {{"1.HEADER", "Subject: in\nContent-Type: multipart/mixed; boundary=c\n\n"},
	  {"1.TEXT", "--c\n\n1.1\n--c\n\n1.2\n--c--"},
	  {"1.1", "1.1"},
	  {"1.2", "1.2"},
	  {"1.2.MIME", "\n"},
	  {"1.MIME", "\n"},
	  {"2", "2"},
	  {"1.3", NULL}}},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n--b--\n",
	 "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 0 " NIL_ENVELOPE
	 " " TEXT("0", "0") " 0 NIL NIL NIL NIL)" MIXED("b"),
	 {{"1", ""}, {"1.HEADER", ""}, {"1.1", ""}, {"1.MIME", "Content-Type: message/rfc822\n"}}},
	/* The blank line of the message within is the line end of the delimiter. */
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nA: b\n\n--b--\n",
	 "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 6 " NIL_ENVELOPE
	 " " TEXT("0", "0") " 1 NIL NIL NIL NIL)" MIXED("b"),
	 {{"1", "A: b\n"}, {"1.HEADER", "A: b\n"}, {"1.TEXT", ""}}},
	/* Lines that look like delimiters, and CRs that are data. */
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n-b\n-\n--\n--c\n --b\nx--b\n\r--b\n--b--\n",
	 "(" TEXT("32", "6") MIXED("b"),
	 {{"1", "-b\n-\n--\n--c\n --b\nx--b\n\r--b"}}},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\r\r\n\none\r\n--b--",
	 "(" TEXT("3", "0") MIXED("b"),
	 {{"1", "one"}}},
	{"A: b\n\r\r\nC: d\n\nx", TEXT("1", "0"), {{"HEADER", "A: b\n\r\r\nC: d\n\n"}}},
};

static int parse_section(const char *name, uint32_t *part, size_t *ret_depth, enum ps_section *ret_what)
{
	static const struct {
		const char *name;
		enum ps_section what;
	} words[] = {{"", PS_SECTION_ALL},
		     {"HEADER", PS_SECTION_HEADER},
		     {"TEXT", PS_SECTION_TEXT},
		     {"MIME", PS_SECTION_MIME}};
	char *end;

	for (*ret_depth = 0; *name >= '0' && *name <= '9'; name = *end == '.' ? end + 1 : end)
		part[(*ret_depth)++] = (uint32_t)strtoul(name, &end, 10);
	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++) {
		if (strcmp(name, words[i].name) == 0) {
			*ret_what = words[i].what;
			return 0;
		}
	}
	return -1;
}

/* The section's octets, read through its span, are those of the table. */
static void check_section(const struct ps_cache *cache, struct ps_bytes message, bool wire_form,
			  const struct section *s)
{
	struct ps_body body = {.data = message.ptr, .fd = -1, .length = message.len, .wire_form = wire_form};
	struct ps_buf want = {0}, got = {0};
	enum ps_section what;
	uint32_t part[8];
	size_t depth, lines = 0;
	struct ps_span span;

	ck_assert_int_eq(parse_section(s->name, part, &depth, &what), 0);
	if (!s->octets) {
		ck_assert_int_eq(ps_cache_section(cache, part, depth, what, &span), PS_E_NOTFOUND);
		return;
	}
	ck_assert_ok(ps_cache_section(cache, part, depth, what, &span));
	to_crlf(ps_bytes_str(s->octets), &want);
	ck_assert_ok(ps_body_read(&body, &span, 0, UINT64_MAX, append_piece, &got));
	ck_assert_msg(ps_bytes_eq(ps_buf_view(&got), ps_buf_view(&want)), "[%s]: got %s, want %s", s->name,
		      ps_buf_cstr(&got), ps_buf_cstr(&want));
	for (const char *at = s->octets; (at = strchr(at, '\n')); at++)
		lines++;
	ck_assert_uint_eq(span.lines, lines);
	ps_buf_finish(&want);
	ps_buf_finish(&got);
}

static void check(const struct structure *s, struct ps_bytes message, bool wire_form)
{
	struct derived d = derive_cut(message, 0);

	ck_assert_text_eq(ps_cache_bodystructure(&d.cache), s->structure);
	for (size_t i = 0; i < PS_ARRAY_LEN(s->sections) && s->sections[i].name; i++)
		check_section(&d.cache, message, wire_form, &s->sections[i]);
	derived_finish(&d);
}

START_TEST(structure_and_sections_agree)
{
	const struct structure *s = &structures[_i];
	struct ps_buf crlf = {0};

	check(s, ps_bytes_str(s->message), false);
	to_crlf(ps_bytes_str(s->message), &crlf);
	check(s, ps_buf_view(&crlf), true);
	ps_buf_finish(&crlf);
}
END_TEST

static void compare_cuts(struct ps_bytes message)
{
	struct derived whole = derive_cut(message, 0);

	for (size_t cut = 1; cut < message.len; cut++) {
		struct derived d = derive_cut(message, cut);

		ck_assert_uint_eq(d.size, whole.size);
		ck_assert_same_bytes(d.cache.octets, whole.cache.octets);
		derived_finish(&d);
	}
	derived_finish(&whole);
}

START_TEST(where_the_octets_are_cut_does_not_matter)
{
	struct ps_buf crlf = {0};

	compare_cuts(ps_bytes_str(structures[_i].message));
	to_crlf(ps_bytes_str(structures[_i].message), &crlf);
	compare_cuts(ps_buf_view(&crlf));
	ps_buf_finish(&crlf);
}
END_TEST

/* A cache made from CRLF octets serves a message that was put away with bare LFs. */
START_TEST(a_cache_of_the_wire_form_serves_bare_lfs)
{
	const struct structure *s = &structures[_i];
	struct ps_bytes lf = ps_bytes_str(s->message);
	struct ps_buf crlf = {0};
	struct derived d;

	to_crlf(lf, &crlf);
	d = derive_cut(ps_buf_view(&crlf), 0);
	for (size_t i = 0; i < PS_ARRAY_LEN(s->sections) && s->sections[i].name; i++)
		check_section(&d.cache, lf, false, &s->sections[i]);
	derived_finish(&d);
	ps_buf_finish(&crlf);
}
END_TEST

/* What BODY leaves of a BODYSTRUCTURE. */
static const struct {
	const char *message, *body;
} bodies[] = {
	{"\nx", "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)"},
	{"Content-Type: image/png\nContent-Disposition: inline; x=\")\\\"(\"\n\n",
	 "(\"image\" \"png\" NIL NIL NIL \"7bit\" 0)"},
	{"Content-Type: text/plain; name=\"\xc3\xa9)\"\nContent-Disposition: inline; x=\"\xc3\xa9)\"\n\n",
	 "(\"text\" \"plain\" (\"name\" {3}\r\n\xc3\xa9)) NIL NIL \"7bit\" 0 0)"},
	{"Content-Type: multipart/mixed; boundary=b\nContent-Language: de, en\n\n--b\n\n1\n--b\nContent-Type: "
	 "message/rfc822\n"
	 "\nTo: a@b\n\n2\n--b--\n",
	 "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)(\"message\" \"rfc822\" NIL NIL NIL "
	 "\"7bit\" 12 "
	 "(NIL NIL NIL NIL NIL ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") "
	 "NIL NIL "
	 "\"7bit\" 1 0) 2) \"mixed\")"},
};

START_TEST(body_is_bodystructure_without_extension_data)
{
	struct derived d = derive(bodies[_i].message);
	struct ps_buf out = {0};

	ck_assert_ok(ps_cache_body(&d.cache, &out));
	ck_assert_text_eq(ps_buf_view(&out), bodies[_i].body);
	ps_buf_finish(&out);
	derived_finish(&d);
}
END_TEST

static int note_leaf(void *arg, const struct ps_part_info *info)
{
	struct ps_buf *out = arg;

	for (size_t i = 0; i < info->depth; i++)
		ps_buf_printf(out, "%s%u", i ? "." : "", info->part[i]);
	ps_buf_printf(out, " %s/%s %s %s %u;", info->type, info->subtype, info->charset ? info->charset : "-",
		      info->encoding, (unsigned)info->body.length);
	return 0;
}

START_TEST(leaves_are_told_in_order_with_their_numbers)
{
	static const char message[] =
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: TEXT/Plain; "
		"charset*=us-ascii'en'UTF-8\n\n1\n"
		"--b\nContent-Type: message/rfc822\n\nA: b\n\n2\n--b\nContent-Type: message/rfc822\n\n"
		"Content-Type: multipart/alternative; boundary=c\n\n--c\nContent-Transfer-Encoding: "
		"BASE64\n\nAAAA\n--c\n"
		"Content-Type: text/html\n\n3.2\n--c--\n--b--\n";
	struct ps_pool *pool = ps_pool_create("test");
	struct derived d = derive(message);
	struct ps_buf out = {0};

	ck_assert_ok(ps_cache_leaves(&d.cache, pool, note_leaf, &out));
	ck_assert_text_eq(ps_buf_view(&out), "1 text/plain utf-8 7bit 1;2 message/rfc822 - 7bit 8;"
					     "2.1 text/plain us-ascii 7bit 1;3 message/rfc822 - 7bit 51;"
					     "3.1 text/plain us-ascii base64 4;3.2 text/html - 7bit 3;");
	ps_buf_finish(&out);
	ps_pool_destroy(pool);
	derived_finish(&d);
}
END_TEST

/* A boundary may be far longer than RFC 2046 allows, but not without end. */
START_TEST(boundaries_have_a_thousand_octets_at_most)
{
	static const char *const ends[] = {"", "x", "-", "--", "-- \t", "\r", "--\r\r"};
	struct ps_buf text = {0};
	char boundary[1002];
	size_t len = 998 + (size_t)_i % 4;
	struct derived d;
	struct ps_span span;
	uint32_t first = 1;

	memset(boundary, 'b', len);
	boundary[len] = '\0';
	ps_buf_printf(&text, "Content-Type: multipart/mixed; boundary=%s\n\n", boundary);
	for (size_t i = 0; i < PS_ARRAY_LEN(ends); i++)
		ps_buf_printf(&text, "--%s%s\n\npart\n", boundary, ends[i]);
	d = derive_cut(ps_buf_view(&text), 0);
	ck_assert_ok(ps_cache_section(&d.cache, &first, 1, PS_SECTION_ALL, &span));
	ck_assert_int_eq(span.length == 4, len <= 1000);
	derived_finish(&d);
	compare_cuts(ps_buf_view(&text));
	ps_buf_finish(&text);
}
END_TEST

/* ---- limits -------------------------------------------------------------------------------- */

static uint32_t max_depth(struct ps_bytes structure)
{
	uint32_t depth = 0, max = 0;

	for (size_t i = 0; i < structure.len; i++) {
		if (structure.ptr[i] == '(' && ++depth > max)
			max = depth;
		if (structure.ptr[i] == ')')
			depth--;
	}
	ck_assert_uint_eq(depth, 0);
	return max;
}

START_TEST(multiparts_nest_a_hundred_deep)
{
	struct ps_buf text = {0}, body = {0};
	struct derived d;

	for (int i = 0; i < 1000; i++)
		ps_buf_printf(&text, "Content-Type: multipart/mixed; boundary=%d.\n\n--%d.\n", i, i);
	d = derive_cut(ps_buf_view(&text), 0);
	/* The hundredth holds a leaf, whose parameters are one parenthesis deeper. */
	ck_assert_uint_eq(max_depth(ps_cache_bodystructure(&d.cache)), 102);
	ck_assert_ok(ps_cache_body(&d.cache, &body));
	derived_finish(&d);
	ps_buf_finish(&text);
	ps_buf_finish(&body);
}
END_TEST

START_TEST(messages_nest_a_hundred_deep)
{
	struct ps_buf text = {0}, body = {0};
	uint32_t part[102];
	struct ps_span span;
	struct derived d;

	for (int i = 0; i < 1000; i++)
		ps_buf_str(&text, "Content-Type: message/rfc822\n\n");
	for (int i = 0; i < 102; i++)
		part[i] = 1;
	d = derive_cut(ps_buf_view(&text), 0);
	ck_assert_ok(ps_cache_body(&d.cache, &body));
	ck_assert_ok(ps_cache_section(&d.cache, part, 101, PS_SECTION_ALL, &span));
	ck_assert_uint_eq(span.length, 899 * 32);
	ck_assert_int_eq(ps_cache_section(&d.cache, part, 102, PS_SECTION_ALL, &span), PS_E_NOTFOUND);
	derived_finish(&d);
	ps_buf_finish(&text);
	ps_buf_finish(&body);
}
END_TEST

START_TEST(a_message_has_at_most_10000_parts)
{
	struct ps_buf text = {0};
	struct ps_span span, all;
	struct derived d;
	uint32_t n = 9999;

	ps_buf_str(&text, "Content-Type: multipart/mixed; boundary=b\n\n");
	for (int i = 0; i < 100000; i++)
		ps_buf_str(&text, "--b\n\nx\n");
	ps_buf_str(&text, "--b--\n");
	d = derive_cut(ps_buf_view(&text), 0);
	ck_assert_ok(ps_cache_section(&d.cache, &n, 1, PS_SECTION_ALL, &span));
	ck_assert_ok(ps_cache_section(&d.cache, NULL, 0, PS_SECTION_ALL, &all));
	/* The last one has all that is left. */
	ck_assert_uint_eq(span.offset + span.length, all.length);
	ck_assert_uint_gt(span.length, 90000 * 10);
	n++;
	ck_assert_int_eq(ps_cache_section(&d.cache, &n, 1, PS_SECTION_ALL, &span), PS_E_NOTFOUND);
	derived_finish(&d);
	ps_buf_finish(&text);
}
END_TEST

START_TEST(a_hundred_thousand_parameters_are_cut_short)
{
	struct ps_buf text = {0};
	struct derived d;
	struct ps_bytes structure;

	ps_buf_str(&text, "Content-Type: text/plain");
	for (int i = 0; i < 100000; i++)
		ps_buf_printf(&text, ";\n a*%d=b", i);
	ps_buf_str(&text, "\n\n");
	d = derive_cut(ps_buf_view(&text), 0);
	structure = ps_cache_bodystructure(&d.cache);
	ck_assert_ptr_nonnull(memmem(structure.ptr, structure.len, "\"a*999\"", 7));
	ck_assert_ptr_null(memmem(structure.ptr, structure.len, "\"a*1000\"", 8));
	derived_finish(&d);
	ps_buf_finish(&text);
}
END_TEST

/* Descriptions of parts stop at a megabyte; the parts are still there. */
START_TEST(a_cache_does_not_grow_with_the_headers_of_parts)
{
	struct ps_buf text = {0}, body = {0};
	struct ps_span span;
	struct derived d;
	uint32_t n = 3000;

	ps_buf_str(&text, "Content-Type: multipart/mixed; boundary=b\n\n");
	for (int i = 0; i < 3000; i++) {
		ps_buf_str(&text, "--b\nContent-Type: text/plain; name=\"");
		for (int j = 0; j < 100; j++)
			ps_buf_str(&text, "a very long name of a file ");
		ps_buf_str(&text, "\"\n\n");
	}
	d = derive_cut(ps_buf_view(&text), 0);
	ck_assert_uint_lt(d.cache.octets.len, 2 * 1024 * 1024);
	ck_assert_ok(ps_cache_section(&d.cache, &n, 1, PS_SECTION_ALL, &span));
	ck_assert_ok(ps_cache_body(&d.cache, &body));
	derived_finish(&d);
	ps_buf_finish(&text);
	ps_buf_finish(&body);
}
END_TEST

START_TEST(a_header_field_of_many_megabytes_is_left_out)
{
	struct ps_buf text = {0}, out = {0};
	const char *subject = "Subject", *to = "To";
	struct derived d;

	ps_buf_str(&text, "To: a@b\nSubject: ");
	for (int i = 0; i < 1000000; i++)
		ps_buf_str(&text, "0123456789\n ");
	ps_buf_str(&text, "\nMessage-ID: <1@b>\n\nbody");
	d = derive_cut(ps_buf_view(&text), 0);
	ck_assert_uint_lt(d.cache.octets.len, 100 * 1024);
	ck_assert_int_eq(ps_cache_fields(&d.cache, &subject, 1, &out), PS_E_NOTFOUND);
	ck_assert_ok(ps_cache_fields(&d.cache, &to, 1, &out));
	ck_assert_text_eq(ps_buf_view(&out), "To: a@b\r\n");
	derived_finish(&d);
	ps_buf_finish(&text);
	ps_buf_finish(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("structure");
	TCase *tc = tcase_create("structure");

	tcase_add_loop_test(tc, structure_and_sections_agree, 0, PS_ARRAY_LEN(structures));
	tcase_add_loop_test(tc, where_the_octets_are_cut_does_not_matter, 0, PS_ARRAY_LEN(structures));
	tcase_add_loop_test(tc, a_cache_of_the_wire_form_serves_bare_lfs, 0, PS_ARRAY_LEN(structures));
	tcase_add_loop_test(tc, body_is_bodystructure_without_extension_data, 0, PS_ARRAY_LEN(bodies));
	tcase_add_test(tc, leaves_are_told_in_order_with_their_numbers);
	tcase_add_loop_test(tc, boundaries_have_a_thousand_octets_at_most, 0, 4);
	tcase_add_test(tc, multiparts_nest_a_hundred_deep);
	tcase_add_test(tc, messages_nest_a_hundred_deep);
	tcase_add_test(tc, a_message_has_at_most_10000_parts);
	tcase_add_test(tc, a_hundred_thousand_parameters_are_cut_short);
	tcase_add_test(tc, a_cache_does_not_grow_with_the_headers_of_parts);
	tcase_add_test(tc, a_header_field_of_many_megabytes_is_left_out);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
