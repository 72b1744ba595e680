/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

static const struct kit_message small = {.octets = {(const uint8_t *)"x\r\n", 3}};

static struct ps_mbox *make(struct kit *kit, const char *name)
{
	must_ok(kit_create(kit, kit->store, name));
	return kit_mbox(kit, kit->store, name);
}

static void grow_in_order(struct kit *kit)
{
	uint32_t last = 0;

	kit_begin(kit, 0);
	for (unsigned i = 0; i < 20; i++) {
		uint32_t next = kit_picture(kit, kit->store, kit->inbox).info.uid_next;
		uint32_t uid = kit_append(kit, kit->store, kit->inbox, &small);

		must(uid > last && uid >= next, "UID %u after %u, UIDNEXT was %u", uid, last, next);
		must(kit_picture(kit, kit->store, kit->inbox).info.uid_next > uid, "UIDNEXT is not above UID %u", uid);
		last = uid;
	}
	kit_end(kit);
}

/* ---- the last UID goes away, in every way there is ----------------------------------------- */

static void lose_expunged(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit->inbox, UIDS(3, 3));
}

static void lose_all(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit->inbox, ALL);
}

static void lose_deleted(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op op = {
		.kind = PS_OP_EXPUNGE, .mbox = kit->inbox, .uids = &all, .uid_count = 1, .only_deleted = true};

	kit_flags(kit, kit->store, kit->inbox, UIDS(3, 3), PS_FLAGS_ADD, PS_FLAG_DELETED, NULL);
	must_ok(kit_try(kit, kit->store, &op, NULL));
}

static void lose_moved(struct kit *kit)
{
	kit_copy(kit, kit->store, kit->inbox, ALL, make(kit, "Other"), true);
}

static void lose_onto_itself(struct kit *kit)
{
	kit_copy(kit, kit->store, kit->inbox, ALL, kit->inbox, true);
	kit_expunge(kit, kit->store, kit->inbox, ALL);
}

/* A refused batch may have used UIDs up, or not. */
static void lose_refused(struct kit *kit)
{
	struct ps_op ops[2];

	kit_stage(kit, kit->store, kit->inbox, &small, &ops[0]);
	ops[1] = (struct ps_op){.kind = PS_OP_DELETE, .name = "Nowhere"};
	must_be(kit_try_all(kit, kit->store, ops, 2, NULL), PS_E_NOTFOUND);
}

static const struct {
	const char *name;
	void (*lose)(struct kit *kit);
	bool reopen;
} losses[] = {
	{"expunge of the last", lose_expunged, false},
	{"expunge of the last and reopen", lose_expunged, true},
	{"expunge of all", lose_all, false},
	{"expunge of all and reopen", lose_all, true},
	{"expunge of those with \\Deleted", lose_deleted, false},
	{"expunge of those with \\Deleted and reopen", lose_deleted, true},
	{"a move away", lose_moved, false},
	{"a move away and reopen", lose_moved, true},
	{"a move onto itself and expunge", lose_onto_itself, false},
	{"a move onto itself, expunge and reopen", lose_onto_itself, true},
	{"a refused batch", lose_refused, false},
	{"a refused batch and reopen", lose_refused, true},
};

static void never_again(struct kit *kit)
{
	uint32_t next, uid;

	kit_begin(kit, 3);
	losses[kit->row].lose(kit);
	next = kit_picture(kit, kit->store, kit->inbox).info.uid_next;
	must(next > 3, "UIDNEXT went back to %u", next);
	if (losses[kit->row].reopen)
		kit_again(kit);
	must(kit_picture(kit, kit->store, kit->inbox).info.uid_next >= next, "UIDNEXT went back below %u", next);
	uid = kit_append(kit, kit->store, kit->inbox, &small);
	must(uid >= next, "UID %u, where UIDNEXT was %u", uid, next);
	kit_end(kit);
}

/* ---- UIDs that are asked for --------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t uid;
	int r;
} wishes[] = {
	{"UIDNEXT itself is taken", 4, 0},
	{"far above UIDNEXT is taken", 100000, 0},
	{"above 2^31 is taken", 3000000000u, 0},
	{"that of a message is refused", 3, PS_E_INVALID},
	{"that of an expunged message is refused", 2, PS_E_INVALID},
};

static void given_uids(struct kit *kit)
{
	struct ps_op_result result;
	struct ps_op op;
	int r;

	kit_begin(kit, 3);
	kit_expunge(kit, kit->store, kit->inbox, UIDS(2, 2));
	kit_stage(kit, kit->store, kit->inbox, &small, &op);
	op.uid = wishes[kit->row].uid;
	r = kit_try(kit, kit->store, &op, &result);
	must_be(r, wishes[kit->row].r);
	if (r == 0) {
		must(result.new_count == 1 && result.new_uids[0].first == op.uid, "another UID was given");
		must(kit_append(kit, kit->store, kit->inbox, &small) == op.uid + 1, "the next is not one more");
		kit_again(kit);
		must(kit_append(kit, kit->store, kit->inbox, &small) > op.uid + 1, "a UID was given again");
	} else {
		must(kit_picture(kit, kit->store, kit->inbox).count == 2, "a refused message is there");
	}
	kit_end(kit);
}

/* With all UIDs used up there is nothing lawful but to refuse. */
static void no_more_uids(struct kit *kit)
{
	struct ps_op op;
	int r;

	kit_begin(kit, 1);
	kit_stage(kit, kit->store, kit->inbox, &small, &op);
	op.uid = UINT32_MAX - 1;
	r = kit_try(kit, kit->store, &op, NULL);
	for (int i = 0; i < 3 && r == 0; i++) {
		kit_stage(kit, kit->store, kit->inbox, &small, &op);
		r = kit_try(kit, kit->store, &op, NULL);
	}
	must(r == PS_E_LIMIT || r == PS_E_INVALID, "when UIDs are used up: %s", ps_err_name(r));
	kit_picture(kit, kit->store, kit->inbox); /* in order, none twice */
	kit_end(kit);
}

