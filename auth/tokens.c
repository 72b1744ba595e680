/* SPDX-License-Identifier: MIT */
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <stdlib.h>
#include "auth/tokens.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define TIME_MAX (INT64_C(1) << 40) /* seconds: what is later is never */

enum {
	KEYS_MAX = 64,
	RSA_BITS_MIN = 2048, /* RFC 7518 section 3.3 */
	LEEWAY_S = 60,       /* clocks differ; not at the end, when sessions end too */
};

/* RFC 7518 section 3.1, RFC 8037. What is not here, "none" before all, is refused. */
static const struct algorithm {
	const char *name;
	gnutls_pk_algorithm_t kind;
	gnutls_sign_algorithm_t signature;
	size_t coordinate; /* octets of each of the two numbers of an ECDSA signature */
} algorithms[] = {
	{"RS256", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA256, 0},
	{"RS384", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA384, 0},
	{"RS512", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA512, 0},
	{"PS256", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, 0},
	{"PS384", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA384, 0},
	{"PS512", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, 0},
	{"ES256", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, 32},
	{"ES384", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA384, 48},
	{"ES512", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA512, 66},
	{"EdDSA", GNUTLS_PK_EDDSA_ED25519, GNUTLS_SIGN_EDDSA_ED25519, 0},
};

static const struct {
	const char *name;
	gnutls_ecc_curve_t curve;
	size_t coordinate;
} curves[] = {
	{"P-256", GNUTLS_ECC_CURVE_SECP256R1, 32},
	{"P-384", GNUTLS_ECC_CURVE_SECP384R1, 48},
	{"P-521", GNUTLS_ECC_CURVE_SECP521R1, 66},
	{"Ed25519", GNUTLS_ECC_CURVE_ED25519, 0},
};

struct key {
	char *id;  /* "": it has none */
	char *use; /* the algorithm that it is for; "": any of its kind */
	gnutls_pubkey_t pubkey;
	gnutls_pk_algorithm_t kind;
	size_t coordinate;
};

struct ps_token_keys {
	struct key keys[KEYS_MAX];
	size_t count;
};

/* "": there is no such text. */
static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* RFC 4648 section 5, without padding. */
static int decode_url(struct ps_bytes text, struct ps_buf *out)
{
	struct ps_buf base64 = {0};
	int r;

	for (size_t i = 0; i < text.len; i++) {
		char c = (char)text.ptr[i];

		ps_buf_char(&base64, c == '-' ? '+' : c == '_' ? '/' : c == '+' || c == '/' || c == '=' ? '!' : c);
	}
	while (base64.len % 4)
		ps_buf_char(&base64, '=');
	r = ps_base64_decode(out, ps_buf_view(&base64));
	ps_buf_finish(&base64);
	return r;
}

/* ---- keys ------------------------------------------------------------------------------------------- */

static gnutls_datum_t datum(const struct ps_buf *buf)
{
	return (gnutls_datum_t){buf->ptr, (unsigned)buf->len};
}

static bool import_rsa(struct key *key, const json_t *jwk)
{
	struct ps_buf n = {0}, e = {0};
	gnutls_datum_t modulus, exponent;
	unsigned bits = 0;
	bool good = decode_url(ps_bytes_str(text_of(jwk, "n")), &n) == 0 &&
		    decode_url(ps_bytes_str(text_of(jwk, "e")), &e) == 0 && n.len > 0 && e.len > 0;

	modulus = datum(&n);
	exponent = datum(&e);
	key->kind = GNUTLS_PK_RSA;
	good = good && gnutls_pubkey_import_rsa_raw(key->pubkey, &modulus, &exponent) == 0 &&
	       gnutls_pubkey_get_pk_algorithm(key->pubkey, &bits) == GNUTLS_PK_RSA && bits >= RSA_BITS_MIN;
	ps_buf_finish(&n);
	ps_buf_finish(&e);
	return good;
}

/* On one of the curves: two coordinates, or the one of Ed25519. */
static bool import_point(struct key *key, const json_t *jwk)
{
	const char *name = text_of(jwk, "crv");
	struct ps_buf x = {0}, y = {0};
	gnutls_datum_t one, other;
	bool good = decode_url(ps_bytes_str(text_of(jwk, "x")), &x) == 0 && x.len > 0 &&
		    decode_url(ps_bytes_str(text_of(jwk, "y")), &y) == 0;
	size_t i = 0;

	while (i < PS_ARRAY_LEN(curves) && strcmp(curves[i].name, name) != 0)
		i++;
	one = datum(&x);
	other = datum(&y);
	good = good && i < PS_ARRAY_LEN(curves) && (y.len > 0) == (curves[i].coordinate > 0) &&
	       gnutls_pubkey_import_ecc_raw(key->pubkey, curves[i].curve, &one, y.len ? &other : NULL) == 0;
	if (good) {
		key->coordinate = curves[i].coordinate;
		key->kind = key->coordinate ? GNUTLS_PK_ECDSA : GNUTLS_PK_EDDSA_ED25519;
	}
	ps_buf_finish(&x);
	ps_buf_finish(&y);
	return good;
}

