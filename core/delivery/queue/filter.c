/* SPDX-License-Identifier: MIT */
/* Which messages the administrator means. */
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"

enum {
	VISITS_MAX = 2000, /* rows that one page reads */
};

struct ps_queue_filter filter_copy(struct ps_pool *pool, const struct ps_queue_filter *from)
{
	struct ps_queue_filter to = *from;

	to.id = ps_pool_strdup(pool, from->id);
	to.sender = ps_pool_strdup(pool, from->sender);
	to.recipient = ps_pool_strdup(pool, from->recipient);
	to.user = ps_pool_strdup(pool, from->user);
	to.destination = ps_pool_strdup(pool, from->destination);
	return to;
}

/* "joe@example.org", or "@example.org" for all there; "" and "<>" mean the null reverse-path. */
static bool address_matches(const char *wanted, const char *address)
{
	const char *at = strrchr(address, '@');

	if (!wanted)
		return true;
	if (strcmp(wanted, "<>") == 0)
		wanted = "";
	if (*wanted == '@')
		return at && ps_strcasecmp(at, wanted) == 0;
	return ps_strcasecmp(wanted, address) == 0;
}

static bool text_matches(const char *wanted, const char *text)
{
	return !wanted || (text && ps_strcasecmp(wanted, text) == 0);
}

static bool destination_matches(const char *wanted, const char *destination)
{
	return text_matches(wanted, destination) || ps_bytes_caseeq_str(queue_kind(destination), wanted);
}

static bool part_matches(const struct ps_queue_filter *filter, const struct part *part)
{
	if ((filter->held && !(part->flags & PART_HELD)) ||
	    !destination_matches(filter->destination, part->destination))
		return false;
	for (uint32_t i = 0; i < part->count; i++)
		if (address_matches(filter->recipient, part->recipients[i].address))
			return true;
	return false;
}

static bool parts_match(struct change *change, const struct ps_queue_filter *filter, uint64_t number)
{
	uint32_t index = 0;
	struct part part;
	int r;

	if (!filter->held && !filter->destination && !filter->recipient)
		return true;
	for (; (r = part_next(change, number, index, &part, &index)) == 0 || r == PS_E_CORRUPT; index++)
		if (r == 0 && part_matches(filter, &part))
			return true;
	return false;
}

static bool matches(struct change *change, const struct ps_queue_filter *filter, const struct message *message)
{
	uint64_t age = change->now > message->accepted ? (change->now - message->accepted) / 1000 : 0;

	return (!filter->older_than || age >= filter->older_than) &&
	       (!filter->younger_than || age < filter->younger_than) &&
	       address_matches(filter->sender, message->m.reverse_path) &&
	       text_matches(filter->user, message->m.user) && parts_match(change, filter, message->number);
}

static int walk_one(struct change *change, const struct ps_queue_filter *filter, filter_fn fn, void *arg)
{
	struct message message;
	struct ps_bytes value;
	uint64_t number;
	int r = row_get(change, DB_IDS, filter->id, strlen(filter->id), &value);

	if (r == PS_E_NOTFOUND || (r == 0 && value.len != sizeof number))
		return ps_fail(PS_E_NOTFOUND, "the queue has no message %s", filter->id);
	if (r < 0)
		return r;
	memcpy(&number, value.ptr, sizeof number);
	if ((r = message_get(change, be64toh(number), &message)) < 0 || !matches(change, filter, &message))
		return r;
	r = fn(arg, change, &message);
	return r < 0 ? r : 0;
}

/* What is read of a message that does not match is forgotten at once. */
static int consider(struct change *change, const struct ps_queue_filter *filter, uint64_t number, filter_fn fn,
		    void *arg)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("queue row");
	struct change reading = *change;
	struct message message;
	bool wanted;
	int r;

	reading.pool = pool;
	r = message_get(&reading, number, &message);
	wanted = r == 0 && matches(&reading, filter, &message);
	if (r < 0)
		return r == PS_E_CORRUPT || r == PS_E_NOTFOUND ? 0 : r;
	return wanted ? fn(arg, change, &message) : 0;
}

int filter_walk(struct change *change, const struct ps_queue_filter *filter, uint64_t after, filter_fn fn, void *arg,
		uint64_t *ret_next)
{
	uint64_t number = after;
	int r = 0;

	*ret_next = 0;
	if (filter->id)
		return walk_one(change, filter, fn, arg);
	for (unsigned visits = 0; visits < VISITS_MAX && r == 0; visits++) {
		uint64_t key = htobe64(number + 1);

		if ((r = row_seek(change, DB_MESSAGES, &key, sizeof key, NULL)) < 0)
			return r == PS_E_NOTFOUND ? 0 : r;
		number = be64toh(key);
		r = consider(change, filter, number, fn, arg);
	}
	if (r >= 0)
		*ret_next = number;
	return r < 0 ? r : 0;
}
