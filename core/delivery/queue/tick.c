/* SPDX-License-Identifier: MIT */
/* What happens by itself when its time has come: a part may be attempted again, a destination is not blocked any more, the sender is to
 * be told. Each is a row of TIMES. */
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"
#include "postern/log.h"

enum {
	ROWS_MAX = 1000, /* of one commit */
	LATER = 5 * 60 * 1000,
	HOUR = 3600 * 1000,
	DAY = 24 * HOUR,
};

uint64_t part_deadline(const struct ps_queue *queue, const struct part *part, uint64_t now)
{
	uint64_t notice = settings_of(queue)->delay_notice, at;

	if (part->flags & PART_HELD)
		return 0;
	if (part->flags & PART_RETURN)
		at = 0;
	else if (notice && !(part->flags & PART_TOLD))
		at = part->accepted + notice * 1000;
	else
		at = part->accepted + settings_of(queue)->expiry * 1000ull;
	/* One that has passed is met by the attempt that now follows; this is for when none does. */
	return at > now ? at : now + LATER;
}

static int part_is_due(struct change *change, const struct part *part)
{
	struct part to = *part;

	to.due = 0;
	to.order = schedule_order(change->queue, part->sender);
	return part_save(change, part, &to);
}

/* Expiry needs an attempt in this start, or a destination that was found dead in it: after a long night, or under a clock that is wrong,
 * mail is not given up unseen. */
static int part_expires(struct change *change, const struct part *part, struct part *to)
{
	struct ps_queue *queue = change->queue;
	uint64_t age = change->now - part->accepted;
	struct dest dest;
	int r = dest_get(change, part->dest, &dest);

	if (r < 0)
		return r;
	to->deadline = change->now + LATER;
	if ((dest.failures >= settings_of(queue)->dead_after && dest.tried >= queue->base) ||
	    (age >= settings_of(queue)->expiry * 1000ull + DAY && change->now - queue->base >= HOUR)) {
		to->settle = schedule_order(queue, part->sender);
	} else if (part->due) {
		to->due = 0;
		to->order = schedule_order(queue, part->sender);
	}
	return 0;
}

static int part_has_deadline(struct change *change, const struct part *part)
{
	struct part to = *part;
	unsigned owes = part_owes(change->queue, part->accepted, part->flags, change->now);
	int r = 0;

	to.deadline = change->now + LATER;
	if (part->flags & PART_HELD)
		to.deadline = 0;
	else if (part->settle || schedule_leased(change->queue, part->number, part->index))
		; /* what is under way sees to it */
	else if (owes & PS_QUEUE_EXPIRED)
		r = part_expires(change, part, &to);
	else if (owes)
		to.settle = schedule_order(change->queue, part->sender);
	else
		to.deadline = part_deadline(change->queue, part, change->now);
	return r < 0 ? r : part_save(change, part, &to);
}

/* The part that the row is of does not know of it, or is not there. */
static int stale(struct change *change, const struct time_key *key, int r)
{
	struct dest dest;

	if (r != PS_E_CORRUPT)
		return r == PS_E_NOTFOUND ? 0 : r;
	ps_log(PS_LOG_ERROR, "queue_row_damaged", "msg", ps_last_error(), NULL);
	if ((r = set_aside_part(change, be64toh(key->number), be32toh(key->part))) < 0 ||
	    (r = dest_get(change, be64toh(key->dest), &dest)) < 0)
		return r;
	dest.parts -= dest.parts > 0;
	return dest_settle(change, &dest);
}

static int wake(struct change *change, const struct time_key *key)
{
	struct dest dest;
	int r = dest_get(change, be64toh(key->dest), &dest);

	if (r < 0)
		return r;
	if (dest.wake == be64toh(key->when))
		dest.wake = 0; /* the row is gone */
	return dest_settle(change, &dest);
}

static int happen(struct change *change, const struct time_key *key)
{
	uint64_t when = be64toh(key->when);
	struct part part;
	int r;

	if (key->kind == TIME_WAKE)
		return wake(change, key);
	r = part_get(change, be64toh(key->number), be32toh(key->part), &part);
	if (r < 0)
		return stale(change, key, r);
	if (key->kind == TIME_DUE && part.due == when)
		return part_is_due(change, &part);
	if (key->kind == TIME_DEADLINE && part.deadline == when)
		return part_has_deadline(change, &part);
	return 0;
}

int tick(struct change *change, bool *ret_more)
{
	int r = 0, n = 0;

	*ret_more = false;
	while (r == 0) {
		struct time_key key = {0};

		r = row_seek(change, DB_TIMES, &key, sizeof key, NULL);
		if (r < 0 || be64toh(key.when) > change->now)
			break;
		if (n++ == ROWS_MAX) {
			*ret_more = true;
			break;
		}
		if ((r = row_del(change, DB_TIMES, &key, sizeof key)) == 0)
			r = happen(change, &key);
	}
	return r == PS_E_NOTFOUND ? 0 : r;
}
