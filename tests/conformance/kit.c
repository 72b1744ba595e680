/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "tests/conformance/conform.h"

uint32_t pick(struct kit *kit, uint32_t below)
{
	uint32_t z = kit->seed += 0x9e3779b9u; /* a counter, and a hash of it */

	z = (z ^ z >> 16) * 0x85ebca6bu;
	z = (z ^ z >> 13) * 0xc2b2ae35u;
	return (uint32_t)(((uint64_t)(z ^ z >> 16) * below) >> 32);
}

/* ---- stores and mailboxes ------------------------------------------------------------------ */

/* Handles that kit_close() closes. */
static struct {
	struct ps_store *store;
	struct ps_mbox *mbox;
} * handles;
static size_t handle_count, handle_cap;

struct ps_store *kit_open(struct kit *kit)
{
	struct ps_store_args args = {.user = kit->root, .root = kit->root, .conf = kit->conf, .create = true};
	struct ps_store *store;

	must_ok(kit->ops->open(&args, &store));
	return store;
}

void kit_close(struct kit *kit, struct ps_store *store)
{
	size_t n = 0;

	for (size_t i = 0; i < handle_count; i++) {
		if (handles[i].store == store)
			kit->ops->mailbox_close(handles[i].mbox);
		else
			handles[n++] = handles[i];
	}
	handle_count = n;
	if (n == 0) {
		free(handles);
		handles = NULL;
		handle_cap = 0;
	}
	kit->ops->close(store);
}

struct ps_mbox *kit_mbox(struct kit *kit, struct ps_store *store, const char *name)
{
	struct ps_mbox *mbox;

	must_ok(kit->ops->mailbox_open(store, name, &mbox));
	if (handle_count == handle_cap) {
		handle_cap = handle_cap ? handle_cap * 2 : 64;
		handles = ps_realloc(handles, handle_cap * sizeof *handles);
	}
	handles[handle_count].store = store;
	handles[handle_count++].mbox = mbox;
	return mbox;
}

void kit_begin(struct kit *kit, unsigned n)
{
	kit->store = kit_open(kit);
	kit->inbox = kit_mbox(kit, kit->store, "INBOX");
	kit_fill(kit, kit->store, kit->inbox, n);
}

void kit_end(struct kit *kit)
{
	kit_close(kit, kit->store);
}

void kit_again(struct kit *kit)
{
	kit_end(kit);
	kit_begin(kit, 0);
}

/* ---- changes ------------------------------------------------------------------------------- */

int kit_try_all(struct kit *kit, struct ps_store *store, const struct ps_op *ops, size_t count,
		struct ps_op_result *ret_results)
{
	struct ps_batch batch = {.ops = ops, .count = count, .pool = kit->pool}, *batches = &batch;
	int r;

	batch.results = PS_NEWV(kit->pool, struct ps_op_result, count);
	r = kit->ops->commit(store, &batches, 1);
	if (batch.err != 0)
		r = batch.err;
	if (r == 0 && ret_results)
		memcpy(ret_results, batch.results, count * sizeof *ret_results);
	return r;
}

int kit_try(struct kit *kit, struct ps_store *store, const struct ps_op *op, struct ps_op_result *ret_result)
{
	return kit_try_all(kit, store, op, 1, ret_result);
}

struct ps_bytes kit_text(struct kit *kit, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	must(len >= 0 && len < (int)sizeof text, "the check's text is too long");
	return ps_bytes(ps_pool_memdup(kit->pool, text, (size_t)len), (size_t)len);
}

static int write_pieces(struct kit *kit, struct ps_staged *staged, struct ps_bytes octets, size_t piece)
{
	while (octets.len > 0) {
		size_t n = piece > 0 && piece < octets.len ? piece : octets.len;
		int r = kit->ops->stage_write(staged, ps_bytes(octets.ptr, n));

		if (r < 0)
			return r;
		octets = ps_bytes_skip(octets, n);
	}
	return 0;
}

static void derive(struct kit *kit, struct ps_bytes octets, struct ps_op *op)
{
	struct ps_derive *derive = ps_derive_create();
	struct ps_bytes cache;

	ps_derive_feed(derive, octets);
	ps_derive_finish(derive, &op->size, &cache);
	op->cache = ps_bytes(ps_pool_memdup(kit->pool, cache.ptr, cache.len), cache.len);
	ps_derive_destroy(derive);
}

