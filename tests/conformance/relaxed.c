/* SPDX-License-Identifier: MIT */
/*
 * Relaxed flags: what a process told of them and was not made durable yet. Its end takes nothing away; lost power may take away flags,
 * and no client ever takes old ones for those that it was told of.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/conformance/power.h"
#include "tests/conformance/run.h"

enum {
	MESSAGES = 4,
	IMAGES = 2 /* where chance picks what is left */
};

static const struct change {
	struct ps_range uids;
	enum ps_flag_mode mode;
	uint32_t flags;
} changes[] = {
	{{2, 2}, PS_FLAGS_ADD, PS_FLAG_DRAFT},
	{{1, MESSAGES}, PS_FLAGS_SET, PS_FLAG_SEEN | PS_FLAG_FLAGGED},
	{{2, 2}, PS_FLAGS_REMOVE, PS_FLAG_FLAGGED},
	{{1, 3}, PS_FLAGS_ADD, PS_FLAG_ANSWERED},
};

/* What the process says, in memory that both see. */
struct told {
	bool begun, settled;
	unsigned changes; /* that were acknowledged */
	uint64_t modseq;
};

struct cutting {
	struct kit *kit;
	struct power_disk *disk;
	enum power how;
	const char *image;
	uint32_t first_flags[MESSAGES + 1];
	unsigned cuts;
	struct told *told;
};

static void change(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct change *what,
		   struct ps_op_result *result)
{
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .mbox = mbox,
			   .uids = &what->uids,
			   .uid_count = 1,
			   .flag_mode = what->mode,
			   .flags = what->flags,
			   .unchanged_since = UINT64_MAX};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = kit->pool, .results = result, .relaxed = true};
	struct ps_batch *batches = &batch;

	must_ok(kit->ops->commit(store, &batches, 1));
}

/* Ends without closing anything. */
static void change_and_tell(struct kit *kit, void *arg)
{
	struct told *told = arg;
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *mbox = kit_mbox(kit, store, "INBOX");

	told->begun = true;
	for (size_t i = 0; i < PS_ARRAY_LEN(changes); i++) {
		struct ps_op_result result = {0};

		change(kit, store, mbox, &changes[i], &result);
		told->modseq = result.modseq;
		told->changes++;
	}
	if (kit->ops->settle)
		must_ok(kit->ops->settle(store));
	told->settled = true;
	_exit(EXIT_SUCCESS);
}

static uint32_t flags_after(const struct cutting *c, uint32_t uid, unsigned count)
{
	uint32_t flags = c->first_flags[uid];

	for (unsigned i = 0; i < count && i < PS_ARRAY_LEN(changes); i++) {
		const struct change *what = &changes[i];

		if (uid < what->uids.first || uid > what->uids.last)
			continue;
		flags = what->mode == PS_FLAGS_SET   ? what->flags
			: what->mode == PS_FLAGS_ADD ? flags | what->flags
						     : flags & ~what->flags;
	}
	return flags;
}

/* Each flag for itself: set only if it once was, and clear only if it once was. */
static bool had(const struct cutting *c, const struct ps_row *row)
{
	uint32_t once = 0, always = PS_FLAG_ALL;

	for (unsigned n = 0; n <= c->told->changes + 1; n++) {
		once |= flags_after(c, row->uid, n);
		always &= flags_after(c, row->uid, n);
	}
	return (row->flags & ~once) == 0 && (always & ~row->flags) == 0;
}

static void check_row(const struct cutting *c, const struct ps_row *row, const char *when)
{
	uint32_t last = flags_after(c, row->uid, c->told->changes);

	must(had(c, row), "%s: message %u has flags %#x, which it never had", when, row->uid, row->flags);
	must(!c->told->settled || row->flags == last, "%s: message %u has flags %#x, and %#x were settled", when,
	     row->uid, row->flags, last);
	must(row->flags == last || row->modseq > c->told->modseq,
	     "%s: who was told of flags %#x of message %u at %llu does not learn that they are %#x now, at %llu", when,
	     last, row->uid, (unsigned long long)c->told->modseq, row->flags, (unsigned long long)row->modseq);
}

