/* SPDX-License-Identifier: MIT */
/*
 * Looks for parts to attempt. HEADS has one row for each destination that has any and is not blocked, by the place of its first. The walk
 * goes along it, and takes one part of each destination whose window has room, and again until nothing is left to take. It passes over
 * what is under way, and over destinations whose windows are full; there are no more of these than attempts. So what it reads
 * depends on the number of attempts, not on how much mail waits.
 */
#include <unistd.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"
#include "postern/log.h"

struct walk {
	struct ps_queue *queue;
	struct change change;
	struct taken *taken;
	struct ps_queue_attempt **last;
	unsigned most;
	uint64_t visited;
};

void attempt_free(struct ps_queue_attempt *attempt)
{
	ps_closep(&attempt->message.file);
	ps_pool_destroy(attempt->pool);
}

static void fill(struct ps_queue_attempt *attempt, const struct part *part, const struct message *message, uint64_t now)
{
	struct ps_queue_message *m = &attempt->message;

	*m = message->m;
	m->recipients = PS_NEWV(attempt->pool, struct ps_queue_recipient, part->count);
	for (uint32_t i = 0; i < part->count; i++) {
		const struct recipient *from = &part->recipients[i];

		if (from->outcome == PS_QUEUE_DEFERRED)
			m->recipients[m->count++] = (struct ps_queue_recipient){
				from->address, from->orcpt, from->notify, part->destination, from->mailbox, i};
	}
	attempt->destination = part->destination;
	attempt->attempts = part->attempts;
	attempt->last = part->last;
	attempt->number = part->number;
	attempt->part = part->index;
	attempt->dest = part->dest;
	attempt->accepted = part->accepted;
	attempt->flags = part->flags;
	attempt->age_ms = now > part->accepted ? now - part->accepted : 0;
	attempt->begun = now;
}

/* *ret_whole: what is wrong is the message, not the part. */
static int load(struct walk *walk, uint64_t number, uint32_t index, struct ps_queue_attempt *attempt, bool *ret_whole)
{
	struct change change = walk->change;
	struct message message;
	struct part part;
	int r, file;

	change.pool = attempt->pool;
	*ret_whole = false;
	if ((r = part_get(&change, number, index, &part)) < 0)
		return r;
	*ret_whole = true;
	if ((r = message_get(&change, number, &message)) < 0 ||
	    (r = body_open(walk->queue, number, message.m.size, &file)) < 0)
		return r;
	fill(attempt, &part, &message, change.now);
	attempt->message.file = file;
	return 0;
}

static void note_bad(struct walk *walk, const struct ready_key *key, int error, bool whole)
{
	ps_log(PS_LOG_ERROR, "queue_row_damaged", "number", ps_num((long long)be64toh(key->number)), "error",
	       ps_err_name(error), "msg", ps_last_error(), NULL);
	if (walk->taken->bad.count < BAD_MAX)
		walk->taken->bad.rows[walk->taken->bad.count++] = (struct bad_row){*key, error, whole};
}

/* What a dead destination's mail is told without an attempt. */
static void tell_reason(struct walk *walk, struct ps_queue_attempt *attempt)
{
	struct change change = walk->change;
	struct dest dest;

	change.pool = attempt->pool;
	if (dest_get(&change, attempt->dest, &dest) == 0 && dest.failures > 0 && dest.reason.text)
		attempt->last = dest.reason;
	attempt->last.outcome = PS_QUEUE_DEFERRED;
}

/* 1 where there is an attempt now, 0 where the row leads nowhere. */
static int make_attempt(struct walk *walk, const struct ready_key *key)
{
	struct ps_pool *pool = ps_pool_create("attempt");
	struct ps_queue_attempt *attempt = PS_NEW(pool, struct ps_queue_attempt);
	struct schedule *schedule = &walk->queue->schedule;
	bool whole;
	int r;

	attempt->pool = pool;
	attempt->send = be64toh(key->dest) != SETTLE_DEST;
	r = load(walk, be64toh(key->number), be32toh(key->part), attempt, &whole);
	if (r < 0) {
		ps_pool_destroy(pool);
		if (r != PS_E_NOTFOUND && r != PS_E_CORRUPT)
			return r;
		note_bad(walk, key, r, whole);
		return 0;
	}
	if (!attempt->send)
		tell_reason(walk, attempt);
	lease_add(schedule, attempt->number, attempt->part);
	if (schedule->order < be64toh(key->order))
		schedule->order = be64toh(key->order);
	*walk->last = attempt;
	walk->last = &attempt->next;
	walk->taken->count++;
	return 1;
}

