/* SPDX-License-Identifier: MIT */
/*
 * What is needed to make a mailbox the copy of another store's.
 */
#include "tests/conformance/conform.h"

static const struct ps_id some_id = {{0x50, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
static const struct ps_id other_id = {{0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

static int identity(struct kit *kit, struct ps_store *store, const char *name, uint32_t uid_validity, uint32_t uid_next,
		    const struct ps_id *id, uint64_t modseq, struct ps_op_result *ret_result)
{
	struct ps_op op = {.kind = PS_OP_IDENTITY, .name = name, .uid_validity = uid_validity, .uid_next = uid_next};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = kit->pool, .modseq = modseq}, *list = &batch;
	struct ps_op_result result = {0};
	int r;

	if (id)
		op.mailbox_id = *id;
	batch.results = &result;
	r = kit->ops->commit(store, &list, 1);
	if (ret_result)
		*ret_result = result;
	return batch.err ? batch.err : r;
}

static void must_be_copy(const struct ps_mailbox_info *info)
{
	must(info->uid_validity == 12345, "UIDVALIDITY %u", info->uid_validity);
	must(info->uid_next >= 500, "UIDNEXT %u", info->uid_next);
	must(memcmp(&info->id, &some_id, sizeof some_id) == 0, "it has another id");
}

static void becomes_a_copy(struct kit *kit)
{
	static const char *const names[] = {"INBOX", "Other"};

	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		struct kit one = *kit;
		struct ps_store *store;
		struct ps_op_result result;
		struct ps_mbox *mbox;
		struct picture p;

		one.root = ps_pool_printf(kit->pool, "%s.%zu", kit->root, i);
		store = kit_open(&one);
		if (i > 0)
			must_ok(kit_create(&one, store, names[i]));
		mbox = kit_mbox(&one, store, names[i]);
		must_ok(identity(&one, store, names[i], 12345, 500, &some_id, 1000, &result));
		must(result.modseq >= 1000 && result.uid_validity == 12345, "the result says %llu, %u",
		     (unsigned long long)result.modseq, result.uid_validity);
		must_be(kit->ops->body(mbox, 1, &(struct ps_body){.fd = -1}), PS_E_GONE);
		mbox = kit_mbox(&one, store, names[i]);
		p = kit_picture(&one, store, mbox);
		must_be_copy(&p.info);
		must(p.info.uid_next == 500, "UIDNEXT %u", p.info.uid_next);
		must(p.info.highest_modseq == result.modseq && p.info.vanished_since == result.modseq,
		     "HIGHESTMODSEQ %llu, vanished since %llu, the batch's was %llu",
		     (unsigned long long)p.info.highest_modseq, (unsigned long long)p.info.vanished_since,
		     (unsigned long long)result.modseq);
		must(kit_append(&one, store, mbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}) == 500,
		     "the next UID is 500");
		kit_close(&one, store);
		if (kit->volatile_store)
			continue;
		store = kit_open(&one);
		p = kit_picture(&one, store, kit_mbox(&one, store, names[i]));
		must_be_copy(&p.info);
		kit_close(&one, store);
	}
}

static void without_index(struct kit *kit)
{
	struct ps_store *store;
	struct picture p;

	store = kit_open(kit);
	must_ok(identity(kit, store, "INBOX", 12345, 500, &some_id, 1000, NULL));
	kit_close(kit, store);
	kit_remove_index(kit);
	store = kit_open(kit);
	p = kit_picture(kit, store, kit_mbox(kit, store, "INBOX"));
	must_be_copy(&p.info);
	must(p.info.highest_modseq >= 1000, "HIGHESTMODSEQ went back to %llu",
	     (unsigned long long)p.info.highest_modseq);
	kit_close(kit, store);
}

static void only_if_empty(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture before, after;
	uint64_t modseq;

	kit_fill(kit, store, inbox, 3);
	kit_expunge(kit, store, inbox, (struct ps_range){2, 2});
	before = kit_picture(kit, store, inbox);
	must_be(identity(kit, store, "INBOX", 12345, 0, NULL, 0, NULL), PS_E_INVALID);
	must_be(identity(kit, store, "INBOX", 0, 0, &some_id, 0, NULL), PS_E_INVALID);
	after = kit_picture(kit, store, inbox);
	pictures_must_agree(kit, &before, &after, true);
	must(after.info.highest_modseq == before.info.highest_modseq, "something changed");
	/* The same again, and a UIDNEXT that grows; one that does not is passed over. */
	must_ok(identity(kit, store, "INBOX", before.info.uid_validity, 2, &before.info.id, 0, NULL));
	must(kit_picture(kit, store, inbox).info.uid_next == before.info.uid_next, "UIDNEXT went back");
	must_ok(identity(kit, store, "INBOX", 0, 100, NULL, 0, NULL));
	after = kit_picture(kit, store, inbox);
	pictures_must_agree(kit, &before, &after, true);
	modseq = after.info.highest_modseq;
	must(after.info.uid_next == 100, "UIDNEXT %u, expected 100", after.info.uid_next);
	must(modseq > before.info.highest_modseq && after.info.vanished_since == modseq,
	     "HIGHESTMODSEQ %llu, vanished since %llu", (unsigned long long)modseq,
	     (unsigned long long)after.info.vanished_since);
	kit_close(kit, store);
}

static void no_two_of_an_id(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_op create = {.kind = PS_OP_CREATE, .name = "A", .mailbox_id = some_id, .uid_validity = 77};
	struct ps_mailbox_info info;

	must_be(identity(kit, store, "Nowhere", 1, 1, NULL, 0, NULL), PS_E_NOTFOUND);
	must_ok(kit_try(kit, store, &create, NULL));
	info = kit_picture(kit, store, kit_mbox(kit, store, "A")).info;
	must(memcmp(&info.id, &some_id, sizeof some_id) == 0 && info.uid_validity == 77,
	     "it is not the mailbox wanted");
	create.name = "B";
	must_be(kit_try(kit, store, &create, NULL), PS_E_EXISTS);
	must_be(identity(kit, store, "INBOX", 0, 0, &some_id, 0, NULL), PS_E_EXISTS);
	must_ok(identity(kit, store, "A", 0, 0, &some_id, 0, NULL));
	must_ok(identity(kit, store, "A", 0, 0, &other_id, 0, NULL));
	must_ok(kit_try(kit, store, &create, NULL));
	kit_close(kit, store);
}

static void whole_or_absent(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture before = kit_picture(kit, store, inbox), after;
	struct ps_op ops[2] = {
		{.kind = PS_OP_IDENTITY,
		 .name = "INBOX",
		 .uid_validity = 12345,
		 .uid_next = 500,
		 .mailbox_id = some_id},
		{.kind = PS_OP_RENAME, .name = "nowhere", .new_name = "anywhere"},
	};

	must_be(kit_try_all(kit, store, ops, 2, NULL), PS_E_NOTFOUND);
	after = kit_picture(kit, store, inbox);
	must(after.info.uid_validity == before.info.uid_validity && after.info.uid_next == before.info.uid_next &&
		     memcmp(&after.info.id, &before.info.id, sizeof after.info.id) == 0,
	     "a refused batch changed the identity");
	ops[1] = (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "INBOX", .subscribed = true};
	must_ok(kit_try_all(kit, store, ops, 2, NULL));
	after = kit_picture(kit, store, kit_mbox(kit, store, "INBOX"));
	must_be_copy(&after.info);
	kit_close(kit, store);
}

/* ---- modseqs ------------------------------------------------------------------------------- */

static int append(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, uint64_t own, uint64_t batch_modseq,
		  struct ps_op_result *ret_result)
{
	struct ps_op op;
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = kit->pool, .modseq = batch_modseq}, *list = &batch;
	struct ps_op_result result = {0};
	int r;

	batch.results = &result;
	kit_stage(kit, store, mbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	op.modseq = own;
	r = kit->ops->commit(store, &list, 1);
	if (ret_result)
		*ret_result = result;
	return batch.err ? batch.err : r;
}

static void own_modseqs(struct kit *kit)
{
	static const uint64_t own[] = {500, 700, 300, 0, 1};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture p, before = {0};
	struct ps_op_result result;
	uint64_t last = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(own); i++) {
		must_ok(append(kit, store, inbox, own[i], 1000, &result));
		must(result.modseq >= 1000 && result.modseq > last, "the batch's modseq is %llu",
		     (unsigned long long)result.modseq);
		last = result.modseq;
		p = kit_picture(kit, store, inbox);
		must(p.rows[i].modseq == (own[i] ? own[i] : result.modseq), "message %zu has modseq %llu", i,
		     (unsigned long long)p.rows[i].modseq);
		must(p.info.highest_modseq == result.modseq, "HIGHESTMODSEQ is %llu",
		     (unsigned long long)p.info.highest_modseq);
		if (i > 0)
			kit_catch_up(kit, store, inbox, &before);
		before = p;
	}
	must_be(append(kit, store, inbox, 5000, 4000, NULL), PS_E_INVALID);
	must_be(append(kit, store, inbox, 5000, 0, NULL), PS_E_INVALID);
	must_ok(append(kit, store, inbox, 4000, 4000, &result));
	must(result.modseq == 4000, "the batch's modseq is %llu, expected 4000", (unsigned long long)result.modseq);
	result = kit_flags(kit, store, inbox, (struct ps_range){3, 3}, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	must(result.modseq > 4000, "a later change has modseq %llu", (unsigned long long)result.modseq);
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"IDENTITY: an empty mailbox becomes the copy of another store's", becomes_a_copy},
	{"law 7: the identity stays without the index", without_index, NEEDS_INDEX | NEEDS_DISK},
	{"IDENTITY: one with messages only gets a higher UIDNEXT, and forgets what vanished", only_if_empty},
	{"IDENTITY: no two mailboxes have one id", no_two_of_an_id},
	{"IDENTITY: a batch with an identity is whole or absent", whole_or_absent},
	{"APPEND: messages keep the modseqs they bring, and the mailbox's is the batch's", own_modseqs},
};
GROUP(identity, "copies of other stores", checks);
