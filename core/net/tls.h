/* SPDX-License-Identifier: MIT */
/*
 * core/net/tls.h - TLS, for the server's side and the client's. GnuTLS is below; only tls.c calls its handshake and
 * records.
 *
 * A tls_context is what all handshakes share: certificates, priorities, the key of session tickets.
 * It is counted by reference, so that certificates can be replaced while handshakes with the former
 * ones go on. Loop thread only.
 */
#ifndef CORE_NET_TLS_H
#define CORE_NET_TLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "auth/scram.h"

struct tls;
struct tls_context;

/*
 * The number of a private key, which other processes know it by: a slot, in which certificates replace each other, and a
 * generation, so that a handshake that began with the former certificate is signed with its key.
 */
#define PS_KEY_NUMBER(slot, generation) ((uint32_t)(generation) << 8 | (slot))
#define PS_KEY_SLOT(number)             ((number)&0xffu)
#define PS_KEY_SLOTS                    256u

/* As ps_front_hooks.sign. */
typedef int (*tls_sign_fn)(void *arg, uint32_t key, unsigned algorithm, bool is_hash, struct ps_bytes data,
			   struct ps_buf *out);

struct tls_settings {
	const char *priority;  /* GnuTLS priority string */
	unsigned resumption_s; /* for how long a session may be resumed; 0: none is */
	struct ps_bytes
		clients; /* PEM: authorities that clients' certificates are believed from, with their CRLs; empty: none */
	tls_sign_fn sign;
	void *sign_arg;
};
/* `old` (may be NULL): its certificates and the key of its session tickets are taken along. */
int tls_context_create(const struct tls_settings *settings, const struct tls_context *old,
		       struct tls_context **ret_context);

struct tls_certificate {
	uint32_t key;
	struct ps_bytes pem;  /* the chain; absent: the slot is emptied */
	struct ps_bytes ocsp; /* a response in DER that is stapled; absent: none is */
};
/* A new context that has the certificates, ticket key and settings of `old`, with this certificate in the place of what was there in its
 * slot. Asks for one signature, to see that key and certificate belong together. `old` stays as it is. Who asks for none of
 * the names gets the certificate of the lowest slot. */
int tls_context_with_certificate(const struct tls_context *old, const struct tls_certificate *certificate,
				 struct tls_context **ret_context);
/* What session tickets are sealed with from now on: TLS_TICKET_KEY_SIZE octets. Those of before are worth nothing any more. All
 * who have the same key take each other's tickets. */
#define TLS_TICKET_KEY_SIZE 64
void tls_context_set_ticket_key(struct tls_context *context, struct ps_bytes key);
bool tls_context_has_certificate(const struct tls_context *context);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* unref(NULL) does nothing */

struct tls_server_args {
	const char *
		alpn; /* names, blank-separated, of which a client that wishes for any must wish for one; NULL: its wish is ignored */
	bool asks_client;           /* for a certificate */
	bool needs_client;          /* and without a good one there is no session */
	bool client_is_common_name; /* its user is the subject's common name; else the first e-mail address */
};
/* A session on a connected socket. */
int tls_create(struct tls_context *context, int fd, const struct tls_server_args *args, struct tls **ret_tls);
/* The user whom the client's certificate names. NULL: it gave none that is believed, or that names one. Lives as long as the session. */
const char *tls_client_user(const struct tls *tls);
/* When its certificate does, or one that it brought along to show that; seconds since 1970; 0: there is none. */
uint64_t tls_client_expires(const struct tls *tls);
/* The client's side. A trust is whom it believes: `ca_file` has the certificates of authorities; NULL: those of the system. It
 * must outlive its sessions. */
struct tls_trust;
int tls_trust_create(const char *priority, const char *ca_file, struct tls_trust **ret_trust);
void tls_trust_destroy(struct tls_trust *trust); /* destroy(NULL) does nothing */
/* `name` (may be NULL): the server that is wanted (SNI). The handshake succeeds with any certificate: what is expected of it is
 * asked for afterwards. */
int tls_connect(struct tls_trust *trust, int fd, const char *name, struct tls **ret_tls);
/* 0 when the server's certificate is valid and for one of `names`; else PS_E_ACCESS, with the reason in ps_last_error(). */
int tls_verify(struct tls *tls, const char *const *names, size_t count);
/* After tls_verify() failed: why, in the words of RFC 8460 section 4.3. Static. */
const char *tls_verify_failure(const struct tls *tls);
/* The certificates that the server sent, its own first, in DER; as many as there are, or `max`. */
size_t tls_peer_chain(struct tls *tls, struct ps_bytes *ret_chain, size_t max);

void tls_destroy(struct tls *tls);
/* 0: done; PS_E_AGAIN: wait for what tls_wants_write() says; PS_E_CLOSED: failed, the client was
 * told by an alert. */
int tls_handshake(struct tls *tls);
bool tls_wants_write(const struct tls *tls);
/* For the log: "TLS1.3 ...", static until the next call. */
const char *tls_describe(const struct tls *tls);

/* Appends the data of a channel binding; nothing, where it is not to be had, or other connections could have the same. */
void tls_binding(const struct tls *tls, enum ps_binding binding, struct ps_buf *out);

/* As in core/net/stream.h. */
ssize_t tls_recv(struct tls *tls, void *ret_data, size_t len);
ssize_t tls_send(struct tls *tls, struct ps_bytes data);
int tls_flush(struct tls *tls);
bool tls_has_more(const struct tls *tls);
void tls_bye(struct tls *tls);

#endif
