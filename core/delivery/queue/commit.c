/* SPDX-License-Identifier: MIT */
/*
 * Operations become durable: each is prepared on a thread of its own, then all that are ready go into one transaction. What comes while
 * that is written shares the next one.
 */
#include <stdlib.h>
#include <string.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"
#include "postern/io.h"
#include "postern/log.h"

enum {
	BATCH_MAX = 256,
	AGAIN_MS = 5000,
	TIMER_MAX = 3600 * 1000,
	/* What adding takes of the file at most, as a rule. */
	ROOM_OF_MESSAGE = 32 * 1024,
	ROOM_OF_RECIPIENT = 512,
	GROW_TRIES = 8,
};

struct op *op_create(struct ps_queue *queue)
{
	struct ps_pool *pool = ps_pool_create("queue operation");
	struct op *op = PS_NEW(pool, struct op);

	op->pool = pool;
	op->queue = queue;
	return op;
}

void op_free(struct op *op)
{
	json_decref(op->page.rows);
	ps_pool_destroy(op->pool);
}

void queue_run(struct ps_queue *queue, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	queue->jobs++;
	ps_workers_run(queue->workers, work, done, arg);
}

/* ---- on another thread ------------------------------------------------------------------------- */

static void fail(struct op *op, int error)
{
	op->error = error;
	op->sentence = ps_pool_strdup(op->pool, ps_last_error());
}

static void fail_all(struct ops *ops, bool those_with_needs, int error)
{
	struct op *op;

	TAILQ_FOREACH(op, ops, link)
	if (op->error == 0 && (op->needs_room || !those_with_needs))
		fail(op, error);
}

static bool needs_room(const struct ops *ops, uint64_t *ret_octets)
{
	const struct op *op;

	*ret_octets = 0;
	TAILQ_FOREACH(op, ops, link)
	for (size_t i = 0; i < op->addition_count && op->error == 0; i++)
		*ret_octets += ROOM_OF_MESSAGE + op->additions[i].message.count * ROOM_OF_RECIPIENT;
	TAILQ_FOREACH(op, ops, link)
	if (op->needs_room && op->error == 0)
		return true;
	return false;
}

/* A failure of an operation that says nothing of the others. */
static bool is_its_own(int error)
{
	return error == PS_E_EXISTS || error == PS_E_NOTFOUND || error == PS_E_INVALID || error == PS_E_LIMIT;
}

static int apply_all(struct ps_queue *queue, struct change *change)
{
	struct op *op;
	int r = tick(change, &queue->tick_more);

	TAILQ_FOREACH(op, &queue->batch, link)
	{
		if (r < 0)
			break;
		if (op->error == 0 && (r = op->apply(op, change)) < 0 && is_its_own(r)) {
			fail(op, r);
			r = 0;
		}
	}
	return r < 0 ? r : ps_index_number_put(change->txn, "clock", change->now);
}

static void note_next_time(struct ps_queue *queue, struct change *change)
{
	struct time_key key = {0};

	queue->next_time = row_seek(change, DB_TIMES, &key, sizeof key, NULL) == 0 ? be64toh(key.when) : 0;
}

/* Bodies that have no envelope any more. To free their blocks takes longer than all else, and nobody waits for it. */
struct removal {
	struct ps_queue *queue;
	size_t count;
	uint64_t numbers[];
};

static void note_removal(struct ps_queue *queue, const struct change *change)
{
	struct removal *removal;

	if (change->gone_count == 0)
		return;
	removal = ps_malloc(sizeof *removal + change->gone_count * sizeof *removal->numbers);
	*removal = (struct removal){queue, change->gone_count};
	memcpy(removal->numbers, change->gone, change->gone_count * sizeof *removal->numbers);
	queue->removal = removal;
}

static void remove_work(void *arg)
{
	const struct removal *removal = arg;

	for (size_t i = 0; i < removal->count; i++)
		body_remove(removal->queue, removal->numbers[i]);
}

static void removed(void *arg)
{
	struct removal *removal = arg;
	struct ps_queue *queue = removal->queue;

	free(removal);
	queue_ran(queue);
}

static int commit_once(struct ps_queue *queue)
{
	struct change change;
	int r = change_begin(queue, true, &change);

	if (r < 0)
		return r;
	r = apply_all(queue, &change);
	if (r == 0) {
		note_next_time(queue, &change);
		r = ps_index_commit(change.txn);
		change.txn = NULL;
	}
	if (r == 0)
		note_removal(queue, &change);
	change_end(&change);
	return r;
}

static int commit_growing(struct ps_queue *queue)
{
	int r = PS_E_AGAIN;

	for (int i = 0; i < GROW_TRIES && r == PS_E_AGAIN; i++) {
		r = commit_once(queue);
		if (r == PS_E_AGAIN && ps_index_grow(queue->index) < 0)
			return PS_E_BUSY;
	}
	return r;
}

static int sync_names(struct ps_queue *queue)
{
	const struct op *op;

	TAILQ_FOREACH(op, &queue->batch, link)
	if (op->addition_count && op->error == 0)
		return ps_io_sync_dir(queue->bodies_fd, "bodies of the queue");
	return 0;
}

static void conclude(struct ps_queue *queue)
{
	struct op *op;

	TAILQ_FOREACH(op, &queue->batch, link)
	{
		if (op->error < 0 && op->undo)
			op->undo(op);
		else if (op->error == 0 && op->committed)
			op->committed(op);
	}
}

