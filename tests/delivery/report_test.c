/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "core/delivery/report/report.h"
#include "postern/backend.h"
#include "postern/message.h"
#include "tests/unit.h"

#define NOW INT64_C(1795435200) /* Mon, 23 Nov 2026 12:00:00 */

static const char mail[] = "Received: from a by b; Mon, 23 Nov 2026 11:00:00 +0000\r\n"
			   "Message-ID: <one.two@example.org>\r\n"
			   "Date: Mon, 23 Nov 2026 11:59:00 +0000\r\n"
			   "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= to\r\n all\r\n"
			   "\r\n"
			   "The text.\r\n.\r\n--x\r\n";

static struct ps_report_recipient recipients[3];
static struct ps_report report;
static int file = -1;
static struct ps_buf written, python;
static uint32_t options;

static void give_message(struct ps_bytes octets)
{
	FILE *temporary = tmpfile();

	ck_assert(fwrite(octets.ptr, 1, octets.len, temporary) == octets.len && fflush(temporary) == 0);
	file = dup(fileno(temporary));
	fclose(temporary);
	report.file = file;
	report.size = octets.len;
}

static void prepare(void)
{
	recipients[0] = (struct ps_report_recipient){
		.action = PS_REPORT_FAILED,
		.address = "bob@example.net",
		.orcpt = "rfc822;Bobby@example.org",
		.code = 550,
		.enhanced = "5.1.1",
		.text = "<bob@example.net>: Recipient address rejected: User unknown in virtual mailbox table",
		.host = "mx.example.net",
		.attempted = NOW - 5,
	};
	report = (struct ps_report){
		.hostname = "mail.example.org",
		.id = "REPORT1",
		.time = NOW,
		.reverse_path = "alice@example.org",
		.envid = "env+1",
		.original_id = "QUEUED1",
		.arrival = NOW - 60,
		.returned_max = 100000,
		.recipients = recipients,
		.count = 1,
	};
	give_message(ps_bytes_str(mail));
}

static void finish(void)
{
	ps_closep(&file);
	file = -1;
	ps_buf_finish(&written);
	ps_buf_finish(&python);
}

static void read_all(FILE *from, struct ps_buf *out)
{
	uint8_t *at;
	size_t n;

	do {
		at = ps_buf_reserve(out, 65536);
		n = fread(at, 1, 65536, from);
		out->len += n;
	} while (n > 0);
}

/* Writes it, and lets Python read it. */
static void write_report(void)
{
	const char *srcdir = getenv("srcdir");
	char path[] = "/tmp/postern-report-XXXXXX", command[4200];
	int out = mkstemp(path);
	uint64_t size;
	FILE *pipe;

	ck_assert_ok(ps_report_write(&report, out, &size, &options));
	ck_assert_int_eq(lseek(out, 0, SEEK_CUR), (off_t)size);
	lseek(out, 0, SEEK_SET);
	pipe = fdopen(out, "r");
	read_all(pipe, &written);
	fclose(pipe);
	snprintf(command, sizeof command, "LC_ALL=C.UTF-8 /usr/bin/python3 %s/tests/delivery/report_read.py %s 2>&1",
		 srcdir ? srcdir : ".", path);
	pipe = popen(command, "r");
	read_all(pipe, &python);
	ck_assert_msg(pclose(pipe) == 0, "%s", ps_buf_cstr(&python));
	unlink(path);
	ck_assert_msg(!strstr(ps_buf_cstr(&python), "defect") && !strstr(ps_buf_cstr(&python), "bad line"), "%s",
		      ps_buf_cstr(&python));
}

#define ck_assert_has(text)                                                                                            \
	ck_assert_msg(strstr(ps_buf_cstr(&python), (text)) != NULL, "no \"%s\" in:\n%s", (text), ps_buf_cstr(&python))
#define ck_assert_has_no(text)                                                                                         \
	ck_assert_msg(strstr(ps_buf_cstr(&python), (text)) == NULL, "\"%s\" in:\n%s", (text), ps_buf_cstr(&python))

