/* SPDX-License-Identifier: MIT */
#include "core/message/subject.h"
#include "tests/message/message_unit.h"

/* RFC 5256 section 2.1. */
static const struct {
	const char *text, *base;
	bool reply;
} subjects[] = {
	{"", "", false},
	{"plain", "plain", false},
	{"  two   words\t here ", "two words here", false},
	{"Re: x", "x", true},
	{"RE : x", "x", true},
	{"Re:x", "x", true},
	{"fw: x", "x", true},
	{"Fwd: x", "x", true},
	{"fwdd: x", "fwdd: x", false},
	{"re x", "re x", false},
	{"Reason: x", "Reason: x", false},
	{"Re: Re: Fwd: x", "x", true},
	{"Re[2]: x", "x", true},
	{"Re [list] : x", "x", true},
	{"[list] Re: x", "x", true},
	{"[a] [b] x", "x", false},
	{"[a] [b]", "[b]", false},
	{"[list]", "[list]", false},
	{"[a[b] x", "[a[b] x", false},
	{"x (fwd)", "x", true},
	{"x (FWD) (fwd) ", "x", true},
	{"x (fwd) y", "x (fwd) y", false},
	{"[fwd: x]", "x", true},
	{"[Fwd: Re: [list] x (fwd)]", "x", true},
	{"[fwd: x] y", "y", false},
	{"Re:", "", true},
	{"(fwd)", "", true},
	{"[fwd:]", "", true},
};

START_TEST(a_base_subject_is_what_the_rfc_says)
{
	struct ps_buf out = {0};
	bool reply;

	ps_subject_base(ps_bytes_str(subjects[_i].text), &out, &reply);
	ck_assert_str_eq(ps_buf_cstr(&out), subjects[_i].base);
	ck_assert_int_eq(reply, subjects[_i].reply);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(a_subject_of_brackets_takes_no_square)
{
	struct ps_buf text = {0}, out = {0};
	bool reply;

	for (int i = 0; i < 100000; i++)
		ps_buf_str(&text, "[a]");
	ps_subject_base(ps_buf_view(&text), &out, &reply);
	ck_assert_uint_le(out.len, 2048);
	ps_buf_finish(&text);
	ps_buf_finish(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("subject");
	TCase *tc = tcase_create("subject");

	tcase_add_loop_test(tc, a_base_subject_is_what_the_rfc_says, 0, PS_ARRAY_LEN(subjects));
	tcase_add_test(tc, a_subject_of_brackets_takes_no_square);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