/* ---- several at once ----------------------------------------------------------------------- */

static void in_order_of_operations(struct kit *kit)
{
	struct ps_op ops[6];
	struct ps_op_result results[6];
	struct ps_mbox *other;

	kit_begin(kit, 2);
	other = make(kit, "Other");
	for (unsigned i = 0; i < 6; i++)
		kit_stage(kit, kit->store, i % 2 ? kit->inbox : other, &small, &ops[i]);
	must_ok(kit_try_all(kit, kit->store, ops, 6, results));
	for (unsigned i = 2; i < 6; i++)
		must(results[i].new_uids[0].first > results[i - 2].new_uids[0].first, "operation %u has a lesser UID",
		     i);
	kit_end(kit);
}

/* Those staged first may be committed last. */
static void in_order_of_commits(struct kit *kit)
{
	struct ps_op early, late;
	struct ps_op_result first, second;

	kit_begin(kit, 0);
	kit_stage(kit, kit->store, kit->inbox, &small, &early);
	kit_stage(kit, kit->store, kit->inbox, &small, &late);
	must_ok(kit_try(kit, kit->store, &late, &first));
	must_ok(kit_try(kit, kit->store, &early, &second));
	must(second.new_uids[0].first > first.new_uids[0].first, "UIDs follow staging, not commits");
	kit_end(kit);
}

static void copies_above(struct kit *kit)
{
	struct ps_op_result result;
	struct ps_mbox *other;
	uint32_t next;

	kit_begin(kit, 5);
	other = make(kit, "Other");
	kit_fill(kit, kit->store, other, 9);
	next = kit_picture(kit, kit->store, other).info.uid_next;
	result = kit_copy(kit, kit->store, kit->inbox, ALL, other, kit->row);
	must(result.new_count > 0, "nothing was copied");
	for (size_t i = 0; i < result.new_count; i++)
		must(result.new_uids[i].first >= next, "a copy has UID %u, UIDNEXT was %u", result.new_uids[i].first,
		     next);
	must(kit_picture(kit, kit->store, other).info.uid_next == next + 5, "UIDNEXT is not five more");
	kit_end(kit);
}

static void copy_rows(size_t row, char name[ROW_NAME])
{
	strcpy(name, row ? "MOVE" : "COPY");
}

/* ---- UIDVALIDITY --------------------------------------------------------------------------- */

static uint32_t validity(struct kit *kit, const char *name)
{
	return kit_picture(kit, kit->store, kit_mbox(kit, kit->store, name)).info.uid_validity;
}

static void remake_deleted(struct kit *kit)
{
	must_ok(kit_delete(kit, kit->store, "Again"));
}

static void remake_renamed(struct kit *kit)
{
	must_ok(kit_rename(kit, kit->store, "Again", "Other"));
}

static void remake_renamed_and_deleted(struct kit *kit)
{
	remake_renamed(kit);
	must_ok(kit_delete(kit, kit->store, "Other"));
}

static void remake_reopened(struct kit *kit)
{
	remake_deleted(kit);
	kit_again(kit);
}

static void remake_after_another_had_the_name(struct kit *kit)
{
	remake_renamed(kit);
	must_ok(kit_create(kit, kit->store, "Again"));
	remake_deleted(kit);
	must_ok(kit_rename(kit, kit->store, "Other", "Again"));
	remake_deleted(kit);
}

static const struct {
	const char *name;
	void (*remove)(struct kit *kit);
	uint32_t given;
} remakes[] = {
	{"deleted", remake_deleted, 0},
	{"renamed away", remake_renamed, 0},
	{"renamed away and deleted", remake_renamed_and_deleted, 0},
	{"deleted, then reopened", remake_reopened, 0},
	{"deleted and renamed in turns", remake_after_another_had_the_name, 0},
	{"deleted, when one far ahead had been asked for", remake_deleted, 4000000000u},
	{"deleted and reopened, when one far ahead had been asked for", remake_reopened, 4000000000u},
};

