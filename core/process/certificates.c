/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/net/tls.h"
#include "core/process/certificate.h"
#include "core/process/certificates.h"
#include "postern/error.h"
#include "postern/pool.h"

#define PRUNE_MS 3000u

/* A certificate as the files have it, and as the fronts do. */
struct slot {
	struct ps_buf chain, key, ocsp;
	struct ps_buf in_use, ocsp_in_use; /* empty: none */
	unsigned generation;               /* of its key */
};

struct certificates {
	struct ps_role *role;
	struct ps_signer *signer;
	struct slot slots[PS_KEY_SLOTS];
	uint32_t count; /* slots from here on are empty */
	struct ps_buf authorities;
	struct ps_timer *prune;
};

/* ---- telling the fronts ----------------------------------------------------------------------------- */

static void tell(struct ps_channel *front, uint32_t type, const void *message)
{
	if (ps_channel_send(front, type, message) < 0)
		ps_log(PS_LOG_ERROR, "certificate", "msg", ps_last_error(), NULL);
}

static void tell_slot(const struct certificates *certificates, uint32_t n, struct ps_channel *front)
{
	const struct slot *slot = &certificates->slots[n];
	struct ps_msg_certificate message = {.key = PS_KEY_NUMBER(n, slot->generation)};

	if (slot->in_use.len)
		message.pem = ps_buf_view(&slot->in_use);
	if (slot->ocsp_in_use.len)
		message.ocsp = ps_buf_view(&slot->ocsp_in_use);
	tell(front, PS_MSG_CERTIFICATE, &message);
}

static void tell_authorities(const struct certificates *certificates, struct ps_channel *front)
{
	struct ps_msg_authorities message = {};

	if (certificates->authorities.len)
		message.pem = ps_buf_view(&certificates->authorities);
	tell(front, PS_MSG_AUTHORITIES, &message);
}

/* A front begins to serve when it has the first slot, so that one comes last. */
void certificates_publish(struct certificates *certificates, struct ps_channel *front)
{
	if (certificates->authorities.len)
		tell_authorities(certificates, front);
	for (uint32_t n = certificates->count; n > 1; n--)
		tell_slot(certificates, n - 1, front);
	tell_slot(certificates, 0, front);
}

/* Relay does not speak TLS as a server. */
static struct ps_channel *front_at(const struct certificates *certificates, size_t i)
{
	struct ps_channel *peer = certificates->role->peers[i];

	return peer && ps_channel_peer(peer) == PS_ROLE_FRONT ? peer : NULL;
}

static void tell_all(const struct certificates *certificates, uint32_t n)
{
	for (size_t i = 0; i < PS_PEERS_MAX; i++)
		if (front_at(certificates, i))
			tell_slot(certificates, n, front_at(certificates, i));
}

static void tell_all_authorities(const struct certificates *certificates)
{
	for (size_t i = 0; i < PS_PEERS_MAX; i++)
		if (front_at(certificates, i))
			tell_authorities(certificates, front_at(certificates, i));
}

/* ---- what master sends ------------------------------------------------------------------------------ */

static void copy(struct ps_buf *to, const struct ps_buf *from)
{
	ps_buf_reset(to);
	ps_buf_bytes(to, ps_buf_view(from));
}

/* Whether it is the certificate that is in use. Chain and key come one after the other, so for a moment they may not fit; the
 * former pair serves until they do. */
static bool use(struct certificates *certificates, uint32_t n)
{
	struct slot *slot = &certificates->slots[n];

	if (!slot->chain.len || !slot->key.len)
		return false;
	if (ps_certificate_check(ps_buf_view(&slot->chain), ps_buf_view(&slot->key)) < 0) {
		ps_log(PS_LOG_WARNING, "certificate_not_used", "for", ps_certificate_name(certificates->role->conf, n),
		       "msg", ps_last_error(), NULL);
		return false;
	}
	/* A chain tells its key, so the same chain is the same pair. */
	if (ps_bytes_eq(ps_buf_view(&slot->chain), ps_buf_view(&slot->in_use)))
		return true;
	slot->generation++;
	ps_signer_set_key(certificates->signer, PS_KEY_NUMBER(n, slot->generation), ps_buf_view(&slot->key));
	copy(&slot->in_use, &slot->chain);
	ps_log(PS_LOG_INFO, "certificate_in_use", "for", ps_certificate_name(certificates->role->conf, n), NULL);
	return true;
}

