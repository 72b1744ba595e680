/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/conformance/conform.h"

enum {
	PROCESSES = 3,
	MESSAGES = 25
};

static void bring_up(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox)
{
	if (kit->ops->stale(store, mbox) > 0)
		must_ok(kit->ops->sync(store, mbox));
}

/* Runs work(kit, n) in processes of their own, all at once. */
static void in_processes(struct kit *kit, unsigned count, void (*work)(struct kit *kit, unsigned n))
{
	pid_t pids[PROCESSES];

	for (unsigned i = 0; i < count; i++) {
		pids[i] = fork();
		must(pids[i] >= 0, "fork: %s", strerror(errno));
		if (pids[i] == 0) {
			work(kit, i);
			_exit(EXIT_SUCCESS);
		}
	}
	for (unsigned i = 0; i < count; i++) {
		int status;

		must(waitpid(pids[i], &status, 0) == pids[i], "waitpid: %s", strerror(errno));
		must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %u ended with status 0x%x", i, status);
	}
}

static void deliver(struct kit *kit, unsigned me)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	uint64_t highest = 0;

	for (unsigned i = 0; i < MESSAGES; i++) {
		struct picture p;

		kit_append(kit, store, inbox, &(struct kit_message){.octets = kit_text(kit, "%u-%u\r\n", me, i)});
		bring_up(kit, store, inbox);
		p = kit_picture(kit, store, inbox);
		must(p.info.highest_modseq >= highest, "HIGHESTMODSEQ went back");
		highest = p.info.highest_modseq;
	}
	kit_close(kit, store);
}

static void each_once(struct kit *kit)
{
	unsigned seen[PROCESSES][MESSAGES] = {{0}}, who, which;
	struct ps_store *store;
	struct ps_mbox *inbox;
	struct picture p;

	kit_close(kit, kit_open(kit));
	in_processes(kit, PROCESSES, deliver);
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	bring_up(kit, store, inbox);
	p = kit_picture(kit, store, inbox);
	for (size_t i = 0; i < p.count; i++) {
		must(sscanf(kit_body_text(kit, inbox, p.rows[i].uid), "%u-%u", &who, &which) == 2 && who < PROCESSES &&
			     which < MESSAGES,
		     "UID %u is none of the messages", p.rows[i].uid);
		must(seen[who][which]++ == 0, "message %u of process %u is there twice", which, who);
	}
	must(p.count == PROCESSES * MESSAGES, "%zu messages of %u", p.count, PROCESSES * MESSAGES);
	kit_close(kit, store);
}

/* Every process adds a keyword of its own to every message, and one flag. */
static void mark(struct kit *kit, unsigned me)
{
	static const uint32_t flags[PROCESSES] = {PS_FLAG_SEEN, PS_FLAG_FLAGGED, PS_FLAG_DRAFT};
	const char *words[] = {ps_pool_printf(kit->pool, "process%u", me), NULL};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");

	for (uint32_t uid = 1; uid <= MESSAGES; uid++)
		kit_flags(kit, store, inbox, (struct ps_range){uid, uid}, PS_FLAGS_ADD, flags[me], words);
	kit_close(kit, store);
}

static void no_lost_update(struct kit *kit)
{
	struct ps_store *store;
	struct ps_mbox *inbox;
	struct picture p;

	store = kit_open(kit);
	kit_fill(kit, store, kit_mbox(kit, store, "INBOX"), MESSAGES);
	kit_close(kit, store);
	in_processes(kit, PROCESSES, mark);
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	bring_up(kit, store, inbox);
	p = kit_picture(kit, store, inbox);
	must(p.count == MESSAGES, "%zu messages", p.count);
	for (size_t i = 0; i < p.count; i++) {
		must(p.rows[i].flags == (PS_FLAG_SEEN | PS_FLAG_FLAGGED | PS_FLAG_DRAFT), "UID %u: flags 0x%x",
		     p.rows[i].uid, p.rows[i].flags);
		must(strcmp(picture_keywords(kit, &p, &p.rows[i]), "process0 process1 process2") == 0,
		     "UID %u: keywords \"%s\"", p.rows[i].uid, picture_keywords(kit, &p, &p.rows[i]));
	}
	kit_close(kit, store);
}

/* One moves to and one moves back, while one looks. */
static void juggle(struct kit *kit, unsigned me)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *here = kit_mbox(kit, store, me ? "Other" : "INBOX");
	struct ps_mbox *there = kit_mbox(kit, store, me ? "INBOX" : "Other");

	for (unsigned i = 0; i < MESSAGES; i++) {
		uint32_t n = 1 + pick(kit, 30);

		bring_up(kit, store, here);
		kit_copy(kit, store, here, (struct ps_range){n, n + 20}, there, true);
	}
	kit_close(kit, store);
}

