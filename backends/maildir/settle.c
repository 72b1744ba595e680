/* SPDX-License-Identifier: MIT */
/*
 * What commits left: names that are to follow (later.c); and of relaxed batches, names that were changed and not synced. A directory is held by a descriptor, as its mailbox may be renamed meanwhile.
 */
#include "config.h"

#include <sys/stat.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"

static bool has(const struct unsettled *unsettled, int fd)
{
	struct stat mine, st;

	if (fstat(fd, &mine) < 0)
		return false;
	for (unsigned i = 0; i < unsettled->count; i++)
		if (fstat(unsettled->dirs[i], &st) == 0 && st.st_dev == mine.st_dev && st.st_ino == mine.st_ino)
			return true;
	return false;
}

/* Each descriptor is asked once: what a failed sync was about, a second one does not tell. */
static int sync_dirs(struct unsettled *unsettled)
{
	int r = 0;

	while (unsettled->count > 0 && r == 0) {
		int *fd = &unsettled->dirs[--unsettled->count];

		r = ps_io_sync_dir(*fd, "messages");
		ps_closep(fd);
	}
	return r;
}

int unsettled_add(struct unsettled *unsettled, int *fd)
{
	int r = 0;

	if (has(unsettled, *fd))
		return 0;
	if (unsettled->count == PS_ARRAY_LEN(unsettled->dirs) && (r = sync_dirs(unsettled)) < 0)
		return r;
	unsettled->dirs[unsettled->count++] = *fd;
	*fd = -1;
	return 0;
}

void unsettled_finish(struct unsettled *unsettled)
{
	while (unsettled->count > 0)
		ps_closep(&unsettled->dirs[--unsettled->count]);
}

/* Names first: a record that is on disk as it was begun, and no other, is done again after a power cut. */
static int settle_relaxed(struct ps_store *store)
{
	int r = sync_dirs(&store->unsettled);

	if (r < 0 || !store->unsettled.record)
		return r;
	if ((r = ps_catalogue_lock(store)) == 0) {
		r = steps_forget_loose(store);
		ps_catalogue_unlock(store);
	}
	if (r == PS_E_MOVED) /* nobody will do anything again here */
		r = 0;
	store->unsettled.record = r < 0;
	return r;
}

int settle(struct ps_store *store)
{
	int r = settle_relaxed(store);

	return r == 0 ? ps_catalogue_settle(store) : r;
}
