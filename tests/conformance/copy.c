/* SPDX-License-Identifier: MIT */
#include <time.h>
#include "tests/conformance/conform.h"

/* Results of a COPY as a list of pairs. */
struct pairs {
	uint32_t old[64], new[64];
	size_t count;
};

static size_t spread(const struct ps_range *ranges, size_t count, uint32_t *uids)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		for (uint32_t uid = ranges[i].first; uid <= ranges[i].last; uid++) {
			must(n < 64, "the result names too many messages");
			uids[n++] = uid;
		}
	return n;
}

static struct pairs pairs_of(const struct ps_op_result *result)
{
	struct pairs pairs;
	size_t n = spread(result->new_uids, result->new_count, pairs.new);

	pairs.count = spread(result->old_uids, result->old_count, pairs.old);
	must(pairs.count == n, "%zu old UIDs, %zu new ones", pairs.count, n);
	return pairs;
}

static void prepare(struct kit *kit, struct ps_store **ret_store, struct ps_mbox **ret_from, struct ps_mbox **ret_to)
{
	static const char *const words[] = {"alpha", "Beta", NULL}, *const other[] = {"gamma", "beta", NULL};
	struct ps_store *store = kit_open(kit);

	*ret_from = kit_mbox(kit, store, "INBOX");
	must_ok(kit_create(kit, store, "To"));
	*ret_to = kit_mbox(kit, store, "To");
	kit_fill(kit, store, *ret_from, 6);
	kit_flags(kit, store, *ret_from, (struct ps_range){2, 5}, PS_FLAGS_SET, PS_FLAG_SEEN | PS_FLAG_FLAGGED, words);
	/* The target numbers its keywords in another way. */
	kit_append(kit, store, *ret_to, &(struct kit_message){.octets = ps_bytes_str("x\r\n"), .keywords = other});
	*ret_store = store;
}

static void copies_agree(struct kit *kit, const struct picture *from, const struct picture *to,
			 const struct pairs *pairs, struct ps_mbox *to_mbox)
{
	for (size_t i = 0; i < pairs->count; i++) {
		const struct ps_row *a = picture_row(from, pairs->old[i]), *b = picture_row(to, pairs->new[i]);

		must(a && b, "UIDs %u and %u are not both there", pairs->old[i], pairs->new[i]);
		must(a->flags == b->flags && a->size == b->size && a->internal_date == b->internal_date,
		     "UID %u: flags, size or date differ from those of %u", b->uid, a->uid);
		must(memcmp(&a->email_id, &b->email_id, sizeof a->email_id) == 0, "UID %u: another email id", b->uid);
		must(strcmp(picture_keywords(kit, from, a), picture_keywords(kit, to, b)) == 0,
		     "UID %u: keywords \"%s\", the original has \"%s\"", b->uid, picture_keywords(kit, to, b),
		     picture_keywords(kit, from, a));
		kit_body_must_be(kit, to_mbox, b->uid,
				 kit_text(kit, "Subject: %u\r\n\r\nbody %u\r\n", pairs->old[i], pairs->old[i]));
	}
}

/* Each of what follows is done by COPY, row 0, and by MOVE. */
static void copy_rows(size_t row, char name[ROW_NAME])
{
	strcpy(name, row ? "MOVE" : "COPY");
}

static void takes_along(struct kit *kit)
{
	bool move = kit->row;
	struct ps_range some[] = {{2, 3}, {5, 5}, {1000, 2000}};
	struct ps_op op = {.kind = move ? PS_OP_MOVE : PS_OP_COPY, .uids = some, .uid_count = 3};
	struct ps_store *store;
	struct ps_op_result result;
	struct picture before, from, to;
	struct pairs pairs;

	prepare(kit, &store, &op.mbox, &op.target);
	before = kit_picture(kit, store, op.mbox);
	must_ok(kit_try(kit, store, &op, &result));
	pairs = pairs_of(&result);
	from = kit_picture(kit, store, op.mbox);
	to = kit_picture(kit, store, op.target);
	must(pairs.count == 3 && to.count == 4, "%zu copied, %zu there", pairs.count, to.count);
	must(result.uid_validity == to.info.uid_validity, "UIDVALIDITY %u, the target has %u", result.uid_validity,
	     to.info.uid_validity);
	must(from.count == (move ? 3u : 6u), "%zu messages are left", from.count);
	copies_agree(kit, &before, &to, &pairs, op.target);
	kit_catch_up(kit, store, op.mbox, &before);
	kit_close(kit, store);
}

