/* SPDX-License-Identifier: MIT */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <stringprep.h>
#include "auth/scram.h"
#include "postern/error.h"
#include "postern/pool.h"

struct ps_scram_hash {
	const char *name;
	gnutls_mac_algorithm_t mac;
	gnutls_digest_algorithm_t digest;
	size_t size;
};

static const struct ps_scram_hash hashes[] = {
	{"SCRAM-SHA-1", GNUTLS_MAC_SHA1, GNUTLS_DIG_SHA1, 20},
	{"SCRAM-SHA-256", GNUTLS_MAC_SHA256, GNUTLS_DIG_SHA256, 32},
};

static const char *const binding_names[PS_BINDINGS] = {
	[PS_BINDING_EXPORTER] = "tls-exporter",
	[PS_BINDING_UNIQUE] = "tls-unique",
	[PS_BINDING_END_POINT] = "tls-server-end-point",
};

const struct ps_scram_hash *ps_scram_hash_find(const char *name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(hashes); i++) {
		size_t length = strlen(hashes[i].name);

		if (ps_bytes_caseeq_str(ps_bytes(name, strnlen(name, length)), hashes[i].name) &&
		    (!name[length] || ps_strcasecmp(name + length, "-PLUS") == 0))
			return &hashes[i];
	}
	return NULL;
}

/* ---- secrets ---------------------------------------------------------------------------------------- */

/* Up to one of the separators, which is passed over. */
static struct ps_bytes until(struct ps_bytes *rest, const char *separators)
{
	size_t n = 0;

	while (n < rest->len && !memchr(separators, rest->ptr[n], strlen(separators)))
		n++;
	struct ps_bytes field = ps_bytes(rest->ptr, n);

	*rest = ps_bytes_skip(*rest, n + (n < rest->len));
	return field;
}

/* So many octets, or between 1 and `most` where *len is 0. */
static bool decode(struct ps_bytes base64, size_t most, uint8_t *ret_octets, size_t *len)
{
	struct ps_buf out = {.limit = most};
	bool good = ps_base64_decode(&out, base64) == 0 && out.len > 0 && (*len == 0 || out.len == *len);

	if (good) {
		memcpy(ret_octets, out.ptr, out.len);
		*len = out.len;
	}
	ps_buf_wipe(&out);
	return good;
}

int ps_scram_secret_parse(const struct ps_scram_hash *hash, struct ps_bytes text, struct ps_scram_secret *ret_secret)
{
	struct ps_scram_secret secret = {.hash = hash};
	size_t size = hash->size;

	if (ps_bytes_u32(until(&text, ",:"), &secret.iterations) < 0 || secret.iterations == 0 ||
	    secret.iterations > PS_SCRAM_ITERATIONS_MAX ||
	    !decode(until(&text, ",$"), sizeof secret.salt, secret.salt, &secret.salt_len) ||
	    !decode(until(&text, ",:"), size, secret.stored_key, &size) ||
	    !decode(text, size, secret.server_key, &size))
		return ps_fail(PS_E_UNSUPPORTED, "the stored hash is not one of {%s}", hash->name);
	*ret_secret = secret;
	return 0;
}

static int hmac(const struct ps_scram_hash *hash, const uint8_t *key, struct ps_bytes text, uint8_t *ret_mac)
{
	if (gnutls_hmac_fast(hash->mac, key, hash->size, text.ptr, text.len, ret_mac) < 0)
		return ps_fail(PS_E_INTERNAL, "HMAC of %s", hash->name);
	return 0;
}

static int digest(const struct ps_scram_hash *hash, const uint8_t *key, uint8_t *ret_digest)
{
	if (gnutls_hash_fast(hash->digest, key, hash->size, ret_digest) < 0)
		return ps_fail(PS_E_INTERNAL, "digest of %s", hash->name);
	return 0;
}

