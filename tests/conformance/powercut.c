/* SPDX-License-Identifier: MIT */
/*
 * The power fails before each storage call of a deed. What a process wrote and did not sync may be lost then, which no
 * kill shows.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/conformance/deeds.h"
#include "tests/conformance/power.h"
#include "tests/conformance/run.h"

enum {
	IMAGES = 2,
	THOROUGH_IMAGES = 20
};

struct cutting {
	struct kit *kit; /* its root is followed */
	struct power_disk *disk;
	struct expected expected;
	enum power how;
	const char *image;
	unsigned calls, cuts, fail_at;
	bool others; /* deliver before it is opened again */
	struct {
		bool armed, done;
	} * told;
};

static void check_image(struct cutting *c, const char *when)
{
	struct kit kit = *c->kit;
	struct scene scene;

	kit.root = c->image;
	kit.pool = ps_pool_create("power");
	power_cut(c->disk, c->how, c->image);
	if (c->others) {
		if (kit.outside->restart)
			kit.outside->restart(&kit);
		kit.outside->deliver(&kit, THEIRS, false);
		nothing_is_lost(&kit, &c->expected, when);
	} else {
		scene = scene_open(&kit);
		scene_sync(&scene);
		scene_must_be(&scene, &c->expected, c->told->done, false, when);
		kit_fill(&kit, scene.store, scene.inbox, 1);
		scene_close(&scene);
	}
	remove_tree(c->image);
	ps_pool_destroy(kit.pool);
	c->cuts++;
}

/* Where chance picks what is left, more than one. */
static void check_images(struct cutting *c, const char *when)
{
	unsigned count = c->how != POWER_ANY ? 1 : c->kit->thorough ? THOROUGH_IMAGES : IMAGES;

	while (count-- > 0)
		check_image(c, when);
}

static int cut_at(void *arg, const struct call *call)
{
	struct cutting *c = arg;
	char when[100];

	power_note(c->disk, call);
	if (!c->told->armed)
		return CALL_GO;
	snprintf(when, sizeof when, "power lost before call %u, %s", ++c->calls, call->name);
	check_images(c, when);
	return CALL_GO;
}

static void do_and_tell(struct kit *kit, void *arg)
{
	struct cutting *c = arg;
	struct scene scene = scene_open(kit);

	c->told->armed = true;
	must_ok(deed_do(&scene, &deeds[kit->row]));
	c->told->armed = false;
	c->told->done = true;
	_exit(EXIT_SUCCESS); /* as it is, and not closed */
}

static void cut_power(struct kit *kit, enum power how, bool others)
{
	struct kit store = *kit;
	struct cutting c = {
		.kit = &store, .how = how, .others = others, .expected = deed_expect(kit, &deeds[kit->row])};
	const char *work = ps_pool_printf(kit->pool, "%s/work", kit->root);

	must(mkdir(kit->root, 0700) == 0 && mkdir(work, 0700) == 0, "mkdir: %s", strerror(errno));
	store.root = ps_pool_printf(kit->pool, "%s/store", kit->root);
	c.image = ps_pool_printf(kit->pool, "%s/image", kit->root);
	c.told = calls_shared(sizeof *c.told);
	scene_furnish(&store);
	c.disk = power_follow(&store, work);
	calls_watch_ok(&store, do_and_tell, &c, cut_at, &c);
	power_note(c.disk, NULL);
	check_images(&c, "power lost when it had been acknowledged");
	must(c.cuts > 1, "it made no storage call at all");
}

static void late(struct kit *kit)
{
	cut_power(kit, POWER_LATE, false);
}

static void early(struct kit *kit)
{
	cut_power(kit, POWER_EARLY, false);
}

static void any(struct kit *kit)
{
	cut_power(kit, POWER_ANY, false);
}

static void any_and_others(struct kit *kit)
{
	kit->row = torn_deed(kit->row);
	cut_power(kit, POWER_ANY, true);
}

/* ---- a sync that fails --------------------------------------------------------------------- */

/* Fails the n-th sync; what it was to make durable is not. */
static int fail_sync(void *arg, const struct call *call)
{
	struct cutting *c = arg;
	bool counts = c->told->armed && call->kind == CALL_SYNC;

	if (counts && ++c->calls == c->fail_at) {
		power_note(c->disk, NULL);
		return EIO;
	}
	power_note(c->disk, call);
	return CALL_GO;
}

