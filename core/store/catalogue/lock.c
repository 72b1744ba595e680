/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include "core/store/catalogue/catalogue_private.h"

enum {
	LOCK_TRIES = 6000,
	LOCK_WAIT_NS = 10 * 1000 * 1000
};

static int file_lock(struct ps_catalogue *cat)
{
	struct timespec wait = {.tv_nsec = LOCK_WAIT_NS};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(cat->lock_fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return ps_fail_errno("lock the store of %s", cat->user);
		nanosleep(&wait, NULL);
	}
	return ps_fail(PS_E_BUSY, "the store of %s stays locked", cat->user);
}

/* The first octet of the lock file says whether its holder is between files and index. It needs no sync: after a
 * crash of the machine the index is made again anyway. */
static int write_busy(struct ps_catalogue *cat, char busy)
{
	return pwrite(cat->lock_fd, &busy, 1, 0) == 1 ? 0 : ps_fail_errno("write the lock file");
}

static bool is_busy(struct ps_catalogue *cat)
{
	char busy = '0';

	return pread(cat->lock_fd, &busy, 1, 0) == 1 && busy == '1';
}

int ps_catalogue_unsettled(struct ps_store *store)
{
	return write_busy(ps_catalogue_of(store), '1');
}

void ps_catalogue_settled(struct ps_store *store)
{
	write_busy(ps_catalogue_of(store), '0');
}

/* Makes files and index agree, when what was begun is ended. */
static int reconcile(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	const struct ps_catalogue_files *files = cat->files;
	int r = catalogue_index_is_there(store) ? 0 : catalogue_open_index(store);

	if (r == 0)
		r = files->load_tokens(store);
	if (r == 0)
		r = files->sync_list(store, false);
	if (r == 0)
		r = files->sync_all(store);
	if (r == 0 && files->recovered)
		r = files->recovered(store);
	if (r == 0) {
		cat->pending = false;
		ps_catalogue_settled(store);
	}
	return r;
}

/* Who is shut out changes nothing, not even to recover. */
static int prepare(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	int r = catalogue_read_state(store);

	if (r < 0 || (r = catalogue_check_generation(cat)) < 0)
		return r;
	if (is_busy(cat) || cat->pending) {
		r = cat->files->recover(store);
		if (r >= 0)
			r = reconcile(store);
	} else if (!catalogue_index_is_there(store)) {
		/* The machine may have gone down with a record on disk. */
		r = cat->files->recover(store);
		if (r >= 0)
			r = r > 0 ? reconcile(store) : catalogue_open_index(store);
	}
	ps_buf_finish(&cat->brought);
	if (r != PS_E_CORRUPT)
		return r;
	ps_catalogue_drop_index(store);
	return catalogue_open_index(store);
}

static void give_back(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);

	if (cat->files->unlocking)
		cat->files->unlocking(store);
	flock(cat->lock_fd, LOCK_UN);
}

int ps_catalogue_lock(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	int r;

	pthread_mutex_lock(&cat->writer);
	if ((r = file_lock(cat)) == 0 && (r = prepare(store)) < 0)
		give_back(store);
	if (r < 0)
		pthread_mutex_unlock(&cat->writer);
	return r;
}

void ps_catalogue_unlock(struct ps_store *store)
{
	give_back(store);
	pthread_mutex_unlock(&ps_catalogue_of(store)->writer);
}
