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

struct cutting {
	struct kit *kit; /* its root is followed */
	struct power_disk *disk;
	struct expected expected;
	enum power how;
	const char *image;
	unsigned calls, cuts;
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
	scene = scene_open(&kit);
	scene_sync(&scene);
	scene_must_be(&scene, &c->expected, c->told->done, false, when);
	kit_fill(&kit, scene.store, scene.inbox, 1);
	scene_close(&scene);
	remove_tree(c->image);
	ps_pool_destroy(kit.pool);
	c->cuts++;
}

static int cut_at(void *arg, const struct call *call)
{
	struct cutting *c = arg;
	char when[100];

	power_note(c->disk, call);
	if (!c->told->armed)
		return CALL_GO;
	snprintf(when, sizeof when, "power lost before call %u, %s", ++c->calls, call->name);
	check_image(c, when);
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

static void cut_power(struct kit *kit, enum power how)
{
	struct kit store = *kit;
	struct cutting c = {.kit = &store, .how = how, .expected = deed_expect(kit, &deeds[kit->row])};
	const char *work = ps_pool_printf(kit->pool, "%s/work", kit->root);

	must(mkdir(kit->root, 0700) == 0 && mkdir(work, 0700) == 0, "mkdir: %s", strerror(errno));
	store.root = ps_pool_printf(kit->pool, "%s/store", kit->root);
	c.image = ps_pool_printf(kit->pool, "%s/image", kit->root);
	c.told = calls_shared(sizeof *c.told);
	scene_furnish(&store);
	c.disk = power_follow(&store, work);
	calls_watch_ok(&store, do_and_tell, &c, cut_at, &c);
	power_note(c.disk, NULL);
	check_image(&c, "power lost when it had been acknowledged");
	must(c.cuts > 1, "it made no storage call at all");
}

static void late(struct kit *kit)
{
	cut_power(kit, POWER_LATE);
}

static void early(struct kit *kit)
{
	cut_power(kit, POWER_EARLY);
}

static const struct check checks[] = {
	{"law 4: power lost, with it all that was not synced", late, NEEDS_CALLS, DEEDS},
	{"law 4: power lost, names kept but octets not synced lost", early, NEEDS_CALLS, DEEDS},
};
GROUP(power, "law 4: power lost before any storage call", checks);
