/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "auth/passwdfile.h"
#include "auth/passwdfile_edit.h"
#include "core/config/config.h"
#include "tests/unit.h"

static const struct ps_user_defaults defaults = {
	.default_domain = "example.test",
	.mail_root = "/srv/mail",
	.mail_location = "%d/%n",
	.backend = "maildir",
	.uid = 1000,
	.gid = 1001,
};

static struct ps_passwd_file *parse(const char *text)
{
	struct ps_passwd_file *file;

	ck_assert_ok(ps_passwd_file_parse(ps_bytes_str(text), "test", &defaults, &file));
	return file;
}

static const struct {
	const char *line;
	const char *name, *password, *home, *backend, *root; /* name NULL: the line is an error */
} lines[] = {
	{"alice:{PLAIN}x", "alice@example.test", "{PLAIN}x", "/srv/mail/example.test/alice", "maildir",
	 "/srv/mail/example.test/alice"},
	{"Alice@Other.test:{PLAIN}x\r", "alice@other.test", "{PLAIN}x", "/srv/mail/other.test/alice", "maildir",
	 "/srv/mail/other.test/alice"},
	{"alice:$1$1l6UGzBP$XgLtkCZ8aV", "alice@example.test", "$1$1l6UGzBP$XgLtkCZ8aV", "/srv/mail/example.test/alice",
	 "maildir", "/srv/mail/example.test/alice"},
	{"alice:{PLAIN}x:1000:1001:Alice A:/home/alice:/bin/false:", "alice@example.test", "{PLAIN}x", "/home/alice",
	 "maildir", "/srv/mail/example.test/alice"},
	{"alice:{PLAIN}x::::/srv/mail/a::userdb_mail=maildir:~/Maildir", "alice@example.test", "{PLAIN}x",
	 "/srv/mail/a", "maildir", "/srv/mail/a/Maildir"},
	{"alice:{PLAIN}x::::::mail=memory:/srv/mail/%d/%u userdb_quota_rule=*:storage=1G", "alice@example.test",
	 "{PLAIN}x", "/srv/mail/example.test/alice@example.test", "memory",
	 "/srv/mail/example.test/alice@example.test"},
	{"alice:{PLAIN}x::::::backend=memory", "alice@example.test", "{PLAIN}x", "/srv/mail/example.test/alice",
	 "memory", "/srv/mail/example.test/alice"},
	{"alice:{PLAIN}x::::::mail=/srv/mail//x///y/", "alice@example.test", "{PLAIN}x", "/srv/mail/x/y", "maildir",
	 "/srv/mail/x/y"},
	{"alice:{PLAIN}x::::::home=/srv/mail/h mail=maildir:%h/%%n", "alice@example.test", "{PLAIN}x", "/srv/mail/h",
	 "maildir", "/srv/mail/h/%n"},
	{"alice:{PLAIN}x:1000:1001::::allow_nets=192.0.2.0/24", "alice@example.test", "{PLAIN}x",
	 "/srv/mail/example.test/alice", "maildir", "/srv/mail/example.test/alice"},

	{"alice", NULL, NULL, NULL, NULL, NULL},
	{"alice:", NULL, NULL, NULL, NULL, NULL},
	{":{PLAIN}x", NULL, NULL, NULL, NULL, NULL},
	{"al/ice:{PLAIN}x", NULL, NULL, NULL, NULL, NULL},
	{"../alice:{PLAIN}x", NULL, NULL, NULL, NULL, NULL},
	{"alice:{NOSUCH}x", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x:0:1001", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x:1000:0", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x:vmail:1001", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::userdb_uid=5", NULL, NULL, NULL, NULL, NULL},
	{"alice:::::::nopassword", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::nopassword=y", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::proxy=y host=192.0.2.1", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::backend=", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::allow_nets=", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::allow_nets=local", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::mail=maildir:/home/alice/Maildir", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::mail=maildir:/srv/mail", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::mail=maildir:/srv/mailbox/x", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::mail=maildir:/srv/mail/../etc", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::mail=maildir:/srv/mail/x/..", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::mail=maildir:~/Maildir", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::mail=maildir:/srv/mail/x:LAYOUT=fs", NULL, NULL, NULL, NULL, NULL},
	{"alice:{PLAIN}x::::::mail=maildir:/srv/mail/%q", NULL, NULL, NULL, NULL, NULL},
};

