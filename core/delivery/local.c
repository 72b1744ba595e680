/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include "core/delivery/local.h"
#include "core/delivery/parcel.h"
#include "postern/backend.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	SLOTS = 1024
};

struct ps_asking {
	LIST_ENTRY(ps_asking) slot;
	struct ps_local *local;
	uint64_t number;
	bool of_mail; /* asked of a mail process, which is: */
	uint32_t mail;
	ps_local_found_fn found;              /* of a ps_local_find() */
	void (*stored)(void *arg, int error); /* of a ps_local_store() */
	void *arg;
	const struct ps_errand *errand;
	bool probe; /* it is a ps_local_probe() */
};

struct ps_local {
	struct ps_local_hooks hooks;
	LIST_HEAD(, ps_asking) slots[SLOTS]; /* by number */
	uint64_t last;
};

struct ps_local *ps_local_create(const struct ps_local_hooks *hooks)
{
	struct ps_local *local = ps_zalloc(sizeof *local);

	local->hooks = *hooks;
	return local;
}

void ps_local_cancel(struct ps_asking *asking)
{
	if (!asking)
		return;
	LIST_REMOVE(asking, slot);
	free(asking);
}

void ps_local_destroy(struct ps_local *local)
{
	if (!local)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		while (LIST_FIRST(&local->slots[i]))
			ps_local_cancel(LIST_FIRST(&local->slots[i]));
	free(local);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void number(struct ps_asking *asking)
{
	asking->number = ++asking->local->last;
	LIST_INSERT_HEAD(&asking->local->slots[asking->number % SLOTS], asking, slot);
}

static struct ps_asking *ask_auth(struct ps_local *local, const struct ps_asking *what, const char *name,
				  const char *sid)
{
	struct ps_asking *asking = ps_malloc(sizeof *asking);

	*asking = *what;
	asking->local = local;
	number(asking);
	if (local->hooks.find_user(local->hooks.arg, asking->number, name, sid, asking->stored != NULL) == 0)
		return asking;
	ps_local_cancel(asking);
	return NULL;
}

struct ps_asking *ps_local_find(struct ps_local *local, const char *name, const char *sid, ps_local_found_fn fn,
				void *arg)
{
	return ask_auth(local, &(struct ps_asking){.found = fn, .arg = arg}, name, sid);
}

struct ps_asking *ps_local_store(struct ps_local *local, const struct ps_errand *errand,
				 void (*fn)(void *arg, int error), void *arg)
{
	return ask_auth(local, &(struct ps_asking){.stored = fn, .arg = arg, .errand = errand}, errand->user,
			errand->id);
}

struct ps_asking *ps_local_probe(struct ps_local *local, const struct ps_errand *errand,
				 void (*fn)(void *arg, int error), void *arg)
{
	return ask_auth(local, &(struct ps_asking){.stored = fn, .arg = arg, .errand = errand, .probe = true},
			errand->user, errand->id);
}

/* ---- answers --------------------------------------------------------------------------------- */

static struct ps_asking *find(struct ps_local *local, uint64_t question)
{
	struct ps_asking *asking;

	for (asking = LIST_FIRST(&local->slots[question % SLOTS]); asking; asking = LIST_NEXT(asking, slot))
		if (asking->number == question)
			return asking;
	return NULL;
}

static void answer_stored(struct ps_asking *asking, int error)
{
	void (*fn)(void *arg, int error) = asking->stored;
	void *arg = asking->arg;

	ps_local_cancel(asking);
	fn(arg, error);
}

static void answer_found(struct ps_asking *asking, enum ps_lookup_status status, uint32_t mail)
{
	ps_local_found_fn fn = asking->found;
	void *arg = asking->arg;

	ps_local_cancel(asking);
	fn(arg, status, mail);
}

/* FNV-1a: tells the few folders apart that one sender's message may be for. */
static uint64_t digest(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3;
	return hash;
}

/* One for each message and mailbox: who has two addresses that lead to one mailbox gets one copy. */
static struct ps_bytes make_token(const struct ps_errand *errand, char space[PS_TOKEN_MAX])
{
	int n;

	if (errand->mailbox)
		n = snprintf(space, PS_TOKEN_MAX, "%.*s/%016" PRIx64, PS_ID_LENGTH, errand->id,
			     digest(errand->mailbox));
	else
		n = snprintf(space, PS_TOKEN_MAX, "%.*s", PS_ID_LENGTH, errand->id);
	return ps_bytes(space, (size_t)n);
}

/* The mail process is not there. What it would have said to a probe it will say to the message. */
static void answer_without_mail(struct ps_asking *asking)
{
	answer_stored(asking, asking->probe ? 0 : PS_E_CLOSED);
}

static void pass_on(struct ps_asking *asking, const struct ps_msg_lookup_answer *user)
{
	const struct ps_local_hooks *hooks = &asking->local->hooks;
	char token[PS_TOKEN_MAX];
	struct ps_delivery delivery = {
		.errand = asking->errand,
		.ticket = user->ticket,
		.token = make_token(asking->errand, token),
		.mail = user->mail,
		.probe = asking->probe,
	};

	LIST_REMOVE(asking, slot);
	asking->of_mail = true;
	asking->mail = user->mail;
	number(asking);
	if (hooks->deliver(hooks->arg, asking->number, &delivery) < 0)
		answer_without_mail(asking);
}

void ps_local_found(struct ps_local *local, const struct ps_msg_lookup_answer *answer)
{
	struct ps_asking *asking = find(local, answer->number);
	enum ps_lookup_status status = (enum ps_lookup_status)answer->status;

	if (!asking || asking->of_mail)
		return;
	if (asking->found)
		answer_found(asking, status, answer->mail);
	else if (status == PS_LOOKUP_FOUND)
		pass_on(asking, answer);
	else
		answer_stored(asking, status == PS_LOOKUP_UNKNOWN ? PS_E_NOTFOUND : PS_E_CLOSED);
}

void ps_local_delivered(struct ps_local *local, uint64_t question, int error)
{
	struct ps_asking *asking = find(local, question);

	if (asking && asking->of_mail)
		answer_stored(asking, error);
}

/* The list changes when one is answered, so it is begun again. */
static struct ps_asking *find_lost(struct ps_local *local, size_t slot, const uint32_t *mail)
{
	struct ps_asking *asking;

	for (asking = LIST_FIRST(&local->slots[slot]); asking; asking = LIST_NEXT(asking, slot))
		if (mail ? asking->of_mail && asking->mail == *mail : !asking->of_mail)
			return asking;
	return NULL;
}

void ps_local_lost(struct ps_local *local, const uint32_t *mail)
{
	struct ps_asking *asking;

	for (size_t i = 0; i < SLOTS; i++) {
		while ((asking = find_lost(local, i, mail))) {
			if (asking->found)
				answer_found(asking, PS_LOOKUP_TEMPFAIL, 0);
			else if (asking->of_mail)
				answer_without_mail(asking);
			else
				answer_stored(asking, PS_E_CLOSED);
		}
	}
}
