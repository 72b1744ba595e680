/* SPDX-License-Identifier: MIT */
/* A transaction that changes the store, and room for it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "backends/lmdb/lmdb_private.h"

/* What is kept allocated behind the end of the file, so that removing works when the disk is full: LMDB writes changed
 * pages to other places, and needs some before it gives any back. */
enum {
	RESERVE_MIN = 256 * 1024,
	RESERVE_MAX = 16 * 1024 * 1024,
	RESERVE_PART = 16 /* of what is used, between these */
};

static int begin_once(struct ps_store *store, struct writer *w)
{
	*w = (struct writer){.store = store};
	w->index = store_index(store, &w->number);
	return ps_index_write(w->index, &w->txn);
}

static void let_go(struct writer *w)
{
	for (size_t i = 0; i < w->doomed_count; i++)
		pin_undoom(w->store, w->doomed[i]);
	free(w->doomed);
	ps_index_close(w->index);
	*w = (struct writer){0};
}

int writer_begin(struct ps_store *store, struct writer *ret_writer)
{
	for (;;) {
		struct writer w;
		int r = begin_once(store, &w);

		/* Nobody puts another file in its place while we have the transaction. */
		if (r == 0 && !file_was_replaced(store, w.index, w.number)) {
			*ret_writer = w;
			return 0;
		}
		if (r == 0)
			ps_index_end(w.txn);
		let_go(&w);
		if (r < 0 || (r = file_follow(store)) < 0)
			return r;
	}
}

/* Whether all before this transaction was known, and so still is. */
static void note_own(struct ps_store *store, uint32_t number, uint64_t txn)
{
	pthread_mutex_lock(&store->lock);
	if (number == store->number && txn > store->own_txn) {
		store->foreign += txn != store->own_txn + 1;
		store->own_txn = txn;
	}
	pthread_mutex_unlock(&store->lock);
}

void writer_end(struct writer *w)
{
	ps_index_end(w->txn);
	let_go(w);
}

int writer_commit(struct writer *w)
{
	uint64_t txn = ps_index_txn_id(w->txn);
	int r;

	if (!w->changed) {
		writer_end(w);
		return 0;
	}
	r = ps_index_commit(w->txn);
	if (r == 0)
		note_own(w->store, w->number, txn);
	if (r == PS_E_AGAIN && ps_index_grow(w->index) < 0)
		r = ps_fail(PS_E_FULL, "the map cannot grow");
	let_go(w);
	return r;
}

int writer_grow(struct writer *w)
{
	struct ps_index *index = ps_index_ref(w->index);
	int r;

	writer_end(w);
	r = ps_index_grow(index);
	ps_index_close(index);
	return r;
}

MDB_txn *writer_lmdb(const struct writer *w)
{
	return ps_index_lmdb(w->txn);
}

int writer_check_generation(struct writer *w)
{
	uint64_t known, present = ps_index_number(w->txn, "generation");

	pthread_mutex_lock(&w->store->lock);
	known = w->store->generation;
	pthread_mutex_unlock(&w->store->lock);
	return known == present ? 0 : ps_fail(PS_E_MOVED, "the store of %s has another generation", w->store->user);
}

/* ---- room ---------------------------------------------------------------------------------- */

/* Blocks that the file has behind its end. */
static uint64_t behind_end(int fd, uint64_t end)
{
	struct stat st;
	uint64_t allocated = fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;

	return allocated > end ? allocated - end : 0;
}

static uint64_t reserve_for(uint64_t used)
{
	uint64_t part = used / RESERVE_PART;

	return part < RESERVE_MIN ? RESERVE_MIN : part > RESERVE_MAX ? RESERVE_MAX : part;
}

/* There is no more: what was freed within the file may do. */
static int room_within(const struct writer *w, int fd, uint64_t end, uint64_t octets, int error)
{
	if (file_free_pages(w->index) * PAGE >= 2 * octets && behind_end(fd, end) >= reserve_for(end) / 2)
		return 0;
	errno = error;
	return ps_fail_errno("make room in the store of %s", w->store->user);
}

int writer_reserve(struct writer *w, uint64_t octets)
{
	struct ps_store *store = w->store;
	MDB_envinfo info;
	uint64_t end, want;
	bool enough;
	int fd;

	mdb_env_info(ps_index_env(w->index), &info);
	mdb_env_get_fd(ps_index_env(w->index), &fd);
	end = (info.me_last_pgno + 1) * PAGE;
	want = end + octets + reserve_for(end);
	pthread_mutex_lock(&store->lock);
	enough = w->number == store->number && store->allocated >= want;
	pthread_mutex_unlock(&store->lock);
	if (enough)
		return 0;
	want += reserve_for(end) / 2; /* so that it need not be done each time */
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)(want - end)) < 0) {
		if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR)
			return 0; /* a file system that cannot */
		return room_within(w, fd, end, octets, errno);
	}
	pthread_mutex_lock(&store->lock);
	if (w->number == store->number)
		store->allocated = want;
	pthread_mutex_unlock(&store->lock);
	return 0;
}
