/* SPDX-License-Identifier: MIT */
/*
 * TLS by GnuTLS. The socket is read and written by functions of our own, which never raise SIGPIPE.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "core/net/tls_context.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	NAMES_MAX = 64,
	NAME_SIZE = 256,
	ALPN_MAX = 4,
	/* Octets that come in before anything comes out of them: two records, or a handshake with its largest keys several
	 * times. GnuTLS would gather a handshake message of 16 MiB before it looks at its limit. */
	BARREN_MAX = 32 * 1024,
	WARNINGS_MAX = 16, /* alerts of a client that change nothing; more are an attack on our time */
};
struct tls {
	gnutls_session_t session;
	struct tls_context *context; /* NULL on the client's side */
	int fd;
	size_t barren; /* octets received since the last that were of use */
	unsigned warnings;
	unsigned verified; /* what the last check of the certificate said; 0: good */
	bool asks_client, needs_client, client_is_common_name;
	uint64_t client_expires; /* 0: it has no certificate */
	char *client_user;       /* whom the client's certificate names; NULL: nobody */
	bool open;               /* the handshake is done */
	bool unsent;             /* GnuTLS holds a sealed record that the socket did not take */
};

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

/* A client that offers names, and not ours, wants to speak to somebody else (ALPACA). */
static int set_alpn(struct tls *tls, const char *names)
{
	gnutls_datum_t list[ALPN_MAX];
	unsigned count = 0;

	for (const char *at = names; at && *at && count < ALPN_MAX; count++) {
		size_t len = strcspn(at, " ");

		list[count] = (gnutls_datum_t){(unsigned char *)at, (unsigned)len};
		at += len + strspn(at + len, " ");
	}
	return count ? gnutls_alpn_set_protocols(tls->session, list, count,
						 GNUTLS_ALPN_MANDATORY | GNUTLS_ALPN_SERVER_PRECEDENCE)
		     : 0;
}

/* The key is copied: who takes long to shake hands may do it with the one before. */
static int set_tickets(struct tls *tls)
{
	const struct tls_shared *shared = tls->context->shared;

	if (shared->resumption_s == 0)
		return 0;
	gnutls_db_set_cache_expiration(tls->session, (int)shared->resumption_s);
	return gnutls_session_ticket_enable_server(tls->session, &shared->ticket_key);
}

/* The client has said whom it wants to speak to. */
static int choose_certificate(gnutls_session_t session)
{
	const struct tls *tls = gnutls_session_get_ptr(session);
	char name[NAME_SIZE] = "";
	size_t size = sizeof name;
	unsigned type = 0;

	if (gnutls_server_name_get(session, name, &size, &type, 0) < 0 || type != GNUTLS_NAME_DNS)
		return 0; /* to nobody in particular */
	return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls_context_choose(tls->context, name));
}

static int configure(struct tls *tls, const struct tls_server_args *args)
{
	const struct tls_shared *shared = tls->context->shared;
	int r;

	tls->asks_client = args->asks_client;
	tls->needs_client = args->needs_client;
	tls->client_is_common_name = args->client_is_common_name;
	/* What comes of it is looked at when the handshake is done: check_client(). */
	gnutls_certificate_server_set_request(tls->session,
					      args->asks_client ? GNUTLS_CERT_REQUEST : GNUTLS_CERT_IGNORE);
	gnutls_handshake_set_post_client_hello_function(tls->session, choose_certificate);
	if ((r = gnutls_priority_set(tls->session, shared->priority)) < 0 ||
	    (r = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls_context_choose(tls->context, ""))) <
		    0 ||
	    (r = set_tickets(tls)) < 0)
		return r;
	return set_alpn(tls, args->alpn);
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
	gnutls_session_set_ptr(tls->session, tls);
	gnutls_handshake_set_max_packet_length(tls->session, BARREN_MAX);
	gnutls_handshake_set_timeout(tls->session, 0); /* the connection has its own timer */
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_pull_function(tls->session, pull);
	gnutls_transport_set_vec_push_function(tls->session, push);
	*ret_tls = tls;
	return 0;
}

