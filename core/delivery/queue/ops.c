/* SPDX-License-Identifier: MIT */
/* Adding and finishing: what each does to the rows. */
#include <stdlib.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"
#include "postern/log.h"

/* ---- adding ------------------------------------------------------------------------------------ */

static struct ps_queue_recipient *copy_recipients(struct ps_pool *pool, const struct ps_queue_message *from)
{
	struct ps_queue_recipient *to = PS_NEWV(pool, struct ps_queue_recipient, from->count);

	for (size_t i = 0; i < from->count; i++) {
		to[i].address = ps_pool_strdup(pool, from->recipients[i].address);
		to[i].orcpt = ps_pool_strdup(pool, from->recipients[i].orcpt);
		to[i].notify = from->recipients[i].notify;
		to[i].destination = ps_pool_strdup(pool, from->recipients[i].destination);
		to[i].mailbox = ps_pool_strdup(pool, from->recipients[i].mailbox);
	}
	return to;
}

static void copy_message(struct ps_pool *pool, const struct ps_queue_message *from, struct ps_queue_message *to)
{
	*to = *from;
	to->id = ps_pool_strdup(pool, from->id);
	to->reverse_path = ps_pool_strdup(pool, from->reverse_path);
	to->envid = ps_pool_strdup(pool, from->envid);
	to->user = ps_pool_strdup(pool, from->user);
	to->sid = ps_pool_strdup(pool, from->sid);
	to->recipients = copy_recipients(pool, from);
}

static bool is_text(const char *text, size_t most)
{
	return text && strlen(text) <= most;
}

static int check_message(const struct ps_queue_message *message)
{
	if (!is_text(message->id, 64) || !*message->id || !is_text(message->reverse_path, 1024) ||
	    message->count == 0 || message->count > PS_QUEUE_RECIPIENTS_MAX)
		return ps_fail(PS_E_INVALID, "not an envelope");
	for (size_t i = 0; i < message->count; i++) {
		const struct ps_queue_recipient *recipient = &message->recipients[i];

		if (!is_text(recipient->address, 1024) || !is_text(recipient->destination, 1024) ||
		    !*recipient->destination || (recipient->orcpt && !is_text(recipient->orcpt, 2048)) ||
		    (recipient->mailbox && !is_text(recipient->mailbox, 2048)))
			return ps_fail(PS_E_INVALID, "message %s: not a recipient", message->id);
	}
	return 0;
}

static void refuse_report(struct addition *addition)
{
	addition->refused = true;
	ps_log(PS_LOG_ERROR, "report_refused", "id", addition->message.id, "msg", ps_last_error(), NULL);
}

/* Blocks on disk: bodies get their names. */
static int prepare(struct op *op)
{
	int r = 0;

	for (size_t i = 0; i < op->addition_count && r == 0; i++) {
		struct addition *addition = &op->additions[i];

		if (addition->number || addition->refused)
			continue;
		if ((r = check_message(&addition->message)) == 0)
			r = body_keep(op->queue, &addition->message, addition->copy, &addition->number);
		if (r == PS_E_INVALID && op->attempt) {
			refuse_report(addition);
			r = 0;
		}
	}
	return r;
}

static void drop_bodies(struct op *op)
{
	for (size_t i = 0; i < op->addition_count; i++) {
		if (op->additions[i].number)
			body_remove(op->queue, op->additions[i].number);
		op->additions[i].number = 0;
		op->additions[i].copy = true;
	}
}

/* By destination; those of one stay in their order. */
static int compare_recipients(const void *a, const void *b)
{
	const struct ps_queue_recipient *const *left = a, *const *right = b;
	int order = strcmp((*left)->destination, (*right)->destination);

	return order ? order : *left < *right ? -1 : *left > *right;
}

static int add_part(struct change *change, const struct message *message, uint32_t index,
		    const struct ps_queue_recipient *const *recipients, uint32_t count)
{
	struct ps_queue *queue = change->queue;
	const char *sender = message->m.user ? message->m.user : message->m.reverse_path;
	struct part part = {
		.number = message->number,
		.index = index,
		.destination = recipients[0]->destination,
		.dest = queue_hash(queue, ps_bytes_str(recipients[0]->destination)),
		.sender = queue_hash(queue, ps_bytes_str(sender)),
		.accepted = message->accepted,
		.count = count,
	};

	part.recipients = PS_NEWV(change->pool, struct recipient, count);
	for (uint32_t i = 0; i < count; i++)
		part.recipients[i] = (struct recipient){.address = recipients[i]->address,
							.orcpt = recipients[i]->orcpt,
							.mailbox = recipients[i]->mailbox,
							.notify = recipients[i]->notify};
	part.order = schedule_order(queue, part.sender);
	part.deadline = part_deadline(queue, &part, change->now);
	return part_save(change, NULL, &part);
}

