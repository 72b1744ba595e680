/* SPDX-License-Identifier: MIT */
#include "core/config/config.h"
#include "core/config/near.h"
#include "tests/unit.h"

/* A file with something of everything. */
static const char sample[] = "# a comment\n"
			     "hostname = mail.example.test\n"
			     "mail_root = \"/srv/mail\"   // another\n"
			     "passwd_file = '/etc/postern/passwd'\n"
			     "log_level = debug\n"
			     "plaintext_without_tls = on\n"
			     "/* over\n"
			     "   lines */\n"
			     "listener imap { address = \"::1\" port = 1143 tls = none }\n"
			     "listener \"imaps\" {\n"
			     "\tprotocol = \"imap\"\n"
			     "\tport = 993\n"
			     "\ttls = implicit\n"
			     "}\n"
			     "tls {\n"
			     "\tcertificate = /etc/ssl/a.pem\n"
			     "\tkey = /etc/ssl/a.key\n"
			     "}\n"
			     "limits { message_size = 2G preauth_timeout = 2m }\n"
			     "namespace { prefix = \"INBOX.\" separator = . }\n"
			     "mailbox Drafts { special_use = drafts }\n"
			     "mailbox \"Entw\xc3\xbcrfe/\\\"alt\\\"\" { subscribe = no }\n";

static struct ps_config *read_ok(const char *text)
{
	struct ps_config *config = NULL;

	ck_assert_ok(ps_config_read("t.conf", ps_bytes_str(text), NULL, &config));
	return config;
}

START_TEST(a_file_reads_as_it_is_written)
{
	struct ps_config *config = read_ok(sample);
	const struct ps_conf *root = ps_config_root(config), *imaps, *limits;

	ck_assert_str_eq(ps_conf_str(root, "hostname"), "mail.example.test");
	ck_assert_str_eq(ps_conf_str(root, "mail_root"), "/srv/mail");
	ck_assert_str_eq(ps_conf_str(root, "passwd_file"), "/etc/postern/passwd");
	ck_assert(ps_conf_bool(root, "plaintext_without_tls"));
	ck_assert_uint_eq(ps_conf_section_count(root, "listener"), 2);
	imaps = ps_conf_section(root, "listener", 1);
	ck_assert_str_eq(ps_conf_title(imaps), "imaps");
	ck_assert_int_eq(ps_conf_int(imaps, "port"), 993);
	ck_assert_str_eq(ps_conf_str(imaps, "tls"), "implicit");
	limits = ps_conf_section(root, "limits", 0);
	ck_assert_int_eq(ps_conf_int(limits, "message_size"), INT64_C(2) << 30);
	ck_assert_int_eq(ps_conf_int(limits, "preauth_timeout"), 120);
	ck_assert_int_eq(ps_conf_int(limits, "connections"), 20000);
	ck_assert_str_eq(ps_conf_title(ps_conf_section(root, "mailbox", 1)), "Entw\xc3\xbcrfe/\"alt\"");
	ps_config_destroy(config);
}
END_TEST

START_TEST(what_is_absent_reads_as_its_default)
{
	struct ps_config *config = read_ok("mail_root = /m\n");
	const struct ps_conf *root = ps_config_root(config);

	ck_assert_str_eq(ps_conf_str(root, "backend"), "maildir");
	ck_assert_ptr_null(ps_conf_str(root, "passwd_file"));
	ck_assert(strlen(ps_conf_str(root, "hostname")) > 0);
	ck_assert_uint_eq(ps_conf_section_count(root, "listener"), 0);
	ck_assert_ptr_null(ps_conf_section(root, "listener", 0));
	ck_assert_int_eq(ps_conf_int(ps_conf_section(root, "limits", 0), "session_timeout"), 1800);
	ck_assert_str_eq(ps_conf_str(ps_conf_section(root, "namespace", 0), "separator"), "/");
	ps_config_destroy(config);
}
END_TEST

/* ---- errors ---- */

