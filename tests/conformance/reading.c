/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include "tests/conformance/conform.h"

/* ---- one moment ---------------------------------------------------------------------------- */

static void does_append(struct kit *kit)
{
	kit_fill(kit, kit->store, kit->inbox, 3);
}

static void does_flags(struct kit *kit)
{
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, PS_FLAG_SEEN | PS_FLAG_DELETED, NULL);
}

static void does_keywords(struct kit *kit)
{
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, 0, WORDS("new", "newer"));
}

static void does_expunge(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit->inbox, UIDS(1, 2));
}

static void does_move(struct kit *kit)
{
	kit_copy(kit, kit->store, kit->inbox, UIDS(2, 3), kit_mbox(kit, kit->store, "Other"), true);
}

static void does_copy(struct kit *kit)
{
	kit_copy(kit, kit->store, kit->inbox, ALL, kit->inbox, false);
}

static void does_mailboxes(struct kit *kit)
{
	must_ok(kit_create(kit, kit->store, "New"));
	must_ok(kit_rename(kit, kit->store, "Other", "Else"));
	must_ok(kit_subscribe(kit, kit->store, "New", true));
}

static void does_many(struct kit *kit)
{
	for (int i = 0; i < 30; i++)
		kit_flags(kit, kit->store, kit->inbox, ALL, i % 2 ? PS_FLAGS_REMOVE : PS_FLAGS_ADD, PS_FLAG_DRAFT,
			  NULL);
	does_expunge(kit);
}

static const struct {
	const char *name;
	void (*run)(struct kit *kit);
} doings[] = {
	{"messages come", does_append},          {"flags change", does_flags},      {"keywords come", does_keywords},
	{"messages are expunged", does_expunge}, {"messages are moved", does_move}, {"messages are copied", does_copy},
	{"mailboxes change", does_mailboxes},    {"much happens", does_many},
};

static void *write_something(void *arg)
{
	struct kit *kit = arg;

	doings[kit->row].run(kit);
	return NULL;
}

struct moment {
	struct kit *kit;
	struct ps_buf text;
};

static int put_row(void *arg, const struct ps_row *row)
{
	struct moment *m = arg;

	ps_buf_printf(&m->text, "%u 0x%x %llx %llu\n", row->uid, row->flags, (unsigned long long)row->keywords,
		      (unsigned long long)row->modseq);
	return 0;
}

static int put_range(void *arg, struct ps_range uids)
{
	struct moment *m = arg;

	ps_buf_printf(&m->text, "gone %u:%u\n", uids.first, uids.last);
	return 0;
}

static int put_mailbox(void *arg, const struct ps_mailbox_info *info)
{
	struct moment *m = arg;

	if (info->attributes)
		ps_buf_printf(&m->text, "%s 0x%x %u %u %llu\n", info->name, info->attributes, info->messages,
			      info->uid_next, (unsigned long long)info->highest_modseq);
	return 0;
}

/* All that a read says. */
static const char *all_of(struct kit *kit, struct ps_read *read)
{
	struct moment m = {.kit = kit};
	struct ps_mailbox_info info;
	const char *const *names, *text;
	size_t count;

	must_ok(kit->ops->info(read, kit->inbox, &info));
	put_mailbox(&m, &info);
	must_ok(kit->ops->keywords(read, kit->inbox, &names, &count));
	for (size_t i = 0; i < count; i++)
		ps_buf_printf(&m.text, "keyword %s\n", names[i]);
	must_ok(kit->ops->scan(read, kit->inbox, ALL, 0, put_row, &m));
	must_ok(kit->ops->vanished(read, kit->inbox, info.vanished_since, put_range, &m));
	must_ok(kit->ops->list(read, put_mailbox, &m));
	text = ps_pool_strdup(kit->pool, ps_buf_cstr(&m.text));
	ps_buf_finish(&m.text);
	return text;
}