START_TEST(a_line_gives_a_user_or_is_passed_over)
{
	char text[512];
	struct ps_passwd_file *file;
	const struct ps_user_entry *user;

	/* Between others, which must not suffer. */
	snprintf(text, sizeof text, "# comment\n\nbefore:{PLAIN}b\n%s\nafter:{PLAIN}a", lines[_i].line);
	file = parse(text);
	ck_assert_ptr_nonnull(ps_passwd_file_find(file, "before@example.test"));
	ck_assert_ptr_nonnull(ps_passwd_file_find(file, "after@example.test"));
	ck_assert_uint_eq(ps_passwd_file_count(file), lines[_i].name ? 3 : 2);
	if (lines[_i].name) {
		user = ps_passwd_file_find(file, lines[_i].name);
		ck_assert_ptr_nonnull(user);
		ck_assert_str_eq(user->password, lines[_i].password);
		ck_assert_str_eq(user->info.home, lines[_i].home);
		ck_assert_str_eq(user->info.backend, lines[_i].backend);
		ck_assert_str_eq(user->info.root, lines[_i].root);
		ck_assert_uint_eq(user->info.uid, 1000);
		ck_assert_uint_eq(user->info.gid, 1001);
	}
	ps_passwd_file_destroy(file);
}
END_TEST

START_TEST(a_nul_in_a_line_spoils_that_line_only)
{
	static const char text[] = "a:{PLAIN}x\nb\0c:{PLAIN}x\nd:{PLAIN}x\n";
	struct ps_passwd_file *file;

	ck_assert_ok(ps_passwd_file_parse(ps_bytes(text, sizeof text - 1), "test", &defaults, &file));
	ck_assert_uint_eq(ps_passwd_file_count(file), 2);
	ps_passwd_file_destroy(file);
}
END_TEST

START_TEST(the_first_line_of_a_name_counts)
{
	struct ps_passwd_file *file =
		parse("z:{PLAIN}0\nb:{PLAIN}1\nB@example.test:{PLAIN}2\na:{PLAIN}3\nb:{PLAIN}4\n");

	ck_assert_uint_eq(ps_passwd_file_count(file), 3);
	ck_assert_str_eq(ps_passwd_file_find(file, "b@example.test")->password, "{PLAIN}1");
	ps_passwd_file_destroy(file);
}
END_TEST

START_TEST(an_empty_file_has_nobody)
{
	struct ps_passwd_file *file = parse("");

	ck_assert_ptr_null(ps_passwd_file_stand_in(file));
	ck_assert_ptr_null(ps_passwd_file_find(file, "alice@example.test"));
	ps_passwd_file_destroy(file);
}
END_TEST

static const struct {
	const char *text, *stand_in;
} stand_ins[] = {
	{"a:{PLAIN}x\n", "{PLAIN}x"},
	{"a:{PLAIN}x\nb:{PLAIN}y\nc:$6$salt$hash\n", "$6$salt$hash"},
	{"a:$1$s$h\nb:{SHA512-CRYPT}$6$s$h\nc:{CRYPT}$6$t$i\n", "{SHA512-CRYPT}$6$s$h"},
	{"a:$6$rounds=9000$s$h\nb:$6$s$h\nc:$6$rounds=9000$t$i\n", "$6$rounds=9000$s$h"},
	{"a:$2b$05$h\nb:$2b$12$i\nc:$2b$12$j\n", "$2b$12$i"},
	{"a:{CRYPT}*\nb:{CRYPT}!\nc:$y$j9T$s$h\n", "$y$j9T$s$h"},
};

START_TEST(who_does_not_exist_costs_what_most_do)
{
	struct ps_passwd_file *file = parse(stand_ins[_i].text);

	ck_assert_str_eq(ps_passwd_file_stand_in(file), stand_ins[_i].stand_in);
	ps_passwd_file_destroy(file);
}
END_TEST

START_TEST(an_error_tells_nothing_of_a_password)
{
	/* A colon in it makes the rest look like other fields. */
	struct ps_passwd_file *file = parse("a:{PLAIN}secret1:secret2\n");

	ck_assert_uint_eq(ps_passwd_file_count(file), 0);
	ck_assert_ptr_null(strstr(ps_last_error(), "secret"));
	ps_passwd_file_destroy(file);
}
END_TEST

START_TEST(nologin_and_networks_are_kept)
{
	struct ps_passwd_file *file = parse("a:{PLAIN}x::::::nologin allow_nets=192.0.2.1,2001:db8::/32\n");
	const struct ps_user_entry *user = ps_passwd_file_find(file, "a@example.test");

	ck_assert(user->nologin);
	ck_assert_str_eq(user->allow_nets, "192.0.2.1,2001:db8::/32");
	ps_passwd_file_destroy(file);
}
END_TEST

