/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "auth/found.h"
#include "core/base/hash.h"

#define SLOTS 4096u

struct slot {
	struct ps_pool *pool; /* NULL: free */
	struct ps_user_entry entry;
	uint64_t until;
};

struct ps_found {
	struct ps_hash_key key;
	struct slot slots[SLOTS];
};

struct ps_found *ps_found_create(void)
{
	struct ps_found *found = ps_zalloc(sizeof *found);

	ps_hash_key_init(&found->key);
	return found;
}

static void empty(struct slot *slot)
{
	ps_pool_destroy(slot->pool);
	*slot = (struct slot){0};
}

void ps_found_destroy(struct ps_found *found)
{
	if (!found)
		return;
	ps_found_drop(found, NULL);
	free(found);
}

static size_t place_of(const struct ps_found *found, const char *name)
{
	return ps_hash(&found->key, ps_bytes_str(name)).h[0] % SLOTS;
}

void ps_found_put(struct ps_found *found, const struct ps_user_entry *entry, uint64_t until_ms)
{
	struct slot *slot = &found->slots[place_of(found, entry->info.name)];

	empty(slot);
	slot->pool = ps_pool_create("found user");
	ps_entry_copy(slot->pool, entry, &slot->entry);
	slot->until = until_ms;
}

const struct ps_user_entry *ps_found_get(const struct ps_found *found, const char *name, uint64_t now_ms)
{
	const struct slot *slot = &found->slots[place_of(found, name)];

	return slot->pool && slot->until > now_ms && strcmp(slot->entry.info.name, name) == 0 ? &slot->entry : NULL;
}

void ps_found_drop(struct ps_found *found, const char *name)
{
	struct slot *slot = name ? &found->slots[place_of(found, name)] : NULL;

	for (size_t i = 0; !name && i < SLOTS; i++)
		empty(&found->slots[i]);
	if (slot && slot->pool && strcmp(slot->entry.info.name, name) == 0)
		empty(slot);
}

void ps_found_drop_old(struct ps_found *found, uint64_t now_ms)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (found->slots[i].pool && found->slots[i].until <= now_ms)
			empty(&found->slots[i]);
}