static const struct {
	const char *text;  /* mail_root is put before it, as line 1 */
	const char *error; /* what one of the lines told must be */
} bad[] = {
	/* names */
	{"hostnam = a\n", "t.conf:2: unknown setting \"hostnam\"; did you mean \"hostname\"?"},
	{"listener imaps {\n  prot = 993\n}\n",
	 "t.conf:3: unknown setting \"prot\" in listener \"imaps\"; did you mean \"port\"?"},
	{"zzzzzzzz = 1\n", "t.conf:2: unknown setting \"zzzzzzzz\""},
	{"include(\"x\")\n", "t.conf:2: ( ) * and + must be in quotes"},
	{"limitz { connections = 1 }\n", "t.conf:2: unknown setting \"limitz\"; did you mean \"limits\"?"},
	{"userdb a { }\n", "t.conf:2: userdb \"a\" has no driver"},
	{"userdb a { driver = \"nosuch\" }\n", "t.conf:2: no userdb driver \"nosuch\" is installed"},
	{"userdb a { drivr = \"nosuch\" }\n",
	 "t.conf:2: unknown setting \"drivr\" in userdb \"a\"; did you mean \"driver\"?"},
	/* values */
	{"log_level = inf\n", "t.conf:2: \"log_level\" must be \"error\" or \"warning\" or \"info\" or \"debug\" "
			      "(did you mean \"info\"?), not \"inf\""},
	{"sasl_mechanisms = { \"PLAIN\", \"PLANE\" }\n",
	 "t.conf:2: \"sasl_mechanisms\": there is no mechanism \"PLANE\" here"},
	{"oauth {\njwks = \"/x\" issuer = \"y\" }\n", "t.conf:3: oauth has jwks: it needs issuer and audience, too"},
	{"plaintext_without_tls = maybe\n", "t.conf:2: \"plaintext_without_tls\" must be yes or no, not \"maybe\""},
	{"listener a { port = 65536 tls = none }\n",
	 "t.conf:2: \"port\" in listener \"a\" must be a whole number from 1 to 65535, not "
	 "\"65536\""},
	{"listener a {\n port = 1 tls = none proxy = { 192.0.2.1,\n there }\n}\n",
	 "t.conf:4: \"proxy\" in listener \"a\" takes addresses and networks such as 192.0.2.0/24, not \"there\""},
	{"listener a { port = -1 tls = none }\n",
	 "t.conf:2: \"port\" in listener \"a\" must be a whole number from 1 to 65535, not \"-1\""},
	{"listener a { port = 1x tls = none }\n",
	 "t.conf:2: \"port\" in listener \"a\" must be a whole number from 1 to 65535, not \"1x\""},
	{"worker_threads = 99999999999999999999\n",
	 "t.conf:2: \"worker_threads\" must be a whole number from 1 to 256, not "
	 "\"99999999999999999999\""},
	{"worker_threads = \"\"\n", "t.conf:2: \"worker_threads\" must be a whole number from 1 to 256, not \"\""},
	{"limits { message_size = 100X }\n", "t.conf:2: \"message_size\" in limits must be a size such as 64K, 10M or "
					     "1G from 1K to 1T, not \"100X\""},
	{"limits { message_size = 99999999999G }\n", "t.conf:2: \"message_size\" in limits must be a size such as 64K, "
						     "10M or 1G from 1K to 1T, not \"99999999999G\""},
	{"limits { preauth_timeout = 2M0 }\n", "t.conf:2: \"preauth_timeout\" in limits must be a time such as 30s, 5m "
					       "or 2h from 1s to 1h, not \"2M0\""},
	{"hostname = a\nhostname = b\n", "t.conf:3: \"hostname\" is set a second time"},
	{"limits { connections = 1 }\nlimits { }\n",
	 "t.conf:3: the section \"limits\" that ends here is there a second time"},
	/* grammar */
	{"hostname a\n", "t.conf:2: expected = after \"hostname\""},
	{"listener {\n}\n", "t.conf:2: expected a title after \"listener\", as in: listener \"title\" {"},
	{"limits = 4\n", "t.conf:2: expected { after \"limits\""},
	{"limits \"x\" { }\n", "t.conf:2: expected { after \"limits\""},
	{"hostname += a\n", "t.conf:2: \"hostname\" takes one value: expected =, not +="},
	{"hostname = { a }\n", "t.conf:2: did not expect \"{\" here: expected NAME = VALUE or NAME { ... }"},
	{"limits {\n connections = 5\n\n", "t.conf:2: the section or list after limits is not closed: a } is missing"},
	{"}\n", "t.conf:2: there is no section that this } could close"},
	{"hostname = \"a\nlog_level = info\n", "t.conf:2: the string that starts here is not closed"},
	{"/* a\n b\n", "t.conf:2: the comment that starts here is not closed"},
	{"hostname =\n", "t.conf:2: the file ends within a setting or section"},
	{"hostname = \"\\9\"\n", "t.conf:2: \"\\9\" has no meaning in a string"},
	{"hostname = ${HOME}\n", "t.conf:2: ${...} is not replaced by anything here; in single "
				 "quotes it stands for itself"},
	{"hostname = \"${HOME}\"\n", "t.conf:2: ${...} is not replaced by anything here; in single "
				     "quotes it stands for itself"},
	{"hostname = a\001b\n", "t.conf:2: this line is not UTF-8, or holds a control octet"},
	{"hostname = \xff\n", "t.conf:2: this line is not UTF-8, or holds a control octet"},
	{"a { a { a { a { a { a { a { a { a { } } } } } } } } }\n", "t.conf:2: more than 8 sections within each other"},
	{"listener a { port = 1 tls = none }\nlistener a { port = 2 tls = none }\n",
	 "t.conf:3: a second section has the title \"a\""},
	/* how settings belong together */
	{"listener a { tls = none }\n", "t.conf:2: listener \"a\" has no port"},
	{"listener a { port = 1 tls = none }\nlistener b { port = 1 tls = none }\n",
	 "t.conf:3: listener \"b\" has the address and port of listener \"a\""},
	{"listener a { path = \"/x\" port = 1 tls = none }\n",
	 "t.conf:2: listener \"a\" has a path and a port: one place only"},
	{"listener a { path = x tls = none }\n",
	 "t.conf:2: \"path\" in listener \"a\" must be an absolute path of at most 107 octets"},
	{"listener a { path = \"/x\" tls = none }\nlistener b {\n path = \"/x\" tls = none }\n",
	 "t.conf:4: listener \"b\" has the path of listener \"a\""},
	{"listener a { address = localhost port = 1 tls = none }\n",
	 "t.conf:2: \"address\" in listener \"a\" must be an IPv4 or IPv6 address, not "
	 "\"localhost\""},
	{"listener a { port = 1\n tls = implicit }\n",
	 "t.conf:3: listener \"a\" needs tls { certificate, key }; without TLS it must say: tls = "
	 "none"},
	{"tls { key = /k }\n", "t.conf:2: tls has a key but no certificate: both are needed, or neither"},
	{"tls { key = k certificate = /c }\n", "t.conf:2: \"key\" in tls must be an absolute path, not \"k\""},
	{"domain a.test { key = /k }\n",
	 "t.conf:2: domain \"a.test\" has a key but no certificate: both are needed, or neither"},
	{"domain a.test {\n ocsp_response = /o }\n",
	 "t.conf:3: domain \"a.test\" has an ocsp_response but no certificate"},
	{"domain a.test { key = /k\n certificate = c }\n",
	 "t.conf:3: \"certificate\" in domain \"a.test\" must be an absolute path, not \"c\""},
	{"tls { client_authorities = a }\n",
	 "t.conf:2: \"client_authorities\" in tls must be an absolute path, not \"a\""},
	{"listener a { port = 1 tls = none\n client_certificate = optional }\ntls { client_authorities = /a }\n",
	 "t.conf:3: listener \"a\" cannot ask for a client's certificate without TLS"},
	{"tls { certificate = /c key = /k }\nlistener a { port = 1\n client_certificate = required }\n",
	 "t.conf:4: listener \"a\" asks for a client's certificate: that needs tls { client_authorities }"},
	{"passwd_file = users\n", "t.conf:2: \"passwd_file\" must be an absolute path, not \"users\""},
	{"mail_location = \"%d/x\"\n", "t.conf:2: \"mail_location\" must hold %u or %n: a place for each user"},
	{"mail_location = \"%n%\"\n", "t.conf:2: \"mail_location\" may hold %u, %n, %d and %%, not \"%\""},
	{"mail_location = \"../%n\"\n", "t.conf:2: \"mail_location\" must be below mail_root: no leading / and no .."},
	{"hostname = \"a b\"\n", "t.conf:2: \"hostname\" must be a name of letters, digits, '-' and '.', not \"a b\""},
	{"namespace { prefix = INBOX }\n",
	 "t.conf:2: \"prefix\" in namespace must end with the separator \"/\", or be empty"},
	{"mailbox a { special_use = sent }\nmailbox b { special_use = sent }\n",
	 "t.conf:3: mailbox \"b\" has the special use of mailbox \"a\": expected one for each"},
	{"mailbox \"a//b\" { }\n",
	 "t.conf:2: mailbox \"a//b\" cannot be: mailbox name: a component is empty, \".\" or \"..\""},
	{"domain \"a b\" { }\n", "t.conf:2: \"a b\" is no name of a domain"},
	{"domain a.test { }\ndomain A.test { }\n", "t.conf:3: domain \"A.test\" is there twice"},
	{"domain a.test {\nmail_location = x }\n",
	 "t.conf:3: \"mail_location\" must hold %u or %n: a place for each user"},
	{"mount Archive { location = \"a/%u\" }\n", "t.conf:2: mount \"Archive\" has no backend"},
	{"mount Archive { backend = x }\n", "t.conf:2: mount \"Archive\" has no location"},
	{"mount Archive { backend = x location = \"a/%d\" }\n",
	 "t.conf:2: \"location\" must hold %u or %n: a place for each user"},
	{"mount Archive { backend = x location = \"%d/%n/archive\" }\n",
	 "t.conf:2: mount \"Archive\" lies where \"mail_location\" is"},
	{"mount A { backend = x location = \"a/%u\" }\nmount B { backend = x location = \"a/%u\" }\n",
	 "t.conf:3: mount \"B\" lies where mount \"A\" is"},
	{"mount A { backend = x location = \"a/%u\" }\nmount A/B { backend = x location = \"b/%u\" }\n",
	 "t.conf:3: mount \"A/B\" is within mount \"A\", or it in that"},
	{"mount INBOX/A { backend = x location = \"a/%u\" }\n",
	 "t.conf:2: mount \"INBOX/A\": INBOX and what is below it is in the user's own store"},
	{"mailbox inbox {\n special_use = junk\n}\n", "t.conf:3: INBOX has no special use"},
};

