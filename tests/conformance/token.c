/* SPDX-License-Identifier: MIT */
/*
 * Tokens: a delivery that is tried again is not made twice, and none is lost for having been tried before.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/conformance/conform.h"

enum {
	DELIVERIES = 100000
};

static struct ps_batch make_batch(struct kit *kit, const struct ps_op *ops, size_t count, struct ps_bytes token)
{
	return (struct ps_batch){.ops = ops,
				 .count = count,
				 .pool = kit->pool,
				 .results = PS_NEWV(kit->pool, struct ps_op_result, count + 1),
				 .token = token};
}

static int commit(struct kit *kit, struct ps_store *store, struct ps_batch *batch)
{
	int r = kit->ops->commit(store, &batch, 1);

	return batch->err ? batch->err : r;
}

/* 1: it had come before. */
static int deliver(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, struct ps_bytes token,
		   const char *text)
{
	struct ps_op op;
	struct ps_batch batch;

	kit_stage(kit, store, mbox, &(struct kit_message){.octets = kit_text(kit, "%s\r\n", text)}, &op);
	batch = make_batch(kit, &op, 1, token);
	must_ok(commit(kit, store, &batch));
	must(batch.repeated == (batch.results[0].new_count == 0), "a batch has results, or it is repeated");
	return batch.repeated;
}

static size_t count(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox)
{
	if (kit->ops->stale(store, mbox) > 0)
		must_ok(kit->ops->sync(store, mbox));
	return kit_picture(kit, store, mbox).count;
}

static void not_twice(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture before;

	must(deliver(kit, store, inbox, ps_bytes_str("t"), "one") == 0, "it had not come before");
	before = kit_picture(kit, store, inbox);
	must(deliver(kit, store, inbox, ps_bytes_str("t"), "one") == 1, "it had come before");
	must(deliver(kit, store, inbox, ps_bytes_str("t"), "another text") == 1, "the token counts, not the text");
	must(kit_picture(kit, store, inbox).info.highest_modseq == before.info.highest_modseq, "something changed");
	must(count(kit, store, inbox) == 1, "%zu messages, expected 1", count(kit, store, inbox));
	kit_close(kit, store);
}

static void octets_count(struct kit *kit)
{
	static const uint8_t binary[] = {0, 'a', 0, '\n', 255, '/'}, other[] = {0, 'a', 0, '\n', 255, '.'};
	static char longest[PS_TOKEN_MAX + 1];
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_bytes tokens[] = {
		ps_bytes_str("a"),
		ps_bytes_str("A"),
		ps_bytes_str("ab"),
		ps_bytes(binary, sizeof binary),
		ps_bytes(binary, sizeof binary - 1),
		ps_bytes(other, sizeof other),
		ps_bytes(longest, PS_TOKEN_MAX),
		ps_bytes(longest, PS_TOKEN_MAX - 1),
	};
	struct ps_batch batch;

	memset(longest, 'x', sizeof longest);
	for (int again = 0; again < 2; again++)
		for (size_t i = 0; i < PS_ARRAY_LEN(tokens); i++)
			must(deliver(kit, store, inbox, tokens[i], "x") == again, "token %zu, time %d", i, again);
	must(deliver(kit, store, inbox, ps_bytes("", 0), "x") == 0 &&
		     deliver(kit, store, inbox, ps_bytes("", 0), "x") == 0,
	     "none is not a token");
	batch = make_batch(kit, &(struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "x", .subscribed = true}, 1,
			   ps_bytes(longest, sizeof longest));
	must_be(commit(kit, store, &batch), PS_E_INVALID);
	kit_close(kit, store);
}

static void refused(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_op ops[2] = {{0}, {.kind = PS_OP_RENAME, .name = "nowhere", .new_name = "anywhere"}};
	struct ps_batch batch;

	kit_stage(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &ops[0]);
	batch = make_batch(kit, ops, 2, ps_bytes_str("t"));
	must_be(commit(kit, store, &batch), PS_E_NOTFOUND);
	must(deliver(kit, store, inbox, ps_bytes_str("t"), "x") == 0, "a delivery that was refused counts as made");
	must(deliver(kit, store, inbox, ps_bytes_str("t"), "x") == 1, "it had come before");
	kit_close(kit, store);
}

static void in_one_commit(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_op ops[3];
	struct ps_batch batches[3], *list[3];

	for (size_t i = 0; i < 3; i++) {
		kit_stage(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &ops[i]);
		batches[i] = make_batch(kit, &ops[i], 1, ps_bytes_str(i == 1 ? "other" : "t"));
		list[i] = &batches[i];
	}
	must_ok(kit->ops->commit(store, list, 3));
	must(!batches[0].repeated && !batches[1].repeated && batches[2].repeated, "the third repeats the first");
	must(count(kit, store, inbox) == 2, "%zu messages, expected 2", count(kit, store, inbox));
	kit_close(kit, store);
}

