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

static void moved_away(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX"), *other;
	struct picture here, there;

	must_ok(kit_create(kit, store, "Other"));
	other = kit_mbox(kit, store, "Other");
	kit_fill(kit, store, inbox, 6);
	here = kit_picture(kit, store, inbox);
	there = kit_picture(kit, store, other);
	kit_copy(kit, store, inbox, (struct ps_range){2, 4}, other, true);
	kit_catch_up(kit, store, inbox, &here);
	kit_catch_up(kit, store, other, &there);
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

static const struct check checks[] = {
	{"EXPUNGE takes those with \\Deleted where asked, and their octets are gone", only_deleted},
	{"who knows any earlier state can be brought to the present, after reopening too", since_any_time},
	{"what was moved away has vanished", moved_away},
	{"a callback ends the walk", walk_ends},
};
GROUP(vanished, "law 2: what vanished is reported", checks);
