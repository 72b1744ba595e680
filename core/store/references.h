/* SPDX-License-Identifier: MIT */
/*
 * core/store/references.h - who is whose parent by message ids: RFC 5256 section 3, REFERENCES, steps 1 to 3.
 */
#ifndef CORE_STORE_REFERENCES_H
#define CORE_STORE_REFERENCES_H

#include "postern/message.h"

#define PS_NO_PARENT UINT32_MAX

struct ps_references;

struct ps_references *ps_references_create(size_t messages);
void ps_references_destroy(struct ps_references *refs); /* destroy(NULL) does nothing */

/* Step 1, for one message after the other by their numbers. `message`: whatever 0..messages-1 its owner calls it.
 * Without a cache it has no ids. */
void ps_references_add(struct ps_references *refs, uint32_t message, const struct ps_cache *cache);

/* Steps 2 and 3, after all were added: counts for whoever is no message and has no parent how many it will have as
 * children. Call it for each message, then ps_references_parent() for each. */
void ps_references_prune(struct ps_references *refs, uint32_t message);
/* A message, or `messages` and above: one of those that only have children; at most half as many as there are messages.
 * PS_NO_PARENT. */
uint32_t ps_references_parent(struct ps_references *refs, uint32_t message);
/* How many of those were given. */
uint32_t ps_references_dummies(const struct ps_references *refs);
/* How many message ids are held. */
size_t ps_references_nodes(const struct ps_references *refs);

#endif
