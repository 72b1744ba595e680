/* SPDX-License-Identifier: MIT */
/*
 * The client's side of SCRAM, as far as tests need it.
 */
#ifndef TESTS_AUTH_SCRAM_CLIENT_H
#define TESTS_AUTH_SCRAM_CLIENT_H

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include "auth/scram.h"
#include "tests/unit.h"

/* Appends client-final-message. `bare`: client-first-message-bare. `header`: GS2 header and what the channel is bound to. */
static inline void scram_client_final(bool is_sha256, const char *password, const char *bare, struct ps_bytes header,
				      struct ps_bytes server_first, struct ps_buf *out)
{
	gnutls_mac_algorithm_t mac = is_sha256 ? GNUTLS_MAC_SHA256 : GNUTLS_MAC_SHA1;
	gnutls_digest_algorithm_t digest = is_sha256 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA1;
	size_t size = is_sha256 ? 32 : 20, without_proof;
	gnutls_datum_t key = {(unsigned char *)password, (unsigned)strlen(password)}, salt_datum;
	uint8_t salted[32], client[32], stored[32], signature[32];
	struct ps_buf salt = {0}, message = {0};
	char *text, *s, *i;

	ps_buf_bytes(&message, server_first);
	text = (char *)ps_buf_cstr(&message);
	s = strstr(text, ",s=");
	i = strstr(text, ",i=");
	ck_assert_ptr_nonnull(s);
	ck_assert_ptr_nonnull(i);
	ck_assert_ok(ps_base64_decode(&salt, ps_bytes(s + 3, (size_t)(i - s) - 3)));
	salt_datum = (gnutls_datum_t){salt.ptr, (unsigned)salt.len};
	ck_assert_int_eq(gnutls_pbkdf2(mac, &key, &salt_datum, (unsigned)atoi(i + 3), salted, size), 0);
	gnutls_hmac_fast(mac, salted, size, "Client Key", 10, client);
	gnutls_hash_fast(digest, client, size, stored);

	ps_buf_str(out, "c=");
	ps_base64_encode(out, header);
	ps_buf_printf(out, ",%.*s", (int)(s - text), text);
	without_proof = out->len;
	ps_buf_reset(&message);
	ps_buf_printf(&message, "%s,%.*s,", bare, (int)server_first.len, (const char *)server_first.ptr);
	ps_buf_bytes(&message, ps_bytes(out->ptr, without_proof));
	gnutls_hmac_fast(mac, stored, size, message.ptr, message.len, signature);
	for (size_t n = 0; n < size; n++)
		client[n] ^= signature[n];
	ps_buf_str(out, ",p=");
	ps_base64_encode(out, ps_bytes(client, size));
	ps_buf_finish(&salt);
	ps_buf_finish(&message);
}

#endif
