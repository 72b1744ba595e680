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

/* As ps_front_hooks.sign. */
typedef int (*tls_sign_fn)(void *arg, uint32_t key, unsigned algorithm, bool is_hash, struct ps_bytes data,
			   struct ps_buf *out);

/* `priority`: GnuTLS priority string. `old` (may be NULL): its certificates and ticket key are taken along. */
int tls_context_create(const char *priority, tls_sign_fn sign, void *sign_arg, const struct tls_context *old,
		       struct tls_context **ret_context);
/* A new context that has the certificates, ticket key and priorities of `old`, with `pem` in the
 * place of what was there in the slot of `key`. Asks for one signature, to see that key and certificate belong
 * together. `old` stays as it is. */
int tls_context_with_certificate(const struct tls_context *old, uint32_t key, struct ps_bytes pem,
				 struct tls_context **ret_context);
bool tls_context_has_certificate(const struct tls_context *context);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* unref(NULL) does nothing */

/* A session on a connected socket. `alpn` may be NULL: the client's wish is ignored. */
int tls_create(struct tls_context *context, int fd, const char *alpn, struct tls **ret_tls);
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