static void check_store(struct cutting *c, struct kit *kit, const char *when)
{
	struct picture p;

	kit_begin(kit, 0);
	must_ok(kit->ops->sync(kit->store, kit->inbox));
	p = kit_picture(kit, kit->store, kit->inbox);
	picture_check(&p);
	must(p.count == MESSAGES, "%s: %zu messages", when, p.count);
	for (size_t i = 0; i < p.count; i++)
		check_row(c, &p.rows[i], when);
	kit_flags(kit, kit->store, kit->inbox, UIDS(1, 1), PS_FLAGS_SET, PS_FLAG_DELETED, NULL);
	must(kit_highest(kit, kit->store, kit->inbox) > c->told->modseq, "%s: modseqs do not go on above %llu", when,
	     (unsigned long long)c->told->modseq);
	kit_end(kit);
}

static void check_images(struct cutting *c, const char *when)
{
	for (unsigned i = 0; i < (c->how == POWER_ANY ? IMAGES : 1); i++) {
		struct kit kit = *c->kit;

		kit.root = c->image;
		kit.pool = ps_pool_create("relaxed");
		power_cut(c->disk, c->how, c->image);
		check_store(c, &kit, when);
		remove_tree(c->image);
		ps_pool_destroy(kit.pool);
		c->cuts++;
	}
}

static int cut_at(void *arg, const struct call *call)
{
	struct cutting *c = arg;
	char when[100];

	power_note(c->disk, call);
	snprintf(when, sizeof when, "power lost after %u changes, before %s", c->told->changes, call->name);
	if (c->told->begun)
		check_images(c, when);
	return CALL_GO;
}

static struct cutting furnish(struct kit *kit)
{
	struct cutting c = {.kit = kit, .told = calls_shared(sizeof *c.told)};
	struct picture p;

	kit_begin(kit, MESSAGES);
	p = kit_picture(kit, kit->store, kit->inbox);
	for (size_t i = 0; i < p.count; i++)
		c.first_flags[p.rows[i].uid] = p.rows[i].flags;
	kit_end(kit);
	return c;
}

static void lose_power(struct kit *kit, enum power how)
{
	struct kit store = *kit;
	const char *work = ps_pool_printf(kit->pool, "%s/work", kit->root);
	struct cutting c;

	must(mkdir(kit->root, 0700) == 0 && mkdir(work, 0700) == 0, "mkdir: %s", strerror(errno));
	store.root = ps_pool_printf(kit->pool, "%s/store", kit->root);
	c = furnish(&store);
	c.how = how;
	c.image = ps_pool_printf(kit->pool, "%s/image", kit->root);
	c.disk = power_follow(&store, work);
	calls_watch_ok(&store, change_and_tell, c.told, cut_at, &c);
	power_note(c.disk, NULL);
	must(c.told->settled, "it did not come to its end");
	check_images(&c, "power lost when all was settled");
}

static void late(struct kit *kit)
{
	lose_power(kit, POWER_LATE);
}

static void any(struct kit *kit)
{
	lose_power(kit, POWER_ANY);
}

static int kill_at(void *arg, const struct call *call)
{
	const struct cutting *c = arg;

	(void)call;
	return c->told->changes == PS_ARRAY_LEN(changes) ? CALL_KILL : CALL_GO;
}

/* Before the first call that settle() makes, or at the end where it makes none. */
static void killed(struct kit *kit)
{
	struct cutting c = furnish(kit);

	calls_watch(kit, change_and_tell, c.told, kill_at, &c);
	must(c.told->changes == PS_ARRAY_LEN(changes), "%u changes were made", c.told->changes);
	c.told->settled = true; /* as much as that */
	check_store(&c, kit, "the process was killed");
}

static const struct check checks[] = {
	{"law 4: relaxed flags: a kill takes nothing away", killed, NEEDS_CALLS},
	{"law 4: relaxed flags: power lost, with it all that was not synced", late, NEEDS_CALLS},
	{"law 4: relaxed flags: power lost, and of what was not synced any part is there", any, NEEDS_CALLS},
};
GROUP(relaxed, "law 4 where flags are relaxed", checks);
