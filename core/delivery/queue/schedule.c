/* SPDX-License-Identifier: MIT */
/*
 * The order in which mail is attempted.
 *
 * FAIRNESS is start-time fair queueing. A part that may be attempted gets a place: one more than its sender's last, but no less than
 * that of the part taken last. So a sender's thousandth message stands a thousand places behind the present one, and the first of
 * another sender right at the front. Places lie on disk, as keys; only the last of each sender is in memory, in a table of fixed size
 * in which senders may share a slot. It is lost in a crash, and then senders begin anew.
 *
 * A DESTINATION has a window of attempts: it grows by one when all of it has gone well, and halves when the destination says that it is
 * busy or is not reached. One that is not reached some times in a row is dead: nothing is attempted until its time has come, and then
 * one attempt is. Windows are forgotten some time after they were used; that a destination is dead lies on disk.
 */
#include <stdlib.h>
#include <sys/random.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"

void schedule_init(struct schedule *schedule)
{
	pthread_mutex_init(&schedule->lock, NULL);
	TAILQ_INIT(&schedule->idle);
	if (getrandom(&schedule->chance, sizeof schedule->chance, 0) != (ssize_t)sizeof schedule->chance)
		abort();
}

void schedule_finish(struct schedule *schedule)
{
	for (size_t i = 0; i < TARGET_SLOTS; i++) {
		struct target *target;

		while ((target = LIST_FIRST(&schedule->targets[i]))) {
			LIST_REMOVE(target, slot);
			free(target);
		}
	}
	for (size_t i = 0; i < LEASE_SLOTS; i++) {
		struct lease *lease;

		while ((lease = LIST_FIRST(&schedule->leases[i]))) {
			LIST_REMOVE(lease, slot);
			free(lease);
		}
	}
	pthread_mutex_destroy(&schedule->lock);
}

/* ---- places and waits -------------------------------------------------------------------------- */

uint64_t schedule_order(struct ps_queue *queue, uint64_t sender)
{
	struct schedule *schedule = &queue->schedule;
	uint64_t *last = &schedule->senders[sender % SENDER_SLOTS], order;

	pthread_mutex_lock(&schedule->lock);
	order = (*last > schedule->order ? *last : schedule->order) + 1;
	*last = order;
	pthread_mutex_unlock(&schedule->lock);
	return order;
}

