/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include "tests/conformance/conform.h"

struct writer {
	struct kit kit; /* with a pool of its own */
	struct ps_store *store;
	struct ps_mbox *mbox;
};

static void *write_something(void *arg)
{
	struct writer *w = arg;

	kit_fill(&w->kit, w->store, w->mbox, 3);
	kit_flags(&w->kit, w->store, w->mbox, (struct ps_range){1, 1}, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	kit_expunge(&w->kit, w->store, w->mbox, (struct ps_range){2, 2});
	return NULL;
}

static int count_row(void *arg, const struct ps_row *row)
{
	(void)row;
	++*(unsigned *)arg;
	return 0;
}

static unsigned count_rows(struct kit *kit, struct ps_read *read, struct ps_mbox *mbox)
{
	unsigned n = 0;

	must_ok(kit->ops->scan(read, mbox, (struct ps_range){1, UINT32_MAX}, 0, count_row, &n));
	return n;
}

static void one_moment(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct writer w = {.kit = *kit, .store = store, .mbox = inbox};
	struct ps_mailbox_info before, after;
	struct ps_read *read;
	pthread_t thread;

	kit_fill(kit, store, inbox, 4);
	w.kit.pool = ps_pool_create("writer");
	must_ok(kit->ops->read_begin(store, &read));
	must_ok(kit->ops->info(read, inbox, &before));
	must(pthread_create(&thread, NULL, write_something, &w) == 0, "no thread");
	/* Ends only if the writer does not wait for us. */
	pthread_join(thread, NULL);
	must_ok(kit->ops->info(read, inbox, &after));
	must(before.messages == after.messages && before.highest_modseq == after.highest_modseq &&
		     before.uid_next == after.uid_next && count_rows(kit, read, inbox) == 4,
	     "a read sees what was committed after it began");
	kit->ops->read_end(read);
	must(kit_picture(kit, store, inbox).count == 6, "the next read does not see it");
	ps_pool_destroy(w.kit.pool);
	kit_close(kit, store);
}

static int stop_at(void *arg, const struct ps_row *row)
{
	return row->uid == *(uint32_t *)arg ? 42 : 0;
}

static int stop_list(void *arg, const struct ps_mailbox_info *info)
{
	(void)arg;
	(void)info;
	return 43;
}

static void walks(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_range some = {3, 5};
	struct ps_read *read;
	uint32_t uid = 4, outside = 6;
	unsigned n = 0;

	kit_fill(kit, store, inbox, 8);
	must_ok(kit->ops->read_begin(store, &read));
	must_ok(kit->ops->scan(read, inbox, some, 0, count_row, &n));
	must(n == 3, "UIDs 3:5 are %u rows", n);
	must(kit->ops->scan(read, inbox, some, 0, stop_at, &uid) == 42, "a callback does not end the scan");
	must(kit->ops->scan(read, inbox, some, 0, stop_at, &outside) == 0, "the scan goes beyond its range");
	must(kit->ops->list(read, stop_list, NULL) == 43, "a callback does not end the list");
	kit->ops->read_end(read);
	kit_close(kit, store);
}

static void several_handles(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *a = kit_mbox(kit, store, "INBOX"), *b = kit_mbox(kit, store, "INBOX");
	struct picture left, right;

	must(a != b, "opening twice gives one handle");
	kit_fill(kit, store, a, 2);
	kit_fill(kit, store, b, 2);
	left = kit_picture(kit, store, a);
	right = kit_picture(kit, store, b);
	must(left.count == 4, "%zu messages", left.count);
	pictures_must_agree(kit, &left, &right, true);
	kit_close(kit, store);
}

static void nothing_to_sync(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture before, after;
	int r;

	kit_fill(kit, store, inbox, 3);
	must_ok(kit->ops->sync(store, inbox));
	must_ok(kit->ops->sync(store, NULL));
	before = kit_picture(kit, store, inbox);
	r = kit->ops->stale(store, inbox);
	must(r == 0 || r == 1, "stale() is %d", r);
	for (int i = 0; i < 3; i++) {
		must_ok(kit->ops->sync(store, inbox));
		must_ok(kit->ops->sync(store, NULL));
	}
	after = kit_picture(kit, store, inbox);
	pictures_must_agree(kit, &before, &after, true);
	must(before.info.highest_modseq == after.info.highest_modseq, "a sync without news raised HIGHESTMODSEQ");
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"read_begin: a read sees one moment, and nobody waits for it", one_moment},
	{"scan, list: walks keep to their range and end when told", walks},
	{"mailbox_open: two handles of a mailbox show the same", several_handles},
	{"sync: a sync without news changes nothing", nothing_to_sync},
};
GROUP(reading, "reading: one moment of the store, without hindering anybody", checks);
