/* SPDX-License-Identifier: MIT */
#include <crypt.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include "config.h"
#ifdef HAVE_ARGON2
#include <argon2.h>
#endif
#include "auth/passwords.h"
#include "postern/error.h"
#include "postern/pool.h"

struct scheme;
typedef int (*check_fn)(const struct scheme *scheme, const char *hash, const char *password, size_t len);
typedef int (*make_fn)(const struct scheme *scheme, const char *password, struct ps_buf *out);

/* A scheme is a row. `make` NULL: new ones are not made; `prefix`: how libcrypt spells its hashes. */
struct scheme {
	const char *name;
	check_fn check;
	make_fn make;
	const char *prefix;
	gnutls_digest_algorithm_t digest;
	bool salted;
};

static int check_plain(const struct scheme *, const char *, const char *, size_t);
static int check_crypt(const struct scheme *, const char *, const char *, size_t);
static int check_digest(const struct scheme *, const char *, const char *, size_t);
#ifdef HAVE_ARGON2
static int check_argon2(const struct scheme *, const char *, const char *, size_t);
#endif

static int check_scram(const struct scheme *, const char *, const char *, size_t);
static int make_crypt(const struct scheme *, const char *, struct ps_buf *);
static int make_scram(const struct scheme *, const char *, struct ps_buf *);

static const struct scheme schemes[] = {
	{"YESCRYPT", check_crypt, make_crypt, "$y$", 0, false},
	{"SHA512-CRYPT", check_crypt, make_crypt, "$6$", 0, false},
	{"SHA256-CRYPT", check_crypt, make_crypt, "$5$", 0, false},
	{"BLF-CRYPT", check_crypt, make_crypt, "$2b$", 0, false},
	{"MD5-CRYPT", check_crypt, NULL, NULL, 0, false},
	{"CRYPT", check_crypt, NULL, NULL, 0, false},
	{"SCRAM-SHA-256", check_scram, make_scram, NULL, 0, false},
	{"SCRAM-SHA-1", check_scram, make_scram, NULL, 0, false},
	{"PLAIN", check_plain, NULL, NULL, 0, false},
	{"CLEARTEXT", check_plain, NULL, NULL, 0, false},
	{"PLAIN-MD5", check_digest, NULL, NULL, GNUTLS_DIG_MD5, false},
	{"SHA", check_digest, NULL, NULL, GNUTLS_DIG_SHA1, false},
	{"SHA1", check_digest, NULL, NULL, GNUTLS_DIG_SHA1, false},
	{"SSHA", check_digest, NULL, NULL, GNUTLS_DIG_SHA1, true},
	{"SHA256", check_digest, NULL, NULL, GNUTLS_DIG_SHA256, false},
	{"SSHA256", check_digest, NULL, NULL, GNUTLS_DIG_SHA256, true},
	{"SHA512", check_digest, NULL, NULL, GNUTLS_DIG_SHA512, false},
	{"SSHA512", check_digest, NULL, NULL, GNUTLS_DIG_SHA512, true},
#ifdef HAVE_ARGON2
	{"ARGON2I", check_argon2, NULL, NULL, 0, false},
	{"ARGON2ID", check_argon2, NULL, NULL, 0, false},
#endif
};

static const struct scheme *scheme_find(struct ps_bytes name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(schemes); i++)
		if (ps_bytes_caseeq_str(name, schemes[i].name))
			return &schemes[i];
	return NULL;
}

/* RFC 5803: "SCRAM-SHA-256$4096:..." has no braces. */
static struct ps_bytes bare_scheme(const char *stored)
{
	const char *dollar = strncmp(stored, "SCRAM-", 6) == 0 ? strchr(stored, '$') : NULL;

	return dollar ? ps_bytes(stored, (size_t)(dollar - stored)) : ps_bytes(NULL, 0);
}

