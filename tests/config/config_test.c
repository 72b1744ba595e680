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
	ck_assert_str_eq(ps_conf_title(ps_conf_section(root, "mailbox", 1)),
			 "Entw\xc3\xbcrfe/\"alt\"");
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

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("read");

	tcase_add_test(tc, a_file_reads_as_it_is_written);
	tcase_add_test(tc, what_is_absent_reads_as_its_default);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