/* SplitMix64. */
static uint64_t chance(struct schedule *schedule)
{
	uint64_t z = schedule->chance += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t jitter(struct schedule *schedule, uint64_t wait)
{
	uint64_t fifth = wait / 5;

	return wait - fifth + chance(schedule) % (2 * fifth + 1);
}

uint64_t schedule_jitter(struct ps_queue *queue, uint64_t wait)
{
	uint64_t n;

	pthread_mutex_lock(&queue->schedule.lock);
	n = jitter(&queue->schedule, wait);
	pthread_mutex_unlock(&queue->schedule.lock);
	return n;
}

/* first, 2 first, 4 first ..., but not above most: milliseconds. */
static uint64_t doubled(unsigned first, unsigned most, unsigned times)
{
	uint64_t wait = first;

	while (times-- > 0 && wait < most)
		wait *= 2;
	return (wait < most ? wait : most) * 1000;
}

uint64_t schedule_retry(struct ps_queue *queue, unsigned attempts)
{
	const struct ps_queue_settings *settings = settings_of(queue);

	return schedule_jitter(queue, doubled(settings->retry_first, settings->retry_most, attempts - 1));
}

/* ---- leases ------------------------------------------------------------------------------------ */

static struct lease *find_lease(struct schedule *schedule, uint64_t number, uint32_t part)
{
	struct lease *lease;

	LIST_FOREACH(lease, &schedule->leases[(number + part) % LEASE_SLOTS], slot)
	if (lease->number == number && lease->part == part)
		return lease;
	return NULL;
}

bool schedule_leased(struct ps_queue *queue, uint64_t number, uint32_t part)
{
	bool leased;

	pthread_mutex_lock(&queue->schedule.lock);
	leased = find_lease(&queue->schedule, number, part) != NULL;
	pthread_mutex_unlock(&queue->schedule.lock);
	return leased;
}

bool lease_exists(struct schedule *schedule, uint64_t number, uint32_t part)
{
	return find_lease(schedule, number, part) != NULL;
}

void lease_add(struct schedule *schedule, uint64_t number, uint32_t part)
{
	struct lease *lease = ps_malloc(sizeof *lease);

	*lease = (struct lease){.number = number, .part = part};
	LIST_INSERT_HEAD(&schedule->leases[(number + part) % LEASE_SLOTS], lease, slot);
	schedule->active++;
}

/* ---- destinations ------------------------------------------------------------------------------ */

static const struct ps_queue_rule *find_rule(const struct ps_queue *queue, uint64_t name)
{
	const struct ps_queue_settings *settings = settings_of(queue);

	for (size_t i = 0; i < settings->rule_count; i++)
		if (queue_hash(queue, ps_bytes_str(settings->rules[i].destination)) == name)
			return &settings->rules[i];
	return NULL;
}

static void apply_rules(const struct ps_queue *queue, struct target *target)
{
	const struct ps_queue_rule *own = find_rule(queue, target->key);
	const struct ps_queue_rule *rule = own ? own : find_rule(queue, target->kind);

	target->most = rule && rule->concurrency ? rule->concurrency : settings_of(queue)->concurrency;
	target->interval = rule && rule->per_minute ? 60000 / rule->per_minute : 0;
	if (target->window > target->most)
		target->window = target->most;
}

void schedule_reset_rules(struct ps_queue *queue)
{
	for (size_t i = 0; i < TARGET_SLOTS; i++) {
		struct target *target;

		LIST_FOREACH(target, &queue->schedule.targets[i], slot)
		apply_rules(queue, target);
	}
}

struct target *target_find(struct schedule *schedule, uint64_t key)
{
	struct target *target;

	LIST_FOREACH(target, &schedule->targets[key % TARGET_SLOTS], slot)
	if (target->key == key)
		return target;
	return NULL;
}

/* The one that was idle for longest makes room. */
static void forget_idle(struct schedule *schedule)
{
	struct target *target = TAILQ_FIRST(&schedule->idle);

	if (schedule->idle_count < TARGETS_IDLE)
		return;
	TAILQ_REMOVE(&schedule->idle, target, idle);
	LIST_REMOVE(target, slot);
	schedule->idle_count--;
	free(target);
}

struct target *target_make(struct ps_queue *queue, const struct dest *dest)
{
	struct schedule *schedule = &queue->schedule;
	struct target *target;

	forget_idle(schedule);
	target = ps_zalloc(sizeof *target);
	target->key = dest->key;
	target->kind = queue_hash(queue, queue_kind(dest->name));
	target->window = settings_of(queue)->concurrency_first;
	target->failures = dest->failures;
	target->since = dest->since;
	apply_rules(queue, target);
	LIST_INSERT_HEAD(&schedule->targets[dest->key % TARGET_SLOTS], target, slot);
	TAILQ_INSERT_TAIL(&schedule->idle, target, idle);
	schedule->idle_count++;
	return target;
}

bool target_may(const struct ps_queue *queue, const struct target *target, uint64_t now)
{
	unsigned window = target->failures >= settings_of(queue)->dead_after ? 1 : (unsigned)target->window;

	return target->active < window && target->next <= now;
}

void target_enter(struct ps_queue *queue, struct target *target, uint64_t now)
{
	if (target->active++ == 0) {
		TAILQ_REMOVE(&queue->schedule.idle, target, idle);
		queue->schedule.idle_count--;
	}
	if (target->interval)
		target->next = now + target->interval;
}

static void target_leave(struct schedule *schedule, struct target *target)
{
	if (--target->active == 0) {
		TAILQ_INSERT_TAIL(&schedule->idle, target, idle);
		schedule->idle_count++;
	}
}

void schedule_release(struct ps_queue *queue, const struct ps_queue_attempt *attempt)
{
	struct schedule *schedule = &queue->schedule;
	struct target *target;
	struct lease *lease;

	pthread_mutex_lock(&schedule->lock);
	lease = find_lease(schedule, attempt->number, attempt->part);
	if (lease) {
		LIST_REMOVE(lease, slot);
		free(lease);
		schedule->active--;
	}
	target = attempt->send ? target_find(schedule, attempt->dest) : NULL;
	if (target && target->active > 0)
		target_leave(schedule, target);
	pthread_mutex_unlock(&schedule->lock);
}

static void halve(struct target *target)
{
	target->window = target->window > 2 ? target->window / 2 : 1;
}

static void reached(struct target *target)
{
	target->failures = 0;
	target->since = target->until = 0;
}

static void unreachable(struct ps_queue *queue, struct target *target, uint64_t now)
{
	const struct ps_queue_settings *settings = settings_of(queue);

	halve(target);
	/* Attempts that were under way when it was found dead add nothing. */
	if (target->until > now)
		return;
	target->failures++;
	target->since = target->since ? target->since : now;
	if (target->failures >= settings->dead_after)
		target->until = now + jitter(&queue->schedule, doubled(settings->probe_first, settings->probe_most,
								       target->failures - settings->dead_after));
}

void schedule_learn(struct ps_queue *queue, uint64_t dest, enum ps_queue_verdict verdict)
{
	struct target *target;

	pthread_mutex_lock(&queue->schedule.lock);
	target = target_find(&queue->schedule, dest);
	if (target && verdict == PS_QUEUE_REACHED) {
		target->window += 1 / target->window;
		if (target->window > target->most)
			target->window = target->most;
		reached(target);
	} else if (target && verdict == PS_QUEUE_BUSY) {
		halve(target);
		reached(target);
	} else if (target && verdict == PS_QUEUE_UNREACHABLE) {
		unreachable(queue, target, queue_now(queue));
	}
	pthread_mutex_unlock(&queue->schedule.lock);
}

void schedule_store(struct ps_queue *queue, struct dest *dest)
{
	struct target *target;

	pthread_mutex_lock(&queue->schedule.lock);
	target = target_find(&queue->schedule, dest->key);
	if (target) {
		dest->failures = target->failures;
		dest->since = target->since;
		dest->until = target->until > target->next ? target->until : target->next;
	}
	pthread_mutex_unlock(&queue->schedule.lock);
}

void schedule_revive(struct ps_queue *queue, uint64_t dest)
{
	struct target *target;

	pthread_mutex_lock(&queue->schedule.lock);
	target = target_find(&queue->schedule, dest);
	if (target)
		target->until = 0;
	pthread_mutex_unlock(&queue->schedule.lock);
}

unsigned part_owes(const struct ps_queue *queue, uint64_t accepted, uint32_t flags, uint64_t now)
{
	uint64_t age = now > accepted ? now - accepted : 0;
	unsigned owes = flags & PART_RETURN ? PS_QUEUE_RETURNED : 0;

	if (age >= settings_of(queue)->expiry * 1000ull)
		owes |= PS_QUEUE_EXPIRED;
	if (settings_of(queue)->delay_notice && !(flags & PART_TOLD) &&
	    age >= settings_of(queue)->delay_notice * 1000ull)
		owes |= PS_QUEUE_DELAYED;
	return owes;
}
