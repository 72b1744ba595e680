/* SPDX-License-Identifier: MIT */
#include "backends/maildir/maildir_private.h"
#include "tests/unit.h"

static const struct {
	const char *name, *dir;
} both_ways[] = {
	{"INBOX", "."},
	{"Sent", ".Sent"},
	{"Lists/postern", ".Lists.postern"},
	{"a.b", ".a&AC4-b"},
	{"...", ".&AC4ALgAu-"},
	{"a/b.c/d", ".a.b&AC4-c.d"},
	{"R&D", ".R&-D"},
	{"~root", ".~root"},
	{"cur", ".cur"},
	{"INBOX/Sub", ".INBOX.Sub"},
	{"Entw\xc3\xbcrfe", ".Entw&APw-rfe"},
	{"\xe5\x8f\xb0\xe5\x8c\x97", ".&U,BTFw-"},
	{"\xf0\x9f\x93\xa7.", ".&2D3c5wAu-"},
	{"a b*%\"\\", ".a b*%\"\\"},
};

static const struct {
	const char *name, *dir;
} in_a_tree[] = {
	{"INBOX", "."},
	{"Lists/postern", "Lists/postern"},
	{"a.b/c.", "a.b/c."},
	{"cur/new", "&AGM-ur/&AG4-ew"},
	{"x/tmp", "x/&AHQ-mp"},
	{"current", "current"},
	{".hidden/..x", "&AC4-hidden/&AC4-.x"},
	{"subscriptions/subscriptions", "&AHM-ubscriptions/subscriptions"},
	{"postern-control", "&AHA-ostern-control"},
	{"Entw\xc3\xbcrfe/R&D", "Entw&APw-rfe/R&-D"},
};

START_TEST(names_and_trees_go_both_ways)
{
	struct ps_buf name = {0};
	char dir[NAME_SIZE];

	ck_assert_ok(dir_of_name(true, in_a_tree[_i].name, dir));
	ck_assert_str_eq(dir, in_a_tree[_i].dir);
	ck_assert(name_of_dir(true, dir, &name));
	ck_assert_str_eq(ps_buf_cstr(&name), in_a_tree[_i].name);
	ps_buf_finish(&name);
}
END_TEST

START_TEST(names_and_directories_go_both_ways)
{
	struct ps_buf name = {0};
	char dir[NAME_SIZE];

	ck_assert_ok(dir_of_name(false, both_ways[_i].name, dir));
	ck_assert_str_eq(dir, both_ways[_i].dir);
	ck_assert(name_of_dir(false, dir, &name));
	ck_assert_str_eq(ps_buf_cstr(&name), both_ways[_i].name);
	ps_buf_finish(&name);
}
END_TEST

/* Names that only one encoding has, or none: left alone. */
static const char *const not_ours[] = {
	"..",
	".a..b",
	".a.",
	"..a",
	"Sent",
	".INBOX",
	".inbox",
	".&AC4-",
	".a.&AC4ALg-",
	".&AGE-",
	".&",
	".a&b",
	".&APw",
	".a&AP-",
	".&2D0-",
	".&3ec-",
	".&AAA-",
	".&AAo-",
	".raw\xc3\xbc",
	(".a\x01"
	 "b"),
	".a/b",
	".&AC8-",
	".&APx-",
	".\xff",
	".&AC4-AC4-&AC4-",
	".&JjoAIQ-x",
};

START_TEST(other_directories_are_left_alone)
{
	struct ps_buf name = {0};
	char dir[NAME_SIZE];

	/* Where a name comes out, it must be one that leads back. */
	if (name_of_dir(false, not_ours[_i], &name)) {
		ck_assert_ok(dir_of_name(false, ps_buf_cstr(&name), dir));
		ck_assert_str_eq(dir, not_ours[_i]);
		ck_assert_str_eq(not_ours[_i], ".&AC4-AC4-&AC4-");
	}
	ps_buf_finish(&name);
}
END_TEST

START_TEST(a_name_too_long_for_the_disk_is_refused)
{
	char name[400], dir[NAME_SIZE];

	memset(name, 'x', sizeof name);
	name[254] = '\0';
	ck_assert_ok(dir_of_name(false, name, dir));
	name[254] = 'x', name[255] = '\0';
	ck_assert_int_eq(dir_of_name(false, name, dir), PS_E_LIMIT);
}
END_TEST