static void try_and_tell(struct kit *kit, void *arg)
{
	struct cutting *c = arg;
	struct scene scene = scene_open(kit);

	c->told->armed = true;
	c->told->done = deed_do(&scene, &deeds[kit->row]) == 0;
	c->told->armed = false;
	_exit(EXIT_SUCCESS);
}

static void failed_sync(struct kit *kit)
{
	struct kit store = *kit, template = *kit;
	struct cutting c = {.kit = &store, .how = POWER_LATE, .expected = deed_expect(kit, &deeds[kit->row])};

	must(mkdir(kit->root, 0700) == 0, "mkdir: %s", strerror(errno));
	template.root = ps_pool_printf(kit->pool, "%s/template", kit->root);
	c.image = ps_pool_printf(kit->pool, "%s/image", kit->root);
	c.told = calls_shared(sizeof *c.told);
	scene_furnish(&template);
	do {
		const char *work = ps_pool_printf(kit->pool, "%s/work.%u", kit->root, ++c.fail_at);

		c.calls = 0;
		store.root = ps_pool_printf(kit->pool, "%s/%u", kit->root, c.fail_at);
		copy_tree(template.root, store.root);
		must(mkdir(work, 0700) == 0, "mkdir: %s", strerror(errno));
		c.disk = power_follow(&store, work);
		calls_watch_ok(&store, try_and_tell, &c, fail_sync, &c);
		power_note(c.disk, NULL);
		/* Two accidents in a row may tear a batch that was refused. */
		if (c.told->done)
			check_image(&c, "power lost when it had been acknowledged in spite of a failing sync");
		power_unfollow(c.disk);
	} while (c.calls >= c.fail_at);
}

/* ---- deliveries that share a commit -------------------------------------------------------- */

enum {
	DELIVERIES = 3
};

/* Each with a token, so it may be tried again. */
static void deliver_all(struct kit *kit, struct ps_store *store)
{
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_batch batches[DELIVERIES], *list[DELIVERIES];
	struct ps_op_result results[DELIVERIES];
	struct ps_op ops[DELIVERIES];

	for (int i = 0; i < DELIVERIES; i++) {
		struct ps_bytes text = kit_text(kit, "Number: %d\r\n\r\n%*c\r\n", i, 2000, '.');

		kit_stage(kit, store, inbox, &(struct kit_message){.octets = text}, &ops[i]);
		batches[i] = (struct ps_batch){.ops = &ops[i],
					       .count = 1,
					       .pool = kit->pool,
					       .results = &results[i],
					       .token = kit_text(kit, "token %d", i)};
		list[i] = &batches[i];
	}
	must_ok(kit->ops->commit(store, list, DELIVERIES));
	for (int i = 0; i < DELIVERIES; i++)
		must_ok(batches[i].err);
}

/* When all are tried again each is there once, and whole. */
static void check_deliveries(struct cutting *c)
{
	struct kit kit = *c->kit;
	unsigned seen = 0;
	struct ps_store *store;
	struct ps_mbox *inbox;
	struct picture p;

	kit.root = c->image;
	kit.pool = ps_pool_create("deliveries");
	power_cut(c->disk, c->how, c->image);
	store = kit_open(&kit);
	deliver_all(&kit, store);
	inbox = kit_mbox(&kit, store, "INBOX");
	p = kit_picture(&kit, store, inbox);
	must(p.count == DELIVERIES, "%zu messages after %u calls", p.count, c->calls);
	for (size_t i = 0; i < p.count; i++) {
		struct ps_bytes octets;
		unsigned n;

		must_ok(kit_body(&kit, inbox, p.rows[i].uid, &octets));
		must(octets.len > 2000 && octets.ptr[octets.len - 3] == '.' &&
			     sscanf(ps_pool_strndup(kit.pool, (const char *)octets.ptr, 20), "Number: %u", &n) == 1,
		     "a message is torn after %u calls", c->calls);
		seen |= 1u << n;
	}
	must(seen == (1u << DELIVERIES) - 1, "one is there twice after %u calls", c->calls);
	kit_close(&kit, store);
	remove_tree(c->image);
	ps_pool_destroy(kit.pool);
	c->cuts++;
}

