/* SPDX-License-Identifier: MIT */
/*
 * What the tests of transactions share: functions in the place of fronts, auth and mail processes. What goes out is kept, and the
 * test answers it when it likes.
 */
#ifndef TESTS_DELIVERY_TRANSACTIONS_UNIT_H
#define TESTS_DELIVERY_TRANSACTIONS_UNIT_H
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/config/config.h"
#include "core/delivery/transactions.h"
#include "tests/unit.h"

enum {
	KEPT_MAX = 2000,
	MAIL = 3 /* the process that has the users */
};

static struct kept_reply {
	struct ps_client client;
	unsigned code;
	char enhanced[16], text[128], id[32];
} replies[KEPT_MAX];

/* A question that was put. */
static struct kept_question {
	uint64_t number;
	char name[64], user[64], mailbox[64], token[80], reverse_path[64];
	bool ticket, probe;
	int file;
	uint64_t size;
} lookups[KEPT_MAX], deliveries[KEPT_MAX];

static size_t reply_count, lookup_count, delivery_count;
static bool auth_is_there, mail_is_there;
static int given; /* the file that a front got */
static unsigned files_given;
static char dir[64];
static struct ps_config *config;
static struct ps_local *local;
static struct ps_route *route;
static struct ps_transactions *transactions;
static const struct ps_client client = {.front = 1, .number = 7, .turn = 1};

static inline void on_reply(void *arg, struct ps_client to, const struct ps_answer *answer)
{
	struct kept_reply *reply = &replies[reply_count++];

	(void)arg;
	reply->client = to;
	reply->code = answer->code;
	snprintf(reply->enhanced, sizeof reply->enhanced, "%s", answer->enhanced);
	snprintf(reply->text, sizeof reply->text, "%s", answer->text);
	snprintf(reply->id, sizeof reply->id, "%s", answer->id);
}

static inline void on_file(void *arg, struct ps_client to, int file)
{
	(void)arg;
	(void)to;
	ck_assert_int_eq(given, -1);
	given = file;
	files_given++;
}

static inline int on_lookup(void *arg, uint64_t question, const char *name, const char *sid, bool ticket)
{
	struct kept_question *lookup = &lookups[lookup_count];

	(void)arg;
	(void)sid;
	if (!auth_is_there)
		return ps_fail(PS_E_CLOSED, "auth is not there");
	lookup_count++;
	lookup->number = question;
	lookup->ticket = ticket;
	snprintf(lookup->name, sizeof lookup->name, "%s", name);
	return 0;
}

static inline int on_deliver(void *arg, uint64_t question, const struct ps_delivery *what)
{
	struct kept_question *delivery = &deliveries[delivery_count];

	(void)arg;
	if (!mail_is_there)
		return ps_fail(PS_E_CLOSED, "mail is not there");
	ck_assert_uint_eq(what->mail, MAIL);
	ck_assert_bytes_eq(what->ticket, "ticket");
	delivery_count++;
	delivery->number = question;
	delivery->file = what->errand->file;
	delivery->size = what->errand->size;
	delivery->probe = what->probe;
	snprintf(delivery->user, sizeof delivery->user, "%s", what->errand->user);
	snprintf(delivery->mailbox, sizeof delivery->mailbox, "%s", what->errand->mailbox ? what->errand->mailbox : "");
	if (what->probe)
		return 0; /* there is no message yet */
	snprintf(delivery->name, sizeof delivery->name, "%s", what->errand->recipient);
	snprintf(delivery->reverse_path, sizeof delivery->reverse_path, "%s", what->errand->reverse_path);
	snprintf(delivery->token, sizeof delivery->token, "%.*s", (int)what->token.len, (const char *)what->token.ptr);
	return 0;
}

/* The queue. */
static struct ps_parcel queued[8];
static void (*queued_done[8])(void *arg, int error);
static void *queued_arg[8];
static size_t queued_count;
static bool queue_is_there = true;

static inline int on_enqueue(void *arg, const struct ps_parcel *parcel, void (*done)(void *done_arg, int error),
			     void *done_arg)
{
	(void)arg;
	if (!queue_is_there)
		return ps_fail(PS_E_FULL, "the queue is full");
	queued[queued_count] = *parcel;
	queued_done[queued_count] = done;
	queued_arg[queued_count++] = done_arg;
	return 0;
}

static const char aliases[] = "team@example.org  ann@example.org, bob@example.org\n"
			      "away@example.org  carol@example.com\n"
			      "both@example.org  ann@example.org, carol@example.com\n"
			      "me@example.org  ann@example.org\n";

