/* SPDX-License-Identifier: MIT */
/*
 * RCPT: a recipient leads to targets, each of which is there, or not, or cannot be told of now; and then it is answered.
 */
#include "core/delivery/transactions_private.h"
#include "postern/error.h"
#include "postern/log.h"

static const struct ps_answer unsure = {451, "4.3.0", "Users cannot be looked up now; try again later", ""},
			      no_relay = {550, "5.7.1", "This server does not relay to there", ""},
			      too_many = {452, "4.5.3", "Too many recipients", ""},
			      full = {552, "5.2.2", "The mailbox is full", ""};

static struct recipient *recipient_create(struct transaction *t, const struct ps_msg_mail_rcpt *rcpt)
{
	struct recipient *recipient = PS_NEW(t->pool, struct recipient);

	recipient->transaction = t;
	recipient->path = ps_pool_strdup(t->pool, rcpt->forward_path);
	recipient->orcpt = rcpt->orcpt ? ps_pool_strdup(t->pool, rcpt->orcpt) : NULL;
	recipient->notify = rcpt->notify;
	recipient->end = &recipient->targets;
	*t->end = recipient;
	t->end = &recipient->next;
	t->count++;
	t->undecided++;
	return recipient;
}

static void say(struct recipient *recipient, const struct ps_answer *answer)
{
	transaction_say(recipient->transaction, answer->code, answer->enhanced, answer->text);
}

/* A target that cannot be told of decides: whoever is told 250 would not get another chance to send to it. */
static void decide(struct recipient *recipient)
{
	struct transaction *t = recipient->transaction;
	const struct target *refused = NULL;
	bool is_unsure = false;

	if (--recipient->undecided > 0)
		return;
	t->undecided--;
	for (const struct target *target = recipient->targets; target; target = target->next) {
		recipient->accepted |= target->accepted;
		is_unsure |= !target->accepted && !target->replaced && target->why.code < 500;
		if (!target->accepted && !target->replaced && !refused)
			refused = target;
	}
	if (is_unsure)
		recipient->accepted = false;
	if (recipient->accepted && refused)
		ps_log(PS_LOG_WARNING, "alias", "id", t->id, "of", recipient->path, "target", refused->to.address,
		       "msg", refused->why.text, NULL);
	t->accepted += recipient->accepted;
	if (recipient->accepted)
		transaction_say(t, 250, "2.1.5", "OK");
	else
		say(recipient, is_unsure || !refused ? &unsure : &refused->why);
	transaction_recipient_decided(t);
}

static void settle_target(struct target *target);

static void add_targets(struct recipient *recipient, const struct ps_target *targets, size_t count)
{
	struct transaction *t = recipient->transaction;

	for (size_t i = 0; i < count; i++) {
		struct target *target = PS_NEW(t->pool, struct target);

		target->recipient = recipient;
		target->to = targets[i];
		*recipient->end = target;
		recipient->end = &target->next;
		recipient->undecided++;
		t->target_count++;
		settle_target(target);
	}
}

static void refuse(struct target *target, const struct ps_answer *why)
{
	target->why = *why;
	decide(target->recipient);
}

static void accept(struct target *target)
{
	target->accepted = true;
	decide(target->recipient);
}

/* The target stays in the list as one that is not there; what there is instead stands behind it. */
static void go_on(struct target *unknown)
{
	struct transaction *t = unknown->recipient->transaction;
	struct ps_target *instead;
	size_t count;

	ps_route_otherwise(t->transactions->route, t->pool, &unknown->to, &instead, &count);
	if (count == 1 && instead->kind == PS_TARGET_REFUSED) {
		refuse(unknown, &(struct ps_answer){instead->code, instead->enhanced, instead->text, ""});
		return;
	}
	unknown->replaced = true;
	add_targets(unknown->recipient, instead, count);
	decide(unknown->recipient);
}

static void on_probed(void *arg, int error)
{
	struct target *target = arg;

	target->asking = NULL;
	target->probe_ends = 0;
	if (error == PS_E_QUOTA)
		refuse(target, &full);
	else if (error == PS_E_NOTFOUND || error == PS_E_CLOSED)
		refuse(target, &unsure); /* a moment ago there was such a user */
	else
		accept(target);
}

/* Is there room for the message, as far as MAIL told its size? */
static void probe(struct target *target)
{
	const struct transaction *t = target->recipient->transaction;

	target->errand = (struct ps_errand){
		.id = t->id, .user = target->to.user, .mailbox = target->to.detail, .file = -1, .size = t->announced};
	target->probe_ends = ps_monotonic_ms() + PROBE_PATIENCE_MS;
	target->asking = ps_local_probe(t->transactions->local, &target->errand, on_probed, target);
	if (!target->asking)
		on_probed(target, PS_E_CLOSED);
}

static void on_found(void *arg, enum ps_lookup_status status, uint32_t mail)
{
	struct target *target = arg;

	target->asking = NULL;
	target->mail = mail;
	if (status == PS_LOOKUP_FOUND)
		accept(target);
	else if (status == PS_LOOKUP_LIMITED)
		probe(target);
	else if (status == PS_LOOKUP_UNKNOWN && target->recipient->transaction->transactions->route)
		go_on(target);
	else
		refuse(target, &unsure);
}

static void settle_target(struct target *target)
{
	const struct transaction *t = target->recipient->transaction;

	switch (target->to.kind) {
	case PS_TARGET_LOCAL:
		target->asking = ps_local_find(t->transactions->local, target->to.user, t->sid, on_found, target);
		if (!target->asking)
			refuse(target, &unsure);
		break;
	case PS_TARGET_REMOTE:
		if (t->transactions->hooks.enqueue)
			accept(target);
		else
			refuse(target, &no_relay);
		break;
	case PS_TARGET_REFUSED:
		refuse(target, &(struct ps_answer){target->to.code, target->to.enhanced, target->to.text, ""});
		break;
	}
}

void recipient_add(struct transaction *t, const struct ps_msg_mail_rcpt *rcpt)
{
	struct recipient *recipient = recipient_create(t, rcpt);
	struct ps_target *targets;
	size_t count;

	recipient->undecided = 1; /* until all targets are there */
	if (!t->transactions->route) {
		decide(recipient);
		return;
	}
	ps_route_expand(t->transactions->route, t->pool, recipient->path, t->user || t->done, &targets, &count);
	if (t->target_count + count > TARGETS_MAX) {
		t->undecided--;
		say(recipient, &too_many);
		transaction_recipient_decided(t);
		return;
	}
	add_targets(recipient, targets, count);
	decide(recipient);
}

/* A mailbox that does not answer takes mail, by the queue if need be. */
void recipients_tick(struct transaction *t, uint64_t now_ms)
{
	t->undecided++; /* so that it stays until all are told */
	for (struct recipient *recipient = t->recipients; recipient; recipient = recipient->next) {
		for (struct target *target = recipient->targets; target; target = target->next) {
			if (!target->probe_ends || now_ms < target->probe_ends)
				continue;
			ps_local_cancel(target->asking);
			on_probed(target, 0);
		}
	}
	t->undecided--;
	transaction_recipient_decided(t);
}