static int cut_deliveries(void *arg, const struct call *call)
{
	struct cutting *c = arg;

	power_note(c->disk, call);
	if (c->told->armed) {
		c->calls++;
		for (int image = 0; image < (c->kit->thorough ? THOROUGH_IMAGES : IMAGES); image++)
			check_deliveries(c);
	}
	return CALL_GO;
}

static void deliver_and_tell(struct kit *kit, void *arg)
{
	struct cutting *c = arg;
	struct ps_store *store = kit_open(kit);

	c->told->armed = true;
	deliver_all(kit, store);
	c->told->armed = false;
	_exit(EXIT_SUCCESS);
}

static void deliveries(struct kit *kit)
{
	struct kit store = *kit;
	struct cutting c = {.kit = &store, .how = POWER_ANY};
	const char *work = ps_pool_printf(kit->pool, "%s/work", kit->root);

	must(mkdir(kit->root, 0700) == 0 && mkdir(work, 0700) == 0, "mkdir: %s", strerror(errno));
	store.root = ps_pool_printf(kit->pool, "%s/store", kit->root);
	c.image = ps_pool_printf(kit->pool, "%s/image", kit->root);
	c.told = calls_shared(sizeof *c.told);
	kit_close(&store, kit_open(&store));
	c.disk = power_follow(&store, work);
	calls_watch_ok(&store, deliver_and_tell, &c, cut_deliveries, &c);
	must(c.cuts > 1, "it made no storage call at all");
}

/* ---- what others delivered ----------------------------------------------------------------- */

/* The newest message's, when all is taken in. */
static uint32_t last_uid(struct kit *kit)
{
	struct picture p;

	must_ok(kit->ops->sync(kit->store, NULL));
	must_ok(kit->ops->sync(kit->store, kit->inbox));
	p = kit_picture(kit, kit->store, kit->inbox);
	must(p.count == 5, "%zu messages", p.count);
	return p.rows[4].uid;
}

static void take_in(struct kit *kit, void *arg)
{
	kit_begin(kit, 0);
	*(uint32_t *)arg = last_uid(kit);
	_exit(EXIT_SUCCESS);
}

static int follow_calls(void *arg, const struct call *call)
{
	power_note(arg, call);
	return CALL_GO;
}

static void taken_in(struct kit *kit)
{
	struct kit store = *kit, image = *kit;
	const char *work = ps_pool_printf(kit->pool, "%s/work", kit->root);
	uint32_t *told = calls_shared(sizeof *told);
	struct power_disk *disk;

	must(mkdir(kit->root, 0700) == 0 && mkdir(work, 0700) == 0, "mkdir: %s", strerror(errno));
	store.root = ps_pool_printf(kit->pool, "%s/store", kit->root);
	image.root = ps_pool_printf(kit->pool, "%s/image", kit->root);
	kit_begin(&store, 20);
	kit_expunge(&store, store.store, store.inbox, UIDS(5, 20)); /* UIDs that must not be given again */
	kit_end(&store);
	store.outside->deliver(&store, 5, false);
	disk = power_follow(&store, work);
	calls_watch_ok(&store, take_in, told, follow_calls, disk);
	power_note(disk, NULL);
	power_cut(disk, POWER_LATE, image.root);
	kit_begin(&image, 0);
	must(last_uid(&image) == *told, "the message has UID %u; told was %u", last_uid(&image), *told);
	kit_end(&image);
}

static const struct check checks[] = {
	{"law 4: power lost, with it all that was not synced", late, NEEDS_CALLS, DEEDS},
	{"law 4: what a failing sync was to keep is not acknowledged", failed_sync, NEEDS_CALLS, DEEDS},
	{"sync: the UID that a foreign message got is kept when power is lost", taken_in, NEEDS_CALLS | NEEDS_OUTSIDE},
	{"law 4: power lost, names kept but octets not synced lost", early, NEEDS_CALLS, DEEDS},
	{"law 4: power lost, and of what was not synced any part is there", any, NEEDS_CALLS, DEEDS},
	{"law 4: the same of deliveries that share a commit", deliveries, NEEDS_CALLS},
	{"law 4: the same, and others deliver before it is opened: nothing is lost or doubled by", any_and_others,
	 NEEDS_CALLS | NEEDS_OUTSIDE, ROWS_NAMED(TAKEN_ROWS, torn_rows)},
};
GROUP(power, "law 4: power lost before any storage call", checks);
