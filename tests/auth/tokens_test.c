/* SPDX-License-Identifier: MIT */
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include "auth/tokens.h"
#include "core/config/config.h"
#include "tests/unit.h"

#define NOW 1700000000

/* ---- keys and tokens, as an issuer makes them ---- */

static const struct maker {
	const char *algorithm, *id, *use; /* `use`: how the JWKS has it; NULL: it has no alg */
	gnutls_pk_algorithm_t kind;
	unsigned bits;
	gnutls_sign_algorithm_t signature;
	unsigned coordinate;
} makers[] = {
	{"ES256", "ec", NULL, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
	 GNUTLS_SIGN_ECDSA_SHA256, 32},
	{"ES384", "ec384", "ES384", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1),
	 GNUTLS_SIGN_ECDSA_SHA384, 48},
	{"ES512", "ec521", NULL, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP521R1),
	 GNUTLS_SIGN_ECDSA_SHA512, 66},
	{"EdDSA", "ed", NULL, GNUTLS_PK_EDDSA_ED25519, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519),
	 GNUTLS_SIGN_EDDSA_ED25519, 0},
	{"RS256", "rsa", NULL, GNUTLS_PK_RSA, 2048, GNUTLS_SIGN_RSA_SHA256, 0},
	{"PS256", "rsa", NULL, GNUTLS_PK_RSA, 2048, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, 0},
};

struct scene {
	const struct maker *maker;
	gnutls_privkey_t privkey;
	struct ps_buf jwks, token;
	struct ps_token_holder holder;
	struct ps_token_keys *keys;
	struct ps_config *config;
};

static void put_url(struct ps_buf *out, struct ps_bytes octets)
{
	struct ps_buf base64 = {0};

	ps_base64_encode(&base64, octets);
	for (size_t i = 0; i < base64.len && base64.ptr[i] != '='; i++)
		ps_buf_char(out, base64.ptr[i] == '+' ? '-' : base64.ptr[i] == '/' ? '_' : (char)base64.ptr[i]);
	ps_buf_finish(&base64);
}

static void put_number(struct ps_buf *out, const char *name, const gnutls_datum_t *number)
{
	if (!number->data)
		return;
	ps_buf_printf(out, ",\"%s\":\"", name);
	put_url(out, ps_bytes(number->data, number->size));
	ps_buf_char(out, '"');
}

static void put_jwk(struct scene *scene)
{
	gnutls_pubkey_t pubkey;
	gnutls_datum_t one = {NULL, 0}, other = {NULL, 0};
	const struct maker *maker = scene->maker;
	bool is_rsa = maker->kind == GNUTLS_PK_RSA;
	const char *curve = maker->coordinate == 32   ? "P-256"
			    : maker->coordinate == 48 ? "P-384"
			    : maker->coordinate       ? "P-521"
						      : "Ed25519";

	ck_assert_int_eq(gnutls_pubkey_init(&pubkey), 0);
	ck_assert_int_eq(gnutls_pubkey_import_privkey(pubkey, scene->privkey, 0, 0), 0);
	if (is_rsa)
		ck_assert_int_eq(gnutls_pubkey_export_rsa_raw2(pubkey, &one, &other, GNUTLS_EXPORT_FLAG_NO_LZ), 0);
	else
		ck_assert_int_eq(gnutls_pubkey_export_ecc_raw2(pubkey, NULL, &one, &other, GNUTLS_EXPORT_FLAG_NO_LZ),
				 0);
	ps_buf_printf(&scene->jwks, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"%s\",\"kid\":\"%s\"",
		      is_rsa              ? "RSA"
		      : maker->coordinate ? "EC"
					  : "OKP",
		      maker->id);
	if (maker->use)
		ps_buf_printf(&scene->jwks, ",\"alg\":\"%s\"", maker->use);
	if (!is_rsa)
		ps_buf_printf(&scene->jwks, ",\"crv\":\"%s\"", curve);
	put_number(&scene->jwks, is_rsa ? "n" : "x", &one);
	put_number(&scene->jwks, is_rsa ? "e" : "y", &other);
	ps_buf_str(&scene->jwks, "}]}");
	gnutls_free(one.data);
	gnutls_free(other.data);
	gnutls_pubkey_deinit(pubkey);
}

