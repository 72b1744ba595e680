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

/* The first octet of the lock file says whether its holder is between files and index, or left something to be done.
 * It needs no sync: after a crash of the machine the index is made again anyway. */
enum {
	SETTLED = '0',
	BUSY = '1',
	LEFT = '2'
};

static int write_mark(struct ps_catalogue *cat, char mark)
{
	return pwrite(cat->lock_fd, &mark, 1, 0) == 1 ? 0 : ps_fail_errno("write the lock file");
}

static char read_mark(const struct ps_catalogue *cat)
{
	char mark = SETTLED;

	return pread(cat->lock_fd, &mark, 1, 0) == 1 ? mark : SETTLED;
}

int ps_catalogue_unsettled(struct ps_store *store)
{
	return write_mark(ps_catalogue_of(store), BUSY);
}

void ps_catalogue_settled(struct ps_store *store)
{
	write_mark(ps_catalogue_of(store), ps_catalogue_of(store)->left ? LEFT : SETTLED);
}

void ps_catalogue_leave(struct ps_store *store)
{
	ps_catalogue_of(store)->left = true;
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
		cat->pending = cat->left = false;
		ps_catalogue_settled(store);
	}
	return r;
}

int ps_catalogue_catch_up(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	int r = cat->left ? cat->files->settle(store) : 0;

	if (r == 0 && cat->left) {
		cat->left = false;
		ps_catalogue_settled(store);
	}
	return r;
}

/* Who is shut out changes nothing, not even to recover. */
static int prepare(struct ps_store *store, bool catch_up)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	int r = catalogue_read_state(store);
	char mark = read_mark(cat);

	cat->left = mark == LEFT && cat->files->settle;
	if (r < 0 || (r = catalogue_check_generation(cat)) < 0)
		return r;
	if (mark == BUSY || cat->pending) {
		r = cat->files->recover(store);
		if (r >= 0)
			r = reconcile(store);
	} else if (!catalogue_index_is_there(store)) {
		/* The machine may have gone down with a record on disk. */
		r = cat->files->recover(store);
		if (r >= 0)
			r = r > 0 ? reconcile(store) : catalogue_open_index(store);
	} else if (catch_up) {
		r = ps_catalogue_catch_up(store);
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

static int lock(struct ps_store *store, bool catch_up)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	int r;

	pthread_mutex_lock(&cat->writer);
	if ((r = file_lock(cat)) == 0 && (r = prepare(store, catch_up)) < 0)
		give_back(store);
	if (r < 0)
		pthread_mutex_unlock(&cat->writer);
	return r;
}

int ps_catalogue_lock(struct ps_store *store)
{
	return lock(store, true);
}

int catalogue_lock_to_commit(struct ps_store *store)
{
	return lock(store, false);
}

int ps_catalogue_settle(struct ps_store *store)
{
	int r = read_mark(ps_catalogue_of(store)) == LEFT ? ps_catalogue_lock(store) : 1;

	if (r == 0)
		ps_catalogue_unlock(store);
	return r < 0 ? r : 0;
}

void ps_catalogue_unlock(struct ps_store *store)
{
	give_back(store);
	pthread_mutex_unlock(&ps_catalogue_of(store)->writer);
}