static void key_finish(struct key *key)
{
	free(key->id);
	free(key->use);
	gnutls_pubkey_deinit(key->pubkey);
}

static void add_key(struct ps_token_keys *keys, const json_t *jwk, const char *path)
{
	const char *kind = text_of(jwk, "kty"), *use = text_of(jwk, "use");
	struct key key = {.id = ps_strdup(text_of(jwk, "kid")), .use = ps_strdup(text_of(jwk, "alg"))};
	bool good;

	if (gnutls_pubkey_init(&key.pubkey) < 0)
		abort(); /* memory: as ps_malloc() */
	good = keys->count < KEYS_MAX && (!*use || strcmp(use, "sig") == 0) &&
	       (strcmp(kind, "RSA") == 0                              ? import_rsa(&key, jwk)
		: strcmp(kind, "EC") == 0 || strcmp(kind, "OKP") == 0 ? import_point(&key, jwk)
								      : false);
	if (good && gnutls_pubkey_verify_params(key.pubkey) == 0) {
		keys->keys[keys->count++] = key;
		return;
	}
	ps_logf(PS_LOG_INFO, "jwks_key", NULL, "%s: the %s key \"%s\" is not used", path, kind, key.id);
	key_finish(&key);
}

int ps_token_keys_parse(struct ps_bytes json, const char *path, struct ps_token_keys **ret_keys)
{
	json_error_t error;
	json_t *root = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &error), *jwk;
	struct ps_token_keys *keys;
	size_t i;

	if (!root)
		return ps_fail(PS_E_INVALID, "%s:%d: %s", path, error.line, error.text);
	keys = ps_zalloc(sizeof *keys);
	json_array_foreach(json_object_get(root, "keys"), i, jwk)
	{
		add_key(keys, jwk, path);
	}
	json_decref(root);
	if (keys->count == 0) {
		ps_token_keys_destroy(keys);
		return ps_fail(PS_E_INVALID, "%s: no key in it can be used", path);
	}
	*ret_keys = keys;
	return 0;
}

void ps_token_keys_destroy(struct ps_token_keys *keys)
{
	if (!keys)
		return;
	for (size_t i = 0; i < keys->count; i++)
		key_finish(&keys->keys[i]);
	free(keys);
}

size_t ps_token_keys_count(const struct ps_token_keys *keys)
{
	return keys->count;
}

/* ---- the signature ---------------------------------------------------------------------------------- */

static const struct algorithm *find_algorithm(const char *name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(algorithms); i++)
		if (strcmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	return NULL;
}

static bool is_signed_with(const struct key *key, const struct algorithm *algorithm, struct ps_bytes text,
			   const struct ps_buf *signature)
{
	gnutls_datum_t data = {(unsigned char *)text.ptr, (unsigned)text.len}, sig = datum(signature), der = {NULL, 0};
	size_t half = algorithm->coordinate;
	bool good;

	if (half) {
		gnutls_datum_t r = {signature->ptr, (unsigned)half}, s = {signature->ptr + half, (unsigned)half};

		if (signature->len != 2 * half || gnutls_encode_rs_value(&der, &r, &s) < 0)
			return false;
		sig = der;
	}
	good = gnutls_pubkey_verify_data2(key->pubkey, algorithm->signature, 0, &data, &sig) >= 0;
	gnutls_free(der.data);
	return good;
}

/* A key is for the algorithms of its own kind: whoever makes the token does not choose what it is checked as. */
static bool fits(const struct key *key, const struct algorithm *algorithm, const char *id)
{
	return key->kind == algorithm->kind && key->coordinate == algorithm->coordinate &&
	       (!*key->use || strcmp(key->use, algorithm->name) == 0) && (!*id || strcmp(key->id, id) == 0);
}

static int check_signature(const struct ps_token_keys *keys, const json_t *header, struct ps_bytes text,
			   const struct ps_buf *signature)
{
	const struct algorithm *algorithm = find_algorithm(text_of(header, "alg"));
	const char *id = text_of(header, "kid");
	bool fitting = false;

	if (!algorithm)
		return ps_fail(PS_E_AUTH, "signed by an algorithm that is not taken here");
	if (json_object_get(header, "crit"))
		return ps_fail(PS_E_AUTH, "an extension that must be understood");
	for (size_t i = 0; i < keys->count; i++) {
		if (!fits(&keys->keys[i], algorithm, id))
			continue;
		if (is_signed_with(&keys->keys[i], algorithm, text, signature))
			return 0;
		fitting = *id;
	}
	return ps_fail(fitting ? PS_E_AUTH : PS_E_NOTFOUND, "not signed with any of the keys");
}

/* ---- the claims ------------------------------------------------------------------------------------- */

static bool has_word(const char *words, const char *word)
{
	size_t length;

	for (; *words; words += length + (words[length] == ' ')) {
		length = strcspn(words, " ");
		if (ps_bytes_eq_str(ps_bytes(words, length), word))
			return true;
	}
	return false;
}

