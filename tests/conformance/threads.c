/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "tests/conformance/conform.h"

enum {
	WRITERS = 4,
	READERS = 3,
	TURNS = 30
};

/* As core does: any number of readers, one commit at a time. */
struct stage {
	struct kit *kit;
	struct ps_store *store;
	pthread_mutex_t commit_lock;
	atomic_bool over;
	atomic_uint next;
};

static void commit_locked(struct stage *stage, struct kit *kit, const struct ps_op *op)
{
	pthread_mutex_lock(&stage->commit_lock);
	must_ok(kit_try(kit, stage->store, op, NULL));
	pthread_mutex_unlock(&stage->commit_lock);
}

static struct ps_mbox *open_inbox(struct stage *stage)
{
	struct ps_mbox *mbox;

	must_ok(stage->kit->ops->mailbox_open(stage->store, "INBOX", &mbox));
	return mbox;
}

static void *writer(void *arg)
{
	struct stage *stage = arg;
	struct kit kit = *stage->kit;
	struct ps_mbox *inbox = open_inbox(stage);
	unsigned me = atomic_fetch_add(&stage->next, 1);

	kit.pool = ps_pool_create("writer");
	kit.seed += me;
	for (unsigned i = 0; i < TURNS; i++) {
		struct ps_range one = {1 + pick(&kit, TURNS), 0};
		struct ps_op op;

		kit_stage(&kit, stage->store, inbox,
			  &(struct kit_message){.octets = kit_text(&kit, "writer %u message %u\r\n", me, i)}, &op);
		commit_locked(stage, &kit, &op);
		one.last = one.first;
		op = (struct ps_op){.kind = i % 5 ? PS_OP_FLAGS : PS_OP_EXPUNGE,
				    .mbox = inbox,
				    .uids = &one,
				    .uid_count = 1,
				    .flag_mode = PS_FLAGS_ADD,
				    .flags = PS_FLAG_SEEN,
				    .unchanged_since = UINT64_MAX};
		commit_locked(stage, &kit, &op);
	}
	kit.ops->mailbox_close(inbox);
	ps_pool_destroy(kit.pool);
	return NULL;
}

/* A message is there whole or not at all. */
static void read_one(struct kit *kit, struct ps_mbox *inbox, const struct ps_row *row)
{
	struct ps_bytes octets;
	unsigned w, m;
	char text[64];
	int r = kit_body(kit, inbox, row->uid, &octets);

	if (r == PS_E_GONE)
		return;
	must_ok(r);
	must(octets.len == row->size && octets.len < sizeof text, "UID %u: %zu octets", row->uid, octets.len);
	memcpy(text, octets.ptr, octets.len);
	text[octets.len] = '\0';
	must(sscanf(text, "writer %u message %u\r\n", &w, &m) == 2, "UID %u: \"%s\"", row->uid, text);
}

static void *reader(void *arg)
{
	struct stage *stage = arg;
	struct kit kit = *stage->kit;
	struct ps_mbox *inbox = open_inbox(stage);
	uint64_t highest = 0;

	while (!atomic_load(&stage->over)) {
		struct picture p;

		kit.pool = ps_pool_create("reader");
		p = kit_picture(&kit, stage->store, inbox); /* agrees with itself */
		must(p.info.highest_modseq >= highest, "HIGHESTMODSEQ went back");
		highest = p.info.highest_modseq;
		if (p.count > 0)
			read_one(&kit, inbox, &p.rows[pick(&kit, (uint32_t)p.count)]);
		ps_pool_destroy(kit.pool);
	}
	kit.ops->mailbox_close(inbox);
	return NULL;
}

static void readers_and_writers(struct kit *kit)
{
	struct stage stage = {.kit = kit, .store = kit_open(kit), .commit_lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t writers[WRITERS], readers[READERS];
	struct picture p;

	for (unsigned i = 0; i < WRITERS; i++)
		must(pthread_create(&writers[i], NULL, writer, &stage) == 0, "no thread");
	for (unsigned i = 0; i < READERS; i++)
		must(pthread_create(&readers[i], NULL, reader, &stage) == 0, "no thread");
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	atomic_store(&stage.over, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	p = kit_picture(kit, stage.store, kit_mbox(kit, stage.store, "INBOX"));
	must(p.info.uid_next > WRITERS * TURNS, "UIDNEXT %u after %u messages", p.info.uid_next, WRITERS * TURNS);
	kit_close(kit, stage.store);
}

static void *stager(void *arg)
{
	struct stage *stage = arg;
	struct kit kit = *stage->kit;
	struct ps_mbox *inbox = open_inbox(stage);
	unsigned me = atomic_fetch_add(&stage->next, 1);
	struct ps_op op;

	kit.pool = ps_pool_create("stager");
	for (unsigned i = 0; i < TURNS; i++) {
		kit_stage(
			&kit, stage->store, inbox,
			&(struct kit_message){.octets = kit_text(&kit, "writer %u message %u\r\n", me, i), .piece = 3},
			&op);
		if (i % 3 == 0)
			kit.ops->stage_drop(op.staged);
		else
			commit_locked(stage, &kit, &op);
	}
	kit.ops->mailbox_close(inbox);
	ps_pool_destroy(kit.pool);
	return NULL;
}

static void staging_side_by_side(struct kit *kit)
{
	struct stage stage = {.kit = kit, .store = kit_open(kit), .commit_lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t threads[WRITERS];
	struct ps_mbox *inbox;
	struct picture p;

	for (unsigned i = 0; i < WRITERS; i++)
		must(pthread_create(&threads[i], NULL, stager, &stage) == 0, "no thread");
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	inbox = kit_mbox(kit, stage.store, "INBOX");
	p = kit_picture(kit, stage.store, inbox);
	must(p.count == WRITERS * TURNS * 2 / 3, "%zu messages", p.count);
	for (size_t i = 0; i < p.count; i++)
		read_one(kit, inbox, &p.rows[i]);
	kit_close(kit, stage.store);
}

static const struct check checks[] = {
	{"law 5: readers beside writers see whole messages and whole states", readers_and_writers},
	{"stage: messages are staged side by side", staging_side_by_side},
};
GROUP(threads, "law 5, within a process: no torn read", checks);
