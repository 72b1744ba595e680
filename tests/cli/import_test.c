/* SPDX-License-Identifier: MIT */
/* What an import takes from files and names. */
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cli/import.h"
#include "tests/unit.h"

/* What import_maildir.c calls of the program. */
void cli_error(const char *fmt, ...)
{
	(void)fmt;
}

static const struct {
	const char *octets;
	bool plain;
	int result;
	uint64_t offset, size;
} files[] = {
	{"Subject: a\n\nb\n", true, 0, 0, 17},
	{"Subject: a\r\n\r\nb\r\n", true, 0, 0, 17},
	{"Subject: a\r\n\nb", true, 0, 0, 15},
	{"Subject : old\n\n", true, 0, 0, 17},
	{"From x Mon\nA: b\n\nc\n", true, 0, 11, 11},
	{"From x Mon\r\nA: b\r\n\r\nc\r\n", true, 0, 12, 11},
	{"From: x\nA: b\n\nc\n\nFrom y\n", true, 0, 0, 30},
	/* an mbox of two; quoted or not after an empty line it is one */
	{"From x\nA: b\n\nc\n\nFrom y\nA: b\n\n", true, PS_E_INVALID, 0, 0},
	{"From x\nA: b\r\n\r\nc\r\n\r\nFrom y\r\nA: b\r\n\r\n", true, PS_E_INVALID, 0, 0},
	{"From x\nA: b\n\nc\n\n>From y\n", true, 0, 7, 22},
	{"From x\nA: b\n\nc\nFrom y\n", true, 0, 7, 19},
	{"From x\nA: b\n\n\n\n\nFrom y\n", true, PS_E_INVALID, 0, 0},
	/* no messages, unless they lie in a Maildir */
	{"", true, PS_E_SYNTAX, 0, 0},
	{"", false, 0, 0, 0},
	{"Hello, world: nothing\n", true, PS_E_SYNTAX, 0, 0},
	{"Hello, world\n", false, 0, 0, 14},
	{": a\n", true, PS_E_SYNTAX, 0, 0},
	{"\n\n", true, PS_E_SYNTAX, 0, 0},
	{"From x", true, PS_E_SYNTAX, 0, 0},
};

static int file_of(const char *octets)
{
	int fd = memfd_create("message", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, octets, strlen(octets)), (int)strlen(octets));
	return fd;
}

START_TEST(a_file_is_a_message_or_not)
{
	int fd = file_of(files[_i].octets);
	struct import_text text = {.body.offset = 99};

	ck_assert_int_eq(import_text_open(fd, files[_i].plain, &text), files[_i].result);
	if (files[_i].result == 0) {
		ck_assert_uint_eq(text.body.offset, files[_i].offset);
		ck_assert_uint_eq(text.size, files[_i].size);
	} else {
		ck_assert_uint_eq(text.body.offset, 99);
	}
	close(fd);
}
END_TEST

static void digest_of(const char *octets, uint8_t digest[32])
{
	int fd = file_of(octets);
	struct import_text text;

	ck_assert_ok(import_text_open(fd, true, &text));
	ck_assert_ok(import_text_digest(&text, digest));
	close(fd);
}

START_TEST(line_ends_make_no_difference_and_all_else_does)
{
	uint8_t lf[32], crlf[32], other[32];

	digest_of("A: b\n\nc\nd\n", lf);
	digest_of("From x\nA: b\r\n\r\nc\nd\r\n", crlf);
	digest_of("A: b\n\nc\nD\n", other);
	ck_assert_mem_eq(lf, crlf, sizeof lf);
	ck_assert_mem_ne(lf, other, sizeof lf);
}
END_TEST

static const struct {
	const char *name;
	int64_t mtime, date;
	uint32_t flags;
	const char *keywords;
} names[] = {
	{"1600000000.1.host", 1700000000, 1600000000, 0, NULL},
	{"1600000000.1.host:2,", 1500000000, 1500000000, 0, NULL},
	{"1600000000.1.host:2,S", 1600000000, 1600000000, PS_FLAG_SEEN, NULL},
	{"1600000000.1.host:2,DFRST", 1600000000, 1600000000, PS_FLAG_ALL, NULL},
	{"1600000000.1.host,S=12,W=13:2,PSab", 1600000000, 1600000000, PS_FLAG_SEEN, "$Forwarded work $Label2"},
	{"1600000000.1.host:2,cXz9", 1600000000, 1600000000, 0, NULL},
	{"1600000000.1.host:1,S", 1600000000, 1600000000, 0, NULL},
	{"message", 1500000000, 1500000000, 0, NULL},
	{"12.1.host", 1500000000, 1500000000, 0, NULL},
	{"99999999999999999999999.1.host", 1500000000, 1500000000, 0, NULL},
};

START_TEST(a_maildir_name_tells_flags_keywords_and_date)
{
	static const struct import_keywords keywords = {.names = {"work", "$Label2"}};
	struct ps_pool *pool = ps_pool_create("test");
	struct import_message message = {0};

	import_maildir_name(names[_i].name, names[_i].mtime, &keywords, pool, &message);
	ck_assert_int_eq(message.date, names[_i].date);
	ck_assert_uint_eq(message.flags, names[_i].flags);
	ck_assert_pstr_eq(message.keywords, names[_i].keywords);
	ps_pool_destroy(pool);
}
END_TEST

static const struct {
	const char *parent, *component;
	bool maildir_plus;
	const char *mailbox;
} folders[] = {
	{"INBOX", ".Sent", true, "Sent"},
	{"INBOX", ".Work.2024", true, "Work/2024"},
	{"INBOX", ".Entw&APw-rfe", true, "Entw\xc3\xbcrfe"},
	{"INBOX", ".A&B", true, "A&B"},
	{"Work", "2024", false, "Work/2024"},
	{"INBOX", "inbox", false, "INBOX"},
	{"INBOX", "Entw\xc3\xbcrfe", false, "Entw\xc3\xbcrfe"},
	{"INBOX", "..x", true, NULL},
	{"INBOX", ".a..b", true, NULL},
	{"INBOX", "\xff", false, NULL},
	{"INBOX", "a\nb", false, NULL},
};

START_TEST(a_folder_name_becomes_a_mailbox_name_or_none)
{
	struct ps_pool *pool = ps_pool_create("test");

	ck_assert_pstr_eq(
		import_mailbox_name(folders[_i].parent, folders[_i].component, folders[_i].maildir_plus, pool),
		folders[_i].mailbox);
	ps_pool_destroy(pool);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import");
	TCase *tc = tcase_create("files");

	tcase_add_loop_test(tc, a_file_is_a_message_or_not, 0, PS_ARRAY_LEN(files));
	tcase_add_test(tc, line_ends_make_no_difference_and_all_else_does);
	tcase_add_loop_test(tc, a_maildir_name_tells_flags_keywords_and_date, 0, PS_ARRAY_LEN(names));
	tcase_add_loop_test(tc, a_folder_name_becomes_a_mailbox_name_or_none, 0, PS_ARRAY_LEN(folders));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
