/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

static void inbox(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct names names = kit_list(kit, store);
	struct ps_mbox *mbox;

	must(names.count == 1 && strcmp(names.infos[0].name, "INBOX") == 0, "a new store has %zu mailboxes",
	     names.count);
	must(names.infos[0].attributes & PS_MBOX_EXISTS, "INBOX does not exist");
	must_be(kit_create(kit, store, "INBOX"), PS_E_EXISTS);
	must_be(kit_delete(kit, store, "Nowhere"), PS_E_NOTFOUND);
	must_be(kit_rename(kit, store, "Nowhere", "X"), PS_E_NOTFOUND);
	must_be(kit->ops->mailbox_open(store, "Nowhere", &mbox), PS_E_NOTFOUND);
	kit_close(kit, store);
}

static void not_without_create(struct kit *kit)
{
	struct ps_store_args args = {.user = kit->root, .root = kit->root, .conf = kit->conf};
	struct ps_store *store;

	must_be(kit->ops->open(&args, &store), PS_E_NOTFOUND);
}

static const char *const odd_names[] = {
	"a.b",
	".hidden",
	"~tilde",
	"with blank",
	" blank",
	"blank ",
	"cur",
	"new",
	"tmp",
	"INBOX/cur",
	"&",
	"&-",
	"&AOk-",
	"a%b",
	"a*b",
	"\\back",
	"\"quoted\"",
	"(x)",
	"{3}",
	"caf\xc3\xa9",
	"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
	"a=b",
	"a:2,S",
	"Case",
	"case",
	"inboxes",
	"deep/er/and/deeper",
	"...",
	"-",
	"#news",
	"dovecot-uidlist",
	"a..b",
	"a/.b",
	"a./b",
	"\xf0\x9f\x93\xa7",
};

static void names_are_kept(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct names names;

	for (size_t i = 0; i < PS_ARRAY_LEN(odd_names); i++)
		must_ok(kit_create(kit, store, odd_names[i]));
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < PS_ARRAY_LEN(odd_names); i++) {
			struct ps_mbox *mbox = kit_mbox(kit, store, odd_names[i]);

			must_be(kit_create(kit, store, odd_names[i]), PS_E_EXISTS);
			must(strcmp(kit_picture(kit, store, mbox).info.name, odd_names[i]) == 0, "%s is called %s",
			     odd_names[i], kit_picture(kit, store, mbox).info.name);
			must(kit_picture(kit, store, mbox).count == (size_t)again, "%s has %zu messages", odd_names[i],
			     kit_picture(kit, store, mbox).count);
			if (!again)
				kit_fill(kit, store, mbox, 1);
		}
		names = kit_list(kit, store);
		must(names.count == PS_ARRAY_LEN(odd_names) + 1, "%zu mailboxes", names.count);
		kit_close(kit, store);
		store = kit_open(kit);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(odd_names); i++) {
		must(names_find(&names, odd_names[i]), "%s is not listed", odd_names[i]);
		must_ok(kit_delete(kit, store, odd_names[i]));
	}
	must(kit_list(kit, store).count == 1, "%zu mailboxes are left", kit_list(kit, store).count);
	kit_close(kit, store);
}

/* What is lawful but more than a disk may hold is refused whole. */
static void long_names(struct kit *kit)
{
	static const size_t lengths[] = {100, 240, 255, 256, 500, 1000};
	struct ps_store *store = kit_open(kit);
	unsigned made = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(lengths); i++) {
		char name[1001];
		int r;

		memset(name, 'x', lengths[i]);
		name[lengths[i]] = '\0';
		r = kit_create(kit, store, name);
		must(r == 0 || r == PS_E_LIMIT || r == PS_E_INVALID, "%zu octets: %s", lengths[i], ps_err_name(r));
		made += r == 0;
		if (r == 0)
			kit_fill(kit, store, kit_mbox(kit, store, name), 1);
	}
	must(made > 0, "no name is short enough");
	must(kit_list(kit, store).count == made + 1, "%zu mailboxes of %u", kit_list(kit, store).count, made + 1);
	kit_close(kit, store);
}