static int add_parts(struct change *change, const struct message *message)
{
	const struct ps_queue_recipient **sorted =
		PS_NEWV(change->pool, const struct ps_queue_recipient *, message->m.count);
	size_t count = message->m.count, at = 0;
	uint32_t index = 0;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		sorted[i] = &message->m.recipients[i];
	qsort(sorted, count, sizeof *sorted, compare_recipients);
	while (at < count && r == 0) {
		uint32_t n = 1;

		while (at + n < count && n < PS_QUEUE_PART_MAX &&
		       strcmp(sorted[at + n]->destination, sorted[at]->destination) == 0)
			n++;
		r = add_part(change, message, index++, sorted + at, n);
		at += n;
	}
	return r;
}

int add_apply(struct change *change, const struct addition *addition)
{
	const char *id = addition->message.id;
	struct message message = {.number = addition->number, .m = addition->message, .accepted = change->now};
	struct ps_bytes value;
	int r = row_get(change, DB_IDS, id, strlen(id), &value);

	if (r != PS_E_NOTFOUND)
		return r < 0 ? r : ps_fail(PS_E_EXISTS, "the queue has a message %s already", id);
	message.recipients = (uint32_t)addition->message.count;
	r = message_put(change, &message);
	return r < 0 ? r : add_parts(change, &message);
}

static int apply_add(struct op *op, struct change *change)
{
	return add_apply(change, &op->additions[0]);
}

static void added(struct op *op)
{
	if (op->error == 0)
		atomic_fetch_add(&op->queue->added, 1);
	op->called(op->arg, op->error);
}

void ps_queue_add(struct ps_queue *queue, const struct ps_queue_message *message, ps_queue_done_fn done, void *arg)
{
	struct op *op = op_create(queue);

	op->additions = PS_NEW(op->pool, struct addition);
	op->addition_count = 1;
	copy_message(op->pool, message, &op->additions[0].message);
	op->prepare = prepare;
	op->apply = apply_add;
	op->undo = drop_bodies;
	op->done = added;
	op->needs_room = true;
	op->called = done;
	op->arg = arg;
	op_run(op);
}

/* ---- finishing --------------------------------------------------------------------------------- */

static const char *cut(struct ps_pool *pool, const char *text)
{
	return text ? ps_pool_strndup(pool, text, strnlen(text, PS_QUEUE_TEXT_MAX)) : NULL;
}

static void copy_result(struct ps_pool *pool, const struct ps_queue_result *from, struct ps_queue_result *to)
{
	*to = *from;
	to->enhanced = cut(pool, from->enhanced);
	to->text = cut(pool, from->text);
	to->host = cut(pool, from->host);
}

/* True: some are still to be settled. */
static bool note_results(const struct op *op, struct part *part)
{
	const struct ps_queue_attempt *attempt = op->attempt;
	bool open = false;

	for (size_t i = 0; i < attempt->message.count; i++) {
		const struct ps_queue_result *result = &op->finish.results[i];
		uint32_t place = attempt->message.recipients[i].place;

		if (place >= part->count)
			continue;
		part->recipients[place].outcome = result->outcome;
		part->recipients[place].code = result->code;
		if (result->outcome == PS_QUEUE_DEFERRED)
			part->last = *result;
	}
	for (uint32_t i = 0; i < part->count; i++)
		open |= part->recipients[i].outcome == PS_QUEUE_DEFERRED;
	return open;
}

static void put_off(struct change *change, const struct op *op, struct part *part)
{
	struct ps_queue *queue = change->queue;

	part->settle = 0;
	if (op->finish.told_delay)
		part->flags |= PART_TOLD;
	if (op->attempt->send) {
		part->attempts++;
		part->tried = change->now;
		part->order = 0;
		part->due = part->flags & (PART_HELD | PART_RETURN)
				    ? 0
				    : change->now + schedule_retry(queue, part->attempts);
	}
	/* A wish that came while it was under way. */
	if ((part->flags & PART_RETURN) && !(op->attempt->flags & PART_RETURN))
		part->settle = schedule_order(queue, part->sender);
	part->deadline = part_deadline(queue, part, change->now);
}

static int remove_if_empty(struct change *change, uint64_t number)
{
	struct message message;
	struct part part;
	uint32_t index;
	int r = part_next(change, number, 0, &part, &index);

	if (r != PS_E_NOTFOUND)
		return r == PS_E_CORRUPT ? 0 : r; /* there is one, though it cannot be read */
	r = message_get(change, number, &message);
	if (r == PS_E_CORRUPT)
		return set_aside_message(change, number);
	if (r == PS_E_NOTFOUND)
		return 0;
	return r < 0 ? r : message_remove(change, &message);
}

