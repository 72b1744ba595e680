/* SPDX-License-Identifier: MIT */
/*
 * core/process/signer.h - signs TLS handshakes for the fronts, in threads of the auth process.
 *
 * A front waits for the answer, so each has a channel and a thread of its own, and a slow password hash does not hold up
 * a handshake. The private key is shared under a lock; a thread imports it anew when it has changed.
 */
#ifndef CORE_PROCESS_SIGNER_H
#define CORE_PROCESS_SIGNER_H

#include "postern/buf.h"

struct ps_signer;

struct ps_signer *ps_signer_create(void);
/* PEM; copied. `number` is what fronts ask for it by. The key before it is kept, for handshakes that are under way. */
void ps_signer_set_key(struct ps_signer *signer, uint32_t number, struct ps_bytes pem);
/* Serves a front on `fd` (taken over) until the front has gone. The signer is never destroyed: it goes with the process. */
int ps_signer_serve(struct ps_signer *signer, int fd, unsigned front);

#endif