static void onto_itself(struct kit *kit)
{
	struct ps_store *store;
	struct ps_mbox *inbox, *to;
	struct ps_op_result result;
	struct picture before, now;
	struct pairs pairs;

	prepare(kit, &store, &inbox, &to);
	before = kit_picture(kit, store, inbox);
	result = kit_copy(kit, store, inbox, (struct ps_range){1, UINT32_MAX}, inbox, false);
	pairs = pairs_of(&result);
	now = kit_picture(kit, store, inbox);
	must(pairs.count == 6 && now.count == 12, "copied %zu, there are %zu", pairs.count, now.count);
	copies_agree(kit, &before, &now, &pairs, inbox);
	before = now;
	result = kit_copy(kit, store, inbox, (struct ps_range){1, 6}, inbox, true);
	pairs = pairs_of(&result);
	now = kit_picture(kit, store, inbox);
	must(pairs.count == 6 && now.count == 12, "moved %zu, there are %zu", pairs.count, now.count);
	copies_agree(kit, &before, &now, &pairs, inbox);
	kit_catch_up(kit, store, inbox, &before);
	kit_close(kit, store);
}

static void to_a_deleted_one(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op op = {.kind = kit->row ? PS_OP_MOVE : PS_OP_COPY, .uids = &all, .uid_count = 1};
	struct ps_store *store;
	struct picture before, now;

	prepare(kit, &store, &op.mbox, &op.target);
	before = kit_picture(kit, store, op.mbox);
	must_ok(kit_delete(kit, store, "To"));
	must_be(kit_try(kit, store, &op, NULL), PS_E_GONE);
	now = kit_picture(kit, store, op.mbox);
	pictures_must_agree(kit, &before, &now, true);
	kit_close(kit, store);
}

static void from_a_deleted_one(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op op = {.kind = kit->row ? PS_OP_MOVE : PS_OP_COPY, .uids = &all, .uid_count = 1};
	struct ps_store *store;

	prepare(kit, &store, &op.target, &op.mbox);
	must_ok(kit_delete(kit, store, "To"));
	must_be(kit_try(kit, store, &op, NULL), PS_E_GONE);
	must(kit_picture(kit, store, op.target).count == 6, "something was copied from a deleted mailbox");
	kit_close(kit, store);
}

/* ---- what a copy is, aspect by aspect ------------------------------------------------------ */

static const struct {
	const char *name;
	uint32_t flags;
	const char *const *keywords;
} marks[] = {
	{"\\Seen", PS_FLAG_SEEN, NULL},
	{"\\Answered", PS_FLAG_ANSWERED, NULL},
	{"\\Flagged", PS_FLAG_FLAGGED, NULL},
	{"\\Deleted", PS_FLAG_DELETED, NULL},
	{"\\Draft", PS_FLAG_DRAFT, NULL},
	{"no flag", 0, NULL},
	{"a keyword the target does not know", 0, (const char *const[]){"new", NULL}},
	{"a keyword the target numbers otherwise", 0, (const char *const[]){"beta", NULL}},
	{"a keyword the target spells otherwise", 0, (const char *const[]){"GAMMA", NULL}},
	{"all at once", PS_FLAG_ALL, (const char *const[]){"alpha", "beta", "gamma", "delta", NULL}},
};

