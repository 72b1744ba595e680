/* SPDX-License-Identifier: MIT */
/* Opening, closing, and handing out attempts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"
#include "postern/io.h"
#include "postern/log.h"

enum {
	FORMAT = 1,
	THREADS = 4,
};

/* Address space, not memory and not disk; it grows by itself. */
#define FIRST_MAP ((size_t)1 << 30)

const struct ps_queue_settings ps_queue_defaults = {
	.attempts = 100,
	.concurrency = 20,
	.concurrency_first = 2,
	.retry_first = 5 * 60,
	.retry_most = 4 * 3600,
	.delay_notice = 4 * 3600,
	.expiry = 5 * 24 * 3600,
	.dead_after = 3,
	.probe_first = 5 * 60,
	.probe_most = 3600,
	.threads = THREADS,
};

static const char *const databases[] = {
	[DB_MESSAGES] = "messages", [DB_IDS] = "ids",         [DB_PARTS] = "parts",
	[DB_READY] = "ready",       [DB_HEADS] = "heads",     [DB_TIMES] = "times",
	[DB_DESTS] = "dests",       [DB_DAMAGED] = "damaged", [DB_COUNT] = NULL,
};

/* ---- time and names ---------------------------------------------------------------------------- */

static uint64_t read_clock(clockid_t clock)
{
	struct timespec at;

	clock_gettime(clock, &at);
	return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

static uint64_t monotonic(const struct ps_queue *queue)
{
	return settings_of(queue)->monotonic ? settings_of(queue)->monotonic() : read_clock(CLOCK_MONOTONIC);
}

uint64_t queue_now(const struct ps_queue *queue)
{
	return queue->base + (monotonic(queue) - queue->monotonic_base);
}

uint64_t queue_hash(const struct ps_queue *queue, struct ps_bytes text)
{
	uint64_t hash = ps_hash(&queue->hash_key, text).h[0];

	return hash != SETTLE_DEST ? hash : 1;
}

struct ps_bytes queue_kind(const char *destination)
{
	return ps_bytes(destination, strcspn(destination, ":"));
}

/* ---- transactions ------------------------------------------------------------------------------ */

int change_begin(struct ps_queue *queue, bool write, struct change *ret_change)
{
	struct change change = {.queue = queue, .now = queue_now(queue)};
	int r = write ? ps_index_write(queue->index, &change.txn) : ps_index_read(queue->index, &change.txn);

	if (r < 0)
		return r;
	change.lmdb = ps_index_lmdb(change.txn);
	change.pool = ps_pool_create("queue transaction");
	*ret_change = change;
	return 0;
}

void change_end(struct change *change)
{
	ps_index_end(change->txn);
	ps_pool_destroy(change->pool);
	change->txn = NULL;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static void use_settings(struct ps_queue *queue, const struct ps_queue_settings *from)
{
	struct ps_pool *pool = queue->settings_pool;
	struct ps_queue_settings *to = ps_pool_memdup(pool, from, sizeof *from);
	struct ps_queue_rule *rules = PS_NEWV(pool, struct ps_queue_rule, from->rule_count);

	for (size_t i = 0; i < from->rule_count; i++) {
		rules[i] = from->rules[i];
		rules[i].destination = ps_pool_strdup(pool, from->rules[i].destination);
	}
	to->rules = rules;
	to->dead_after += to->dead_after == 0;
	to->concurrency += to->concurrency == 0;
	to->concurrency_first += to->concurrency_first == 0;
	queue->settings = to;
}

/* Two processes with one queue would send everything twice. */
static int lock_dir(struct ps_queue *queue)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	queue->lock_fd = ps_io.open(queue->dir_fd, "lock", O_RDWR | O_CREAT, 0600);
	if (queue->lock_fd < 0)
		return ps_fail_errno("open %s/lock", queue->dir);
	if (fcntl(queue->lock_fd, F_SETLK, &lock) < 0)
		return errno == EACCES || errno == EAGAIN ? ps_fail(PS_E_BUSY, "another process uses %s", queue->dir)
							  : ps_fail_errno("lock %s", queue->dir);
	return 0;
}

static int open_dir(struct ps_queue *queue, const char *dir)
{
	queue->dir = ps_strdup(dir);
	if (ps_io.mkdir(AT_FDCWD, dir, 0700) < 0 && errno != EEXIST)
		return ps_fail_errno("create %s", dir);
	queue->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (queue->dir_fd < 0)
		return ps_fail_errno("open %s", dir);
	return lock_dir(queue);
}

static int load_hash_key(struct ps_queue *queue, struct change *change)
{
	struct ps_bytes key;
	int r = ps_index_meta(change->txn, "hash", &key);

	if (r == 0 && key.len == sizeof queue->hash_key) {
		memcpy(&queue->hash_key, key.ptr, sizeof queue->hash_key);
		return 0;
	}
	if (r != PS_E_NOTFOUND)
		return r < 0 ? r : ps_fail(PS_E_CORRUPT, "%s: the key is damaged", queue->dir);
	ps_hash_key_init(&queue->hash_key);
	return ps_index_meta_put(change->txn, "hash", ps_bytes(&queue->hash_key, sizeof queue->hash_key));
}

static int check_format(struct ps_queue *queue, struct change *change)
{
	uint64_t format;
	int r = ps_index_number(change->txn, "format", &format);

	if (r < 0 || format == FORMAT)
		return r;
	if (format || row_count(change, DB_MESSAGES))
		return ps_fail(PS_E_UNSUPPORTED, "%s has format %llu, not %d", queue->dir, (unsigned long long)format,
			       FORMAT);
	return ps_index_number_put(change->txn, "format", FORMAT);
}

/* The queue's time goes on where it was at least. */
static int set_clock(struct ps_queue *queue, struct change *change)
{
	uint64_t wall = settings_of(queue)->wall ? settings_of(queue)->wall() : read_clock(CLOCK_REALTIME);
	uint64_t seen;
	int r = ps_index_number(change->txn, "clock", &seen);

	if (r < 0)
		return r;
	queue->base = seen > wall ? seen : wall;
	queue->monotonic_base = monotonic(queue);
	return 0;
}

static int set_order(struct ps_queue *queue, struct change *change)
{
	struct head_key head = {0};
	int r = row_seek(change, DB_HEADS, &head, sizeof head, NULL);

	if (r == 0)
		queue->schedule.order = be64toh(head.order) - 1;
	return r == PS_E_NOTFOUND ? 0 : r;
}

static int set_start(struct ps_queue *queue, struct change *change)
{
	uint64_t last;
	int r = ps_index_number(change->txn, "start", &last);

	if (r < 0)
		return r;
	queue->start = (last + 1) << START_SHIFT;
	atomic_store(&queue->last_number, queue->start);
	return ps_index_number_put(change->txn, "start", last + 1);
}

static int begin(struct ps_queue *queue)
{
	struct change change;
	int r = change_begin(queue, true, &change);

	if (r < 0)
		return r;
	if ((r = check_format(queue, &change)) == 0 && (r = set_clock(queue, &change)) == 0 &&
	    (r = set_order(queue, &change)) == 0 && (r = load_hash_key(queue, &change)) == 0 &&
	    (r = set_start(queue, &change)) == 0) {
		r = ps_index_commit(change.txn);
		change.txn = NULL;
	}
	change_end(&change);
	return r;
}

static int open_index(struct ps_queue *queue)
{
	const struct ps_index_how how = {.databases = databases, .map = FIRST_MAP};
	PS_CLEANUP(ps_freep) char *file = NULL;
	int r;

	if (asprintf(&file, "%s/queue.mdb", queue->dir) < 0)
		return ps_fail(PS_E_LIMIT, "no memory");
	if ((r = ps_index_open_durable(file, &how, &queue->index)) < 0)
		return r;
	(void)queue_reserve(queue, 0); /* where there is no room, what was reserved before is still there */
	if ((r = begin(queue)) < 0)
		return r;
	return ps_io_sync_dir(queue->dir_fd, queue->dir);
}

static void free_queue(struct ps_queue *queue)
{
	ps_workers_destroy(queue->workers);
	ps_timer_close(queue->timer);
	ps_timer_close(queue->again_timer);
	ps_index_close(queue->index);
	ps_closep(&queue->bodies_fd);
	ps_closep(&queue->lock_fd);
	ps_closep(&queue->dir_fd);
	schedule_finish(&queue->schedule);
	ps_pool_destroy(queue->settings_pool);
	free(queue->dir);
	free(queue);
}

int ps_queue_open(struct ps_loop *loop, const char *dir, const struct ps_queue_settings *settings,
		  const struct ps_queue_hooks *hooks, struct ps_queue **ret_queue)
{
	struct ps_queue *queue = ps_zalloc(sizeof *queue);
	int r;

	queue->loop = loop;
	queue->hooks = *hooks;
	queue->dir_fd = queue->bodies_fd = queue->lock_fd = -1;
	queue->settings_pool = ps_pool_create("queue settings");
	use_settings(queue, settings);
	schedule_init(&queue->schedule);
	if ((r = commit_init(queue)) < 0 || (r = open_dir(queue, dir)) < 0 || (r = bodies_open(queue)) < 0 ||
	    (r = open_index(queue)) < 0 ||
	    (r = ps_workers_create(loop, settings->threads ? settings->threads : THREADS, &queue->workers)) < 0) {
		free_queue(queue);
		return r;
	}
	*ret_queue = queue;
	return 0;
}

/* ---- running ----------------------------------------------------------------------------------- */

static void sweep_work(void *arg)
{
	bodies_sweep(arg);
}

static void sweep_done(void *arg)
{
	queue_ran(arg);
}

void ps_queue_start(struct ps_queue *queue)
{
	queue->started = true;
	queue_run(queue, sweep_work, sweep_done, queue);
	queue_commit(queue); /* what was due meanwhile; it looks for attempts, too */
}

void ps_queue_stop(struct ps_queue *queue)
{
	queue->started = false;
}

void ps_queue_reconfigure(struct ps_queue *queue, const struct ps_queue_settings *settings)
{
	use_settings(queue, settings);
	pthread_mutex_lock(&queue->schedule.lock);
	schedule_reset_rules(queue);
	pthread_mutex_unlock(&queue->schedule.lock);
	queue_take(queue);
}

struct look {
	struct ps_queue *queue;
	unsigned most;
	struct taken taken;
	int error;
};

static void take_work(void *arg)
{
	struct look *look = arg;

	look->error = take(look->queue, look->most, &look->taken);
	if (look->error < 0)
		ps_log(PS_LOG_ERROR, "queue_look_failed", "msg", ps_last_error(), NULL);
}

static int apply_mend(struct op *op, struct change *change)
{
	return mend(change, op->arg);
}

static void mended(struct op *op)
{
	(void)op;
}

static void mend_later(struct ps_queue *queue, const struct bad_rows *bad)
{
	struct op *op = op_create(queue);

	op->apply = apply_mend;
	op->done = mended;
	op->arg = ps_pool_memdup(op->pool, bad, sizeof *bad);
	op_run(op);
}

static void hand_out(struct ps_queue *queue, struct ps_queue_attempt *attempt)
{
	struct ps_queue_attempt *next;

	for (; attempt; attempt = next) {
		next = attempt->next;
		if (!queue->started)
			ps_queue_drop(queue, attempt);
		else
			queue->hooks.attempt(queue->hooks.arg, attempt);
	}
}

static void take_done(void *arg)
{
	struct look *look = arg;
	struct ps_queue *queue = look->queue;
	bool again = queue->take_again || (look->taken.count == look->most && look->error == 0);
	uint64_t now = queue_now(queue);

	queue->taking = queue->take_again = false;
	if (look->taken.bad.count)
		mend_later(queue, &look->taken.bad);
	hand_out(queue, look->taken.first);
	if (look->error < 0)
		queue_try_later(queue);
	else if (again)
		queue_take(queue);
	else if (look->taken.again && queue->started)
		queue_try_at(queue, look->taken.again > now ? look->taken.again - now : 1);
	free(look);
	queue_ran(queue);
}

void queue_take(struct ps_queue *queue)
{
	unsigned most = settings_of(queue)->attempts, active;
	struct look *look;

	if (!queue->started)
		return;
	if (queue->taking) {
		queue->take_again = true;
		return;
	}
	pthread_mutex_lock(&queue->schedule.lock);
	active = queue->schedule.active;
	pthread_mutex_unlock(&queue->schedule.lock);
	if (active >= most)
		return;
	look = ps_zalloc(sizeof *look);
	look->queue = queue;
	look->most = most - active;
	queue->taking = true;
	queue_run(queue, take_work, take_done, look);
}

/* ---- closing ----------------------------------------------------------------------------------- */

static void close_now(void *arg)
{
	struct ps_queue *queue = arg;
	void (*closed)(void *arg) = queue->closed;
	void *closed_arg = queue->closed_arg;

	commit_finish(queue);
	free_queue(queue);
	closed(closed_arg);
}

void queue_ran(struct ps_queue *queue)
{
	if (--queue->jobs == 0 && atomic_load(&queue->closing))
		ps_loop_post(queue->loop, close_now, queue);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void ran(void *arg)
{
	queue_ran(arg);
}

void ps_queue_close(struct ps_queue *queue, void (*done)(void *arg), void *arg)
{
	if (!queue)
		return;
	queue->closed = done;
	queue->closed_arg = arg;
	ps_queue_stop(queue);
	atomic_store(&queue->closing, true);
	queue_run(queue, nothing, ran, queue); /* the last of them closes, and there is one */
}