/* By our own parser. */
static const char *structure(struct ps_pool *pool)
{
	struct ps_derive *derive = ps_derive_create();
	struct ps_bytes octets, text;
	struct ps_cache cache;
	uint64_t size;
	const char *copy;

	ps_derive_feed(derive, ps_buf_view(&written));
	ps_derive_finish(derive, &size, &octets);
	ck_assert_uint_eq(size, written.len);
	ck_assert_ok(ps_cache_open(&cache, octets));
	text = ps_cache_bodystructure(&cache);
	copy = ps_pool_strndup(pool, (const char *)text.ptr, text.len);
	ps_derive_destroy(derive);
	return copy;
}

START_TEST(a_failure_is_told_to_people_and_programs)
{
	struct ps_pool *pool = ps_pool_create("test");
	const char *parts;

	prepare();
	write_report();
	ck_assert_has("type multipart/report delivery-status\n");
	ck_assert_has("From = \"Mail server mail.example.org\" <mailer-daemon@mail.example.org>\n");
	ck_assert_has("To = alice@example.org\n");
	ck_assert_has("Subject = Your message could not be delivered\n");
	ck_assert_has("Auto-Submitted = auto-replied\n");
	ck_assert_has("In-Reply-To = <one.two@example.org>\n");
	ck_assert_has("Message-ID = <REPORT1.report@mail.example.org>\n");
	ck_assert_has("Date = Mon, 23 Nov 2026 12:00:00 +0000\n");
	/* people */
	ck_assert_has("  Bobby@example.org (which goes to bob@example.net)\n"
		      "    There is no mailbox with that name.\n"
		      "    The server mx.example.net said: 550 5.1.1 <bob@example.net>:\n"
		      "    Recipient address rejected: User unknown in virtual mailbox table\n");
	ck_assert_has("  Subject:  Gr\xc3\xbc\xc3\x9f"
		      "e to all\n");
	ck_assert_has("  Queue id: QUEUED1\n");
	/* programs */
	ck_assert_has(
		"group\n"
		"Original-Envelope-Id = env+1\n"
		"Reporting-MTA = dns; mail.example.org\n"
		"Arrival-Date = Mon, 23 Nov 2026 11:59:00 +0000\n"
		"group\n"
		"Original-Recipient = rfc822; Bobby@example.org\n"
		"Final-Recipient = rfc822; bob@example.net\n"
		"Action = failed\n"
		"Status = 5.1.1\n"
		"Remote-MTA = dns; mx.example.net\n"
		"Diagnostic-Code = smtp; 550 5.1.1 <bob@example.net>: Recipient address rejected: User unknown in "
		"virtual mailbox table\n"
		"Last-Attempt-Date = Mon, 23 Nov 2026 11:59:55 +0000\n"
		"part text/rfc822-headers \n");
	ck_assert_has("returned b'Received: from a by b;");
	ck_assert_has_no("The text.");
	ck_assert_uint_eq(options, 0);
	parts = structure(pool);
	ck_assert_msg(strcasestr(parts, "\"REPORT\" (\"REPORT-TYPE\" \"delivery-status\"") != NULL, "%s", parts);
	ck_assert_msg(strcasestr(parts, "\"DELIVERY-STATUS\"") != NULL, "%s", parts);
	ck_assert_msg(strcasestr(parts, "\"RFC822-HEADERS\"") != NULL, "%s", parts);
	ps_pool_destroy(pool);
	finish();
}
END_TEST

/* ---- what goes back ---- */

START_TEST(the_whole_message_goes_back_where_asked_for)
{
	struct ps_buf expected = {0};

	prepare();
	report.options = PS_MAIL_RET_FULL;
	write_report();
	ck_assert_has("part message/rfc822 \n");
	ck_assert_has("The text.\\r\\n.\\r\\n--x\\r\\n'");
	ps_buf_printf(&expected, "\r\n\r\n%s\r\n--=_", mail);
	ck_assert_ptr_nonnull(memmem(written.ptr, written.len, expected.ptr, expected.len));
	ck_assert_uint_eq(options, 0);
	ps_buf_finish(&expected);
	finish();
}
END_TEST

