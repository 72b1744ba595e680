/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

static const struct kit_message small = {.octets = {(const uint8_t *)"x\r\n", 3}};

static struct ps_mbox *make(struct kit *kit, const char *name)
{
	must_ok(kit_create(kit, kit->store, name));
	return kit_mbox(kit, kit->store, name);
}

static bool exists(struct kit *kit, const char *name)
{
	return kit_attributes(kit, kit->store, name) & PS_MBOX_EXISTS;
}

/* ---- opening ------------------------------------------------------------------------------- */

static void new_store(struct kit *kit)
{
	struct names names;

	kit_begin(kit, 0);
	names = kit_list(kit, kit->store);
	must(names.count == 1 && strcmp(names.infos[0].name, "INBOX") == 0, "a new store has %zu mailboxes",
	     names.count);
	must(names.infos[0].attributes & PS_MBOX_EXISTS, "INBOX does not exist");
	must(kit_picture(kit, kit->store, kit->inbox).count == 0, "INBOX has messages");
	kit_end(kit);
}

static void not_without_create(struct kit *kit)
{
	struct ps_store_args args = {.user = kit->root, .root = kit->root, .conf = kit->conf};
	struct ps_store *store;

	must_be(kit->ops->open(&args, &store), PS_E_NOTFOUND);
	must_be(kit->ops->open(&args, &store), PS_E_NOTFOUND); /* nor has the first try made it */
}

static void there_without_create(struct kit *kit)
{
	struct ps_store_args args = {.user = kit->root, .root = kit->root, .conf = kit->conf};
	struct ps_store *store;

	kit_begin(kit, 2);
	kit_end(kit);
	must_ok(kit->ops->open(&args, &store));
	must(kit_picture(kit, store, kit_mbox(kit, store, "INBOX")).count == 2, "its messages are not there");
	kit_close(kit, store);
}

static void stores_apart(struct kit *kit)
{
	struct kit other = *kit;

	kit_begin(kit, 3);
	other.root = ps_pool_printf(kit->pool, "%s-other", kit->root);
	kit_begin(&other, 1);
	must(kit_picture(kit, kit->store, kit->inbox).count == 3, "a message of another store is there");
	must_ok(kit_create(&other, other.store, "Theirs"));
	must(!exists(kit, "Theirs"), "a mailbox of another store is listed");
	kit_end(&other);
	kit_end(kit);
}

/* ---- what is refused ----------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct ps_op op;
	int r;
} refusals[] = {
	{"CREATE of INBOX", {.kind = PS_OP_CREATE, .name = "INBOX"}, PS_E_EXISTS},
	{"CREATE of a name that is taken", {.kind = PS_OP_CREATE, .name = "Taken"}, PS_E_EXISTS},
	{"DELETE of what is not there", {.kind = PS_OP_DELETE, .name = "Nowhere"}, PS_E_NOTFOUND},
	{"DELETE of what is only a parent", {.kind = PS_OP_DELETE, .name = "Parent"}, PS_E_NOTFOUND},
	{"DELETE of what is only subscribed", {.kind = PS_OP_DELETE, .name = "Wanted"}, PS_E_NOTFOUND},
	{"RENAME of what is not there", {.kind = PS_OP_RENAME, .name = "Nowhere", .new_name = "New"}, PS_E_NOTFOUND},
	{"RENAME of what is only a parent", {.kind = PS_OP_RENAME, .name = "Parent", .new_name = "New"}, PS_E_NOTFOUND},
	{"RENAME onto a name that is taken",
	 {.kind = PS_OP_RENAME, .name = "Taken", .new_name = "Parent/child"},
	 PS_E_EXISTS},
	{"RENAME onto INBOX", {.kind = PS_OP_RENAME, .name = "Taken", .new_name = "INBOX"}, PS_E_EXISTS},
	{"ATTRIBUTES of what is not there",
	 {.kind = PS_OP_ATTRIBUTES, .name = "Nowhere", .attributes = PS_MBOX_JUNK},
	 PS_E_NOTFOUND},
	{"ATTRIBUTES of what is only a parent",
	 {.kind = PS_OP_ATTRIBUTES, .name = "Parent", .attributes = PS_MBOX_JUNK},
	 PS_E_NOTFOUND},
};

static void refused(struct kit *kit)
{
	struct names before, now;

	kit_begin(kit, 1);
	kit_append(kit, kit->store, make(kit, "Taken"), &small);
	make(kit, "Parent/child");
	must_ok(kit_subscribe(kit, kit->store, "Wanted", true));
	before = kit_list(kit, kit->store);
	must_be(kit_try(kit, kit->store, &refusals[kit->row].op, NULL), refusals[kit->row].r);
	kit_again(kit);
	now = kit_list(kit, kit->store);
	must(now.count == before.count, "%zu mailboxes, were %zu", now.count, before.count);
	for (size_t i = 0; i < now.count; i++)
		must(strcmp(now.infos[i].name, before.infos[i].name) == 0 &&
			     now.infos[i].attributes == before.infos[i].attributes &&
			     now.infos[i].messages == before.infos[i].messages,
		     "%s is not what it was", before.infos[i].name);
	kit_end(kit);
}

static void not_opened(struct kit *kit)
{
	struct ps_mbox *mbox;

	kit_begin(kit, 0);
	make(kit, "Parent/child");
	must_ok(kit_subscribe(kit, kit->store, "Wanted", true));
	must_be(kit->ops->mailbox_open(kit->store, "Nowhere", &mbox), PS_E_NOTFOUND);
	must_be(kit->ops->mailbox_open(kit->store, "Parent", &mbox), PS_E_NOTFOUND);
	must_be(kit->ops->mailbox_open(kit->store, "Wanted", &mbox), PS_E_NOTFOUND);
	must_be(kit->ops->mailbox_open(kit->store, "inbox", &mbox), PS_E_NOTFOUND);
	kit_end(kit);
}

/* ---- parents ------------------------------------------------------------------------------- */

