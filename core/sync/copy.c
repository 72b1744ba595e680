/* SPDX-License-Identifier: MIT */
/*
 * Copying messages from one mailbox to another: some at a time, staged one after the other and committed together, so
 * that they share what a commit costs. No more of a body is in memory than a piece; no read is open while one is staged.
 */
#include <time.h>
#include "core/sync/sync_private.h"

enum {
	GROUP_MESSAGES = 250,
	GROUP_OCTETS = 32 << 20
};

/* ---- one body -------------------------------------------------------------------------------- */

struct pipe {
	const struct ps_sync_end *dst;
	struct ps_staged *staged;
	struct ps_derive *derive; /* NULL: size and cache are known */
	uint64_t written;
};

static int put(void *arg, struct ps_bytes octets)
{
	struct pipe *p = arg;

	if (p->derive)
		ps_derive_feed(p->derive, octets);
	p->written += octets.len;
	return sync_on(p->dst)->stage_write(p->staged, octets);
}

static int pump(struct pipe *p, const struct ps_sync_end *src, const struct ps_body *body)
{
	int r = sync_body_each(src, body, put, p);

	return r < 0 ? r : sync_on(p->dst)->stage_finish(p->staged);
}

/* ---- a group --------------------------------------------------------------------------------- */

struct group {
	struct sync *s;
	struct sync_copy *copy;
	struct ps_pool *pool;
	size_t first, count;      /* of copy->rows: those looked at */
	struct ps_op *ops;        /* those to be committed */
	const struct ps_row **of; /* the row of each */
	struct ps_derive **derived;
	struct ps_bytes *caches; /* of the rows looked at; empty: not known */
	size_t op_count;
	uint64_t octets;
};

static int read_caches(struct group *g)
{
	const struct ps_sync_end *src = g->copy->src;
	struct ps_read *read;
	int r = sync_on(src)->read_begin(src->store, &read);

	if (r < 0)
		return r;
	for (size_t i = 0; i < g->count; i++) {
		struct ps_bytes cache;

		if (sync_on(src)->cache(read, g->copy->src_mbox, g->copy->rows[g->first + i].uid, &cache) == 0)
			g->caches[i] = ps_bytes(ps_pool_memdup(g->pool, cache.ptr, cache.len), cache.len);
	}
	sync_on(src)->read_end(read);
	return 0;
}

/* What a cache says rests on the size: one that does not belong to these octets is not passed on. */
static void finish_derived(struct ps_op *op, struct pipe *p, const struct ps_row *row, struct ps_bytes cache)
{
	if (p->derive) {
		ps_derive_finish(p->derive, &op->size, &op->cache);
		return;
	}
	op->size = p->written;
	if (p->written == row->size)
		op->cache = cache;
}

static int stage_body(struct group *g, const struct ps_row *row, struct ps_bytes cache, struct ps_op *op)
{
	struct sync_copy *copy = g->copy;
	struct pipe p = {.dst = copy->dst};
	struct ps_body body;
	int r = sync_on(copy->src)->body(copy->src_mbox, row->uid, &body);

	if (r < 0)
		return r == PS_E_GONE ? r : PS_E_CORRUPT;
	p.derive = cache.len == 0 ? ps_derive_create() : NULL;
	r = sync_on(copy->dst)->stage(copy->dst->store, row->size, &p.staged);
	if (r == 0 && (r = pump(&p, copy->src, &body)) < 0)
		sync_on(copy->dst)->stage_drop(p.staged);
	if (r == 0) {
		op->staged = p.staged;
		finish_derived(op, &p, row, cache);
		g->derived[g->op_count] = p.derive;
		g->octets += p.written;
	} else {
		ps_derive_destroy(p.derive);
	}
	sync_on(copy->src)->body_close(&body);
	return r;
}

static uint32_t uid_for(const struct sync_copy *copy, const struct ps_row *row, uint32_t next)
{
	return copy->keep_uids || (row->uid >= next && !copy->other_uids) ? row->uid : 0;
}

static int stage_one(struct group *g, const struct ps_row *row, struct ps_bytes cache, uint32_t *next)
{
	struct sync_copy *copy = g->copy;
	struct ps_op *op = &g->ops[g->op_count];
	int r;

	*op = (struct ps_op){
		.kind = PS_OP_APPEND,
		.mbox = copy->dst_mbox,
		.flags = row->flags,
		.keywords = sync_keyword_names(copy->view, row->keywords, g->pool),
		.internal_date = row->internal_date,
		.save_date = row->save_date,
		.email_id = row->email_id,
		.uid = uid_for(copy, row, *next),
		.modseq = copy->any_modseqs ? 0 : row->modseq,
	};
	if ((r = stage_body(g, row, cache, op)) < 0)
		return r;
	g->of[g->op_count++] = row;
	*next = op->uid ? op->uid + 1 : *next + 1;
	return 0;
}

/* 1: it cannot be read and is left out. */
static int unreadable(struct group *g, const struct ps_row *row)
{
	struct sync *s = g->s;

	s->totals->failed++;
	sync_note(s, "%s: mailbox %s: the message with UID %u cannot be read: %s", g->copy->src->name, g->copy->name,
		  row->uid, ps_last_error());
	return s->options->pass_broken ? 1
				       : ps_fail(PS_E_CORRUPT, "%s: mailbox %s: the message with UID %u cannot be read",
						 g->copy->src->name, g->copy->name, row->uid);
}

/* Not more in a group than may go in a second: else they would come in bursts. */
static uint64_t at_once(uint64_t most, uint64_t per_second)
{
	return per_second && per_second < most ? per_second : most;
}

