/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "tests/conformance/conform.h"

typedef unsigned long long ull;

static const char *const alpha[] = {"alpha", NULL}, *const upper_alpha[] = {"ALPHA", NULL},
			 *const beta[] = {"beta", NULL};

/* INBOX has UIDs 1 to 6: 1 and 2 are \Seen with keyword alpha, 3 is \Deleted. Other has one message. */
static struct ps_mbox *set_out(struct kit *kit)
{
	struct ps_mbox *other;

	kit_begin(kit, 6);
	kit_flags(kit, kit->store, kit->inbox, UIDS(1, 2), PS_FLAGS_SET, PS_FLAG_SEEN, alpha);
	kit_flags(kit, kit->store, kit->inbox, UIDS(3, 3), PS_FLAGS_ADD, PS_FLAG_DELETED, NULL);
	must_ok(kit_create(kit, kit->store, "Other"));
	other = kit_mbox(kit, kit->store, "Other");
	kit_fill(kit, kit->store, other, 1);
	return other;
}

/* ---- one change to INBOX ------------------------------------------------------------------- */

struct change {
	const char *name;
	struct ps_op op;
	struct ps_range uids;
	uint32_t first, last; /* the rows it touches, where they stay */
	bool to_other;        /* COPY, MOVE */
};

static const struct change changes[] = {
	{"a flag is added", {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .flags = PS_FLAG_SEEN}, UIDS(2, 4), 3, 4},
	{"a flag is removed", {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_REMOVE, .flags = PS_FLAG_SEEN}, ALL, 1, 2},
	{"flags are set", {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_SET, .flags = PS_FLAG_DRAFT}, UIDS(5, 6), 5, 6},
	{"flags are cleared", {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_SET}, ALL, 1, 3},
	{"a new keyword is added",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .keywords = beta},
	 UIDS(4, 4),
	 4,
	 4},
	{"a known keyword is added",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .keywords = alpha},
	 UIDS(1, 4),
	 3,
	 4},
	{"a keyword is removed",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_REMOVE, .keywords = upper_alpha},
	 ALL,
	 1,
	 2},
	{"keywords are set",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_SET, .flags = PS_FLAG_SEEN, .keywords = beta},
	 UIDS(2, 2),
	 2,
	 2},
	{"one is expunged", {.kind = PS_OP_EXPUNGE}, UIDS(4, 4), 0, 0},
	{"the last is expunged", {.kind = PS_OP_EXPUNGE}, UIDS(6, 6), 0, 0},
	{"all are expunged", {.kind = PS_OP_EXPUNGE}, ALL, 0, 0},
	{"those with \\Deleted are expunged", {.kind = PS_OP_EXPUNGE, .only_deleted = true}, ALL, 0, 0},
	{"one is copied onto itself", {.kind = PS_OP_COPY}, UIDS(1, 1), 7, 7},
	{"one is moved onto itself", {.kind = PS_OP_MOVE}, UIDS(1, 1), 7, 7},
	{"some are moved away", {.kind = PS_OP_MOVE}, UIDS(2, 3), 0, 0, true},
};

static struct ps_op_result apply(struct kit *kit, const struct change *change, struct ps_mbox *other)
{
	struct ps_op_result result;
	struct ps_op op = change->op;

	op.mbox = kit->inbox;
	op.target = change->to_other ? other : kit->inbox;
	op.uids = &change->uids;
	op.uid_count = 1;
	op.unchanged_since = UINT64_MAX;
	must_ok(kit_try(kit, kit->store, &op, &result));
	return result;
}

static void every_change(struct kit *kit)
{
	struct ps_mbox *other = set_out(kit);
	uint64_t before = kit_highest(kit, kit->store, other), now; /* the store's last change was there */
	struct ps_op_result result = apply(kit, &changes[kit->row], other);

	now = kit_highest(kit, kit->store, kit->inbox);
	must(result.modseq > before, "modseq %llu, the highest was %llu", (ull)result.modseq, (ull)before);
	must(now >= result.modseq, "HIGHESTMODSEQ is %llu, given was %llu", (ull)now, (ull)result.modseq);
	kit_end(kit);
}

