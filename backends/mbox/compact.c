/* SPDX-License-Identifier: MIT */
/*
 * Rewrites mailboxes in which messages were only marked as expunged, because the disk was full then.
 */
#include "config.h"

#include "backends/mbox/mbox_private.h"

struct dead {
	struct ps_pool *pool;
	uint64_t *keys;
	size_t count, cap;
};

static int note_dead(void *arg, const struct ps_index_box *box)
{
	struct dead *dead = arg;

	if (box->priv[BOX_DEAD] == 0)
		return 0;
	dead->keys = ps_pool_grow(dead->pool, dead->keys, dead->count, &dead->cap, sizeof *dead->keys);
	dead->keys[dead->count++] = box->key;
	return 0;
}

static int find_dead(struct ps_store *store, struct dead *dead)
{
	struct ps_index *index = ps_catalogue_index(store);
	struct ps_index_txn *txn;
	int r = index ? ps_index_read(index, &txn) : ps_fail(PS_E_STORAGE, "the index is not there");

	if (r == 0) {
		r = ps_index_boxes(txn, note_dead, dead);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r;
}

static int rewrite_once(struct ps_store *store, uint64_t key, uint64_t *octets)
{
	struct edit *edit;
	struct write w;
	uint64_t dead;
	int r = write_begin(store, &w);

	if (r < 0)
		return r;
	if ((r = write_edit(&w, key, &edit)) < 0) {
		write_abort(&w);
		return r;
	}
	dead = edit->e.box.priv[BOX_DEAD];
	edit->touched = edit->rewrite = true;
	if ((r = write_run(&w)) == 0)
		*octets += dead;
	return r;
}

static int rewrite(struct ps_store *store, uint64_t key, uint64_t *octets)
{
	int r = scan_mailbox(store, key, false); /* what others did first */

	if (r < 0)
		return r;
	while ((r = rewrite_once(store, key, octets)) == PS_E_AGAIN)
		if ((r = ps_catalogue_grow_index(store)) < 0)
			break;
	return r;
}

int mbox_compact(struct ps_store *store, uint64_t *ret_octets)
{
	struct dead dead = {.pool = ps_pool_create("compact")};
	uint64_t octets = 0;
	int r = ps_catalogue_lock(store);

	if (r == 0) {
		r = find_dead(store, &dead);
		for (size_t i = 0; i < dead.count && r == 0; i++)
			if ((r = rewrite(store, dead.keys[i], &octets)) == PS_E_GONE)
				r = 0;
		ps_catalogue_unlock(store);
	}
	if (r == 0)
		*ret_octets = octets;
	ps_pool_destroy(dead.pool);
	return r;
}