/* Ends early, with the failure, at a message that cannot be read: those before it are still to be committed. */
static int stage_group(struct group *g)
{
	uint64_t most = at_once(GROUP_OCTETS, g->s->options->octets_per_second);
	uint32_t next = g->copy->dst_next;

	for (size_t i = 0; i < g->count && g->octets < most; i++) {
		const struct ps_row *row = &g->copy->rows[g->first + i];
		int r = stage_one(g, row, g->caches[i], &next);

		if (r == PS_E_CORRUPT)
			r = unreadable(g, row);
		if (r < 0 && r != PS_E_GONE)
			return r;
		if (i + 1 < g->count && g->octets >= most)
			g->count = i + 1;
	}
	return 0;
}

/* Modseqs that a reader could miss, because the mailbox has given higher ones, are left to the target. */
static uint64_t settle_modseqs(struct group *g, bool last)
{
	struct sync_copy *copy = g->copy;
	uint64_t lowest = UINT64_MAX, highest = 0;

	for (size_t i = 0; i < g->op_count; i++) {
		if (g->of[i]->modseq < lowest)
			lowest = g->of[i]->modseq;
		if (g->of[i]->modseq > highest)
			highest = g->of[i]->modseq;
	}
	if (copy->any_modseqs)
		return 0;
	if (!copy->keep_modseqs && lowest <= copy->dst_modseq)
		for (size_t i = 0; i < g->op_count; i++)
			g->ops[i].modseq = 0;
	return last && copy->modseq > highest ? copy->modseq : highest;
}

static void count_copied(struct group *g, const struct ps_batch *batch)
{
	struct sync_copy *copy = g->copy;
	struct sync *s = g->s;

	for (size_t i = 0; i < g->op_count; i++) {
		uint32_t uid = batch->results[i].new_count ? batch->results[i].new_uids[0].first : g->ops[i].uid;

		copy->dst_next = uid + 1;
		if (batch->results[i].modseq)
			copy->dst_modseq = batch->results[i].modseq;
		if (copy->copied)
			copy->copied(copy->arg, g->of[i], uid);
	}
	s->totals->copied += g->op_count;
	s->totals->octets += g->octets;
}

static int commit_group(struct group *g, bool last)
{
	struct ps_batch batch = {.ops = g->ops, .count = g->op_count, .pool = g->pool};
	int r;

	if (g->op_count == 0)
		return 0;
	batch.modseq = settle_modseqs(g, last);
	r = sync_commit_one(g->copy->dst, &batch);
	for (size_t i = 0; i < g->op_count; i++)
		g->ops[i].staged = NULL; /* commit() has it */
	if (r == PS_E_INVALID)
		return ps_fail(PS_E_CONFLICT, "%s: mailbox %s was changed by somebody else meanwhile: %s",
			       g->copy->dst->name, g->copy->name, ps_last_error());
	if (r == 0)
		count_copied(g, &batch);
	return r;
}

static void group_finish(struct group *g)
{
	for (size_t i = 0; i < g->op_count; i++) {
		sync_on(g->copy->dst)->stage_drop(g->ops[i].staged);
		ps_derive_destroy(g->derived[i]);
	}
	ps_pool_destroy(g->pool);
}

/* A group from `first` on; `ret_count`: how many rows it was. */
static int copy_group(struct sync *s, struct sync_copy *copy, size_t first, size_t *ret_count)
{
	struct group g = {.s = s, .copy = copy, .first = first, .pool = ps_pool_create("sync group")};
	int r, staged;

	g.count = (size_t)at_once(GROUP_MESSAGES, s->options->messages_per_second);
	if (g.count > copy->count - first)
		g.count = copy->count - first;
	g.ops = PS_NEWV(g.pool, struct ps_op, g.count);
	g.of = PS_NEWV(g.pool, const struct ps_row *, g.count);
	g.derived = PS_NEWV(g.pool, struct ps_derive *, g.count);
	g.caches = PS_NEWV(g.pool, struct ps_bytes, g.count);
	r = read_caches(&g);
	if (r == 0) {
		staged = stage_group(&g);
		if (staged == 0 || staged == PS_E_CORRUPT)
			r = commit_group(&g, first + g.count == copy->count);
		if (r == 0)
			r = staged;
	}
	*ret_count = g.count;
	group_finish(&g);
	return r;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Waits for as long as what was copied since the start should have taken. */
static void keep_pace(struct sync *s)
{
	const struct ps_sync_options *o = s->options;
	double due = 0, by_messages = 0;
	struct timespec until;

	if (o->octets_per_second)
		due = (double)s->totals->octets / (double)o->octets_per_second;
	if (o->messages_per_second)
		by_messages = (double)s->totals->copied / (double)o->messages_per_second;
	if (by_messages > due)
		due = by_messages;
	if (due <= 0)
		return;
	due += (double)s->started_ns / 1e9;
	until.tv_sec = (time_t)due;
	until.tv_nsec = (long)((due - (double)until.tv_sec) * 1e9);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void tell_progress(struct sync *s)
{
	struct ps_sync_progress progress = {.done = s->totals->copied, .total = s->total, .octets = s->totals->octets};

	if (s->options->progress)
		s->options->progress(s->options->arg, &progress);
}

int sync_copy_rows(struct sync *s, struct sync_copy *copy)
{
	size_t at = 0;

	while (at < copy->count && !sync_stopped(s)) {
		size_t n;
		int r = copy_group(s, copy, at, &n);

		if (r < 0)
			return r;
		at += n;
		tell_progress(s);
		keep_pace(s);
		if ((r = sync_checkpoint(s)) < 0)
			return r;
	}
	return 0;
}