static void touched_rows(struct kit *kit)
{
	const struct change *change = &changes[kit->row];
	struct ps_mbox *other = set_out(kit);
	struct picture before = kit_picture(kit, kit->store, kit->inbox), now;
	struct ps_op_result result = apply(kit, change, other);

	now = kit_picture(kit, kit->store, kit->inbox);
	for (size_t i = 0; i < now.count; i++) {
		const struct ps_row *row = &now.rows[i], *old = picture_row(&before, row->uid);
		bool touched = row->uid >= change->first && row->uid <= change->last;

		must(touched || old, "UID %u is new", row->uid);
		must(row->modseq == (touched ? result.modseq : old->modseq), "UID %u: modseq %llu; the change had %llu",
		     row->uid, (ull)row->modseq, (ull)result.modseq);
	}
	kit_catch_up(kit, kit->store, kit->inbox, &before);
	kit_end(kit);
}

static void over_reopening(struct kit *kit)
{
	struct ps_mbox *other = set_out(kit);
	uint64_t before;

	apply(kit, &changes[kit->row], other);
	before = kit_highest(kit, kit->store, kit->inbox);
	kit_again(kit);
	must(kit_highest(kit, kit->store, kit->inbox) >= before, "HIGHESTMODSEQ %llu, was %llu",
	     (ull)kit_highest(kit, kit->store, kit->inbox), (ull)before);
	kit_fill(kit, kit->store, kit->inbox, 1);
	must(kit_highest(kit, kit->store, kit->inbox) > before, "a change after reopening did not raise HIGHESTMODSEQ");
	kit_end(kit);
}

/* ---- what changes nothing ------------------------------------------------------------------ */

static const struct change no_changes[] = {
	{"adding a flag that is there",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .flags = PS_FLAG_SEEN},
	 UIDS(1, 2)},
	{"removing a flag that is not there",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_REMOVE, .flags = PS_FLAG_DRAFT},
	 ALL},
	{"setting what is there",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_SET, .flags = PS_FLAG_SEEN, .keywords = alpha},
	 UIDS(1, 2)},
	{"clearing what is clear", {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_SET}, UIDS(4, 6)},
	{"adding no flag at all", {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD}, ALL},
	{"adding a keyword that is there, in other case",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .keywords = upper_alpha},
	 UIDS(1, 2)},
	{"removing a keyword that nobody has",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_REMOVE, .keywords = beta},
	 ALL},
	{"removing a keyword where it is not",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_REMOVE, .keywords = alpha},
	 UIDS(3, 6)},
	{"flags of UIDs that do not exist",
	 {.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .flags = PS_FLAG_SEEN},
	 UIDS(100, 200)},
	{"expunge of UIDs that do not exist", {.kind = PS_OP_EXPUNGE}, UIDS(100, UINT32_MAX)},
	{"expunge of \\Deleted where none is", {.kind = PS_OP_EXPUNGE, .only_deleted = true}, UIDS(4, 6)},
	{"copying nothing", {.kind = PS_OP_COPY}, UIDS(100, 200)},
	{"moving nothing", {.kind = PS_OP_MOVE}, UIDS(100, 200), 0, 0, true},
};

static void no_change(struct kit *kit)
{
	struct ps_mbox *other = set_out(kit);
	struct picture before = kit_picture(kit, kit->store, kit->inbox), now;
	uint64_t there = kit_highest(kit, kit->store, other);
	struct ps_op_result result = apply(kit, &no_changes[kit->row], other);

	now = kit_picture(kit, kit->store, kit->inbox);
	must(result.modseq == 0, "modseq %llu was given", (ull)result.modseq);
	must(now.info.highest_modseq == before.info.highest_modseq, "HIGHESTMODSEQ %llu, was %llu",
	     (ull)now.info.highest_modseq, (ull)before.info.highest_modseq);
	must(kit_highest(kit, kit->store, other) == there, "HIGHESTMODSEQ of the other mailbox was raised");
	pictures_must_agree(kit, &before, &now, true);
	kit_end(kit);
}

/* ---- one counter --------------------------------------------------------------------------- */

static void one_counter(struct kit *kit)
{
	struct ps_mbox *other = set_out(kit);
	uint64_t last = kit_highest(kit, kit->store, other);

	for (int i = 0; i < 10; i++) {
		struct ps_mbox *mbox = i % 2 ? other : kit->inbox;

		kit_fill(kit, kit->store, mbox, 1);
		must(kit_highest(kit, kit->store, mbox) > last, "HIGHESTMODSEQ %llu, another mailbox had %llu",
		     (ull)kit_highest(kit, kit->store, mbox), (ull)last);
		last = kit_highest(kit, kit->store, mbox);
	}
	kit_end(kit);
}

