/* SPDX-License-Identifier: MIT */
#include "extensions/quota/quota.h"
#include "postern/error.h"
#include "tests/unit.h"

static const struct {
	const char *fields;
	uint64_t octets, messages; /* 7: as it was */
	int r;
} fields[] = {
	{"", 7, 7, 0},
	{"quota_storage=1G", UINT64_C(1) << 30, 7, 0},
	{"quota_storage=1000", 1000, 7, 0},
	{"quota_storage=0", 0, 7, 0},
	{"quota_messages=12", 7, 12, 0},
	{"quota_storage=2m quota_messages=1k", 2 << 20, 1024, 0},
	{"quota_rule=*:storage=1G", UINT64_C(1) << 30, 7, 0},
	{"quota_rule=*:storage=100", 102400, 7, 0},
	{"quota_rule=*:bytes=100:messages=5", 100, 5, 0},
	{"other=1 quota_messages=3", 7, 3, 0},
	{"quota_storage=1T", UINT64_C(1) << 40, 7, 0},
	{"quota_storage=", 7, 7, PS_E_INVALID},
	{"quota_storage=G", 7, 7, PS_E_INVALID},
	{"quota_storage=-1", 7, 7, PS_E_INVALID},
	{"quota_storage=1X", 7, 7, PS_E_INVALID},
	{"quota_storage=1GB", 7, 7, PS_E_INVALID},
	{"quota_storage=99999999999999999999999", 7, 7, PS_E_INVALID},
	{"quota_storage=9999999999999T", 7, 7, PS_E_INVALID},
	{"quota_rule=Trash:storage=1G quota_messages=4", 7, 4, PS_E_INVALID},
	{"quota_rule=*:cookies=1", 7, 7, PS_E_INVALID},
};

START_TEST(what_the_user_database_says_replaces_what_it_names)
{
	struct ps_usage limit = {7, 7};

	ck_assert_int_eq(quota_fields(fields[_i].fields, &limit), fields[_i].r);
	ck_assert_uint_eq(limit.octets, fields[_i].octets);
	ck_assert_uint_eq(limit.messages, fields[_i].messages);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("quota limits");
	TCase *tc = tcase_create("limits");

	tcase_add_loop_test(tc, what_the_user_database_says_replaces_what_it_names, 0, PS_ARRAY_LEN(fields));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