static void put_fixed(struct ps_buf *out, const gnutls_datum_t *number, unsigned size)
{
	size_t skip = number->size > size ? number->size - size : 0;

	for (unsigned i = number->size; i < size; i++)
		ps_buf_char(out, '\0');
	ps_buf_append(out, number->data + skip, number->size - skip);
}

static void make_token(struct scene *scene, const char *header, const char *claims)
{
	gnutls_datum_t data, signature, r, s;
	struct ps_buf raw = {0};

	ps_buf_reset(&scene->token);
	put_url(&scene->token, ps_bytes_str(header));
	ps_buf_char(&scene->token, '.');
	put_url(&scene->token, ps_bytes_str(claims));
	data = (gnutls_datum_t){scene->token.ptr, (unsigned)scene->token.len};
	ck_assert_int_eq(gnutls_privkey_sign_data2(scene->privkey, scene->maker->signature, 0, &data, &signature), 0);
	ps_buf_char(&scene->token, '.');
	if (scene->maker->coordinate) {
		ck_assert_int_eq(gnutls_decode_rs_value(&signature, &r, &s), 0);
		put_fixed(&raw, &r, scene->maker->coordinate);
		put_fixed(&raw, &s, scene->maker->coordinate);
		gnutls_free(r.data);
		gnutls_free(s.data);
	} else {
		ps_buf_append(&raw, signature.data, signature.size);
	}
	put_url(&scene->token, ps_buf_view(&raw));
	ps_buf_finish(&raw);
	gnutls_free(signature.data);
}

static void set_up(struct scene *scene, const struct maker *maker, const char *oauth)
{
	struct ps_buf text = {0};

	*scene = (struct scene){.maker = maker, .holder.user.limit = 255};
	ps_buf_printf(
		&text,
		"mail_root = \"/srv/mail\"\noauth { issuer = \"https://id.example.test\" audience = \"mail\" %s }\n",
		oauth);
	ck_assert_ok(ps_config_read("test", ps_buf_view(&text), NULL, &scene->config));
	ck_assert_int_eq(gnutls_privkey_init(&scene->privkey), 0);
	ck_assert_int_eq(gnutls_privkey_generate(scene->privkey, maker->kind, maker->bits, 0), 0);
	put_jwk(scene);
	ck_assert_ok(ps_token_keys_parse(ps_buf_view(&scene->jwks), "jwks", &scene->keys));
	ck_assert_uint_eq(ps_token_keys_count(scene->keys), 1);
	ps_buf_finish(&text);
}

static int check(struct scene *scene)
{
	ps_buf_reset(&scene->holder.user);
	return ps_token_check(scene->keys, ps_conf_section(ps_config_root(scene->config), "oauth", 0), NOW,
			      ps_buf_view(&scene->token), &scene->holder);
}

static void tear_down(struct scene *scene)
{
	gnutls_privkey_deinit(scene->privkey);
	ps_token_keys_destroy(scene->keys);
	ps_config_destroy(scene->config);
	ps_buf_finish(&scene->jwks);
	ps_buf_finish(&scene->token);
	ps_buf_finish(&scene->holder.user);
}

#define GOOD                                                                                                           \
	"{\"iss\":\"https://id.example.test\",\"aud\":[\"other\",\"mail\"],\"exp\":1700000100,"                        \
	"\"email\":\"alice@example.test\"}"