static void others_are_left_alone(struct kit *kit)
{
	struct ps_mbox *other = set_out(kit);
	struct picture before = kit_picture(kit, kit->store, other), now;

	kit_fill(kit, kit->store, kit->inbox, 2);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, PS_FLAG_FLAGGED, NULL);
	kit_expunge(kit, kit->store, kit->inbox, UIDS(1, 1));
	now = kit_picture(kit, kit->store, other);
	must(now.info.highest_modseq == before.info.highest_modseq, "changes elsewhere raised HIGHESTMODSEQ");
	pictures_must_agree(kit, &before, &now, true);
	kit_end(kit);
}

static void both_ends_of_a_copy(struct kit *kit)
{
	struct ps_mbox *other = set_out(kit);
	struct ps_op_result result = kit_copy(kit, kit->store, kit->inbox, UIDS(1, 3), other, kit->row);
	struct picture p = kit_picture(kit, kit->store, other);

	must(p.info.highest_modseq >= result.modseq, "the target's HIGHESTMODSEQ is below the copy's modseq");
	for (size_t i = 1; i < p.count; i++)
		must(p.rows[i].modseq == result.modseq, "UID %u: modseq %llu, the copy had %llu", p.rows[i].uid,
		     (ull)p.rows[i].modseq, (ull)result.modseq);
	kit_end(kit);
}

static void copy_rows(size_t row, char name[ROW_NAME])
{
	strcpy(name, row ? "MOVE" : "COPY");
}

/* A mailbox of the same name begins above all that was told of the old one. */
static void made_again(struct kit *kit)
{
	uint64_t before;

	kit_begin(kit, 3);
	must_ok(kit_create(kit, kit->store, "Again"));
	kit_fill(kit, kit->store, kit_mbox(kit, kit->store, "Again"), 3);
	before = kit_highest(kit, kit->store, kit_mbox(kit, kit->store, "Again"));
	must_ok(kit_delete(kit, kit->store, "Again"));
	if (kit->row)
		kit_again(kit);
	must_ok(kit_create(kit, kit->store, "Again"));
	must(kit_highest(kit, kit->store, kit_mbox(kit, kit->store, "Again")) > before, "HIGHESTMODSEQ went back");
	kit_end(kit);
}

static void reopen_rows(size_t row, char name[ROW_NAME])
{
	strcpy(name, row ? "after reopening" : "at once");
}

static void within_a_batch(struct kit *kit)
{
	struct ps_range one = UIDS(1, 1);
	struct ps_op ops[3];
	struct ps_op_result results[3];
	uint64_t before, now;

	kit_begin(kit, 2);
	before = kit_highest(kit, kit->store, kit->inbox);
	kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &ops[0]);
	ops[1] = (struct ps_op){.kind = PS_OP_FLAGS,
				.mbox = kit->inbox,
				.uids = &one,
				.uid_count = 1,
				.flags = PS_FLAG_DRAFT,
				.unchanged_since = UINT64_MAX};
	one.first = one.last = 1;
	ops[2] = (struct ps_op){
		.kind = PS_OP_EXPUNGE, .mbox = kit->inbox, .uids = &(struct ps_range){2, 2}, .uid_count = 1};
	must_ok(kit_try_all(kit, kit->store, ops, 3, results));
	now = kit_highest(kit, kit->store, kit->inbox);
	for (int i = 0; i < 3; i++)
		must(results[i].modseq > before && results[i].modseq <= now,
		     "operation %d: modseq %llu of %llu to %llu", i, (ull)results[i].modseq, (ull)before, (ull)now);
	kit_end(kit);
}

/* ---- conditions ---------------------------------------------------------------------------- */

/* INBOX has UIDs 1 to 4 as they came; then 2 and 3 are changed. The condition is the modseq of a row, and a difference. */
static const struct {
	const char *name;
	uint32_t of;
	int64_t plus;
	uint64_t instead; /* of the above, where it is not 0 */
	const char *changed;
} conditions[] = {
	{"none", 0, 0, UINT64_MAX, "1 2 3 4"},      {"the highest", 3, 0, 0, "1 2 3 4"},
	{"one below the highest", 3, -1, 0, "1 4"}, {"that of the last that did not change", 4, 0, 0, "1 4"},
	{"one below that", 4, -1, 0, "1"},          {"below all", 1, -1, 0, ""},
};

