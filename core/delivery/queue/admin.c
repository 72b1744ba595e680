/* SPDX-License-Identifier: MIT */
/* Listing, and what the administrator does to messages. */
#include <stdlib.h>
#include "core/delivery/queue/queue_private.h"
#include "core/delivery/trace/trace.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	ROWS_MAX = 100,
	PAGE_MAX = 60000, /* octets of JSON, after which a page is full: it goes through a channel as one message */
	ACTED_MAX = 500,  /* messages of one commit */
	RECIPIENTS_ACTED_MAX = 5000,
};

/* ---- pages ------------------------------------------------------------------------------------- */

struct listing {
	struct ps_queue *queue;
	struct ps_pool *pool;
	struct ps_queue_filter filter;
	uint64_t after;
	unsigned most;
	size_t octets;
	bool full;
	struct ps_queue_page page;
	struct ps_queue_stats stats;
	int error;
	char *sentence;
	ps_queue_page_fn done;
	void (*told)(void *arg, const struct ps_queue_stats *stats);
	void *arg;
};

static struct listing *listing_create(struct ps_queue *queue, const struct ps_queue_filter *filter, uint64_t after,
				      unsigned most)
{
	static const struct ps_queue_filter any;
	struct ps_pool *pool = ps_pool_create("queue listing");
	struct listing *listing = PS_NEW(pool, struct listing);

	listing->queue = queue;
	listing->pool = pool;
	listing->filter = filter_copy(pool, filter ? filter : &any);
	listing->after = after;
	listing->most = most && most < ROWS_MAX ? most : ROWS_MAX;
	return listing;
}

/* On the loop. */
static void listed(void *arg)
{
	struct listing *listing = arg;
	struct ps_queue *queue = listing->queue;

	if (listing->error < 0)
		(void)ps_fail((enum ps_err)listing->error, "%s", listing->sentence);
	if (listing->told)
		listing->told(listing->arg, &listing->stats);
	else
		listing->done(listing->arg, listing->error, &listing->page);
	json_decref(listing->page.rows);
	ps_pool_destroy(listing->pool);
	queue_ran(queue);
}

static void list_failed(struct listing *listing, int error)
{
	listing->error = error;
	listing->sentence = ps_pool_strdup(listing->pool, ps_last_error());
}

static int add_row(void *arg, struct change *change, const struct message *message)
{
	struct listing *listing = arg;

	json_t *row = describe_message(change, message, listing->full);

	listing->octets += json_dumpb(row, NULL, 0, JSON_COMPACT);
	json_array_append_new(listing->page.rows, row);
	return ++listing->page.count >= listing->most || listing->octets >= PAGE_MAX;
}

static void list_work(void *arg)
{
	struct listing *listing = arg;
	struct change change;
	int r = change_begin(listing->queue, false, &change);

	if (r == 0) {
		listing->page.rows = json_array();
		r = filter_walk(&change, &listing->filter, listing->after, add_row, listing, &listing->page.next);
		change_end(&change);
	}
	if (r < 0)
		list_failed(listing, r);
}

void ps_queue_list(struct ps_queue *queue, const struct ps_queue_filter *filter, uint64_t after, unsigned most,
		   bool full, ps_queue_page_fn done, void *arg)
{
	struct listing *listing = listing_create(queue, filter, after, most);

	listing->full = full;
	listing->done = done;
	listing->arg = arg;
	queue_run(queue, list_work, listed, listing);
}

static int list_dests(struct listing *listing, struct change *change)
{
	uint64_t key = htobe64(listing->after ? listing->after + 1 : 0);
	struct ps_bytes value;
	struct dest dest;
	int r;

	while (listing->page.count < listing->most) {
		r = row_seek(change, DB_DESTS, &key, sizeof key, &value);
		if (r < 0)
			return r == PS_E_NOTFOUND ? 0 : r;
		if (dest_decode(value, change->pool, &dest) == 0) {
			json_array_append_new(listing->page.rows, describe_dest(change, &dest));
			listing->page.count++;
		}
		listing->page.next = be64toh(key);
		key = htobe64(be64toh(key) + 1);
	}
	return 1;
}