static const struct {
	const char *name, *base, *unique;
	uint32_t flags, letters;
	int64_t time;
	uint32_t uid;
	uint64_t wire;
} files[] = {
	{"1.x:2,FS", "1.x", "1.x", PS_FLAG_FLAGGED | PS_FLAG_SEEN, 0, 1, 0, 0},
	{"1700000000.M1P2Q3.h,S=5,W=6,P=9.7:2,RTab", "1700000000.M1P2Q3.h,S=5,W=6,P=9.7", "1700000000.M1P2Q3.h",
	 PS_FLAG_ANSWERED | PS_FLAG_DELETED, 3, 1700000000, 7, 6},
	{"x", "x", "x", 0, 0, 0, 0, 0},
	{":2,S", "", "", PS_FLAG_SEEN, 0, 0, 0, 0},
	{"1.x:1,S", "1.x", "1.x", 0, 0, 1, 0, 0},
	{"1.x:2,S,T", "1.x", "1.x", PS_FLAG_SEEN, 0, 1, 0, 0},
	{"1.x,P=1.0,W=-1", "1.x,P=1.0,W=-1", "1.x", 0, 0, 1, 0, 0},
	{"1.x,P=1.4294967296", "1.x,P=1.4294967296", "1.x", 0, 0, 1, 0, 0},
	{"1.x,P=1.4294967295", "1.x,P=1.4294967295", "1.x", 0, 0, 1, 0, 0},
	{"99999999999999999999999.x", "99999999999999999999999.x", "99999999999999999999999.x", 0, 0,
	 999999999999999999, 0, 0},
	{"1.x,,=,P=,W,G=12", "1.x,,=,P=,W,G=12", "1.x", 0, 0, 1, 0, 0},
};

START_TEST(a_file_name_is_read)
{
	struct msg_name name;
	uint32_t letters;

	msg_name_parse(ps_bytes_str(files[_i].name), &name);
	ck_assert_bytes_eq(name.base, files[_i].base);
	ck_assert_bytes_eq(name.unique, files[_i].unique);
	ck_assert_uint_eq(msg_name_flags(&name, &letters), files[_i].flags);
	ck_assert_uint_eq(letters, files[_i].letters);
	ck_assert_int_eq(name.time, files[_i].time);
	ck_assert_uint_eq(name.has_uid ? name.uid : 0, files[_i].uid);
	ck_assert_uint_eq(name.has_wire ? name.wire : 0, files[_i].wire);
}
END_TEST

START_TEST(other_flags_leave_what_is_unknown)
{
	struct msg_name name;
	char out[NAME_SIZE], huge[NAME_SIZE];

	msg_name_parse(ps_bytes_str("1.x,S=3:2,PSZ"), &name);
	ck_assert_ok(msg_name_with_flags(&name, PS_FLAG_DRAFT, 1u << 25, out));
	ck_assert_str_eq(out, "1.x,S=3:2,DPZz");
	memset(huge, 'x', sizeof huge);
	msg_name_parse(ps_bytes(huge, NAME_SIZE - 4), &name);
	ck_assert_ok(msg_name_with_flags(&name, 0, 0, out));
	ck_assert_int_eq(msg_name_with_flags(&name, PS_FLAG_SEEN, 0, out), PS_E_LIMIT);
}
END_TEST

START_TEST(a_built_name_says_what_it_was_built_from)
{
	struct msg_facts facts = {.disk_size = 10,
				  .wire_size = 12,
				  .internal_date = -5,
				  .save_date = 1700000000,
				  .uid_validity = 3,
				  .uid = 4,
				  .flags = PS_FLAG_SEEN,
				  .letters = 1};
	struct ps_id id, again;
	struct msg_name name;
	char out[NAME_SIZE];

	ck_assert_ok(msg_name_build("host", &facts, out, &id));
	msg_name_parse(ps_bytes_str(out), &name);
	again = msg_name_email_id(&name);
	ck_assert_mem_eq(&id, &again, sizeof id);
	ck_assert(!name.has_email_id);
	ck_assert_int_eq(name.date, -5);
	ck_assert_int_eq(name.time, 1700000000);
	ck_assert_uint_eq(name.uid_validity, 3);
	ck_assert_uint_eq(name.uid, 4);
	facts.email_id = id;
	ck_assert_ok(msg_name_build("host", &facts, out, &again));
	ck_assert_mem_eq(&id, &again, sizeof id);
	msg_name_parse(ps_bytes_str(out), &name);
	ck_assert(name.has_email_id);
	ck_assert_mem_eq(&id, &name.email_id, sizeof id);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maildir");
	TCase *tc = tcase_create("names");

	tcase_add_loop_test(tc, names_and_directories_go_both_ways, 0, PS_ARRAY_LEN(both_ways));
	tcase_add_loop_test(tc, names_and_trees_go_both_ways, 0, (int)PS_ARRAY_LEN(in_a_tree));
	tcase_add_loop_test(tc, other_directories_are_left_alone, 0, PS_ARRAY_LEN(not_ours));
	tcase_add_test(tc, a_name_too_long_for_the_disk_is_refused);
	tcase_add_loop_test(tc, a_file_name_is_read, 0, PS_ARRAY_LEN(files));
	tcase_add_test(tc, other_flags_leave_what_is_unknown);
	tcase_add_test(tc, a_built_name_says_what_it_was_built_from);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