static void without_parent(struct kit *kit)
{
	kit_begin(kit, 0);
	make(kit, "A/B/C");
	kit_again(kit);
	must(exists(kit, "A/B/C") && !exists(kit, "A") && !exists(kit, "A/B"), "parents were made");
	kit_fill(kit, kit->store, make(kit, "A"), 1);
	must(exists(kit, "A") && !exists(kit, "A/B"), "A was not made, or A/B was");
	kit_again(kit);
	must(kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "A")).count == 1 &&
		     kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "A/B/C")).count == 0,
	     "messages are in the wrong mailbox");
	kit_end(kit);
}

static void deleting_a_parent(struct kit *kit)
{
	kit_begin(kit, 0);
	make(kit, "A");
	kit_fill(kit, kit->store, make(kit, "A/B"), 2);
	must_ok(kit_delete(kit, kit->store, "A"));
	kit_again(kit);
	must(!exists(kit, "A") && exists(kit, "A/B"), "deleting A did not delete A alone");
	must(kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "A/B")).count == 2, "A/B lost messages");
	must_ok(kit_create(kit, kit->store, "A"));
	must(exists(kit, "A"), "A cannot be made again");
	kit_end(kit);
}

static void renaming_a_parent(struct kit *kit)
{
	struct ps_op ops[] = {{.kind = PS_OP_RENAME, .name = "A", .new_name = "C"},
			      {.kind = PS_OP_RENAME, .name = "A/B", .new_name = "C/B"}};

	kit_begin(kit, 0);
	kit_fill(kit, kit->store, make(kit, "A"), 1);
	kit_fill(kit, kit->store, make(kit, "A/B"), 2);
	must_ok(kit_try_all(kit, kit->store, ops, 2, NULL));
	must(exists(kit, "C") && exists(kit, "C/B") && !exists(kit, "A") && !exists(kit, "A/B"),
	     "a batch did not rename both");
	kit_again(kit);
	must(kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "C/B")).count == 2, "C/B lost messages");
	kit_end(kit);
}

static void swapped_in_a_batch(struct kit *kit)
{
	struct ps_op ops[] = {{.kind = PS_OP_RENAME, .name = "A", .new_name = "T"},
			      {.kind = PS_OP_RENAME, .name = "B", .new_name = "A"},
			      {.kind = PS_OP_RENAME, .name = "T", .new_name = "B"}};

	kit_begin(kit, 0);
	kit_fill(kit, kit->store, make(kit, "A"), 1);
	kit_fill(kit, kit->store, make(kit, "B"), 2);
	must_ok(kit_try_all(kit, kit->store, ops, 3, NULL));
	kit_again(kit);
	must(kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "A")).count == 2 &&
		     kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "B")).count == 1 && !exists(kit, "T"),
	     "the names are not swapped");
	kit_end(kit);
}

/* ---- handles ------------------------------------------------------------------------------- */

