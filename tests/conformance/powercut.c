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
	{"law 4: the same, and others deliver before it is opened: nothing is lost or doubled by", any_and_others,
	 NEEDS_CALLS | NEEDS_OUTSIDE, ROWS_NAMED(TAKEN_ROWS, torn_rows)},
};
GROUP(power, "law 4: power lost before any storage call", checks);