static void handles(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *mbox, *second;
	struct picture before, after;
	struct ps_read *read;
	struct ps_mailbox_info info;
	struct ps_body body;

	must_ok(kit_create(kit, store, "One"));
	mbox = kit_mbox(kit, store, "One");
	second = kit_mbox(kit, store, "One");
	kit_fill(kit, store, mbox, 2);
	before = kit_picture(kit, store, second);
	must_ok(kit_rename(kit, store, "One", "Below/Two"));
	after = kit_picture(kit, store, mbox);
	must(strcmp(after.info.name, "Below/Two") == 0, "it is called %s", after.info.name);
	must(memcmp(&before.info.id, &after.info.id, sizeof after.info.id) == 0, "its id has changed");
	pictures_must_agree(kit, &before, &after, true);
	kit_fill(kit, store, second, 1);
	must_ok(kit_delete(kit, store, "Below/Two"));
	must_ok(kit->ops->read_begin(store, &read));
	must_be(kit->ops->info(read, mbox, &info), PS_E_GONE);
	kit->ops->read_end(read);
	must_be(kit->ops->body(mbox, 1, &body), PS_E_GONE);
	must_ok(kit_create(kit, store, "Below/Two"));
	must_ok(kit->ops->read_begin(store, &read));
	must_be(kit->ops->info(read, second, &info), PS_E_GONE);
	kit->ops->read_end(read);
	kit_close(kit, store);
}

static void staging_for_a_deleted_one(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_op op;

	must_ok(kit_create(kit, store, "One"));
	kit_stage(kit, store, kit_mbox(kit, store, "One"), &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	must_ok(kit_delete(kit, store, "One"));
	must_be(kit_try(kit, store, &op, NULL), PS_E_GONE);
	must(kit_list(kit, store).count == 1, "the mailbox is back");
	kit_close(kit, store);
}

static void renaming(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_op ops[] = {{.kind = PS_OP_RENAME, .name = "A", .new_name = "C"},
			      {.kind = PS_OP_RENAME, .name = "A/B", .new_name = "C/B"}};
	struct names names;

	must_ok(kit_create(kit, store, "A"));
	must_ok(kit_create(kit, store, "A/B"));
	must_ok(kit_create(kit, store, "Taken"));
	must_be(kit_rename(kit, store, "A", "Taken"), PS_E_EXISTS);
	must_be(kit_rename(kit, store, "A", "INBOX"), PS_E_EXISTS);
	must_ok(kit_try_all(kit, store, ops, 2, NULL));
	must_ok(kit_rename(kit, store, "C", "D")); /* this one only */
	names = kit_list(kit, store);
	must(names_find(&names, "D") && names_find(&names, "C/B") && !names_find(&names, "A") &&
		     !names_find(&names, "D/B"),
	     "renaming C did not rename C alone");
	kit_close(kit, store);
}

static void batches_are_whole(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_op ops[] = {{.kind = PS_OP_CREATE, .name = "New"},
			      {.kind = PS_OP_SUBSCRIBE, .name = "New", .subscribed = true},
			      {.kind = PS_OP_RENAME, .name = "Old", .new_name = "Older"},
			      {.kind = PS_OP_CREATE, .name = "INBOX"}};
	struct names names;

	must_ok(kit_create(kit, store, "Old"));
	must_be(kit_try_all(kit, store, ops, PS_ARRAY_LEN(ops), NULL), PS_E_EXISTS);
	names = kit_list(kit, store);
	must(names.count == 2 && names_find(&names, "Old"), "a refused batch left something");
	must_ok(kit_try_all(kit, store, ops, 3, NULL));
	names = kit_list(kit, store);
	must(names.count == 3 && names_find(&names, "Older") && names_find(&names, "New"), "the batch is not there");
	must(names_find(&names, "New")->attributes & PS_MBOX_SUBSCRIBED, "New is not subscribed");
	kit_close(kit, store);
}

static uint32_t attributes_of(struct kit *kit, struct ps_store *store, const char *name)
{
	struct names names = kit_list(kit, store);
	const struct ps_mailbox_info *info = names_find(&names, name);

	return info ? info->attributes : 0;
}

static int subscribe(struct kit *kit, struct ps_store *store, const char *name, bool subscribed)
{
	struct ps_op op = {.kind = PS_OP_SUBSCRIBE, .name = name, .subscribed = subscribed};

	return kit_try(kit, store, &op, NULL);
}

static void subscriptions(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);

	must_ok(subscribe(kit, store, "Not/there", true));
	must_ok(subscribe(kit, store, "Not/there", true));
	must_ok(subscribe(kit, store, "INBOX", true));
	must(attributes_of(kit, store, "Not/there") == PS_MBOX_SUBSCRIBED, "attributes 0x%x",
	     attributes_of(kit, store, "Not/there"));
	must_ok(kit_create(kit, store, "Not/there"));
	must(attributes_of(kit, store, "Not/there") == (PS_MBOX_SUBSCRIBED | PS_MBOX_EXISTS), "attributes 0x%x",
	     attributes_of(kit, store, "Not/there"));
	must_ok(kit_delete(kit, store, "Not/there")); /* RFC 9051 section 6.3.5: still subscribed */
	kit_close(kit, store);
	store = kit_open(kit);
	must(attributes_of(kit, store, "Not/there") == PS_MBOX_SUBSCRIBED, "attributes 0x%x",
	     attributes_of(kit, store, "Not/there"));
	must_ok(subscribe(kit, store, "Not/there", false));
	must_ok(subscribe(kit, store, "Not/there", false));
	must(attributes_of(kit, store, "Not/there") == 0, "it is still listed");
	must(attributes_of(kit, store, "INBOX") == (PS_MBOX_SUBSCRIBED | PS_MBOX_EXISTS), "INBOX: 0x%x",
	     attributes_of(kit, store, "INBOX"));
	kit_close(kit, store);
}

