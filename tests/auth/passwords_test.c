/* SPDX-License-Identifier: MIT */
#include "auth/passwords.h"
#include "config.h"
#include "tests/unit.h"

/* Of "pass word", as Dovecot's tool made them. */
static const char *const stored[] = {
	"{PLAIN}pass word",
	"{CLEARTEXT}pass word",
	"{SSHA}Jn29Wy0jxWomIL6CQ9R2N0oOp9nn6kVZ",
	"{SSHA256}Ycrr+cT10BL9+ETmB7tmVuxzOBUsRhgWwacef0HrclLC6vBs",
	"{SSHA256.HEX}ce1d9855e20365649f1ff560f507e9067ecf4ae0641d226d0eaca0a125d3df54e56a7da3",
	"{SSHA512}"
	"Gy4u3SPErCa18uF3LXOmkqRRUDjNKbfp5MKPt7ItEB3633qFT1hPXWJnfK4vpjpBWx9a2dLks0bLadObyNPau0C8m84=",
	"{SHA}2oguq15ANCGsJCWKX31fllwpyEk=",
	"{SHA1}2oguq15ANCGsJCWKX31fllwpyEk=",
	"{SHA256}eJgOJX9BJDf7+TQ3h7wA7FsQY2QpvAALKQEHM1sIl4Y=",
	"{SHA512}Nq7XWhQpjD4VwA82iHbXmY8NSz1w7/"
	"A84XtT9npPaxW+U8Dt41vjbL2JY3A7kd5cgXmFPhhROfO9ihvprNn13A==",
	"{PLAIN-MD5}4ac6430a17d0215b3052b15c879d48bc",
	("{SHA512-CRYPT}$6$S1Qn1NvcH8syRqXH$"
	 "QndxqCA345O8nkCYqbZ4vVjoZXzYxc4hGNzFK0ZniJC8p839473qOnwI1QtiBEltLnGbu2lJ0YMC"
	 "ckWH/2uYN1"),
	"{SHA256-CRYPT}$5$jgOJANWNlZIYInoo$TUJkKk0VQ2PNAS9ActrLA7ccHsVvLvMtm497qgBKNA0",
	"{BLF-CRYPT}$2y$05$0gZZsYOWiZNuF4aCyIm.Tu7fGc3B4UGtuTniPOMNFIH5gIcnblDLa",
	"{MD5-CRYPT}$1$1l6UGzBP$XgLtkCZ8aV/kI/beKaLMk1",
	"{CRYPT}$5$jgOJANWNlZIYInoo$TUJkKk0VQ2PNAS9ActrLA7ccHsVvLvMtm497qgBKNA0",
	"$5$jgOJANWNlZIYInoo$TUJkKk0VQ2PNAS9ActrLA7ccHsVvLvMtm497qgBKNA0",
	"{crypt}$1$1l6UGzBP$XgLtkCZ8aV/kI/beKaLMk1",
	"{SCRAM-SHA-256}4096,0OiA7rHXLiJo2T62KrG+Zw==,XQVKQmGpp1LCMtGe/sg8ITf6l//"
	"kDuiTxgk54aSQijk=,fhHEer42pBRY72LP4OPNKx4gxJKjugca/DcbPQ9dnLI=",
	"{SCRAM-SHA-1}4096,UiJ0TJKcufSNWTQFIAYQeQ==,L9OpDpHHXAz6YGS+Zi81IaogT24=,"
	"yTid6xQRExWzONX86F29ksuBCoU=",
	"SCRAM-SHA-1$4096:UiJ0TJKcufSNWTQFIAYQeQ==$L9OpDpHHXAz6YGS+Zi81IaogT24=:"
	"yTid6xQRExWzONX86F29ksuBCoU=", /* RFC 5803 */
#ifdef HAVE_ARGON2
	"{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$jFfVAvnmSY9pA9Wx9Y7ExQ$"
	"rP3eo3cygWU0y7VWhd88VatdMW28FzmyBYwQITqOCAA",
	"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$QOtKITPZsecixOkkvcOlbw$d8jSrsIum8n+"
	"LMXIG6mdOUAvsm1obDdb4N8b28HZ2xQ",
#endif
};

START_TEST(the_right_password_and_no_other_is_taken)
{
	static const char *const wrong[] = {"", "pass", "pass word ", "Pass word", "pass wore"};

	ck_assert_ok(ps_password_stored_check(stored[_i]));
	ck_assert_ok(ps_password_check(stored[_i], ps_bytes_str("pass word")));
	for (size_t i = 0; i < PS_ARRAY_LEN(wrong); i++)
		ck_assert_int_eq(ps_password_check(stored[_i], ps_bytes_str(wrong[i])), PS_E_AUTH);
	ck_assert_int_eq(ps_password_check(stored[_i], ps_bytes("pass word\0x", 11)), PS_E_AUTH);
}
END_TEST