static int prepare(struct ps_bytes password, char **ret_prepared)
{
	char *text = ps_zalloc(password.len + 1);
	int r;

	memcpy(text, password.ptr, password.len);
	r = stringprep_profile(text, ret_prepared, "SASLprep", (Stringprep_profile_flags)0);

	explicit_bzero(text, password.len);
	free(text);
	return r == STRINGPREP_OK ? 0 : ps_fail(PS_E_INVALID, "SASLprep: %s", stringprep_strerror((Stringprep_rc)r));
}

static int salt_password(const struct ps_scram_hash *hash, struct ps_bytes password, struct ps_bytes salt,
			 uint32_t iterations, uint8_t *ret_salted)
{
	char *prepared;
	int r = prepare(password, &prepared);

	if (r < 0)
		return r;
	gnutls_datum_t key = {(unsigned char *)prepared, (unsigned)strlen(prepared)};
	gnutls_datum_t salt_datum = {(unsigned char *)salt.ptr, (unsigned)salt.len};

	if (gnutls_pbkdf2(hash->mac, &key, &salt_datum, iterations, ret_salted, hash->size) < 0)
		r = ps_fail(PS_E_INTERNAL, "PBKDF2 of %s", hash->name);
	explicit_bzero(prepared, strlen(prepared));
	free(prepared);
	return r;
}

int ps_scram_secret_derive(const struct ps_scram_hash *hash, struct ps_bytes password, struct ps_bytes salt,
			   uint32_t iterations, struct ps_scram_secret *ret_secret)
{
	struct ps_scram_secret secret = {.hash = hash, .iterations = iterations, .salt_len = salt.len};
	uint8_t salted[PS_SCRAM_KEY_MAX], client_key[PS_SCRAM_KEY_MAX];
	int r;

	if (salt.len > sizeof secret.salt)
		return ps_fail(PS_E_INVALID, "a salt of %zu octets", salt.len);
	memcpy(secret.salt, salt.ptr, salt.len);
	if ((r = salt_password(hash, password, salt, iterations, salted)) == 0 &&
	    (r = hmac(hash, salted, ps_bytes_str("Client Key"), client_key)) == 0 &&
	    (r = digest(hash, client_key, secret.stored_key)) == 0 &&
	    (r = hmac(hash, salted, ps_bytes_str("Server Key"), secret.server_key)) == 0)
		*ret_secret = secret;
	explicit_bzero(salted, sizeof salted);
	explicit_bzero(client_key, sizeof client_key);
	explicit_bzero(&secret, sizeof secret);
	return r;
}

void ps_scram_secret_format(const struct ps_scram_secret *secret, struct ps_buf *out)
{
	ps_buf_printf(out, "%u,", (unsigned)secret->iterations);
	ps_base64_encode(out, ps_bytes(secret->salt, secret->salt_len));
	ps_buf_char(out, ',');
	ps_base64_encode(out, ps_bytes(secret->stored_key, secret->hash->size));
	ps_buf_char(out, ',');
	ps_base64_encode(out, ps_bytes(secret->server_key, secret->hash->size));
}

bool ps_scram_secret_same(const struct ps_scram_secret *a, const struct ps_scram_secret *b)
{
	return a->hash == b->hash && gnutls_memcmp(a->stored_key, b->stored_key, a->hash->size) == 0;
}

/* ---- messages --------------------------------------------------------------------------------------- */

/* Takes "x=value" and the comma behind it. */
static bool take(struct ps_bytes *rest, char name, struct ps_bytes *ret_value)
{
	if (rest->len < 2 || rest->ptr[0] != name || rest->ptr[1] != '=')
		return false;
	*rest = ps_bytes_skip(*rest, 2);
	*ret_value = until(rest, ",");
	return true;
}

/* saslname: "=2C" is a comma, "=3D" an equals sign. */
int ps_scram_put_name(struct ps_buf *out, struct ps_bytes name)
{
	while (name.len > 0) {
		bool comma = name.len >= 3 && memcmp(name.ptr, "=2C", 3) == 0;
		bool equals = name.len >= 3 && memcmp(name.ptr, "=3D", 3) == 0;

		if (name.ptr[0] == '\0' || (name.ptr[0] == '=' && !comma && !equals))
			return ps_fail(PS_E_SYNTAX, "no saslname");
		ps_buf_char(out, comma ? ',' : equals ? '=' : (char)name.ptr[0]);
		name = ps_bytes_skip(name, comma || equals ? 3 : 1);
	}
	return out->failed ? ps_fail(PS_E_SYNTAX, "the name is too long") : 0;
}

