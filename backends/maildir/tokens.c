/* SPDX-License-Identifier: MIT */
/*
 * Tokens of batches, so that a delivery tried again is not made twice.
 *
 * A token must become durable with its batch, neither before nor after, and must outlive the index. So it lies where the
 * batch becomes true by itself: in the name of the message (T=), which appears by one rename. A delivery costs no more
 * for having a token.
 *
 * A name is no place to stay, because the message may be removed before the token may be forgotten. So before any
 * message is removed, tokens that are in names only are copied to postern-control/tokens and synced: once for all that
 * were delivered since. What removes in the same commit, or appends nothing, writes its token there as one step of the
 * batch (an intent record makes them one). The file is:
 *
 *   CRC T seconds hash       a token
 *   CRC X seconds hash       its batch was refused after all
 *
 * Who finds tokens is the index; names and file fill it when it is made again. A token is known by a hash here.
 */
#include "config.h"

#include <fcntl.h>
#include <gnutls/crypto.h>
#include <sys/stat.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

enum {
	FILE_MAX = 1 << 28,
	SHORT_FILE = 1 << 16, /* octets; not worth shortening */
	NOTE_FILE = 0,
	NOTE_NAME = 1 /* only in the name of a message */
};

#define NAMED "tokens_named" /* the index's number of them */

struct token_id token_id(struct ps_bytes token)
{
	uint8_t digest[32] = {0};
	struct token_id id;

	gnutls_hash_fast(GNUTLS_DIG_SHA256, token.ptr, token.len, digest);
	memcpy(id.octets, digest, sizeof id.octets);
	return id;
}

static struct ps_bytes id_bytes(const struct token_id *id)
{
	return ps_bytes(id->octets, sizeof id->octets);
}

int token_find(struct ps_catalogue_txn *w, const struct token_id *id)
{
	struct ps_index_token found;
	int r = ps_index_token(w->txn, id_bytes(id), &found);

	return r == 0 ? 1 : r == PS_E_NOTFOUND ? 0 : r;
}

int token_put(struct ps_catalogue_txn *w, const struct token_id *id, int64_t time, bool named)
{
	struct ps_index_token token = {.octets = id_bytes(id), .time = time, .note = named ? NOTE_NAME : NOTE_FILE};
	uint64_t before;
	int r = token_find(w, id);

	if (r != 0)
		return r < 0 ? r : 0;
	if (named && ((r = ps_index_number(w->txn, NAMED, &before)) < 0 ||
		      (r = ps_index_number_put(w->txn, NAMED, before + 1)) < 0))
		return r;
	return ps_index_token_put(w->txn, &token);
}

void token_line(struct ps_buf *out, const struct token_id *id, int64_t time, bool refused)
{
	struct ps_buf line = {0};

	ps_buf_printf(&line, "%c %lld ", refused ? 'X' : 'T', (long long)time);
	ps_hex_encode(&line, id_bytes(id));
	lines_put(out, ps_buf_view(&line));
	ps_buf_finish(&line);
}

bool token_parse(struct ps_bytes hex, struct token_id *ret_id)
{
	struct token_id id;
	uint64_t octet;

	if (hex.len != 2 * sizeof id.octets)
		return false;
	for (size_t i = 0; i < sizeof id.octets; i++) {
		if (!lines_hex(ps_bytes(hex.ptr + 2 * i, 2), &octet))
			return false;
		id.octets[i] = (uint8_t)octet;
	}
	*ret_id = id;
	return true;
}

/* ---- from names to the file ------------------------------------------------------------------ */

struct gathering {
	struct ps_pool *pool;
	struct ps_index_token *tokens;
	size_t count, cap;
	uint64_t want; /* how many there are with this note */
	uint32_t note;
	int64_t oldest;
};

static int gather(void *arg, const struct ps_index_token *token)
{
	struct gathering *g = arg;

	if (g->count >= g->want || token->time < g->oldest)
		return 1;
	if (token->octets.len != sizeof(struct token_id) || (g->note == NOTE_NAME && token->note != g->note))
		return 0;
	g->tokens = ps_pool_grow(g->pool, g->tokens, g->count, &g->cap, sizeof *g->tokens);
	g->tokens[g->count] = *token;
	g->tokens[g->count++].octets.ptr = ps_pool_memdup(g->pool, token->octets.ptr, token->octets.len);
	return 0;
}