/* Splits "{SCHEME}hash". An encoding after the scheme's name (".HEX", ".B64") is seen from the hash anyway. */
static int parse(const char *stored, const struct scheme **ret_scheme, const char **ret_hash)
{
	const char *end = stored[0] == '{' ? strchr(stored, '}') : NULL;
	struct ps_bytes bare = bare_scheme(stored);
	struct ps_bytes name = end ? ps_bytes(stored + 1, (size_t)(end - stored) - 1) : ps_bytes_str("CRYPT");
	ptrdiff_t dot = ps_bytes_find(name, '.');
	const struct scheme *scheme;

	if (bare.ptr) {
		name = bare;
		end = stored + bare.len;
	} else if (dot > 0) {
		name.len = (size_t)dot;
	}
	scheme = scheme_find(name);
	if (stored[0] == '{' && !end)
		return ps_fail(PS_E_UNSUPPORTED, "password scheme without a closing brace");
	if (!scheme)
		return ps_fail(PS_E_UNSUPPORTED, "password scheme {%.*s} is not known here", (int)name.len,
			       (const char *)name.ptr);
	*ret_scheme = scheme;
	*ret_hash = end ? end + 1 : stored;
	if (!**ret_hash)
		return ps_fail(PS_E_UNSUPPORTED, "nothing behind password scheme {%s}", scheme->name);
	return 0;
}

/* ---- checking -------------------------------------------------------------------------------- */

/* In time that depends on the lengths only. */
static int compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	if (a_len != b_len || gnutls_memcmp(a, b, a_len) != 0)
		return ps_fail(PS_E_AUTH, "wrong password");
	return 0;
}

static int check_plain(const struct scheme *scheme, const char *hash, const char *password, size_t len)
{
	uint8_t want[32], got[32];

	(void)scheme;
	/* Digests are of one length, so the time does not tell the password's. */
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, hash, strlen(hash), want) < 0 ||
	    gnutls_hash_fast(GNUTLS_DIG_SHA256, password, len, got) < 0)
		return ps_fail(PS_E_UNSUPPORTED, "SHA-256 is not to be had");
	return compare(want, sizeof want, got, sizeof got);
}

static int check_crypt(const struct scheme *scheme, const char *hash, const char *password, size_t len)
{
	struct crypt_data *data = ps_zalloc(sizeof *data); /* 32 KiB: too much for a thread's stack */
	const char *made = crypt_r(password, hash, data);
	int r;

	(void)scheme;
	(void)len;
	if (!made || made[0] == '*')
		r = ps_fail(PS_E_UNSUPPORTED, "libcrypt does not take the stored hash");
	else
		r = compare(hash, strlen(hash), made, strlen(made));
	explicit_bzero(data, sizeof *data);
	free(data);
	return r;
}

static int decode_hex(const char *hash, struct ps_buf *out)
{
	for (; hash[0]; hash += 2) {
		unsigned octet;

		if (!strchr("0123456789abcdefABCDEF", hash[0]) || !hash[1] ||
		    !strchr("0123456789abcdefABCDEF", hash[1]) || sscanf(hash, "%2x", &octet) != 1)
			return ps_fail(PS_E_UNSUPPORTED, "the stored hash is not hexadecimal");
		ps_buf_char(out, (char)octet);
	}
	return 0;
}

/* Digests are stored in base64 or hexadecimal; the length tells which, a salt follows the digest.
 */
static int decode_digest(const struct scheme *scheme, const char *hash, struct ps_buf *out)
{
	size_t digest_len = gnutls_hash_get_len(scheme->digest), len = strlen(hash);
	bool is_hex = strspn(hash, "0123456789abcdefABCDEF") == len && len % 2 == 0 &&
		      (len == 2 * digest_len || (scheme->salted && len > 2 * digest_len));
	int r = is_hex ? decode_hex(hash, out) : ps_base64_decode(out, ps_bytes(hash, len));

	if (r < 0 || out->len < digest_len || (!scheme->salted && out->len > digest_len))
		return ps_fail(PS_E_UNSUPPORTED, "the stored hash is not one of {%s}", scheme->name);
	return 0;
}