/* Each in a batch with a token: done once. */
static void any_change(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX"), *other;
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op ops[] = {
		{.kind = PS_OP_COPY, .uids = &all, .uid_count = 1},
		{.kind = PS_OP_FLAGS,
		 .uids = &all,
		 .uid_count = 1,
		 .flag_mode = PS_FLAGS_ADD,
		 .flags = PS_FLAG_SEEN,
		 .unchanged_since = UINT64_MAX},
		{.kind = PS_OP_CREATE, .name = "New"},
		{.kind = PS_OP_SUBSCRIBE, .name = "New", .subscribed = true},
		{.kind = PS_OP_MOVE, .uids = &all, .uid_count = 1},
		{.kind = PS_OP_EXPUNGE, .uids = &all, .uid_count = 1},
		{.kind = PS_OP_DELETE, .name = "New"},
	};
	struct ps_batch empty = make_batch(kit, NULL, 0, ps_bytes_str("empty"));

	must_ok(kit_create(kit, store, "Other"));
	other = kit_mbox(kit, store, "Other");
	kit_fill(kit, store, inbox, 2);
	for (size_t i = 0; i < PS_ARRAY_LEN(ops); i++) {
		struct ps_bytes token = kit_text(kit, "token %zu", i);
		struct ps_batch first = make_batch(kit, &ops[i], 1, token), second = make_batch(kit, &ops[i], 1, token);

		ops[i].mbox = inbox;
		ops[i].target = other;
		must_ok(commit(kit, store, &first));
		must(!first.repeated, "operation %zu had not come before", i);
		must_ok(commit(kit, store, &second));
		must(second.repeated && second.results[0].modseq == 0, "operation %zu had come before", i);
	}
	must(count(kit, store, other) == 4, "%zu messages, expected 4", count(kit, store, other));
	must_ok(commit(kit, store, &empty));
	must(!empty.repeated, "an empty batch had not come before");
	must_ok(commit(kit, store, &empty));
	must(empty.repeated, "an empty batch had come before");
	kit_close(kit, store);
}

/* Delivers "0".."4" and lets them go in all ways there are, each into its own place. */
static void deliver_and_remove(struct kit *kit, struct ps_store *store)
{
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX"), *other, *gone;
	struct ps_range first = {1, 1}, second = {2, 2};
	struct ps_op both[2];
	struct ps_batch batch;

	must_ok(kit_create(kit, store, "Other"));
	must_ok(kit_create(kit, store, "Gone"));
	other = kit_mbox(kit, store, "Other");
	gone = kit_mbox(kit, store, "Gone");
	for (unsigned i = 0; i < 3; i++)
		deliver(kit, store, i == 2 ? gone : inbox, kit_text(kit, "%u", i), "x");
	kit_expunge(kit, store, inbox, first);
	kit_copy(kit, store, inbox, second, other, true);
	kit_expunge(kit, store, other, first);
	must_ok(kit_delete(kit, store, "Gone"));
	/* Comes and goes in the same batch, whose UID is known beforehand. */
	kit_stage(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &both[0]);
	both[0].uid = 10;
	both[1] = (struct ps_op){
		.kind = PS_OP_EXPUNGE, .mbox = inbox, .uids = &(struct ps_range){10, 10}, .uid_count = 1};
	batch = make_batch(kit, both, 2, ps_bytes_str("3"));
	must_ok(commit(kit, store, &batch));
	deliver(kit, store, inbox, ps_bytes_str("4"), "x"); /* this one stays */
}

static void all_had_come(struct kit *kit, struct ps_store *store, const char *when)
{
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");

	for (unsigned i = 0; i < 5; i++)
		must(deliver(kit, store, inbox, kit_text(kit, "%u", i), "x") == 1, "%s, delivery %u is made again",
		     when, i);
	must(count(kit, store, inbox) == 1, "%s, %zu messages, expected 1", when, count(kit, store, inbox));
}

static void gone_messages(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);

	deliver_and_remove(kit, store);
	all_had_come(kit, store, "after the messages went");
	kit_close(kit, store);
}

static void reopened(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);

	deliver_and_remove(kit, store);
	kit_close(kit, store);
	store = kit_open(kit);
	all_had_come(kit, store, "after reopening");
	kit_close(kit, store);
}

