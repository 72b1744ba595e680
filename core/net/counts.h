/* SPDX-License-Identifier: MIT */
/*
 * core/net/counts.h - how many connections an address, or sessions a user, has in all front processes together.
 *
 * Each process keeps its own count, and publishes it in a table that it alone writes and the others read. So nobody waits for a lock
 * that another holds, and the counts of a process that dies go with its table. A count is published before it is
 * compared, so of two processes that accept at one moment both may refuse, but never both accept the last.
 */
#ifndef CORE_NET_COUNTS_H
#define CORE_NET_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

/* An address as it is counted: IPv4 whole, IPv6 by its /64. */
struct address {
	uint8_t octets[16];
	bool counted; /* not for Unix sockets */
};

struct counts;

/* Octets of a table, for whoever makes the memory. */
extern const uint32_t counts_table_size;

struct counts *counts_create(void);
void counts_destroy(struct counts *counts);
/* The table of process `index` replaces a former one; `own`: it is ours, and is written. `seed` is the same for all. The
 * descriptor stays the caller's. */
int counts_share(struct counts *counts, uint32_t index, bool own, uint64_t seed, int fd);
/* False, and nothing is counted: the address has `most` (0: no limit) already. */
bool counts_add(struct counts *counts, const struct address *address, unsigned most);
void counts_drop(struct counts *counts, const struct address *address);

#endif
