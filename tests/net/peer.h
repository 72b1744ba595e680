/* SPDX-License-Identifier: MIT */
/*
 * For tests of TLS: keys and certificates made on the spot, somebody who signs with them, and a client.
 */
#ifndef TESTS_NET_PEER_H
#define TESTS_NET_PEER_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <time.h>
#include "tests/unit.h"

#define ck_tls(expr)                                                                                                   \
	do {                                                                                                           \
		int ck_r = (int)(expr);                                                                                \
		ck_assert_msg(ck_r >= 0, "%s: %s", #expr, gnutls_strerror(ck_r));                                      \
	} while (0)

struct peer_key {
	gnutls_privkey_t privkey;
	struct ps_buf pem;
	unsigned signatures; /* made with it */
};

/* `email` may be NULL. */
static inline void peer_key_make_for(struct peer_key *key, gnutls_pk_algorithm_t algorithm, unsigned bits,
				     const char *name, const char *email)
{
	gnutls_x509_privkey_t x509;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;

	ck_tls(gnutls_x509_privkey_init(&x509));
	ck_tls(gnutls_x509_privkey_generate(x509, algorithm, bits, 0));
	ck_tls(gnutls_x509_crt_init(&crt));
	ck_tls(gnutls_x509_crt_set_version(crt, 3));
	ck_tls(gnutls_x509_crt_set_serial(crt, "\x01", 1));
	ck_tls(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 3600));
	ck_tls(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 86400));
	ck_tls(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name)));
	ck_tls(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name, (unsigned)strlen(name),
						    GNUTLS_FSAN_SET));
	if (email)
		ck_tls(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_RFC822NAME, email, (unsigned)strlen(email),
							    GNUTLS_FSAN_APPEND));
	ck_tls(gnutls_x509_crt_set_key(crt, x509));
	ck_tls(gnutls_x509_crt_sign2(crt, crt, x509,
				     algorithm == GNUTLS_PK_EDDSA_ED25519 ? GNUTLS_DIG_SHA512 : GNUTLS_DIG_SHA256, 0));
	ck_tls(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem));
	ck_assert_ok(ps_buf_append(&key->pem, pem.data, pem.size));
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
	ck_tls(gnutls_privkey_init(&key->privkey));
	ck_tls(gnutls_privkey_import_x509(key->privkey, x509, GNUTLS_PRIVKEY_IMPORT_AUTO_RELEASE));
}

static inline void peer_key_make(struct peer_key *key, gnutls_pk_algorithm_t algorithm, unsigned bits, const char *name)
{
	peer_key_make_for(key, algorithm, bits, name, NULL);
}

static inline void peer_key_finish(struct peer_key *key)
{
	gnutls_privkey_deinit(key->privkey);
	ps_buf_finish(&key->pem);
}

/* As the process that has the keys does it. */
static inline int peer_sign(struct peer_key *key, unsigned algorithm, bool is_hash, struct ps_bytes data,
			    struct ps_buf *out)
{
	gnutls_datum_t in = {(unsigned char *)data.ptr, (unsigned)data.len}, signature;
	int r;

	key->signatures++;
	if (is_hash)
		r = gnutls_privkey_sign_hash2(key->privkey, (gnutls_sign_algorithm_t)algorithm, 0, &in, &signature);
	else
		r = gnutls_privkey_sign_data2(key->privkey, (gnutls_sign_algorithm_t)algorithm, 0, &in, &signature);
	if (r < 0)
		return ps_fail(PS_E_INTERNAL, "sign: %s", gnutls_strerror(r));
	ps_buf_append(out, signature.data, signature.size);
	gnutls_free(signature.data);
	return 0;
}

struct peer_client {
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
};

/* `alpn`, `name` may be NULL. The transport is the caller's to set. */
static inline void peer_client_init(struct peer_client *client, const char *priority, const char *alpn,
				    const char *name, unsigned flags)
{
	gnutls_datum_t protocol = {(unsigned char *)alpn, alpn ? (unsigned)strlen(alpn) : 0};

	ck_tls(gnutls_certificate_allocate_credentials(&client->credentials));
	ck_tls(gnutls_init(&client->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL | flags));
	ck_tls(gnutls_priority_set_direct(client->session, priority, NULL));
	ck_tls(gnutls_credentials_set(client->session, GNUTLS_CRD_CERTIFICATE, client->credentials));
	if (alpn)
		ck_tls(gnutls_alpn_set_protocols(client->session, &protocol, 1, 0));
	if (name)
		ck_tls(gnutls_server_name_set(client->session, GNUTLS_NAME_DNS, name, strlen(name)));
	gnutls_handshake_set_timeout(client->session, 0);
}

static inline void peer_client_finish(struct peer_client *client)
{
	gnutls_deinit(client->session);
	gnutls_certificate_free_credentials(client->credentials);
}

/* The client's own certificate, shown if the server asks for one. The key stays the caller's. */
static inline void peer_client_use(struct peer_client *client, const struct peer_key *key)
{
	gnutls_datum_t pem = {key->pem.ptr, (unsigned)key->pem.len};
	gnutls_privkey_t copy;
	gnutls_x509_privkey_t x509;
	gnutls_pcert_st *certificate = gnutls_malloc(sizeof *certificate);

	ck_tls(gnutls_pcert_import_x509_raw(certificate, &pem, GNUTLS_X509_FMT_PEM, 0));
	ck_tls(gnutls_privkey_export_x509(key->privkey, &x509));
	ck_tls(gnutls_privkey_init(&copy));
	ck_tls(gnutls_privkey_import_x509(copy, x509, GNUTLS_PRIVKEY_IMPORT_AUTO_RELEASE));
	ck_tls(gnutls_certificate_set_key(client->credentials, NULL, 0, certificate, 1, copy));
	gnutls_free(certificate); /* what is in it belongs to the credentials */
}

/* The name in the certificate that the server has shown. */
static inline bool peer_client_sees(struct peer_client *client, const char *name)
{
	unsigned count = 0;
	const gnutls_datum_t *list = gnutls_certificate_get_peers(client->session, &count);
	gnutls_x509_crt_t crt;
	bool same;

	ck_assert_uint_gt(count, 0);
	ck_tls(gnutls_x509_crt_init(&crt));
	ck_tls(gnutls_x509_crt_import(crt, &list[0], GNUTLS_X509_FMT_DER));
	same = gnutls_x509_crt_check_hostname(crt, name) != 0;
	gnutls_x509_crt_deinit(crt);
	return same;
}

#endif