static void index_gone(struct kit *kit)
{
	struct ps_store *store;

	store = kit_open(kit);
	deliver_and_remove(kit, store);
	kit_close(kit, store);
	kit_remove_index(kit);
	store = kit_open(kit);
	all_had_come(kit, store, "without the index");
	kit_close(kit, store);
}

/* ---- kill -9 ------------------------------------------------------------------------------- */

/* Some of them in batches of several operations; and what is delivered is removed now and then. */
static int deliver_number(struct kit *kit, struct ps_store *store, struct ps_mbox *inbox, struct ps_mbox *other,
			  unsigned n)
{
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op ops[2];
	struct ps_batch batch;
	bool pair = n % 3 == 0;

	kit_stage(kit, store, inbox, &(struct kit_message){.octets = kit_text(kit, "Number: %u\r\n", n)}, &ops[0]);
	if (pair)
		kit_stage(kit, store, other, &(struct kit_message){.octets = kit_text(kit, "Number: %u\r\n", n)},
			  &ops[1]);
	batch = make_batch(kit, ops, pair ? 2 : 1, kit_text(kit, "delivery %u", n));
	must_ok(commit(kit, store, &batch));
	if (n % 16 == 5)
		kit_copy(kit, store, inbox, all, other, true);
	return batch.repeated;
}

static unsigned numbers_in(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, unsigned *ret_seen)
{
	struct picture p;

	if (kit->ops->stale(store, mbox) > 0)
		must_ok(kit->ops->sync(store, mbox));
	p = kit_picture(kit, store, mbox);
	for (size_t i = 0; i < p.count; i++) {
		unsigned n;

		must(sscanf(kit_body_text(kit, mbox, p.rows[i].uid), "Number: %u", &n) == 1 && n < DELIVERIES,
		     "UID %u is none of the messages", p.rows[i].uid);
		ret_seen[n]++;
	}
	return (unsigned)p.count;
}

_Noreturn static void deliver_from(struct kit *kit, unsigned n, int fd)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX"), *other = kit_mbox(kit, store, "Other");

	for (;; n++) {
		deliver_number(kit, store, inbox, other, n);
		if (write(fd, &n, sizeof n) != sizeof n)
			_exit(EXIT_FAILURE);
	}
}

/* How many were acknowledged. */
static unsigned deliver_until_killed(struct kit *kit, unsigned from)
{
	unsigned n, done = from;
	int fds[2], status;
	pid_t pid;

	must(pipe(fds) == 0 && (pid = fork()) >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(fds[0]);
		deliver_from(kit, from, fds[1]);
	}
	close(fds[1]);
	usleep(1000 + pick(kit, 30000));
	kill(pid, SIGKILL);
	must(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "the process ended by itself");
	while (read(fds[0], &n, sizeof n) == sizeof n)
		done = n + 1;
	close(fds[0]);
	return done;
}

static void killed(struct kit *kit)
{
	unsigned seen[DELIVERIES] = {0}, done = 0, last = 0;
	struct ps_store *store;
	struct ps_mbox *inbox, *other;

	store = kit_open(kit);
	must_ok(kit_create(kit, store, "Other"));
	kit_close(kit, store);
	for (unsigned i = 0; i < kit->rounds && done < DELIVERIES / 2; i++) {
		done = deliver_until_killed(kit, done); /* who does not know begins with the same again */
		if (kit->index && pick(kit, 2))
			kit_remove_index(kit);
	}
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	other = kit_mbox(kit, store, "Other");
	for (unsigned n = 0; n < done; n++)
		must(deliver_number(kit, store, inbox, other, n) == 1,
		     "delivery %u was acknowledged, and is made again", n);
	if (deliver_number(kit, store, inbox, other, done) >= 0)
		last = done;
	numbers_in(kit, store, inbox, seen);
	numbers_in(kit, store, other, seen);
	for (unsigned n = 0; n <= last; n++)
		must(seen[n] == (n % 3 == 0 ? 2u : 1u), "message %u of %u is there %u times", n, last, seen[n]);
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"token: a delivery that is tried again is not made again", not_twice},
	{"token: they are told apart by all their octets", octets_count},
	{"token: that of a refused batch is not kept", refused},
	{"token: of two batches with one token in one commit the second does nothing", in_one_commit},
	{"token: any change can have a token", any_change},
	{"token: they stay when the messages go", gone_messages},
	{"law 4: tokens stay after reopening", reopened},
	{"law 7: tokens stay without the index", index_gone, NEEDS_INDEX | NEEDS_DISK},
	{"law 4: after kill -9 a delivery that is tried again is there once", killed, NEEDS_DISK},
};
GROUP(token, "laws 4 and 7: deliveries that are tried again", checks);