static int bind_to(struct ps_bytes type, const struct ps_scram_channel *channel, struct ps_bytes *ret_data)
{
	for (size_t i = 0; i < PS_BINDINGS; i++) {
		if (!ps_bytes_eq_str(type, binding_names[i]) || !channel->bindings[i].ptr)
			continue;
		*ret_data = channel->bindings[i];
		return 0;
	}
	return ps_fail(PS_E_ACCESS, "no channel binding \"%.*s\" here", (int)(type.len < 64 ? type.len : 64),
		       (const char *)type.ptr);
}

/* gs2-cbind-flag. Who says "y" believes that we have no "-PLUS": somebody took it out of our list. */
static int take_flag(struct ps_bytes *rest, const struct ps_scram_channel *channel, struct ps_bytes *ret_data)
{
	struct ps_bytes flag, type;

	*ret_data = ps_bytes("", 0);
	if (rest->len > 0 && rest->ptr[0] == 'p')
		return !take(rest, 'p', &type) ? ps_fail(PS_E_SYNTAX, "no gs2-header")
		       : channel->plus         ? bind_to(type, channel, ret_data)
					       : ps_fail(PS_E_ACCESS, "channel binding without -PLUS");
	flag = until(rest, ",");
	if (!ps_bytes_eq_str(flag, "n") && !ps_bytes_eq_str(flag, "y"))
		return ps_fail(PS_E_SYNTAX, "no gs2-header");
	if (channel->plus)
		return ps_fail(PS_E_ACCESS, "-PLUS without channel binding");
	if (channel->is_tls && flag.ptr[0] == 'y')
		return ps_fail(PS_E_ACCESS, "the client was not shown -PLUS");
	return 0;
}

static int make_nonce(struct ps_scram *scram)
{
	struct ps_buf text = {0};
	uint8_t octets[18];

	if (scram->nonce[0])
		return 0;
	if (gnutls_rnd(GNUTLS_RND_NONCE, octets, sizeof octets) < 0)
		return ps_fail(PS_E_INTERNAL, "no random octets");
	ps_base64_encode(&text, ps_bytes(octets, sizeof octets));
	snprintf(scram->nonce, sizeof scram->nonce, "%s", ps_buf_cstr(&text));
	ps_buf_finish(&text);
	return 0;
}

/* What is common to all servers' AuthMessage so far: client-first-message-bare "," and the beginning of ours. */
static void begin_message(struct ps_scram *scram, struct ps_bytes bare, struct ps_bytes nonce)
{
	ps_buf_bytes(&scram->message, bare);
	ps_buf_str(&scram->message, ",r=");
	scram->both_nonces = scram->message.len;
	ps_buf_bytes(&scram->message, nonce);
	ps_buf_str(&scram->message, scram->nonce);
	scram->both_nonces_len = scram->message.len - scram->both_nonces;
}

int ps_scram_client_first(struct ps_scram *scram, struct ps_bytes message, const struct ps_scram_channel *channel,
			  struct ps_buf *authzid, struct ps_buf *authcid)
{
	struct ps_bytes rest = message, data, name = {NULL, 0}, bare, user, nonce;
	int r = take_flag(&rest, channel, &data);

	if (r < 0)
		return r;
	if (!take(&rest, 'a', &name) && until(&rest, ",").len > 0)
		return ps_fail(PS_E_SYNTAX, "no gs2-header");
	ps_buf_bytes(&scram->header, ps_bytes(message.ptr, message.len - rest.len));
	ps_buf_bytes(&scram->header, data);
	bare = rest;
	/* An extension "m=" is one that must be understood. */
	if (!take(&rest, 'n', &user) || !take(&rest, 'r', &nonce) || nonce.len == 0)
		return ps_fail(PS_E_SYNTAX, "no client-first-message");
	if ((r = ps_scram_put_name(authzid, name)) == 0 && (r = ps_scram_put_name(authcid, user)) == 0 &&
	    (r = make_nonce(scram)) == 0)
		begin_message(scram, bare, nonce);
	return r;
}