static int check_digest(const struct scheme *scheme, const char *hash, const char *password, size_t len)
{
	size_t digest_len = gnutls_hash_get_len(scheme->digest);
	struct ps_buf stored = {.limit = 1024}, salted = {.limit = PS_PASSWORD_MAX + 1024};
	uint8_t digest[64];
	int r = decode_digest(scheme, hash, &stored);

	if (r == 0) {
		ps_buf_append(&salted, password, len);
		ps_buf_append(&salted, stored.ptr + digest_len, stored.len - digest_len);
		if (salted.failed || gnutls_hash_fast(scheme->digest, salted.ptr, salted.len, digest) < 0)
			r = ps_fail(PS_E_UNSUPPORTED, "cannot compute {%s}", scheme->name);
		else
			r = compare(stored.ptr, digest_len, digest, digest_len);
	}
	ps_buf_wipe(&stored);
	ps_buf_wipe(&salted);
	return r;
}

#ifdef HAVE_ARGON2
static int check_argon2(const struct scheme *scheme, const char *hash, const char *password, size_t len)
{
	argon2_type type = strncmp(hash, "$argon2id$", 10) == 0 ? Argon2_id : Argon2_i;
	int r = argon2_verify(hash, password, len, type);

	if (r == ARGON2_OK)
		return 0;
	if (r == ARGON2_VERIFY_MISMATCH)
		return ps_fail(PS_E_AUTH, "wrong password");
	return ps_fail(PS_E_UNSUPPORTED, "{%s}: %s", scheme->name, argon2_error_message(r));
}
#endif

static int check_scram(const struct scheme *scheme, const char *hash, const char *password, size_t len)
{
	struct ps_scram_secret stored, made;
	int r = ps_scram_secret_parse(ps_scram_hash_find(scheme->name), ps_bytes_str(hash), &stored);

	if (r < 0)
		return r;
	r = ps_scram_secret_derive(stored.hash, ps_bytes(password, len), ps_bytes(stored.salt, stored.salt_len),
				   stored.iterations, &made);
	if (r == PS_E_INVALID || (r == 0 && !ps_scram_secret_same(&stored, &made)))
		r = ps_fail(PS_E_AUTH, "wrong password");
	explicit_bzero(&stored, sizeof stored);
	explicit_bzero(&made, sizeof made);
	return r;
}

static int check_new(struct ps_bytes password)
{
	if (password.len == 0)
		return ps_fail(PS_E_INVALID, "the password is empty");
	if (password.len > PS_PASSWORD_MAX)
		return ps_fail(PS_E_INVALID, "the password is longer than %d octets", PS_PASSWORD_MAX);
	if (ps_bytes_find(password, '\0') >= 0)
		return ps_fail(PS_E_INVALID, "the password holds a NUL octet");
	return 0;
}

int ps_password_check(const char *stored, struct ps_bytes password)
{
	char text[PS_PASSWORD_MAX + 1];
	const struct scheme *scheme;
	const char *hash;
	int r = parse(stored, &scheme, &hash);

	if (r < 0)
		return r;
	if (check_new(password) < 0)
		return PS_E_AUTH;
	memcpy(text, password.ptr, password.len);
	text[password.len] = '\0';
	r = scheme->check(scheme, hash, text, password.len);
	explicit_bzero(text, sizeof text);
	return r;
}

int ps_password_stored_check(const char *stored)
{
	const struct scheme *scheme;
	const char *hash;

	return parse(stored, &scheme, &hash);
}

unsigned ps_password_serves(const char *stored)
{
	const struct scheme *scheme;
	const char *hash;

	if (parse(stored, &scheme, &hash) < 0)
		return 0;
	if (scheme->check == check_plain)
		return PS_SERVES_ALL;
	if (scheme->check != check_scram)
		return PS_SERVES_PASSWORD;
	return PS_SERVES_PASSWORD |
	       (strcmp(scheme->name, "SCRAM-SHA-1") == 0 ? PS_SERVES_SCRAM_SHA_1 : PS_SERVES_SCRAM_SHA_256);
}

int ps_password_scram(const char *stored, const struct ps_scram_hash *hash, struct ps_bytes salt,
		      struct ps_scram_secret *ret_secret)
{
	const struct scheme *scheme = NULL;
	const char *text = NULL;
	bool known = stored && parse(stored, &scheme, &text) == 0;
	bool is_clear = known && scheme->check == check_plain;
	int r = ps_scram_secret_derive(hash, is_clear ? ps_bytes_str(text) : ps_bytes("-", 1), salt,
				       PS_SCRAM_ITERATIONS, ret_secret);

