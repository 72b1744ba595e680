/* SPDX-License-Identifier: MIT */
/*
 * Tokens of batches: found by their octets, and in the order of time, so that those too old can be forgotten.
 */
#include <endian.h>
#include "core/store/index/index_private.h"

/* How many are forgotten, at most, for each one that is kept. */
enum {
	FORGET_AT_ONCE = 4
};

struct token_record {
	int64_t time;
	uint32_t note;
	uint32_t spare;
};

struct time_key {
	uint64_t time;
	uint8_t token[PS_TOKEN_MAX];
};

static MDB_val time_key(struct time_key *buf, int64_t time, struct ps_bytes token)
{
	buf->time = htobe64((uint64_t)time);
	memcpy(buf->token, token.ptr, token.len);
	return index_val(buf, sizeof buf->time + token.len);
}

static int token_decode(MDB_val key, MDB_val value, struct ps_index_token *ret_token)
{
	struct token_record rec;

	if (key.mv_size == 0 || key.mv_size > PS_TOKEN_MAX || value.mv_size != sizeof rec)
		return ps_fail(PS_E_CORRUPT, "index: a token is damaged");
	memcpy(&rec, value.mv_data, sizeof rec);
	*ret_token = (struct ps_index_token){
		.octets = ps_bytes(key.mv_data, key.mv_size), .time = rec.time, .note = rec.note};
	return 0;
}

int ps_index_token(struct ps_index_txn *txn, struct ps_bytes token, struct ps_index_token *ret_token)
{
	MDB_val key = index_val(token.ptr, token.len), value;
	int r;

	if (token.len == 0 || token.len > PS_TOKEN_MAX)
		return ps_fail(PS_E_INVALID, "a token of %zu octets", token.len);
	r = index_get(txn, DB_TOKENS, key, &value);
	return r == 0 ? token_decode(key, value, ret_token) : r;
}

static int forget(struct ps_index_txn *txn, const struct ps_index_token *token)
{
	struct time_key buf;
	int r = index_del(txn, DB_TOKEN_TIMES, time_key(&buf, token->time, token->octets));

	return r == 0 ? index_del(txn, DB_TOKENS, index_val(token->octets.ptr, token->octets.len)) : r;
}

/* The token that a key of TOKEN_TIMES is about. */
static int token_of(struct ps_index_txn *txn, MDB_val key, struct ps_index_token *ret_token)
{
	size_t skip = sizeof(uint64_t);

	if (key.mv_size <= skip || key.mv_size > sizeof(struct time_key))
		return ps_fail(PS_E_CORRUPT, "index: the time of a token is damaged");
	return ps_index_token(txn, ps_bytes((const uint8_t *)key.mv_data + skip, key.mv_size - skip), ret_token);
}

static int forget_old(struct ps_index_txn *txn, int64_t before)
{
	for (int i = 0; i < FORGET_AT_ONCE; i++) {
		uint8_t octets[PS_TOKEN_MAX];
		struct ps_index_token token;
		MDB_cursor *cursor;
		MDB_val key, value;
		int rc = mdb_cursor_open(txn->txn, txn->index->dbi[DB_TOKEN_TIMES], &cursor), r;

		if (rc)
			return index_fail(rc, "cursor");
		rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
		mdb_cursor_close(cursor);
		if (rc)
			return rc == MDB_NOTFOUND ? 0 : index_fail(rc, "walk");
		if ((r = token_of(txn, key, &token)) < 0 || token.time >= before)
			return r;
		memcpy(octets, token.octets.ptr, token.octets.len); /* a change moves what LMDB showed */
		token.octets.ptr = octets;
		if ((r = forget(txn, &token)) < 0)
			return r;
	}
	return 0;
}

int ps_index_token_put(struct ps_index_txn *txn, const struct ps_index_token *token)
{
	struct token_record rec = {.time = token->time, .note = token->note};
	struct ps_index_token old;
	struct time_key buf;
	int r = ps_index_token(txn, token->octets, &old);

	if (r == 0) {
		old.octets = token->octets;
		r = forget(txn, &old);
	} else if (r == PS_E_NOTFOUND) {
		r = forget_old(txn, token->time - PS_TOKEN_SECONDS);
	}
	if (r < 0 || (r = index_put(txn, DB_TOKENS, index_val(token->octets.ptr, token->octets.len),
				    index_val(&rec, sizeof rec))) < 0)
		return r;
	return index_put(txn, DB_TOKEN_TIMES, time_key(&buf, token->time, token->octets), index_val("", 0));
}

int ps_index_token_remove(struct ps_index_txn *txn, struct ps_bytes token)
{
	struct ps_index_token old;
	int r = ps_index_token(txn, token, &old);

	old.octets = token;
	return r == 0 ? forget(txn, &old) : r == PS_E_NOTFOUND ? 0 : r;
}

int ps_index_tokens(struct ps_index_txn *txn, ps_index_token_fn fn, void *arg)
{
	struct ps_index_token token;
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(txn->txn, txn->index->dbi[DB_TOKEN_TIMES], &cursor), r = 0;

	if (rc)
		return index_fail(rc, "cursor");
	while (r == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV)) == 0)
		if ((r = token_of(txn, key, &token)) == 0)
			r = fn(arg, &token);
	mdb_cursor_close(cursor);
	if (r != 0)
		return r;
	return rc != MDB_NOTFOUND ? index_fail(rc, "walk") : 0;
}
