/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "tests/auth/scram_client.h"

static const struct ps_scram_channel in_the_clear = {.is_tls = false};

static void derive(struct ps_scram *scram, const char *mechanism, const char *password, const char *salt_base64)
{
	struct ps_buf salt = {0};

	ck_assert_ok(ps_base64_decode(&salt, ps_bytes_str(salt_base64)));
	ck_assert_ok(ps_scram_secret_derive(ps_scram_hash_find(mechanism), ps_bytes_str(password), ps_buf_view(&salt),
					    4096, &scram->secret));
	ps_buf_finish(&salt);
}

/* ---- the examples of RFC 5802 section 5 and RFC 7677 section 3 ---- */

static const struct {
	const char *mechanism, *salt, *nonce, *messages[4];
} examples[] = {
	{"SCRAM-SHA-1",
	 "QSXCR+Q6sek8bf92",
	 "3rfcNHYJY1ZVvWVs7j",
	 {"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
	  "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
	  "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
	  "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="}},
	{"scram-sha-256",
	 "W22ZaJ0SNY7soEsUEjb6gQ==",
	 "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
	 {"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
	  "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	  "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	  "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}},
};

START_TEST(the_examples_of_the_rfcs)
{
	struct ps_scram scram = {0};
	struct ps_buf authzid = {0}, authcid = {0}, first = {0}, last = {0};

	snprintf(scram.nonce, sizeof scram.nonce, "%s", examples[_i].nonce);
	ck_assert_ok(ps_scram_client_first(&scram, ps_bytes_str(examples[_i].messages[0]), &in_the_clear, &authzid,
					   &authcid));
	ck_assert_str_eq(ps_buf_cstr(&authcid), "user");
	ck_assert_uint_eq(authzid.len, 0);
	derive(&scram, examples[_i].mechanism, "pencil", examples[_i].salt);
	ps_scram_server_first(&scram, &first);
	ck_assert_str_eq(ps_buf_cstr(&first), examples[_i].messages[1]);
	ck_assert_ok(ps_scram_client_final(&scram, ps_bytes_str(examples[_i].messages[2]), &last));
	ck_assert_str_eq(ps_buf_cstr(&last), examples[_i].messages[3]);
	ps_scram_finish(&scram);
	ps_buf_finish(&authzid);
	ps_buf_finish(&authcid);
	ps_buf_finish(&first);
	ps_buf_finish(&last);
}
END_TEST

/* ---- client-first-message ---- */

#define TLS                                                                                                            \
	{                                                                                                              \
		.is_tls = true                                                                                         \
	}
#define PLUS                                                                                                           \
	{                                                                                                              \
		.is_tls = true, .plus = true, .bindings = { [PS_BINDING_EXPORTER] = {(const uint8_t *)"abc", 3} }      \
	}

static const struct {
	struct ps_scram_channel channel;
	const char *message;
	int r;
	const char *authzid, *authcid;
} firsts[] = {
	{TLS, "n,,n=user,r=abc", 0, "", "user"},
	{TLS, "n,a=other,n=user,r=abc", 0, "other", "user"},
	{TLS, "n,,n=a=2Cb=3Dc,r=abc", 0, "", "a,b=c"},
	{TLS, "n,,n=user,r=abc,x=unknown", 0, "", "user"},
	{TLS, "n,,n=,r=abc", 0, "", ""},
	{PLUS, "p=tls-exporter,,n=user,r=abc", 0, "", "user"},
	{{.is_tls = false}, "y,,n=user,r=abc", 0, "", "user"},
	/* somebody took -PLUS out of the list */
	{TLS, "y,,n=user,r=abc", PS_E_ACCESS, NULL, NULL},
	{TLS, "p=tls-exporter,,n=user,r=abc", PS_E_ACCESS, NULL, NULL},
	{PLUS, "n,,n=user,r=abc", PS_E_ACCESS, NULL, NULL},
	{PLUS, "y,,n=user,r=abc", PS_E_ACCESS, NULL, NULL},
	{PLUS, "p=tls-unique,,n=user,r=abc", PS_E_ACCESS, NULL, NULL}, /* not to be had on this connection */
	{PLUS, "p=nonsense,,n=user,r=abc", PS_E_ACCESS, NULL, NULL},
	{PLUS, "p,,n=user,r=abc", PS_E_SYNTAX, NULL, NULL},
	{TLS, "", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,,", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,b=x,n=user,r=abc", PS_E_SYNTAX, NULL, NULL},
	{TLS, "x,,n=user,r=abc", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,,m=ext,n=user,r=abc", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,,n=user", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,,n=user,r=", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,,r=abc,n=user", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,,n=a=b,r=abc", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,,n=a=,r=abc", PS_E_SYNTAX, NULL, NULL},
	{TLS, "n,,n=a=2,r=abc", PS_E_SYNTAX, NULL, NULL},
};

START_TEST(a_first_message_is_understood_or_refused)
{
	struct ps_scram scram = {0};
	struct ps_buf authzid = {0}, authcid = {0};

	ck_assert_int_eq(ps_scram_client_first(&scram, ps_bytes_str(firsts[_i].message), &firsts[_i].channel, &authzid,
					       &authcid),
			 firsts[_i].r);
	if (firsts[_i].r == 0) {
		ck_assert(ps_bytes_eq_str(ps_buf_view(&authzid), firsts[_i].authzid));
		ck_assert(ps_bytes_eq_str(ps_buf_view(&authcid), firsts[_i].authcid));
	}
	ps_scram_finish(&scram);
	ps_buf_finish(&authzid);
	ps_buf_finish(&authcid);
}
END_TEST

/* ---- client-final-message ---- */

struct finale {
	struct ps_scram scram;
	struct ps_buf first, final, authzid, authcid, out;
};

/* Up to where the client has made its last message. */
static void play(struct finale *f, const char *gs2, const char *bound, const char *password)
{
	static const struct ps_scram_channel plus = PLUS;
	struct ps_buf message = {0}, header = {0};

	*f = (struct finale){.scram = {.nonce = "ours"}};
	ps_buf_printf(&message, "%sn=user,r=theirs", gs2);
	ck_assert_ok(ps_scram_client_first(&f->scram, ps_buf_view(&message), gs2[0] == 'p' ? &plus : &in_the_clear,
					   &f->authzid, &f->authcid));
	derive(&f->scram, "SCRAM-SHA-256", "secret", "AAAA");
	ps_scram_server_first(&f->scram, &f->first);
	ps_buf_printf(&header, "%s%s", gs2, bound);
	scram_client_final(true, password, "n=user,r=theirs", ps_buf_view(&header), ps_buf_view(&f->first), &f->final);
	ps_buf_finish(&message);
	ps_buf_finish(&header);
}

static int end(struct finale *f)
{
	int r = ps_scram_client_final(&f->scram, ps_buf_view(&f->final), &f->out);

	if (r == 0)
		ck_assert_mem_eq(f->out.ptr, "v=", 2);
	else
		ck_assert_uint_eq(f->out.len, 0);
	ps_scram_finish(&f->scram);
	ps_buf_finish(&f->first);
	ps_buf_finish(&f->final);
	ps_buf_finish(&f->authzid);
	ps_buf_finish(&f->authcid);
	ps_buf_finish(&f->out);
	return r;
}

static const struct {
	const char *gs2, *bound, *password;
	bool hopeless;
	int r;
} finals[] = {
	{"n,,", "", "secret", false, 0},
	{"y,,", "", "secret", false, 0},
	{"n,a=user,", "", "secret", false, 0},
	{"p=tls-exporter,,", "abc", "secret", false, 0},
	{"p=tls-exporter,,", "abd", "secret", false, PS_E_ACCESS},
	{"p=tls-exporter,,", "", "secret", false, PS_E_ACCESS},
	{"n,,", "more", "secret", false, PS_E_ACCESS},
	{"n,,", "", "Secret", false, PS_E_AUTH},
	{"n,,", "", "", false, PS_E_AUTH},
	{"n,,", "", "secret", true, PS_E_AUTH},
};

START_TEST(a_proof_holds_for_its_password_and_its_connection)
{
	struct finale f;

	play(&f, finals[_i].gs2, finals[_i].bound, finals[_i].password);
	f.scram.hopeless = finals[_i].hopeless;
	ck_assert_int_eq(end(&f), finals[_i].r);
}
END_TEST

static const char *const no_finals[] = {
	"",
	"c=biws",
	"c=biws,r=theirsours",
	"c=biws,r=theirsours,p=",
	"c=biws,r=theirsours,p=AAAA",
	"c=biws,r=theirsours,p=!",
	"r=theirsours,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"c=!,r=theirsours,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"c=biws,r=theirs,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"c=biws,r=theirsours2,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
};

START_TEST(what_is_no_final_message_is_refused)
{
	struct finale f;

	play(&f, "n,,", "", "secret");
	ps_buf_reset(&f.final);
	ps_buf_str(&f.final, no_finals[_i]);
	ck_assert_int_eq(end(&f), PS_E_SYNTAX);
}
END_TEST

/* ---- what is stored ---- */

static const struct {
	const char *text;
	bool good;
} stored[] = {
	{"4096,AAAA,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=", true},
	{"4096:AAAA$ZmZmZmZmZmZmZmZmZmZmZmZmZmY=:ZmZmZmZmZmZmZmZmZmZmZmZmZmY=", true},
	{"0,AAAA,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=", false},
	{"-1,AAAA,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=", false},
	{"4294967295,AAAA,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=", false},
	{"4096,,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=", false},
	{"4096,AAAA,ZmY=,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=", false},
	{"4096,AAAA,ZmZmZmZmZmZmZmZmZmZmZmZmZmY=", false},
	{"4096", false},
	{"", false},
};

START_TEST(a_stored_secret_is_read_in_both_forms)
{
	struct ps_scram_secret secret;
	int r = ps_scram_secret_parse(ps_scram_hash_find("SCRAM-SHA-1"), ps_bytes_str(stored[_i].text), &secret);

	ck_assert_int_eq(r, stored[_i].good ? 0 : PS_E_UNSUPPORTED);
	if (r == 0) {
		ck_assert_uint_eq(secret.iterations, 4096);
		ck_assert_uint_eq(secret.salt_len, 3);
		ck_assert_mem_eq(secret.stored_key, "ffffffffffffffffffff", 20);
		ck_assert_mem_eq(secret.server_key, "ffffffffffffffffffff", 20);
	}
}
END_TEST

/* RFC 4013 section 3; NULL: refused. */
static const struct {
	const char *password, *same;
} prepared[] = {
	{"I\xc2\xadX", "IX"}, {"user", "user"},       {"\xc2\xaa", "a"},  {"\xe2\x85\xa8", "IX"},
	{"\x07", NULL},       {"\xd8\xa7\x31", NULL}, {"\xff\xff", NULL},
};

START_TEST(a_password_is_prepared)
{
	const struct ps_scram_hash *hash = ps_scram_hash_find("SCRAM-SHA-1");
	struct ps_scram_secret one, other;
	int r = ps_scram_secret_derive(hash, ps_bytes_str(prepared[_i].password), ps_bytes_str("salt"), 1, &one);

	ck_assert_int_eq(r, prepared[_i].same ? 0 : PS_E_INVALID);
	if (r < 0)
		return;
	ck_assert_ok(ps_scram_secret_derive(hash, ps_bytes_str(prepared[_i].same), ps_bytes_str("salt"), 1, &other));
	ck_assert(ps_scram_secret_same(&one, &other));
	ck_assert_ok(ps_scram_secret_derive(hash, ps_bytes_str("another"), ps_bytes_str("salt"), 1, &other));
	ck_assert(!ps_scram_secret_same(&one, &other));
}
END_TEST

static const struct {
	const char *name;
	bool known;
} names[] = {
	{"SCRAM-SHA-1", true},  {"scram-sha-1-plus", true}, {"SCRAM-SHA-256", true}, {"SCRAM-SHA-256-PLUS", true},
	{"SCRAM-SHA-2", false}, {"SCRAM-SHA-512", false},   {"SCRAM-SHA-1-", false}, {"", false},
};

START_TEST(a_hash_is_found_by_the_mechanism)
{
	ck_assert_int_eq(ps_scram_hash_find(names[_i].name) != NULL, names[_i].known);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("scram");
	TCase *tc = tcase_create("scram");

	tcase_add_loop_test(tc, the_examples_of_the_rfcs, 0, PS_ARRAY_LEN(examples));
	tcase_add_loop_test(tc, a_first_message_is_understood_or_refused, 0, PS_ARRAY_LEN(firsts));
	tcase_add_loop_test(tc, a_proof_holds_for_its_password_and_its_connection, 0, PS_ARRAY_LEN(finals));
	tcase_add_loop_test(tc, what_is_no_final_message_is_refused, 0, PS_ARRAY_LEN(no_finals));
	tcase_add_loop_test(tc, a_stored_secret_is_read_in_both_forms, 0, PS_ARRAY_LEN(stored));
	tcase_add_loop_test(tc, a_password_is_prepared, 0, PS_ARRAY_LEN(prepared));
	tcase_add_loop_test(tc, a_hash_is_found_by_the_mechanism, 0, PS_ARRAY_LEN(names));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