static void dests_work(void *arg)
{
	struct listing *listing = arg;
	struct change change;
	int r = change_begin(listing->queue, false, &change);

	if (r == 0) {
		listing->page.rows = json_array();
		r = list_dests(listing, &change);
		change_end(&change);
	}
	if (r == 0)
		listing->page.next = 0;
	if (r < 0)
		list_failed(listing, r);
}

void ps_queue_destinations(struct ps_queue *queue, uint64_t after, unsigned most, ps_queue_page_fn done, void *arg)
{
	struct listing *listing = listing_create(queue, NULL, after, most);

	listing->done = done;
	listing->arg = arg;
	queue_run(queue, dests_work, listed, listing);
}

/* ---- counts ------------------------------------------------------------------------------------ */

static void count(struct change *change, struct ps_queue_stats *stats)
{
	uint64_t first = 0;
	struct message message;

	stats->messages = row_count(change, DB_MESSAGES);
	stats->parts = row_count(change, DB_PARTS);
	stats->ready = row_count(change, DB_READY);
	stats->destinations = row_count(change, DB_DESTS);
	stats->damaged = row_count(change, DB_DAMAGED);
	ps_index_number(change->txn, "octets", &stats->octets); /* as all of this, 0 where it cannot be read */
	ps_index_number(change->txn, "held", &stats->held);
	if (row_seek(change, DB_MESSAGES, &first, sizeof first, NULL) == 0 &&
	    message_get(change, be64toh(first), &message) == 0 && change->now > message.accepted)
		stats->oldest_ms = change->now - message.accepted;
}

static void stats_work(void *arg)
{
	struct listing *listing = arg;
	struct ps_queue *queue = listing->queue;
	struct ps_queue_stats *stats = &listing->stats;
	struct change change;

	if (change_begin(queue, false, &change) == 0) {
		count(&change, stats);
		change_end(&change);
	}
	pthread_mutex_lock(&queue->schedule.lock);
	stats->active = queue->schedule.active;
	stats->visited = queue->schedule.visited;
	pthread_mutex_unlock(&queue->schedule.lock);
	stats->commits = atomic_load(&queue->commits);
	stats->added = atomic_load(&queue->added);
	stats->finished = atomic_load(&queue->finished);
}

void ps_queue_stats(struct ps_queue *queue, void (*done)(void *arg, const struct ps_queue_stats *stats), void *arg)
{
	struct listing *listing = listing_create(queue, NULL, 0, 0);

	listing->told = done;
	listing->arg = arg;
	queue_run(queue, stats_work, listed, listing);
}

/* ---- acts -------------------------------------------------------------------------------------- */

static int revive_dest(struct change *change, uint64_t key)
{
	struct dest dest;
	int r = dest_get(change, key, &dest);

	if (r < 0 || dest.until == 0)
		return r;
	schedule_revive(change->queue, key);
	dest.until = 0;
	return dest_settle(change, &dest);
}

/* What `act` makes of a part; false: nothing. */
static bool change_part(struct change *change, enum ps_queue_act act, struct part *part)
{
	struct ps_queue *queue = change->queue;
	bool held = part->flags & PART_HELD;

	switch (act) {
	case PS_QUEUE_HOLD:
		part->flags |= PART_HELD;
		part->order = part->due = part->settle = part->deadline = 0;
		return !held;
	case PS_QUEUE_RELEASE:
		part->flags &= ~(uint32_t)PART_HELD;
		if (held && (part->flags & PART_RETURN))
			part->settle = schedule_order(queue, part->sender);
		else if (held)
			part->order = schedule_order(queue, part->sender);
		part->deadline = part_deadline(queue, part, change->now);
		return held;
	case PS_QUEUE_RETRY:
		if (part->flags & PART_RETURN)
			return false;
		part->due = 0;
		part->order = part->order ? part->order : schedule_order(queue, part->sender);
		return !held;
	case PS_QUEUE_BOUNCE:
		part->flags = (part->flags & ~(uint32_t)PART_HELD) | PART_RETURN;
		part->settle = part->settle ? part->settle : schedule_order(queue, part->sender);
		part->order = part->due = 0; /* it is not sent any more */
		part->deadline = part_deadline(queue, part, change->now);
		return true;
	case PS_QUEUE_REMOVE: break;
	}
	return false;
}

