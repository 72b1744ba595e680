/* SPDX-License-Identifier: MIT */
/*
 * TLS by GnuTLS. A server's private key is in another process: GnuTLS gets one whose signing calls tls_sign_fn. The socket
 * is read and written by functions of our own, which never raise SIGPIPE.
 */
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "core/net/tls.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	CHAIN_MAX = 16,
	NAMES_MAX = 64,
	NAME_SIZE = 256,
	/* Octets that come in before anything comes out of them: two records, or a handshake with its largest keys several
	 * times. GnuTLS would gather a handshake message of 16 MiB before it looks at its limit. */
	BARREN_MAX = 32 * 1024,
	WARNINGS_MAX = 16, /* alerts of a client that change nothing; more are an attack on our time */
};

/* What all contexts that came one from another share. */
struct tls_shared {
	unsigned refs;
	gnutls_priority_t priority;
	gnutls_datum_t ticket_key;
	tls_sign_fn sign;
	void *sign_arg;
};

struct certificate {
	uint32_t key;
	struct ps_buf pem;
};

struct tls_context {
	unsigned refs;
	struct tls_shared *shared;
	gnutls_certificate_credentials_t credentials;
	struct certificate *certificates;
	size_t count;
};

struct tls {
	gnutls_session_t session;
	struct tls_context *context; /* NULL on the client's side */
	int fd;
	size_t barren; /* octets received since the last that were of use */
	unsigned warnings;
	unsigned verified; /* what the last check of the certificate said; 0: good */
	bool open;         /* the handshake is done */
	bool unsent;       /* GnuTLS holds a sealed record that the socket did not take */
};

/* A private key that is elsewhere. */
struct far_key {
	struct tls_shared *shared;
	uint32_t key;
	gnutls_pk_algorithm_t algorithm;
	unsigned bits;
};

static int tls_fail(enum ps_err code, const char *what, int r)
{
	return ps_fail(code, "%s: %s", what, gnutls_strerror(r));
}

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

struct names {
	unsigned count;
	char text[NAMES_MAX][NAME_SIZE];
	const char *list[NAMES_MAX];
};

/* The DNS names of the leaf: which certificate a client gets depends on the name it asked for. */
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
			names->list[names->count++] = text;
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

/* When it succeeds, the certificates in `chain` belong to the credentials. */
static int set_key(struct tls_context *context, gnutls_pcert_st *chain, unsigned length, uint32_t number)
{
	PS_CLEANUP(ps_freep) struct names *names = ps_zalloc(sizeof *names);
	gnutls_privkey_t privkey = NULL;
	int r;

	if ((r = read_names(&chain[0].cert, names)) < 0 ||
	    (r = far_key_create(context->shared, number, &chain[0], &privkey)) < 0)
		return r;
	r = check_pair(privkey, chain[0].pubkey);
	if (r < 0) {
		gnutls_privkey_deinit(privkey);
		return r;
	}
	r = gnutls_certificate_set_key(context->credentials, names->list, (int)names->count, chain, (int)length,
				       privkey);
	if (r < 0) {
		gnutls_privkey_deinit(privkey);
		return tls_fail(PS_E_INVALID, "the certificate and its private key", r);
	}
	return 0;
}

