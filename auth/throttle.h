/* SPDX-License-Identifier: MIT */
/*
 * auth/throttle.h - slows down who guesses passwords, by address (IPv6: by /64).
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include <stdint.h>

struct ps_throttle;

/* After `per_minute` failures within a minute, answers are delayed: 2 s, doubled by each further failure up to
 * max_delay_ms. A success changes nothing, or an attacker's own account would wipe his slate. */
struct ps_throttle *ps_throttle_create(unsigned per_minute, uint64_t max_delay_ms);
void ps_throttle_set(struct ps_throttle *throttle, unsigned per_minute, uint64_t max_delay_ms);
void ps_throttle_destroy(struct ps_throttle *throttle);

/* How long to hold back the next answer to `remote` ("192.0.2.1:4711", "[2001:db8::1]:4711"). */
uint64_t ps_throttle_delay(struct ps_throttle *throttle, const char *remote, uint64_t now_ms);
void ps_throttle_failed(struct ps_throttle *throttle, const char *remote, uint64_t now_ms);

#endif
