/* SPDX-License-Identifier: MIT */
/*
 * Whatever a name holds that core lets pass, a mailbox of that name is made, found, listed, renamed, subscribed, deleted.
 */
#include "tests/conformance/conform.h"

static const struct {
	const char *name;
	const char *octets; /* NULL: as it is called */
} words[] = {
	{"Plain"},
	{"a.b"},
	{".hidden"},
	{"..."},
	{"a..b"},
	{"a/.b"},
	{"a./b"},
	{"~tilde"},
	{"with blank"},
	{" blank before"},
	{"blank behind "},
	{"cur"},
	{"new"},
	{"tmp"},
	{"INBOX/cur"},
	{"INBOX/below"},
	{"inboxes"},
	{"&"},
	{"&-"},
	{"&AOk-"},
	{"a%b"},
	{"a*b"},
	{"a?b"},
	{"\\back"},
	{"\"quoted\""},
	{"'quoted'"},
	{"(x)"},
	{"{3}"},
	{"[x]"},
	{"a=b"},
	{"a,b"},
	{"a:2,S"},
	{"a;b|c&d$e"},
	{"-"},
	{"--help"},
	{"hash news", "#news"},
	{"dovecot-uidlist"},
	{"subscriptions"},
	{"lock.mdb"},
	{"the first line of Dovecot's subscriptions", "V"},
	{"UPPER and lower", "MiXeD"},
	{"Latin-1", "caf\xc3\xa9"},
	{"Japanese", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
	{"beyond the BMP", "\xf0\x9f\x93\xa7"},
	{"five levels", "one/two/three/four/five"},
	{"100 octets",
	 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
	{"digits", "12345"},
};

static const char *name_of(const struct kit *kit)
{
	return words[kit->row].octets ? words[kit->row].octets : words[kit->row].name;
}

static void must_be_listed(struct kit *kit, const char *name, bool listed)
{
	must(((kit_attributes(kit, kit->store, name) & PS_MBOX_EXISTS) != 0) == listed, "%s is %slisted", name,
	     listed ? "not " : "");
}

static void must_be_called(struct kit *kit, const char *name, size_t messages)
{
	struct picture p = kit_picture(kit, kit->store, kit_mbox(kit, kit->store, name));

	must(strcmp(p.info.name, name) == 0, "%s is called %s", name, p.info.name);
	must(p.count == messages, "%s has %zu messages, not %zu", name, p.count, messages);
}

static void made(struct kit *kit)
{
	const char *name = name_of(kit);

	kit_begin(kit, 0);
	must_ok(kit_create(kit, kit->store, name));
	must_be(kit_create(kit, kit->store, name), PS_E_EXISTS);
	kit_fill(kit, kit->store, kit_mbox(kit, kit->store, name), 1);
	for (int again = 0; again < 2; again++) {
		must_be_listed(kit, name, true);
		must_be_called(kit, name, 1);
		kit_again(kit);
	}
	must_ok(kit->ops->sync(kit->store, NULL));
	must_be_called(kit, name, 1);
	kit_end(kit);
}

static void renamed(struct kit *kit)
{
	const char *name = name_of(kit);
	struct ps_id id, now;

	kit_begin(kit, 0);
	must_ok(kit_create(kit, kit->store, "Before"));
	kit_fill(kit, kit->store, kit_mbox(kit, kit->store, "Before"), 2);
	id = kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "Before")).info.id;
	must_ok(kit_rename(kit, kit->store, "Before", name));
	must_be_listed(kit, "Before", false);
	for (int again = 0; again < 2; again++) {
		must_be_called(kit, name, 2);
		now = kit_picture(kit, kit->store, kit_mbox(kit, kit->store, name)).info.id;
		must(memcmp(&now, &id, sizeof id) == 0, "%s has another id", name);
		kit_again(kit);
	}
	must_ok(kit_rename(kit, kit->store, name, "After"));
	must_be_listed(kit, name, false);
	must_be_called(kit, "After", 2);
	kit_end(kit);
}

static void deleted(struct kit *kit)
{
	const char *name = name_of(kit);

	kit_begin(kit, 0);
	must_ok(kit_create(kit, kit->store, name));
	kit_fill(kit, kit->store, kit_mbox(kit, kit->store, name), 1);
	must_ok(kit_delete(kit, kit->store, name));
	for (int again = 0; again < 2; again++) {
		must_be_listed(kit, name, false);
		must_be(kit_delete(kit, kit->store, name), PS_E_NOTFOUND);
		kit_again(kit);
	}
	must_ok(kit_create(kit, kit->store, name));
	must_be_called(kit, name, 0);
	kit_end(kit);
}

