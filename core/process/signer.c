/* SPDX-License-Identifier: MIT */
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/net/tls.h"
#include "core/process/channel.h"
#include "core/process/signer.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

/* Of each slot the one in use, and behind it the one before. */
#define KEYS (2 * PS_KEY_SLOTS)

/* Octets of a DigestInfo (RFC 8017, 9.2) with SHA-256 up to SHA-512. */
enum {
	DIGEST_INFO_MIN = 19 + 32,
	DIGEST_INFO_MAX = 19 + 64,
};

struct ps_signer {
	pthread_mutex_t lock; /* guards the rest */
	struct {
		uint32_t number;   /* 0: none */
		struct ps_buf pem; /* empty: none */
	} keys[KEYS];
	unsigned changes;
};

/* A thread's own. */
struct served {
	struct ps_signer *signer;
	int fd;
	unsigned front;
	struct {
		uint32_t number;
		gnutls_privkey_t key; /* NULL: none */
	} keys[KEYS];
	unsigned changes; /* that it has seen */
	struct ps_inbox inbox;
};

struct ps_signer *ps_signer_create(void)
{
	struct ps_signer *signer = ps_zalloc(sizeof *signer);

	pthread_mutex_init(&signer->lock, NULL);
	return signer;
}

void ps_signer_set_key(struct ps_signer *signer, uint32_t number, struct ps_bytes pem)
{
	unsigned now = 2 * PS_KEY_SLOT(number), before = now + 1;

	pthread_mutex_lock(&signer->lock);
	ps_buf_wipe(&signer->keys[before].pem);
	signer->keys[before] = signer->keys[now];
	signer->keys[now].number = number;
	signer->keys[now].pem = (struct ps_buf){0};
	ps_buf_bytes(&signer->keys[now].pem, pem);
	signer->changes++;
	pthread_mutex_unlock(&signer->lock);
}

static gnutls_privkey_t import_key(const struct ps_buf *pem)
{
	gnutls_datum_t data = {pem->ptr, (unsigned)pem->len};
	gnutls_privkey_t key;

	if (data.size == 0 || gnutls_privkey_init(&key) < 0)
		return NULL;
	if (gnutls_privkey_import_x509_raw(key, &data, GNUTLS_X509_FMT_PEM, NULL, 0) < 0) {
		gnutls_privkey_deinit(key);
		return NULL;
	}
	return key;
}

static void drop_key(struct served *served, unsigned i)
{
	if (served->keys[i].key)
		gnutls_privkey_deinit(served->keys[i].key);
	served->keys[i].key = NULL;
}

static void refresh_keys(struct served *served)
{
	struct ps_signer *signer = served->signer;

	pthread_mutex_lock(&signer->lock);
	if (served->changes != signer->changes) {
		for (unsigned i = 0; i < KEYS; i++) {
			if (served->keys[i].number == signer->keys[i].number)
				continue; /* a number is not given twice */
			drop_key(served, i);
			served->keys[i].number = signer->keys[i].number;
			served->keys[i].key = import_key(&signer->keys[i].pem);
		}
		served->changes = signer->changes;
	}
	pthread_mutex_unlock(&signer->lock);
}

static gnutls_privkey_t find_key(const struct served *served, uint32_t number)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (served->keys[i].key && served->keys[i].number == number)
			return served->keys[i].key;
	return NULL;
}

/* What TLS 1.2 and 1.3 sign by. A front that was taken over may ask for anything, and GnuTLS is not made for that: MD2
 * makes it write behind the end of its buffer. */
