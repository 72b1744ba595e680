/* SPDX-License-Identifier: MIT */
/* A transaction that changes the store, and room for it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "core/store/ledger/ledger_private.h"

/* What is kept allocated behind the end of the file, so that removing works when the disk is full: LMDB writes changed
 * pages to other places, and needs some before it gives any back. */
enum {
	RESERVE_MIN = 256 * 1024,
	RESERVE_MAX = 16 * 1024 * 1024,
	RESERVE_PART = 16 /* of what is used, between these */
};

static void let_go(struct txn *txn)
{
	if (txn->ledger->bodies.ended)
		txn->ledger->bodies.ended(&txn->pub);
	ps_index_close(txn->pub.index);
	free(txn->buried);
	free(txn);
}

static int begin_once(struct ps_ledger *ledger, struct txn **ret_txn)
{
	struct txn *txn = ps_zalloc(sizeof *txn);
	int r;

	txn->ledger = ledger;
	txn->pub.store = ledger->store;
	txn->pub.index = ps_ledger_index(ledger, &txn->pub.file);
	if ((r = ps_index_write(txn->pub.index, &txn->pub.txn)) < 0) {
		let_go(txn);
		return r;
	}
	*ret_txn = txn;
	return 0;
}

static bool was_replaced(struct ps_ledger *ledger, const struct txn *txn)
{
	return ledger->bodies.replaced && ledger->bodies.replaced(ledger->store, txn->pub.index, txn->pub.file);
}

int ps_ledger_txn_begin(struct ps_ledger *ledger, struct ps_ledger_txn **ret_txn)
{
	for (;;) {
		struct txn *txn;
		int r = begin_once(ledger, &txn);

		if (r < 0)
			return r;
		/* Nobody puts another file in its place while we have the transaction. */
		if (!was_replaced(ledger, txn)) {
			*ret_txn = &txn->pub;
			return 0;
		}
		ps_index_end(txn->pub.txn);
		let_go(txn);
		if ((r = ledger->bodies.follow(ledger->store)) < 0)
			return r;
	}
}

/* Whether all before this transaction was known, and so still is. */
static void note_own(struct ps_ledger *ledger, uint32_t file, uint64_t number)
{
	pthread_mutex_lock(&ledger->lock);
	if (file == ledger->file && number > ledger->own_txn) {
		ledger->foreign += number != ledger->own_txn + 1;
		ledger->own_txn = number;
	}
	pthread_mutex_unlock(&ledger->lock);
}

void ps_ledger_txn_end(struct ps_ledger_txn *pub)
{
	struct txn *txn = txn_of(pub);

	ledger_discard_given(txn);
	ps_index_end(pub->txn);
	let_go(txn);
}

static int sync_bodies(struct txn *txn)
{
	const struct ps_ledger_bodies *bodies = &txn->ledger->bodies;

	return txn->must_sync && bodies->sync ? bodies->sync(txn->pub.store) : 0;
}

int ps_ledger_txn_commit(struct ps_ledger_txn *pub)
{
	struct txn *txn = txn_of(pub);
	struct ps_ledger *ledger = txn->ledger;
	uint64_t number = ps_index_txn_id(pub->txn);
	int r = pub->changed ? sync_bodies(txn) : 0;

	if (r < 0 || !pub->changed) {
		ps_ledger_txn_end(pub);
		return r;
	}
	/* When it fails nobody knows what counts, so what was given out stays. */
	r = ps_index_commit(pub->txn);
	if (r == 0) {
		note_own(ledger, pub->file, number);
		ledger_discard_buried(txn);
	}
	if (r == PS_E_AGAIN && ps_index_grow(pub->index) < 0)
		r = ps_fail(PS_E_FULL, "the map cannot grow");
	let_go(txn);
	return r;
}

int ps_ledger_txn_grow(struct ps_ledger_txn *txn)
{
	struct ps_index *index = ps_index_ref(txn->index);
	int r;

	ps_ledger_txn_end(txn);
	r = ps_index_grow(index);
	ps_index_close(index);
	return r;
}

int ps_ledger_check_generation(struct ps_ledger_txn *txn)
{
	struct ps_ledger *ledger = txn_of(txn)->ledger;
	uint64_t known, present = ps_index_number(txn->txn, "generation");

	pthread_mutex_lock(&ledger->lock);
	known = ledger->generation;
	pthread_mutex_unlock(&ledger->lock);
	return known == present ? 0 : ps_fail(PS_E_MOVED, "the store of %s has another generation", ledger->user);
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
static int room_within(struct txn *txn, int fd, uint64_t end, uint64_t octets, int error)
{
	if (ps_index_free_pages(txn->pub.index) * PAGE >= 2 * octets && behind_end(fd, end) >= reserve_for(end) / 2)
		return 0;
	errno = error;
	return ps_fail_errno("make room in the store of %s", txn->ledger->user);
}

int ps_ledger_reserve(struct ps_ledger_txn *txn, uint64_t octets)
{
	struct ps_ledger *ledger = txn_of(txn)->ledger;
	MDB_envinfo info;
	uint64_t end, want;
	bool enough;
	int fd;

	mdb_env_info(ps_index_env(txn->index), &info);
	mdb_env_get_fd(ps_index_env(txn->index), &fd);
	end = (info.me_last_pgno + 1) * PAGE;
	want = end + octets + reserve_for(end);
	pthread_mutex_lock(&ledger->lock);
	enough = txn->file == ledger->file && ledger->allocated >= want;
	pthread_mutex_unlock(&ledger->lock);
	if (enough)
		return 0;
	want += reserve_for(end) / 2; /* so that it need not be done each time */
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)(want - end)) < 0) {
		if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR)
			return 0; /* a file system that cannot */
		return room_within(txn_of(txn), fd, end, octets, errno);
	}
	pthread_mutex_lock(&ledger->lock);
	if (txn->file == ledger->file)
		ledger->allocated = want;
	pthread_mutex_unlock(&ledger->lock);
	return 0;
}