static void put_lines(const struct gathering *g, struct ps_buf *out)
{
	struct token_id id;

	for (size_t i = g->count; i-- > 0;) {
		memcpy(id.octets, g->tokens[i].octets.ptr, sizeof id.octets);
		token_line(out, &id, g->tokens[i].time, false);
	}
}

static int note_in_file(struct ps_catalogue_txn *w, const struct gathering *g)
{
	int r = ps_index_number_put(w->txn, NAMED, 0);

	for (size_t i = 0; i < g->count && r == 0; i++) {
		g->tokens[i].note = NOTE_FILE;
		r = ps_index_token_put(w->txn, &g->tokens[i]);
	}
	return r;
}

int tokens_shorten(struct ps_catalogue_txn *w)
{
	struct ps_store *store = w->store;
	struct gathering g = {.pool = w->pool,
			      .want = UINT64_MAX,
			      .note = NOTE_FILE,
			      .oldest = ps_catalogue_now() - PS_TOKEN_SECONDS};
	struct ps_buf lines = {0};
	struct stat st;
	int r;

	if (fstatat(store->cat.control_fd, TOKENS_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size <= SHORT_FILE ||
	    st.st_size <= 2 * store->tokens_size)
		return 0;
	if ((r = ps_index_tokens(w->txn, gather, &g)) < 0)
		return r;
	put_lines(&g, &lines);
	r = lines.failed ? PS_E_LIMIT : ps_io_replace(store->cat.control_fd, TOKENS_FILE, ps_buf_view(&lines));
	if (r == 0) {
		store->tokens_size = (off_t)lines.len;
		r = note_in_file(w, &g);
	}
	ps_buf_finish(&lines);
	return r;
}

int tokens_to_file(struct ps_catalogue_txn *w)
{
	struct gathering g = {.pool = w->pool, .note = NOTE_NAME};
	struct ps_buf lines = {0};
	bool left; /* they are true, so nobody minds */
	int r = ps_index_number(w->txn, NAMED, &g.want);

	if (r < 0 || g.want == 0)
		return r;
	if ((r = ps_index_tokens(w->txn, gather, &g)) < 0)
		return r;
	put_lines(&g, &lines);
	r = lines.failed ? PS_E_LIMIT : lines_append(w->store->cat.control_fd, TOKENS_FILE, ps_buf_view(&lines), &left);
	ps_buf_finish(&lines);
	return r == 0 ? note_in_file(w, &g) : r;
}

/* ---- from the file to the index -------------------------------------------------------------- */

static int load_line(struct ps_catalogue_txn *w, struct ps_bytes line)
{
	struct ps_bytes kind = lines_word(&line), when = lines_word(&line);
	struct ps_index_token old;
	struct token_id id;
	uint64_t seconds;
	int r;

	if (ps_bytes_u64(when, &seconds) < 0 || seconds > INT64_MAX || !token_parse(line, &id) ||
	    (int64_t)seconds < ps_catalogue_now() - PS_TOKEN_SECONDS)
		return 0;
	if (ps_bytes_eq_str(kind, "T"))
		return token_put(w, &id, (int64_t)seconds, false);
	/* A name may have it, from a later try. */
	r = ps_index_token(w->txn, id_bytes(&id), &old);
	if (r == 0 && old.note == NOTE_FILE)
		return ps_index_token_remove(w->txn, id_bytes(&id));
	return r == PS_E_NOTFOUND ? 0 : r;
}

static int load(struct ps_store *store, struct ps_bytes text)
{
	struct ps_bytes line;
	struct ps_catalogue_txn w;
	bool whole;
	int r = ps_catalogue_txn_begin(store, &w);

	if (r < 0)
		return r;
	while (r == 0 && lines_take(&text, &line, &whole))
		if (whole)
			r = load_line(&w, line);
	if (r == 0)
		return ps_catalogue_txn_commit(&w);
	ps_catalogue_txn_end(&w);
	return r;
}

int tokens_load(struct ps_store *store)
{
	struct ps_buf text = {0};
	int r = ps_io_read_file(store->cat.control_fd, TOKENS_FILE, FILE_MAX, &text);

	if (r == 0)
		while ((r = load(store, ps_buf_view(&text))) == PS_E_AGAIN) {
			struct ps_index *index = ps_catalogue_index(store);

			r = ps_index_grow(index);
			ps_index_close(index);
			if (r < 0)
				break;
		}
	ps_buf_finish(&text);
	return r == PS_E_NOTFOUND ? 0 : r;
}
