/* SPDX-License-Identifier: MIT */
/*
 * core/store/snapshot.h - the rows of a mailbox at one moment.
 *
 * A snapshot never changes. It is a list of chunks of rows; a newer snapshot shares the chunks in which nothing
 * changed, so a step from one to the next costs the chunks it touches, and two snapshots are compared without
 * looking into those they share. Any number of threads may hold references.
 */
#ifndef CORE_STORE_SNAPSHOT_H
#define CORE_STORE_SNAPSHOT_H

#include "postern/store.h"

struct ps_snapshot;

struct ps_snapshot *ps_snapshot_empty(void);
struct ps_snapshot *ps_snapshot_ref(struct ps_snapshot *snapshot);
void ps_snapshot_unref(struct ps_snapshot *snapshot); /* unref(NULL) does nothing */

uint32_t ps_snapshot_count(const struct ps_snapshot *snapshot);
uint32_t ps_snapshot_last_uid(const struct ps_snapshot *snapshot); /* 0: empty */
/* seq 1..count; NULL beyond. */
const struct ps_row *ps_snapshot_row(const struct ps_snapshot *snapshot, uint32_t seq);
/* Rows that lie in a run, and their flags once more, side by side: who asks for flags first need not look at rows. */
struct ps_snapshot_run {
	const struct ps_row *rows;
	const uint32_t *flags;
	uint32_t count;
};
/* From seq on, as far as they lie so; false beyond the last. */
bool ps_snapshot_run(const struct ps_snapshot *snapshot, uint32_t seq, struct ps_snapshot_run *ret_run);
/* The lowest number with a UID >= uid; count + 1 if none. */
uint32_t ps_snapshot_seq_from(const struct ps_snapshot *snapshot, uint32_t uid);
uint32_t ps_snapshot_seq(const struct ps_snapshot *snapshot, uint32_t uid); /* 0: none */
/* The lowest number >= seq whose modseq is above `since`; count + 1 if none. Costs a look at each chunk. */
uint32_t ps_snapshot_seq_changed(const struct ps_snapshot *snapshot, uint32_t seq, uint64_t since);
/* The lowest number >= seq whose row is marked \Deleted; count + 1 if none. Costs a look at each chunk. */
uint32_t ps_snapshot_seq_deleted(const struct ps_snapshot *snapshot, uint32_t seq);
uint32_t ps_snapshot_first_unseen(const struct ps_snapshot *snapshot); /* 0: none */

/* A new snapshot: `base` with `rows` (UIDs ascending) put in or in the place of those with their UIDs, and
 * without the UIDs in `gone` (sorted, disjoint). */
struct ps_snapshot *ps_snapshot_apply(const struct ps_snapshot *base, const struct ps_row *rows, size_t row_count,
				      const struct ps_range *gone, size_t gone_count);

/* Tells the differences by UID ascending: `before` NULL is a row that came, `after` NULL one that went. Numbers
 * are those in the old and in the new snapshot, 0 where there is none. */
typedef void (*ps_snapshot_diff_fn)(void *arg, const struct ps_row *before, uint32_t seq_before,
				    const struct ps_row *after, uint32_t seq_after);
void ps_snapshot_diff(const struct ps_snapshot *before, const struct ps_snapshot *after, ps_snapshot_diff_fn fn,
		      void *arg);

/* How many chunks `a` shares with `b`, and has, for tests and diagnostics. */
size_t ps_snapshot_shared(const struct ps_snapshot *a, const struct ps_snapshot *b, size_t *ret_chunks);

#endif