static int read_text(const char *text, struct ps_buf *errors)
{
	struct ps_config *config = NULL;
	int r = ps_config_read("t.conf", ps_bytes_str(text), errors, &config);

	if (r == 0)
		ps_config_destroy(config);
	else
		ck_assert_ptr_null(config);
	return r;
}

static bool has_line(const char *lines, const char *line)
{
	const char *at = strstr(lines, line);

	return at && (at == lines || at[-1] == '\n') && at[strlen(line)] == '\n';
}

START_TEST(an_error_says_where_and_what_was_expected)
{
	struct ps_buf text = {0}, errors = {0};

	ps_buf_printf(&text, "mail_root = /srv/mail\n%s", bad[_i].text);
	ck_assert_int_lt(read_text(ps_buf_cstr(&text), &errors), 0);
	ck_assert_msg(has_line(ps_buf_cstr(&errors), bad[_i].error), "expected: %s\ntold: %s", bad[_i].error,
		      ps_buf_cstr(&errors));
	ck_assert_msg(strncmp(ps_last_error(), "t.conf:", 7) == 0, "%s", ps_last_error());
	ps_buf_finish(&text);
	ps_buf_finish(&errors);
}
END_TEST

START_TEST(all_errors_are_told_in_the_order_of_lines)
{
	struct ps_buf errors = {0};

	ck_assert_int_lt(read_text("mail_root = /m\nlog_level = x\nfoo { a { b = { c } } "
				   "}\nworker_threads = 0\n"
				   "bar = { x, y }\nlimits { baz += 1 connections = z }\n",
				   &errors),
			 0);
	ck_assert_str_eq(ps_buf_cstr(&errors),
			 "t.conf:2: \"log_level\" must be \"error\" or \"warning\" or \"info\" or "
			 "\"debug\", not \"x\"\n"
			 "t.conf:3: unknown setting \"foo\"\n"
			 "t.conf:4: \"worker_threads\" must be a whole number from 1 to 256, not \"0\"\n"
			 "t.conf:5: unknown setting \"bar\"\n"
			 "t.conf:6: \"connections\" in limits must be a whole number from 1 to 1000000, not "
			 "\"z\"\n"
			 "t.conf:6: unknown setting \"baz\" in limits\n");
	ps_buf_finish(&errors);
}
END_TEST