static void commit_work(void *arg)
{
	struct ps_queue *queue = arg;
	uint64_t octets;
	int r;

	queue->tick_more = false;
	if (needs_room(&queue->batch, &octets) && (r = queue_reserve(queue, octets)) < 0)
		fail_all(&queue->batch, true, r);
	r = sync_names(queue);
	if (r == 0)
		r = commit_growing(queue);
	/* What takes no room may still be done. */
	if (ps_no_room(r) && needs_room(&queue->batch, &octets)) {
		fail_all(&queue->batch, true, r);
		r = commit_growing(queue);
	}
	if (r < 0) {
		ps_log(PS_LOG_ERROR, "queue_commit_failed", "msg", ps_last_error(), NULL);
		fail_all(&queue->batch, false, r);
	}
	conclude(queue);
	atomic_fetch_add(&queue->commits, 1);
}

static void prepare_work(void *arg)
{
	struct op *op = arg;
	int r = op->prepare(op);

	if (r < 0) {
		fail(op, r);
		if (op->undo)
			op->undo(op);
	}
}

/* ---- on the loop ------------------------------------------------------------------------------- */

static void call_done(struct op *op)
{
	if (op->error < 0)
		(void)ps_fail((enum ps_err)op->error, "%s", op->sentence ? op->sentence : "the queue is closed");
	op->done(op);
	op_free(op);
}

static void over(struct op *op)
{
	struct ps_queue *queue = op->queue;

	if (op->error == 0 || !op->must || atomic_load(&queue->closing)) {
		call_done(op);
		return;
	}
	op->error = 0;
	TAILQ_INSERT_TAIL(&queue->stuck, op, link);
	queue_try_later(queue);
}

static void set_timer(struct ps_queue *queue)
{
	uint64_t now = queue_now(queue), wait;

	if (queue->next_time == 0)
		return;
	wait = queue->next_time > now ? queue->next_time - now : 1;
	ps_timer_set(queue->timer, wait < TIMER_MAX ? wait : TIMER_MAX, 0);
}

static void commit_done(void *arg)
{
	struct ps_queue *queue = arg;
	struct op *op;

	/* What these begin is of the next batch. */
	while ((op = TAILQ_FIRST(&queue->batch))) {
		TAILQ_REMOVE(&queue->batch, op, link);
		over(op);
	}
	queue->committing = false;
	if (queue->removal)
		queue_run(queue, remove_work, removed, queue->removal);
	queue->removal = NULL;
	if (!TAILQ_EMPTY(&queue->pending) || (queue->tick_more && !atomic_load(&queue->closing)))
		queue_commit(queue);
	else
		set_timer(queue);
	queue_take(queue);
	queue_ran(queue);
}

void queue_commit(struct ps_queue *queue)
{
	struct op *op;

	if (queue->committing)
		return;
	for (unsigned i = 0; i < BATCH_MAX && (op = TAILQ_FIRST(&queue->pending)); i++) {
		TAILQ_REMOVE(&queue->pending, op, link);
		TAILQ_INSERT_TAIL(&queue->batch, op, link);
	}
	queue->committing = true;
	queue_run(queue, commit_work, commit_done, queue);
}

static void prepared(void *arg)
{
	struct op *op = arg;
	struct ps_queue *queue = op->queue;

	if (op->error < 0) {
		over(op);
	} else {
		TAILQ_INSERT_TAIL(&queue->pending, op, link);
		queue_commit(queue);
	}
	queue_ran(queue);
}

static void refuse(void *arg)
{
	struct op *op = arg;
	struct ps_queue *queue = op->queue;

	op->error = PS_E_CLOSED;
	call_done(op);
	queue_ran(queue);
}

static void nothing(void *arg)
{
	(void)arg;
}

void op_run(struct op *op)
{
	struct ps_queue *queue = op->queue;

	if (atomic_load(&queue->closing)) {
		queue_run(queue, nothing, refuse, op);
	} else if (op->prepare) {
		queue_run(queue, prepare_work, prepared, op);
	} else {
		TAILQ_INSERT_TAIL(&queue->pending, op, link);
		queue_commit(queue);
	}
}

/* ---- again ------------------------------------------------------------------------------------- */

void queue_try_at(struct ps_queue *queue, uint64_t wait_ms)
{
	if (!atomic_load(&queue->closing))
		ps_timer_set(queue->again_timer, wait_ms < AGAIN_MS ? wait_ms : AGAIN_MS, 0);
}

void queue_try_later(struct ps_queue *queue)
{
	queue_try_at(queue, AGAIN_MS);
}

static void on_again(void *arg)
{
	struct ps_queue *queue = arg;
	struct ops stuck = TAILQ_HEAD_INITIALIZER(stuck);
	struct op *op;

	TAILQ_CONCAT(&stuck, &queue->stuck, link);
	while ((op = TAILQ_FIRST(&stuck))) {
		TAILQ_REMOVE(&stuck, op, link);
		op_run(op);
	}
	queue_take(queue);
}

static void on_time(void *arg)
{
	queue_commit(arg);
}

int commit_init(struct ps_queue *queue)
{
	int r;

	TAILQ_INIT(&queue->pending);
	TAILQ_INIT(&queue->stuck);
	TAILQ_INIT(&queue->batch);
	if ((r = ps_timer_open(queue->loop, on_time, queue, &queue->timer)) < 0)
		return r;
	return ps_timer_open(queue->loop, on_again, queue, &queue->again_timer);
}

void commit_finish(struct ps_queue *queue)
{
	struct op *op;

	ps_timer_close(queue->timer);
	ps_timer_close(queue->again_timer);
	queue->timer = queue->again_timer = NULL;
	while ((op = TAILQ_FIRST(&queue->stuck))) {
		TAILQ_REMOVE(&queue->stuck, op, link);
		op->error = PS_E_CLOSED;
		call_done(op);
	}
}
