/* SPDX-License-Identifier: MIT */
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

static void copy_or_move(struct kit *kit, bool move)
{
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

static void copying(struct kit *kit)
{
	copy_or_move(kit, false);
}

static void moving(struct kit *kit)
{
	copy_or_move(kit, true);
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

static void nothing(struct kit *kit)
{
	struct ps_store *store;
	struct ps_mbox *inbox, *to;
	struct ps_op_result result;

	prepare(kit, &store, &inbox, &to);
	result = kit_copy(kit, store, inbox, (struct ps_range){500, 600}, to, false);
	must(result.old_count == 0 && result.new_count == 0 && result.modseq == 0, "nothing was copied, as something");
	result = kit_copy(kit, store, inbox, (struct ps_range){500, 600}, to, true);
	must(result.old_count == 0 && result.new_count == 0 && result.modseq == 0, "nothing was moved, as something");
	kit_close(kit, store);
}

static void to_a_deleted_one(struct kit *kit)
{
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op op = {.kind = PS_OP_MOVE, .uids = &all, .uid_count = 1};
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

static const struct check checks[] = {
	{"COPY takes flags, keywords by name, dates, ids and octets along", copying},
	{"MOVE does too, and what it moved vanishes", moving},
	{"a mailbox can be copied and moved onto itself", onto_itself},
	{"copying nothing changes nothing", nothing},
	{"a move into a deleted mailbox is refused and moves nothing", to_a_deleted_one},
};
GROUP(copy, "laws 1 to 3: copies are messages of their own with what belongs to the original", checks);