static int act_on_part(struct change *change, enum ps_queue_act act, const struct part *part, bool *ret_changed)
{
	struct part to = *part;
	int r;

	if (act == PS_QUEUE_REMOVE) {
		*ret_changed = true;
		return part_save(change, part, NULL);
	}
	if (!change_part(change, act, &to))
		return 0;
	*ret_changed = true;
	if ((r = part_save(change, part, &to)) == 0 && act == PS_QUEUE_RETRY)
		r = revive_dest(change, part->dest);
	return r;
}

static int remove_unreadable(struct change *change, uint64_t number, uint32_t index)
{
	struct part_key key = part_key(number, index);

	return row_del(change, DB_PARTS, &key, sizeof key);
}

static int act_on_message(struct change *change, enum ps_queue_act act, const struct message *message,
			  bool *ret_changed)
{
	uint32_t index = 0;
	struct part part;
	int r;

	while ((r = part_next(change, message->number, index, &part, &index)) != PS_E_NOTFOUND) {
		if (r == PS_E_CORRUPT)
			r = act == PS_QUEUE_REMOVE ? remove_unreadable(change, message->number, index) : 0;
		else if (r == 0)
			r = act_on_part(change, act, &part, ret_changed);
		if (r < 0)
			return r;
		index++;
	}
	if (act != PS_QUEUE_REMOVE)
		return 0;
	*ret_changed = true;
	return message_remove(change, message);
}

struct acting {
	struct op *op;
	uint64_t messages, recipients;
};

static void note_removed(struct op *op, const char *id)
{
	op->removed = ps_pool_grow(op->pool, op->removed, op->removed_count, &op->removed_cap, sizeof *op->removed);
	/* What is behind a '-' tells the parcels of one message apart. */
	op->removed[op->removed_count++] = ps_pool_strndup(op->pool, id, strcspn(id, "-"));
}

static int act_on(void *arg, struct change *change, const struct message *message)
{
	struct acting *acting = arg;
	bool changed = false;
	int r = act_on_message(change, acting->op->act, message, &changed);

	if (r < 0)
		return r;
	acting->messages++;
	acting->recipients += message->recipients;
	acting->op->page.count += changed;
	if (acting->op->act == PS_QUEUE_REMOVE)
		note_removed(acting->op, message->m.id);
	return acting->messages >= ACTED_MAX || acting->recipients >= RECIPIENTS_ACTED_MAX;
}

static int apply_act(struct op *op, struct change *change)
{
	struct acting acting = {.op = op};

	op->page.count = 0;
	op->removed_count = 0;
	return filter_walk(change, &op->filter, op->after, act_on, &acting, &op->page.next);
}

static void log_act(const struct op *op)
{
	static const char *const names[] = {[PS_QUEUE_HOLD] = "hold",
					    [PS_QUEUE_RELEASE] = "release",
					    [PS_QUEUE_RETRY] = "retry",
					    [PS_QUEUE_REMOVE] = "remove",
					    [PS_QUEUE_BOUNCE] = "bounce"};
	const struct ps_queue_filter *filter = &op->filter;

	if (op->page.count)
		ps_log(PS_LOG_INFO, "queue_act", "act", names[op->act], "id", filter->id, "sender", filter->sender,
		       "recipient", filter->recipient, "user", filter->user, "destination", filter->destination,
		       "count", ps_num((long long)op->page.count), NULL);
}

static void acted(struct op *op)
{
	if (op->error == 0)
		log_act(op);
	for (size_t i = 0; op->error == 0 && i < op->removed_count; i++)
		ps_trace(&(struct ps_trace_event){.kind = PS_TRACE_REMOVED, .id = op->removed[i]});
	op->paged(op->arg, op->error, &op->page);
}

void ps_queue_act(struct ps_queue *queue, enum ps_queue_act act, const struct ps_queue_filter *filter, uint64_t after,
		  ps_queue_page_fn done, void *arg)
{
	struct op *op = op_create(queue);

	op->act = act;
	op->filter = filter_copy(op->pool, filter);
	op->after = after;
	op->apply = apply_act;
	op->done = acted;
	op->paged = done;
	op->arg = arg;
	op_run(op);
}
