/* SPDX-License-Identifier: MIT */
/*
 * core/base/hash.h - SipHash-2-4 with 128 bits: whoever does not know the key cannot make two texts meet, so that the
 * hash may stand for the text.
 */
#ifndef CORE_BASE_HASH_H
#define CORE_BASE_HASH_H

#include "postern/buf.h"

struct ps_hash_key {
	uint64_t k[2];
};

struct ps_hash {
	uint64_t h[2];
};

/* A key of random octets. */
void ps_hash_key_init(struct ps_hash_key *key);
struct ps_hash ps_hash(const struct ps_hash_key *key, struct ps_bytes octets);

static inline bool ps_hash_eq(const struct ps_hash *a, const struct ps_hash *b)
{
	return a->h[0] == b->h[0] && a->h[1] == b->h[1];
}

#endif
