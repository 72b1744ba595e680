/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/process/plugins.h"
#include "tests/unit.h"

static const struct {
	const char *file;
	int r;
	const char *says; /* a piece of the sentence */
} odd[] = {
	{"nosymbol", PS_E_INVALID, "exports no postern_plugin"},
	{"short", PS_E_INVALID, "symbol postern_plugin has 4 octets"},
	{"major", PS_E_UNSUPPORTED, "built for plugin ABI 7.0, this server has"},
	{"minor", PS_E_UNSUPPORTED, "this server has 0."},
	{"older", PS_E_UNSUPPORTED, "this server has 0."},
	{"size", PS_E_UNSUPPORTED, "its plugin struct has 8 octets"},
	{"kind", PS_E_UNSUPPORTED, "plugin of kind 77, this server knows"},
	{"opssize", PS_E_UNSUPPORTED, "its backend functions have 8 octets"},
	{"lacking", PS_E_INVALID, "this backend has no commit"},
	{"renamed", PS_E_INVALID, "calls itself \"other\""},
	{"otherbuild", PS_E_UNSUPPORTED, "of build 0.0-elsewhere, this server is"},
	{"missing", PS_E_NOTFOUND, "missing.so"},
};

static const char *path_of(const char *file)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s.so", ODD_PLUGINS, file);
	return path;
}

START_TEST(what_does_not_fit_is_refused_in_one_line_with_the_path)
{
	const struct ps_plugin *plugin = NULL;
	int r = ps_plugin_load(path_of(odd[_i].file), &plugin);

	ck_assert_int_eq(r, odd[_i].r);
	ck_assert_ptr_null(plugin);
	ck_assert_msg(strstr(ps_last_error(), odd[_i].says) != NULL, "said: %s", ps_last_error());
	ck_assert_ptr_nonnull(strstr(ps_last_error(), path_of(odd[_i].file)));
	ck_assert_ptr_null(strchr(ps_last_error(), '\n'));
	ck_assert_ptr_null(ps_plugin_nth(0));
}
END_TEST

START_TEST(what_fits_is_loaded_once_and_found)
{
	const struct ps_plugin *first, *again, *other;

	ck_assert_ok(ps_plugin_load(path_of("good"), &first));
	ck_assert_ok(ps_plugin_load(path_of("good"), &again));
	ck_assert_ok(ps_plugin_load(path_of("inbuild"), &other));
	ck_assert_ptr_eq(first, again);
	ck_assert_ptr_eq(ps_plugin_find(PS_PLUGIN_BACKEND, "good"), first);
	ck_assert_ptr_null(ps_plugin_find(PS_PLUGIN_PROTOCOL, "good"));
	ck_assert_ptr_nonnull(ps_backend_find("good"));
	ck_assert_ptr_null(ps_backend_find("bad"));
	ck_assert_ptr_eq(ps_plugin_nth(1), other);
	ck_assert_ptr_null(ps_plugin_nth(2));
}
END_TEST

/* A copy of `file` as DIR/BELOW/NAME.so, with the folders. */
static void put(const char *dir, const char *below, const char *file)
{
	char command[3 * PATH_MAX];

	snprintf(command, sizeof command, "mkdir -p %s/%s && cp %s %s/%s/", dir, below, path_of(file), dir, below);
	ck_assert_int_eq(system(command), 0);
}

static void drop(const char *dir)
{
	unit_remove(dir);
}

static const char *const places[] = {".", ".libs", "backends", "backends/.libs", "backends/good/.libs"};

START_TEST(a_plugin_is_found_in_each_place_of_the_search)
{
	char dir[] = "/tmp/postern-plugins-XXXXXX", list[64];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	put(dir, places[_i], "good");
	snprintf(list, sizeof list, "/nonexistent:%s", dir);
	ck_assert_int_eq(ps_plugins_load_all(list, PS_PLUGIN_BACKEND), 1);
	ck_assert_ptr_nonnull(ps_backend_find("good"));
	ck_assert_int_eq(ps_plugins_load_all(list, PS_PLUGIN_BACKEND), 0);
	drop(dir);
}
END_TEST

START_TEST(a_bad_plugin_does_not_hinder_the_others)
{
	char dir[] = "/tmp/postern-plugins-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	put(dir, "backends", "major");
	put(dir, "backends", "good");
	ck_assert_int_eq(ps_plugins_load_all(dir, PS_PLUGIN_BACKEND), 1);
	drop(dir);
}
END_TEST

START_TEST(a_second_file_of_the_same_name_is_a_duplicate)
{
	char dir[] = "/tmp/postern-plugins-XXXXXX", path[PATH_MAX];
	const struct ps_plugin *plugin;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	put(dir, ".", "good");
	snprintf(path, sizeof path, "%s/good.so", dir);
	ck_assert_ok(ps_plugin_load(path_of("good"), &plugin));
	ck_assert_int_eq(ps_plugin_load(path, &plugin), PS_E_EXISTS);
	ck_assert_ptr_nonnull(strstr(ps_last_error(), "loaded already from"));
	drop(dir);
}
END_TEST

START_TEST(a_backend_among_the_protocols_is_refused)
{
	char dir[] = "/tmp/postern-plugins-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	put(dir, "protocols", "good");
	ck_assert_int_eq(ps_plugins_load_all(dir, PS_PLUGIN_PROTOCOL), 0);
	ck_assert_ptr_nonnull(strstr(ps_last_error(), "is a backend (kind 1), expected a protocol (kind 2)"));
	drop(dir);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plugins");
	TCase *tc = tcase_create("plugins");

	tcase_add_loop_test(tc, what_does_not_fit_is_refused_in_one_line_with_the_path, 0, PS_ARRAY_LEN(odd));
	tcase_add_test(tc, what_fits_is_loaded_once_and_found);
	tcase_add_loop_test(tc, a_plugin_is_found_in_each_place_of_the_search, 0, PS_ARRAY_LEN(places));
	tcase_add_test(tc, a_bad_plugin_does_not_hinder_the_others);
	tcase_add_test(tc, a_second_file_of_the_same_name_is_a_duplicate);
	tcase_add_test(tc, a_backend_among_the_protocols_is_refused);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