static void marks_go_along(struct kit *kit)
{
	struct ps_mbox *from, *to;
	struct ps_op_result result;
	struct picture a, b;
	const struct ps_row *row;

	prepare(kit, &kit->store, &from, &to);
	kit_flags(kit, kit->store, from, UIDS(1, 1), PS_FLAGS_SET, marks[kit->row].flags, marks[kit->row].keywords);
	result = kit_copy(kit, kit->store, from, UIDS(1, 1), to, false);
	a = kit_picture(kit, kit->store, from);
	for (int again = 0; again < 2; again++) {
		b = kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "To"));
		row = picture_row(&b, result.new_uids[0].first);
		must(row && row->flags == marks[kit->row].flags, "the copy has flags 0x%x", row ? row->flags : 0);
		must(strcmp(picture_keywords(kit, &a, &a.rows[0]), picture_keywords(kit, &b, row)) == 0,
		     "the copy has keywords \"%s\", not \"%s\"", picture_keywords(kit, &b, row),
		     picture_keywords(kit, &a, &a.rows[0]));
		kit_again(kit);
	}
	kit_end(kit);
}

static void saved_now(struct kit *kit)
{
	struct ps_mbox *other;
	struct ps_op op;
	struct picture p;
	int64_t before;

	kit_begin(kit, 0);
	must_ok(kit_create(kit, kit->store, "Other"));
	other = kit_mbox(kit, kit->store, "Other");
	kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	op.save_date = 1000;
	op.internal_date = 2000;
	must_ok(kit_try(kit, kit->store, &op, NULL));
	before = time(NULL) - 1;
	kit_copy(kit, kit->store, kit->inbox, ALL, other, kit->row);
	p = kit_picture(kit, kit->store, other);
	must(p.rows[0].save_date >= before, "save date %lld", (long long)p.rows[0].save_date);
	must(p.rows[0].internal_date == 2000, "internal date %lld", (long long)p.rows[0].internal_date);
	kit_end(kit);
}

static void independent(struct kit *kit)
{
	struct ps_mbox *from, *to;
	struct ps_op_result result;
	struct picture a, b;

	prepare(kit, &kit->store, &from, &to);
	result = kit_copy(kit, kit->store, from, UIDS(2, 2), to, false);
	kit_flags(kit, kit->store, from, UIDS(2, 2), PS_FLAGS_SET, PS_FLAG_DRAFT, NULL);
	a = kit_picture(kit, kit->store, to);
	must(picture_row(&a, result.new_uids[0].first)->flags == (PS_FLAG_SEEN | PS_FLAG_FLAGGED),
	     "flags of the original are flags of the copy");
	kit_flags(kit, kit->store, to, ALL, PS_FLAGS_SET, PS_FLAG_ANSWERED, NULL);
	b = kit_picture(kit, kit->store, from);
	must(picture_row(&b, 2)->flags == PS_FLAG_DRAFT, "flags of the copy are flags of the original");
	kit_end(kit);
}

/* Whichever of the two goes, the other keeps its octets. */
static void octets_outlive(struct kit *kit)
{
	struct ps_mbox *from, *to;
	struct ps_op_result result;
	uint32_t uid;

	prepare(kit, &kit->store, &from, &to);
	result = kit_copy(kit, kit->store, from, UIDS(2, 2), to, false);
	uid = result.new_uids[0].first;
	kit_expunge(kit, kit->store, kit->row ? to : from, kit->row ? UIDS(uid, uid) : UIDS(2, 2));
	kit_again(kit);
	kit_body_must_be(kit, kit_mbox(kit, kit->store, kit->row ? "INBOX" : "To"), kit->row ? 2 : uid,
			 kit_text(kit, "Subject: 2\r\n\r\nbody 2\r\n"));
	kit_end(kit);
}

static void outlive_rows(size_t row, char name[ROW_NAME])
{
	strcpy(name, row ? "the original, when the copy is expunged" : "the copy, when the original is expunged");
}

