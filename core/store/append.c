/* SPDX-License-Identifier: MIT */
/*
 * Messages on their way in: line ends become CRLF, structure and header cache are computed, and the octets go to the
 * backend's staging, all in one pass.
 */
#include <stdlib.h>
#include <time.h>
#include "core/store/set.h"
#include "core/store/view.h"

/* Bare LFs are gathered here, so that the backend is not called for every line. */
enum {
	GATHER = 16384
};

/* A message that was begun; when it is ended it is one more operation of the batch. */
struct message {
	struct ps_staged *staged;
	struct ps_derive *derive;
	struct ps_unbinary *unbinary; /* NULL: there is no need */
	uint64_t octets;
	bool after_cr, unlimited;
};

struct ps_append {
	struct ps_user *user;
	struct ps_mailbox *mailbox;
	struct ps_pool *pool;
	struct message message;
	int failed; /* the first error: all or none */
	struct ps_op *ops;
	size_t count, cap;
	struct ps_view *view; /* with the message that is replaced; NULL: none is */
	struct ps_range replaced;
	struct ps_bytes token;
};

/* What was staged in a store that turns out to have moved is lost to the client, so it is asked beforehand. */
static int open_present(struct ps_user *user, const char *name, struct ps_mailbox **ret_mailbox)
{
	struct ps_mailbox *mailbox;
	int r = ps_mailbox_open(user, name, &mailbox);

	if (r < 0)
		return r;
	if (!ps_user_check_moved(mailbox->user)) {
		*ret_mailbox = mailbox;
		return 0;
	}
	ps_mailbox_close(mailbox);
	return ps_mailbox_open(user, name, ret_mailbox);
}

int ps_append_open(struct ps_user *user, const char *mailbox, struct ps_append **ret_append)
{
	struct ps_mailbox *into;
	struct ps_append *append;
	int r = open_present(user, mailbox, &into);

	if (r < 0)
		return r;
	append = ps_zalloc(sizeof *append);
	append->user = into->user; /* a mounted one, perhaps */
	append->mailbox = into;
	append->pool = ps_pool_create("append");
	*ret_append = append;
	return 0;
}

static void message_drop(struct ps_append *append)
{
	append->user->ops->stage_drop(append->message.staged);
	ps_derive_destroy(append->message.derive);
	ps_unbinary_destroy(append->message.unbinary);
	append->message = (struct message){0};
}

static int failed(struct ps_append *append, int error)
{
	if (!append->failed)
		append->failed = error;
	message_drop(append);
	return error;
}

static const char *const *copy_keywords(struct ps_pool *pool, const char *const *keywords)
{
	const char **copy;
	size_t n = 0;

	while (keywords && keywords[n])
		n++;
	copy = PS_NEWV(pool, const char *, n + 1);
	for (size_t i = 0; i < n; i++)
		copy[i] = ps_pool_strdup(pool, keywords[i]);
	return copy;
}

static int put(struct ps_append *append, struct ps_bytes octets)
{
	struct message *m = &append->message;

	if (octets.len == 0)
		return 0;
	m->octets += octets.len;
	if (!m->unlimited && append->user->message_limit && m->octets > append->user->message_limit)
		return ps_fail(PS_E_LIMIT, "a message of more than %llu octets",
			       (unsigned long long)append->user->message_limit);
	ps_derive_feed(m->derive, octets);
	return append->user->ops->stage_write(m->staged, octets);
}

/* The index of the next LF without CR, or the length. */
static size_t find_bare_lf(struct ps_bytes octets, bool after_cr)
{
	size_t at = 0;

	for (;;) {
		const uint8_t *lf = memchr(octets.ptr + at, '\n', octets.len - at);

		if (!lf)
			return octets.len;
		at = (size_t)(lf - octets.ptr);
		if (at == 0 ? !after_cr : lf[-1] != '\r')
			return at;
		if (++at == octets.len)
			return at;
	}
}

static int put_mended(struct ps_append *append, struct ps_bytes octets, bool after_cr)
{
	uint8_t gathered[GATHER];
	size_t n = 0;
	int r;

	for (size_t i = 0; i < octets.len; i++) {
		if (n + 2 > sizeof gathered) {
			if ((r = put(append, ps_bytes(gathered, n))) < 0)
				return r;
			n = 0;
		}
		if (octets.ptr[i] == '\n' && !after_cr)
			gathered[n++] = '\r';
		gathered[n++] = octets.ptr[i];
		after_cr = octets.ptr[i] == '\r';
	}
	return put(append, ps_bytes(gathered, n));
}