static const struct {
	const char *line, *name, *backend, *root;
} in_domains[] = {
	{"a@example.test:{PLAIN}x", "a@example.test", "maildir", "/srv/mail/example.test/a"},
	{"a@lists.test:{PLAIN}x", "a@lists.test", "mbox", "/srv/mail/lists.test/a"},
	{"a@Big.Test:{PLAIN}x", "a@big.test", "lmdb", "/srv/mail/big/a"},
	{"a@big.test:{PLAIN}x::::::backend=mbox", "a@big.test", "mbox", "/srv/mail/big/a"},
	{"a@xn--bcher-kva.test:{PLAIN}x", "a@xn--bcher-kva.test", "lmdb", "/srv/mail/xn--bcher-kva.test/a"},
	{"a@big.test:{PLAIN}x::::::mail=/srv/mail/x", "a@big.test", "lmdb", "/srv/mail/x"},
	{"a@big.test:{PLAIN}x::::::mail=maildir:/srv/mail/x", "a@big.test", "maildir", "/srv/mail/x"},
};

START_TEST(a_user_counts_before_the_domain_and_the_domain_before_the_server)
{
	static const char text[] = "mail_root = /srv/mail\n"
				   "domain \"lists.test\" { backend = mbox }\n"
				   "domain \"b\xc3\xbc"
				   "cher.test\" { backend = lmdb }\n"
				   "domain \"BIG.test\" { backend = lmdb mail_location = \"big/%n\" }\n";
	struct ps_user_defaults from_config;
	struct ps_passwd_file *file;
	const struct ps_user_entry *user;
	struct ps_config *config;

	ck_assert_ok(ps_config_read("t.conf", ps_bytes_str(text), NULL, &config));
	ps_user_defaults_from(ps_config_root(config), 1000, 1001, &from_config);
	ck_assert_ok(ps_passwd_file_parse(ps_bytes_str(in_domains[_i].line), "test", &from_config, &file));
	user = ps_passwd_file_find(file, in_domains[_i].name);
	ck_assert_ptr_nonnull(user);
	ck_assert_str_eq(user->info.backend, in_domains[_i].backend);
	ck_assert_str_eq(user->info.root, in_domains[_i].root);
	ps_passwd_file_destroy(file);
	ps_config_destroy(config);
}
END_TEST

/* ---- changing a file -------------------------------------------------------------------------------- */

static char dir[64], path[96];

static void set_up(void)
{
	strcpy(dir, "/tmp/postern-passwd-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/users", dir);
}

static void tear_down(void)
{
	unit_remove(dir);
}

static void write_file(const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);

	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void check_file(const char *expected)
{
	struct ps_buf text = {0};
	int fd = open(path, O_RDONLY);

	ck_assert_int_ge(fd, 0);
	ck_assert_ok(ps_passwd_read_fd(fd, path, &text));
	close(fd);
	ck_assert_str_eq(ps_buf_cstr(&text), expected);
	ps_buf_finish(&text);
}

static const struct {
	const char *before;
	char edit; /* a, s, r */
	const char *user;
	int r;
	const char *after;
} edits[] = {
	{"", 'a', "alice", 0, "alice@d.test:{H}1::::::\n"},
	{"# top\nbob:{X}y\n", 'a', "alice", 0, "# top\nbob:{X}y\nalice@d.test:{H}1::::::\n"},
	{"bob:{X}y", 'a', "alice@x.test", 0, "bob:{X}y\nalice@x.test:{H}1::::::\n"},
	{"Alice:{X}y\n", 'a', "alice@d.test", PS_E_EXISTS, NULL},
	{"bob:{X}y\n# c\nalice:{X}y:1:2:Alice:/h:/s:extra=a:b\nlast\n", 's', "ALICE", 0,
	 "bob:{X}y\n# c\nalice:{H}1:1:2:Alice:/h:/s:extra=a:b\nlast\n"},
	{"alice:{X}y\n", 's', "alice", 0, "alice:{H}1\n"},
	{"alice:\n", 's', "alice", 0, "alice:{H}1\n"},
	{"alicex:{X}y\n", 's', "alice", PS_E_NOTFOUND, NULL},
	{"#alice:{X}y\n", 's', "alice", PS_E_NOTFOUND, NULL},
	{"a:{X}1\nalice:{X}y\nb:{X}2\n", 'r', "alice", 0, "a:{X}1\nb:{X}2\n"},
	{"a:{X}1\n", 'r', "alice", PS_E_NOTFOUND, NULL},
	{"a:{X}1\n", 'a', "../alice", PS_E_INVALID, NULL},
	{"a:{X}1\n", 'a', "x:y", PS_E_INVALID, NULL},
};

