/* SPDX-License-Identifier: MIT */
/*
 * auth/throttle.h - slows down who guesses passwords. One table for clients, by address (IPv6: by /64), and one for
 * the users whose passwords are guessed, from wherever.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct ps_throttle;

/* After `per_minute` failures within a minute, answers are delayed: 2 s, doubled by each further failure up to
 * max_delay_ms. A success changes nothing, or an attacker's own account would wipe his slate. */
struct ps_throttle *ps_throttle_create(unsigned per_minute, uint64_t max_delay_ms);
void ps_throttle_set(struct ps_throttle *throttle, unsigned per_minute, uint64_t max_delay_ms);
void ps_throttle_destroy(struct ps_throttle *throttle);

/* What is counted: a client, or a user. */
struct ps_throttle_key {
	uint8_t octets[16];
	bool valid; /* else nothing is counted, nor delayed */
};
/* "192.0.2.1:4711", "[2001:db8::1]:4711" */
struct ps_throttle_key ps_throttle_client(const char *remote);
/* A name in its one spelling, of a user who exists or not; NULL: none. */
struct ps_throttle_key ps_throttle_user(const char *name);

/* How long to hold back the next answer. */
uint64_t ps_throttle_delay(struct ps_throttle *throttle, struct ps_throttle_key key, uint64_t now_ms);
void ps_throttle_failed(struct ps_throttle *throttle, struct ps_throttle_key key, uint64_t now_ms);

#endif
