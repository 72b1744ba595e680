/* SPDX-License-Identifier: MIT */
/*
 * Open bodies. Octets are given where they lie in the map, a chunk at a time, for as long as a read transaction is
 * open. body_rest() ends that: a client may take an hour over a message, and what is deleted meanwhile could not be used
 * again. The message stays: it is pinned, see pins.c. The next octets are had by a new transaction.
 */
#include <stdlib.h>
#include "backends/lmdb/lmdb_private.h"

struct open_body {
	struct ps_store *store;
	struct ps_index *index;   /* where it was found; it may have been replaced since */
	struct ps_index_txn *txn; /* NULL while resting */
	uint64_t body;
	uint8_t *plain; /* a decoded chunk */
	uint32_t chunk; /* which */
};

static int open_txn(struct open_body *open)
{
	return open->txn ? 0 : ps_index_read(open->index, &open->txn);
}

static int decode(struct open_body *open, uint32_t n, const struct chunk_head *head, struct ps_bytes *octets)
{
	int r = 0;

	if (!open->plain)
		open->plain = ps_malloc(CHUNK_PLAIN);
	if (open->chunk != n) {
		open->chunk = UINT32_MAX;
		r = zstd_unpack(*octets, open->plain, head->plain);
	}
	if (r == 0) {
		open->chunk = n;
		*octets = ps_bytes(open->plain, head->plain);
	}
	return r;
}

static int read_chunk(const struct ps_body *body, uint64_t offset, struct ps_bytes *ret_octets)
{
	struct open_body *open = body->priv;
	uint32_t n = (uint32_t)(offset / CHUNK_PLAIN), within = (uint32_t)(offset % CHUNK_PLAIN);
	struct ps_bytes octets;
	struct chunk_head head;
	int r;

	if ((r = open_txn(open)) < 0 || (r = body_chunk(open->index, open->txn, open->body, n, &head, &octets)) < 0)
		return r;
	if (head.codec != CODEC_NONE && (r = decode(open, n, &head, &octets)) < 0)
		return r;
	if (within >= octets.len || offset + octets.len - within > body->length)
		return ps_fail(PS_E_CORRUPT, "chunk %u of a message has %zu octets", n, octets.len);
	*ret_octets = ps_bytes_skip(octets, within);
	return 0;
}

static void end_txn(struct open_body *open)
{
	ps_index_end(open->txn);
	open->txn = NULL;
}

/*
 * Finds and pins it. What was found may have been removed between the two; so if anything was committed meanwhile, it is
 * looked for once more.
 */
static int find(struct open_body *open, const struct ps_mbox *mbox, uint32_t uid)
{
	uint64_t again;
	int r;

	if ((r = open_txn(open)) < 0 || (r = ps_ledger_body(open->txn, mbox, uid, &open->body)) < 0 ||
	    (r = pin_take(open->store, open->body)) < 0)
		return r;
	if (ps_index_last_txn(open->index) != ps_index_txn_id(open->txn)) {
		end_txn(open);
		if ((r = open_txn(open)) == 0)
			r = ps_ledger_body(open->txn, mbox, uid, &again);
		if (r == 0 && again != open->body)
			r = ps_fail(PS_E_CORRUPT, "UID %u has become another message", uid);
	}
	if (r < 0)
		pin_drop(open->store, open->body);
	return r;
}

int lmdb_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	struct open_body *open = ps_zalloc(sizeof *open);
	struct body_record record;
	int r;

	open->store = ps_ledger_store(mbox);
	open->index = ps_ledger_index(open->store->ledger, NULL);
	open->chunk = UINT32_MAX;
	if ((r = find(open, mbox, uid)) == 0 && (r = body_record(open->index, open->txn, open->body, &record)) < 0) {
		pin_drop(open->store, open->body);
		if (r == PS_E_NOTFOUND)
			r = ps_fail(PS_E_CORRUPT, "UID %u has no body", uid);
	}
	if (r < 0) {
		end_txn(open);
		ps_index_close(open->index);
		free(open);
		return r;
	}
	*ret_body = (struct ps_body){
		.fd = -1, .length = record.length, .wire_form = true, .priv = open, .read = read_chunk};
	return 0;
}

void lmdb_body_rest(struct ps_body *body)
{
	end_txn(body->priv);
}

void lmdb_body_close(struct ps_body *body)
{
	struct open_body *open = body->priv;

	end_txn(open);
	pin_drop(open->store, open->body);
	ps_index_close(open->index);
	free(open->plain);
	free(open);
	*body = (struct ps_body){.fd = -1};
}
