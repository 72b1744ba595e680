/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include "core/net/counts.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	BUCKETS = 4096,
	SETS = 2048,
	WAYS = 16, /* addresses of a set that are published; more are counted where they are connected only */
};

/* Published. Who takes an entry for another key has set its count to 0 before. */
struct entry {
	_Atomic uint64_t key;
	_Atomic uint32_t count;
	uint32_t unused;
};

struct table {
	struct entry entries[SETS][WAYS];
};

const uint32_t counts_table_size = sizeof(struct table);

struct other {
	struct other *next;
	uint32_t index;
	struct table *table; /* read only */
};

/* Our own, exactly. */
struct address_count {
	struct address_count *next;
	uint8_t octets[16];
	uint32_t count;
};

struct counts {
	uint64_t seed; /* so that nobody can choose addresses that fall into one bucket */
	struct table *own;
	struct other *others;
	struct address_count *buckets[BUCKETS];
};

struct counts *counts_create(void)
{
	struct counts *counts = ps_zalloc(sizeof *counts);

	if (getrandom(&counts->seed, sizeof counts->seed, GRND_NONBLOCK) < 0)
		counts->seed = (uintptr_t)counts;
	return counts;
}

static void unmap(struct table *table)
{
	if (table)
		munmap(table, sizeof *table);
}

void counts_destroy(struct counts *counts)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (counts->buckets[i]) {
			struct address_count *next = counts->buckets[i]->next;

			free(counts->buckets[i]);
			counts->buckets[i] = next;
		}
	while (counts->others) {
		struct other *next = counts->others->next;

		unmap(counts->others->table);
		free(counts->others);
		counts->others = next;
	}
	unmap(counts->own);
	free(counts);
}

/* Never 0. */
static uint64_t hash(const struct counts *counts, const struct address *address)
{
	uint64_t sum = counts->seed;

	for (size_t i = 0; i < sizeof address->octets; i++) {
		sum = (sum ^ address->octets[i]) * 0x9e3779b97f4a7c15u;
		sum ^= sum >> 32;
	}
	return sum ? sum : 1;
}

/* ---- published -------------------------------------------------------------------------------- */

static struct entry *set_of(struct table *table, uint64_t key)
{
	return table->entries[(key >> 20) % SETS];
}

static uint32_t look_up(struct table *table, uint64_t key)
{
	struct entry *set = set_of(table, key);

	for (int i = 0; i < WAYS; i++) {
		uint32_t count;

		if (atomic_load(&set[i].key) != key)
			continue;
		count = atomic_load(&set[i].count);
		if (atomic_load(&set[i].key) == key)
			return count;
	}
	return 0;
}

static uint64_t of_others(const struct counts *counts, uint64_t key)
{
	uint64_t sum = 0;

	for (const struct other *other = counts->others; other; other = other->next)
		sum += look_up(other->table, key);
	return sum;
}

static void publish(struct counts *counts, uint64_t key, uint32_t count)
{
	struct entry *set, *entry = NULL;

	if (!counts->own)
		return;
	set = set_of(counts->own, key);
	for (int i = 0; i < WAYS; i++) {
		if (atomic_load(&set[i].key) == key) {
			entry = &set[i];
			break;
		}
		if (!entry && atomic_load(&set[i].count) == 0)
			entry = &set[i];
	}
	if (!entry)
		return;
	atomic_store(&entry->key, key);
	atomic_store(&entry->count, count);
}

static void forget_other(struct counts *counts, uint32_t index)
{
	for (struct other **at = &counts->others; *at; at = &(*at)->next) {
		struct other *other = *at;

		if (other->index != index)
			continue;
		*at = other->next;
		unmap(other->table);
		free(other);
		return;
	}
}

static void publish_all(struct counts *counts)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		for (const struct address_count *own = counts->buckets[i]; own; own = own->next) {
			struct address address = {.counted = true};

			memcpy(address.octets, own->octets, sizeof address.octets);
			publish(counts, hash(counts, &address), own->count);
		}
	}
}

/* The buckets go by the seed. */
static void reseed(struct counts *counts, uint64_t seed)
{
	struct address_count *all = NULL;

	for (size_t i = 0; i < BUCKETS; i++) {
		while (counts->buckets[i]) {
			struct address_count *one = counts->buckets[i];

			counts->buckets[i] = one->next;
			one->next = all;
			all = one;
		}
	}
	counts->seed = seed;
	while (all) {
		struct address_count *one = all, **bucket;
		struct address address = {.counted = true};

		all = one->next;
		memcpy(address.octets, one->octets, sizeof address.octets);
		bucket = &counts->buckets[hash(counts, &address) % BUCKETS];
		one->next = *bucket;
		*bucket = one;
	}
}

int counts_share(struct counts *counts, uint32_t index, bool own, uint64_t seed, int fd)
{
	void *pages = mmap(NULL, sizeof(struct table), own ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	struct other *other;

	if (pages == MAP_FAILED)
		return ps_fail_errno("map a table of counts");
	if (seed != counts->seed)
		reseed(counts, seed);
	if (own) {
		unmap(counts->own);
		counts->own = pages;
		publish_all(counts);
		return 0;
	}
	forget_other(counts, index);
	other = ps_zalloc(sizeof *other);
	*other = (struct other){counts->others, index, pages};
	counts->others = other;
	return 0;
}

/* ---- our own ---------------------------------------------------------------------------------- */

/* Where the address is, or where it would be put. */
static struct address_count **find(struct counts *counts, const struct address *address, uint64_t key)
{
	struct address_count **at = &counts->buckets[key % BUCKETS];

	while (*at && memcmp((*at)->octets, address->octets, sizeof address->octets) != 0)
		at = &(*at)->next;
	return at;
}

static void count_down(struct counts *counts, struct address_count **at, uint64_t key)
{
	struct address_count *own = *at;

	publish(counts, key, --own->count);
	if (own->count == 0) {
		*at = own->next;
		free(own);
	}
}

bool counts_add(struct counts *counts, const struct address *address, unsigned most)
{
	struct address_count **at;
	uint64_t key;

	if (!address->counted)
		return true;
	key = hash(counts, address);
	at = find(counts, address, key);
	if (!*at) {
		*at = ps_zalloc(sizeof **at);
		memcpy((*at)->octets, address->octets, sizeof address->octets);
	}
	publish(counts, key, ++(*at)->count);
	if (most == 0 || (*at)->count + of_others(counts, key) <= most)
		return true;
	count_down(counts, at, key);
	return false;
}

void counts_drop(struct counts *counts, const struct address *address)
{
	struct address_count **at;
	uint64_t key;

	if (!address->counted)
		return;
	key = hash(counts, address);
	at = find(counts, address, key);
	if (*at)
		count_down(counts, at, key);
}