void ps_scram_server_first(struct ps_scram *scram, struct ps_buf *out)
{
	struct ps_buf *message = &scram->message;
	size_t from = scram->both_nonces - 2;

	ps_buf_str(message, ",s=");
	ps_base64_encode(message, ps_bytes(scram->secret.salt, scram->secret.salt_len));
	ps_buf_printf(message, ",i=%u", (unsigned)scram->secret.iterations);
	ps_buf_bytes(out, ps_bytes(message->ptr + from, message->len - from));
}

/* Of ClientProof: whether who made it knows ClientKey. */
static int check_proof(const struct ps_scram *scram, struct ps_bytes auth_message, const uint8_t *proof)
{
	const struct ps_scram_hash *hash = scram->secret.hash;
	uint8_t key[PS_SCRAM_KEY_MAX], stored[PS_SCRAM_KEY_MAX];
	int r = hmac(hash, scram->secret.stored_key, auth_message, key);

	for (size_t i = 0; i < hash->size; i++)
		key[i] ^= proof[i];
	if (r == 0 && (r = digest(hash, key, stored)) == 0 &&
	    (gnutls_memcmp(stored, scram->secret.stored_key, hash->size) != 0 || scram->hopeless))
		r = ps_fail(PS_E_AUTH, "wrong proof");
	explicit_bzero(key, sizeof key);
	return r;
}

static int check_final(const struct ps_scram *scram, struct ps_bytes without_proof)
{
	struct ps_bytes nonces = ps_bytes(scram->message.ptr + scram->both_nonces, scram->both_nonces_len);
	struct ps_bytes rest = without_proof, binding, nonce;
	struct ps_buf header = {.limit = 4096};
	int r = 0;

	if (!take(&rest, 'c', &binding) || !take(&rest, 'r', &nonce) || ps_base64_decode(&header, binding) < 0 ||
	    !ps_bytes_eq(nonce, nonces))
		r = ps_fail(PS_E_SYNTAX, "no client-final-message");
	else if (!ps_bytes_eq(ps_buf_view(&header), ps_buf_view(&scram->header)))
		r = ps_fail(PS_E_ACCESS, "bound to another connection");
	ps_buf_finish(&header);
	return r;
}

/* The proof comes last. */
static bool split_proof(struct ps_bytes *message, struct ps_bytes *ret_proof)
{
	size_t at = message->len;

	while (at >= 3 && memcmp(message->ptr + at - 3, ",p=", 3) != 0)
		at--;
	if (at < 3)
		return false;
	*ret_proof = ps_bytes_skip(*message, at);
	message->len = at - 3;
	return true;
}

int ps_scram_client_final(struct ps_scram *scram, struct ps_bytes message, struct ps_buf *out)
{
	const struct ps_scram_hash *hash = scram->secret.hash;
	uint8_t proof[PS_SCRAM_KEY_MAX], signature[PS_SCRAM_KEY_MAX];
	size_t size = hash->size;
	struct ps_bytes base64;
	int r;

	if (!split_proof(&message, &base64) || !decode(base64, size, proof, &size))
		return ps_fail(PS_E_SYNTAX, "no proof");
	if ((r = check_final(scram, message)) < 0)
		return r;
	ps_buf_char(&scram->message, ',');
	ps_buf_bytes(&scram->message, message);
	if ((r = check_proof(scram, ps_buf_view(&scram->message), proof)) < 0 ||
	    (r = hmac(hash, scram->secret.server_key, ps_buf_view(&scram->message), signature)) < 0)
		return r;
	ps_buf_str(out, "v=");
	ps_base64_encode(out, ps_bytes(signature, hash->size));
	return 0;
}

void ps_scram_finish(struct ps_scram *scram)
{
	ps_buf_wipe(&scram->header);
	ps_buf_wipe(&scram->message);
	explicit_bzero(&scram->secret, sizeof scram->secret);
}