static void special_uses(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_op create = {.kind = PS_OP_CREATE, .name = "Outbox", .attributes = PS_MBOX_SENT};
	struct ps_op replace = {
		.kind = PS_OP_ATTRIBUTES, .name = "Outbox", .attributes = PS_MBOX_ALL | PS_MBOX_FLAGGED};

	must_ok(kit_try(kit, store, &create, NULL));
	must(attributes_of(kit, store, "Outbox") == (PS_MBOX_EXISTS | PS_MBOX_SENT), "attributes 0x%x",
	     attributes_of(kit, store, "Outbox"));
	must_ok(kit_rename(kit, store, "Outbox", "Sent"));
	kit_close(kit, store);
	store = kit_open(kit);
	must(attributes_of(kit, store, "Sent") == (PS_MBOX_EXISTS | PS_MBOX_SENT), "attributes 0x%x",
	     attributes_of(kit, store, "Sent"));
	must_be(kit_try(kit, store, &replace, NULL), PS_E_NOTFOUND);
	replace.name = "Sent";
	must_ok(kit_try(kit, store, &replace, NULL));
	must(attributes_of(kit, store, "Sent") == (PS_MBOX_EXISTS | PS_MBOX_ALL | PS_MBOX_FLAGGED), "attributes 0x%x",
	     attributes_of(kit, store, "Sent"));
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"a new store has INBOX; names that are taken or missing are told", inbox},
	{"a store is not made unless asked for", not_without_create},
	{"a name is kept whatever is in it", names_are_kept},
	{"a name too long for the disk is refused whole", long_names},
	{"a handle follows a rename, and is gone with its mailbox", handles},
	{"a message for a deleted mailbox is refused", staging_for_a_deleted_one},
	{"a rename is of one mailbox, not onto another", renaming},
	{"a batch of operations on mailboxes is whole or absent", batches_are_whole},
	{"subscriptions are of names", subscriptions},
	{"special uses are kept", special_uses},
};
GROUP(mailboxes, "mailboxes and their names", checks);
