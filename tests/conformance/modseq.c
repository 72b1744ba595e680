/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

static uint64_t highest(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox)
{
	return kit_picture(kit, store, mbox).info.highest_modseq;
}

/* What a change gave is above what was, and is what the mailbox says now. */
static uint64_t must_raise(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, uint64_t before,
			   uint64_t given, const char *what)
{
	uint64_t now = highest(kit, store, mbox);

	must(given > before, "%s: modseq %llu where the highest was %llu", what, (unsigned long long)given,
	     (unsigned long long)before);
	must(now >= given, "%s: HIGHESTMODSEQ is %llu, given was %llu", what, (unsigned long long)now,
	     (unsigned long long)given);
	return now;
}

static void every_change(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX"), *other;
	struct ps_op op;
	struct ps_op_result result;
	uint64_t now = highest(kit, store, inbox);

	kit_stage(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	must_ok(kit_try(kit, store, &op, &result));
	now = must_raise(kit, store, inbox, now, result.modseq, "append");
	result = kit_flags(kit, store, inbox, (struct ps_range){1, 9}, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	now = must_raise(kit, store, inbox, now, result.modseq, "flags");
	result = kit_flags(kit, store, inbox, (struct ps_range){1, 9}, PS_FLAGS_ADD, 0,
			   (const char *const[]){"k", NULL});
	now = must_raise(kit, store, inbox, now, result.modseq, "keyword");
	must_ok(kit_create(kit, store, "Other"));
	other = kit_mbox(kit, store, "Other");
	result = kit_copy(kit, store, inbox, (struct ps_range){1, 9}, other, false);
	must_raise(kit, store, other, now, result.modseq, "copy");
	result = kit_copy(kit, store, inbox, (struct ps_range){1, 9}, other, true);
	must_raise(kit, store, other, now, result.modseq, "move, target");
	now = must_raise(kit, store, inbox, now, result.modseq, "move, source");
	result = kit_expunge(kit, store, other, (struct ps_range){1, UINT32_MAX});
	must_raise(kit, store, other, now, result.modseq, "expunge");
	kit_close(kit, store);
}

static void no_change(struct kit *kit)
{
	static const char *const keywords[] = {"alpha", NULL}, *const same[] = {"ALPHA", NULL};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op_result result;
	uint64_t before;

	kit_fill(kit, store, inbox, 2);
	kit_flags(kit, store, inbox, all, PS_FLAGS_SET, PS_FLAG_SEEN, keywords);
	before = highest(kit, store, inbox);
	result = kit_flags(kit, store, inbox, all, PS_FLAGS_ADD, PS_FLAG_SEEN, same);
	must(result.modseq == 0, "adding what is there gave modseq %llu", (unsigned long long)result.modseq);
	kit_flags(kit, store, inbox, all, PS_FLAGS_SET, PS_FLAG_SEEN, keywords);
	kit_flags(kit, store, inbox, all, PS_FLAGS_REMOVE, PS_FLAG_DRAFT, (const char *const[]){"unknown", NULL});
	kit_flags(kit, store, inbox, (struct ps_range){1000, 2000}, PS_FLAGS_ADD, PS_FLAG_DRAFT, NULL);
	kit_expunge(kit, store, inbox, (struct ps_range){1000, 2000});
	must(highest(kit, store, inbox) == before, "HIGHESTMODSEQ %llu, was %llu, and nothing has changed",
	     (unsigned long long)highest(kit, store, inbox), (unsigned long long)before);
	kit_close(kit, store);
}

static void changed_since(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture before, now;
	struct ps_op_result result;

	kit_fill(kit, store, inbox, 10);
	before = kit_picture(kit, store, inbox);
	result = kit_flags(kit, store, inbox, (struct ps_range){before.rows[3].uid, before.rows[5].uid}, PS_FLAGS_ADD,
			   PS_FLAG_FLAGGED, NULL);
	now = kit_picture(kit, store, inbox);
	for (size_t i = 0; i < now.count; i++) {
		bool touched = i >= 3 && i <= 5;

		must(now.rows[i].modseq == (touched ? result.modseq : before.rows[i].modseq),
		     "UID %u: modseq %llu, was %llu, the change had %llu", now.rows[i].uid,
		     (unsigned long long)now.rows[i].modseq, (unsigned long long)before.rows[i].modseq,
		     (unsigned long long)result.modseq);
	}
	kit_catch_up(kit, store, inbox, &before);
	kit_close(kit, store);
}

static void one_counter(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX"), *other;
	uint64_t last = highest(kit, store, inbox);

	must_ok(kit_create(kit, store, "Other"));
	other = kit_mbox(kit, store, "Other");
	for (int i = 0; i < 10; i++) {
		struct ps_mbox *mbox = i % 2 ? inbox : other;

		kit_fill(kit, store, mbox, 1);
		must(highest(kit, store, mbox) > last, "HIGHESTMODSEQ %llu, where another mailbox had %llu",
		     (unsigned long long)highest(kit, store, mbox), (unsigned long long)last);
		last = highest(kit, store, mbox);
	}
	kit_close(kit, store);
}

static void over_reopening(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture before;
	uint64_t after;

	kit_fill(kit, store, inbox, 3);
	kit_flags(kit, store, inbox, (struct ps_range){1, 2}, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	/* The last change leaves no row that could carry its modseq. */
	kit_expunge(kit, store, inbox, (struct ps_range){1, UINT32_MAX});
	before = kit_picture(kit, store, inbox);
	kit_close(kit, store);
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	after = highest(kit, store, inbox);
	must(after >= before.info.highest_modseq, "HIGHESTMODSEQ %llu, was %llu", (unsigned long long)after,
	     (unsigned long long)before.info.highest_modseq);
	kit_fill(kit, store, inbox, 1);
	must(highest(kit, store, inbox) > after, "a change after reopening did not raise HIGHESTMODSEQ");
	kit_close(kit, store);
}

static void unchanged_since(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .mbox = inbox,
			   .uids = &all,
			   .uid_count = 1,
			   .flags = PS_FLAG_SEEN,
			   .flag_mode = PS_FLAGS_ADD};
	struct ps_op_result result;
	struct picture p;

	kit_fill(kit, store, inbox, 4);
	p = kit_picture(kit, store, inbox);
	op.unchanged_since = p.info.highest_modseq;
	kit_flags(kit, store, inbox, (struct ps_range){p.rows[1].uid, p.rows[2].uid}, PS_FLAGS_ADD, PS_FLAG_DRAFT,
		  NULL);
	must_ok(kit_try(kit, store, &op, &result));
	must(result.modified_count == 1 && result.modified[0].first == p.rows[1].uid &&
		     result.modified[0].last == p.rows[2].uid,
	     "modified are not UIDs %u:%u", p.rows[1].uid, p.rows[2].uid);
	p = kit_picture(kit, store, inbox);
	for (size_t i = 0; i < 4; i++)
		must(p.rows[i].flags == (i == 1 || i == 2 ? PS_FLAG_DRAFT : PS_FLAG_SEEN), "UID %u has flags 0x%x",
		     p.rows[i].uid, p.rows[i].flags);
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"every change raises HIGHESTMODSEQ", every_change},
	{"what changes nothing raises nothing", no_change},
	{"a change gives its modseq to what it touched, and to nothing else", changed_since},
	{"one counter serves the whole store", one_counter},
	{"HIGHESTMODSEQ does not go back over reopening", over_reopening},
	{"a condition on modseq leaves alone what has changed, and says so", unchanged_since},
};
GROUP(modseq, "law 2: HIGHESTMODSEQ never goes back; every change raises it", checks);
