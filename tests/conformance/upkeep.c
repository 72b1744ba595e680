/* SPDX-License-Identifier: MIT */
/*
 * check() and compact(), which a backend may have.
 */
#include <errno.h>
#include <sys/stat.h>
#include "tests/conformance/calls.h"
#include "tests/conformance/deeds.h"

/* The sentence may not outlive the call: it is told at once. */
static void tell_fault(void *arg, const char *sentence)
{
	(void)arg;
	fail_at(__FILE__, __LINE__, "a fault is found in a sound store: %s", sentence);
}

static void sound(struct kit *kit)
{
	const char *before;

	if (!kit->ops->check)
		skip("it has no check()");
	scene_furnish(kit);
	kit_begin(kit, 3);
	before = kit_describe(kit, kit->store);
	must_ok(kit->ops->check(kit->store, tell_fault, NULL));
	must(strcmp(before, kit_describe(kit, kit->store)) == 0, "check() changed something");
	kit_end(kit);
}

static void sound_after_deed(struct kit *kit)
{
	struct scene scene;

	if (!kit->ops->check)
		skip("it has no check()");
	scene_furnish(kit);
	scene = scene_open(kit);
	must_ok(deed_do(&scene, &deeds[kit->row]));
	must_ok(kit->ops->check(scene.store, tell_fault, NULL));
	scene_close(&scene);
}

/* Much comes and goes, so that there is something to win. */
static void fill_and_empty(struct kit *kit)
{
	char *body = ps_pool_alloc(kit->pool, 30000);

	memset(body, 'x', 30000);
	kit_begin(kit, 0);
	for (int i = 0; i < 40; i++)
		kit_append(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes(body, 30000)});
	kit_expunge(kit, kit->store, kit->inbox, UIDS(3, 38));
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, PS_FLAG_SEEN, WORDS("word"));
}

static void compacted(struct kit *kit)
{
	uint64_t octets = 0, highest;
	const char *before;
	struct picture p, now;

	if (!kit->ops->compact)
		skip("it has no compact()");
	fill_and_empty(kit);
	before = kit_describe(kit, kit->store);
	p = kit_picture(kit, kit->store, kit->inbox);
	must_ok(kit->ops->compact(kit->store, &octets));
	for (int again = 0; again < 2; again++) {
		must(strcmp(before, kit_describe(kit, kit->store)) == 0, "compact() changed something");
		now = kit_picture(kit, kit->store, kit->inbox);
		pictures_must_agree(kit, &p, &now, true);
		kit_again(kit);
	}
	highest = kit_highest(kit, kit->store, kit->inbox);
	kit_fill(kit, kit->store, kit->inbox, 1);
	must(kit_highest(kit, kit->store, kit->inbox) > highest, "HIGHESTMODSEQ stands still");
	kit_end(kit);
}

static void compacted_while_open(struct kit *kit)
{
	uint64_t octets = 0;
	struct ps_body body;
	struct ps_read *read;
	struct ps_mailbox_info info;

	if (!kit->ops->compact)
		skip("it has no compact()");
	fill_and_empty(kit);
	must_ok(kit->ops->body(kit->inbox, 1, &body));
	must_ok(kit->ops->read_begin(kit->store, &read));
	must_ok(kit->ops->compact(kit->store, &octets));
	must_ok(kit->ops->info(read, kit->inbox, &info));
	must(info.messages == 4, "%u messages", info.messages);
	kit->ops->read_end(read);
	kit->ops->body_close(&body);
	must_ok(kit->ops->compact(kit->store, &octets));
	kit_fill(kit, kit->store, kit->inbox, 1);
	kit_end(kit);
}

static int kill_at(void *arg, const struct call *call)
{
	unsigned *left = arg;

	(void)call;
	return --*left == 0 ? CALL_KILL : CALL_GO;
}

static void open_and_compact(struct kit *kit, void *arg)
{
	uint64_t octets;

	kit_begin(kit, 0);
	must_ok(kit->ops->compact(kit->store, &octets));
	kit_end(kit);
	*(bool *)arg = true;
}

static void killed_in_compact(struct kit *kit)
{
	const char *before;
	struct kit template = *kit, copy = *kit;
	bool *done = calls_shared(sizeof *done);

	if (!kit->ops->compact)
		skip("it has no compact()");
	must(mkdir(kit->root, 0700) == 0, "mkdir: %s", strerror(errno));
	template.root = ps_pool_printf(kit->pool, "%s/template", kit->root);
	fill_and_empty(&template);
	before = kit_describe(&template, template.store);
	kit_end(&template);
	for (unsigned at = 1; !*done; at++) {
		unsigned left = at;

		copy.root = ps_pool_printf(kit->pool, "%s/%u", kit->root, at);
		copy_tree(template.root, copy.root);
		calls_watch(&copy, open_and_compact, done, kill_at, &left);
		kit_begin(&copy, 0);
		must(strcmp(before, kit_describe(&copy, copy.store)) == 0, "killed before call %u: something is lost",
		     at);
		kit_fill(&copy, copy.store, copy.inbox, 1);
		kit_end(&copy);
	}
}

static const struct check checks[] = {
	{"check: finds no fault in a sound store, and changes nothing", sound},
	{"check: finds no fault after", sound_after_deed, .needs = 0, DEEDS},
	{"compact: all is as it was, and after reopening", compacted},
	{"compact: while the store is in use", compacted_while_open},
	{"compact: killed before any storage call, nothing is lost", killed_in_compact, NEEDS_CALLS},
};
GROUP(upkeep, "check() and compact()", checks);