static void in_order(struct kit *kit)
{
	struct ps_range some[] = {{2, 2}, {4, 5}};
	struct ps_op op = {.kind = kit->row ? PS_OP_MOVE : PS_OP_COPY, .uids = some, .uid_count = 2};
	struct ps_op_result result;
	struct pairs pairs;

	prepare(kit, &kit->store, &op.mbox, &op.target);
	must_ok(kit_try(kit, kit->store, &op, &result));
	pairs = pairs_of(&result);
	must(pairs.count == 3, "%zu copied", pairs.count);
	for (size_t i = 0; i < pairs.count; i++)
		kit_body_must_be(kit, op.target, pairs.new[i],
				 kit_text(kit, "Subject: %u\r\n\r\nbody %u\r\n", pairs.old[i], pairs.old[i]));
	must(pairs.new[0] < pairs.new[1] && pairs.new[1] < pairs.new[2],
	     "copies are not in the order of the originals");
	kit_end(kit);
}

static void there_and_back(struct kit *kit)
{
	struct ps_mbox *from, *to;
	struct ps_op_result result;
	struct picture before, now;

	prepare(kit, &kit->store, &from, &to);
	before = kit_picture(kit, kit->store, from);
	for (int i = 0; i < 3; i++) {
		result = kit_copy(kit, kit->store, from, ALL, to, true);
		must(kit_picture(kit, kit->store, from).count == 0, "something stayed behind");
		result = kit_copy(kit, kit->store, to, UIDS(result.new_uids[0].first, UINT32_MAX), from, true);
	}
	now = kit_picture(kit, kit->store, from);
	must(now.count == 6, "%zu messages came back", now.count);
	for (size_t i = 0; i < 6; i++)
		must(now.rows[i].flags == before.rows[i].flags &&
			     memcmp(&now.rows[i].email_id, &before.rows[i].email_id, 16) == 0,
		     "message %zu is not what it was", i + 1);
	kit_end(kit);
}

/* One batch that copies what it appended just before. */
static void in_one_batch(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op ops[2];
	struct ps_op_result results[2];
	struct ps_mbox *other;

	kit_begin(kit, 1);
	must_ok(kit_create(kit, kit->store, "Other"));
	other = kit_mbox(kit, kit->store, "Other");
	kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("second\r\n")}, &ops[0]);
	ops[1] = (struct ps_op){.kind = kit->row ? PS_OP_MOVE : PS_OP_COPY,
				.mbox = kit->inbox,
				.target = other,
				.uids = &all,
				.uid_count = 1};
	must_ok(kit_try_all(kit, kit->store, ops, 2, results));
	must(kit_picture(kit, kit->store, other).count == 2, "%zu messages", kit_picture(kit, kit->store, other).count);
	kit_body_must_be(kit, other, 2, ps_bytes_str("second\r\n"));
	must(kit_picture(kit, kit->store, kit->inbox).count == (kit->row ? 0 : 2), "INBOX has %zu messages",
	     kit_picture(kit, kit->store, kit->inbox).count);
	kit_end(kit);
}

static const struct check checks[] = {
	{"flags, keywords by name, dates, ids and octets go along with", takes_along, ROWS_NAMED(2, copy_rows)},
	{"COPY: takes along", marks_go_along, ROWS(marks)},
	{"the save date is now, the internal date is kept by", saved_now, ROWS_NAMED(2, copy_rows)},
	{"the order of UIDs is that of the originals with", in_order, ROWS_NAMED(2, copy_rows)},
	{"COPY: the copy and the original have flags of their own", independent},
	{"law 3: the octets stay of", octets_outlive, ROWS_NAMED(2, outlive_rows)},
	{"the target may be the mailbox itself", onto_itself},
	{"MOVE: there and back, nothing is lost", there_and_back},
	{"what an earlier operation of the batch appended is taken by", in_one_batch, ROWS_NAMED(2, copy_rows)},
	{"a deleted target refuses, and nothing is changed by", to_a_deleted_one, ROWS_NAMED(2, copy_rows)},
	{"a deleted mailbox refuses, and nothing is changed by", from_a_deleted_one, ROWS_NAMED(2, copy_rows)},
};
GROUP(copy, "COPY and MOVE: copies are messages of their own with what belongs to the original", checks);
