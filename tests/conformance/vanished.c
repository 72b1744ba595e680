/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

static void only_deleted(struct kit *kit)
{
	struct ps_range all = {1, UINT32_MAX};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_op op = {.kind = PS_OP_EXPUNGE, .mbox = inbox, .uids = &all, .uid_count = 1, .only_deleted = true};
	struct picture before, now;
	struct ps_bytes octets;

	kit_fill(kit, store, inbox, 5);
	kit_flags(kit, store, inbox, (struct ps_range){2, 3}, PS_FLAGS_ADD, PS_FLAG_DELETED, NULL);
	before = kit_picture(kit, store, inbox);
	must_ok(kit_try(kit, store, &op, NULL));
	now = kit_picture(kit, store, inbox);
	must(now.count == 3 && now.rows[0].uid == 1 && now.rows[1].uid == 4 && now.rows[2].uid == 5,
	     "%zu messages are left", now.count);
	must_be(kit_body(kit, inbox, 2, &octets), PS_E_GONE);
	must_ok(kit_body(kit, inbox, 4, &octets));
	kit_catch_up(kit, store, inbox, &before);
	kit_close(kit, store);
}

static void since_any_time(struct kit *kit)
{
	struct picture known[12];
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");

	kit_fill(kit, store, inbox, 24);
	for (size_t i = 0; i < PS_ARRAY_LEN(known); i++) {
		uint32_t uid = (uint32_t)i * 2 + 1;

		known[i] = kit_picture(kit, store, inbox);
		kit_expunge(kit, store, inbox, (struct ps_range){uid, uid});
		kit_flags(kit, store, inbox, (struct ps_range){uid + 1, uid + 1}, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(known); i++)
		kit_catch_up(kit, store, inbox, &known[i]);
	kit_close(kit, store);
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	for (size_t i = 0; i < PS_ARRAY_LEN(known); i++)
		kit_catch_up(kit, store, inbox, &known[i]);
	kit_close(kit, store);
}

static int count_calls(void *arg, struct ps_range uids)
{
	(void)uids;
	++*(unsigned *)arg;
	return 7;
}

static void walk_ends(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture before;
	struct ps_read *read;
	unsigned calls = 0;

	kit_fill(kit, store, inbox, 6);
	before = kit_picture(kit, store, inbox);
	kit_expunge(kit, store, inbox, (struct ps_range){1, 1});
	kit_expunge(kit, store, inbox, (struct ps_range){3, 3});
	must_ok(kit->ops->read_begin(store, &read));
	must(kit->ops->vanished(read, inbox, before.info.highest_modseq, count_calls, &calls) == 7 && calls == 1,
	     "a callback that returns 7 does not end the walk with 7");
	kit->ops->read_end(read);
	kit_close(kit, store);
}

/* ---- each way to vanish -------------------------------------------------------------------- */

static void goes_one(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit->inbox, UIDS(2, 2));
}

static void goes_first(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit->inbox, UIDS(1, 1));
}

static void goes_last(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit->inbox, UIDS(8, 8));
}

static void goes_all(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit->inbox, ALL);
}

static void goes_scattered(struct kit *kit)
{
	struct ps_range some[] = {{1, 1}, {3, 4}, {7, 20}};
	struct ps_op op = {.kind = PS_OP_EXPUNGE, .mbox = kit->inbox, .uids = some, .uid_count = 3};

	must_ok(kit_try(kit, kit->store, &op, NULL));
}

static void goes_one_by_one(struct kit *kit)
{
	for (uint32_t uid = 8; uid >= 3; uid--)
		kit_expunge(kit, kit->store, kit->inbox, UIDS(uid, uid));
}

static void goes_moved(struct kit *kit)
{
	must_ok(kit_create(kit, kit->store, "Other"));
	kit_copy(kit, kit->store, kit->inbox, UIDS(2, 5), kit_mbox(kit, kit->store, "Other"), true);
}

static void goes_onto_itself(struct kit *kit)
{
	kit_copy(kit, kit->store, kit->inbox, UIDS(2, 5), kit->inbox, true);
}

static void goes_as_it_came(struct kit *kit)
{
	kit_fill(kit, kit->store, kit->inbox, 2);
	kit_expunge(kit, kit->store, kit->inbox, UIDS(9, 10));
}

static void goes_in_one_batch(struct kit *kit)
{
	struct ps_range a = UIDS(1, 2), b = UIDS(2, 3);
	struct ps_op ops[2] = {{.kind = PS_OP_EXPUNGE, .mbox = kit->inbox, .uids = &a, .uid_count = 1},
			       {.kind = PS_OP_EXPUNGE, .mbox = kit->inbox, .uids = &b, .uid_count = 1}};

	must_ok(kit_try_all(kit, kit->store, ops, 2, NULL));
}