START_TEST(mail_root_must_be_set)
{
	ck_assert_int_lt(read_text("hostname = a\n", NULL), 0);
	ck_assert_str_eq(ps_last_error(), "t.conf:1: \"mail_root\" is not set: expected the folder for all mail");
}
END_TEST

START_TEST(a_missing_file_is_named)
{
	struct ps_config *config = NULL;
	struct ps_buf errors = {0};

	ck_assert_int_eq(ps_config_read("/nowhere/t.conf", ps_bytes(NULL, 0), &errors, &config), PS_E_NOTFOUND);
	ck_assert_str_eq(ps_buf_cstr(&errors), "/nowhere/t.conf: No such file or directory\n");
	ck_assert_int_eq(ps_config_read("/tmp", ps_bytes(NULL, 0), NULL, &config), PS_E_INVALID);
	ps_buf_finish(&errors);
}
END_TEST

/* ---- hostile text ---- */

static void read_or_refuse(const char *text, size_t len)
{
	struct ps_config *config = NULL;
	struct ps_buf errors = {0};

	if (ps_config_read("t.conf", ps_bytes(text, len), &errors, &config) == 0)
		ps_config_destroy(config);
	else
		ck_assert_msg(strncmp(ps_buf_cstr(&errors), "t.conf:", 7) == 0 && errors.ptr[7] >= '1' &&
				      errors.ptr[7] <= '9',
			      "cut at %zu: %s", len, ps_buf_cstr(&errors));
	ps_buf_finish(&errors);
}

