/* SPDX-License-Identifier: MIT */
/* Sections of plugins, with a plugin that has a setting of every type. */
#include "core/config/config.h"
#include "core/process/plugins.h"
#include "tests/unit.h"

static struct ps_config *read_ok(const char *text)
{
	struct ps_config *config = NULL;

	ck_assert_ok(ps_config_read("t.conf", ps_bytes_str(text), NULL, &config));
	return config;
}

static void load(void)
{
	const struct ps_plugin *plugin;

	ck_assert_ok(ps_plugin_load(EVERY_PLUGIN, &plugin));
}

static const char sample[] = "mail_root = /m\nbackend = every\n"
			     "backend every {\n"
			     "truth = yes number = -7 size = 3G time = 2h\n"
			     "text = \"it's\" choice = crlf list = { \"a b\", c }\n"
			     "one { depth = 5 } many \"x y\" { depth = -5 } many z { }\n"
			     "}\n";

/* The ways to write `backend every {` that mean the same. */
static const char *const spellings[] = {
	"backend every {",
	"backend \"every\" {",
	"backend 'every' {",
	"backend\tevery{",
	"backend\"every\"{",
	"backend every\n{",
	"backend /* x */ every // y\n{",
};

START_TEST(a_plugins_section_is_found_however_it_is_written)
{
	struct ps_buf text = {0};
	struct ps_config *config;

	ps_buf_printf(&text, "mail_root = /m backend = every\n%s number = 4 }\n", spellings[_i]);
	config = read_ok(ps_buf_cstr(&text));
	ck_assert_int_eq(ps_conf_int(ps_config_plugin(config, "backend", "every"), "number"), 4);
	ps_config_destroy(config);
	ps_buf_finish(&text);
}
END_TEST

static void check_sample(const struct ps_config *config)
{
	const struct ps_conf *conf = ps_conf_plugin(ps_config_root(config), "backend", "every");

	ck_assert(ps_conf_bool(conf, "truth"));
	ck_assert_int_eq(ps_conf_int(conf, "number"), -7);
	ck_assert_int_eq(ps_conf_int(conf, "size"), INT64_C(3) << 30);
	ck_assert_int_eq(ps_conf_int(conf, "time"), 7200);
	ck_assert_str_eq(ps_conf_str(conf, "text"), "it's");
	ck_assert_str_eq(ps_conf_str(conf, "choice"), "crlf");
	ck_assert_uint_eq(ps_conf_list_size(conf, "list"), 2);
	ck_assert_str_eq(ps_conf_list_nth(conf, "list", 0), "a b");
	ck_assert_ptr_null(ps_conf_list_nth(conf, "list", 2));
	ck_assert_int_eq(ps_conf_int(ps_conf_section(conf, "one", 0), "depth"), 5);
	ck_assert_uint_eq(ps_conf_section_count(conf, "many"), 2);
	ck_assert_str_eq(ps_conf_title(ps_conf_section(conf, "many", 0)), "x y");
	ck_assert_int_eq(ps_conf_int(ps_conf_section(conf, "many", 0), "depth"), -5);
	ck_assert_int_eq(ps_conf_int(ps_conf_section(conf, "many", 1), "depth"), 1);
}

START_TEST(every_type_reads_and_what_is_shown_reads_back_the_same)
{
	struct ps_config *config = read_ok(sample), *again;
	struct ps_buf text = {0};

	check_sample(config);
	ck_assert_ok(ps_config_show(config, _i, &text));
	again = read_ok(ps_buf_cstr(&text));
	check_sample(again);
	ps_config_destroy(config);
	ps_config_destroy(again);
	ps_buf_finish(&text);
}
END_TEST

/* Nor is one that is not set told to be. */
START_TEST(a_secret_is_shown_to_who_asks_for_it)
{
	struct ps_config *config =
		read_ok("mail_root = /m backend = every backend every { text = \"seen\" key = \"k3y\" }");
	struct ps_buf hidden = {0}, shown = {0};

	ck_assert_ok(ps_config_show(config, PS_SHOW_ALL, &hidden));
	ck_assert_ptr_null(strstr(ps_buf_cstr(&hidden), "k3y"));
	ck_assert_ptr_nonnull(strstr(ps_buf_cstr(&hidden), "key = \"(hidden)\""));
	ck_assert_ptr_nonnull(strstr(ps_buf_cstr(&hidden), "text = \"seen\""));
	ck_assert_ptr_null(strstr(ps_buf_cstr(&hidden), "keys = { \"(hidden)\" }"));
	ck_assert_ok(ps_config_show(config, PS_SHOW_SECRETS, &shown));
	ck_assert_ptr_nonnull(strstr(ps_buf_cstr(&shown), "key = \"k3y\""));
	ps_buf_finish(&hidden);
	ps_buf_finish(&shown);
	ps_config_destroy(config);
}
END_TEST

START_TEST(an_absent_section_reads_as_its_defaults)
{
	struct ps_config *config = read_ok("mail_root = /m\nbackend = every\n");
	const struct ps_conf *conf = ps_config_plugin(config, "backend", "every");

	ck_assert(!ps_conf_bool(conf, "truth"));
	ck_assert_int_eq(ps_conf_int(conf, "number"), -3);
	ck_assert_int_eq(ps_conf_int(conf, "size"), 10240);
	ck_assert_int_eq(ps_conf_int(conf, "time"), 90);
	ck_assert_str_eq(ps_conf_str(conf, "text"), "a b");
	ck_assert_uint_eq(ps_conf_list_size(conf, "list"), 2);
	ck_assert_str_eq(ps_conf_list_nth(conf, "list", 1), "y");
	ck_assert_int_eq(ps_conf_int(ps_conf_section(conf, "one", 0), "depth"), 1);
	ck_assert_ptr_null(ps_config_plugin(config, "backend", "other"));
	ck_assert_ptr_null(ps_config_plugin(config, "protocol", "every"));
	ps_config_destroy(config);
}
END_TEST

