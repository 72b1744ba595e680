/* SPDX-License-Identifier: MIT */
/*
 * What is on disk when the power fails. Files and folders below a root are followed as a process changes them; what it
 * synced is durable, and nothing else need be:
 *   POWER_LATE   only what was synced is there: octets of files that were synced, names in folders that were synced; a
 *                rename is in both of its folders or in neither, as on all file systems with a journal
 *   POWER_EARLY  names are there as they are now, as a journal may have written them by itself; octets as synced, and
 *                a file that never was is empty
 *   POWER_ANY    of each folder, and of each file, by chance: what was synced, what is there now, or, of a file, blocks of both
 */
#ifndef TESTS_CONFORMANCE_POWER_H
#define TESTS_CONFORMANCE_POWER_H

#include "tests/conformance/calls.h"

enum power {
	POWER_LATE,
	POWER_EARLY,
	POWER_ANY
};

struct power_disk;

/* Begins to follow kit->root, all of which is durable; `work` is a folder to work in. */
struct power_disk *power_follow(struct kit *kit, const char *work);
void power_unfollow(struct power_disk *disk);
/* To be told of each call, before it is made; of NULL when none follows. */
void power_note(struct power_disk *disk, const struct call *call);
/* Makes a folder of what would be there. What kit->index matches is left out: it may be lost. */
void power_cut(struct power_disk *disk, enum power how, const char *to);

#endif
