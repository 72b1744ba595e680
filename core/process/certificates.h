/* SPDX-License-Identifier: MIT */
/*
 * core/process/certificates.h - auth's certificates: puts together what master sends of them, and tells the fronts.
 */
#ifndef CORE_PROCESS_CERTIFICATES_H
#define CORE_PROCESS_CERTIFICATES_H

#include "core/process/role.h"
#include "core/process/signer.h"

struct certificates;

struct certificates *certificates_create(struct ps_role *role, struct ps_signer *signer);
/* A file has come; its text is taken over. True: there is another pair of certificate and key in the slot now. */
bool certificates_take(struct certificates *certificates, enum ps_secret_kind kind, uint32_t slot, struct ps_buf *text);
/* The private key of a slot, in PEM; when certificates_take() has given true. */
struct ps_bytes certificates_key(const struct certificates *certificates, uint32_t slot);
/* All that there are, to a front. */
void certificates_publish(struct certificates *certificates, struct ps_channel *front);
/* What the configuration does not name any more goes. */
void certificates_reconfigure(struct certificates *certificates);

#endif