START_TEST(a_file_cut_anywhere_is_read_or_refused_with_its_line)
{
	for (size_t len = 0; len < sizeof sample; len++)
		read_or_refuse(sample, len);
}
END_TEST

START_TEST(a_file_with_an_octet_replaced_is_read_or_refused)
{
	static const char octets[] = "{}=\"'\\/*#$\n+,(\x01\xff"
				     "0";
	char text[sizeof sample];

	for (size_t at = 0; at < sizeof sample - 1; at++)
		for (size_t i = 0; i < sizeof octets; i++) {
			memcpy(text, sample, sizeof sample);
			text[at] = octets[i];
			read_or_refuse(text, sizeof sample - 1);
		}
}
END_TEST

START_TEST(a_large_file_is_refused)
{
	size_t len = 300 * 1024;
	char *text = ps_malloc(len);

	memset(text, ' ', len);
	read_or_refuse(text, len);
	ck_assert_str_eq(ps_last_error(), "t.conf:1: the file has more than 262144 octets");
	ps_freep(&text);
}
END_TEST

/* ---- showing ---- */

START_TEST(what_is_shown_reads_back_the_same)
{
	struct ps_config *config = read_ok(sample), *again;
	struct ps_buf first = {0}, second = {0};
	bool all = _i;

	ck_assert_ok(ps_config_show(config, all, &first));
	again = read_ok(ps_buf_cstr(&first));
	ck_assert_ok(ps_config_show(again, all, &second));
	ck_assert_str_eq(ps_buf_cstr(&first), ps_buf_cstr(&second));
	ck_assert_str_eq(ps_conf_title(ps_conf_section(ps_config_root(again), "mailbox", 1)),
			 "Entw\xc3\xbcrfe/\"alt\"");
	ck_assert_int_eq(ps_conf_int(ps_conf_section(ps_config_root(again), "limits", 0), "preauth_timeout"), 120);
	ps_buf_finish(&first);
	ps_buf_finish(&second);
	ps_config_destroy(config);
	ps_config_destroy(again);
}
END_TEST

START_TEST(odd_strings_are_shown_so_that_they_read_back)
{
	struct ps_config *config = read_ok("mail_root = '/m/${X} \"q\" \\\\ \\n'\nuser_net = \"a\\tb\\x7fc\"\n"),
			 *again;
	struct ps_buf text = {0};

	ck_assert_str_eq(ps_conf_str(ps_config_root(config), "mail_root"), "/m/${X} \"q\" \\ \\n");
	ck_assert_ok(ps_config_show(config, false, &text));
	again = read_ok(ps_buf_cstr(&text));
	ck_assert_str_eq(ps_conf_str(ps_config_root(again), "mail_root"), "/m/${X} \"q\" \\ \\n");
	ck_assert_str_eq(ps_conf_str(ps_config_root(again), "user_net"), "a\tb\x7f"
									 "c");
	ps_buf_finish(&text);
	ps_config_destroy(config);
	ps_config_destroy(again);
}
END_TEST

