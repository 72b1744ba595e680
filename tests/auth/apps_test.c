/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "auth/apps.h"
#include "auth/passwords.h"
#include "tests/unit.h"

static const char lines[] = "# comment\n"
			    "joe@example.test:{PLAIN}x:id=abcdefgh made=100 expires=200 protocols=imap,pop3 "
			    "nets=192.0.2.0/24 name=My phone\n"
			    "joe@example.test:{PLAIN}y:id=jkmnpqrs made=100\n"
			    "jim@example.test:{PLAIN}z:id=short made=100\n"
			    "jim@example.test:{NOSUCH}z:id=22222222 made=100\n"
			    "jim@example.test:{PLAIN}z:id=33333333 made=100 shoesize=44\n"
			    "jim@example.test:{PLAIN}z:id=44444444 made=100 nets=all\n"
			    "jim@example.test:{PLAIN}z:id=55555555 made=soon\n";

START_TEST(lines_are_read_and_bad_ones_passed_over)
{
	struct ps_apps *apps = ps_apps_parse(ps_bytes_str(lines), "test");
	const struct ps_app *app = ps_apps_nth(apps, 0);

	ck_assert_str_eq(app->user, "joe@example.test");
	ck_assert_str_eq(app->id, "abcdefgh");
	ck_assert_uint_eq(app->expires, 200);
	ck_assert_str_eq(app->name, "My phone");
	ck_assert_str_eq(ps_apps_nth(apps, 1)->id, "jkmnpqrs");
	ck_assert_str_eq(ps_apps_nth(apps, 1)->name, "");
	ck_assert_ptr_null(ps_apps_nth(apps, 2));
	ps_apps_destroy(apps);
}
END_TEST

static const struct {
	const char *user, *password, *id; /* NULL: none is meant */
} meant[] = {
	{"joe@example.test", "abcdefgh2222222222222222", "abcdefgh"},
	{"joe@example.test", "ABCD-efgh-2222-2222-2222-2222", "abcdefgh"},
	{"joe@example.test", "abcd efgh 2222 2222 2222 2222", "abcdefgh"},
	{"joe@example.test", "abcdefgh222222222222222", NULL},
	{"joe@example.test", "abcdefgh22222222222222222", NULL},
	{"joe@example.test", "abcdefgh2222222222222/22", NULL},
	{"joe@example.test", "", NULL},
	{"joe@example.test", "zzzzzzzz2222222222222222", NULL},
	{"jim@example.test", "abcdefgh2222222222222222", NULL},
};

START_TEST(a_password_tells_which_it_is)
{
	struct ps_apps *apps = ps_apps_parse(ps_bytes_str(lines), "test");
	char spelt[PS_APP_PASSWORD_LEN + 1];
	const struct ps_app *app = ps_apps_meant(apps, meant[_i].user, ps_bytes_str(meant[_i].password), spelt);

	ck_assert(!app == !meant[_i].id);
	if (app) {
		ck_assert_str_eq(app->id, meant[_i].id);
		ck_assert_str_eq(spelt, "abcdefgh2222222222222222");
	}
	ps_apps_destroy(apps);
}
END_TEST

START_TEST(it_is_kept_to_its_scope)
{
	struct ps_apps *apps = ps_apps_parse(ps_bytes_str(lines), "test");
	const struct ps_app *scoped = ps_apps_nth(apps, 0), *any = ps_apps_nth(apps, 1);

	ck_assert_ptr_null(ps_app_refuses(scoped, "imap", "192.0.2.1:1", 199));
	ck_assert_str_eq(ps_app_refuses(scoped, "imap", "192.0.2.1:1", 200), "app_password_expired");
	ck_assert_str_eq(ps_app_refuses(scoped, "submission", "192.0.2.1:1", 150), "app_password_protocol");
	ck_assert_str_eq(ps_app_refuses(scoped, "pop3", "198.51.100.1:1", 150), "app_password_net");
	ck_assert_ptr_null(ps_app_refuses(any, "submission", "[2001:db8::1]:1", UINT32_MAX));
	ps_apps_destroy(apps);
}
END_TEST

START_TEST(uses_are_noted_each_in_its_place)
{
	char path[] = "/tmp/postern-apps-XXXXXX", text[200] = "";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ps_app_note_use(fd, "abcdefgh", 1000);
	ps_app_note_use(fd, "jkmnpqrs", 2000);
	ps_app_note_use(fd, "abcdefgh", 1059); /* the same minute */
	ps_app_note_use(fd, "abcdefgh", 3000);
	ck_assert_int_gt(pread(fd, text, sizeof text - 1, 0), 0);
	ck_assert_str_eq(text, "abcdefgh 0000003000\njkmnpqrs 0000002000\n");
	ck_assert_uint_eq(ps_app_last_use(ps_bytes_str(text), "jkmnpqrs"), 2000);
	ck_assert_uint_eq(ps_app_last_use(ps_bytes_str(text), "22222222"), 0);
	ck_assert_uint_eq(ps_app_last_use(ps_bytes_str("abcdefgh 00000"), "abcdefgh"), 0);
	close(fd);
	unlink(path);
}
END_TEST

START_TEST(what_is_made_is_found_right_and_removed)
{
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_app app = {.user = "joe@example.test", .made = 7, .protocols = "imap", .name = "a phone"};
	char dir[] = "/tmp/postern-apps-XXXXXX", path[64], password[32], spelt[PS_APP_PASSWORD_LEN + 1];
	const struct ps_app *found;
	struct ps_apps *apps;
	struct stat st;
	char text[1000] = "";
	FILE *file;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/apps", dir);
	ck_assert_ok(ps_app_add(path, pool, &app, password));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_gt(fread(text, 1, sizeof text - 1, file), 0);
	fclose(file);
	ck_assert_ptr_null(strstr(text, password));
	apps = ps_apps_parse(ps_bytes_str(text), path);
	found = ps_apps_meant(apps, "joe@example.test", ps_bytes_str(password), spelt);
	ck_assert_ptr_nonnull(found);
	ck_assert_str_eq(found->name, "a phone");
	ck_assert_ok(ps_password_check(found->hash, ps_bytes_str(spelt)));
	ck_assert_int_eq(ps_app_remove(path, "jim@example.test", found->id), PS_E_NOTFOUND);
	ck_assert_ok(ps_app_remove(path, "joe@example.test", found->id));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	ps_apps_destroy(apps);
	ps_pool_destroy(pool);
	unlink(path);
	snprintf(path, sizeof path, "%s/apps.lock", dir);
	unlink(path);
	rmdir(dir);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("apps");
	TCase *tc = tcase_create("apps");

	tcase_add_test(tc, lines_are_read_and_bad_ones_passed_over);
	tcase_add_loop_test(tc, a_password_tells_which_it_is, 0, PS_ARRAY_LEN(meant));
	tcase_add_test(tc, it_is_kept_to_its_scope);
	tcase_add_test(tc, uses_are_noted_each_in_its_place);
	tcase_add_test(tc, what_is_made_is_found_right_and_removed);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
