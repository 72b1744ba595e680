/* SPDX-License-Identifier: MIT */
/* postern.conf(5) tells of every setting, and tells the right default. */
#include <stdio.h>
#include "core/config/schema.h"
#include "tests/unit.h"

static char page[65536];

static void read_page(void)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];
	FILE *file;
	size_t n;

	snprintf(path, sizeof path, "%s/docs/man/postern.conf.5", srcdir ? srcdir : ".");
	file = fopen(path, "r");
	ck_assert_msg(file != NULL, "%s cannot be read", path);
	n = fread(page, 1, sizeof page - 1, file);
	ck_assert_msg(n > 0 && n < sizeof page - 1, "%s is empty or too large", path);
	page[n] = '\0';
	fclose(file);
}

/* The part of the page from `from` that starts with `head`, up to the next ".It " or ".Ss ". */
static void find_part(const char *from, const char *head, struct ps_buf *out)
{
	const char *at = strstr(from, head), *end, *section;

	ck_assert_msg(at != NULL, "postern.conf(5) has no \"%s\"", head + 1);
	end = strstr(at + 1, "\n.It ");
	section = strstr(at + 1, "\n.Ss ");
	if (!end || (section && section < end))
		end = section;
	ps_buf_append(out, at, end ? (size_t)(end - at) : strlen(at));
}

static void check_default(const struct ps_setting *row, const char *part)
{
	char text[200];

	if (!row->def || !row->def[0])
		return;
	snprintf(text, sizeof text, "Default:\n.Li %s .", row->def);
	ck_assert_msg(strstr(part, text) != NULL, "postern.conf(5) gives another default for %s than \"%s\"", row->name,
		      row->def);
}

static void check_rows(const struct ps_setting *rows, const char *from)
{
	for (const struct ps_setting *row = rows; row->name; row++) {
		struct ps_buf part = {0};
		char head[100];

		snprintf(head, sizeof head, row->type == PS_SET_SECTION ? "\n.Ss %s " : "\n.It Ic %s ", row->name);
		find_part(from, head, &part);
		check_default(row, ps_buf_cstr(&part));
		ck_assert_msg(row->help != NULL, "%s has no help", row->name);
		if (row->section)
			check_rows(row->section, strstr(from, head));
		ps_buf_finish(&part);
	}
}

START_TEST(the_manual_tells_of_every_setting)
{
	read_page();
	check_rows(ps_core_settings, page);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("manual");
	TCase *tc = tcase_create("settings");

	tcase_add_test(tc, the_manual_tells_of_every_setting);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