START_TEST(each_algorithm_is_checked_with_its_key)
{
	struct scene scene;
	char header[128];

	set_up(&scene, &makers[_i], "");
	snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\"}", makers[_i].algorithm, makers[_i].id);
	make_token(&scene, header, GOOD);
	ck_assert_ok(check(&scene));
	ck_assert_str_eq(ps_buf_cstr(&scene.holder.user), "alice@example.test");
	/* of the text, the signature, and the end */
	scene.token.ptr[strlen(header)] ^= 1;
	ck_assert_int_lt(check(&scene), 0); /* it may be the key's id that is another now */
	scene.token.ptr[strlen(header)] ^= 1;
	ck_assert_ok(check(&scene));
	scene.token.ptr[scene.token.len - 8] ^= 1;
	ck_assert_int_eq(check(&scene), PS_E_AUTH);
	scene.token.ptr[scene.token.len - 8] ^= 1;
	scene.token.len -= 4;
	ck_assert_int_eq(check(&scene), PS_E_AUTH);
	ck_assert_uint_eq(scene.holder.user.len, 0);
	tear_down(&scene);
}
END_TEST

#define BODY(more)  "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"exp\":1700000100" more "}"
#define NAMED(more) BODY(",\"email\":\"alice@example.test\"" more)

static const struct {
	const char *oauth, *header, *claims, *user; /* NULL: refused */
	int r;
} tokens[] = {
	{"", "{\"alg\":\"ES256\"}", GOOD, "alice@example.test", 0},
	{"", "{\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"at+jwt\"}", NAMED(",\"nbf\":1699999999"),
	 "alice@example.test", 0},
	{"", "{\"alg\":\"ES256\"}", NAMED(",\"email_verified\":true"), "alice@example.test", 0},
	{"user_claim = \"sub\"", "{\"alg\":\"ES256\"}", BODY(",\"sub\":\"bob\",\"email_verified\":false"), "bob", 0},
	{"scope = \"imap\"", "{\"alg\":\"ES256\"}", NAMED(",\"scope\":\"smtp imap\""), "alice@example.test", 0},
	{"scope = \"imap\"", "{\"alg\":\"ES256\"}", NAMED(",\"scp\":[\"smtp\",\"imap\"]"), "alice@example.test", 0},
	/* the header */
	{"", "{\"alg\":\"none\"}", GOOD, NULL, PS_E_AUTH},
	{"", "{\"alg\":\"HS256\"}", GOOD, NULL, PS_E_AUTH},
	{"", "{\"alg\":\"RS256\"}", GOOD, NULL, PS_E_NOTFOUND},
	{"", "{\"alg\":\"ES384\"}", GOOD, NULL, PS_E_NOTFOUND},
	{"", "{}", GOOD, NULL, PS_E_AUTH},
	{"", "[]", GOOD, NULL, PS_E_AUTH},
	{"", "not JSON", GOOD, NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\",\"kid\":\"other\"}", GOOD, NULL, PS_E_NOTFOUND},
	{"", "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", GOOD, NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\",\"alg\":\"ES256\"}", GOOD, NULL, PS_E_AUTH},
	/* the claims */
	{"", "{\"alg\":\"ES256\"}", "{}", NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}", "[]", NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}",
	 "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"email\":\"a@example.test\"}", NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}",
	 "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"email\":\"a@example.test\",\"exp\":1700000000}", NULL,
	 PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}",
	 "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"email\":\"a@example.test\",\"exp\":\"1800000000\"}",
	 NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}", NAMED(",\"nbf\":1700000100"), NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}",
	 "{\"iss\":\"https://evil.test\",\"aud\":\"mail\",\"exp\":1700000100,\"email\":\"a@b.test\"}", NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}",
	 "{\"iss\":\"https://id.example.test\",\"aud\":\"mailer\",\"exp\":1700000100,\"email\":\"a@b.test\"}", NULL,
	 PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}",
	 "{\"iss\":\"https://id.example.test\",\"aud\":[],\"exp\":1700000100,\"email\":\"a@b.test\"}", NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}", BODY(""), NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}", BODY(",\"email\":\"\""), NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}", BODY(",\"email\":[\"a@b.test\"]"), NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}", BODY(",\"email\":\"a\\u0000b\""), NULL, PS_E_AUTH},
	{"", "{\"alg\":\"ES256\"}", NAMED(",\"email_verified\":false"), NULL, PS_E_AUTH},
	{"scope = \"imap\"", "{\"alg\":\"ES256\"}", NAMED(""), NULL, PS_E_AUTH},
	{"scope = \"imap\"", "{\"alg\":\"ES256\"}", NAMED(",\"scope\":\"imaps smtp\""), NULL, PS_E_AUTH},
};