static inline void set_up_with(bool with_queue)
{
	const struct ps_local_hooks local_hooks = {on_lookup, on_deliver, NULL};
	const struct ps_transaction_hooks hooks = {
		.reply = on_reply, .give_file = on_file, .enqueue = with_queue ? on_enqueue : NULL};
	char text[256];

	strcpy(dir, "/tmp/postern-spool-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(text, sizeof text,
		 "mail_root = /mail\nspool_dir = %s\ndefault_domain = example.org\n"
		 "domain \"Example.NET\" { }\nlimits { message_size = 1K }\n",
		 dir);
	ck_assert_ok(ps_config_read("test", ps_bytes_str(text), NULL, &config));
	local = ps_local_create(&local_hooks);
	ck_assert_ok(ps_route_create(ps_config_root(config), &route));
	ck_assert_ok(ps_route_set_aliases(route, ps_bytes_str(aliases), "aliases", NULL));
	transactions = ps_transactions_create(ps_config_root(config), local, &hooks);
	ps_transactions_set_route(transactions, route);
	auth_is_there = mail_is_there = true;
	given = -1;
	files_given = 0;
}

static inline void set_up(void)
{
	set_up_with(false);
}

static inline void set_up_queue(void)
{
	set_up_with(true);
}

static inline void tear_down(void)
{
	ps_transactions_destroy(transactions);
	ps_route_destroy(route);
	ps_local_destroy(local);
	ps_config_destroy(config);
	ps_closep(&given);
	rmdir(dir);
}

/* ---- what a front says ------------------------------------------------------------------------ */

static inline void say_from(struct ps_client who, enum ps_mail_source source, uint64_t size)
{
	ps_transactions_from(transactions, who,
			     &(struct ps_msg_mail_from){.sid = "sid",
							.source = source,
							.reverse_path = "joe@example.com",
							.helo = "there",
							.remote = "192.0.2.1:1",
							.size = size});
}

static inline void say_rcpt(struct ps_client who, const char *path)
{
	ps_transactions_rcpt(transactions, who, &(struct ps_msg_mail_rcpt){.forward_path = path});
}

static inline void say_end(uint64_t size, bool whole)
{
	ps_transactions_end(transactions, client, &(struct ps_msg_mail_end){.size = size, .whole = whole});
}

/* A message that needs no file. */
static inline void say_small(const char *octets)
{
	ps_transactions_end(
		transactions, client,
		&(struct ps_msg_mail_end){.size = strlen(octets), .whole = true, .octets = ps_bytes_str(octets)});
}

/* ---- and auth, and mail ------------------------------------------------------------------------ */

static inline void found(size_t lookup, enum ps_lookup_status status)
{
	ps_local_found(local, &(struct ps_msg_lookup_answer){.number = lookups[lookup].number,
							     .status = status,
							     .mail = MAIL,
							     .user = lookups[lookup].name,
							     .ticket = ps_bytes_str("ticket")});
}

/* All lookups that have not been answered. */
static size_t answered;
static inline void find_all(void)
{
	while (answered < lookup_count)
		found(answered++, PS_LOOKUP_FOUND);
}

static inline void delivered(size_t delivery, int error)
{
	ps_local_delivered(local, deliveries[delivery].number, error);
}

/* The patience with those who do not answer, or are not there, is over. */
static inline void wait_long(void)
{
	ps_transactions_tick(transactions, ps_monotonic_ms() + 2 * PS_STORE_PATIENCE_MS);
}

/* ---- and what the front hears ------------------------------------------------------------------ */

static inline void ck_code(size_t reply, unsigned code, const char *enhanced)
{
	ck_assert_msg(reply < reply_count, "reply %zu has not come", reply);
	ck_assert_uint_eq(replies[reply].code, code);
	ck_assert_str_eq(replies[reply].enhanced, enhanced);
}

/* ... as the last. */
static inline void ck_last(unsigned code, const char *enhanced)
{
	ck_assert_uint_gt(reply_count, 0);
	ck_code(reply_count - 1, code, enhanced);
}

/* Up to and with the message, which is whole. */
static inline void take(enum ps_mail_source source, size_t recipients)
{
	char path[64];

	say_from(client, source, 0);
	ck_last(250, "2.1.0");
	for (size_t i = 0; i < recipients; i++) {
		snprintf(path, sizeof path, "user%zu@example.org", i);
		say_rcpt(client, path);
		find_all();
		ck_last(250, "2.1.5");
	}
	ps_transactions_data(transactions, client);
	ck_last(354, "");
	reply_count = 0;
	say_small("Subject: x\r\n\r\n");
}

#endif
