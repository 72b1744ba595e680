/* SPDX-License-Identifier: MIT */
/*
 * What handshakes share: certificates, priorities, the key of session tickets. A server's private key is in another
 * process: GnuTLS gets one whose signing calls tls_sign_fn.
 *
 * GnuTLS can choose among certificates by the name that is asked for, but knows no wildcards. So each certificate has credentials of its
 * own, which contexts share, and which of them a session gets is decided here.
 */
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <strings.h>
#include "core/net/tls_context.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	CHAIN_MAX = 16,
	NAMES_MAX = 64,
	NAME_SIZE = 256,
};

struct names {
	unsigned count;
	char text[NAMES_MAX][NAME_SIZE];
};

struct certificate {
	unsigned refs;
	uint32_t key;
	struct ps_buf pem, ocsp;
	gnutls_certificate_credentials_t credentials;
	struct names *names; /* of the leaf: which certificate a client gets depends on the name it asks for */
};

/* A private key that is elsewhere. */
struct far_key {
	struct tls_shared *shared;
	uint32_t key;
	gnutls_pk_algorithm_t algorithm;
	unsigned bits;
};
/* ---- the private key elsewhere ---------------------------------------------------------------- */

static int far_sign(struct far_key *key, gnutls_sign_algorithm_t algorithm, bool is_hash, const gnutls_datum_t *data,
		    gnutls_datum_t *signature)
{
	struct ps_buf out = {.limit = 64 * 1024};
	int r = key->shared->sign(key->shared->sign_arg, key->key, (unsigned)algorithm, is_hash,
				  ps_bytes(data->data, data->size), &out);

	if (r == 0 && out.len > 0)
		signature->data = gnutls_malloc(out.len); /* GnuTLS frees it */
	else
		signature->data = NULL;
	if (signature->data) {
		memcpy(signature->data, out.ptr, out.len);
		signature->size = (unsigned)out.len;
	}
	ps_buf_finish(&out);
	return signature->data ? 0 : GNUTLS_E_PK_SIGN_FAILED;
}

static int far_sign_data(gnutls_privkey_t privkey, gnutls_sign_algorithm_t algorithm, void *userdata, unsigned flags,
			 const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	(void)privkey;
	(void)flags;
	return far_sign(userdata, algorithm, false, data, signature);
}

static int far_sign_hash(gnutls_privkey_t privkey, gnutls_sign_algorithm_t algorithm, void *userdata, unsigned flags,
			 const gnutls_datum_t *hash, gnutls_datum_t *signature)
{
	(void)privkey;
	(void)flags;
	return far_sign(userdata, algorithm, true, hash, signature);
}

/* A key of RSA signs by PSS too; all others sign what is of their own kind. */
static bool key_can(const struct far_key *key, gnutls_sign_algorithm_t algorithm)
{
	return gnutls_sign_supports_pk_algorithm(algorithm, key->algorithm) != 0;
}

static int far_info(gnutls_privkey_t privkey, unsigned flags, void *userdata)
{
	const struct far_key *key = userdata;

	(void)privkey;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
		return (int)key->algorithm;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
		return (int)key->bits;
	if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO)
		return key_can(key, GNUTLS_FLAGS_TO_SIGN_ALGO(flags));
	if (flags & GNUTLS_PRIVKEY_INFO_SIGN_ALGO)
		return 0; /* none is preferred */
	return -1;
}

static void shared_unref(struct tls_shared *shared)
{
	if (--shared->refs > 0)
		return;
	gnutls_priority_deinit(shared->priority);
	if (shared->ticket_key.data)
		gnutls_memset(shared->ticket_key.data, 0, shared->ticket_key.size);
	gnutls_free(shared->ticket_key.data);
	ps_buf_finish(&shared->clients);
	free(shared);
}

static void far_deinit(gnutls_privkey_t privkey, void *userdata)
{
	struct far_key *key = userdata;

	(void)privkey;
	shared_unref(key->shared);
	free(key);
}

