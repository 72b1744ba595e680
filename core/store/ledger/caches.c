/* SPDX-License-Identifier: MIT */
/* Caches lie under the body's number and UID 0. */
#include <stdlib.h>
#include "core/store/index/read.h"
#include "core/store/ledger/ledger_private.h"

enum {
	LATE_MAX = 64 /* caches that may wait for a commit */
};

static bool find_late(struct ps_read *read, uint64_t body, struct ps_bytes *ret_cache)
{
	struct ps_ledger *ledger = read->ledger;
	struct late_cache *late;

	pthread_mutex_lock(&ledger->lock);
	for (late = ledger->late; late && late->body != body; late = late->next)
		;
	if (late)
		*ret_cache = ps_bytes(ps_pool_memdup(read->pool, late->octets, late->len), late->len);
	pthread_mutex_unlock(&ledger->lock);
	return late != NULL;
}

int ps_ledger_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache)
{
	struct ps_index_box box;
	struct ps_bytes locator;
	struct ps_row row;
	uint64_t body;
	int r;

	if ((r = ps_index_box(read->txn, mbox->key, &box)) < 0)
		return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "the mailbox was deleted") : r;
	if ((r = ps_index_row(read->txn, mbox->key, uid, &row, &locator)) < 0 ||
	    (r = ps_ledger_locator(locator, &body)) < 0)
		return r;
	r = ps_index_cache(read->txn, body, 0, ret_cache);
	if (r == PS_E_CORRUPT) /* core makes it again */
		r = ps_fail(PS_E_NOTFOUND, "the cache of UID %u is damaged", uid);
	return r == PS_E_NOTFOUND && find_late(read, body, ret_cache) ? 0 : r;
}

static struct late_cache *take_late(struct ps_ledger *ledger)
{
	struct late_cache *late;

	pthread_mutex_lock(&ledger->lock);
	late = ledger->late;
	ledger->late = NULL;
	ledger->late_count = 0;
	pthread_mutex_unlock(&ledger->lock);
	return late;
}

static void free_late(struct late_cache *late)
{
	while (late) {
		struct late_cache *next = late->next;

		free(late);
		late = next;
	}
}

void ledger_drop_late_caches(struct ps_ledger *ledger)
{
	free_late(take_late(ledger));
}

/* One whose message is not in its place any more is given up. */
static int put_late(struct ps_ledger_txn *txn, const struct late_cache *late)
{
	struct ps_bytes locator;
	struct ps_row row;
	uint64_t body = 0;
	int r = ps_index_row(txn->txn, late->key, late->uid, &row, &locator);

	if (r == 0)
		r = ps_ledger_locator(locator, &body);
	if (r == PS_E_NOTFOUND || body != late->body)
		return r == PS_E_NOTFOUND ? 0 : r;
	txn->changed = true;
	return ps_index_cache_put(txn->txn, body, 0, ps_bytes(late->octets, late->len));
}

/* Should the transaction fail, they are made again when they are asked for. */
int ledger_put_late_caches(struct ps_ledger_txn *txn)
{
	struct late_cache *all = take_late(txn_of(txn)->ledger);
	int r = 0;

	for (struct late_cache *late = all; late && r == 0; late = late->next)
		r = put_late(txn, late);
	free_late(all);
	return r;
}

static int put_late_now(struct ps_ledger *ledger)
{
	struct ps_ledger_txn *txn;
	int r = ps_ledger_txn_begin(ledger, &txn);

	if (r < 0)
		return r;
	if ((r = ps_ledger_check_generation(txn)) < 0 || (r = ledger_put_late_caches(txn)) < 0) {
		ps_ledger_txn_end(txn);
		return r;
	}
	return ps_ledger_txn_commit(txn);
}

/* A transaction of its own would cost a sync for each. */
int ps_ledger_cache_put(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache)
{
	struct ps_ledger *ledger = ledger_of(mbox->store);
	struct late_cache *late;
	uint64_t body;
	bool many;
	int r = ps_ledger_find(mbox, uid, &body);

	if (r < 0)
		return r;
	late = ps_malloc(sizeof *late + cache.len);
	*late = (struct late_cache){.body = body, .key = mbox->key, .uid = uid, .len = cache.len};
	memcpy(late->octets, cache.ptr, cache.len);
	pthread_mutex_lock(&ledger->lock);
	late->next = ledger->late;
	ledger->late = late;
	many = ++ledger->late_count >= LATE_MAX;
	pthread_mutex_unlock(&ledger->lock);
	return many ? put_late_now(ledger) : 0;
}