static const struct {
	const char *message; /* NULL: `mail` */
	uint32_t options;
	uint64_t returned_max;
	enum ps_report_action action;
} headers_only[] = {
	{NULL, 0, 100000, PS_REPORT_FAILED},
	{NULL, PS_MAIL_RET_HDRS, 100000, PS_REPORT_FAILED},
	{NULL, PS_MAIL_RET_FULL, 100, PS_REPORT_FAILED},
	{NULL, PS_MAIL_RET_FULL, 100000, PS_REPORT_DELAYED},
	{NULL, PS_MAIL_RET_FULL, 100000, PS_REPORT_DELIVERED},
	{NULL, PS_MAIL_RET_FULL | PS_MAIL_REQUIRETLS, 100000, PS_REPORT_FAILED},
	{"Received: x\r\n\r\nThe text. \r alone\r\n", PS_MAIL_RET_FULL, 100000, PS_REPORT_FAILED},
	{"Received: x\r\n\r\nThe text. \n alone\r\n", PS_MAIL_RET_FULL, 100000, PS_REPORT_FAILED},
};

START_TEST(else_its_header)
{
	prepare();
	if (headers_only[_i].message) {
		close(file);
		give_message(ps_bytes_str(headers_only[_i].message));
	}
	report.options = headers_only[_i].options;
	report.returned_max = headers_only[_i].returned_max;
	recipients[0].action = headers_only[_i].action;
	write_report();
	ck_assert_has("part text/rfc822-headers");
	ck_assert_has("returned b'Received: ");
	ck_assert_has_no("The text.");
	ck_assert_uint_eq(options, headers_only[_i].options & PS_MAIL_REQUIRETLS);
	finish();
}
END_TEST

START_TEST(messages_of_any_kind)
{
	static const char nul[] = "Subject: a\0b\r\nX: c\r\n\r\n\0";
	struct ps_buf large = {0};

	prepare();
	close(file);
	give_message(ps_bytes(nul, sizeof nul - 1));
	report.options = PS_MAIL_RET_FULL;
	write_report();
	ck_assert_has("returned b'Subject: a?b\\r\\nX: c\\r\\n'");
	finish();

	prepare();
	close(file);
	give_message(ps_bytes("", 0));
	write_report();
	ck_assert_has("returned b''");
	finish();

	prepare();
	close(file);
	give_message(ps_bytes_str("\r\nno header\r\n"));
	write_report();
	ck_assert_has("returned b''");
	finish();

	/* A line of 100,000 octets, and a header of 2 MB. */
	prepare();
	close(file);
	ps_buf_str(&large, "First: 1\r\nLong: ");
	for (int i = 0; i < 20000; i++)
		ps_buf_str(&large, "x\xff");
	for (int i = 0; i < 100000; i++)
		ps_buf_printf(&large, "\r\nNext: %d field", i);
	ps_buf_str(&large, "\r\n\r\ntext\r\n");
	give_message(ps_buf_view(&large));
	write_report();
	ck_assert_has("returned b'First: 1\\r\\n");
	ck_assert_has("Next: 10 field");
	ck_assert_uint_lt(written.len, 400000);
	ck_assert_uint_eq(options, 0);
	ps_buf_finish(&large);
	finish();
}
END_TEST

START_TEST(a_header_of_8_bits_comes_back_the_same)
{
	prepare();
	close(file);
	give_message(ps_bytes_str("Subject: caf\xe9 = \r\n\tblank \r\n\r\ntext\r\n"));
	write_report();
	ck_assert_has("part text/rfc822-headers quoted-printable\n");
	ck_assert_has("returned b'Subject: caf\\xe9 = \\r\\n\\tblank \\r\\n'");
	ck_assert_uint_eq(options, 0);
	finish();
}
END_TEST

START_TEST(a_body_of_8_bits_needs_8bitmime)
{
	prepare();
	close(file);
	give_message(ps_bytes_str("Subject: x\r\n\r\ncaf\xe9\r\n"));
	report.options = PS_MAIL_RET_FULL | PS_MAIL_8BITMIME;
	write_report();
	ck_assert_has("part message/rfc822 8bit\n");
	ck_assert_has("returned b'Subject: x\\r\\n\\r\\ncaf\\xe9\\r\\n'");
	ck_assert_uint_eq(options, PS_MAIL_8BITMIME);
	finish();
}
END_TEST

/* ---- addresses beyond ASCII ---- */