static void one_moment(struct kit *kit)
{
	const char *before, *after;
	struct ps_read *read, *second;
	struct kit writer;
	pthread_t thread;

	kit_begin(kit, 4);
	must_ok(kit_create(kit, kit->store, "Other"));
	writer = *kit;
	writer.pool = ps_pool_create("writer");
	must_ok(kit->ops->read_begin(kit->store, &read));
	before = all_of(kit, read);
	must(pthread_create(&thread, NULL, write_something, &writer) == 0, "no thread");
	/* Ends only if the writer does not wait for us. */
	pthread_join(thread, NULL);
	after = all_of(kit, read);
	must(strcmp(before, after) == 0, "a read said\n%sand, after a commit,\n%s", before, after);
	must_ok(kit->ops->read_begin(kit->store, &second)); /* by another thread it would be, in a server */
	kit->ops->read_end(read);
	must(strcmp(before, all_of(kit, second)) != 0, "the next read does not see the commit");
	kit->ops->read_end(second);
	ps_pool_destroy(writer.pool);
	kit_end(kit);
}

static int count_row(void *arg, const struct ps_row *row)
{
	(void)row;
	++*(unsigned *)arg;
	return 0;
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

static int put_name(void *arg, const struct ps_mailbox_info *info)
{
	struct moment *m = arg;

	if (info->attributes)
		ps_buf_printf(&m->text, " %s", info->name);
	return 0;
}

/* What list() says of mailboxes below a name, which list_below() says alone; names in any order. */
static void below(struct kit *kit)
{
	static const char *const made[] = {"Top", "Top/One", "Top/One/Two", "Top.x", "Topper", "Tap/Tip"};
	static const struct {
		const char *top, *lies[4];
	} rows[] = {
		{"Top", {"Top", "Top/One", "Top/One/Two", "Top/Wanted"}},
		{"Top/One", {"Top/One", "Top/One/Two"}},
		{"Top/One/Two", {"Top/One/Two"}},
		{"Tap", {"Tap/Tip"}},
		{"Topper", {"Topper"}},
		{"Nothing", {NULL}},
		{"", {NULL}},
	};
	struct ps_store *store = kit_open(kit);
	struct ps_read *read;

	for (size_t i = 0; i < PS_ARRAY_LEN(made); i++)
		must_ok(kit_create(kit, store, made[i]));
	must_ok(kit_subscribe(kit, store, "Top/One", true));
	must_ok(kit_subscribe(kit, store, "Top/Wanted", true));
	must_ok(kit_subscribe(kit, store, "Topp", true));
	must_ok(kit->ops->read_begin(store, &read));
	for (size_t i = 0; kit->ops->list_below && i < PS_ARRAY_LEN(rows); i++) {
		struct moment m = {.kit = kit};
		size_t len = 0;

		must_ok(kit->ops->list_below(read, rows[i].top, put_name, &m));
		for (size_t k = 0; k < PS_ARRAY_LEN(rows[i].lies) && rows[i].lies[k]; k++) {
			const char *one = ps_pool_printf(kit->pool, " %s", rows[i].lies[k]);

			must(strstr(ps_buf_cstr(&m.text), one) != NULL, "below %s:%s, without%s", rows[i].top,
			     ps_buf_cstr(&m.text), one);
			len += strlen(one);
		}
		must(m.text.len == len, "below %s there is%s", rows[i].top, ps_buf_cstr(&m.text));
		ps_buf_finish(&m.text);
	}
	must(!kit->ops->list_below || kit->ops->list_below(read, "Top", stop_list, NULL) == 43,
	     "a callback does not end the list");
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
	{"read_begin: a read sees one moment, and hinders nobody, while", one_moment, ROWS(doings)},
	{"scan, list: walks keep to their range and end when told", walks},
	{"list_below: it is what list() says of a name and what is below it", below},
	{"mailbox_open: two handles of a mailbox show the same", several_handles},
	{"sync: a sync without news changes nothing", nothing_to_sync},
};
GROUP(reading, "reading: one moment of the store, without hindering anybody", checks);