	if (r == 0 && is_clear)
		return 0;
	if (known && scheme->check == check_scram && ps_scram_hash_find(scheme->name) == hash &&
	    ps_scram_secret_parse(hash, ps_bytes_str(text), ret_secret) == 0)
		return 0;
	if (r < 0 && (r = ps_scram_secret_derive(hash, ps_bytes("-", 1), salt, PS_SCRAM_ITERATIONS, ret_secret)) < 0)
		return r;
	/* Nobody knows what such a key is the hash of. */
	memset(ret_secret->stored_key, 0, sizeof ret_secret->stored_key);
	memset(ret_secret->server_key, 0, sizeof ret_secret->server_key);
	return ps_fail(PS_E_UNSUPPORTED, "no secret for SCRAM with this hash");
}

/* Up to the salt: the hash is behind the last '$', and the salt before it; only bcrypt has both in one. Of SCRAM, the iterations. */
struct ps_bytes ps_password_cost(const char *stored)
{
	const struct scheme *scheme;
	const char *hash;
	struct ps_bytes cost;
	unsigned fields;

	if (parse(stored, &scheme, &hash) < 0)
		return ps_bytes("", 0);
	if (scheme->check == check_scram)
		return ps_bytes(stored, (size_t)(hash - stored) + strcspn(hash, ",:"));
	if (hash[0] != '$')
		return ps_bytes("", 0);
	cost = ps_bytes_str(hash);
	fields = hash[1] == '2' ? 1 : 2;
	while (cost.len > 0 && fields > 0)
		fields -= cost.ptr[--cost.len] == '$';
	return cost;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int make_crypt(const struct scheme *scheme, const char *password, struct ps_buf *out)
{
	struct crypt_data *data = ps_zalloc(sizeof *data);
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *made = NULL;
	int r = 0;

	/* No octets given: libcrypt takes fresh ones from the kernel. */
	if (crypt_gensalt_rn(scheme->prefix, 0, NULL, 0, setting, sizeof setting))
		made = crypt_r(password, setting, data);
	if (!made || made[0] == '*')
		r = ps_fail(PS_E_UNSUPPORTED, "libcrypt makes no {%s} here", scheme->name);
	else
		r = ps_buf_printf(out, "{%s}%s", scheme->name, made);
	explicit_bzero(data, sizeof *data);
	free(data);
	return r;
}

static int make_scram(const struct scheme *scheme, const char *password, struct ps_buf *out)
{
	uint8_t salt[PS_SCRAM_SALT_SIZE];
	struct ps_scram_secret secret;
	int r;

	if (gnutls_rnd(GNUTLS_RND_KEY, salt, sizeof salt) < 0)
		return ps_fail(PS_E_INTERNAL, "no random octets");
	r = ps_scram_secret_derive(ps_scram_hash_find(scheme->name), ps_bytes_str(password),
				   ps_bytes(salt, sizeof salt), PS_SCRAM_ITERATIONS, &secret);
	if (r < 0)
		return r;
	ps_buf_printf(out, "{%s}", scheme->name);
	ps_scram_secret_format(&secret, out);
	explicit_bzero(&secret, sizeof secret);
	return 0;
}

int ps_password_hash(struct ps_bytes password, const char *scheme, struct ps_buf *out)
{
	char text[PS_PASSWORD_MAX + 1];
	int r = check_new(password);

	if (r < 0)
		return r;
	memcpy(text, password.ptr, password.len);
	text[password.len] = '\0';
	r = ps_fail(PS_E_UNSUPPORTED, "no new passwords are made with scheme {%s}", scheme ? scheme : "");
	/* The best come first in the table. */
	for (size_t i = 0; i < PS_ARRAY_LEN(schemes) && r < 0; i++)
		if (schemes[i].make && (!scheme || ps_strcasecmp(scheme, schemes[i].name) == 0))
			r = schemes[i].make(&schemes[i], text, out);
	explicit_bzero(text, sizeof text);
	return r;
}