static int load(struct tls_context *context, const struct certificate *certificate)
{
	gnutls_datum_t pem = {certificate->pem.ptr, (unsigned)certificate->pem.len};
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned length = CHAIN_MAX;
	int r;

	r = gnutls_pcert_list_import_x509_raw(chain, &length, &pem, GNUTLS_X509_FMT_PEM,
					      GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
	if (r < 0)
		return tls_fail(PS_E_INVALID, "certificate chain", r);
	r = set_key(context, chain, length, certificate->key);
	for (unsigned i = 0; r < 0 && i < length; i++)
		gnutls_pcert_deinit(&chain[i]);
	return r;
}

static struct tls_context *context_create(struct tls_shared *shared, size_t certificates)
{
	struct tls_context *context = ps_zalloc(sizeof *context);

	context->refs = 1;
	context->shared = shared;
	context->certificates = ps_zalloc(certificates * sizeof *context->certificates);
	shared->refs++;
	if (gnutls_certificate_allocate_credentials(&context->credentials) < 0)
		abort(); /* memory: as ps_malloc() */
	gnutls_certificate_set_flags(context->credentials, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
	return context;
}

static int shared_create(const char *priority, const struct tls_context *old, struct tls_shared **ret_shared)
{
	struct tls_shared *shared = ps_zalloc(sizeof *shared);
	const char *at = "";
	int r = gnutls_priority_init(&shared->priority, priority, &at);

	if (r < 0) {
		free(shared);
		return ps_fail(PS_E_INVALID, "tls priority, at \"%s\": %s", at, gnutls_strerror(r));
	}
	shared->refs = 1;
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

static void add(struct tls_context *context, uint32_t key, struct ps_bytes pem)
{
	struct certificate *certificate = &context->certificates[context->count++];

	certificate->key = key;
	ps_buf_bytes(&certificate->pem, pem);
}

/* Certificates of `old` (may be NULL), and `pem` for `key` if it is not absent. */
static int rebuild(struct tls_shared *shared, const struct tls_context *old, uint32_t key, struct ps_bytes pem,
		   struct tls_context **ret_context)
{
	size_t count = old ? old->count : 0;
	struct tls_context *context = context_create(shared, count + 1);
	bool placed = !pem.ptr;
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		const struct certificate *former = &old->certificates[i];
		bool replaced = pem.ptr && PS_KEY_SLOT(former->key) == PS_KEY_SLOT(key);

		if (replaced)
			add(context, key, pem);
		else
			add(context, former->key, ps_buf_view(&former->pem));
		placed |= replaced;
	}
	if (!placed)
		add(context, key, pem);
	for (size_t i = 0; r == 0 && i < context->count; i++)
		r = load(context, &context->certificates[i]);
	if (r < 0) {
		tls_context_unref(context);
		return r;
	}
	*ret_context = context;
	return 0;
}

int tls_context_create(const char *priority, tls_sign_fn sign, void *sign_arg, const struct tls_context *old,
		       struct tls_context **ret_context)
{
	struct tls_shared *shared = NULL;
	int r = shared_create(priority, old, &shared);

	if (r < 0)
		return r;
	shared->sign = sign;
	shared->sign_arg = sign_arg;
	r = rebuild(shared, old, 0, ps_bytes(NULL, 0), ret_context);
	shared_unref(shared);
	return r;
}

int tls_context_with_certificate(const struct tls_context *old, uint32_t key, struct ps_bytes pem,
				 struct tls_context **ret_context)
{
	return rebuild(old->shared, old, key, pem, ret_context);
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
	gnutls_certificate_free_credentials(context->credentials);
	for (size_t i = 0; i < context->count; i++)
		ps_buf_finish(&context->certificates[i].pem);
	free(context->certificates);
	shared_unref(context->shared);
	free(context);
}

/* ---- a session -------------------------------------------------------------------------------- */

static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t len)
{
	struct tls *tls = arg;
	ssize_t n = -1;

	if (tls->barren > BARREN_MAX)
		errno = EMSGSIZE;
	else
		n = recv(tls->fd, data, len, MSG_DONTWAIT);
	if (n < 0)
		gnutls_transport_set_errno(tls->session, errno);
	else
		tls->barren += (size_t)n;
	return n;
}

static ssize_t push(gnutls_transport_ptr_t arg, const giovec_t *parts, int count)
{
	struct tls *tls = arg;
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
	ssize_t n = sendmsg(tls->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		gnutls_transport_set_errno(tls->session, errno);
	return n;
}

static int configure(struct tls *tls, const char *alpn)
{
	const struct tls_shared *shared = tls->context->shared;
	gnutls_datum_t name = {(unsigned char *)alpn, alpn ? (unsigned)strlen(alpn) : 0};
	int r;

	if ((r = gnutls_priority_set(tls->session, shared->priority)) < 0 ||
	    (r = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->context->credentials)) < 0 ||
	    (r = gnutls_session_ticket_enable_server(tls->session, &shared->ticket_key)) < 0)
		return r;
	/* A client that offers names, and not ours, wants to speak to somebody else (ALPACA). */
	if (alpn)
		r = gnutls_alpn_set_protocols(tls->session, &name, 1,
					      GNUTLS_ALPN_MANDATORY | GNUTLS_ALPN_SERVER_PRECEDENCE);
	return r;
}

static int session_create(int fd, unsigned side, struct tls **ret_tls)
{
	struct tls *tls = ps_zalloc(sizeof *tls);
	int r = gnutls_init(&tls->session, side | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (r < 0) {
		free(tls);
		return tls_fail(PS_E_INTERNAL, "TLS session", r);
	}
	tls->fd = fd;
	gnutls_handshake_set_max_packet_length(tls->session, BARREN_MAX);
	gnutls_handshake_set_timeout(tls->session, 0); /* the connection has its own timer */
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_pull_function(tls->session, pull);
	gnutls_transport_set_vec_push_function(tls->session, push);
	*ret_tls = tls;
	return 0;
}

int tls_create(struct tls_context *context, int fd, const char *alpn, struct tls **ret_tls)
{
	struct tls *tls;
	int r = session_create(fd, GNUTLS_SERVER, &tls);

	if (r < 0)
		return r;
	tls->context = tls_context_ref(context);
	r = configure(tls, alpn);
	if (r < 0) {
		tls_destroy(tls);
		return tls_fail(PS_E_INTERNAL, "TLS session", r);
	}
	*ret_tls = tls;
	return 0;
}

/* ---- the client's side ------------------------------------------------------------------------- */

struct tls_trust {
	gnutls_priority_t priority;
	gnutls_certificate_credentials_t credentials;
};

int tls_trust_create(const char *priority, const char *ca_file, struct tls_trust **ret_trust)
{
	struct tls_trust *trust = ps_zalloc(sizeof *trust);
	const char *at = "";
	int r = gnutls_priority_init(&trust->priority, priority, &at);

	if (r < 0) {
		free(trust);
		return ps_fail(PS_E_INVALID, "tls priority, at \"%s\": %s", at, gnutls_strerror(r));
	}
	if (gnutls_certificate_allocate_credentials(&trust->credentials) < 0)
		abort(); /* memory: as ps_malloc() */
	r = ca_file ? gnutls_certificate_set_x509_trust_file(trust->credentials, ca_file, GNUTLS_X509_FMT_PEM)
		    : gnutls_certificate_set_x509_system_trust(trust->credentials);
	/* A system without authorities can still encrypt. */
	if (r < 0 && ca_file) {
		tls_trust_destroy(trust);
		return ps_fail(PS_E_INVALID, "certificate authorities in %s: %s", ca_file, gnutls_strerror(r));
	}
	*ret_trust = trust;
	return 0;
}

void tls_trust_destroy(struct tls_trust *trust)
{
	if (!trust)
		return;
	gnutls_certificate_free_credentials(trust->credentials);
	gnutls_priority_deinit(trust->priority);
	free(trust);
}

int tls_connect(struct tls_trust *trust, int fd, const char *name, struct tls **ret_tls)
{
	struct tls *tls;
	int r = session_create(fd, GNUTLS_CLIENT, &tls);

	if (r < 0)
		return r;
	if ((r = gnutls_priority_set(tls->session, trust->priority)) < 0 ||
	    (r = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, trust->credentials)) < 0 ||
	    (name && (r = gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, name, strlen(name))) < 0)) {
		tls_destroy(tls);
		return tls_fail(PS_E_INTERNAL, "TLS session", r);
	}
	*ret_tls = tls;
	return 0;
}

