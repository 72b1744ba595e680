/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <unistd.h>
#include "core/delivery/spool.h"
#include "core/delivery/transactions.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	RECIPIENTS_MAX =
		1000,        /* of a transaction, the refused ones too; RFC 5321 section 4.5.3.1.8 wants at least 100 */
	DELIVERIES_MAX = 16, /* of a transaction at a time: each is a descriptor in a mail process */
	ID_SIZE = 21,
	SLOTS = 1024,
};

enum state {
	TAKING,     /* MAIL was answered with 250 */
	RECEIVING,  /* a front writes to the file */
	DELIVERING, /* the message is whole */
};

struct recipient {
	struct recipient *next;
	LIST_ENTRY(recipient) asked;
	struct transaction *transaction;
	char *path;        /* as the client gave it */
	uint64_t question; /* that is open; 0: none */
	bool asks_mail;    /* of a mail process, which is: */
	uint32_t mail;
	bool accepted;
	unsigned code; /* 0: not known yet */
	const char *enhanced, *text;
};

struct transaction {
	LIST_ENTRY(transaction) slot;
	struct ps_transactions *transactions;
	struct ps_client client;
	bool orphaned; /* the client has gone */
	enum state state;
	char id[ID_SIZE];
	struct ps_pool *pool;
	enum ps_mail_source source;
	const char *sid, *reverse_path;
	const char *user; /* who has logged in to send it; NULL: nobody has */
	struct recipient *recipients, **end;
	size_t count, accepted, undecided; /* undecided: their RCPT is not answered yet */
	struct recipient *undelivered;     /* DELIVERING: the first to which delivery has not begun */
	size_t delivering, delivered;
	bool starting; /* deliver_more() is at work */
	int file;
	uint64_t size;
};

struct ps_transactions {
	struct ps_transaction_hooks hooks;
	const struct ps_conf *conf;
	struct ps_ticket_key pass_key;
	char *spool_dir;                         /* the first: the process is confined to it */
	LIST_HEAD(, transaction) clients[SLOTS]; /* by number */
	LIST_HEAD(, recipient) questions[SLOTS]; /* that are open, by number */
	uint64_t last_question;
};

/* ---- questions ------------------------------------------------------------------------------- */

/* The number of a question that is about to be asked. */
static uint64_t open_question(struct recipient *recipient, bool asks_mail, uint32_t mail)
{
	struct ps_transactions *transactions = recipient->transaction->transactions;

	recipient->question = ++transactions->last_question;
	recipient->asks_mail = asks_mail;
	recipient->mail = mail;
	LIST_INSERT_HEAD(&transactions->questions[recipient->question % SLOTS], recipient, asked);
	return recipient->question;
}

static void close_question(struct recipient *recipient)
{
	if (recipient->question)
		LIST_REMOVE(recipient, asked);
	recipient->question = 0;
}

static struct recipient *asked(struct ps_transactions *transactions, uint64_t question)
{
	struct recipient *recipient;

	for (recipient = LIST_FIRST(&transactions->questions[question % SLOTS]); recipient;
	     recipient = LIST_NEXT(recipient, asked))
		if (recipient->question == question)
			return recipient;
	return NULL;
}

/* ---- making and dropping --------------------------------------------------------------------- */

void ps_transactions_set_key(struct ps_transactions *transactions, struct ps_bytes pass_key)
{
	if (pass_key.len == sizeof transactions->pass_key.octets)
		memcpy(transactions->pass_key.octets, pass_key.ptr, pass_key.len);
}

void ps_transactions_reconfigure(struct ps_transactions *transactions, const struct ps_conf *conf)
{
	transactions->conf = conf;
}

/* Names a message in the log and in Received: 100 bits that nobody has given before. */
static void make_id(char id[ID_SIZE])
{
	static const char letters[] = "0123456789ABCDFGHJKLMNPQRSTVWXYZ";
	uint8_t chance[ID_SIZE - 1];

	if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
		abort();
	for (size_t i = 0; i < sizeof chance; i++)
		id[i] = letters[chance[i] % 32];
	id[ID_SIZE - 1] = '\0';
}

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

static void drop(struct transaction *t)
{
	for (struct recipient *r = t->recipients; r; r = r->next)
		close_question(r);
	LIST_REMOVE(t, slot);
	ps_closep(&t->file);
	ps_pool_destroy(t->pool);
	free(t);
}

struct ps_transactions *ps_transactions_create(const struct ps_conf *conf, const struct ps_transaction_hooks *hooks)
{
	struct ps_transactions *transactions = ps_zalloc(sizeof *transactions);