static void follows_a_rename(struct kit *kit)
{
	struct ps_mbox *mbox, *second;
	struct picture before, after;

	kit_begin(kit, 0);
	mbox = make(kit, "One");
	second = kit_mbox(kit, kit->store, "One");
	kit_fill(kit, kit->store, mbox, 2);
	before = kit_picture(kit, kit->store, second);
	must_ok(kit_rename(kit, kit->store, "One", "Below/Two"));
	after = kit_picture(kit, kit->store, mbox);
	must(strcmp(after.info.name, "Below/Two") == 0, "it is called %s", after.info.name);
	pictures_must_agree(kit, &before, &after, true);
	kit_body_must_be(kit, mbox, 2, kit_text(kit, "Subject: 2\r\n\r\nbody 2\r\n"));
	kit_append(kit, kit->store, second, &small);
	must(kit_picture(kit, kit->store, mbox).count == 3, "a message through the other handle is not there");
	kit_end(kit);
}

/* The calls that a handle of a deleted mailbox may meet, each with a mailbox of the same name made again. */
static int gone_info(struct kit *kit, struct ps_mbox *mbox, struct ps_read *read)
{
	struct ps_mailbox_info info;

	return kit->ops->info(read, mbox, &info);
}

static int gone_keywords(struct kit *kit, struct ps_mbox *mbox, struct ps_read *read)
{
	const char *const *names;
	size_t count;

	return kit->ops->keywords(read, mbox, &names, &count);
}

static int no_row(void *arg, const struct ps_row *row)
{
	(void)arg;
	(void)row;
	return 1;
}

static int gone_scan(struct kit *kit, struct ps_mbox *mbox, struct ps_read *read)
{
	return kit->ops->scan(read, mbox, ALL, 0, no_row, NULL);
}

static int gone_body(struct kit *kit, struct ps_mbox *mbox, struct ps_read *read)
{
	struct ps_body body;

	(void)read;
	return kit->ops->body(mbox, 1, &body);
}

static int gone_append(struct kit *kit, struct ps_mbox *mbox, struct ps_read *read)
{
	struct ps_op op;

	(void)read;
	kit_stage(kit, kit->store, mbox, &small, &op);
	return kit_try(kit, kit->store, &op, NULL);
}

static int try_on_all(struct kit *kit, struct ps_mbox *mbox, struct ps_op op)
{
	struct ps_range all = ALL;

	op.mbox = mbox;
	op.uids = &all;
	op.uid_count = 1;
	op.flags = PS_FLAG_SEEN;
	op.unchanged_since = UINT64_MAX;
	return kit_try(kit, kit->store, &op, NULL);
}

static int gone_flags(struct kit *kit, struct ps_mbox *mbox, struct ps_read *read)
{
	(void)read;
	return try_on_all(kit, mbox, (struct ps_op){.kind = PS_OP_FLAGS});
}

static int gone_expunge(struct kit *kit, struct ps_mbox *mbox, struct ps_read *read)
{
	(void)read;
	return try_on_all(kit, mbox, (struct ps_op){.kind = PS_OP_EXPUNGE});
}

static const struct {
	const char *name;
	int (*call)(struct kit *kit, struct ps_mbox *mbox, struct ps_read *read);
	bool reads; /* within a read */
} calls[] = {
	{"info", gone_info, true},        {"keywords", gone_keywords, true}, {"scan", gone_scan, true},
	{"body", gone_body, false},       {"APPEND", gone_append, false},    {"FLAGS", gone_flags, false},
	{"EXPUNGE", gone_expunge, false},
};

static void gone_when_deleted(struct kit *kit)
{
	struct ps_mbox *mbox;

	kit_begin(kit, 0);
	mbox = make(kit, "One");
	kit_fill(kit, kit->store, mbox, 1);
	must_ok(kit_delete(kit, kit->store, "One"));
	for (int again = 0; again < 2; again++) {
		struct ps_read *read = NULL;

		if (calls[kit->row].reads)
			must_ok(kit->ops->read_begin(kit->store, &read));
		must_be(calls[kit->row].call(kit, mbox, read), PS_E_GONE);
		if (read)
			kit->ops->read_end(read);
		if (!again)
			kit_fill(kit, kit->store, make(kit, "One"), 1);
	}
	must(kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "One")).count == 1, "the new mailbox was changed");
	kit_end(kit);
}

/* ---- ids ----------------------------------------------------------------------------------- */

static struct ps_id id_of(struct kit *kit, const char *name)
{
	return kit_picture(kit, kit->store, kit_mbox(kit, kit->store, name)).info.id;
}