/* Octets of text: line ends become CRLF. */
static int put_text(void *arg, struct ps_bytes octets)
{
	struct ps_append *append = arg;
	struct message *m = &append->message;
	size_t whole;
	int r;

	if (octets.len == 0)
		return 0;
	whole = find_bare_lf(octets, m->after_cr);
	r = put(append, ps_bytes(octets.ptr, whole));
	if (r == 0 && whole < octets.len)
		r = put_mended(append, ps_bytes_skip(octets, whole), false);
	m->after_cr = octets.ptr[octets.len - 1] == '\r';
	return r;
}

static int check_limit(const struct ps_append *append, uint64_t size)
{
	if (append->user->message_limit && size > append->user->message_limit)
		return ps_fail(PS_E_LIMIT, "a message of %llu octets", (unsigned long long)size);
	return 0;
}

int ps_append_ask(struct ps_append *append, uint64_t size)
{
	struct ps_op op = {.kind = PS_OP_APPEND, .mbox = append->mailbox->mbox, .size = size};
	struct ps_batch batch = {.ops = &op, .count = 1};
	int r = check_limit(append, size);

	return r < 0 ? r : ps_commit_ask(append->user, &batch);
}

int ps_append_begin(struct ps_append *append, const struct ps_append_message *message)
{
	struct ps_op *op;
	int r;

	if (append->failed)
		return append->failed;
	if (!message->is_copy && (r = check_limit(append, message->size_hint)) < 0)
		return failed(append, r);
	append->ops = ps_pool_grow(append->pool, append->ops, append->count, &append->cap, sizeof *append->ops);
	op = &append->ops[append->count];
	*op = (struct ps_op){
		.kind = PS_OP_APPEND,
		.mbox = append->mailbox->mbox,
		.flags = message->flags & PS_FLAG_ALL,
		.keywords = copy_keywords(append->pool, message->keywords),
		.internal_date = message->internal_date == INT64_MIN ? time(NULL) : message->internal_date,
		.email_id = message->copy_of,
	};
	append->message = (struct message){
		.derive = ps_derive_create(),
		.unbinary = message->binary ? ps_unbinary_create(put_text, append) : NULL,
		.unlimited = message->is_copy,
	};
	r = append->user->ops->stage(append->user->store, message->size_hint, &append->message.staged);
	return r < 0 ? failed(append, r) : 0;
}

int ps_append_write(struct ps_append *append, struct ps_bytes octets)
{
	struct message *m = &append->message;
	int r;

	if (append->failed)
		return append->failed;
	if (!m->staged)
		return ps_fail(PS_E_INVALID, "append: no message was begun");
	r = m->unbinary ? ps_unbinary_feed(m->unbinary, octets) : put_text(append, octets);
	return r < 0 ? failed(append, r) : 0;
}

int ps_append_end(struct ps_append *append)
{
	struct message *m = &append->message;
	struct ps_op *op;
	struct ps_bytes cache;
	int r;

	if (append->failed)
		return append->failed;
	if (!m->staged)
		return ps_fail(PS_E_INVALID, "append: no message was begun");
	if ((m->unbinary && (r = ps_unbinary_finish(m->unbinary)) < 0) ||
	    (r = append->user->ops->stage_finish(m->staged)) < 0)
		return failed(append, r);
	op = &append->ops[append->count];
	ps_derive_finish(m->derive, &op->size, &cache);
	op->cache = ps_bytes(ps_pool_memdup(append->pool, cache.ptr, cache.len), cache.len);
	op->staged = m->staged;
	append->count++;
	m->staged = NULL;
	message_drop(append);
	return 0;
}

static void merge_results(const struct ps_op_result *results, size_t count, struct ps_pool *pool,
			  struct ps_op_result *ret_result)
{
	struct ps_ranges uids = {0};
	struct ps_op_result merged = {.uid_validity = results[0].uid_validity};