START_TEST(utf8_for_those_who_can)
{
	prepare();
	report.reverse_path = "j\xc3\xb6@example.org";
	recipients[0].address = "gr\xc3\xbc\xc3\x9f"
				"e@example.net";
	recipients[0].orcpt = "utf-8;gr\xc3\xbc\xc3\x9f"
			      "e+x@example.org";
	recipients[0].text = "gr\xc3\xbc\xc3\x9f"
			     "e is unknown\xff \xc2\x9b";
	report.options = PS_MAIL_SMTPUTF8;
	write_report();
	ck_assert_has("type multipart/report global-delivery-status\n");
	ck_assert_has("part message/global-delivery-status 8bit\n");
	ck_assert_ptr_nonnull(memmem(written.ptr, written.len,
				     "Final-Recipient: utf-8; gr\xc3\xbc\xc3\x9f"
				     "e@example.net\r\n",
				     44));
	ck_assert_ptr_nonnull(memmem(written.ptr, written.len,
				     "Original-Recipient: utf-8; gr\xc3\xbc\xc3\x9f"
				     "e+x@",
				     37));
	ck_assert_ptr_nonnull(memmem(written.ptr, written.len, "e is unknown\\xFF \\xC2\\x9B\r\n", 27));
	ck_assert_ptr_nonnull(memmem(written.ptr, written.len, "To: <j\xc3\xb6@example.org>\r\n", 23));
	ck_assert_uint_eq(options, PS_MAIL_SMTPUTF8 | PS_MAIL_8BITMIME);
	ck_assert(ps_utf8_valid(ps_buf_view(&written)));
	finish();
}
END_TEST

START_TEST(and_ascii_for_those_who_cannot)
{
	prepare();
	recipients[0].address = "gr\xc3\xbc\xc3\x9f"
				"e+x@example.net";
	recipients[0].orcpt = "utf-8;\xf0\x9f\x93\xab@example.org";
	recipients[0].text = "gr\xc3\xbc\xc3\x9f"
			     "e is unknown";
	write_report();
	ck_assert_has("Original-Recipient = utf-8; \\x{1F4EB}@example.org\n");
	ck_assert_has("Final-Recipient = utf-8; gr\\x{FC}\\x{DF}e\\x{2B}x@example.net\n");
	ck_assert_has("smtp; 550 5.1.1 gr\\xC3\\xBC\\xC3\\x9Fe is unknown\n");
	ck_assert_has("gr\xc3\xbc\xc3\x9f"
		      "e+x@example.net"); /* the text is for people */
	ck_assert_uint_eq(options, 0);
	for (size_t i = 0; i < written.len; i++)
		ck_assert_uint_lt(written.ptr[i], 0x80);
	finish();
}
END_TEST

START_TEST(a_utf8_header_goes_back_as_one)
{
	prepare();
	close(file);
	give_message(ps_bytes_str("Subject: Gr\xc3\xbc\xc3\x9f"
				  "e\r\n\r\ntext\r\n"));
	report.options = PS_MAIL_SMTPUTF8;
	write_report();
	ck_assert_has("part message/global-headers 8bit\n");
	ck_assert_uint_eq(options, PS_MAIL_SMTPUTF8 | PS_MAIL_8BITMIME);
	finish();

	prepare();
	close(file);
	give_message(ps_bytes_str("Subject: Gr\xc3\xbc\xc3\x9f"
				  "e\r\n\r\ntext\r\n"));
	report.options = PS_MAIL_SMTPUTF8 | PS_MAIL_RET_FULL;
	write_report();
	ck_assert_has("part message/global 8bit\n");
	finish();
}
END_TEST

/* ---- what others say ---- */