static bool renew(struct certificates *certificates, uint32_t n)
{
	struct slot *slot = &certificates->slots[n];
	unsigned generation = slot->generation;

	if (!use(certificates, n))
		return false;
	if (generation == slot->generation && ps_bytes_eq(ps_buf_view(&slot->ocsp), ps_buf_view(&slot->ocsp_in_use)))
		return false;
	copy(&slot->ocsp_in_use, &slot->ocsp);
	tell_all(certificates, n);
	return generation != slot->generation;
}

static void set_authorities(struct certificates *certificates, struct ps_buf *text)
{
	if (text->len > PS_AUTHORITIES_MAX) {
		ps_logf(PS_LOG_ERROR, "client_authorities", NULL, "%zu octets are more than %u; the former ones stay",
			text->len, PS_AUTHORITIES_MAX);
		ps_buf_finish(text);
		return;
	}
	ps_buf_finish(&certificates->authorities);
	certificates->authorities = *text;
	tell_all_authorities(certificates);
}

bool certificates_take(struct certificates *certificates, enum ps_secret_kind kind, uint32_t slot, struct ps_buf *text)
{
	struct slot *to = &certificates->slots[slot % PS_KEY_SLOTS];
	struct ps_buf *file = NULL;

	switch (kind) {
	case PS_SECRET_CERTIFICATE: file = &to->chain; break;
	case PS_SECRET_KEY: file = &to->key; break;
	case PS_SECRET_OCSP: file = &to->ocsp; break;
	case PS_SECRET_AUTHORITIES: set_authorities(certificates, text); return false;
	default: ps_buf_wipe(text); return false;
	}
	ps_buf_wipe(file);
	*file = *text;
	if (certificates->count <= slot)
		certificates->count = slot + 1;
	return renew(certificates, slot);
}

struct ps_bytes certificates_key(const struct certificates *certificates, uint32_t slot)
{
	return ps_buf_view(&certificates->slots[slot].key);
}

/* ---- another configuration -------------------------------------------------------------------------- */

static void empty(struct certificates *certificates, uint32_t n)
{
	struct slot *slot = &certificates->slots[n];
	bool was_in_use = slot->in_use.len > 0;

	ps_buf_finish(&slot->chain);
	ps_buf_wipe(&slot->key);
	ps_buf_finish(&slot->ocsp);
	ps_buf_finish(&slot->in_use);
	ps_buf_finish(&slot->ocsp_in_use);
	if (was_in_use)
		tell_all(certificates, n);
}

/* What the configuration does not name any more goes. */
static void prune(void *arg)
{
	struct certificates *certificates = arg;
	const struct ps_conf *conf = certificates->role->conf;

	for (uint32_t n = 0; n < certificates->count; n++) {
		const struct ps_conf *section = ps_certificate_section(conf, n);

		if (!section || !ps_conf_str(section, "certificate"))
			empty(certificates, n);
		else if (!ps_conf_str(section, "ocsp_response") && certificates->slots[n].ocsp.len) {
			ps_buf_finish(&certificates->slots[n].ocsp);
			renew(certificates, n);
		}
	}
	if (certificates->authorities.len && !ps_conf_str(ps_conf_section(conf, "tls", 0), "client_authorities")) {
		ps_buf_finish(&certificates->authorities);
		tell_all_authorities(certificates);
	}
}

/* A domain's certificate may have got another slot, and that one's files come later than the configuration. Until then the former
 * slot serves. */
void certificates_reconfigure(struct certificates *certificates)
{
	ps_timer_set(certificates->prune, PRUNE_MS, 0);
}

struct certificates *certificates_create(struct ps_role *role, struct ps_signer *signer)
{
	struct certificates *certificates = ps_zalloc(sizeof *certificates);

	certificates->role = role;
	certificates->signer = signer;
	if (ps_timer_open(role->loop, prune, certificates, &certificates->prune) < 0)
		abort(); /* memory: as ps_malloc() */
	return certificates;
}
