/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "auth/revoked.h"
#include "postern/pool.h"

#define BUCKETS 256u /* by credential; by user, where it is all of theirs */

struct entry {
	struct entry *next;
	uint64_t at_ms;
	bool all;
	struct ps_hash credential; /* unless all */
	char user[];
};

struct ps_revoked {
	uint64_t lifetime_ms;
	struct ps_hash_key key;
	struct entry *buckets[BUCKETS];
};

struct ps_hash ps_credential_mark(const struct ps_hash_key *key, const char *user, const char *stored)
{
	struct ps_buf text = {0};
	struct ps_hash mark;

	ps_buf_append(&text, user, strlen(user) + 1); /* the NUL keeps the two apart */
	ps_buf_str(&text, stored);
	mark = ps_hash(key, ps_buf_view(&text));
	ps_buf_wipe(&text);
	return mark;
}

struct ps_bytes ps_credential_octets(const struct ps_hash *mark)
{
	_Static_assert(sizeof *mark == PS_CREDENTIAL_SIZE, "a mark is its octets");
	return ps_bytes(mark, sizeof *mark);
}

struct ps_hash ps_credential_from(struct ps_bytes octets)
{
	struct ps_hash mark = {{0, 0}};

	if (octets.len == sizeof mark)
		memcpy(&mark, octets.ptr, sizeof mark);
	return mark;
}

struct ps_revoked *ps_revoked_create(uint64_t lifetime_ms)
{
	struct ps_revoked *revoked = ps_zalloc(sizeof *revoked);

	revoked->lifetime_ms = lifetime_ms;
	ps_hash_key_init(&revoked->key);
	return revoked;
}

void ps_revoked_destroy(struct ps_revoked *revoked)
{
	for (size_t i = 0; revoked && i < BUCKETS; i++) {
		while (revoked->buckets[i]) {
			struct entry *next = revoked->buckets[i]->next;

			free(revoked->buckets[i]);
			revoked->buckets[i] = next;
		}
	}
	free(revoked);
}

static struct entry **bucket_of(struct ps_revoked *revoked, const char *user, const struct ps_hash *credential)
{
	uint64_t hash = credential ? credential->h[0] : ps_hash(&revoked->key, ps_bytes_str(user)).h[0];

	return &revoked->buckets[hash % BUCKETS];
}

/* What such entries revoke has expired by itself. */
static void forget_old(const struct ps_revoked *revoked, struct entry **at, uint64_t now_ms)
{
	struct entry *entry;

	while ((entry = *at)) {
		if (entry->at_ms + revoked->lifetime_ms < now_ms) {
			*at = entry->next;
			free(entry);
		} else {
			at = &entry->next;
		}
	}
}

void ps_revoked_add(struct ps_revoked *revoked, const struct ps_revocation *revocation)
{
	size_t size = strlen(revocation->user) + 1;
	struct entry *entry = ps_zalloc(sizeof *entry + size);
	struct entry **bucket = bucket_of(revoked, revocation->user, revocation->credential);

	forget_old(revoked, bucket, revocation->at_ms);
	entry->at_ms = revocation->at_ms;
	entry->all = !revocation->credential;
	if (revocation->credential)
		entry->credential = *revocation->credential;
	memcpy(entry->user, revocation->user, size);
	entry->next = *bucket;
	*bucket = entry;
}

bool ps_revoked_has(struct ps_revoked *revoked, const char *user, const struct ps_hash *credential, uint64_t made_ms)
{
	for (struct entry *entry = *bucket_of(revoked, NULL, credential); entry; entry = entry->next)
		if (made_ms <= entry->at_ms && !entry->all && ps_hash_eq(&entry->credential, credential))
			return true;
	for (struct entry *entry = *bucket_of(revoked, user, NULL); entry; entry = entry->next)
		if (made_ms <= entry->at_ms && entry->all && strcmp(entry->user, user) == 0)
			return true;
	return false;
}