static void made_again(struct kit *kit)
{
	struct ps_op create = {.kind = PS_OP_CREATE, .name = "Again", .uid_validity = remakes[kit->row].given};
	uint32_t before = 0;

	kit_begin(kit, 0);
	must_ok(kit_try(kit, kit->store, &create, NULL));
	for (int i = 0; i < 3; i++) {
		before = validity(kit, "Again");
		remakes[kit->row].remove(kit);
		must_ok(kit_create(kit, kit->store, "Again"));
		must(validity(kit, "Again") > before, "UIDVALIDITY %u, was %u", validity(kit, "Again"), before);
		if (kit_attributes(kit, kit->store, "Other"))
			must_ok(kit_delete(kit, kit->store, "Other"));
	}
	kit_end(kit);
}

static void given_validity(struct kit *kit)
{
	struct ps_op create = {.kind = PS_OP_CREATE, .name = "Kept", .uid_validity = 12345};

	kit_begin(kit, 0);
	must_ok(kit_try(kit, kit->store, &create, NULL));
	must(validity(kit, "Kept") == 12345, "UIDVALIDITY %u", validity(kit, "Kept"));
	kit_again(kit);
	must(validity(kit, "Kept") == 12345, "UIDVALIDITY %u after reopening", validity(kit, "Kept"));
	kit_end(kit);
}

static void stay_flags(struct kit *kit)
{
	kit_flags(kit, kit->store, kit_mbox(kit, kit->store, "Box"), ALL, PS_FLAGS_SET, PS_FLAG_ALL, NULL);
}

static void stay_expunge(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit_mbox(kit, kit->store, "Box"), ALL);
}

static void stay_sync(struct kit *kit)
{
	must_ok(kit->ops->sync(kit->store, kit_mbox(kit, kit->store, "Box")));
	must_ok(kit->ops->sync(kit->store, NULL));
}

static void stay_rename(struct kit *kit)
{
	must_ok(kit_rename(kit, kit->store, "Box", "Else"));
	must_ok(kit_rename(kit, kit->store, "Else", "Box"));
}

static void stay_use(struct kit *kit)
{
	must_ok(kit_try(kit, kit->store,
			&(struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "Box", .attributes = PS_MBOX_JUNK}, NULL));
}

static const struct {
	const char *name;
	void (*run)(struct kit *kit);
} stays[] = {
	{"flags", stay_flags},
	{"expunge of all", stay_expunge},
	{"sync", stay_sync},
	{"a rename and back", stay_rename},
	{"another special use", stay_use},
	{"reopening", kit_again},
};

static void validity_stays(struct kit *kit)
{
	uint32_t before;

	kit_begin(kit, 0);
	kit_fill(kit, kit->store, make(kit, "Box"), 3);
	before = validity(kit, "Box");
	stays[kit->row].run(kit);
	must(validity(kit, "Box") == before, "UIDVALIDITY %u, was %u", validity(kit, "Box"), before);
	kit_end(kit);
}

/* ---- results ------------------------------------------------------------------------------- */

static void results_tell_validity(struct kit *kit)
{
	struct ps_op_result result;
	struct ps_op op;
	struct ps_mbox *other;

	kit_begin(kit, 2);
	other = make(kit, "Other");
	kit_stage(kit, kit->store, other, &small, &op);
	must_ok(kit_try(kit, kit->store, &op, &result));
	must(result.uid_validity == validity(kit, "Other"), "APPEND says UIDVALIDITY %u", result.uid_validity);
	for (int move = 0; move < 2; move++) {
		result = kit_copy(kit, kit->store, kit->inbox, UIDS(1, 1), other, move);
		must(result.uid_validity == validity(kit, "Other"), "%s says UIDVALIDITY %u", move ? "MOVE" : "COPY",
		     result.uid_validity);
	}
	kit_end(kit);
}

static const struct check checks[] = {
	{"law 1: UIDs grow in the order of arrival", grow_in_order},
	{"law 1: a UID is not given again after", never_again, ROWS(losses)},
	{"APPEND: of UIDs that are asked for, one", given_uids, ROWS(wishes)},
	{"law 1: when UIDs are used up, a message is refused rather than a UID given again", no_more_uids},
	{"law 1: in a batch UIDs grow in the order of operations", in_order_of_operations},
	{"law 1: UIDs grow in the order of commits, not of staging", in_order_of_commits},
	{"law 1: copies get UIDs above all of the target", copies_above, ROWS_NAMED(2, copy_rows)},
	{"CREATE: a UIDVALIDITY that is asked for is taken and kept", given_validity},
	{"CREATE: UIDVALIDITY is greater than any the name had, when it was", made_again, ROWS(remakes)},
	{"law 1: UIDVALIDITY stays over", validity_stays, ROWS(stays)},
	{"results name the UIDVALIDITY of the mailbox the new UIDs are in", results_tell_validity},
};
GROUP(uids, "law 1: UIDs only grow; none is given out twice", checks);