static void none_lost_in_moves(struct kit *kit)
{
	struct ps_store *store;
	struct ps_mbox *boxes[2];
	bool seen[MESSAGES + 1] = {false};
	unsigned n;

	store = kit_open(kit);
	kit_fill(kit, store, kit_mbox(kit, store, "INBOX"), MESSAGES);
	must_ok(kit_create(kit, store, "Other"));
	kit_close(kit, store);
	in_processes(kit, 2, juggle);
	store = kit_open(kit);
	boxes[0] = kit_mbox(kit, store, "INBOX");
	boxes[1] = kit_mbox(kit, store, "Other");
	for (int b = 0; b < 2; b++) {
		struct picture p;

		bring_up(kit, store, boxes[b]);
		p = kit_picture(kit, store, boxes[b]);
		for (size_t i = 0; i < p.count; i++) {
			must(sscanf(kit_body_text(kit, boxes[b], p.rows[i].uid), "Subject: %u", &n) == 1 &&
				     n <= MESSAGES,
			     "a message is none of ours");
			must(!seen[n], "message %u is there twice", n);
			seen[n] = true;
		}
	}
	for (n = 1; n <= MESSAGES; n++)
		must(seen[n], "message %u is lost", n);
	kit_close(kit, store);
}

static void seen_by_another(struct kit *kit)
{
	struct ps_store *store;
	struct ps_mbox *inbox;
	struct picture before;

	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	before = kit_picture(kit, store, inbox);
	kit_close(kit, store);
	/* Opened again only after the other has begun: a store is not carried over fork(). */
	in_processes(kit, 1, deliver);
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	bring_up(kit, store, inbox);
	must(kit_picture(kit, store, inbox).count == MESSAGES, "%zu messages", kit_picture(kit, store, inbox).count);
	kit_catch_up(kit, store, inbox, &before);
	kit_close(kit, store);
}

/* The parent has the store open while the child, which was forked before, changes it. */
static void while_open(struct kit *kit)
{
	int go[2];
	struct ps_store *store;
	struct ps_mbox *inbox;
	struct picture before;
	pid_t pid;
	int status;
	char c;

	must(pipe(go) == 0, "pipe: %s", strerror(errno));
	pid = fork();
	must(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) == 1)
			deliver(kit, 0);
		_exit(EXIT_SUCCESS);
	}
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	kit_fill(kit, store, inbox, 3);
	before = kit_picture(kit, store, inbox);
	must(write(go[1], "g", 1) == 1, "write: %s", strerror(errno));
	must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0,
	     "the other process ended with status 0x%x", status);
	bring_up(kit, store, inbox);
	must(kit_picture(kit, store, inbox).count == MESSAGES + 3, "%zu messages of %d",
	     kit_picture(kit, store, inbox).count, MESSAGES + 3);
	kit_catch_up(kit, store, inbox, &before);
	kit_fill(kit, store, inbox, 1);
	must(kit_picture(kit, store, inbox).count == MESSAGES + 4, "the next message is not one more");
	kit_close(kit, store);
}

/* ---- who is first -------------------------------------------------------------------------- */

/* All of them want it; those who succeed note it in a mailbox of their own. */
static void want_name(struct kit *kit, unsigned me)
{
	int r;

	kit_begin(kit, 0);
	for (unsigned i = 0; i < 10; i++) {
		r = kit_create(kit, kit->store, ps_pool_printf(kit->pool, "Wanted %u", i));
		must(r == 0 || r == PS_E_EXISTS, "%s: %s", ps_err_name(r), ps_last_error());
		if (r == 0)
			must_ok(kit_create(kit, kit->store, ps_pool_printf(kit->pool, "Won %u by %u", i, me)));
	}
	kit_end(kit);
}

static void one_wins(struct kit *kit)
{
	struct names names;

	kit_close(kit, kit_open(kit));
	in_processes(kit, PROCESSES, want_name);
	kit_begin(kit, 0);
	must_ok(kit->ops->sync(kit->store, NULL));
	names = kit_list(kit, kit->store);
	must(names.count == 1 + 10 + 10, "%zu mailboxes: each name was to be won once", names.count);
	kit_end(kit);
}

/* One message each, and two mailboxes between which all of them move the same one. */
static void want_message(struct kit *kit, unsigned me)
{
	struct ps_op_result result;

	(void)me;
	kit_begin(kit, 0);
	for (uint32_t uid = 1; uid <= MESSAGES; uid++) {
		bring_up(kit, kit->store, kit->inbox);
		result =
			kit_copy(kit, kit->store, kit->inbox, UIDS(uid, uid), kit_mbox(kit, kit->store, "Other"), true);
		must(result.new_count <= 1, "one message became several");
	}
	kit_end(kit);
}

