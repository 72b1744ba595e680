/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

static void grow_in_order(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	uint32_t last = 0;

	for (unsigned i = 0; i < 20; i++) {
		uint32_t next = kit_picture(kit, store, inbox).info.uid_next;
		uint32_t uid =
			kit_append(kit, store, inbox, &(struct kit_message){.octets = kit_text(kit, "%u\r\n", i)});

		must(uid > last && uid >= next, "UID %u after %u, UIDNEXT was %u", uid, last, next);
		must(kit_picture(kit, store, inbox).info.uid_next > uid, "UIDNEXT is not above UID %u", uid);
		last = uid;
	}
	kit_close(kit, store);
}

static void never_again(struct kit *kit, bool reopen)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	uint32_t last, uid;

	kit_fill(kit, store, inbox, 3);
	last = kit_picture(kit, store, inbox).rows[2].uid;
	kit_expunge(kit, store, inbox, (struct ps_range){1, UINT32_MAX});
	if (reopen) {
		kit_close(kit, store);
		store = kit_open(kit);
		inbox = kit_mbox(kit, store, "INBOX");
	}
	must(kit_picture(kit, store, inbox).info.uid_next > last, "UIDNEXT went back below %u", last);
	uid = kit_append(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")});
	must(uid > last, "UID %u was given out before, up to %u", uid, last);
	kit_close(kit, store);
}

static void never_again_open(struct kit *kit)
{
	never_again(kit, false);
}

static void never_again_reopened(struct kit *kit)
{
	never_again(kit, true);
}

static void given_uids(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct kit_message message = {.octets = ps_bytes_str("x\r\n")};
	struct ps_op_result result;
	struct ps_op op;

	kit_stage(kit, store, inbox, &message, &op);
	op.uid = 100;
	must_ok(kit_try(kit, store, &op, &result));
	must(result.new_uids[0].first == 100, "asked for UID 100, got %u", result.new_uids[0].first);
	must(kit_append(kit, store, inbox, &message) == 101, "the next UID after 100 is not 101");
	kit_stage(kit, store, inbox, &message, &op);
	op.uid = 50;
	must_be(kit_try(kit, store, &op, &result), PS_E_INVALID);
	kit_stage(kit, store, inbox, &message, &op);
	op.uid = 101;
	must_be(kit_try(kit, store, &op, &result), PS_E_INVALID);
	must(kit_picture(kit, store, inbox).count == 2, "a refused message is there");
	kit_close(kit, store);
}

static void given_validity(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_op create = {.kind = PS_OP_CREATE, .name = "Kept", .uid_validity = 12345};

	must_ok(kit_try(kit, store, &create, NULL));
	must(kit_picture(kit, store, kit_mbox(kit, store, "Kept")).info.uid_validity == 12345,
	     "UIDVALIDITY is not kept");
	kit_close(kit, store);
}

static void made_again(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	uint32_t before = 0;

	for (int i = 0; i < 5; i++) {
		uint32_t now;

		must_ok(kit_create(kit, store, "Again"));
		now = kit_picture(kit, store, kit_mbox(kit, store, "Again")).info.uid_validity;
		must(now > before, "UIDVALIDITY %u, was %u", now, before);
		before = now;
		if (i == 2) {
			must_ok(kit_rename(kit, store, "Again", "Other"));
			must_ok(kit_delete(kit, store, "Other"));
		} else {
			must_ok(kit_delete(kit, store, "Again"));
		}
	}
	kit_close(kit, store);
}

static void refused_batch(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct kit_message message = {.octets = ps_bytes_str("x\r\n")};
	struct ps_op ops[2];
	uint32_t first, next;

	first = kit_append(kit, store, inbox, &message);
	kit_stage(kit, store, inbox, &message, &ops[0]);
	ops[1] = (struct ps_op){.kind = PS_OP_DELETE, .name = "Nowhere"};
	must_be(kit_try_all(kit, store, ops, 2, NULL), PS_E_NOTFOUND);
	must(kit_picture(kit, store, inbox).count == 1, "half a batch is there");
	next = kit_append(kit, store, inbox, &message);
	must(next > first, "UID %u after %u", next, first);
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"UIDs grow in the order of arrival", grow_in_order},
	{"the UID of an expunged message is not given out again", never_again_open},
	{"the UID of an expunged message is not given out again after reopening", never_again_reopened},
	{"a UID that is asked for is taken, one below UIDNEXT is refused", given_uids},
	{"a UIDVALIDITY that is asked for is taken", given_validity},
	{"a mailbox made again has a greater UIDVALIDITY", made_again},
	{"a refused batch leaves nothing, and UIDs go on growing", refused_batch},
};
GROUP(uids, "law 1: UIDs only grow; none is given out twice", checks);
