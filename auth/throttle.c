/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include "auth/nets.h"
#include "auth/throttle.h"
#include "postern/pool.h"

#define WINDOW_MS      60000u
#define FIRST_DELAY_MS 2000u

/* A table of fixed size: a key that comes to another's place takes it. So an attacker with very many
 * addresses costs us no memory, and makes at worst some others be forgotten early. */
#define SLOTS 65536u
#define WAYS  4u

struct slot {
	uint8_t key[16];
	uint64_t window_start;     /* 0: free */
	uint32_t failures, before; /* in this window and in the one before */
};

struct ps_throttle {
	unsigned per_minute;
	uint64_t max_delay_ms;
	uint8_t salt[16]; /* so that nobody can choose addresses that meet in one place */
	struct slot *slots;
};

struct ps_throttle *ps_throttle_create(unsigned per_minute, uint64_t max_delay_ms)
{
	struct ps_throttle *throttle = ps_zalloc(sizeof *throttle);

	gnutls_rnd(GNUTLS_RND_NONCE, throttle->salt, sizeof throttle->salt);
	throttle->slots = ps_zalloc(sizeof *throttle->slots * SLOTS);
	ps_throttle_set(throttle, per_minute, max_delay_ms);
	return throttle;
}

void ps_throttle_set(struct ps_throttle *throttle, unsigned per_minute, uint64_t max_delay_ms)
{
	throttle->per_minute = per_minute;
	throttle->max_delay_ms = max_delay_ms;
}

void ps_throttle_destroy(struct ps_throttle *throttle)
{
	if (!throttle)
		return;
	free(throttle->slots);
	free(throttle);
}

/* The WAYS slots where a key may be. */
static struct slot *place(struct ps_throttle *throttle, const uint8_t key[16])
{
	uint8_t octets[32], digest[32];
	uint32_t n;

	memcpy(octets, throttle->salt, 16);
	memcpy(octets + 16, key, 16);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, octets, sizeof octets, digest);
	memcpy(&n, digest, sizeof n);
	return &throttle->slots[n % (SLOTS / WAYS) * WAYS];
}

static void roll(struct slot *slot, uint64_t now_ms)
{
	if (now_ms < slot->window_start + WINDOW_MS)
		return;
	slot->before = now_ms < slot->window_start + 2 * WINDOW_MS ? slot->failures : 0;
	slot->failures = 0;
	slot->window_start = now_ms;
}

struct ps_throttle_key ps_throttle_client(const char *remote)
{
	struct ps_throttle_key key = {0};

	key.valid = ps_address_key(remote, key.octets);
	return key;
}

struct ps_throttle_key ps_throttle_user(const char *name)
{
	struct ps_throttle_key key = {.valid = name != NULL};
	uint8_t digest[32];

	if (name) {
		gnutls_hash_fast(GNUTLS_DIG_SHA256, name, strlen(name), digest);
		memcpy(key.octets, digest, sizeof key.octets);
	}
	return key;
}

/* NULL: not known, and not to be `made`. */
static struct slot *find(struct ps_throttle *throttle, struct ps_throttle_key key, uint64_t now_ms, bool make)
{
	struct slot *slots, *oldest;

	if (!key.valid)
		return NULL;
	slots = oldest = place(throttle, key.octets);
	for (unsigned i = 0; i < WAYS; i++) {
		if (slots[i].window_start && memcmp(slots[i].key, key.octets, sizeof key.octets) == 0) {
			roll(&slots[i], now_ms);
			return &slots[i];
		}
		if (slots[i].window_start < oldest->window_start)
			oldest = &slots[i];
	}
	if (!make)
		return NULL;
	*oldest = (struct slot){.window_start = now_ms ? now_ms : 1};
	memcpy(oldest->key, key.octets, sizeof key.octets);
	return oldest;
}

uint64_t ps_throttle_delay(struct ps_throttle *throttle, struct ps_throttle_key key, uint64_t now_ms)
{
	const struct slot *slot = find(throttle, key, now_ms, false);
	uint64_t over, failures, delay = FIRST_DELAY_MS;

	if (!slot || throttle->per_minute == 0)
		return 0;
	/* The window slides: of the one before, the share counts that is less than a minute ago. */
	failures = slot->failures + slot->before * (WINDOW_MS - (now_ms - slot->window_start)) / WINDOW_MS;
	if (failures < throttle->per_minute)
		return 0;
	over = failures - throttle->per_minute;
	delay = over < 16 ? delay << over : throttle->max_delay_ms;
	return delay < throttle->max_delay_ms ? delay : throttle->max_delay_ms;
}

void ps_throttle_failed(struct ps_throttle *throttle, struct ps_throttle_key key, uint64_t now_ms)
{
	struct slot *slot = find(throttle, key, now_ms, true);

	if (slot && slot->failures < UINT32_MAX)
		slot->failures++;
}