/* Takes up to `limit` parts of a destination. How many, or an error. */
static int take_of(struct walk *walk, uint64_t dest, unsigned limit)
{
	struct ready_key key = {.dest = htobe64(dest)};
	int taken = 0, rows = 0, r;

	while ((unsigned)taken < limit && walk->visited < WALK_MAX) {
		r = row_seek(&walk->change, DB_READY, &key, sizeof key, NULL);
		if (r < 0 && r != PS_E_NOTFOUND)
			return r;
		if (r < 0 || be64toh(key.dest) != dest)
			break;
		walk->visited++;
		rows++;
		if (!lease_exists(&walk->queue->schedule, be64toh(key.number), be32toh(key.part))) {
			if ((r = make_attempt(walk, &key)) < 0)
				return r;
			taken += r;
		}
		key.part = htobe32(be32toh(key.part) + 1);
	}
	return rows || dest == SETTLE_DEST ? taken : PS_E_GONE;
}

static int target_of(struct walk *walk, uint64_t key, struct target **ret_target)
{
	struct dest dest;
	int r;

	if ((*ret_target = target_find(&walk->queue->schedule, key)))
		return 0;
	if ((r = dest_get(&walk->change, key, &dest)) == 0)
		*ret_target = target_make(walk->queue, &dest);
	return r;
}

static int visit(struct walk *walk, const struct head_key *head)
{
	struct target *target;
	int r = target_of(walk, be64toh(head->dest), &target);

	if (r < 0)
		return r;
	if (!target_may(walk->queue, target, walk->change.now)) {
		if (target->next > walk->change.now && (!walk->taken->again || target->next < walk->taken->again))
			walk->taken->again = target->next;
		return 0;
	}
	r = take_of(walk, target->key, 1);
	if (r == 1)
		target_enter(walk->queue, target, walk->change.now);
	if (r != PS_E_GONE)
		return r;
	note_bad(walk, &(struct ready_key){.dest = head->dest, .order = head->order}, PS_E_NOTFOUND, false);
	return 0;
}

/* Once along HEADS. How many parts were taken, or an error. */
static int pass(struct walk *walk)
{
	struct head_key head = {0};
	int taken = 0, r;

	while (walk->taken->count < walk->most && walk->visited < WALK_MAX) {
		r = row_seek(&walk->change, DB_HEADS, &head, sizeof head, NULL);
		if (r == PS_E_NOTFOUND)
			break;
		walk->visited++;
		if (r < 0 || (r = visit(walk, &head)) < 0)
			return r;
		taken += r;
		head.dest = htobe64(be64toh(head.dest) + 1);
	}
	return taken;
}

int take(struct ps_queue *queue, unsigned most, struct taken *ret_taken)
{
	struct walk walk = {.queue = queue, .most = most, .last = &ret_taken->first, .taken = ret_taken};
	int r;

	*ret_taken = (struct taken){0};
	/* The lock before the snapshot: a lease that is gone then is of a part whose change this snapshot has. */
	pthread_mutex_lock(&queue->schedule.lock);
	r = change_begin(queue, false, &walk.change);
	if (r == 0) {
		r = take_of(&walk, SETTLE_DEST, most);
		while (r >= 0 && ret_taken->count < most && walk.visited < WALK_MAX && (r = pass(&walk)) > 0)
			;
		change_end(&walk.change);
	}
	queue->schedule.visited += walk.visited;
	pthread_mutex_unlock(&queue->schedule.lock);
	return r < 0 ? r : 0; /* those that were made before an error are good */
}

static int mend_head(struct change *change, const struct ready_key *key)
{
	struct head_key head = {key->order, key->dest};
	struct dest dest;
	int r;

	if ((r = row_del(change, DB_HEADS, &head, sizeof head)) < 0 ||
	    (r = dest_get(change, be64toh(key->dest), &dest)) < 0)
		return r;
	if (dest.head == be64toh(key->order))
		dest.head = 0;
	return dest_settle(change, &dest);
}

static int mend_row(struct change *change, const struct bad_row *bad)
{
	uint64_t number = be64toh(bad->key.number);
	struct dest dest;
	int r;

	if (number == 0)
		return mend_head(change, &bad->key);
	if (bad->message && (r = set_aside_message(change, number)) < 0)
		return r;
	if (!bad->message && bad->error == PS_E_CORRUPT &&
	    (r = set_aside_part(change, number, be32toh(bad->key.part))) < 0)
		return r;
	if ((r = row_del(change, DB_READY, &bad->key, sizeof bad->key)) < 0 ||
	    (r = dest_get(change, be64toh(bad->key.dest), &dest)) < 0)
		return r;
	if (!bad->message)
		dest.parts -= dest.parts > 0;
	return dest_settle(change, &dest);
}

int mend(struct change *change, const struct bad_rows *bad)
{
	int r = 0;

	for (unsigned i = 0; i < bad->count && r == 0; i++)
		r = mend_row(change, &bad->rows[i]);
	return r;
}
