/* SPDX-License-Identifier: MIT */
/*
 * Looks for parts to attempt. HEADS has one row for each destination that has any and is not blocked, by the place of its first. The walk
 * goes along it, takes the parts with the lowest places, one of each destination whose window has room, and again until nothing is left to take. It passes over
 * what is under way, and over destinations whose windows are full; there are no more of these than attempts. So what it reads
 * depends on the number of attempts, not on how much mail waits.
 */
#include <stdlib.h>
#include <unistd.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	CANDIDATES_MAX = 64
};

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

/* The first row of a destination, from `key` on, that is not under way. 1: found; 0: there is none; PS_E_GONE: there are no rows at all. */
static int first_free(struct walk *walk, uint64_t dest, struct ready_key *key)
{
	int rows = 0, r;

	for (; walk->visited < WALK_MAX; key->part = htobe32(be32toh(key->part) + 1)) {
		r = row_seek(&walk->change, DB_READY, key, sizeof *key, NULL);
		if (r < 0 && r != PS_E_NOTFOUND)
			return r;
		if (r < 0 || be64toh(key->dest) != dest)
			return rows ? 0 : PS_E_GONE;
		walk->visited++;
		rows++;
		if (!lease_exists(&walk->queue->schedule, be64toh(key->number), be32toh(key->part)))
			return 1;
	}
	return 0;
}

/* Up to `limit` parts that are settled without sending. */
static int take_settled(struct walk *walk, unsigned limit)
{
	struct ready_key key = {.dest = htobe64(SETTLE_DEST)};
	unsigned end = walk->taken->count + limit;
	int r = 0;

	while (walk->taken->count < end && (r = first_free(walk, SETTLE_DEST, &key)) == 1) {
		if ((r = make_attempt(walk, &key)) < 0)
			return r;
		key.part = htobe32(be32toh(key.part) + 1);
	}
	return r < 0 && r != PS_E_GONE ? r : 0;
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

/* What may be taken in one pass: the first free part of each of some destinations. */
struct candidates {
	struct ready_key keys[CANDIDATES_MAX];
	unsigned count, most;
	uint64_t worst; /* highest place among them */
};

static void note_worst(struct candidates *candidates)
{
	candidates->worst = 0;
	for (unsigned i = 0; i < candidates->count; i++)
		if (be64toh(candidates->keys[i].order) > candidates->worst)
			candidates->worst = be64toh(candidates->keys[i].order);
}

/* When there are enough, a better one takes the place of the worst. */
static void add_candidate(struct candidates *candidates, const struct ready_key *key)
{
	unsigned at = candidates->count;

	if (at == candidates->most) {
		if (be64toh(key->order) >= candidates->worst)
			return;
		for (at = 0; be64toh(candidates->keys[at].order) != candidates->worst; at++)
			;
	} else {
		candidates->count++;
	}
	candidates->keys[at] = *key;
	note_worst(candidates);
}

static int visit(struct walk *walk, const struct head_key *head, struct candidates *candidates)
{
	struct ready_key key = {.dest = head->dest};
	struct target *target;
	int r = target_of(walk, be64toh(head->dest), &target);

	if (r < 0)
		return r;
	if (!target_may(walk->queue, target, walk->change.now)) {
		if (target->next > walk->change.now && (!walk->taken->again || target->next < walk->taken->again))
			walk->taken->again = target->next;
		return 0;
	}
	r = first_free(walk, target->key, &key);
	if (r == 1)
		add_candidate(candidates, &key);
	if (r != PS_E_GONE)
		return r < 0 ? r : 0;
	note_bad(walk, &(struct ready_key){.dest = head->dest, .order = head->order}, PS_E_NOTFOUND, false);
	return 0;
}

/* A head is of a part that may be under way, so the first free one of its destination may stand behind those of later heads; but
 * never before its own head. */
static int find_candidates(struct walk *walk, struct candidates *candidates)
{
	struct head_key head = {0};
	int r = 0;

	while (walk->visited < WALK_MAX) {
		r = row_seek(&walk->change, DB_HEADS, &head, sizeof head, NULL);
		if (r < 0)
			return r == PS_E_NOTFOUND ? 0 : r;
		if (candidates->count == candidates->most && be64toh(head.order) >= candidates->worst)
			return 0;
		walk->visited++;
		if ((r = visit(walk, &head, candidates)) < 0)
			return r;
		head.dest = htobe64(be64toh(head.dest) + 1);
	}
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	const struct ready_key *left = a, *right = b;

	return memcmp(&left->order, &right->order, sizeof left->order);
}

/* One part of each of some destinations. How many were taken, or an error. */
static int pass(struct walk *walk)
{
	unsigned room = walk->most - walk->taken->count;
	struct candidates candidates = {.most = room < CANDIDATES_MAX ? room : CANDIDATES_MAX};
	int taken = 0, r = find_candidates(walk, &candidates);

	qsort(candidates.keys, candidates.count, sizeof *candidates.keys, compare_keys);
	for (unsigned i = 0; i < candidates.count && r >= 0; i++) {
		struct target *target;

		if ((r = target_of(walk, be64toh(candidates.keys[i].dest), &target)) < 0 ||
		    (r = make_attempt(walk, &candidates.keys[i])) < 0)
			break;
		if (r == 1)
			target_enter(walk->queue, target, walk->change.now);
		taken += r;
	}
	return r < 0 ? r : taken;
}

/* What is settled and what is sent have the first choice in turns. */
static int take_all(struct walk *walk)
{
	bool settle_first = walk->queue->schedule.turn++ % 2 == 0;
	int r = settle_first ? take_settled(walk, (walk->most + 1) / 2) : 0;

	while (r >= 0 && walk->taken->count < walk->most && walk->visited < WALK_MAX && (r = pass(walk)) > 0)
		;
	return r < 0 ? r : take_settled(walk, walk->most - walk->taken->count);
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
		r = take_all(&walk);
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
