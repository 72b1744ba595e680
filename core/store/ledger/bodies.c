/* SPDX-License-Identifier: MIT */
/*
 * Numbers of bodies, and graves. A body elsewhere is discarded as soon as the transaction that buried it is committed, and
 * its grave is levelled by the next one: discarding it twice does no harm, forgetting it would. A number that a transaction
 * gave out counts when that is committed; until then it is ours alone, so what was put under it must be discarded
 * before the transaction ends, for the next one gives it out again.
 */
#include <stdlib.h>
#include "core/store/ledger/ledger_private.h"

int ps_ledger_locator(struct ps_bytes locator, uint64_t *ret_body)
{
	if (locator.len != sizeof *ret_body)
		return ps_fail(PS_E_CORRUPT, "a row does not say where its body is");
	memcpy(ret_body, locator.ptr, sizeof *ret_body);
	return 0;
}

int ps_ledger_body(struct ps_index_txn *txn, const struct ps_mbox *mbox, uint32_t uid, uint64_t *ret_body)
{
	struct ps_bytes locator;
	struct ps_row row;
	int r = ps_index_row(txn, mbox->key, uid, &row, &locator);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_GONE, "UID %u was expunged", uid);
	return r == 0 ? ps_ledger_locator(locator, ret_body) : r;
}

int ps_ledger_find(struct ps_mbox *mbox, uint32_t uid, uint64_t *ret_body)
{
	struct ps_index *index = ps_ledger_index(ledger_of(mbox->store), NULL);
	struct ps_index_txn *txn;
	int r = ps_index_read(index, &txn);

	if (r == 0) {
		r = ps_ledger_body(txn, mbox, uid, ret_body);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r;
}

int ps_ledger_body_new(struct ps_ledger_txn *txn, uint64_t *ret_body)
{
	uint64_t number;
	int r = ps_index_number(txn->txn, "bodies", &number);

	if (r < 0 || (r = ps_index_number_put(txn->txn, "bodies", ++number)) < 0)
		return r;
	txn->changed = true;
	txn_of(txn)->given++;
	txn_of(txn)->must_sync = true;
	txn_of(txn)->last = number | PS_LEDGER_BODY;
	*ret_body = number | PS_LEDGER_BODY;
	return 0;
}

int ps_ledger_bury(struct ps_ledger_txn *txn, uint64_t body)
{
	struct txn *own = txn_of(txn);

	txn->changed = true;
	if (own->ledger->bodies.discard && own->buried_count < DISCARD_AT_ONCE) {
		if (!own->buried)
			own->buried = ps_malloc(DISCARD_AT_ONCE * sizeof *own->buried);
		own->buried[own->buried_count++] = body;
	}
	return ps_index_grave_put(txn->txn, body);
}

int ps_ledger_dig_up(struct ps_ledger_txn *txn, uint64_t body)
{
	txn->changed = true;
	return ps_index_grave_del(txn->txn, body);
}

void ledger_discard_given(struct txn *txn)
{
	for (uint64_t i = 0; txn->ledger->bodies.discard && i < txn->given; i++)
		txn->ledger->bodies.discard(txn->pub.store, txn->last - i);
}

void ledger_discard_buried(struct txn *txn)
{
	for (size_t i = 0; i < txn->buried_count; i++)
		txn->ledger->bodies.discard(txn->pub.store, txn->buried[i]);
}

/* ---- what is in the graves ----------------------------------------------------------------------- */

/* 1: not now. */
static int remove_body(struct ps_ledger_txn *txn, uint64_t body, unsigned *ret_parts)
{
	const struct ps_ledger_bodies *bodies = &txn_of(txn)->ledger->bodies;
	int r = bodies->remove ? bodies->remove(txn, body, ret_parts) : bodies->discard(txn->store, body) < 0;

	if (r != 0)
		return r;
	txn_of(txn)->must_sync = true;
	r = ps_index_cache_del(txn->txn, body, 0);
	return r == 0 ? ps_ledger_dig_up(txn, body) : r;
}

int ledger_reap(struct ps_ledger_txn *txn, unsigned max, unsigned *ret_removed)
{
	unsigned removed = 0;
	uint64_t body = 0;
	int r = 0;

	while (removed < max && (r = ps_index_grave_next(txn->txn, body, &body)) == 0) {
		unsigned parts = 1;

		if ((r = remove_body(txn, body, &parts)) < 0)
			return r;
		removed += r == 0 ? parts : 0;
	}
	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	*ret_removed = removed;
	return 0;
}

static bool any_grave(struct ps_ledger *ledger)
{
	struct ps_index *index = ps_ledger_index(ledger, NULL);
	struct ps_index_txn *txn;
	uint64_t body;
	bool any = false;

	if (ps_index_read(index, &txn) == 0) {
		any = ps_index_grave_next(txn, 0, &body) == 0;
		ps_index_end(txn);
	}
	ps_index_close(index);
	return any;
}

int ps_ledger_reap(struct ps_ledger *ledger, unsigned max, unsigned *ret_removed)
{
	struct ps_ledger_txn *txn;
	unsigned removed = 0;
	int r;

	if (any_grave(ledger)) {
		if ((r = ps_ledger_txn_begin(ledger, &txn)) < 0)
			return r;
		if ((r = ledger_reap(txn, max, &removed)) == 0)
			r = ps_ledger_txn_commit(txn);
		else
			ps_ledger_txn_end(txn);
		if (r < 0)
			return r;
	}
	if (ret_removed)
		*ret_removed = removed;
	return 0;
}