	for (size_t i = 0; i < count; i++) {
		for (size_t n = 0; n < results[i].new_count; n++)
			ps_ranges_add(&uids, results[i].new_uids[n]);
		if (results[i].modseq > merged.modseq)
			merged.modseq = results[i].modseq;
	}
	merged.new_uids = ps_pool_memdup(pool, uids.ptr, uids.count * sizeof *uids.ptr);
	merged.new_count = uids.count;
	ps_ranges_finish(&uids);
	*ret_result = merged;
}

void ps_append_forget(struct ps_append *append)
{
	message_drop(append);
	append->failed = 0;
}

void ps_append_once(struct ps_append *append, struct ps_bytes token)
{
	append->token = token;
}

void ps_append_replaces(struct ps_append *append, struct ps_view *view, uint32_t uid)
{
	append->view = view;
	append->replaced = (struct ps_range){uid, uid};
}

static int found(void *arg, const struct ps_row *row)
{
	*(bool *)arg = row != NULL;
	return 0;
}

/* Whether the message to be replaced is there yet. If it goes between this and the commit, that is as if it had gone just
 * after: the one is stored, the other is not. */
static int check_replaced(const struct ps_append *append)
{
	struct ps_user *user = append->view->mailbox->user;
	const struct ps_backend *ops = user->ops;
	bool there = false;
	struct ps_read *read;
	int r;

	if (append->view->read_only)
		return ps_fail(PS_E_ACCESS, "the mailbox is open read-only");
	if ((r = ops->read_begin(user->store, &read)) < 0)
		return r;
	r = ops->scan(read, append->view->mailbox->mbox, append->replaced, 0, found, &there);
	ops->read_end(read);
	return r == 0 && !there ? ps_fail(PS_E_GONE, "what is to be replaced is no more") : r;
}

static struct ps_op expunge_replaced(const struct ps_append *append)
{
	return (struct ps_op){
		.kind = PS_OP_EXPUNGE,
		.mbox = append->view->mailbox->mbox,
		.uids = &append->replaced,
		.uid_count = 1,
	};
}

/* The batch with one operation more. */
static void add_expunge(struct ps_append *append, struct ps_batch *batch)
{
	append->ops = ps_pool_grow(append->pool, append->ops, append->count, &append->cap, sizeof *append->ops);
	append->ops[append->count] = expunge_replaced(append);
	batch->ops = append->ops;
	batch->count++;
}

/* In another store than the new one, so that it is a batch of its own: a crash before it leaves both. */
static int expunge_elsewhere(const struct ps_append *append)
{
	struct ps_op op = expunge_replaced(append);
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = append->pool, .results = &result};

	return ps_commit(append->view->mailbox->user, &batch);
}

int ps_append_commit(struct ps_append *append, struct ps_pool *pool, struct ps_op_result *ret_result)
{
	struct ps_batch batch = {
		.ops = append->ops, .count = append->count, .pool = append->pool, .token = append->token};
	size_t messages = append->count;
	bool elsewhere;
	int r;

	if (append->failed)
		return append->failed;
	if (append->view && (r = ps_view_here(append->view)) < 0)
		return r;
	elsewhere = append->view && append->view->mailbox->user != append->user;
	if (messages == 0)
		return ps_fail(PS_E_INVALID, "append: there is no message");
	if (append->view) {
		if ((r = check_replaced(append)) < 0)
			return r;
		if (!elsewhere)
			add_expunge(append, &batch);
	}
	batch.results = PS_NEWV(append->pool, struct ps_op_result, batch.count);
	append->count = 0; /* the staged messages are the backend's now */
	if ((r = ps_commit(append->user, &batch)) < 0 || (elsewhere && (r = expunge_elsewhere(append)) < 0))
		return r;
	merge_results(batch.results, messages, pool, ret_result);
	ps_mailbox_refresh(append->mailbox, NULL);
	if (append->view && append->view->mailbox != append->mailbox)
		ps_mailbox_refresh(append->view->mailbox, append->view);
	return 0;
}

void ps_append_close(struct ps_append *append)
{
	if (!append)
		return;
	message_drop(append);
	for (size_t i = 0; i < append->count; i++)
		append->user->ops->stage_drop(append->ops[i].staged);
	ps_mailbox_close(append->mailbox);
	ps_pool_destroy(append->pool);
	free(append);
}