static bool is_of_tls(gnutls_sign_algorithm_t algorithm)
{
	static const gnutls_sign_algorithm_t all[] = {
		GNUTLS_SIGN_RSA_RAW, /* how GnuTLS asks for the next three: a DigestInfo */
		GNUTLS_SIGN_RSA_SHA256,
		GNUTLS_SIGN_RSA_SHA384,
		GNUTLS_SIGN_RSA_SHA512,
		GNUTLS_SIGN_RSA_PSS_SHA256,
		GNUTLS_SIGN_RSA_PSS_SHA384,
		GNUTLS_SIGN_RSA_PSS_SHA512,
		GNUTLS_SIGN_RSA_PSS_RSAE_SHA256,
		GNUTLS_SIGN_RSA_PSS_RSAE_SHA384,
		GNUTLS_SIGN_RSA_PSS_RSAE_SHA512,
		GNUTLS_SIGN_ECDSA_SHA256,
		GNUTLS_SIGN_ECDSA_SHA384,
		GNUTLS_SIGN_ECDSA_SHA512,
		GNUTLS_SIGN_ECDSA_SECP256R1_SHA256,
		GNUTLS_SIGN_ECDSA_SECP384R1_SHA384,
		GNUTLS_SIGN_ECDSA_SECP521R1_SHA512,
		GNUTLS_SIGN_EDDSA_ED25519,
		GNUTLS_SIGN_EDDSA_ED448,
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(all); i++)
		if (all[i] == algorithm)
			return true;
	return false;
}

/* GnuTLS believes the length, and would read on behind a shorter hash. */
static bool is_hash_of(gnutls_sign_algorithm_t algorithm, size_t size)
{
	gnutls_digest_algorithm_t digest = gnutls_sign_get_hash_algorithm(algorithm);

	if (algorithm == GNUTLS_SIGN_RSA_RAW)
		return size >= DIGEST_INFO_MIN && size <= DIGEST_INFO_MAX;
	return digest != GNUTLS_DIG_UNKNOWN && size > 0 && size == gnutls_hash_get_len(digest);
}

static int sign(struct served *served, const struct ps_msg_sign *request, gnutls_datum_t *ret_signature)
{
	gnutls_datum_t data = {(unsigned char *)request->data.ptr, (unsigned)request->data.len};
	gnutls_sign_algorithm_t algorithm = (gnutls_sign_algorithm_t)request->algorithm;
	gnutls_privkey_t key = find_key(served, request->key);

	if (!key)
		return GNUTLS_E_NO_CERTIFICATE_FOUND;
	if (!is_of_tls(algorithm) || (request->is_hash && !is_hash_of(algorithm, data.size)))
		return GNUTLS_E_INVALID_REQUEST;
	if (algorithm == GNUTLS_SIGN_RSA_RAW && !request->is_hash)
		return GNUTLS_E_INVALID_REQUEST;
	return request->is_hash ? gnutls_privkey_sign_hash2(key, algorithm, 0, &data, ret_signature)
				: gnutls_privkey_sign_data2(key, algorithm, 0, &data, ret_signature);
}

static int answer(struct served *served)
{
	gnutls_datum_t signature = {NULL, 0};
	struct ps_msg_signature message = {.number = served->inbox.message.sign.number};
	int r;

	refresh_keys(served);
	r = sign(served, &served->inbox.message.sign, &signature);
	if (r < 0)
		ps_log(PS_LOG_ERROR, "sign_failed", "front", ps_num(served->front), "msg", gnutls_strerror(r), NULL);
	else
		message.signature = ps_bytes(signature.data, signature.size);
	r = ps_wait_send(served->fd, PS_MSG_SIGNATURE, &message);
	gnutls_free(signature.data);
	return r;
}

static void *serve(void *arg)
{
	struct served *served = arg;
	int r;

	do {
		r = ps_wait_receive(served->fd, -1, PS_ROLE_FRONT, PS_ROLE_SIGNER, PS_PHASE_SERVING, &served->inbox);
		if (r == 0)
			r = answer(served);
	} while (r == 0 || r == PS_E_AGAIN);
	if (r != PS_E_CLOSED)
		ps_log(PS_LOG_ERROR, "message_offence", "peer", "front", "index", ps_num(served->front), "msg",
		       ps_last_error(), NULL);
	for (unsigned i = 0; i < KEYS; i++)
		drop_key(served, i);
	close(served->fd);
	free(served);
	return NULL;
}

int ps_signer_serve(struct ps_signer *signer, int fd, unsigned front)
{
	struct served *served = ps_zalloc(sizeof *served);
	sigset_t all, before;
	pthread_t thread;
	int r;

	served->signer = signer;
	served->fd = fd;
	served->front = front;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, serve, served);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		close(fd);
		free(served);
		return ps_fail(PS_E_LIMIT, "no thread for signing: %s", strerror(r));
	}
	pthread_detach(thread);
	return 0;
}
