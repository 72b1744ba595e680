/* SPDX-License-Identifier: MIT */
#include <errno.h>
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
		struct ps_bytes octets;

		must_ok(kit_body(kit, inbox, p.rows[i].uid, &octets));
		must(sscanf(ps_pool_strndup(kit->pool, (const char *)octets.ptr, octets.len), "%u-%u", &who, &which) ==
				     2 &&
			     who < PROCESSES && which < MESSAGES,
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
			struct ps_bytes octets;

			must_ok(kit_body(kit, boxes[b], p.rows[i].uid, &octets));
			must(sscanf(ps_pool_strndup(kit->pool, (const char *)octets.ptr, octets.len), "Subject: %u",
				    &n) == 1 &&
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

static const struct check checks[] = {
	{"law 5: what several processes deliver at once is there, each message once", each_once, NEEDS_DISK},
	{"law 5: flags and keywords that several processes add at once are all there", no_lost_update, NEEDS_DISK},
	{"law 5: messages that two processes move about are all there, each once", none_lost_in_moves, NEEDS_DISK},
	{"law 5: what another process did is seen after opening", seen_by_another, NEEDS_DISK},
	{"law 5: what another process does is seen by who has the store open", while_open, NEEDS_DISK},
};
GROUP(processes, "law 5: two processes at once: no lost update, no double delivery", checks);