	transactions->hooks = *hooks;
	transactions->conf = conf;
	transactions->spool_dir = ps_strdup(ps_conf_str(conf, "spool_dir"));
	return transactions;
}

void ps_transactions_destroy(struct ps_transactions *transactions)
{
	struct transaction *t;

	if (!transactions)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		while ((t = LIST_FIRST(&transactions->clients[i])))
			drop(t);
	free(transactions->spool_dir);
	free(transactions);
}

static void answer(struct ps_transactions *transactions, struct ps_client client, const struct ps_answer *to_say)
{
	transactions->hooks.reply(transactions->hooks.arg, client, to_say);
}

static void say(struct transaction *t, unsigned code, const char *enhanced, const char *text)
{
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
	       ps_strcasecmp(reverse_path, user) == 0;
}

/* What is wrong with the sender. */
static const struct ps_answer *refuse_sender(const struct ps_transactions *transactions,
					     const struct ps_msg_mail_from *from, const char **ret_user)
{
	static const struct ps_answer unknown_way = {550, "5.7.1", "Mail is not taken this way here", ""},
				      no_log_in = {530, "5.7.0", "Log in first", ""},
				      not_own = {553, "5.7.1", "This is not an address of yours", ""},
				      large = {552, "5.3.4", "The message is too large", ""};

	*ret_user = NULL;
	switch (from->source) {
	case PS_MAIL_MX:
	case PS_MAIL_LMTP: break;
	case PS_MAIL_SUBMISSION:
		if (ps_pass_check(&transactions->pass_key, from->pass, from->sid, ps_monotonic_ms(), ret_user) < 0)
			return &no_log_in;
		if (!may_send_as(transactions, *ret_user, from->reverse_path))
			return &not_own;
		break;
	default: return &unknown_way;
	}
	return too_large(transactions, from->size) ? &large : NULL;
}

static struct transaction *begin(struct ps_transactions *transactions, struct ps_client client,
				 const struct ps_msg_mail_from *from)
{
	struct transaction *t = ps_zalloc(sizeof *t);

	t->transactions = transactions;
	t->client = client;
	t->file = -1;
	t->pool = ps_pool_create("transaction");
	t->end = &t->recipients;
	t->source = (enum ps_mail_source)from->source;
	t->sid = ps_pool_strdup(t->pool, from->sid);
	t->reverse_path = ps_pool_strdup(t->pool, from->reverse_path);
	make_id(t->id);
	LIST_INSERT_HEAD(&transactions->clients[client.number % SLOTS], t, slot);
	return t;
}

static void forget(struct transaction *t);

void ps_transactions_from(struct ps_transactions *transactions, struct ps_client client,
			  const struct ps_msg_mail_from *from)
{
	struct transaction *t = find(transactions, client);
	const struct ps_answer *refusal;
	const char *user;

	if (t)
		forget(t);
	refusal = refuse_sender(transactions, from, &user);
	if (refusal) {
		answer(transactions, client, refusal);
		return;
	}
	t = begin(transactions, client, from);
	t->user = user ? ps_pool_strdup(t->pool, user) : NULL;
	say(t, 250, "2.1.0", "OK");
}

/* ---- RCPT ------------------------------------------------------------------------------------ */

static const char *domain_of(const char *path)
{
	const char *at = strrchr(path, '@');

	return at ? at + 1 : NULL;
}

/* Ours are default_domain and those that have a section. */
static bool is_local(const struct ps_conf *conf, const char *domain)
{
	const char *ours = ps_conf_str(conf, "default_domain");

	if (ours && ps_strcasecmp(ours, domain) == 0)
		return true;
	for (size_t i = 0; i < ps_conf_section_count(conf, "domain"); i++)
		if (ps_strcasecmp(ps_conf_title(ps_conf_section(conf, "domain", i)), domain) == 0)
			return true;
	return false;
}

static struct recipient *add_recipient(struct transaction *t, const char *path)
{
	struct recipient *recipient = PS_NEW(t->pool, struct recipient);

	recipient->transaction = t;
	recipient->path = ps_pool_strdup(t->pool, path);
	*t->end = recipient;
	t->end = &recipient->next;
	t->count++;
	t->undecided++;
	return recipient;
}