/* One text, or a list of some; the text may be of words. */
static bool holds(const json_t *claim, const char *wanted, bool of_words)
{
	const char *text = json_string_value(claim);
	const json_t *element;
	size_t i;

	if (text)
		return of_words ? has_word(text, wanted) : strcmp(text, wanted) == 0;
	json_array_foreach(claim, i, element)
	{
		if (json_is_string(element) && strcmp(json_string_value(element), wanted) == 0)
			return true;
	}
	return false;
}

/* RFC 7519 section 4.1; -1: there is none. */
static double time_of(const json_t *claims, const char *name)
{
	const json_t *claim = json_object_get(claims, name);

	return json_is_number(claim) ? json_number_value(claim) : -1;
}

static bool is_claimed(const json_t *claims, const char *name, const struct ps_conf *conf, const char *setting)
{
	const char *wanted = ps_conf_str(conf, setting);

	return !wanted || holds(json_object_get(claims, name), wanted, false);
}

static int check_claims(const json_t *claims, const struct ps_conf *conf, int64_t now)
{
	const char *scope = ps_conf_str(conf, "scope");
	const json_t *scopes = json_object_get(claims, "scope");

	if (time_of(claims, "nbf") > (double)(now + LEEWAY_S))
		return ps_fail(PS_E_AUTH, "not valid yet");
	if (!is_claimed(claims, "iss", conf, "issuer"))
		return ps_fail(PS_E_AUTH, "of another issuer");
	if (!is_claimed(claims, "aud", conf, "audience"))
		return ps_fail(PS_E_AUTH, "for another audience");
	if (scope && !holds(scopes ? scopes : json_object_get(claims, "scp"), scope, true))
		return ps_fail(PS_E_AUTH, "without the scope");
	return 0;
}

static int read_user(const json_t *claims, const char *name, struct ps_buf *ret_user)
{
	const char *user = text_of(claims, name);

	if (!*user)
		return ps_fail(PS_E_AUTH, "no claim \"%s\"", name);
	if (strcmp(name, "email") == 0 && json_is_false(json_object_get(claims, "email_verified")))
		return ps_fail(PS_E_AUTH, "the address is not verified");
	return ps_buf_str(ret_user, user) < 0 ? ps_fail(PS_E_AUTH, "the name is too long") : 0;
}

static int read_holder(const json_t *claims, const struct ps_conf *conf, int64_t now,
		       struct ps_token_holder *ret_holder)
{
	double end = time_of(claims, "exp");
	int r = check_claims(claims, conf, now);

	if (r < 0)
		return r;
	if (end >= 0 && end <= (double)now)
		return ps_fail(PS_E_AUTH, "expired");
	if ((r = read_user(claims, ps_conf_str(conf, "user_claim"), &ret_holder->user)) < 0)
		return r;
	ret_holder->expires = end < 0 ? 0 : end < (double)TIME_MAX ? (int64_t)end : TIME_MAX;
	return 0;
}

/* ---- tokens ----------------------------------------------------------------------------------------- */

static json_t *read_object(struct ps_bytes text)
{
	struct ps_buf octets = {0};
	json_t *object = NULL;

	if (decode_url(text, &octets) == 0 && octets.len > 0)
		object = json_loadb((const char *)octets.ptr, octets.len, JSON_REJECT_DUPLICATES, NULL);
	ps_buf_wipe(&octets);
	if (object && json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}

static struct ps_bytes part(struct ps_bytes *rest)
{
	ptrdiff_t dot = ps_bytes_find(*rest, '.');
	struct ps_bytes field = ps_bytes(rest->ptr, dot < 0 ? rest->len : (size_t)dot);

	*rest = ps_bytes_skip(*rest, field.len + (dot >= 0));
	return field;
}

int ps_token_check(const struct ps_token_keys *keys, const struct ps_conf *conf, int64_t now, struct ps_bytes token,
		   struct ps_token_holder *ret_holder)
{
	struct ps_bytes rest = token, head = part(&rest), body = part(&rest);
	struct ps_bytes text = ps_bytes(token.ptr, token.len - rest.len - (rest.len > 0));
	json_t *header = read_object(head), *claims = read_object(body);
	struct ps_buf signature = {0};
	int r = 0;

	if (!header || !claims || rest.len == 0 || decode_url(rest, &signature) < 0)
		r = ps_fail(PS_E_AUTH, "no signed JWT");
	else if ((r = check_signature(keys, header, text, &signature)) == 0)
		r = time_of(claims, "exp") < 0 ? ps_fail(PS_E_AUTH, "for ever")
					       : read_holder(claims, conf, now, ret_holder);
	json_decref(header);
	json_decref(claims);
	ps_buf_finish(&signature);
	return r;
}

int ps_token_introspected(struct ps_bytes json, const struct ps_conf *conf, int64_t now,
			  struct ps_token_holder *ret_holder)
{
	json_t *claims = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *active = json_object_get(claims, "active");
	int r;

	if (!json_is_boolean(active))
		r = ps_fail(PS_E_INVALID, "no answer of token introspection");
	else if (!json_is_true(active))
		r = ps_fail(PS_E_AUTH, "not active");
	else
		r = read_holder(claims, conf, now, ret_holder);
	json_decref(claims);
	return r;
}
