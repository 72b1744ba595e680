/* SPDX-License-Identifier: MIT */
/* A transaction that changes the store, and room for it. */
#include <stdlib.h>
#include "core/store/index/room.h"
#include "core/store/ledger/ledger_private.h"

enum {
	RESERVE_MIN = 256 * 1024 /* kept for removing, of a store that is small */
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
	uint64_t known, present;
	int r = ps_index_number(txn->txn, "generation", &present);

	if (r < 0)
		return r;
	pthread_mutex_lock(&ledger->lock);
	known = ledger->generation;
	pthread_mutex_unlock(&ledger->lock);
	return known == present ? 0 : ps_fail(PS_E_MOVED, "the store of %s has another generation", ledger->user);
}

/* ---- room ---------------------------------------------------------------------------------- */

int ps_ledger_reserve(struct ps_ledger_txn *txn, uint64_t octets)
{
	struct ps_ledger *ledger = txn_of(txn)->ledger;
	uint64_t allocated = 0;
	int r;

	pthread_mutex_lock(&ledger->lock);
	if (txn->file == ledger->file)
		allocated = ledger->allocated;
	pthread_mutex_unlock(&ledger->lock);
	r = index_room(txn->index, octets, RESERVE_MIN, &allocated);
	/* There is no more: what was freed within the file may do. */
	if (r < 0)
		return index_room_within(txn->index, octets, RESERVE_MIN) ? 0 : r;
	pthread_mutex_lock(&ledger->lock);
	if (txn->file == ledger->file)
		ledger->allocated = allocated;
	pthread_mutex_unlock(&ledger->lock);
	return 0;
}
