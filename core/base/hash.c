/* SPDX-License-Identifier: MIT */
#include "core/base/hash.h"
#include <endian.h>
#include <stdlib.h>
#include <sys/random.h>

void ps_hash_key_init(struct ps_hash_key *key)
{
	if (getrandom(key, sizeof *key, 0) != sizeof *key)
		abort(); /* up to 256 octets are never interrupted */
}

static uint64_t rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static void rounds(uint64_t v[4], int count)
{
	while (count-- > 0) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

static void take(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	rounds(v, 2);
	v[0] ^= word;
}

static uint64_t give(uint64_t v[4], uint64_t mark, int at)
{
	v[at] ^= mark;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct ps_hash ps_hash(const struct ps_hash_key *key, struct ps_bytes octets)
{
	uint64_t v[4] = {
		key->k[0] ^ UINT64_C(0x736f6d6570736575),
		key->k[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
		key->k[0] ^ UINT64_C(0x6c7967656e657261),
		key->k[1] ^ UINT64_C(0x7465646279746573),
	};
	uint64_t word = 0, tail = (uint64_t)octets.len << 56;
	struct ps_hash hash;

	for (; octets.len >= sizeof word; octets = ps_bytes_skip(octets, sizeof word)) {
		memcpy(&word, octets.ptr, sizeof word);
		take(v, le64toh(word));
	}
	for (size_t i = 0; i < octets.len; i++)
		tail |= (uint64_t)octets.ptr[i] << 8 * i;
	take(v, tail);
	hash.h[0] = give(v, 0xee, 2);
	hash.h[1] = give(v, 0xdd, 1);
	return hash;
}