static void moved_once(struct kit *kit)
{
	struct ps_mbox *other;

	kit_begin(kit, MESSAGES);
	must_ok(kit_create(kit, kit->store, "Other"));
	kit_end(kit);
	in_processes(kit, PROCESSES, want_message);
	kit_begin(kit, 0);
	other = kit_mbox(kit, kit->store, "Other");
	bring_up(kit, kit->store, kit->inbox);
	bring_up(kit, kit->store, other);
	must(kit_picture(kit, kit->store, other).count == MESSAGES &&
		     kit_picture(kit, kit->store, kit->inbox).count == 0,
	     "%zu messages came, %d were to be moved once each", kit_picture(kit, kit->store, other).count, MESSAGES);
	kit_end(kit);
}

/* ---- a batch is seen whole ----------------------------------------------------------------- */

/* Process 0 appends two at a time; the others look. */
static void pairs(struct kit *kit, unsigned me)
{
	kit_begin(kit, 0);
	for (unsigned i = 0; i < MESSAGES * 2; i++) {
		struct ps_op ops[2];

		if (me == 0) {
			for (unsigned n = 0; n < 2; n++)
				kit_stage(kit, kit->store, kit->inbox,
					  &(struct kit_message){.octets = kit_text(kit, "%u-%u\r\n", i, n)}, &ops[n]);
			must_ok(kit_try_all(kit, kit->store, ops, 2, NULL));
			continue;
		}
		bring_up(kit, kit->store, kit->inbox);
		must(kit_picture(kit, kit->store, kit->inbox).count % 2 == 0, "half a batch is seen");
	}
	kit_end(kit);
}

static void whole_batches(struct kit *kit)
{
	kit_close(kit, kit_open(kit));
	in_processes(kit, PROCESSES, pairs);
}

/* The same token in all of them. */
static void deliver_once(struct kit *kit, unsigned me)
{
	(void)me;
	kit_begin(kit, 0);
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct ps_op_result result = {0};
		struct ps_op op;
		struct ps_batch batch = {.ops = &op, .count = 1, .pool = kit->pool, .results = &result}, *list = &batch;

		kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = kit_text(kit, "%u\r\n", i)},
			  &op);
		batch.token = kit_text(kit, "token %u", i);
		must_ok(kit->ops->commit(kit->store, &list, 1));
		must_ok(batch.err);
	}
	kit_end(kit);
}

static void token_once(struct kit *kit)
{
	kit_close(kit, kit_open(kit));
	in_processes(kit, PROCESSES, deliver_once);
	kit_begin(kit, 0);
	bring_up(kit, kit->store, kit->inbox);
	must(kit_picture(kit, kit->store, kit->inbox).count == MESSAGES,
	     "%zu messages, %d were to be delivered once each", kit_picture(kit, kit->store, kit->inbox).count,
	     MESSAGES);
	kit_end(kit);
}

/* ---- one is killed, the other goes on ------------------------------------------------------ */

static void go_on_beside_the_dying(struct kit *kit)
{
	kit_close(kit, kit_open(kit));
	for (unsigned i = 0; i < kit->rounds; i++) {
		int status;
		pid_t pid = fork();

		must(pid >= 0, "fork: %s", strerror(errno));
		if (pid == 0)
			for (;;)
				deliver(kit, i);
		kit_begin(kit, 0);
		usleep(2000 + pick(kit, 20000));
		kill(pid, SIGKILL);
		kit_fill(kit, kit->store, kit->inbox, 3);
		must(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "it ended by itself, with status 0x%x",
		     (unsigned)status);
		kit_fill(kit, kit->store, kit->inbox, 3);
		bring_up(kit, kit->store, kit->inbox);
		kit_picture(kit, kit->store, kit->inbox);
		kit_end(kit);
	}
}

static const struct check checks[] = {
	{"law 5: what several processes deliver at once is there, each message once", each_once, NEEDS_DISK},
	{"law 5: flags and keywords that several processes add at once are all there", no_lost_update, NEEDS_DISK},
	{"law 5: messages that two processes move about are all there, each once", none_lost_in_moves, NEEDS_DISK},
	{"law 5: what another process did is seen after opening", seen_by_another, NEEDS_DISK},
	{"law 5: what another process does is seen by who has the store open", while_open, NEEDS_DISK},
	{"law 5: of processes that create one mailbox, one does", one_wins, NEEDS_DISK},
	{"law 5: a message that several processes move is moved once", moved_once, NEEDS_DISK},
	{"law 5: another process sees a batch whole or not at all", whole_batches, NEEDS_DISK},
	{"law 5: of processes that commit one token, one does", token_once, NEEDS_DISK},
	{"law 5: a process that is killed does not hinder another", go_on_beside_the_dying, NEEDS_DISK},
};
GROUP(processes, "law 5: two processes at once: no lost update, no double delivery", checks);
