/* SPDX-License-Identifier: MIT */
/*
 * auth/revoked.h - credentials that do not hold any more, and what was made from them before.
 *
 * A credential is what somebody logged in by: a password, say, or one of several. Beyond auth it is known by a mark, a hash whose key
 * only auth has, so that a mark tells nothing of what it stands for. When a credential is changed or removed, its sessions end at once;
 * what is on its way meanwhile (an answer that is held back, a ticket, a pass) is caught by a book of revocations: of what was made before the
 * revocation nothing holds.
 */
#ifndef AUTH_REVOKED_H
#define AUTH_REVOKED_H

#include "core/base/hash.h"

#define PS_CREDENTIAL_SIZE 16u

/* The user's credential that is stored as `stored`. */
struct ps_hash ps_credential_mark(const struct ps_hash_key *key, const char *user, const char *stored);
/* As it travels; and back. Anything but its 16 octets is a mark that nothing has. */
struct ps_bytes ps_credential_octets(const struct ps_hash *mark);
struct ps_hash ps_credential_from(struct ps_bytes octets);

/* Of one credential, whosever sessions it opened (a master user's opens those of others); or of all that a user has. */
struct ps_revocation {
	const char *user;                 /* of no matter where there is a credential */
	const struct ps_hash *credential; /* NULL: all that the user has */
	uint64_t at_ms;                   /* CLOCK_MONOTONIC */
};

struct ps_revoked; /* the book */

/* Entries are kept for as long as what they revoke could hold. */
struct ps_revoked *ps_revoked_create(uint64_t lifetime_ms);
void ps_revoked_destroy(struct ps_revoked *revoked); /* destroy(NULL) does nothing */
void ps_revoked_add(struct ps_revoked *revoked, const struct ps_revocation *revocation);
/* Whether what a credential gave at `made_ms`, for the sessions of this user, does not hold any more. */
bool ps_revoked_has(struct ps_revoked *revoked, const char *user, const struct ps_hash *credential, uint64_t made_ms);

#endif