/* ---- near words ---- */

/* ---- user databases: what is in their sections is for their own process ---- */

static const struct {
	const char *text;
	size_t kept;
	const char *without;
} databases[] = {
	{"a = 1\nuserdb x { p = \"s}\" }\nb = 2\n", SIZE_MAX, "a = 1\n                     \nb = 2\n"},
	{"userdb x {\np = 1\n}\nuserdb y { p = 2 }\n", 1, "          \n     \n \nuserdb y { p = 2 }\n"},
	{"userdb x { p = 1 }\nuserdb 'y' { p = 2 }", 0, "userdb x { p = 1 }\n                    "},
	{"l { userdb = 1 }\nm = \"userdb x { }\"\n", SIZE_MAX, "l { userdb = 1 }\nm = \"userdb x { }\"\n"},
	{"userdb x { p = 1\n", SIZE_MAX, "                \n"},
};

START_TEST(databases_of_others_are_cut_out)
{
	struct ps_buf out = {0};

	ps_config_text_without_userdb(ps_bytes_str(databases[_i].text), databases[_i].kept, &out);
	ck_assert_str_eq(ps_buf_cstr(&out), databases[_i].without);
	ps_buf_finish(&out);
}
END_TEST

static const struct {
	const char *word, *candidate;
	bool near;
} words[] = {
	{"prot", "port", true},
	{"Port", "port", true},
	{"ports", "port", true},
	{"por", "port", true},
	{"tls", "tsl", true},
	{"a", "b", false},
	{"", "port", false},
	{"xyzt", "port", false},
	{"portal", "port", true},
	{"mail_rot", "mail_root", true},
	{"hostname", "listener", false},
	{"01234567890123456789012345678901234567890123", "port", false},
};

START_TEST(near_words_are_found_and_others_not)
{
	struct ps_near near = {.word = words[_i].word};

	ps_near_offer(&near, words[_i].candidate);
	ck_assert_int_eq(near.best != NULL, words[_i].near);
}
END_TEST

/* ---- files ---- */

START_TEST(files_that_cannot_be_read_are_told)
{
	struct ps_config *config =
		read_ok("mail_root = /etc/hostname\npasswd_file = /nowhere/p\n"
			"tls { certificate = /etc key = /nowhere/k priority = \"NORMAL:+NO-SUCH\" }\n");
	struct ps_buf errors = {0};

	ck_assert_int_lt(ps_config_check_files(config, &errors), 0);
	ck_assert_str_eq(ps_buf_cstr(&errors),
			 "t.conf:1: \"mail_root\": /etc/hostname is not a folder\n"
			 "t.conf:2: \"passwd_file\": cannot read /nowhere/p: No such file or directory\n"
			 "t.conf:3: \"certificate\": /etc is a folder; expected a file\n"
			 "t.conf:3: \"key\": cannot read /nowhere/k: No such file or directory\n"
			 "t.conf:3: \"priority\" in tls: The request is invalid. at \"+NO-SUCH\"\n");
	ps_buf_finish(&errors);
	ps_config_destroy(config);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("read");

	tcase_add_test(tc, a_file_reads_as_it_is_written);
	tcase_add_test(tc, what_is_absent_reads_as_its_default);
	tcase_add_loop_test(tc, an_error_says_where_and_what_was_expected, 0, PS_ARRAY_LEN(bad));
	tcase_add_test(tc, all_errors_are_told_in_the_order_of_lines);
	tcase_add_test(tc, mail_root_must_be_set);
	tcase_add_test(tc, a_missing_file_is_named);
	tcase_add_test(tc, a_file_cut_anywhere_is_read_or_refused_with_its_line);
	tcase_add_test(tc, a_file_with_an_octet_replaced_is_read_or_refused);
	tcase_add_test(tc, a_large_file_is_refused);
	tcase_add_loop_test(tc, what_is_shown_reads_back_the_same, 0, 2);
	tcase_add_test(tc, odd_strings_are_shown_so_that_they_read_back);
	tcase_add_loop_test(tc, databases_of_others_are_cut_out, 0, PS_ARRAY_LEN(databases));
	tcase_add_loop_test(tc, near_words_are_found_and_others_not, 0, PS_ARRAY_LEN(words));
	tcase_add_test(tc, files_that_cannot_be_read_are_told);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
