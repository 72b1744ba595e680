/* SPDX-License-Identifier: MIT */
/* The parameters of MAIL and RCPT, by their rows. */
#include "postern/envelope.h"
#include "protocols/smtp/parameters.h"
#include "tests/unit.h"

static int take(const struct smtp_parameter *table, size_t count, const char *text, void *arg)
{
	const char *equals = strchr(text, '=');
	size_t length = equals ? (size_t)(equals - text) : strlen(text);

	for (size_t i = 0; i < count; i++)
		if (ps_bytes_caseeq_str(ps_bytes(text, length), table[i].keyword))
			return table[i].take(arg, equals ? ps_bytes_str(equals + 1) : ps_bytes(NULL, 0));
	return PS_E_UNSUPPORTED;
}

static const struct {
	const char *text;
	int result;
	uint32_t options;
	uint64_t size;
	const char *envid;
} mail[] = {
	{"SIZE=0", 0, 0, 0, ""},
	{"SIZE=1000", 0, 0, 1000, ""},
	{"SIZE=1001", PS_E_LIMIT, 0, 1001, ""},
	{"SIZE=-1", PS_E_SYNTAX, 0, 0, ""},
	{"SIZE=18446744073709551616", PS_E_SYNTAX, 0, 0, ""},
	{"SIZE", PS_E_SYNTAX, 0, 0, ""},
	{"BODY=7bit", 0, 0, 0, ""},
	{"body=8BITMIME", 0, PS_MAIL_8BITMIME, 0, ""},
	{"BODY=BINARYMIME", 0, PS_MAIL_BINARYMIME, 0, ""},
	{"BODY=8BIT", PS_E_SYNTAX, 0, 0, ""},
	{"BODY", PS_E_SYNTAX, 0, 0, ""},
	{"RET=HDRS", 0, PS_MAIL_RET_HDRS, 0, ""},
	{"RET=full", 0, PS_MAIL_RET_FULL, 0, ""},
	{"RET=some", PS_E_SYNTAX, 0, 0, ""},
	{"ENVID=a+2Bb", 0, 0, 0, "a+b"},
	{"ENVID=a+2", PS_E_SYNTAX, 0, 0, "a"},
	{"ENVID=a+0D", PS_E_SYNTAX, 0, 0, "a"},
	{"SMTPUTF8", 0, PS_MAIL_SMTPUTF8, 0, ""},
	{"AUTH=<>", 0, 0, 0, ""},
	{"AUTH=a+40b", 0, 0, 0, ""},
	{"AUTH=a+4", PS_E_SYNTAX, 0, 0, ""},
	{"AUTH", PS_E_SYNTAX, 0, 0, ""},
	{"REQUIRETLS", 0, PS_MAIL_REQUIRETLS, 0, ""},
	{"REQUIRETLS=yes", PS_E_SYNTAX, PS_MAIL_REQUIRETLS, 0, ""},
	{"NOTIFY=NEVER", PS_E_UNSUPPORTED, 0, 0, ""},
};

START_TEST(of_mail)
{
	struct smtp_mail_args args = {.size_limit = 1000, .is_tls = true};

	ck_assert_int_eq(take(smtp_mail_parameters, smtp_mail_parameter_count, mail[_i].text, &args), mail[_i].result);
	ck_assert_uint_eq(args.options, mail[_i].options);
	ck_assert_uint_eq(args.size, mail[_i].size);
	ck_assert_str_eq(ps_buf_cstr(&args.envid), mail[_i].envid);
	ps_buf_finish(&args.envid);
}
END_TEST

static const struct {
	const char *text;
	int result;
	uint32_t notify;
	const char *orcpt;
	bool utf8;
} rcpt[] = {
	{"NOTIFY=NEVER", 0, PS_NOTIFY_NEVER, "", false},
	{"NOTIFY=success,FAILURE,delay", 0, PS_NOTIFY_SUCCESS | PS_NOTIFY_FAILURE | PS_NOTIFY_DELAY, "", false},
	{"NOTIFY=NEVER,DELAY", PS_E_SYNTAX, PS_NOTIFY_NEVER | PS_NOTIFY_DELAY, "", false},
	{"NOTIFY=", PS_E_SYNTAX, 0, "", false},
	{"NOTIFY=DELAY,", PS_E_SYNTAX, PS_NOTIFY_DELAY, "", false},
	{"NOTIFY=always", PS_E_SYNTAX, 0, "", false},
	{"ORCPT=rfc822;a+2Bb@c", 0, 0, "rfc822;a+b@c", false},
	{"ORCPT=rfc822", PS_E_SYNTAX, 0, "", false},
	{"ORCPT=;a@b", PS_E_SYNTAX, 0, "", false},
	{"ORCPT=rfc822;", PS_E_SYNTAX, 0, "", false},
	{"ORCPT=rfc 822;a", PS_E_SYNTAX, 0, "", false},
	{"ORCPT=rfc822;a+0Ab", PS_E_SYNTAX, 0, "rfc822;a", false},
	{"ORCPT=utf-8;\xc3\xbc@b", PS_E_SYNTAX, 0, "utf-8;", false},
	{"ORCPT=utf-8;\xc3\xbc@b", 0, 0, "utf-8;\xc3\xbc@b", true},
};

START_TEST(of_rcpt)
{
	struct smtp_rcpt_args args = {.utf8 = rcpt[_i].utf8};

	ck_assert_int_eq(take(smtp_rcpt_parameters, smtp_rcpt_parameter_count, rcpt[_i].text, &args), rcpt[_i].result);
	ck_assert_uint_eq(args.notify, rcpt[_i].notify);
	ck_assert_str_eq(ps_buf_cstr(&args.orcpt), rcpt[_i].orcpt);
	ps_buf_finish(&args.orcpt);
}
END_TEST

START_TEST(long_ones_are_refused)
{
	struct smtp_mail_args mail_args = {.size_limit = 1000};
	struct smtp_rcpt_args rcpt_args = {.utf8 = false};
	struct ps_buf text = {0};

	ps_buf_str(&text, "ENVID=");
	for (int i = 0; i < 100; i++)
		ps_buf_char(&text, 'a');
	ck_assert_ok(take(smtp_mail_parameters, smtp_mail_parameter_count, ps_buf_cstr(&text), &mail_args));
	ps_buf_char(&text, 'a');
	ck_assert_int_eq(take(smtp_mail_parameters, smtp_mail_parameter_count, ps_buf_cstr(&text), &mail_args),
			 PS_E_SYNTAX);
	ps_buf_reset(&text);
	ps_buf_str(&text, "ORCPT=rfc822;");
	for (int i = 0; i < 493; i++)
		ps_buf_char(&text, 'a');
	ck_assert_ok(take(smtp_rcpt_parameters, smtp_rcpt_parameter_count, ps_buf_cstr(&text), &rcpt_args));
	ps_buf_char(&text, 'a');
	ck_assert_int_eq(take(smtp_rcpt_parameters, smtp_rcpt_parameter_count, ps_buf_cstr(&text), &rcpt_args),
			 PS_E_SYNTAX);
	ps_buf_finish(&mail_args.envid);
	ps_buf_finish(&rcpt_args.orcpt);
	ps_buf_finish(&text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smtp parameters");
	TCase *tcase = tcase_create("parameters");

	tcase_add_loop_test(tcase, of_mail, 0, (int)PS_ARRAY_LEN(mail));
	tcase_add_loop_test(tcase, of_rcpt, 0, (int)PS_ARRAY_LEN(rcpt));
	tcase_add_test(tcase, long_ones_are_refused);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
