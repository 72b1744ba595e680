/* SPDX-License-Identifier: MIT */
/*
 * Many messages. They come by copying a few, again and again.
 */
#include "tests/conformance/conform.h"

enum {
	FEW = 50,
	DOUBLINGS = 5,
	MANY = FEW << DOUBLINGS
};

static void begin_large(struct kit *kit)
{
	kit_begin(kit, FEW);
	for (int i = 0; i < DOUBLINGS; i++)
		kit_copy(kit, kit->store, kit->inbox, ALL, kit->inbox, false);
}

static size_t messages_in(const struct ps_range *ranges, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += ranges[i].last - ranges[i].first + 1;
	return n;
}

static void came(struct kit *kit)
{
	struct picture p;

	begin_large(kit);
	for (int again = 0; again < 2; again++) {
		p = kit_picture(kit, kit->store, kit->inbox);
		must(p.count == MANY, "%zu messages", p.count);
		for (size_t i = 0; i < p.count; i += 97)
			kit_body_must_be(kit, kit->inbox, p.rows[i].uid,
					 kit_text(kit, "Subject: %zu\r\n\r\nbody %zu\r\n", i % FEW + 1, i % FEW + 1));
		kit_again(kit);
	}
	kit_end(kit);
}

static void flagged(struct kit *kit)
{
	struct picture before, now;

	begin_large(kit);
	before = kit_picture(kit, kit->store, kit->inbox);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, PS_FLAG_SEEN, WORDS("word"));
	for (int again = 0; again < 2; again++) {
		now = kit_picture(kit, kit->store, kit->inbox);
		for (size_t i = 0; i < now.count; i++)
			must(now.rows[i].flags == PS_FLAG_SEEN && now.rows[i].keywords != 0, "UID %u has not changed",
			     now.rows[i].uid);
		kit_catch_up(kit, kit->store, kit->inbox, &before);
		kit_again(kit);
	}
	kit_end(kit);
}

/* Every second one: as many ranges as there can be. */
static struct ps_op every_second(struct kit *kit, const struct picture *p)
{
	struct ps_range *ranges = PS_NEWV(kit->pool, struct ps_range, p->count);
	size_t n = 0;

	for (size_t i = 0; i < p->count; i += 2)
		ranges[n++] = UIDS(p->rows[i].uid, p->rows[i].uid);
	return (struct ps_op){.mbox = kit->inbox, .uids = ranges, .uid_count = n, .unchanged_since = UINT64_MAX};
}

static void ranges(struct kit *kit)
{
	struct picture p;
	struct ps_op op;

	begin_large(kit);
	p = kit_picture(kit, kit->store, kit->inbox);
	op = every_second(kit, &p);
	op.kind = PS_OP_FLAGS;
	op.flags = PS_FLAG_FLAGGED;
	must_ok(kit_try(kit, kit->store, &op, NULL));
	p = kit_picture(kit, kit->store, kit->inbox);
	for (size_t i = 0; i < p.count; i++)
		must(!p.rows[i].flags == (i % 2 == 1), "UID %u has flags 0x%x", p.rows[i].uid, p.rows[i].flags);
	kit_end(kit);
}

static void expunged(struct kit *kit)
{
	struct picture before, now;
	struct ps_op op;

	begin_large(kit);
	before = kit_picture(kit, kit->store, kit->inbox);
	op = every_second(kit, &before);
	op.kind = PS_OP_EXPUNGE;
	must_ok(kit_try(kit, kit->store, &op, NULL));
	for (int again = 0; again < 2; again++) {
		now = kit_picture(kit, kit->store, kit->inbox);
		must(now.count == MANY / 2, "%zu messages are left", now.count);
		kit_catch_up(kit, kit->store, kit->inbox, &before);
		kit_again(kit);
	}
	kit_end(kit);
}

static void moved(struct kit *kit)
{
	struct ps_op_result result;
	struct ps_mbox *other;
	struct picture there;

	begin_large(kit);
	must_ok(kit_create(kit, kit->store, "Other"));
	other = kit_mbox(kit, kit->store, "Other");
	result = kit_copy(kit, kit->store, kit->inbox, ALL, other, true);
	must(messages_in(result.old_uids, result.old_count) == MANY &&
		     messages_in(result.new_uids, result.new_count) == MANY,
	     "the result names %zu old UIDs, %zu new ones", messages_in(result.old_uids, result.old_count),
	     messages_in(result.new_uids, result.new_count));
	there = kit_picture(kit, kit->store, other);
	must(there.count == MANY && kit_picture(kit, kit->store, kit->inbox).count == 0, "%zu messages came",
	     there.count);
	kit_end(kit);
}

static int count_row(void *arg, const struct ps_row *row)
{
	(void)row;
	++*(unsigned *)arg;
	return 0;
}

static unsigned scanned(struct kit *kit, struct ps_range uids, uint64_t since)
{
	struct ps_read *read;
	unsigned n = 0;

	must_ok(kit->ops->read_begin(kit->store, &read));
	must_ok(kit->ops->scan(read, kit->inbox, uids, since, count_row, &n));
	kit->ops->read_end(read);
	return n;
}

static void a_few_changed(struct kit *kit)
{
	uint64_t before;

	begin_large(kit);
	before = kit_highest(kit, kit->store, kit->inbox);
	kit_flags(kit, kit->store, kit->inbox, UIDS(MANY / 2, MANY / 2 + 2), PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	must(scanned(kit, ALL, before) == 3, "%u rows have changed", scanned(kit, ALL, before));
	must(scanned(kit, UIDS(MANY / 2 + 1, MANY), before) == 2, "%u rows have changed in the range",
	     scanned(kit, UIDS(MANY / 2 + 1, MANY), before));
	must(scanned(kit, UIDS(101, 200), 0) == 100, "%u rows in the range", scanned(kit, UIDS(101, 200), 0));
	kit_end(kit);
}

static const struct check checks[] = {
	{"1,600 messages come, and are there after reopening", came},
	{"FLAGS: all of them in one operation", flagged},
	{"FLAGS: 800 ranges in one operation", ranges},
	{"EXPUNGE: 800 ranges, each reported", expunged},
	{"MOVE: all of them, each with its new UID in the result", moved},
	{"scan: of many rows only what is asked for", a_few_changed},
};
GROUP(large, "large mailboxes", checks);
