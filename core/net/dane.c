/* SPDX-License-Identifier: MIT */
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include "core/net/dane.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	USAGE_TA = 2,
	USAGE_EE = 3,
	SELECTOR_CERTIFICATE = 0,
	SELECTOR_KEY = 1,
	MATCH_EXACT = 0,
	CHAIN_MAX = 16,
};

static const struct {
	uint8_t matching;
	gnutls_digest_algorithm_t algorithm;
	unsigned size;
} digests[] = {{1, GNUTLS_DIG_SHA256, 32}, {2, GNUTLS_DIG_SHA512, 64}};

bool dane_is_usable(const struct dns_record *record)
{
	if ((record->tlsa.usage != USAGE_TA && record->tlsa.usage != USAGE_EE) || record->tlsa.selector > SELECTOR_KEY)
		return false;
	for (size_t i = 0; i < PS_ARRAY_LEN(digests); i++)
		if (digests[i].matching == record->tlsa.matching)
			return record->tlsa.data.len == digests[i].size;
	return record->tlsa.matching == MATCH_EXACT;
}

static bool matches_octets(const struct dns_record *record, struct ps_bytes octets)
{
	uint8_t digest[64];

	for (size_t i = 0; i < PS_ARRAY_LEN(digests); i++) {
		if (digests[i].matching != record->tlsa.matching)
			continue;
		return gnutls_hash_fast(digests[i].algorithm, octets.ptr, octets.len, digest) == 0 &&
		       ps_bytes_eq(record->tlsa.data, ps_bytes(digest, digests[i].size));
	}
	return ps_bytes_eq(record->tlsa.data, octets);
}

static gnutls_x509_crt_t import(struct ps_bytes der)
{
	const gnutls_datum_t datum = {(unsigned char *)(uintptr_t)der.ptr, (unsigned)der.len};
	gnutls_x509_crt_t certificate;

	if (gnutls_x509_crt_init(&certificate) < 0)
		abort(); /* memory: as ps_malloc() */
	if (gnutls_x509_crt_import(certificate, &datum, GNUTLS_X509_FMT_DER) == 0)
		return certificate;
	gnutls_x509_crt_deinit(certificate);
	return NULL;
}

/* The key's DER (SubjectPublicKeyInfo); the caller frees it. */
static gnutls_datum_t key_of(gnutls_x509_crt_t certificate)
{
	gnutls_datum_t datum = {0};
	gnutls_pubkey_t key;

	if (gnutls_pubkey_init(&key) < 0)
		abort();
	if (gnutls_pubkey_import_x509(key, certificate, 0) < 0 ||
	    gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &datum) < 0)
		datum = (gnutls_datum_t){0};
	gnutls_pubkey_deinit(key);
	return datum;
}

static bool matches(const struct dns_record *record, struct ps_bytes der, gnutls_x509_crt_t certificate)
{
	gnutls_datum_t key;
	bool same;

	if (record->tlsa.selector == SELECTOR_CERTIFICATE)
		return matches_octets(record, der);
	key = key_of(certificate);
	same = key.size > 0 && matches_octets(record, ps_bytes(key.data, key.size));
	gnutls_free(key.data);
	return same;
}

/* Whether the chain leads to this authority, is valid today, and its first certificate is for one of the names. */
static bool leads_to(gnutls_x509_crt_t *chain, unsigned length, gnutls_x509_crt_t authority, const char *const *names,
		     size_t count)
{
	gnutls_x509_trust_list_t list;
	unsigned status = GNUTLS_CERT_INVALID;
	bool named = false;

	if (gnutls_x509_trust_list_init(&list, 0) < 0)
		abort();
	if (gnutls_x509_trust_list_add_cas(list, &authority, 1, 0) != 1 ||
	    gnutls_x509_trust_list_verify_crt(list, chain, length, 0, &status, NULL) < 0)
		status = GNUTLS_CERT_INVALID;
	for (size_t i = 0; i < count && !named; i++)
		named = gnutls_x509_crt_check_hostname(chain[0], names[i]);
	gnutls_x509_trust_list_deinit(list, 0);
	return status == 0 && named;
}

struct chain {
	struct ps_bytes der[CHAIN_MAX];
	gnutls_x509_crt_t certificates[CHAIN_MAX];
	unsigned length;
};

static bool by_authority(struct chain *chain, const struct dns_record *record, const char *const *names, size_t count)
{
	gnutls_x509_crt_t own;
	bool good = false;

	for (unsigned i = 0; i < chain->length && !good; i++)
		good = matches(record, chain->der[i], chain->certificates[i]) &&
		       leads_to(chain->certificates, chain->length, chain->certificates[i], names, count);
	/* A whole certificate in the record need not be in the chain. */
	if (good || record->tlsa.selector != SELECTOR_CERTIFICATE || record->tlsa.matching != MATCH_EXACT)
		return good;
	own = import(record->tlsa.data);
	if (!own)
		return false;
	good = leads_to(chain->certificates, chain->length, own, names, count);
	gnutls_x509_crt_deinit(own);
	return good;
}

static bool vouches(struct chain *chain, const struct dns_record *record, const char *const *names, size_t count)
{
	if (!dane_is_usable(record))
		return false;
	/* RFC 7672 section 3.1.1: the key is all that counts, neither name nor date. */
	if (record->tlsa.usage == USAGE_EE)
		return matches(record, chain->der[0], chain->certificates[0]);
	return by_authority(chain, record, names, count);
}

int dane_verify(const struct ps_bytes *der, size_t length, const struct dns_record *records, size_t count,
		const char *const *names, size_t name_count)
{
	struct chain chain = {.length = 0};
	bool good = false;

	for (; chain.length < length && chain.length < CHAIN_MAX; chain.length++) {
		chain.der[chain.length] = der[chain.length];
		chain.certificates[chain.length] = import(der[chain.length]);
		if (!chain.certificates[chain.length])
			break;
	}
	for (size_t i = 0; i < count && chain.length > 0 && !good; i++)
		good = vouches(&chain, &records[i], names, name_count);
	for (unsigned i = 0; i < chain.length; i++)
		gnutls_x509_crt_deinit(chain.certificates[i]);
	return good ? 0 : ps_fail(PS_E_ACCESS, "no TLSA record fits the certificate");
}
