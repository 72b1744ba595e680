/* SPDX-License-Identifier: MIT */
/*
 * Tokens of batches, so that a delivery tried again is not made twice: records at the end of CONTROL_DIR/tokens, written with the
 * batch under its journal. Who finds them is the index.
 */
#include "config.h"

#include <fcntl.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"

enum {
	TIDY_SIZE = 1 << 20,
	FILE_MAX = 1 << 28
};
#define TOKENS_FILE "tokens"

struct token_record {
	uint32_t crc; /* of what follows */
	uint32_t len;
	int64_t time;
	uint8_t octets[PS_TOKEN_MAX];
};

static uint32_t record_crc(const struct token_record *rec)
{
	return ps_crc32c(0, &rec->len, sizeof *rec - offsetof(struct token_record, len));
}

int plan_token_seen(struct ps_plan *plan, const struct ps_batch *batch)
{
	struct ps_index_token found;
	int r = ps_index_token(plan->t->txn, batch->token, &found);

	return r == 0 ? 1 : r == PS_E_NOTFOUND ? 0 : r;
}

static int open_tokens(struct ps_store *store, struct stat *ret_st)
{
	if (store->tokens_fd < 0) {
		store->tokens_fd = ps_io.open(store->cat.control_fd, TOKENS_FILE, O_RDWR | O_CREAT, 0600);
		if (store->tokens_fd < 0)
			return ps_fail_errno("open the tokens");
		if (ps_io_sync_dir(store->cat.control_fd, "the tokens") < 0) {
			ps_closep(&store->tokens_fd);
			return PS_E_STORAGE;
		}
	}
	return fstat(store->tokens_fd, ret_st) < 0 ? ps_fail_errno("stat the tokens") : 0;
}

int plan_token_keep(struct ps_plan *plan, const struct ps_batch *batch)
{
	struct write *w = &plan_of(plan)->w;
	struct ps_bytes token = batch->token;
	struct ps_index_token put = {.octets = token, .time = ps_catalogue_now()};
	struct token_record *rec = PS_NEW(w->t.pool, struct token_record);
	struct step *step;
	struct stat st;
	int r = open_tokens(w->t.store, &st);

	if (r < 0)
		return r;
	rec->len = (uint32_t)token.len;
	rec->time = put.time;
	memcpy(rec->octets, token.ptr, token.len);
	rec->crc = record_crc(rec);
	if (w->tokens_end == 0) /* half a record, of a write that was not undone, is written over */
		w->tokens_end = (uint64_t)st.st_size / sizeof *rec * sizeof *rec;
	step = steps_add(w, STEP_WRITE, CONTROL_DIR "/" TOKENS_FILE, NULL);
	step->fd = w->t.store->tokens_fd;
	step->offset = step->old_size = w->tokens_end;
	step->data = ps_bytes(rec, sizeof *rec);
	w->tokens_end += sizeof *rec;
	step->new_size = w->tokens_end;
	return ps_index_token_put(w->t.txn, &put);
}

typedef int (*record_fn)(void *arg, const struct token_record *rec);

static int each_record(struct ps_store *store, record_fn fn, void *arg)
{
	struct ps_buf text = {0};
	int64_t oldest = ps_catalogue_now() - PS_TOKEN_SECONDS;
	struct token_record rec;
	int r = ps_io_read_file(store->cat.control_fd, TOKENS_FILE, FILE_MAX, &text);

	for (size_t at = 0; r == 0 && at + sizeof rec <= text.len; at += sizeof rec) {
		memcpy(&rec, text.ptr + at, sizeof rec);
		if (rec.crc == record_crc(&rec) && rec.len > 0 && rec.len <= PS_TOKEN_MAX && rec.time >= oldest)
			r = fn(arg, &rec);
	}
	ps_buf_finish(&text);
	return r == PS_E_NOTFOUND ? 0 : r;
}

static int load_record(void *arg, const struct token_record *rec)
{
	struct write *w = arg;

	return ps_index_token_put(
		w->t.txn, &(struct ps_index_token){.octets = ps_bytes(rec->octets, rec->len), .time = rec->time});
}

int tokens_load(struct ps_store *store)
{
	struct write w;
	int r;

	do {
		if ((r = write_begin(store, &w)) < 0)
			return r;
		r = each_record(store, load_record, &w);
		if (r == 0)
			return write_commit(&w);
		write_abort(&w);
	} while (r == PS_E_AGAIN && (r = ps_catalogue_grow_index(store)) == 0);
	return r;
}

static int keep_record(void *arg, const struct token_record *rec)
{
	return ps_buf_append(arg, rec, sizeof *rec);
}

int tokens_tidy(struct ps_store *store)
{
	struct ps_buf kept = {0};
	struct stat st;
	int r = 0;

	if (fstatat(store->cat.control_fd, TOKENS_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size >= TIDY_SIZE) {
		r = each_record(store, keep_record, &kept);
		if (r == 0 && kept.len < (size_t)st.st_size / 2)
			r = ps_io_replace(store->cat.control_fd, TOKENS_FILE, ps_buf_view(&kept));
		ps_closep(&store->tokens_fd);
		store->tokens_fd = -1;
	}
	ps_buf_finish(&kept);
	return r;
}