int kit_try_stage(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct kit_message *message,
		  struct ps_op *ret_op)
{
	struct ps_staged *staged;
	int r = kit->ops->stage(store, message->octets.len, &staged);

	if (r < 0)
		return r;
	if ((r = write_pieces(kit, staged, message->octets, message->piece)) < 0 ||
	    (r = kit->ops->stage_finish(staged)) < 0) {
		kit->ops->stage_drop(staged);
		return r;
	}
	*ret_op = (struct ps_op){
		.kind = PS_OP_APPEND,
		.mbox = mbox,
		.staged = staged,
		.flags = message->flags,
		.keywords = message->keywords,
		.internal_date = message->internal_date ? message->internal_date : 1000000000,
		.email_id = message->email_id,
	};
	derive(kit, message->octets, ret_op);
	return 0;
}

void kit_stage(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct kit_message *message,
	       struct ps_op *ret_op)
{
	must_ok(kit_try_stage(kit, store, mbox, message, ret_op));
}

uint32_t kit_append(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct kit_message *message)
{
	struct ps_op_result result;
	struct ps_op op;

	kit_stage(kit, store, mbox, message, &op);
	must_ok(kit_try(kit, store, &op, &result));
	must(result.new_count == 1 && result.new_uids[0].first == result.new_uids[0].last, "one message, one UID");
	return result.new_uids[0].first;
}

void kit_fill(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, unsigned n)
{
	for (unsigned i = 1; i <= n; i++)
		kit_append(kit, store, mbox,
			   &(struct kit_message){.octets = kit_text(kit, "Subject: %u\r\n\r\nbody %u\r\n", i, i)});
}

struct ps_op_result kit_flags(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, struct ps_range uids,
			      enum ps_flag_mode mode, uint32_t flags, const char *const *keywords)
{
	struct ps_op op = {
		.kind = PS_OP_FLAGS,
		.mbox = mbox,
		.uids = &uids,
		.uid_count = 1,
		.flag_mode = mode,
		.flags = flags,
		.keywords = keywords,
		.unchanged_since = UINT64_MAX,
	};
	struct ps_op_result result;

	must_ok(kit_try(kit, store, &op, &result));
	return result;
}

struct ps_op_result kit_expunge(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, struct ps_range uids)
{
	struct ps_op op = {.kind = PS_OP_EXPUNGE, .mbox = mbox, .uids = &uids, .uid_count = 1};
	struct ps_op_result result;

	must_ok(kit_try(kit, store, &op, &result));
	return result;
}

struct ps_op_result kit_copy(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, struct ps_range uids,
			     struct ps_mbox *target, bool move)
{
	struct ps_op op = {
		.kind = move ? PS_OP_MOVE : PS_OP_COPY, .mbox = mbox, .uids = &uids, .uid_count = 1, .target = target};
	struct ps_op_result result;

	must_ok(kit_try(kit, store, &op, &result));
	return result;
}

int kit_create(struct kit *kit, struct ps_store *store, const char *name)
{
	return kit_try(kit, store, &(struct ps_op){.kind = PS_OP_CREATE, .name = name}, NULL);
}

int kit_delete(struct kit *kit, struct ps_store *store, const char *name)
{
	return kit_try(kit, store, &(struct ps_op){.kind = PS_OP_DELETE, .name = name}, NULL);
}

int kit_rename(struct kit *kit, struct ps_store *store, const char *name, const char *new_name)
{
	return kit_try(kit, store, &(struct ps_op){.kind = PS_OP_RENAME, .name = name, .new_name = new_name}, NULL);
}

int kit_subscribe(struct kit *kit, struct ps_store *store, const char *name, bool subscribed)
{
	struct ps_op op = {.kind = PS_OP_SUBSCRIBE, .name = name, .subscribed = subscribed};

	return kit_try(kit, store, &op, NULL);
}

/* ---- bodies -------------------------------------------------------------------------------- */

static struct ps_bytes read_pieces(struct kit *kit, const struct ps_body *body)
{
	struct ps_buf octets = {0};
	struct ps_bytes piece, all;