static int far_key_create(struct tls_shared *shared, uint32_t number, gnutls_pcert_st *leaf,
			  gnutls_privkey_t *ret_privkey)
{
	struct far_key *key = ps_zalloc(sizeof *key);
	gnutls_privkey_t privkey;
	int r;

	key->shared = shared;
	key->key = number;
	key->algorithm = (gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(leaf->pubkey, &key->bits);
	r = gnutls_privkey_init(&privkey);
	if (r < 0) {
		free(key);
		return tls_fail(PS_E_INTERNAL, "private key", r);
	}
	r = gnutls_privkey_import_ext4(privkey, key, far_sign_data, far_sign_hash, NULL, far_deinit, far_info, 0);
	if (r < 0) {
		gnutls_privkey_deinit(privkey);
		free(key);
		return tls_fail(PS_E_INTERNAL, "private key", r);
	}
	shared->refs++; /* far_deinit() gives it back */
	*ret_privkey = privkey;
	return 0;
}
/* ---- certificates ----------------------------------------------------------------------------- */

static int read_names(const gnutls_datum_t *der, struct names *names)
{
	gnutls_x509_crt_t leaf;
	int r = gnutls_x509_crt_init(&leaf);

	if (r < 0)
		return tls_fail(PS_E_INTERNAL, "certificate", r);
	r = gnutls_x509_crt_import(leaf, der, GNUTLS_X509_FMT_DER);
	for (unsigned i = 0; r >= 0 && names->count < NAMES_MAX; i++) {
		char *text = names->text[names->count];
		size_t size = NAME_SIZE;

		r = gnutls_x509_crt_get_subject_alt_name(leaf, i, text, &size, NULL);
		if (r == GNUTLS_SAN_DNSNAME)
			names->count++;
		if (r == GNUTLS_E_SHORT_MEMORY_BUFFER)
			r = 0; /* longer than a domain name can be: not one that is asked for */
	}
	gnutls_x509_crt_deinit(leaf);
	return 0;
}

/* GnuTLS would do so too, but takes a signature that fails as no reason to refuse. */
static int check_pair(gnutls_privkey_t privkey, gnutls_pubkey_t pubkey)
{
	const gnutls_datum_t text = {(unsigned char *)"postern", 7};
	gnutls_digest_algorithm_t digest;
	gnutls_sign_algorithm_t algorithm;
	gnutls_datum_t signature;
	int r = gnutls_pubkey_get_preferred_hash_algorithm(pubkey, &digest, NULL);

	if (r < 0)
		return tls_fail(PS_E_INVALID, "certificate", r);
	algorithm = gnutls_pk_to_sign((gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(pubkey, NULL), digest);
	r = gnutls_privkey_sign_data2(privkey, algorithm, 0, &text, &signature);
	if (r < 0)
		return ps_fail(PS_E_INVALID, "no signature of the private key could be had: %s", gnutls_strerror(r));
	r = gnutls_pubkey_verify_data2(pubkey, algorithm, 0, &text, &signature);
	gnutls_free(signature.data);
	return r < 0 ? ps_fail(PS_E_INVALID, "the private key is not that of the certificate") : 0;
}
/* When it succeeds, the certificates in `chain` belong to the credentials. Gives what they are known by there. */
static int set_key(struct tls_shared *shared, struct certificate *certificate, gnutls_pcert_st *chain, unsigned length,
		   bool check)
{
	gnutls_privkey_t privkey = NULL;
	int r;

	if ((r = read_names(&chain[0].cert, certificate->names)) < 0 ||
	    (r = far_key_create(shared, certificate->key, &chain[0], &privkey)) < 0)
		return r;
	r = check ? check_pair(privkey, chain[0].pubkey) : 0;
	if (r < 0) {
		gnutls_privkey_deinit(privkey);
		return r;
	}
	r = gnutls_certificate_set_key(certificate->credentials, NULL, 0, chain, (int)length, privkey);
	if (r < 0) {
		gnutls_privkey_deinit(privkey);
		return tls_fail(PS_E_INVALID, "the certificate and its private key", r);
	}
	return r;
}

/* One that does not fit, or is too old, is no reason to have no certificate: clients can ask the authority themselves. */
static void set_ocsp(const struct certificate *certificate, int index)
{
	gnutls_datum_t der = {certificate->ocsp.ptr, (unsigned)certificate->ocsp.len};
	int r;

	if (der.size == 0)
		return;
	r = gnutls_certificate_set_ocsp_status_request_mem(certificate->credentials, &der, (unsigned)index,
							   GNUTLS_X509_FMT_DER);
	if (r < 0)
		ps_log(PS_LOG_WARNING, "ocsp_not_used", "msg", gnutls_strerror(r), NULL);
}

static int load(struct tls_shared *shared, struct certificate *certificate, bool check)
{
	gnutls_datum_t pem = {certificate->pem.ptr, (unsigned)certificate->pem.len};
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned length = CHAIN_MAX;
	int r;

	r = gnutls_pcert_list_import_x509_raw(chain, &length, &pem, GNUTLS_X509_FMT_PEM,
					      GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
	if (r < 0)
		return tls_fail(PS_E_INVALID, "certificate chain", r);
	r = set_key(shared, certificate, chain, length, check);
	for (unsigned i = 0; r < 0 && i < length; i++)
		gnutls_pcert_deinit(&chain[i]);
	if (r < 0)
		return r;
	set_ocsp(certificate, r);
	return 0;
}

static int trust_clients(const struct tls_shared *shared, struct certificate *certificate)
{
	gnutls_datum_t text = {shared->clients.ptr, (unsigned)shared->clients.len};
	static const char crl[] = "-----BEGIN X509 CRL-----";
	int r;

	if (text.size == 0)
		return 0;
	r = gnutls_certificate_set_x509_trust_mem(certificate->credentials, &text, GNUTLS_X509_FMT_PEM);
	if (r >= 0 && memmem(text.data, text.size, crl, sizeof crl - 1))
		r = gnutls_certificate_set_x509_crl_mem(certificate->credentials, &text, GNUTLS_X509_FMT_PEM);
	return r < 0 ? tls_fail(PS_E_INVALID, "authorities of clients", r) : 0;
}

static void certificate_unref(struct certificate *certificate)
{
	if (--certificate->refs > 0)
		return;
	gnutls_certificate_free_credentials(certificate->credentials);
	ps_buf_finish(&certificate->pem);
	ps_buf_finish(&certificate->ocsp);
	free(certificate->names);
	free(certificate);
}

/* `check`: whether key and certificate belong together; it takes a signature. */
static int certificate_create(struct tls_shared *shared, const struct tls_certificate *from, bool check,
			      struct certificate **ret_certificate)
{
	struct certificate *certificate = ps_zalloc(sizeof *certificate);
	int r;

	certificate->refs = 1;
	certificate->key = from->key;
	certificate->names = ps_zalloc(sizeof *certificate->names);
	ps_buf_bytes(&certificate->pem, from->pem);
	ps_buf_bytes(&certificate->ocsp, from->ocsp);
	if (gnutls_certificate_allocate_credentials(&certificate->credentials) < 0)
		abort(); /* memory: as ps_malloc() */
	gnutls_certificate_set_flags(certificate->credentials,
				     GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH | GNUTLS_CERTIFICATE_API_V2);
	if ((r = trust_clients(shared, certificate)) < 0 || (r = load(shared, certificate, check)) < 0) {
		certificate_unref(certificate);
		return r;
	}
	*ret_certificate = certificate;
	return 0;
}

/* ---- which one -------------------------------------------------------------------------------- */

static bool is_for(const struct certificate *certificate, const char *name)
{
	for (unsigned i = 0; i < certificate->names->count; i++)
		if (strcasecmp(certificate->names->text[i], name) == 0)
			return true;
	return false;
}

/* A wildcard stands for one label, the first: RFC 6125 section 6.4.3. `rest` begins with the dot behind it. */
static bool is_wildcard_for(const struct certificate *certificate, const char *rest)
{
	for (unsigned i = 0; i < certificate->names->count; i++)
		if (certificate->names->text[i][0] == '*' && strcasecmp(certificate->names->text[i] + 1, rest) == 0)
			return true;
	return false;
}

gnutls_certificate_credentials_t tls_context_choose(const struct tls_context *context, const char *name)
{
	const char *rest = strchr(name, '.');

	for (size_t i = 0; i < context->count; i++)
		if (is_for(context->certificates[i], name))
			return context->certificates[i]->credentials;
	for (size_t i = 0; rest && rest > name && i < context->count; i++)
		if (is_wildcard_for(context->certificates[i], rest))
			return context->certificates[i]->credentials;
	return context->certificates[0]->credentials;
}

/* ---- contexts --------------------------------------------------------------------------------- */

static struct tls_context *context_create(struct tls_shared *shared, size_t certificates)
{
	struct tls_context *context = ps_zalloc(sizeof *context);

	context->refs = 1;
	context->shared = shared;
	context->certificates = ps_zalloc(certificates * sizeof(struct certificate *));
	shared->refs++;
	return context;
}

static int shared_create(const struct tls_settings *settings, const struct tls_context *old,
			 struct tls_shared **ret_shared)
{
	struct tls_shared *shared = ps_zalloc(sizeof *shared);
	const char *at = "";
	int r = gnutls_priority_init(&shared->priority, settings->priority, &at);

	if (r < 0) {
		free(shared);
		return ps_fail(PS_E_INVALID, "tls priority, at \"%s\": %s", at, gnutls_strerror(r));
	}
	shared->refs = 1;
	shared->sign = settings->sign;
	shared->sign_arg = settings->sign_arg;
	shared->resumption_s = settings->resumption_s;
	ps_buf_bytes(&shared->clients, settings->clients);
	r = gnutls_session_ticket_key_generate(&shared->ticket_key);
	if (r < 0) {
		shared_unref(shared);
		return tls_fail(PS_E_INTERNAL, "session ticket key", r);
	}
	if (old && old->shared->ticket_key.size == shared->ticket_key.size)
		memcpy(shared->ticket_key.data, old->shared->ticket_key.data, shared->ticket_key.size);
	*ret_shared = shared;
	return 0;
}
/* The same with other settings. */
static int take_over(struct tls_context *context, const struct tls_context *old)
{
	for (size_t i = 0; i < old->count; i++) {
		const struct certificate *former = old->certificates[i];
		const struct tls_certificate same = {
			.key = former->key, .pem = ps_buf_view(&former->pem), .ocsp = ps_buf_view(&former->ocsp)};
		int r = certificate_create(context->shared, &same, false, &context->certificates[context->count]);

		if (r < 0)
			return r;
		context->count++;
	}
	return 0;
}

int tls_context_create(const struct tls_settings *settings, const struct tls_context *old,
		       struct tls_context **ret_context)
{
	struct tls_shared *shared = NULL;
	struct tls_context *context;
	int r = shared_create(settings, old, &shared);

	if (r < 0)
		return r;
	context = context_create(shared, old ? old->count : 0);
	shared_unref(shared);
	if (old && (r = take_over(context, old)) < 0) {
		tls_context_unref(context);
		return r;
	}
	*ret_context = context;
	return 0;
}

int tls_context_with_certificate(const struct tls_context *old, const struct tls_certificate *certificate,
				 struct tls_context **ret_context)
{
	struct certificate *new = NULL;
	struct tls_context *context;
	size_t i = 0;
	int r = certificate->pem.ptr ? certificate_create(old->shared, certificate, true, &new) : 0;

	if (r < 0)
		return r;
	context = context_create(old->shared, old->count + 1);
	for (; i < old->count && PS_KEY_SLOT(old->certificates[i]->key) < PS_KEY_SLOT(certificate->key); i++)
		context->certificates[context->count++] = old->certificates[i];
	if (new)
		context->certificates[context->count++] = new;
	if (i < old->count && PS_KEY_SLOT(old->certificates[i]->key) == PS_KEY_SLOT(certificate->key))
		i++;
	for (; i < old->count; i++)
		context->certificates[context->count++] = old->certificates[i];
	for (i = 0; i < context->count; i++)
		if (context->certificates[i] != new)
			context->certificates[i]->refs++;
	*ret_context = context;
	return 0;
}

void tls_context_set_ticket_key(struct tls_context *context, struct ps_bytes key)
{
	gnutls_datum_t *own = &context->shared->ticket_key;

	if (key.len == own->size)
		memcpy(own->data, key.ptr, key.len);
}

bool tls_context_has_certificate(const struct tls_context *context)
{
	return context->count > 0;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
	context->refs++;
	return context;
}
void tls_context_unref(struct tls_context *context)
{
	if (!context || --context->refs > 0)
		return;
	for (size_t i = 0; i < context->count; i++)
		certificate_unref(context->certificates[i]);
	free(context->certificates);
	shared_unref(context->shared);
	free(context);
}
