/* SPDX-License-Identifier: MIT */
#include "core/delivery/route/aliases.h"
#include "tests/unit.h"

static bool is_ours(void *arg, const char *domain)
{
	(void)arg;
	return strcmp(domain, "example.org") == 0 || strcmp(domain, "xn--bcher-kva.example") == 0;
}

static struct ps_aliases *parse(const char *text, const char *default_domain, struct ps_buf *errors, size_t *wrong)
{
	struct ps_alias_rules rules = {.path = "f", .default_domain = default_domain, .is_local = is_ours};

	return ps_aliases_parse(ps_bytes_str(text), &rules, errors, wrong);
}

/* "key: local@domain, @domain" for each row, one a line. */
static void show(const struct ps_aliases *aliases, struct ps_buf *out)
{
	const struct ps_alias *alias;

	for (size_t i = 0; (alias = ps_aliases_nth(aliases, i)); i++) {
		ps_buf_printf(out, "%s%s", alias->key, alias->broken ? " broken" : "");
		for (size_t j = 0; j < alias->count && !alias->broken; j++)
			ps_buf_printf(out, "%s%s@%s", j ? ", " : ": ",
				      alias->targets[j].local ? alias->targets[j].local : "", alias->targets[j].domain);
		ps_buf_str(out, "\n");
	}
}

static const struct {
	const char *text, *rows;
} good[] = {
	{"", ""},
	{"# nothing\n\n   \n\t# here\n", ""},
	{"a@example.org b@example.net", "a@example.org: b@example.net\n"},
	{"A b\n", "a@example.org: b@example.org\n"},
	{"a\tb , c,\td@X.test\r\n", "a@example.org: b@example.org, c@example.org, d@x.test\n"},
	{"a: b\n", "a@example.org: b@example.org\n"},
	{"a b,\n  # between\n  c\n\n\td@x.test\n", NULL},
	{"a b,\n  # between\n  c,\n\n\td@x.test\nb c\n",
	 "a@example.org: b@example.org, c@example.org, d@x.test\nb@example.org: c@example.org\n"},
	{"@example.org @x.test\n", "@example.org: @x.test\n"},
	{"@example.org a@x.test, b\n", "@example.org: a@x.test, b@example.org\n"},
	{"@B\xc3\xbc"
	 "cher.example a\n",
	 "@xn--bcher-kva.example: a@example.org\n"},
	{"\"a, b\"@example.org \"c d\"@x.test,\"e,\\\"f\"\n", "a, b@example.org: c d@x.test, e,\"f@example.org\n"},
	{"\"@x\" a\n", "@x@example.org: a@example.org\n"},
	{"a b+Folder\n", "a@example.org: b+Folder@example.org\n"},
};

START_TEST(reads)
{
	struct ps_buf out = {0}, errors = {0};
	size_t wrong;
	struct ps_aliases *aliases = parse(good[_i].text, "example.org", &errors, &wrong);

	if (good[_i].rows) {
		show(aliases, &out);
		ck_assert_str_eq(ps_buf_cstr(&errors), "");
		ck_assert_uint_eq(wrong, 0);
		ck_assert_str_eq(ps_buf_cstr(&out), good[_i].rows);
	} else {
		ck_assert_uint_gt(wrong, 0);
	}
	ps_aliases_destroy(aliases);
	ps_buf_finish(&errors);
	ps_buf_finish(&out);
}
END_TEST

static const struct {
	const char *text, *errors, *rows;
} bad[] = {
	{"a\n", "f:1: a target is missing\n", "a@example.org broken\n"},
	{"a b,\n", "f:1: a target is missing\n", "a@example.org broken\n"},
	{"x b\na b,,c\n", "f:2: a target is missing\n", "a@example.org broken\nx@example.org: b@example.org\n"},
	{"a b c\n", "f:1: expected a comma between two targets\n", "a@example.org broken\n"},
	{"a |/bin/sh\n", "f:1: mail is not given to programs\n", "a@example.org broken\n"},
	{"a \"|/bin/sh -c x\"\n", "f:1: mail is not given to programs\n", "a@example.org broken\n"},
	{"a /dev/null\n", "f:1: files and lists are not read: expected an address\n", "a@example.org broken\n"},
	{"a :include:/x\n", "f:1: files and lists are not read: expected an address\n", "a@example.org broken\n"},
	{"a @x.test\n", "f:1: @x.test as a target needs @domain before it\n", "a@example.org broken\n"},
	{"a b@[10.0.0.1]\n", "f:1: \"b@[10.0.0.1]\": an address literal cannot be\n", "a@example.org broken\n"},
	{"a b@c@d.test\n", "f:1: \"b@c@d.test\": address: not a domain\n", "a@example.org broken\n"},
	{"a \"b\n", "f:1: \"\"b\": address: a quote is not closed\n", "a@example.org broken\n"},
	{"a@x.test b\n", "f:1: x.test is not a domain of this server: expected default_domain, or a domain section\n",
	 ""},
	{"@ b\n", "f:1: \"@\": address: no domain after the @\n", ""},
	{".a b\n", "f:1: \".a\": address: a local part with what may not be there\n", ""},
	{" a b\n", "f:1: a line that begins with a blank goes on with the one before, and there is none\n", ""},
	{"a b\nb c\n\nA d\n", "f:4: a@example.org is there already, in line 1\n",
	 "a@example.org: b@example.org\nb@example.org: c@example.org\n"},
	{"# x\n\na b,\n c d\n", "f:3: expected a comma between two targets\n", "a@example.org broken\n"},
};

START_TEST(tells_what_is_wrong)
{
	struct ps_buf out = {0}, errors = {0};
	size_t wrong;
	struct ps_aliases *aliases = parse(bad[_i].text, "example.org", &errors, &wrong);

	show(aliases, &out);
	ck_assert_uint_eq(wrong, 1);
	ck_assert_str_eq(ps_buf_cstr(&errors), bad[_i].errors);
	ck_assert_str_eq(ps_buf_cstr(&out), bad[_i].rows);
	ps_aliases_destroy(aliases);
	ps_buf_finish(&errors);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(without_a_default_domain_each_address_has_one)
{
	struct ps_buf errors = {0};
	size_t wrong;
	struct ps_aliases *aliases =
		parse("a@example.org b\nb c@x.test\nc@example.org d@x.test\n", NULL, &errors, &wrong);

	ck_assert_uint_eq(wrong, 2);
	ck_assert_ptr_nonnull(strstr(ps_buf_cstr(&errors), "f:2: \"b\": there is no domain"));
	ck_assert(ps_aliases_find(aliases, "a@example.org")->broken);
	ck_assert(!ps_aliases_find(aliases, "c@example.org")->broken);
	ck_assert_ptr_null(ps_aliases_find(aliases, "b@example.org"));
	ck_assert_ptr_null(ps_aliases_find(NULL, "b@example.org"));
	ps_aliases_destroy(aliases);
	ps_buf_finish(&errors);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("aliases");
	TCase *tc = tcase_create("file");

	tcase_add_loop_test(tc, reads, 0, PS_ARRAY_LEN(good));
	tcase_add_loop_test(tc, tells_what_is_wrong, 0, PS_ARRAY_LEN(bad));
	tcase_add_test(tc, without_a_default_domain_each_address_has_one);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