int tls_create(struct tls_context *context, int fd, const struct tls_server_args *args, struct tls **ret_tls)
{
	struct tls *tls;
	int r = session_create(fd, GNUTLS_SERVER, &tls);

	if (r < 0)
		return r;
	tls->context = tls_context_ref(context);
	r = configure(tls, args);
	if (r < 0) {
		tls_destroy(tls);
		return tls_fail(PS_E_INTERNAL, "TLS session", r);
	}
	*ret_tls = tls;
	return 0;
}

/* What is wrong with the other side's certificate. */
static int fail_verification(unsigned status)
{
	gnutls_datum_t text = {0};
	int r = gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);

	ps_fail(PS_E_ACCESS, "certificate: %s", r < 0 ? "not valid" : (const char *)text.data);
	gnutls_free(text.data);
	return PS_E_ACCESS;
}

/* ---- the client's certificate, on the server's side --------------------------------------------- */

/* Where there are several, the first. One with a NUL in it is somebody's trick. */
static int read_user(const struct tls *tls, gnutls_x509_crt_t leaf, char text[NAME_SIZE])
{
	size_t size = NAME_SIZE;
	int r = GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;

	if (tls->client_is_common_name)
		r = gnutls_x509_crt_get_dn_by_oid(leaf, GNUTLS_OID_X520_COMMON_NAME, 0, 0, text, &size);
	for (unsigned i = 0; !tls->client_is_common_name && i < NAMES_MAX; i++) {
		size = NAME_SIZE;
		r = gnutls_x509_crt_get_subject_alt_name(leaf, i, text, &size, NULL);
		if (r == GNUTLS_SAN_RFC822NAME || r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		r = GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
	}
	return r < 0 || size >= NAME_SIZE || memchr(text, '\0', size) ? PS_E_NOTFOUND : 0;
}

static void keep_expiry(struct tls *tls, const gnutls_datum_t *der)
{
	gnutls_x509_crt_t certificate;
	time_t end;

	if (gnutls_x509_crt_init(&certificate) < 0)
		abort(); /* memory: as ps_malloc() */
	end = gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) < 0
		      ? 0
		      : gnutls_x509_crt_get_expiration_time(certificate);
	if (end > 0 && (tls->client_expires == 0 || (uint64_t)end < tls->client_expires))
		tls->client_expires = (uint64_t)end;
	gnutls_x509_crt_deinit(certificate);
}

static void keep_user(struct tls *tls, const gnutls_datum_t *der)
{
	char text[NAME_SIZE] = "";
	gnutls_x509_crt_t leaf;

	if (gnutls_x509_crt_init(&leaf) < 0)
		return;
	if (gnutls_x509_crt_import(leaf, der, GNUTLS_X509_FMT_DER) == 0 && read_user(tls, leaf, text) == 0)
		tls->client_user = ps_strdup(text);
	gnutls_x509_crt_deinit(leaf);
}

/* Also of a session that is resumed: it brings the certificate along, which may have expired since, or be for another listener. */
static int check_client(struct tls *tls)
{
	gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT, 0};
	unsigned count = 0, status = GNUTLS_CERT_INVALID;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls->session, &count);

	if (!chain || count == 0)
		return ps_fail(PS_E_ACCESS, "the client has no certificate");
	if (gnutls_certificate_verify_peers(tls->session, &purpose, 1, &status) < 0 || status != 0)
		return fail_verification(status);
	keep_user(tls, &chain[0]);
	for (unsigned i = 0; i < count; i++)
		keep_expiry(tls, &chain[i]);
	return 0;
}

const char *tls_client_user(const struct tls *tls)
{
	return tls->client_user;
}

uint64_t tls_client_expires(const struct tls *tls)
{
	return tls->client_expires;
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
	int r = GNUTLS_E_NO_CERTIFICATE_FOUND;

	for (size_t i = 0; i < count; i++) {
		r = gnutls_certificate_verify_peers3(tls->session, names[i], &status);
		if (r >= 0 && status == 0)
			return 0;
	}
	tls->verified = status;
	if (r < 0)
		return tls_fail(PS_E_ACCESS, "certificate", r);
	return fail_verification(status);
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
	free(tls->client_user);
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
	if (r == 0 && tls->asks_client && check_client(tls) < 0 && tls->needs_client) {
		gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
		return ps_fail(PS_E_CLOSED, "TLS handshake: %s", ps_last_error());
	}
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