static const char *const unusable[] = {
	"",
	"{}",
	"{PLAIN}",
	"{PLAIN",
	"{NOSUCH}x",
	"{SSHA}",
	"{SSHA}!!!!",
	"{SSHA}c2hvcnQ=",
	"{SHA}Jn29Wy0jxWomIL6CQ9R2N0oOp9nn6kVZ",
	"{PLAIN-MD5}4ac6430a17d0215b3052b15c879d48b",
	"{SCRAM-SHA-256}4096",
	"{SCRAM-SHA-256}4096,UiJ0TJKcufSNWTQFIAYQeQ==,L9OpDpHHXAz6YGS+Zi81IaogT24=,yTid6xQRExWzONX86F29ksuBCoU=",
	"SCRAM-SHA-1$",
	"SCRAM-SHA-3$4096:UiJ0TJKcufSNWTQFIAYQeQ==$L9OpDpHHXAz6YGS+Zi81IaogT24=:yTid6xQRExWzONX86F29ksuBCoU=",
	"{CRYPT}*",
	"{CRYPT}!",
	"*",
	"!",
	"x",
#ifdef HAVE_ARGON2
	"{ARGON2ID}$argon2id$v=19$m=65536",
#endif
};

START_TEST(what_cannot_be_a_hash_lets_nobody_in)
{
	static const char *const tries[] = {"x", "*", "!", "*0", "*1", "pass word"};

	for (size_t i = 0; i < PS_ARRAY_LEN(tries); i++)
		ck_assert_int_lt(ps_password_check(unusable[_i], ps_bytes_str(tries[i])), 0);
	ck_assert_int_eq(ps_password_check(unusable[_i], ps_bytes_str("p")), PS_E_UNSUPPORTED);
}
END_TEST

static const char *const makers[] = {NULL,        "YESCRYPT",      "SHA512-CRYPT", "sha256-crypt",
				     "BLF-CRYPT", "SCRAM-SHA-256", "scram-sha-1"};

START_TEST(a_new_hash_is_salted_and_checks)
{
	struct ps_buf one = {0}, two = {0};

	ck_assert_ok(ps_password_hash(ps_bytes_str("secret"), makers[_i], &one));
	ck_assert_ok(ps_password_hash(ps_bytes_str("secret"), makers[_i], &two));
	ck_assert_str_ne(ps_buf_cstr(&one), ps_buf_cstr(&two));
	ck_assert_ok(ps_password_check(ps_buf_cstr(&one), ps_bytes_str("secret")));
	ck_assert_int_eq(ps_password_check(ps_buf_cstr(&one), ps_bytes_str("Secret")), PS_E_AUTH);
	ps_buf_finish(&one);
	ps_buf_finish(&two);
}
END_TEST

START_TEST(a_password_has_limits)
{
	char text[PS_PASSWORD_MAX + 1];
	struct ps_buf out = {0};

	memset(text, 'p', sizeof text);
	ck_assert_int_eq(ps_password_hash(ps_bytes("", 0), NULL, &out), PS_E_INVALID);
	ck_assert_int_eq(ps_password_hash(ps_bytes("a\0b", 3), NULL, &out), PS_E_INVALID);
	ck_assert_int_eq(ps_password_hash(ps_bytes(text, sizeof text), NULL, &out), PS_E_INVALID);
	ck_assert_int_eq(ps_password_hash(ps_bytes_str("x"), "PLAIN", &out), PS_E_UNSUPPORTED);
	ck_assert_uint_eq(out.len, 0);
	ck_assert_int_eq(ps_password_check("{PLAIN}x", ps_bytes(text, sizeof text)), PS_E_AUTH);
	ps_buf_finish(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("passwords");
	TCase *tc = tcase_create("passwords");

	tcase_add_loop_test(tc, the_right_password_and_no_other_is_taken, 0, PS_ARRAY_LEN(stored));
	tcase_add_loop_test(tc, what_cannot_be_a_hash_lets_nobody_in, 0, PS_ARRAY_LEN(unusable));
	tcase_add_loop_test(tc, a_new_hash_is_salted_and_checks, 0, PS_ARRAY_LEN(makers));
	tcase_add_test(tc, a_password_has_limits);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