static void ask_for_user(struct recipient *recipient, bool ticket)
{
	struct transaction *t = recipient->transaction;
	const struct ps_transaction_hooks *hooks = &t->transactions->hooks;
	uint64_t question = open_question(recipient, false, 0);

	if (hooks->find_user(hooks->arg, question, recipient->path, t->sid, ticket) < 0)
		ps_transactions_found(t->transactions,
				      &(struct ps_msg_lookup_answer){.number = question, .status = PS_LOOKUP_TEMPFAIL});
}

void ps_transactions_rcpt(struct ps_transactions *transactions, struct ps_client client,
			  const struct ps_msg_mail_rcpt *rcpt)
{
	struct transaction *t = find_open(transactions, client);
	const char *domain = domain_of(rcpt->forward_path);

	if (!t || t->state != TAKING)
		wrong_order(transactions, client);
	else if (t->count >= RECIPIENTS_MAX)
		say(t, 452, "4.5.3", "Too many recipients");
	else if (!domain || !is_local(transactions->conf, domain))
		say(t, 550, "5.7.1", "This server does not relay to there");
	else
		ask_for_user(add_recipient(t, rcpt->forward_path), false);
}

/* What RCPT is answered with. */
static void decide_recipient(struct recipient *recipient, enum ps_lookup_status status)
{
	struct transaction *t = recipient->transaction;

	t->undecided--;
	if (status == PS_LOOKUP_FOUND) {
		recipient->accepted = true;
		t->accepted++;
		say(t, 250, "2.1.5", "OK");
	} else if (status == PS_LOOKUP_UNKNOWN) {
		say(t, 550, "5.1.1", "No such user here");
	} else {
		say(t, 451, "4.3.0", "Users cannot be looked up now; try again later");
	}
}

/* ---- the message ----------------------------------------------------------------------------- */

void ps_transactions_data(struct ps_transactions *transactions, struct ps_client client)
{
	struct transaction *t = find_open(transactions, client);
	int fd;

	if (!t || t->state != TAKING || t->undecided > 0) {
		wrong_order(transactions, client);
		return;
	}
	if (t->accepted == 0) {
		say(t, 554, "5.5.1", "No valid recipients");
		return;
	}
	if (ps_spool_open(transactions->spool_dir, &t->file) < 0 || (fd = fcntl(t->file, F_DUPFD_CLOEXEC, 0)) < 0) {
		ps_log(PS_LOG_ERROR, "spool_failed", "id", t->id, "msg", ps_last_error(), NULL);
		say(t, 452, "4.3.1", "There is no room for a message now; try again later");
		return;
	}
	t->state = RECEIVING;
	transactions->hooks.give_file(transactions->hooks.arg, client, fd);
	say(t, 354, "", "Go ahead");
}

/* ---- delivery -------------------------------------------------------------------------------- */

static const struct outcome {
	int error; /* -enum ps_err */
	unsigned code;
	const char *enhanced, *text;
} outcomes[] = {
	{0, 250, "2.0.0", "Stored"},
	{-PS_E_FULL, 452, "4.3.1", "The disk is full; try again later"},
	{-PS_E_QUOTA, 552, "5.2.2", "The mailbox is full"},
	{-PS_E_LIMIT, 552, "5.3.4", "The message is too large"},
};
static const struct outcome not_now = {0, 451, "4.3.0", "It cannot be stored now; try again later"};

static const struct outcome *outcome_of(int error)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(outcomes); i++)
		if (outcomes[i].error == error)
			return &outcomes[i];
	return &not_now;
}

static void say_outcome(struct transaction *t, const struct recipient *recipient)
{
	char text[128];

	snprintf(text, sizeof text, "%s (%s)", recipient->text, t->id);
	say(t, recipient->code, recipient->enhanced, text);
}

/* One reply for all: that of the worst, so that the client tries again, or knows. */
static void say_result(struct transaction *t)
{
	const struct recipient *worst = NULL;

	for (const struct recipient *r = t->recipients; r; r = r->next) {
		if (!r->accepted)
			continue;
		if (t->source == PS_MAIL_LMTP)
			say_outcome(t, r);
		else if (!worst || (r->code != 250 && (worst->code == 250 || r->code < worst->code)))
			worst = r;
	}
	if (worst)
		say_outcome(t, worst);
}

static void deliver_more(struct transaction *t);

static void finish_recipient(struct recipient *recipient, const struct outcome *outcome)
{
	struct transaction *t = recipient->transaction;

	recipient->code = outcome->code;
	recipient->enhanced = outcome->enhanced;
	recipient->text = outcome->text;
	ps_log(outcome->code == 250 ? PS_LOG_INFO : PS_LOG_WARNING, "delivered", "sid", t->sid, "id", t->id, "to",
	       recipient->path, "code", ps_num(outcome->code), "status", outcome->enhanced, NULL);
	t->delivering--;
	t->delivered++;
	deliver_more(t);
}