START_TEST(a_token_holds_for_whom_it_was_made)
{
	struct scene scene;

	set_up(&scene, &makers[0], tokens[_i].oauth);
	make_token(&scene, tokens[_i].header, tokens[_i].claims);
	ck_assert_int_eq(check(&scene), tokens[_i].user ? 0 : tokens[_i].r);
	ck_assert_int_eq(scene.holder.expires, tokens[_i].user ? NOW + 100 : 0);
	ck_assert_str_eq(ps_buf_cstr(&scene.holder.user), tokens[_i].user ? tokens[_i].user : "");
	tear_down(&scene);
}
END_TEST

/* RFC 7662 section 2.2, what is set is asked for. */
static const struct {
	const char *oauth, *answer;
	int r;
	int64_t expires;
} answers[] = {
	{"", "{\"active\":true,\"email\":\"alice@example.test\"}", 0, 0},
	{"", "{\"active\":true,\"email\":\"alice@example.test\",\"exp\":1700000001}", 0, NOW + 1},
	{"", "{\"active\":true,\"email\":\"alice@example.test\",\"exp\":1e300}", 0, INT64_C(1) << 40},
	{"user_claim = \"username\"", "{\"active\":true,\"username\":\"alice@example.test\"}", 0, 0},
	{"scope = \"mail\"", "{\"active\":true,\"email\":\"alice@example.test\",\"scope\":\"a mail\"}", 0, 0},
	{"audience = \"mail\"", "{\"active\":true,\"email\":\"alice@example.test\",\"aud\":[\"mail\"]}", 0, 0},
	{"", "{\"active\":false}", PS_E_AUTH, 0},
	{"", "{\"active\":false,\"email\":\"alice@example.test\"}", PS_E_AUTH, 0},
	{"", "{\"active\":true}", PS_E_AUTH, 0},
	{"", "{\"active\":true,\"email\":\"alice@example.test\",\"exp\":1700000000}", PS_E_AUTH, 0},
	{"", "{\"active\":true,\"email\":\"alice@example.test\",\"nbf\":1700000100}", PS_E_AUTH, 0},
	{"scope = \"mail\"", "{\"active\":true,\"email\":\"alice@example.test\"}", PS_E_AUTH, 0},
	{"audience = \"mail\"", "{\"active\":true,\"email\":\"alice@example.test\"}", PS_E_AUTH, 0},
	{"issuer = \"https://id.example.test\"", "{\"active\":true,\"email\":\"alice@example.test\",\"iss\":\"x\"}",
	 PS_E_AUTH, 0},
	{"", "", PS_E_INVALID, 0},
	{"", "[]", PS_E_INVALID, 0},
	{"", "{}", PS_E_INVALID, 0},
	{"", "{\"active\":\"true\",\"email\":\"alice@example.test\"}", PS_E_INVALID, 0},
	{"", "{\"active\":false,\"active\":true,\"email\":\"alice@example.test\"}", PS_E_INVALID, 0},
};

