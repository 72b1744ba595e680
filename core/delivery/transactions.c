/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/base/sealed.h"
#include "core/delivery/spool.h"
#include "core/delivery/transactions_private.h"
#include "postern/error.h"
#include "postern/log.h"

/* ---- making and dropping --------------------------------------------------------------------- */

/* The open transaction of a session, whichever it is. */
static struct transaction *find(struct ps_transactions *transactions, struct ps_client client)
{
	struct transaction *t;

	for (t = LIST_FIRST(&transactions->clients[client.number % SLOTS]); t; t = LIST_NEXT(t, slot))
		if (!t->orphaned && t->client.front == client.front && t->client.number == client.number)
			return t;
	return NULL;
}

/* That which the session means. */
static struct transaction *find_open(struct ps_transactions *transactions, struct ps_client client)
{
	struct transaction *t = find(transactions, client);

	return t && t->client.turn == client.turn ? t : NULL;
}

/* No message is on its way from here into mailboxes and the queue. */
bool ps_transactions_idle(const struct ps_transactions *transactions)
{
	const struct transaction *t;

	for (size_t i = 0; i < SLOTS; i++)
		for (t = LIST_FIRST(&transactions->clients[i]); t; t = LIST_NEXT(t, slot))
			if (t->state >= QUEUEING)
				return false;
	return true;
}

static void tell_idle(struct ps_transactions *transactions)
{
	void (*idle)(void *arg) = transactions->idle;

	if (!idle || !ps_transactions_idle(transactions))
		return;
	transactions->idle = NULL;
	idle(transactions->idle_arg);
}

void ps_transactions_stop(struct ps_transactions *transactions, void (*idle)(void *arg), void *arg)
{
	transactions->stopping = true;
	transactions->idle = idle;
	transactions->idle_arg = arg;
	tell_idle(transactions);
}

/* ---- how much a user sends --------------------------------------------------------------------- */

/* What to tell a user who sends too much; NULL: nothing. */
static const char *take_amount(struct transaction *t)
{
	struct ps_limits *limits = t->transactions->limits;
	const char *too_much;

	if (!t->user || !limits)
		return NULL;
	too_much = ps_limits_take(limits, t->user, 1, (unsigned)t->accepted, ps_monotonic_ms() / 1000);
	if (!too_much)
		t->taken = t->accepted;
	return too_much;
}

static void give_back_amount(struct transaction *t)
{
	if (t->taken)
		ps_limits_give_back(t->transactions->limits, t->user, 1, (unsigned)t->taken, ps_monotonic_ms() / 1000);
	t->taken = 0;
}

/* ---- the end ----------------------------------------------------------------------------------- */

void transaction_drop(struct transaction *t)
{
	struct ps_transactions *transactions = t->transactions;

	if (t->last.code != 250)
		give_back_amount(t);
	if (t->done)
		t->done(t->done_arg, &t->last);
	for (struct recipient *r = t->recipients; r; r = r->next)
		for (struct target *target = r->targets; target; target = target->next)
			ps_local_cancel(target->asking);
	LIST_REMOVE(t, slot);
	ps_closep(&t->file);
	ps_pool_destroy(t->pool);
	free(t);
	tell_idle(transactions);
}

struct ps_transactions *ps_transactions_create(const struct ps_conf *conf, struct ps_local *local,
					       const struct ps_transaction_hooks *hooks)
{
	struct ps_transactions *transactions = ps_zalloc(sizeof *transactions);

	transactions->hooks = *hooks;
	transactions->conf = conf;
	transactions->local = local;
	transactions->revoked = ps_revoked_create(PS_PASS_LIFETIME_MS);
	transactions->spool_dir = ps_strdup(ps_conf_str(conf, "spool_dir"));
	return transactions;
}

void ps_transactions_drop(struct ps_transactions *transactions)
{
	struct transaction *t;

	for (size_t i = 0; i < SLOTS; i++)
		while ((t = LIST_FIRST(&transactions->clients[i]))) {
			t->done = NULL;
			transaction_drop(t);
		}
}