static void deliver_to(struct recipient *recipient, const struct ps_msg_lookup_answer *user)
{
	struct transaction *t = recipient->transaction;
	const struct ps_transaction_hooks *hooks = &t->transactions->hooks;
	uint64_t question = open_question(recipient, true, user->mail);
	struct ps_delivery delivery = {
		.ticket = user->ticket,
		.mail = user->mail,
		.sid = t->id,
		.mailbox = "INBOX",
		.reverse_path = t->reverse_path,
		.recipient = recipient->path,
		.token = ps_bytes_str(t->id), /* so that two names of one user's get one copy */
		.size = t->size,
		.file = t->file,
	};

	if (hooks->deliver(hooks->arg, question, &delivery) < 0)
		ps_transactions_delivered(t->transactions, question, -PS_E_CLOSED);
}

void ps_transactions_found(struct ps_transactions *transactions, const struct ps_msg_lookup_answer *found)
{
	struct recipient *recipient = asked(transactions, found->number);

	if (!recipient)
		return;
	close_question(recipient);
	if (recipient->transaction->state != DELIVERING)
		decide_recipient(recipient, (enum ps_lookup_status)found->status);
	else if (found->status == PS_LOOKUP_FOUND)
		deliver_to(recipient, found);
	else
		finish_recipient(recipient, &not_now);
}

void ps_transactions_delivered(struct ps_transactions *transactions, uint64_t question, int error)
{
	struct recipient *recipient = asked(transactions, question);

	if (!recipient)
		return;
	close_question(recipient);
	finish_recipient(recipient, outcome_of(error));
}

/* Comes here again when a recipient is finished, which may be before ask_for_user() returns. */
static void deliver_more(struct transaction *t)
{
	struct recipient *r;

	if (t->starting)
		return;
	t->starting = true;
	while (t->delivering < DELIVERIES_MAX && (r = t->undelivered)) {
		t->undelivered = r->next;
		if (!r->accepted)
			continue;
		t->delivering++;
		ask_for_user(r, true);
	}
	t->starting = false;
	if (t->delivered < t->accepted)
		return;
	say_result(t);
	drop(t);
}

static void receive(struct transaction *t, const struct ps_msg_mail_end *end)
{
	t->size = end->size;
	if (too_large(t->transactions, end->size)) {
		say(t, 552, "5.3.4", "The message is too large");
		drop(t);
	} else if (!end->whole || ps_spool_check(t->file, end->size) < 0) {
		say(t, 452, "4.3.1", "There is no room for this message now; try again later");
		drop(t);
	} else {
		t->state = DELIVERING;
		t->undelivered = t->recipients;
		deliver_more(t);
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

/* ---- the end --------------------------------------------------------------------------------- */

static void forget(struct transaction *t)
{
	t->orphaned = true;
	if (t->state == DELIVERING)
		return;
	drop(t);
}

void ps_transactions_reset(struct ps_transactions *transactions, struct ps_client client)
{
	struct transaction *t = find_open(transactions, client);

	if (t)
		forget(t);
}

void ps_transactions_drop_front(struct ps_transactions *transactions, unsigned front)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct transaction *t = LIST_FIRST(&transactions->clients[i]), *next;

		for (; t; t = next) {
			next = LIST_NEXT(t, slot);
			if (t->client.front == front && !t->orphaned)
				forget(t);
		}
	}
}

/* The list changes when one is answered, so it is begun again. */
static struct recipient *find_lost(struct ps_transactions *transactions, size_t slot, const uint32_t *mail)
{
	struct recipient *recipient;

	for (recipient = LIST_FIRST(&transactions->questions[slot]); recipient; recipient = LIST_NEXT(recipient, asked))
		if (mail ? recipient->asks_mail && recipient->mail == *mail : !recipient->asks_mail)
			return recipient;
	return NULL;
}

void ps_transactions_lost(struct ps_transactions *transactions, const uint32_t *mail)
{
	struct recipient *recipient;

	for (size_t i = 0; i < SLOTS; i++) {
		while ((recipient = find_lost(transactions, i, mail))) {
			if (mail)
				ps_transactions_delivered(transactions, recipient->question, -PS_E_CLOSED);
			else
				ps_transactions_found(transactions,
						      &(struct ps_msg_lookup_answer){.number = recipient->question,
										     .status = PS_LOOKUP_TEMPFAIL});
		}
	}
}
