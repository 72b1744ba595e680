/* SPDX-License-Identifier: MIT */
/*
 * Reading must not wait for a writer's fsync: the fsync of a commit is held up until another thread has read.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "tests/conformance/calls.h"

enum {
	PATIENCE = 20 /* seconds that an fsync is held up for a reader */
};

/* What the process tells its watcher, and the other way. */
struct told {
	atomic_bool committing; /* hold the next fsync */
	atomic_bool held;       /* it is held: go and read */
	atomic_bool read;       /* let it go */
	atomic_bool too_late;
};

struct holding {
	struct told *told;
	time_t since;
};

static int hold_sync(void *arg, const struct call *call)
{
	struct holding *h = arg;

	if (call->kind != CALL_SYNC || !atomic_load(&h->told->committing) || atomic_load(&h->told->read))
		return CALL_GO;
	if (!call->held)
		h->since = time(NULL);
	atomic_store(&h->told->held, true);
	if (time(NULL) - h->since <= PATIENCE)
		return CALL_HOLD;
	atomic_store(&h->told->too_late, true);
	return CALL_GO;
}

/* ---- what is done while it is held --------------------------------------------------------- */

static void reads(struct kit *kit)
{
	must(kit_picture(kit, kit->store, kit->inbox).count == 3, "a message is missing");
}

static void lists(struct kit *kit)
{
	must(kit_list(kit, kit->store).count == 1, "a mailbox is missing");
}

static void reads_body(struct kit *kit)
{
	struct ps_bytes octets;

	must_ok(kit_body(kit, kit->inbox, 1, &octets));
}

static void asks_stale(struct kit *kit)
{
	must(kit->ops->stale(kit->store, kit->inbox) >= 0, "stale() fails");
	must(kit->ops->stale(kit->store, NULL) >= 0, "stale() fails");
}

static void opens_mailbox(struct kit *kit)
{
	struct ps_mbox *mbox;

	must_ok(kit->ops->mailbox_open(kit->store, "INBOX", &mbox));
	kit->ops->mailbox_close(mbox);
}

static const struct {
	const char *name;
	void (*run)(struct kit *kit);
} doings[] = {
	{"a read of a mailbox", reads},    {"a list", lists}, {"a body", reads_body}, {"stale()", asks_stale},
	{"mailbox_open()", opens_mailbox},
};

struct hand {
	struct kit kit; /* with a pool of its own */
	struct told *told;
};

static void *commit_something(void *arg)
{
	struct hand *hand = arg;

	atomic_store(&hand->told->committing, true);
	kit_flags(&hand->kit, hand->kit.store, hand->kit.inbox, UIDS(2, 3), PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	atomic_store(&hand->told->committing, false);
	atomic_store(&hand->told->held, true); /* or it synced nothing at all */
	return NULL;
}

static void read_meanwhile(struct kit *kit, void *arg)
{
	struct holding *h = arg;
	struct hand hand;
	pthread_t thread;

	kit_begin(kit, 3);
	hand = (struct hand){.kit = *kit, .told = h->told};
	hand.kit.pool = ps_pool_create("writer");
	must(pthread_create(&thread, NULL, commit_something, &hand) == 0, "no thread");
	while (!atomic_load(&h->told->held))
		usleep(1000);
	doings[kit->row].run(kit);
	atomic_store(&h->told->read, true);
	pthread_join(thread, NULL);
	must(!atomic_load(&h->told->too_late), "it waited for the writer's fsync");
	ps_pool_destroy(hand.kit.pool);
	kit_end(kit);
}

static void does_not_wait(struct kit *kit)
{
	struct holding h = {.told = calls_shared(sizeof *h.told)};

	calls_watch_ok(kit, read_meanwhile, &h, hold_sync, &h);
}

static const struct check checks[] = {
	{"threads: a writer's fsync is not waited for by", does_not_wait, NEEDS_CALLS, ROWS(doings)},
};
GROUP(waiting, "reading does not wait for writing", checks);