static void unchanged_since(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op op = {
		.kind = PS_OP_FLAGS, .uids = &all, .uid_count = 1, .flag_mode = PS_FLAGS_ADD, .flags = PS_FLAG_SEEN};
	struct ps_op_result result;
	struct picture p;
	char changed[64] = "", modified[64] = "", rest[64] = "";

	kit_begin(kit, 4);
	kit_flags(kit, kit->store, kit->inbox, UIDS(2, 3), PS_FLAGS_ADD, PS_FLAG_DRAFT, NULL);
	p = kit_picture(kit, kit->store, kit->inbox);
	op.mbox = kit->inbox;
	op.unchanged_since = conditions[kit->row].instead ? UINT64_MAX
							  : picture_row(&p, conditions[kit->row].of)->modseq +
								    (uint64_t)conditions[kit->row].plus;
	must_ok(kit_try(kit, kit->store, &op, &result));
	p = kit_picture(kit, kit->store, kit->inbox);
	for (size_t i = 0; i < p.count; i++) {
		char *list = p.rows[i].flags & PS_FLAG_SEEN ? changed : rest;

		sprintf(list + strlen(list), "%s%u", *list ? " " : "", p.rows[i].uid);
	}
	for (size_t i = 0; i < result.modified_count; i++)
		for (uint32_t uid = result.modified[i].first; uid <= result.modified[i].last; uid++)
			sprintf(modified + strlen(modified), "%s%u", *modified ? " " : "", uid);
	must(strcmp(changed, conditions[kit->row].changed) == 0, "UIDs %s were changed, not %s", changed,
	     conditions[kit->row].changed);
	must(strcmp(modified, rest) == 0, "the result names UIDs %s as modified, not %s", modified, rest);
	kit_end(kit);
}

static void condition_before_no_change(struct kit *kit)
{
	struct ps_range one = UIDS(1, 9);
	struct ps_op op = {
		.kind = PS_OP_FLAGS, .uids = &one, .uid_count = 1, .flag_mode = PS_FLAGS_ADD, .flags = PS_FLAG_SEEN};
	struct ps_op_result result;

	kit_begin(kit, 1);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	op.mbox = kit->inbox;
	op.unchanged_since = kit_first(kit)->modseq - 1;
	must_ok(kit_try(kit, kit->store, &op, &result));
	must(result.modified_count == 1 && result.modified[0].first == 1 && result.modified[0].last == 1,
	     "a message above the condition is not in the result");
	kit_end(kit);
}

/* There are 64 at most: one that no message has got needs none. */
static void condition_before_keywords(struct kit *kit)
{
	static const char *const keywords[] = {"unmet", NULL};
	struct ps_range all = ALL;
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .uids = &all,
			   .uid_count = 1,
			   .flag_mode = PS_FLAGS_ADD,
			   .keywords = keywords,
			   .unchanged_since = 0};
	struct ps_op_result result;
	struct picture before, after;

	kit_begin(kit, 2);
	before = kit_picture(kit, kit->store, kit->inbox);
	op.mbox = kit->inbox;
	must_ok(kit_try(kit, kit->store, &op, &result));
	after = kit_picture(kit, kit->store, kit->inbox);
	must(after.keyword_count == before.keyword_count, "the table has %zu keywords, it had %zu", after.keyword_count,
	     before.keyword_count);
	must(after.info.highest_modseq == before.info.highest_modseq, "HIGHESTMODSEQ was raised");
	kit_end(kit);
}

static const struct check checks[] = {
	{"law 2: HIGHESTMODSEQ is raised when", every_change, ROWS(changes)},
	{"a change gives its modseq to what it touches and to nothing else, when", touched_rows, ROWS(changes)},
	{"law 2: HIGHESTMODSEQ does not go back over reopening, when", over_reopening, ROWS(changes)},
	{"what changes nothing raises nothing", no_change, ROWS(no_changes)},
	{"law 2: one counter serves the whole store", one_counter},
	{"law 2: HIGHESTMODSEQ is noted in the mailboxes a change touches, and in no other", others_are_left_alone},
	{"law 2: copies have the modseq of the operation", both_ends_of_a_copy, ROWS_NAMED(2, copy_rows)},
	{"law 2: a mailbox made again begins above the old one's HIGHESTMODSEQ", made_again,
	 ROWS_NAMED(2, reopen_rows)},
	{"law 2: each operation of a batch has a modseq above what was", within_a_batch},
	{"FLAGS: unchanged_since leaves alone what is above it, and says so", unchanged_since, ROWS(conditions)},
	{"FLAGS: what is above unchanged_since is modified, though nothing would change", condition_before_no_change},
	{"FLAGS: what unchanged_since leaves alone takes no keyword into the table", condition_before_keywords},
};
GROUP(modseq, "law 2: HIGHESTMODSEQ never goes back; every change raises it", checks);