START_TEST(an_issuer_is_believed_in_what_it_says_of_a_token)
{
	struct ps_token_holder holder = {.user.limit = 255};
	struct ps_buf text = {0};
	struct ps_config *config;

	ps_buf_printf(&text, "mail_root = \"/srv/mail\"\noauth { %s }\n", answers[_i].oauth);
	ck_assert_ok(ps_config_read("test", ps_buf_view(&text), NULL, &config));
	ck_assert_int_eq(ps_token_introspected(ps_bytes_str(answers[_i].answer),
					       ps_conf_section(ps_config_root(config), "oauth", 0), NOW, &holder),
			 answers[_i].r);
	if (answers[_i].r == 0) {
		ck_assert_str_eq(ps_buf_cstr(&holder.user), "alice@example.test");
		ck_assert_int_eq(holder.expires, answers[_i].expires);
	}
	ps_buf_finish(&holder.user);
	ps_buf_finish(&text);
	ps_config_destroy(config);
}
END_TEST

static const char *const no_tokens[] = {"",      ".",        "..",      "...",
					"a.b.c", "e30.e30.", "e30.e30", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="};

START_TEST(what_is_no_token_is_refused)
{
	struct scene scene;

	set_up(&scene, &makers[0], "");
	ps_buf_str(&scene.token, no_tokens[_i]);
	ck_assert_int_eq(check(&scene), PS_E_AUTH);
	tear_down(&scene);
}
END_TEST

/* RFC 7515, appendix A.3; but for its audience it would do. */
START_TEST(the_example_of_the_rfc)
{
	static const char jwks[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
				   "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
				   "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
	static const char token[] =
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
		"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
		"pmWQxfKTUJqPP3-Kg6NU1Q";
	struct ps_token_keys *keys;
	struct ps_config *config;
	struct ps_token_holder holder = {0};

	ck_assert_ok(ps_token_keys_parse(ps_bytes_str(jwks), "jwks", &keys));
	ck_assert_ok(ps_config_read(
		"test", ps_bytes_str("mail_root = \"/srv/mail\"\noauth { issuer = \"joe\" audience = \"mail\" }\n"),
		NULL, &config));
	ck_assert_int_eq(ps_token_check(keys, ps_conf_section(ps_config_root(config), "oauth", 0), 1300819000,
					ps_bytes_str(token), &holder),
			 PS_E_AUTH);
	ck_assert_str_eq(ps_last_error(), "for another audience");
	ps_config_destroy(config);
	ps_token_keys_destroy(keys);
}
END_TEST

static const char *const no_keys[] = {
	"",
	"not JSON",
	"{}",
	"{\"keys\":{}}",
	"{\"keys\":[]}",
	"{\"keys\":[1]}",
	"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
	"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", /* far too short */
	"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQAB\",\"y\":\"AQAB\"}]}",
	"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}]}",
	"{\"keys\":[{\"kty\":\"EC\",\"use\":\"enc\",\"crv\":\"P-256\",\"x\":"
	"\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
};

START_TEST(what_has_no_keys_is_no_jwks)
{
	struct ps_token_keys *keys;

	ck_assert_int_eq(ps_token_keys_parse(ps_bytes_str(no_keys[_i]), "jwks", &keys), PS_E_INVALID);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tokens");
	TCase *tc = tcase_create("tokens");

	tcase_add_loop_test(tc, each_algorithm_is_checked_with_its_key, 0, PS_ARRAY_LEN(makers));
	tcase_add_loop_test(tc, a_token_holds_for_whom_it_was_made, 0, PS_ARRAY_LEN(tokens));
	tcase_add_loop_test(tc, an_issuer_is_believed_in_what_it_says_of_a_token, 0, PS_ARRAY_LEN(answers));
	tcase_add_loop_test(tc, what_is_no_token_is_refused, 0, PS_ARRAY_LEN(no_tokens));
	tcase_add_test(tc, the_example_of_the_rfc);
	tcase_add_loop_test(tc, what_has_no_keys_is_no_jwks, 0, PS_ARRAY_LEN(no_keys));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