int tls_verify(struct tls *tls, const char *const *names, size_t count)
{
	unsigned status = GNUTLS_CERT_INVALID;
	gnutls_datum_t text = {0};
	int r = GNUTLS_E_NO_CERTIFICATE_FOUND;

	for (size_t i = 0; i < count; i++) {
		r = gnutls_certificate_verify_peers3(tls->session, names[i], &status);
		if (r >= 0 && status == 0)
			return 0;
	}
	tls->verified = status;
	if (r < 0)
		return tls_fail(PS_E_ACCESS, "certificate", r);
	r = gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	ps_fail(PS_E_ACCESS, "certificate: %s", r < 0 ? "not valid" : (const char *)text.data);
	gnutls_free(text.data);
	return PS_E_ACCESS;
}

const char *tls_verify_failure(const struct tls *tls)
{
	static const struct {
		unsigned status;
		const char *word;
	} words[] = {
		{GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED, "certificate-expired"},
		{GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA, "certificate-not-trusted"},
		{GNUTLS_CERT_UNEXPECTED_OWNER, "certificate-host-mismatch"},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++)
		if (tls->verified & words[i].status)
			return words[i].word;
	return "validation-failure";
}

size_t tls_peer_chain(struct tls *tls, struct ps_bytes *ret_chain, size_t max)
{
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls->session, &count);
	size_t n;

	for (n = 0; n < count && n < max; n++)
		ret_chain[n] = ps_bytes(chain[n].data, chain[n].size);
	return n;
}

/* ---- both sides -------------------------------------------------------------------------------- */

void tls_destroy(struct tls *tls)
{
	if (!tls)
		return;
	gnutls_deinit(tls->session);
	tls_context_unref(tls->context);
	free(tls);
}

/* Non-fatal codes are warnings of the other side and the like: going on is right. */
static bool is_passing(struct tls *tls, int r)
{
	if (r == GNUTLS_E_WARNING_ALERT_RECEIVED && ++tls->warnings > WARNINGS_MAX)
		return false;
	return r < 0 && r != GNUTLS_E_AGAIN && r != GNUTLS_E_REHANDSHAKE && !gnutls_error_is_fatal(r);
}