static int edit(char what, const char *user, const char *hash)
{
	if (what == 'a')
		return ps_passwd_file_add(path, "d.test", user, hash);
	if (what == 's')
		return ps_passwd_file_set_password(path, "d.test", user, hash);
	return ps_passwd_file_remove(path, "d.test", user);
}

START_TEST(an_edit_changes_its_line_and_nothing_else)
{
	struct stat st;

	set_up();
	write_file(edits[_i].before);
	chmod(path, 0640);
	ck_assert_int_eq(edit(edits[_i].edit, edits[_i].user, "{H}1"), edits[_i].r);
	check_file(edits[_i].after ? edits[_i].after : edits[_i].before);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0640);
	tear_down();
}
END_TEST

START_TEST(adding_makes_the_file_for_its_owner_only)
{
	struct stat st;

	set_up();
	ck_assert_int_eq(edit('s', "alice", "{H}1"), PS_E_NOTFOUND);
	ck_assert_ok(edit('a', "alice", "{H}1"));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	tear_down();
}
END_TEST

START_TEST(a_hash_cannot_bring_in_a_line_or_field)
{
	set_up();
	write_file("");
	ck_assert_int_eq(edit('a', "alice", "{H}1\nroot:{PLAIN}x"), PS_E_INVALID);
	ck_assert_int_eq(edit('a', "alice", "{H}1:0:0"), PS_E_INVALID);
	ck_assert_int_eq(edit('a', "alice", ""), PS_E_INVALID);
	check_file("");
	tear_down();
}
END_TEST

START_TEST(the_file_behind_a_symbolic_link_is_changed)
{
	char real[128];
	struct stat st;

	set_up();
	snprintf(real, sizeof real, "%s/real", dir);
	write_file("bob:{X}y\n");
	ck_assert_int_eq(rename(path, real), 0);
	ck_assert_int_eq(symlink("real", path), 0);
	ck_assert_ok(edit('a', "alice", "{H}1"));
	check_file("bob:{X}y\nalice@d.test:{H}1::::::\n");
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	tear_down();
}
END_TEST

static int list_one(void *arg, const char *user)
{
	struct ps_buf *out = arg;

	ps_buf_printf(out, "%s ", user);
	return 0;
}

START_TEST(a_list_is_in_the_files_order)
{
	struct ps_buf out = {0};

	set_up();
	write_file("# c\nzoe:{X}y\nAnn@x.test:{X}y\nbad/name:{X}y\nbob:{X}y");
	ck_assert_ok(ps_passwd_file_list(path, "d.test", list_one, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "zoe@d.test ann@x.test bob@d.test ");
	ps_buf_finish(&out);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("passwdfile");
	TCase *tc = tcase_create("passwdfile");

	tcase_add_loop_test(tc, a_line_gives_a_user_or_is_passed_over, 0, PS_ARRAY_LEN(lines));
	tcase_add_test(tc, a_nul_in_a_line_spoils_that_line_only);
	tcase_add_test(tc, the_first_line_of_a_name_counts);
	tcase_add_test(tc, an_empty_file_has_nobody);
	tcase_add_loop_test(tc, who_does_not_exist_costs_what_most_do, 0, PS_ARRAY_LEN(stand_ins));
	tcase_add_test(tc, an_error_tells_nothing_of_a_password);
	tcase_add_test(tc, nologin_and_networks_are_kept);
	tcase_add_loop_test(tc, a_user_counts_before_the_domain_and_the_domain_before_the_server, 0,
			    PS_ARRAY_LEN(in_domains));
	tcase_add_loop_test(tc, an_edit_changes_its_line_and_nothing_else, 0, PS_ARRAY_LEN(edits));
	tcase_add_test(tc, adding_makes_the_file_for_its_owner_only);
	tcase_add_test(tc, a_hash_cannot_bring_in_a_line_or_field);
	tcase_add_test(tc, the_file_behind_a_symbolic_link_is_changed);
	tcase_add_test(tc, a_list_is_in_the_files_order);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
