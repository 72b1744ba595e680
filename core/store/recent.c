/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <string.h>
#include "core/store/recent.h"

/* Where two mailboxes meet in a slot the older is forgotten, and its messages are recent once more. */
enum {
	SLOTS = 8192
};

static struct {
	struct ps_id id;
	uint32_t from;
} slots[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t slot_of(const struct ps_id *id)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < sizeof id->octets; i++)
		hash = (hash ^ id->octets[i]) * 16777619u;
	return hash % SLOTS;
}

uint32_t ps_recent_from(const struct ps_id *id, uint32_t uid_next, bool claim)
{
	size_t slot = slot_of(id);
	uint32_t from = 1;

	pthread_mutex_lock(&lock);
	if (memcmp(&slots[slot].id, id, sizeof *id) == 0 && slots[slot].from != 0)
		from = slots[slot].from;
	if (claim && from < uid_next) {
		slots[slot].id = *id;
		slots[slot].from = uid_next;
	}
	pthread_mutex_unlock(&lock);
	return from;
}