START_TEST(replies_are_told_so_that_they_do_no_harm)
{
	struct ps_buf endless = {0};

	prepare();
	recipients[0].text = "no\r\nBcc: victim@example.org\r\n\r\n--x \x1b[31m \x7f\xff \xe2\x80\xae gnp.exe";
	recipients[0].host = "mx\r\nX: y\x1b";
	recipients[0].enhanced = "5.1.1\r\nX: y";
	recipients[0].orcpt = "rfc822;a\r\nX: y@example.org";
	report.envid = "a\r\nX: y";
	write_report();
	ck_assert_has("Diagnostic-Code = smtp; 550 no  Bcc: victim@example.org    --x \\x1B[31m \\x7F\\xFF "
		      "\\xE2\\x80\\xAE gnp.exe\n");
	ck_assert_has("Status = 5.0.0\n");
	ck_assert_has("Remote-MTA = dns; mx  X: y\\x1B\n");
	ck_assert_has("Original-Envelope-Id = a  X: y\n");
	ck_assert_has_no("Bcc =");
	ck_assert_has_no("\nX =");
	finish();

	for (int i = 0; i < 100000; i++)
		ps_buf_str(&endless, "0123456789");
	prepare();
	recipients[0].text = ps_buf_cstr(&endless);
	write_report();
	ck_assert_uint_lt(written.len, 6000);
	ck_assert_has("...");
	finish();
	ps_buf_finish(&endless);
}
END_TEST

START_TEST(original_recipients_of_other_kinds)
{
	static const char *const odd[] = {"x400;/S=a/", ";a", "rfc822", "a b;c", "\r\n;c", ""};

	for (size_t i = 0; i < PS_ARRAY_LEN(odd); i++) {
		prepare();
		recipients[0].orcpt = odd[i];
		write_report();
		if (i == 0)
			ck_assert_has("Original-Recipient = x400; /S=a/\n");
		else
			ck_assert_has_no("Original-Recipient");
		finish();
	}
}
END_TEST

/* ---- the other reports ---- */

START_TEST(several_recipients_and_actions)
{
	prepare();
	recipients[1] = (struct ps_report_recipient){
		.action = PS_REPORT_DELIVERED, .address = "carol@example.org", .enhanced = "2.1.5", .text = "stored"};
	recipients[2] = (struct ps_report_recipient){.action = PS_REPORT_RELAYED,
						     .address = "dave@example.com",
						     .code = 250,
						     .enhanced = "2.0.0",
						     .text = "queued",
						     .host = "mx.example.com"};
	report.count = 3;
	write_report();
	ck_assert_has("Subject = Your message could not be delivered\n");
	ck_assert_has("Your message was delivered to:\n\n  carol@example.org\n\n");
	ck_assert_has("sends no reports of this kind, for:\n\n  dave@example.com\n\n");
	ck_assert_has("group\nFinal-Recipient = rfc822; carol@example.org\nAction = delivered\nStatus = 2.1.5\n"
		      "Diagnostic-Code = x-postern; stored\n");
	ck_assert_has("group\nFinal-Recipient = rfc822; dave@example.com\nAction = relayed\nStatus = 2.0.0\n"
		      "Remote-MTA = dns; mx.example.com\n");
	finish();
}
END_TEST

START_TEST(a_delay)
{
	prepare();
	recipients[0].action = PS_REPORT_DELAYED;
	recipients[0].code = 0;
	recipients[0].enhanced = "4.4.1";
	recipients[0].text = "connect to mx.example.net: timed out";
	recipients[0].host = NULL;
	recipients[0].orcpt = NULL;
	recipients[0].retried_until = NOW + 86400;
	write_report();
	ck_assert_has("Subject = Your message is delayed\n");
	ck_assert_has("  bob@example.net\n"
		      "    The other server did not answer.\n"
		      "    connect to mx.example.net: timed out\n"
		      "    It is tried until Tue, 24 Nov 2026 12:00:00 +0000.\n");
	ck_assert_has("Action = delayed\nStatus = 4.4.1\nDiagnostic-Code = x-postern; connect to mx.example.net: timed "
		      "out\n");
	ck_assert_has("Will-Retry-Until = Tue, 24 Nov 2026 12:00:00 +0000\n");
	finish();

	prepare();
	recipients[0].enhanced = "4.4.1";
	write_report();
	ck_assert_has("    The other server did not answer.\n");
	ck_assert_has("    It was tried for as long as this server tries.\n");
	finish();
}
END_TEST

START_TEST(a_thousand_recipients)
{
	struct ps_report_recipient *many = calloc(1000, sizeof *many);

	prepare();
	for (int i = 0; i < 1000; i++)
		many[i] = recipients[0];
	report.recipients = many;
	report.count = 1000;
	write_report();
	ck_assert_has("and to 900 more.\n");
	ck_assert_uint_lt(written.len, 1000000);
	finish();
	free(many);
}
END_TEST