static void subscribed(struct kit *kit)
{
	const char *name = name_of(kit);

	kit_begin(kit, 0);
	must_ok(kit_subscribe(kit, kit->store, name, true));
	must_ok(kit_subscribe(kit, kit->store, "Another", true));
	for (int again = 0; again < 2; again++) {
		must(kit_attributes(kit, kit->store, name) == PS_MBOX_SUBSCRIBED, "%s has attributes 0x%x", name,
		     kit_attributes(kit, kit->store, name));
		kit_again(kit);
	}
	must_ok(kit_subscribe(kit, kit->store, name, false));
	for (int again = 0; again < 2; again++) {
		must(kit_attributes(kit, kit->store, name) == 0, "%s is still subscribed", name);
		must(kit_attributes(kit, kit->store, "Another") == PS_MBOX_SUBSCRIBED, "another name is not any more");
		kit_again(kit);
	}
	kit_end(kit);
}

/* ---- the limits ---------------------------------------------------------------------------- */

/* What is lawful but more than a disk may hold is refused whole. */
static const struct {
	const char *name;
	size_t len, component; /* octets, and of each component */
} lengths[] = {
	{"a component of 200 octets", 200, 200},
	{"a component of 255 octets", 255, 255},
	{"a component of 256 octets", 256, 256},
	{"a component of 1,000 octets", 1000, 1000},
	{"32 components", 63, 1},
	{"1,000 octets in components of 40", 1000, 40},
};

static void long_name(struct kit *kit)
{
	char name[1001];
	size_t len = lengths[kit->row].len;
	int r;

	for (size_t i = 0; i < len; i++)
		name[i] = (i + 1) % (lengths[kit->row].component + 1) == 0 && i + 1 < len ? '/' : 'x';
	name[len] = '\0';
	kit_begin(kit, 1);
	r = kit_create(kit, kit->store, name);
	must(r == 0 || r == PS_E_LIMIT || r == PS_E_INVALID, "%s", ps_err_name(r));
	if (r == 0)
		kit_fill(kit, kit->store, kit_mbox(kit, kit->store, name), 1);
	kit_again(kit);
	must_be_listed(kit, name, r == 0);
	if (r == 0)
		must_be_called(kit, name, 1);
	must(kit_picture(kit, kit->store, kit->inbox).count == 1, "INBOX has changed");
	kit_end(kit);
}

/* Names that a backend could take for one. */
static const struct {
	const char *name;
	const char *a, *b;
} pairs[] = {
	{"upper and lower case", "Case", "case"},
	{"a dot and a level", "a.b", "a/b"},
	{"a blank behind", "a", "a "},
	{"an encoding of the other", "\xc3\xa9", "&AOk-"},
	{"& and its encoding", "&", "&-"},
	{"% and its encoding", "%", "%25"},
	{"_ and blank", "a_b", "a b"},
	{"a beginning of the other", "mail", "mailbox"},
	{"accents", "caf\xc3\xa9", "cafe"},
	{"INBOX in a folder", "x/INBOX", "x/inbox"},
};

static void unlike(struct kit *kit)
{
	const char *a = pairs[kit->row].a, *b = pairs[kit->row].b;

	kit_begin(kit, 0);
	must_ok(kit_create(kit, kit->store, a));
	must_ok(kit_create(kit, kit->store, b));
	kit_fill(kit, kit->store, kit_mbox(kit, kit->store, a), 1);
	kit_again(kit);
	must_be_called(kit, a, 1);
	must_be_called(kit, b, 0);
	must_ok(kit_delete(kit, kit->store, b));
	must_be_listed(kit, a, true);
	must_be_called(kit, a, 1);
	kit_end(kit);
}

static const struct check checks[] = {
	{"CREATE: made, listed, filled, reopened", made, ROWS(words)},
	{"RENAME: to it and from it", renamed, ROWS(words)},
	{"DELETE: and made again, empty", deleted, ROWS(words)},
	{"SUBSCRIBE: a name that no mailbox has", subscribed, ROWS(words)},
	{"CREATE: made, or refused whole", long_name, ROWS(lengths)},
	{"names that differ are two mailboxes", unlike, ROWS(pairs)},
};
GROUP(names, "names: a component may hold any character that core lets pass", checks);