START_TEST(a_list_can_be_empty_or_added_to)
{
	struct ps_config *config = read_ok("mail_root = /m backend = every backend every { list = { } }");

	ck_assert_uint_eq(ps_conf_list_size(ps_config_plugin(config, "backend", "every"), "list"), 0);
	ps_config_destroy(config);
	config = read_ok("mail_root = /m backend = every backend every { list = { a } list += { b, c } }");
	ck_assert_uint_eq(ps_conf_list_size(ps_config_plugin(config, "backend", "every"), "list"), 3);
	ps_config_destroy(config);
}
END_TEST

/* No protocol is loaded here, as in a role that needs none: its sections were checked by master. */
START_TEST(sections_of_a_kind_without_plugins_are_passed_over)
{
	struct ps_config *config = read_ok("mail_root = /m backend = every\n"
					   "protocol imap { what = ever list = { a, b } deep { } }\n"
					   "listener a { protocol = nonsuch port = 1 tls = none }\n");

	ck_assert_ptr_null(ps_config_plugin(config, "protocol", "imap"));
	ps_config_destroy(config);
}
END_TEST

static const struct {
	const char *text; /* after mail_root and backend, in line 1 */
	const char *error;
} bad[] = {
	{"backend evry { }", "t.conf:2: no backend \"evry\" is installed; did you mean \"every\"?\n"},
	{"backend zzzzzz { }", "t.conf:2: no backend \"zzzzzz\" is installed\n"},
	{"backend \"a b\" { }", "t.conf:2: \"a b\" is no name of a backend\n"},
	{"backend\nevery { }", "t.conf:2: the name of the backend must be in this line\n"},
	{"backend every { nmber = 1 }",
	 "t.conf:2: unknown setting \"nmber\" in backend \"every\"; did you mean \"number\"?\n"},
	{"backend every { size = big }",
	 "t.conf:2: \"size\" in backend \"every\" must be a size such as 64K, 10M or 1G, not \"big\"\n"},
	{"backend every { choice = cr }",
	 "t.conf:2: \"choice\" in backend \"every\" must be \"lf\" or \"crlf\" (did you "
	 "mean \"crlf\"?), not \"cr\"\n"},
	{"backend every { nets = { 192.0.2.1, \"2001:db8::/32\", \"192.0.2.0/33\" } }",
	 "t.conf:2: \"nets\" in backend \"every\" takes addresses and networks such as 192.0.2.0/24, not "
	 "\"192.0.2.0/33\"\n"},
	{"backend every { nets = { \"127.0.0.1:25\" } }", "t.conf:2: \"nets\" in backend \"every\" takes addresses and "
							  "networks such as 192.0.2.0/24, not \"127.0.0.1:25\"\n"},
	{"backend every { levels = { 1, 100, 101 } }",
	 "t.conf:2: \"levels\" in backend \"every\" takes whole numbers from 1 to 100, not \"101\"\n"},
	{"backend every { levels = { \"50%\" } }",
	 "t.conf:2: \"levels\" in backend \"every\" takes whole numbers from 1 to 100, not \"50%\"\n"},
	{"backend every { one { depth = 6 } }",
	 "t.conf:2: \"depth\" in one must be a whole number from -5 to 5, not \"6\"\n"},
	{"backend every { }\nbackend every { }",
	 "t.conf:3: the section \"every\" that ends here is there a second time\n"},
	{"backend every { list = { a, b }",
	 "t.conf:2: the section or list after every is not closed: a } is missing\n"},
};

START_TEST(an_error_names_the_plugin)
{
	struct ps_buf text = {0}, errors = {0};
	struct ps_config *config;

	ps_buf_printf(&text, "mail_root = /m backend = every\n%s\n", bad[_i].text);
	ck_assert_int_lt(ps_config_read("t.conf", ps_buf_view(&text), &errors, &config), 0);
	ck_assert_str_eq(ps_buf_cstr(&errors), bad[_i].error);
	ps_buf_finish(&text);
	ps_buf_finish(&errors);
}
END_TEST

START_TEST(a_file_cut_anywhere_is_read_or_refused)
{
	for (size_t len = 0; len < sizeof sample; len++) {
		struct ps_config *config = NULL;
		struct ps_buf errors = {0};

		if (ps_config_read("t.conf", ps_bytes(sample, len), &errors, &config) == 0)
			ps_config_destroy(config);
		else
			ck_assert_uint_eq(strncmp(ps_buf_cstr(&errors), "t.conf:", 7), 0);
		ps_buf_finish(&errors);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plugin");
	TCase *tc = tcase_create("section");

	tcase_add_unchecked_fixture(tc, load, NULL);
	tcase_add_loop_test(tc, a_plugins_section_is_found_however_it_is_written, 0, PS_ARRAY_LEN(spellings));
	tcase_add_loop_test(tc, every_type_reads_and_what_is_shown_reads_back_the_same, 0, 2);
	tcase_add_test(tc, a_secret_is_shown_to_who_asks_for_it);
	tcase_add_test(tc, an_absent_section_reads_as_its_defaults);
	tcase_add_test(tc, a_list_can_be_empty_or_added_to);
	tcase_add_test(tc, sections_of_a_kind_without_plugins_are_passed_over);
	tcase_add_loop_test(tc, an_error_names_the_plugin, 0, PS_ARRAY_LEN(bad));
	tcase_add_test(tc, a_file_cut_anywhere_is_read_or_refused);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