/* ---- whether ---- */

static const struct {
	const char *reverse_path;
	uint32_t notify;
	enum ps_report_action action;
	bool due;
} wishes[] = {
	{"a@example.org", 0, PS_REPORT_FAILED, true},
	{"a@example.org", 0, PS_REPORT_DELAYED, true},
	{"a@example.org", 0, PS_REPORT_DELIVERED, false},
	{"a@example.org", 0, PS_REPORT_RELAYED, false},
	{"a@example.org", PS_NOTIFY_NEVER, PS_REPORT_FAILED, false},
	{"a@example.org", PS_NOTIFY_NEVER | PS_NOTIFY_FAILURE, PS_REPORT_FAILED, false},
	{"a@example.org", PS_NOTIFY_FAILURE, PS_REPORT_FAILED, true},
	{"a@example.org", PS_NOTIFY_FAILURE, PS_REPORT_DELAYED, false},
	{"a@example.org", PS_NOTIFY_DELAY, PS_REPORT_FAILED, false},
	{"a@example.org", PS_NOTIFY_SUCCESS, PS_REPORT_FAILED, false},
	{"a@example.org", PS_NOTIFY_SUCCESS, PS_REPORT_DELIVERED, true},
	{"a@example.org", PS_NOTIFY_SUCCESS | PS_NOTIFY_FAILURE, PS_REPORT_RELAYED, true},
	{"", 0, PS_REPORT_FAILED, false},
	{"", PS_NOTIFY_SUCCESS | PS_NOTIFY_FAILURE | PS_NOTIFY_DELAY, PS_REPORT_FAILED, false},
	{NULL, 0, PS_REPORT_FAILED, false},
};

START_TEST(who_hears_of_what)
{
	ck_assert(ps_report_is_due(wishes[_i].reverse_path, wishes[_i].notify, wishes[_i].action) == wishes[_i].due);
}
END_TEST

START_TEST(what_cannot_be_written_is_not)
{
	uint64_t size;
	int null = open("/dev/null", O_RDONLY), full = open("/dev/full", O_WRONLY);

	prepare();
	ck_assert_int_eq(ps_report_write(&report, null, &size, &options), PS_E_STORAGE);
	ck_assert_int_eq(ps_report_write(&report, full, &size, &options), PS_E_FULL);
	report.file = -1;
	ck_assert_int_lt(ps_report_write(&report, full, &size, &options), 0);
	report.file = file;
	report.reverse_path = "";
	ck_assert_int_eq(ps_report_write(&report, full, &size, &options), PS_E_INVALID);
	report.reverse_path = "a\r\nX: y@example.org";
	ck_assert_int_eq(ps_report_write(&report, full, &size, &options), PS_E_INVALID);
	report.reverse_path = "a@example.org";
	report.count = 0;
	ck_assert_int_eq(ps_report_write(&report, full, &size, &options), PS_E_INVALID);
	close(null);
	close(full);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("report");
	TCase *tc = tcase_create("reports");

	tcase_add_test(tc, a_failure_is_told_to_people_and_programs);
	tcase_add_test(tc, the_whole_message_goes_back_where_asked_for);
	tcase_add_loop_test(tc, else_its_header, 0, PS_ARRAY_LEN(headers_only));
	tcase_add_test(tc, messages_of_any_kind);
	tcase_add_test(tc, a_header_of_8_bits_comes_back_the_same);
	tcase_add_test(tc, a_body_of_8_bits_needs_8bitmime);
	tcase_add_test(tc, utf8_for_those_who_can);
	tcase_add_test(tc, and_ascii_for_those_who_cannot);
	tcase_add_test(tc, a_utf8_header_goes_back_as_one);
	tcase_add_test(tc, replies_are_told_so_that_they_do_no_harm);
	tcase_add_test(tc, original_recipients_of_other_kinds);
	tcase_add_test(tc, several_recipients_and_actions);
	tcase_add_test(tc, a_delay);
	tcase_add_test(tc, a_thousand_recipients);
	tcase_add_loop_test(tc, who_hears_of_what, 0, PS_ARRAY_LEN(wishes));
	tcase_add_test(tc, what_cannot_be_written_is_not);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
