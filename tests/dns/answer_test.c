/* SPDX-License-Identifier: MIT */
/* Answers cut at every octet, and names. What servers may say is in resolver_test.py. */
#include "core/dns/dns.h"
#include "tests/unit.h"

/* The answer to MX of example.org: an alias to a.example.org, which has two. */
static const uint8_t message[] = "\x12\x34\x81\xa0\0\1\0\3\0\0\0\0"
				 "\7example\3org\0\0\x0f\0\1"
				 "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1a\xc0\x0c"
				 "\xc0\x29\0\x0f\0\1\0\0\0\x1e\0\6\0\x0a\1m\xc0\x0c"
				 "\1a\7EXAMPLE\3org\0\0\x0f\0\1\0\0\0\x1e\0\7\0\x14\3a.b\0";

enum {
	MESSAGE_SIZE = sizeof message - 1
};

static struct ps_pool *pool;

static void setup(void)
{
	pool = ps_pool_create("test");
}

static void teardown(void)
{
	ps_pool_destroy(pool);
}

START_TEST(reads_what_is_there)
{
	struct dns_answer answer;

	ck_assert_ok(dns_answer_read(pool, ps_bytes(message, MESSAGE_SIZE), "EXAMPLE.org", DNS_MX, &answer));
	ck_assert_int_eq(answer.status, DNS_OK);
	ck_assert(answer.secure);
	ck_assert_uint_eq(answer.ttl, 30);
	ck_assert_uint_eq(answer.aliases, 1);
	ck_assert_str_eq(answer.name, "a.example.org");
	ck_assert_uint_eq(answer.count, 2);
	ck_assert_uint_eq(answer.records[0].mx.preference, 10);
	ck_assert_str_eq(answer.records[0].mx.exchange, "m.example.org");
	ck_assert_str_eq(answer.records[1].mx.exchange, "a\\046b");
}
END_TEST

START_TEST(is_no_answer_when_cut)
{
	struct dns_answer answer;
	/* A copy of its own size, so that AddressSanitizer sees a read behind it. */
	uint8_t *cut = ps_malloc((size_t)_i + 1);

	memcpy(cut, message, (size_t)_i);
	ck_assert_int_eq(dns_answer_read(pool, ps_bytes(cut, (size_t)_i), "example.org", DNS_MX, &answer), PS_E_SYNTAX);
	free(cut);
}
END_TEST

START_TEST(any_octet_may_be_any)
{
	uint8_t changed[MESSAGE_SIZE];
	struct dns_answer answer;

	for (unsigned value = 0; value < 256; value++) {
		memcpy(changed, message, MESSAGE_SIZE);
		changed[_i] = (uint8_t)value;
		if (dns_answer_read(pool, ps_bytes(changed, MESSAGE_SIZE), "example.org", DNS_MX, &answer) == 0)
			ck_assert(answer.count <= 2 && strlen(answer.name) < DNS_NAME_SIZE);
	}
}
END_TEST

static const struct {
	const char *name;
	const char *ascii; /* NULL: refused */
} names[] = {
	{"example.org", "example.org"},
	{"example.org.", "example.org"},
	{"b\xc3\xbc"
	 "cher.example",
	 "xn--bcher-kva.example"},
	{"_25._tcp.mx.example", "_25._tcp.mx.example"},
	{"localhost", "localhost"},
	{"", NULL},
	{".", NULL},
	{"a..b", NULL},
	{".a", NULL},
	{"192.0.2.1", NULL},
	{"[192.0.2.1]", NULL},
	{"a b", NULL},
	{"a\nb", NULL},
	{"a/b", NULL},
	{"\xff\xfe.example", NULL},
};

START_TEST(names_are_those_of_the_dns)
{
	char ascii[DNS_NAME_SIZE] = "";
	int r = dns_name_ascii(names[_i].name, ascii, sizeof ascii);

	ck_assert_int_eq(r, names[_i].ascii ? 0 : PS_E_INVALID);
	if (names[_i].ascii)
		ck_assert_str_eq(ascii, names[_i].ascii);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dns/answer");
	TCase *tcase = tcase_create("answer");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, reads_what_is_there);
	tcase_add_loop_test(tcase, is_no_answer_when_cut, 0, MESSAGE_SIZE);
	tcase_add_loop_test(tcase, any_octet_may_be_any, 0, MESSAGE_SIZE);
	tcase_add_loop_test(tcase, names_are_those_of_the_dns, 0, PS_ARRAY_LEN(names));
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