static bool same(struct ps_id a, struct ps_id b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

static void ids_differ(struct kit *kit)
{
	static const struct ps_id zero;
	struct ps_id old;

	kit_begin(kit, 0);
	make(kit, "A");
	make(kit, "B");
	must(!same(id_of(kit, "A"), zero) && !same(id_of(kit, "INBOX"), zero), "a mailbox has no id");
	must(!same(id_of(kit, "A"), id_of(kit, "B")) && !same(id_of(kit, "A"), id_of(kit, "INBOX")), "one id for two");
	old = id_of(kit, "A");
	must_ok(kit_delete(kit, kit->store, "A"));
	make(kit, "A");
	must(!same(id_of(kit, "A"), old), "a mailbox made again has the id of the old one");
	kit_end(kit);
}

static void ids_stay(struct kit *kit)
{
	struct ps_id inbox, a;

	kit_begin(kit, 1);
	make(kit, "A");
	inbox = id_of(kit, "INBOX");
	a = id_of(kit, "A");
	must_ok(kit_rename(kit, kit->store, "A", "B/C"));
	kit_again(kit);
	must(same(id_of(kit, "INBOX"), inbox), "INBOX has another id");
	must(same(id_of(kit, "B/C"), a), "a renamed mailbox has another id");
	kit_end(kit);
}

static void id_given(struct kit *kit)
{
	struct ps_id id = {{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 255}};
	struct ps_op op = {.kind = PS_OP_CREATE, .name = "Given", .mailbox_id = id};

	kit_begin(kit, 0);
	must_ok(kit_try(kit, kit->store, &op, NULL));
	must(same(id_of(kit, "Given"), id), "another id");
	kit_again(kit);
	must(same(id_of(kit, "Given"), id), "another id after reopening");
	kit_end(kit);
}

/* ---- attributes ---------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t use;
} uses[] = {
	{"\\All", PS_MBOX_ALL},       {"\\Archive", PS_MBOX_ARCHIVE},
	{"\\Drafts", PS_MBOX_DRAFTS}, {"\\Flagged", PS_MBOX_FLAGGED},
	{"\\Junk", PS_MBOX_JUNK},     {"\\Sent", PS_MBOX_SENT},
	{"\\Trash", PS_MBOX_TRASH},   {"several at once", PS_MBOX_ALL | PS_MBOX_SENT | PS_MBOX_TRASH},
};

static void uses_must_be(struct kit *kit, const char *name, uint32_t use)
{
	for (int again = 0; again < 2; again++) {
		must(kit_attributes(kit, kit->store, name) == (PS_MBOX_EXISTS | use), "attributes 0x%x, not 0x%x",
		     kit_attributes(kit, kit->store, name), PS_MBOX_EXISTS | use);
		kit_again(kit);
	}
}

static void special_use(struct kit *kit)
{
	struct ps_op create = {.kind = PS_OP_CREATE, .name = "Box", .attributes = uses[kit->row].use};

	kit_begin(kit, 0);
	must_ok(kit_try(kit, kit->store, &create, NULL));
	uses_must_be(kit, "Box", uses[kit->row].use);
	must_ok(kit_rename(kit, kit->store, "Box", "Else"));
	uses_must_be(kit, "Else", uses[kit->row].use);
	kit_end(kit);
}

static void special_use_replaced(struct kit *kit)
{
	struct ps_op create = {
		.kind = PS_OP_CREATE, .name = "Box", .attributes = PS_MBOX_SPECIAL_USES & ~uses[kit->row].use};
	struct ps_op replace = {.kind = PS_OP_ATTRIBUTES, .name = "Box", .attributes = uses[kit->row].use};

	kit_begin(kit, 0);
	must_ok(kit_try(kit, kit->store, &create, NULL));
	must_ok(kit_try(kit, kit->store, &replace, NULL));
	uses_must_be(kit, "Box", uses[kit->row].use);
	replace.attributes = 0;
	must_ok(kit_try(kit, kit->store, &replace, NULL));
	uses_must_be(kit, "Box", 0);
	kit_end(kit);
}

static void use_goes_with_its_mailbox(struct kit *kit)
{
	struct ps_op create = {.kind = PS_OP_CREATE, .name = "Box", .attributes = PS_MBOX_JUNK};

	kit_begin(kit, 0);
	must_ok(kit_try(kit, kit->store, &create, NULL));
	must_ok(kit_delete(kit, kit->store, "Box"));
	make(kit, "Box");
	uses_must_be(kit, "Box", 0);
	kit_end(kit);
}

/* ---- subscriptions ------------------------------------------------------------------------- */

static void subscription_must_be(struct kit *kit, const char *name, uint32_t attributes)
{
	kit_again(kit);
	must(kit_attributes(kit, kit->store, name) == attributes, "%s has attributes 0x%x, not 0x%x", name,
	     kit_attributes(kit, kit->store, name), attributes);
}

static void subscribed_first(struct kit *kit)
{
	kit_begin(kit, 0);
	must_ok(kit_subscribe(kit, kit->store, "Not/there", true));
	subscription_must_be(kit, "Not/there", PS_MBOX_SUBSCRIBED);
	make(kit, "Not/there");
	subscription_must_be(kit, "Not/there", PS_MBOX_SUBSCRIBED | PS_MBOX_EXISTS);
	kit_end(kit);
}

static void subscribed_then_deleted(struct kit *kit)
{
	kit_begin(kit, 0);
	make(kit, "Box");
	must_ok(kit_subscribe(kit, kit->store, "Box", true));
	must_ok(kit_delete(kit, kit->store, "Box"));
	subscription_must_be(kit, "Box", PS_MBOX_SUBSCRIBED);
	kit_end(kit);
}

static void subscribed_then_renamed(struct kit *kit)
{
	kit_begin(kit, 0);
	make(kit, "Box");
	must_ok(kit_subscribe(kit, kit->store, "Box", true));
	must_ok(kit_rename(kit, kit->store, "Box", "Else"));
	subscription_must_be(kit, "Box", PS_MBOX_SUBSCRIBED);
	subscription_must_be(kit, "Else", PS_MBOX_EXISTS);
	kit_end(kit);
}

static void subscribed_twice(struct kit *kit)
{
	kit_begin(kit, 0);
	must_ok(kit_subscribe(kit, kit->store, "INBOX", true));
	must_ok(kit_subscribe(kit, kit->store, "INBOX", true));
	subscription_must_be(kit, "INBOX", PS_MBOX_SUBSCRIBED | PS_MBOX_EXISTS);
	must_ok(kit_subscribe(kit, kit->store, "INBOX", false));
	must_ok(kit_subscribe(kit, kit->store, "INBOX", false));
	subscription_must_be(kit, "INBOX", PS_MBOX_EXISTS);
	kit_end(kit);
}

static void many_subscriptions(struct kit *kit)
{
	kit_begin(kit, 0);
	for (unsigned i = 0; i < 40; i++)
		must_ok(kit_subscribe(kit, kit->store, ps_pool_printf(kit->pool, "List/%u", i), true));
	for (unsigned i = 0; i < 40; i += 2)
		must_ok(kit_subscribe(kit, kit->store, ps_pool_printf(kit->pool, "List/%u", i), false));
	for (unsigned i = 0; i < 40; i++)
		subscription_must_be(kit, ps_pool_printf(kit->pool, "List/%u", i), i % 2 ? PS_MBOX_SUBSCRIBED : 0);
	kit_end(kit);
}

/* ---- batches, lists ------------------------------------------------------------------------ */

static void life_in_a_batch(struct kit *kit)
{
	struct ps_op ops[] = {{.kind = PS_OP_CREATE, .name = "A"},
			      {.kind = PS_OP_SUBSCRIBE, .name = "A", .subscribed = true},
			      {.kind = PS_OP_RENAME, .name = "A", .new_name = "B"},
			      {.kind = PS_OP_CREATE, .name = "A", .attributes = PS_MBOX_SENT},
			      {.kind = PS_OP_DELETE, .name = "B"}};

	kit_begin(kit, 0);
	must_ok(kit_try_all(kit, kit->store, ops, PS_ARRAY_LEN(ops), NULL));
	kit_again(kit);
	must(kit_attributes(kit, kit->store, "A") == (PS_MBOX_EXISTS | PS_MBOX_SUBSCRIBED | PS_MBOX_SENT),
	     "A has attributes 0x%x", kit_attributes(kit, kit->store, "A"));
	must(!exists(kit, "B"), "B is there");
	kit_end(kit);
}

static void many_mailboxes(struct kit *kit)
{
	enum {
		MANY = 60
	};
	struct names names;

	kit_begin(kit, 0);
	for (unsigned i = 0; i < MANY; i++)
		kit_fill(kit, kit->store, make(kit, ps_pool_printf(kit->pool, "Folder %u/x", i)), i % 3);
	kit_again(kit);
	names = kit_list(kit, kit->store);
	for (unsigned i = 0; i < MANY; i++) {
		const struct ps_mailbox_info *info = names_find(&names, ps_pool_printf(kit->pool, "Folder %u/x", i));

		must(info && info->messages == i % 3, "folder %u is missing, or has not %u messages", i, i % 3);
	}
	kit_end(kit);
}

/* The list says what info() says. */
static void list_and_info(struct kit *kit)
{
	struct names names;

	kit_begin(kit, 5);
	kit_flags(kit, kit->store, kit->inbox, UIDS(2, 3), PS_FLAGS_ADD, PS_FLAG_SEEN | PS_FLAG_DELETED, NULL);
	kit_fill(kit, kit->store, make(kit, "Other"), 2);
	names = kit_list(kit, kit->store);
	for (size_t i = 0; i < names.count; i++) {
		const struct ps_mailbox_info *a = &names.infos[i];
		struct picture p = kit_picture(kit, kit->store, kit_mbox(kit, kit->store, a->name));

		must(same(a->id, p.info.id) && a->uid_validity == p.info.uid_validity &&
			     a->uid_next == p.info.uid_next && a->highest_modseq == p.info.highest_modseq &&
			     a->messages == p.info.messages && a->unseen == p.info.unseen &&
			     a->deleted == p.info.deleted && a->size == p.info.size &&
			     a->attributes == p.info.attributes && a->vanished_since == p.info.vanished_since,
		     "%s: list() and info() differ", a->name);
	}
	kit_end(kit);
}

static void inbox_stays(struct kit *kit)
{
	static const struct ps_op ops[] = {{.kind = PS_OP_DELETE, .name = "INBOX"},
					   {.kind = PS_OP_RENAME, .name = "INBOX", .new_name = "Old"}};

	kit_begin(kit, 2);
	must(kit_try(kit, kit->store, &ops[kit->row], NULL) < 0, "it was done");
	must(exists(kit, "INBOX") && !exists(kit, "Old"), "INBOX is not there any more");
	must(kit_picture(kit, kit->store, kit->inbox).count == 2, "INBOX lost messages");
	kit_end(kit);
}

static void inbox_rows(size_t row, char name[ROW_NAME])
{
	strcpy(name, row ? "RENAME" : "DELETE");
}

static const struct check checks[] = {
	{"open: a new store has INBOX, which is empty, and nothing else", new_store},
	{"open: without `create` what is missing is not made", not_without_create},
	{"open: without `create` what is there is opened", there_without_create},
	{"open: stores of two roots have nothing to do with each other", stores_apart},
	{"refused, and nothing is changed", refused, ROWS(refusals)},
	{"mailbox_open: what does not exist is not found", not_opened},
	{"CREATE: parents are not made, nor needed", without_parent},
	{"DELETE: those below stay", deleting_a_parent},
	{"RENAME: a mailbox and the one below it, in a batch", renaming_a_parent},
	{"RENAME: two mailboxes swap their names in a batch", swapped_in_a_batch},
	{"INBOX always exists, in spite of", inbox_stays, ROWS_NAMED(2, inbox_rows)},
	{"a handle stays valid when the mailbox is renamed", follows_a_rename},
	{"a handle of a deleted mailbox is gone, though one of its name is made again, for", gone_when_deleted,
	 ROWS(calls)},
	{"ids of mailboxes are unlike each other", ids_differ},
	{"ids of mailboxes are stable across rename and reopening", ids_stay},
	{"CREATE: an id that is given is taken", id_given},
	{"CREATE: a special use is kept, over rename and reopening", special_use, ROWS(uses)},
	{"ATTRIBUTES: replaces the special uses, by", special_use_replaced, ROWS(uses)},
	{"DELETE: a mailbox made again has not the special use of the old one", use_goes_with_its_mailbox},
	{"SUBSCRIBE: the name need not exist", subscribed_first},
	{"SUBSCRIBE: deleting the mailbox leaves the subscription", subscribed_then_deleted},
	{"SUBSCRIBE: renaming the mailbox leaves the subscription with the name", subscribed_then_renamed},
	{"SUBSCRIBE: twice is once", subscribed_twice},
	{"SUBSCRIBE: many names, each for itself", many_subscriptions},
	{"commit: later operations of a batch see what earlier ones did", life_in_a_batch},
	{"list: each of many mailboxes once, with its counts", many_mailboxes},
	{"list: says what info says", list_and_info},
};
GROUP(mailboxes, "mailboxes: CREATE, RENAME, DELETE, SUBSCRIBE, ATTRIBUTES", checks);