	while (octets.len < body->length) {
		must_ok(body->read(body, octets.len, &piece));
		must(piece.len > 0 && piece.len <= body->length - octets.len, "a piece of %zu octets at %zu of %llu",
		     piece.len, octets.len, (unsigned long long)body->length);
		ps_buf_bytes(&octets, piece);
	}
	all = ps_bytes(ps_pool_memdup(kit->pool, octets.len ? octets.ptr : (const uint8_t *)"", octets.len),
		       octets.len);
	ps_buf_finish(&octets);
	return all;
}

static struct ps_bytes read_fd(struct kit *kit, const struct ps_body *body)
{
	uint8_t *octets = ps_pool_alloc(kit->pool, body->length);
	uint64_t at = 0;

	while (at < body->length) {
		ssize_t n = pread(body->fd, octets + at, body->length - at, (off_t)(body->offset + at));

		must(n > 0, "a body of %llu octets ends at %llu", (unsigned long long)body->length,
		     (unsigned long long)at);
		at += (uint64_t)n;
	}
	return ps_bytes(octets, body->length);
}

static struct ps_bytes to_crlf(struct kit *kit, struct ps_bytes in)
{
	uint8_t *out = ps_pool_alloc(kit->pool, in.len * 2);
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '\n' && (i == 0 || in.ptr[i - 1] != '\r'))
			out[n++] = '\r';
		out[n++] = in.ptr[i];
	}
	return ps_bytes(out, n);
}

int kit_body(struct kit *kit, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_octets)
{
	struct ps_bytes octets;
	struct ps_body body;
	int r = kit->ops->body(mbox, uid, &body);

	if (r < 0)
		return r;
	octets = body.data      ? ps_bytes(ps_pool_memdup(kit->pool, body.data, body.length), body.length)
		 : body.fd >= 0 ? read_fd(kit, &body)
				: read_pieces(kit, &body);
	*ret_octets = body.wire_form ? octets : to_crlf(kit, octets);
	kit->ops->body_close(&body);
	return 0;
}

const char *kit_body_text(struct kit *kit, struct ps_mbox *mbox, uint32_t uid)
{
	struct ps_bytes octets;

	must_ok(kit_body(kit, mbox, uid, &octets));
	return ps_pool_strndup(kit->pool, (const char *)octets.ptr, octets.len);
}

void kit_body_must_be(struct kit *kit, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes octets)
{
	struct ps_bytes got;

	must_ok(kit_body(kit, mbox, uid, &got));
	must(ps_bytes_eq(got, octets), "UID %u: %zu octets that differ from the %zu that were stored", uid, got.len,
	     octets.len);
}

/* ---- mailboxes by name --------------------------------------------------------------------- */

struct listing {
	struct kit *kit;
	struct names names;
	size_t cap;
};

static int take_name(void *arg, const struct ps_mailbox_info *info)
{
	struct listing *l = arg;

	l->names.infos = ps_pool_grow(l->kit->pool, l->names.infos, l->names.count, &l->cap, sizeof *l->names.infos);
	l->names.infos[l->names.count] = *info;
	l->names.infos[l->names.count++].name = ps_pool_strdup(l->kit->pool, info->name);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct ps_mailbox_info *)a)->name, ((const struct ps_mailbox_info *)b)->name);
}

struct names kit_list(struct kit *kit, struct ps_store *store)
{
	struct listing listing = {.kit = kit};
	struct ps_read *read;

	must_ok(kit->ops->read_begin(store, &read));
	must_ok(kit->ops->list(read, take_name, &listing));
	kit->ops->read_end(read);
	if (listing.names.count > 1)
		qsort(listing.names.infos, listing.names.count, sizeof *listing.names.infos, by_name);
	for (size_t i = 1; i < listing.names.count; i++)
		must(strcmp(listing.names.infos[i - 1].name, listing.names.infos[i].name) != 0, "%s is listed twice",
		     listing.names.infos[i].name);
	return listing.names;
}

const struct ps_mailbox_info *names_find(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->infos[i].name, name) == 0)
			return &names->infos[i];
	return NULL;
}

uint32_t kit_attributes(struct kit *kit, struct ps_store *store, const char *name)
{
	struct names names = kit_list(kit, store);
	const struct ps_mailbox_info *info = names_find(&names, name);

	return info ? info->attributes : 0;
}