static const char *failure_text(struct tls *tls, int r)
{
	if (r == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return gnutls_alert_get_name(gnutls_alert_get(tls->session));
	if (tls->barren > BARREN_MAX)
		return "too much came before anything of use did";
	return gnutls_strerror(r);
}

int tls_handshake(struct tls *tls)
{
	int r;

	do
		r = gnutls_handshake(tls->session);
	while (is_passing(tls, r));
	tls->open = r == 0;
	if (r == 0) {
		tls->barren = 0;
		return 0;
	}
	if (r == GNUTLS_E_AGAIN)
		return PS_E_AGAIN;
	gnutls_alert_send_appropriate(tls->session, r);
	return ps_fail(PS_E_CLOSED, "TLS handshake: %s%s", failure_text(tls, r),
		       r == GNUTLS_E_FATAL_ALERT_RECEIVED ? " (alert from the other side)" : "");
}

bool tls_wants_write(const struct tls *tls)
{
	return gnutls_record_get_direction(tls->session) == 1;
}

const char *tls_describe(const struct tls *tls)
{
	static char text[128];
	char *description = gnutls_session_get_desc(tls->session);

	snprintf(text, sizeof text, "%s", description ? description : "");
	gnutls_free(description);
	return text;
}

/* Without the extended master secret somebody between the two can have both connections agree on all of these (RFC 7627). */
static bool is_unique(const struct tls *tls, enum ps_binding binding)
{
	if (binding == PS_BINDING_END_POINT)
		return true;
	if (gnutls_protocol_get_version(tls->session) == GNUTLS_TLS1_3)
		return binding == PS_BINDING_EXPORTER;
	return gnutls_session_ext_master_secret_status(tls->session) != 0;
}

void tls_binding(const struct tls *tls, enum ps_binding binding, struct ps_buf *out)
{
	static const gnutls_channel_binding_t types[PS_BINDINGS] = {
		[PS_BINDING_EXPORTER] = GNUTLS_CB_TLS_EXPORTER,
		[PS_BINDING_UNIQUE] = GNUTLS_CB_TLS_UNIQUE,
		[PS_BINDING_END_POINT] = GNUTLS_CB_TLS_SERVER_END_POINT,
	};
	gnutls_datum_t data;

	if (!is_unique(tls, binding) || gnutls_session_channel_binding(tls->session, types[binding], &data) < 0)
		return;
	ps_buf_append(out, data.data, data.size);
	gnutls_free(data.data);
}

ssize_t tls_recv(struct tls *tls, void *ret_data, size_t len)
{
	ssize_t n;

	do
		n = gnutls_record_recv(tls->session, ret_data, len);
	while (is_passing(tls, (int)n));
	if (n > 0)
		tls->barren = 0;
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_AGAIN)
		return PS_E_AGAIN;
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0; /* most clients end so; a command that is cut off is seen as cut off */
	if (n == GNUTLS_E_REHANDSHAKE) {
		gnutls_alert_send(tls->session, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION);
		return ps_fail(PS_E_CLOSED, "TLS: the other side wants to renegotiate");
	}
	return ps_fail(PS_E_CLOSED, "TLS: %s", failure_text(tls, (int)n));
}

int tls_flush(struct tls *tls)
{
	ssize_t n;

	if (!tls->unsent)
		return 0;
	do
		n = gnutls_record_send(tls->session, NULL, 0);
	while (is_passing(tls, (int)n));
	if (n == GNUTLS_E_AGAIN)
		return PS_E_AGAIN;
	tls->unsent = false;
	return n < 0 ? ps_fail(PS_E_CLOSED, "TLS: %s", failure_text(tls, (int)n)) : 0;
}

ssize_t tls_send(struct tls *tls, struct ps_bytes data)
{
	size_t most = gnutls_record_get_max_size(tls->session);
	size_t len = data.len < most ? data.len : most;
	int flushed = tls_flush(tls);
	ssize_t n;

	if (flushed < 0)
		return flushed;
	n = gnutls_record_send(tls->session, data.ptr, len);
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
		/* The record is sealed and GnuTLS keeps it, so the caller need not keep the octets. */
		tls->unsent = true;
		return (ssize_t)len;
	}
	return ps_fail(PS_E_CLOSED, "TLS: %s", failure_text(tls, (int)n));
}

bool tls_has_more(const struct tls *tls)
{
	return gnutls_record_check_pending(tls->session) > 0;
}

void tls_bye(struct tls *tls)
{
	/* Once: whoever reads nothing any more need not hear it. */
	if (tls->open && tls_flush(tls) == 0)
		gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}