static const struct {
	const char *name;
	void (*run)(struct kit *kit);
	const char *left; /* of UIDs 1 to 8 */
} goings[] = {
	{"one is expunged", goes_one, "1345678"},
	{"the first is expunged", goes_first, "2345678"},
	{"the last is expunged", goes_last, "1234567"},
	{"all are expunged", goes_all, ""},
	{"scattered ones are expunged", goes_scattered, "256"},
	{"they are expunged one by one", goes_one_by_one, "12"},
	{"they are moved away", goes_moved, "1678"},
	{"they are moved onto the mailbox itself", goes_onto_itself, "1678"},
	{"they came meanwhile and are expunged", goes_as_it_came, "12345678"},
	{"two operations of a batch overlap", goes_in_one_batch, "45678"},
};

static void reported(struct kit *kit)
{
	char left[16] = "";
	struct picture before, now;
	size_t n = 0;

	kit_begin(kit, 8);
	before = kit_picture(kit, kit->store, kit->inbox);
	goings[kit->row].run(kit);
	for (int again = 0; again < 2; again++) {
		now = kit_picture(kit, kit->store, kit->inbox);
		must(now.info.vanished_since <= before.info.highest_modseq,
		     "what vanished just now is not told any more");
		kit_catch_up(kit, kit->store, kit->inbox, &before);
		kit_again(kit);
	}
	for (size_t i = 0; i < now.count; i++)
		if (now.rows[i].uid <= 8)
			left[n++] = (char)('0' + now.rows[i].uid);
	must(strcmp(left, goings[kit->row].left) == 0, "left are UIDs %s, not %s", left, goings[kit->row].left);
	kit_end(kit);
}

/* ---- what must not be reported ------------------------------------------------------------- */

static int note_range(void *arg, struct ps_range uids)
{
	uint32_t *seen = arg;

	for (uint32_t uid = uids.first; uid <= uids.last && uid <= 31; uid++)
		*seen |= UINT32_C(1) << uid;
	return 0;
}

static uint32_t vanished_since(struct kit *kit, uint64_t since)
{
	uint32_t seen = 0;
	struct ps_read *read;

	must_ok(kit->ops->read_begin(kit->store, &read));
	must_ok(kit->ops->vanished(read, kit->inbox, since, note_range, &seen));
	kit->ops->read_end(read);
	return seen;
}

static void not_before(struct kit *kit)
{
	uint64_t first, second;

	kit_begin(kit, 4);
	first = kit_expunge(kit, kit->store, kit->inbox, UIDS(1, 1)).modseq;
	second = kit_expunge(kit, kit->store, kit->inbox, UIDS(3, 3)).modseq;
	must(vanished_since(kit, first - 1) == (1u << 1 | 1u << 3), "since before both: mask 0x%x",
	     vanished_since(kit, first - 1));
	must(vanished_since(kit, first) == 1u << 3, "since the first: mask 0x%x", vanished_since(kit, first));
	must(vanished_since(kit, second - 1) == 1u << 3, "since just before the second: mask 0x%x",
	     vanished_since(kit, second - 1));
	must(vanished_since(kit, second) == 0, "since the second: mask 0x%x", vanished_since(kit, second));
	kit_end(kit);
}

static void of_another_mailbox(struct kit *kit)
{
	struct ps_mbox *other;

	kit_begin(kit, 4);
	must_ok(kit_create(kit, kit->store, "Other"));
	other = kit_mbox(kit, kit->store, "Other");
	kit_fill(kit, kit->store, other, 4);
	kit_expunge(kit, kit->store, other, ALL);
	must(vanished_since(kit, kit_first(kit)->modseq) == 0, "what vanished elsewhere is reported");
	kit_end(kit);
}

static void not_the_living(struct kit *kit)
{
	uint32_t seen;

	kit_begin(kit, 6);
	kit_expunge(kit, kit->store, kit->inbox, UIDS(2, 2));
	kit_expunge(kit, kit->store, kit->inbox, UIDS(4, 5));
	seen = vanished_since(kit, 1);
	must((seen & (1u << 1 | 1u << 3 | 1u << 6)) == 0, "UIDs that are there are reported: mask 0x%x", seen);
	kit_end(kit);
}

static const struct check checks[] = {
	{"law 2: what vanished is reported, at once and after reopening, when", reported, ROWS(goings)},
	{"vanished: tells what has a modseq above the one given, and no other", not_before},
	{"vanished: tells nothing of other mailboxes", of_another_mailbox},
	{"vanished: tells no UID that is there", not_the_living},
	{"EXPUNGE: only_deleted takes those with \\Deleted, and their octets are gone", only_deleted},
	{"law 2: who knows any earlier state can be brought to the present, after reopening too", since_any_time},
	{"vanished: a callback ends the walk", walk_ends},
};
GROUP(vanished, "law 2: what vanished is reported", checks);
