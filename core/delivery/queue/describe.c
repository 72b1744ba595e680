/* SPDX-License-Identifier: MIT */
/* What the queue holds, in JSON. Times are in seconds from now, but for `arrival`. */
#include <stdlib.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"

enum {
	SHOWN_MAX = 20000, /* octets of one message's recipients */
	LISTED_MAX = 3,
};

/* What a server said may be anything. */
static json_t *text_of(const char *text)
{
	json_t *value = text ? json_string(text) : json_null();
	char *plain;

	if (value)
		return value;
	plain = ps_strdup(text);
	for (char *c = plain; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	value = json_string(plain);
	free(plain);
	return value;
}

static json_t *seconds_until(const struct change *change, uint64_t when)
{
	return json_integer(when > change->now ? (json_int_t)((when - change->now) / 1000) : 0);
}

static json_int_t seconds_since(const struct change *change, uint64_t when)
{
	return change->now > when ? (json_int_t)((change->now - when) / 1000) : 0;
}

static json_t *describe_result(const struct ps_queue_result *result)
{
	if (!result->text && !result->code)
		return json_null();
	return json_pack("{s:i, s:o, s:o, s:o}", "code", (int)result->code, "enhanced", text_of(result->enhanced),
			 "text", text_of(result->text), "host", text_of(result->host));
}

static const char *state_of(const struct change *change, const struct part *part)
{
	if (part->flags & PART_HELD)
		return "held";
	if (schedule_leased(change->queue, part->number, part->index))
		return "active";
	if (part->flags & PART_RETURN)
		return "returning";
	return part->order ? "ready" : "waiting";
}

static const char *const outcomes[] = {
	[PS_QUEUE_DEFERRED] = "open", [PS_QUEUE_DELIVERED] = "delivered", [PS_QUEUE_FAILED] = "failed"};

static json_t *describe_part(const struct change *change, const struct part *part, unsigned *shown)
{
	json_t *recipients = json_array();

	for (uint32_t i = 0; i < part->count && *shown < SHOWN_MAX; i++) {
		const struct recipient *recipient = &part->recipients[i];

		*shown += 40 + (unsigned)strlen(recipient->address);
		*shown += recipient->orcpt ? (unsigned)strlen(recipient->orcpt) : 0;
		json_array_append_new(recipients,
				      json_pack("{s:o, s:s, s:o}", "address", text_of(recipient->address), "state",
						outcomes[recipient->outcome], "orcpt", text_of(recipient->orcpt)));
	}
	return json_pack("{s:o, s:s, s:i, s:o, s:o, s:o}", "destination", text_of(part->destination), "state",
			 state_of(change, part), "attempts", (int)part->attempts, "next",
			 part->due ? seconds_until(change, part->due) : json_null(), "last",
			 describe_result(&part->last), "recipients", recipients);
}

/* What a line of a list says of all parts together. */
struct summary {
	unsigned open, parts;
	bool held, active;
	uint64_t next;
	json_t *to, *last, *destination;
};

static void sum_up(const struct change *change, const struct part *part, struct summary *summary)
{
	for (uint32_t i = 0; i < part->count; i++) {
		if (part->recipients[i].outcome != PS_QUEUE_DEFERRED)
			continue;
		if (json_array_size(summary->to) < LISTED_MAX)
			json_array_append_new(summary->to, text_of(part->recipients[i].address));
		summary->open++;
	}
	summary->held |= part->flags & PART_HELD;
	summary->active |= schedule_leased(change->queue, part->number, part->index);
	if (part->due && (summary->next == 0 || part->due < summary->next))
		summary->next = part->due;
	if (summary->parts++ == 0)
		summary->destination = text_of(part->destination);
	if (!summary->last && part->last.text)
		summary->last = describe_result(&part->last);
}

json_t *describe_message(struct change *change, const struct message *message, bool full)
{
	const struct ps_queue_message *m = &message->m;
	struct summary summary = {.to = json_array()};
	json_t *row, *parts = full ? json_array() : NULL;
	unsigned shown = 0;
	uint32_t index = 0;
	struct part part;
	int r;

	for (; (r = part_next(change, message->number, index, &part, &index)) == 0 || r == PS_E_CORRUPT; index++) {
		if (r < 0)
			continue;
		sum_up(change, &part, &summary);
		if (full)
			json_array_append_new(parts, describe_part(change, &part, &shown));
	}
	row = json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:i, s:i, s:b, s:b, s:o, s:o, s:o, s:o, s:i}", "id",
			text_of(m->id), "sender", text_of(m->reverse_path), "user", text_of(m->user), "sid",
			text_of(m->sid), "size", (json_int_t)m->size, "arrival", (json_int_t)m->arrival, "age",
			(json_int_t)seconds_since(change, message->accepted), "recipients", (int)message->recipients,
			"open", (int)summary.open, "held", summary.held, "active", summary.active, "next",
			summary.next ? seconds_until(change, summary.next) : json_null(), "to", summary.to,
			"destination", summary.destination ? summary.destination : json_null(), "last",
			summary.last ? summary.last : json_null(), "parts", (int)summary.parts);
	if (row && full)
		json_object_set_new(row, "parts", parts);
	return row;
}

json_t *describe_dest(struct change *change, const struct dest *dest)
{
	bool dead = dest->failures >= settings_of(change->queue)->dead_after;

	return json_pack("{s:o, s:I, s:b, s:i, s:o, s:o, s:o}", "destination", text_of(dest->name), "parts",
			 (json_int_t)dest->parts, "dead", dead, "failures", (int)dest->failures, "unreachable_for",
			 dest->since ? json_integer(seconds_since(change, dest->since)) : json_null(), "blocked_for",
			 dest->until ? seconds_until(change, dest->until) : json_null(), "reason",
			 describe_result(&dest->reason));
}