void ps_transactions_destroy(struct ps_transactions *transactions)
{
	if (!transactions)
		return;
	ps_transactions_drop(transactions);
	ps_revoked_destroy(transactions->revoked);
	free(transactions->spool_dir);
	free(transactions);
}

void ps_transactions_reconfigure(struct ps_transactions *transactions, const struct ps_conf *conf)
{
	transactions->conf = conf;
}

void ps_transactions_set_route(struct ps_transactions *transactions, struct ps_route *route)
{
	transactions->route = route;
}

void ps_transactions_set_limits(struct ps_transactions *transactions, struct ps_limits *limits)
{
	transactions->limits = limits;
}

void ps_transactions_set_key(struct ps_transactions *transactions, struct ps_bytes pass_key)
{
	if (pass_key.len == sizeof transactions->pass_key.octets)
		memcpy(transactions->pass_key.octets, pass_key.ptr, pass_key.len);
}

void ps_transactions_revoke(struct ps_transactions *transactions, const struct ps_revocation *revocation)
{
	ps_revoked_add(transactions->revoked, revocation);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answer(struct ps_transactions *transactions, struct ps_client client, const struct ps_answer *to_say)
{
	transactions->hooks.reply(transactions->hooks.arg, client, to_say);
}

void transaction_say(struct transaction *t, unsigned code, const char *enhanced, const char *text)
{
	t->last = (struct ps_answer){code, enhanced, ps_pool_strdup(t->pool, text), t->id};
	if (!t->orphaned)
		answer(t->transactions, t->client, &(struct ps_answer){code, enhanced, text, t->id});
}

static void wrong_order(struct ps_transactions *transactions, struct ps_client client)
{
	answer(transactions, client, &(struct ps_answer){503, "5.5.1", "Not now", ""});
}

/* ---- MAIL ------------------------------------------------------------------------------------ */

static bool too_large(const struct ps_transactions *transactions, uint64_t size)
{
	uint64_t most = (uint64_t)ps_conf_int(ps_conf_section(transactions->conf, "limits", 0), "message_size");

	return most && size > most;
}

/* The null reverse-path is for what must not be answered, such as notices of having read something. */
static bool may_send_as(const struct ps_transactions *transactions, const char *user, const char *reverse_path)
{
	const struct ps_conf *relay = ps_conf_section(transactions->conf, "relay", 0);

	return !*reverse_path || strcmp(ps_conf_str(relay, "submission_sender"), "any") == 0 ||
	       (transactions->route && ps_route_is_own(transactions->route, user, reverse_path));
}

/* The name is the message's. */
static bool has_logged_in(const struct ps_transactions *transactions, const struct ps_msg_mail_from *from,
			  const char **ret_user)
{
	struct ps_hash credential;
	struct ps_msg_pass pass;

	if (ps_pass_check(&transactions->pass_key, from->pass, from->sid, ps_monotonic_ms(), &pass) < 0)
		return false;
	credential = ps_credential_from(pass.credential);
	*ret_user = pass.user;
	return !ps_revoked_has(transactions->revoked, pass.user, &credential, pass.expires - PS_PASS_LIFETIME_MS);
}

/* What is wrong with the sender. */
static const struct ps_answer *refuse_sender(const struct ps_transactions *transactions,
					     const struct ps_msg_mail_from *from, const char **ret_user)
{
	static const struct ps_answer unknown_way = {550, "5.7.1", "Mail is not taken this way here", ""},
				      no_log_in = {530, "5.7.0", "Log in first", ""},
				      not_own = {553, "5.7.1", "This is not an address of yours", ""},
				      large = {552, "5.3.4", "The message is too large", ""},
				      stopping = {451, "4.3.2", "The server stops; try again later", ""};

	*ret_user = NULL;
	if (transactions->stopping)
		return &stopping;
	switch (from->source) {
	case PS_MAIL_MX:
	case PS_MAIL_LMTP: break;
	case PS_MAIL_SUBMISSION:
		if (!has_logged_in(transactions, from, ret_user))
			return &no_log_in;
		if (!may_send_as(transactions, *ret_user, from->reverse_path))
			return &not_own;
		break;
	default: return &unknown_way;
	}
	return too_large(transactions, from->size) ? &large : NULL;
}

static char *copy(struct ps_pool *pool, const char *text)
{
	return text ? ps_pool_strdup(pool, text) : NULL;
}

static struct transaction *begin(struct ps_transactions *transactions, struct ps_client client,
				 const struct ps_msg_mail_from *from, const char *user)
{
	struct transaction *t = ps_zalloc(sizeof *t);

	t->transactions = transactions;
	t->client = client;
	t->file = -1;
	t->pool = ps_pool_create("transaction");
	t->end = &t->recipients;
	t->source = (enum ps_mail_source)from->source;
	t->options = from->options;
	t->announced = from->size;
	t->sid = copy(t->pool, from->sid);
	t->reverse_path = copy(t->pool, from->reverse_path);
	t->envid = copy(t->pool, from->envid);
	t->user = copy(t->pool, user);
	ps_make_id(t->id);
	LIST_INSERT_HEAD(&transactions->clients[client.number % SLOTS], t, slot);
	return t;
}

static void forget(struct transaction *t)
{
	t->orphaned = true;
	if (t->state < QUEUEING)
		transaction_drop(t);
}

void ps_transactions_from(struct ps_transactions *transactions, struct ps_client client,
			  const struct ps_msg_mail_from *from)
{
	struct transaction *t = find(transactions, client);
	const struct ps_answer *refusal;
	const char *user;

	if (t)
		forget(t);
	refusal = refuse_sender(transactions, from, &user);
	if (refusal)
		answer(transactions, client, refusal);
	else
		transaction_say(begin(transactions, client, from, user), 250, "2.1.0", "OK");
}

/* ---- RCPT ------------------------------------------------------------------------------------ */

void ps_transactions_rcpt(struct ps_transactions *transactions, struct ps_client client,
			  const struct ps_msg_mail_rcpt *rcpt)
{
	struct transaction *t = find_open(transactions, client);

	if (!t || t->state != TAKING)
		wrong_order(transactions, client);
	else if (t->count >= RECIPIENTS_MAX)
		transaction_say(t, 452, "4.5.3", "Too many recipients");
	else
		recipient_add(t, rcpt);
}

/* ---- the message ----------------------------------------------------------------------------- */

static int open_file(struct transaction *t, int *ret_writers)
{
	int r = ps_spool_open(t->transactions->spool_dir, &t->file);

	if (r < 0)
		return r;
	*ret_writers = fcntl(t->file, F_DUPFD_CLOEXEC, 0);
	return *ret_writers < 0 ? ps_fail_errno("duplicate a descriptor") : 0;
}

void ps_transactions_data(struct ps_transactions *transactions, struct ps_client client)
{
	struct transaction *t = find_open(transactions, client);
	const char *too_much;

	if (!t || t->state != TAKING || t->undecided > 0) {
		wrong_order(transactions, client);
	} else if (t->accepted == 0) {
		transaction_say(t, 554, "5.5.1", "No valid recipients");
	} else if ((too_much = take_amount(t))) {
		transaction_say(t, 450, "4.7.1", too_much);
	} else {
		t->state = RECEIVING;
		transaction_say(t, 354, "", "Go ahead");
	}
}

/* A front that asks twice, or in between, has gone mad; it gets nothing. */
void ps_transactions_room(struct ps_transactions *transactions, struct ps_client client)
{
	struct transaction *t = find_open(transactions, client);
	int file = -1;

	if (!t || t->state != RECEIVING || t->file >= 0)
		return;
	if (open_file(t, &file) < 0)
		ps_log(PS_LOG_ERROR, "spool_failed", "id", t->id, "msg", ps_last_error(), NULL);
	transactions->hooks.give_file(transactions->hooks.arg, client, file);
}

/* Most messages are small: they come with their end, and never touch the disk of the spool unless the queue takes them. */
static int take_small(struct transaction *t, struct ps_bytes octets)
{
	int r = t->file >= 0 ? 0 : ps_sealed_file("message", octets, &t->file);

	if (r < 0)
		ps_log(PS_LOG_ERROR, "spool_failed", "id", t->id, "msg", ps_last_error(), NULL);
	return r;
}

static void receive(struct transaction *t, const struct ps_msg_mail_end *end)
{
	t->size = end->size;
	if (too_large(t->transactions, end->size)) {
		transaction_say(t, 552, "5.3.4", "The message is too large");
		transaction_drop(t);
	} else if (!end->whole || take_small(t, end->octets) < 0 || ps_spool_check(t->file, end->size) < 0) {
		transaction_say(t, 452, "4.3.1", "There is no room for this message now; try again later");
		transaction_drop(t);
	} else {
		transaction_settle(t);
	}
}

void ps_transactions_end(struct ps_transactions *transactions, struct ps_client client,
			 const struct ps_msg_mail_end *end)
{
	struct transaction *t = find_open(transactions, client);

	if (t && t->state == RECEIVING)
		receive(t, end);
	else
		wrong_order(transactions, client);
}

/* ---- without a session ----------------------------------------------------------------------- */

void transaction_recipient_decided(struct transaction *t)
{
	if (!t->done || t->state != TAKING || t->undecided > 0)
		return;
	if (t->accepted > 0)
		transaction_settle(t);
	else
		transaction_drop(t);
}

void ps_transactions_submit(struct ps_transactions *transactions, const struct ps_parcel *parcel,
			    void (*done)(void *arg, const struct ps_answer *answer), void *arg)
{
	struct transaction *t = ps_zalloc(sizeof *t);

	t->transactions = transactions;
	t->orphaned = true;
	t->pool = ps_pool_create("transaction");
	t->end = &t->recipients;
	t->source = PS_MAIL_MX;
	t->options = parcel->options;
	t->sid = copy(t->pool, parcel->sid ? parcel->sid : "");
	t->reverse_path = copy(t->pool, parcel->reverse_path);
	t->envid = copy(t->pool, parcel->envid);
	t->user = copy(t->pool, parcel->user);
	t->done = done;
	t->done_arg = arg;
	t->size = t->announced = parcel->size;
	snprintf(t->id, sizeof t->id, "%s", parcel->id);
	LIST_INSERT_HEAD(&transactions->clients[0], t, slot);
	t->file = fcntl(parcel->file, F_DUPFD_CLOEXEC, 0);
	t->undecided = 1; /* until all recipients are there */
	for (size_t i = 0; i < parcel->recipient_count; i++)
		recipient_add(t, &(struct ps_msg_mail_rcpt){.forward_path = parcel->recipients[i].address,
							    .notify = parcel->recipients[i].notify,
							    .orcpt = parcel->recipients[i].orcpt});
	t->undecided--;
	transaction_recipient_decided(t);
}

/* ---- what happens meanwhile ------------------------------------------------------------------ */

void ps_transactions_reset(struct ps_transactions *transactions, struct ps_client client)
{
	struct transaction *t = find_open(transactions, client);

	if (t)
		forget(t);
}

/* Calls fn for each; it may drop the transaction. */
static void each(struct ps_transactions *transactions, void (*fn)(struct transaction *t, const void *arg),
		 const void *arg)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct transaction *t = LIST_FIRST(&transactions->clients[i]), *next;

		for (; t; t = next) {
			next = LIST_NEXT(t, slot);
			fn(t, arg);
		}
	}
}

static void forget_front(struct transaction *t, const void *arg)
{
	const unsigned *front = arg;

	if (t->client.front == *front && !t->orphaned)
		forget(t);
}

void ps_transactions_drop_front(struct ps_transactions *transactions, unsigned front)
{
	each(transactions, forget_front, &front);
}

static void look_at_time(struct transaction *t, const void *arg)
{
	const uint64_t *now_ms = arg;

	if (t->state == STORING)
		transaction_tick(t, *now_ms);
	else if (t->state == TAKING && t->undecided > 0)
		recipients_tick(t, *now_ms);
}

void ps_transactions_tick(struct ps_transactions *transactions, uint64_t now_ms)
{
	each(transactions, look_at_time, &now_ms);
}