static int store_dest(struct change *change, const struct op *op)
{
	const struct ps_queue_attempt *attempt = op->attempt;
	struct dest dest;
	int r = dest_get(change, attempt->dest, &dest);

	if (r < 0)
		return r;
	if (!*dest.name)
		dest.name = attempt->destination;
	schedule_store(change->queue, &dest);
	if (op->finish.verdict != PS_QUEUE_UNKNOWN)
		dest.tried = change->now;
	if (op->finish.verdict == PS_QUEUE_UNREACHABLE && attempt->message.count)
		dest.reason = op->finish.results[0];
	else if (op->finish.verdict != PS_QUEUE_UNKNOWN)
		dest.reason = (struct ps_queue_result){0};
	return dest_settle(change, &dest);
}

static int add_reports(struct op *op, struct change *change)
{
	int r = 0;

	for (size_t i = 0; i < op->addition_count && r == 0; i++) {
		if (op->additions[i].refused)
			continue;
		r = add_apply(change, &op->additions[i]);
		if (r == PS_E_EXISTS) {
			refuse_report(&op->additions[i]);
			r = 0;
		}
	}
	return r;
}

static int settle_part(struct op *op, struct change *change, const struct part *from)
{
	struct part to = *from;
	int r;

	to.recipients = ps_pool_memdup(change->pool, from->recipients, from->count * sizeof *from->recipients);
	if (note_results(op, &to)) {
		put_off(change, op, &to);
		return part_save(change, from, &to);
	}
	r = part_save(change, from, NULL);
	return r < 0 ? r : remove_if_empty(change, from->number);
}

static int finish_part(struct op *op, struct change *change)
{
	struct ps_queue_attempt *attempt = op->attempt;
	struct part part;
	int r;

	/* Whoever closes a body last waits until its blocks are free: not the loop. */
	ps_closep(&attempt->message.file);
	attempt->message.file = -1;
	r = part_get(change, attempt->number, attempt->part, &part);

	if (r == PS_E_CORRUPT) {
		ps_log(PS_LOG_ERROR, "queue_row_damaged", "id", attempt->message.id, "msg", ps_last_error(), NULL);
		r = set_aside_part(change, attempt->number, attempt->part);
	} else if (r == 0) {
		r = settle_part(op, change, &part);
	}
	if (r == PS_E_NOTFOUND) {
		/* It was removed meanwhile, and nobody is told. */
		for (size_t i = 0; i < op->addition_count; i++)
			op->additions[i].refused = true;
		return 0;
	}
	return r < 0 ? r : add_reports(op, change);
}

static int apply_finish(struct op *op, struct change *change)
{
	int r;

	if (!op->learned && op->attempt->send)
		schedule_learn(op->queue, op->attempt->dest, op->finish.verdict);
	op->learned = true;
	r = finish_part(op, change);
	return r == 0 && op->attempt->send ? store_dest(change, op) : r;
}

static void committed_finish(struct op *op)
{
	schedule_release(op->queue, op->attempt);
	for (size_t i = 0; i < op->addition_count; i++)
		if (op->additions[i].refused && op->additions[i].number)
			body_remove(op->queue, op->additions[i].number);
	atomic_fetch_add(&op->queue->finished, 1);
}

static void finished(struct op *op)
{
	if (op->error < 0)
		schedule_release(op->queue, op->attempt);
	if (op->called)
		op->called(op->arg, op->error);
	attempt_free(op->attempt);
}

void ps_queue_finish(struct ps_queue *queue, struct ps_queue_attempt *attempt, const struct ps_queue_finish *finish,
		     ps_queue_done_fn done, void *arg)
{
	struct op *op = op_create(queue);
	struct ps_queue_result *results = PS_NEWV(op->pool, struct ps_queue_result, attempt->message.count);

	op->attempt = attempt;
	op->finish = *finish;
	op->finish.results = results;
	for (size_t i = 0; i < attempt->message.count; i++)
		copy_result(op->pool, &finish->results[i], &results[i]);
	op->addition_count = finish->report_count;
	op->additions = PS_NEWV(op->pool, struct addition, op->addition_count);
	for (size_t i = 0; i < op->addition_count; i++)
		copy_message(op->pool, &finish->reports[i], &op->additions[i].message);
	op->prepare = op->addition_count ? prepare : NULL;
	op->apply = apply_finish;
	op->committed = committed_finish;
	op->undo = drop_bodies;
	op->done = finished;
	op->must = true;
	op->called = done;
	op->arg = arg;
	op_run(op);
}

static void drop_work(void *arg)
{
	struct op *op = arg;

	schedule_release(op->queue, op->attempt);
	attempt_free(op->attempt);
}

static void dropped(void *arg)
{
	struct op *op = arg;
	struct ps_queue *queue = op->queue;

	op_free(op);
	queue_ran(queue);
}

void ps_queue_drop(struct ps_queue *queue, struct ps_queue_attempt *attempt)
{
	struct op *op = op_create(queue);

	op->attempt = attempt;
	queue_run(queue, drop_work, dropped, op); /* the lock may be held by who reads from disk */
}

unsigned ps_queue_owes(const struct ps_queue *queue, const struct ps_queue_attempt *attempt)
{
	return part_owes(queue, attempt->accepted, attempt->flags, queue_now(queue));
}
