/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cli/ends.h"
#include "cli/progress.h"
#include "cli/remove_tree.h"
#include "cli/switch.h"
#include "core/process/plugins.h"
#include "core/store/place.h"

enum {
	PASSES_MAX = 20,
	FEW_CHANGES = 20, /* are copied in a moment, in which the old store is shut */
	SHORT_PASS_MS = 300,
	SESSIONS_SECONDS = 30
};

volatile sig_atomic_t switch_interrupted;

struct change {
	struct cli *cli;
	struct ps_pool *pool;
	const struct ps_user_info *info;
	const struct switch_order *order;
	struct switch_result *result;
	struct ps_place_record record;
	int lock_fd;
	struct ps_sync_end from, to;
	struct cli_progress progress;
	bool shut; /* nobody is to end us now */
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the two stores -------------------------------------------------------------------------- */

static int open_store(struct change *c, const struct ps_place_store *store, bool create, struct ps_sync_end *end)
{
	struct ps_store_args args = {.user = c->info->name, .create = create};

	end->ops = ps_backend_find(store->backend);
	if (!end->ops)
		return ps_fail(PS_E_NOTFOUND, "there is no backend \"%s\"", store->backend);
	if (!end->ops->set_generation)
		return ps_fail(PS_E_UNSUPPORTED, "the backend %s cannot shut a store, so nothing can be moved from it",
			       store->backend);
	args.conf = ps_conf_plugin(ps_config_root(c->cli->config), "backend", store->backend);
	args.root = ps_place_root(c->info, store->name, c->pool);
	end->name = ps_pool_printf(c->pool, "%s:%s", store->backend, args.root);
	return ps_sync_end_open(end, &args);
}

static const char *places_dir(const struct change *c)
{
	return ps_pool_printf(c->pool, "%s/postern-control/places", c->info->root);
}

/* Above all that there are: a folder that a crash left is not mixed with a new one. */
static unsigned next_number(struct change *c)
{
	DIR *dir = opendir(places_dir(c));
	const struct dirent *entry;
	unsigned highest = 1;

	while (dir && (entry = readdir(dir))) {
		unsigned number = (unsigned)strtoul(entry->d_name, NULL, 10);

		if (number > highest)
			highest = number;
	}
	if (dir)
		closedir(dir);
	return highest + 1;
}

static int make_place(struct change *c, const char *name)
{
	if (strcmp(name, ".") == 0)
		return 0;
	if (mkdir(places_dir(c), 0700) < 0 && errno != EEXIST)
		return ps_fail_errno("making %s", places_dir(c));
	if (mkdir(ps_place_root(c->info, name, c->pool), 0700) < 0 && errno != EEXIST)
		return ps_fail_errno("making %s", ps_place_root(c->info, name, c->pool));
	return 0;
}

static bool is_free(const struct ps_place_record *record, const char *name)
{
	return strcmp(record->now.name, name) != 0 &&
	       (!record->before.backend || strcmp(record->before.name, name) != 0);
}

/* The mail location itself, once it has been purged, so that other programs find the mail where they look for it. */
static void choose_target(struct change *c)
{
	struct ps_place_record *record = &c->record;

	if (c->order->what == SWITCH_UNDO) {
		record->target = record->before;
		return;
	}
	if (record->target.backend && strcmp(record->target.backend, c->order->backend) == 0)
		return; /* begun before */
	record->target = (struct ps_place_store){.backend = c->order->backend};
	record->target.name =
		is_free(record, ".") ? "." : ps_pool_printf(c->pool, "%u-%s", next_number(c), c->order->backend);
}

/* ---- copying --------------------------------------------------------------------------------- */

static bool stop(void *arg)
{
	const struct change *c = arg;

	return switch_interrupted && !c->shut;
}

static void progress(void *arg, const struct ps_sync_progress *p)
{
	struct change *c = arg;

	if (c->order->progress)
		cli_progress_at(&c->progress, p->done, p->total);
}

static int copy(struct change *c, enum ps_sync_mode mode, struct ps_sync_totals *ret_totals)
{
	struct ps_sync_options options = {
		.mode = mode,
		.record_dir = ps_pool_printf(c->pool, "%s/postern-control",
					     ps_place_root(c->info, c->record.target.name, c->pool)),
		.unshared = true,
		/* Nobody recorded that the former place holds a copy; the first comparison does. */
		.force = c->order->what == SWITCH_UNDO && c->result->passes == 0,
		.progress = progress,
		.stop = stop,
		.arg = c,
	};
	int r;

	if (!c->shut) {
		options.octets_per_second = c->order->octets_per_second;
		options.messages_per_second = c->order->messages_per_second;
	}
	r = ps_sync_run(&c->from, &c->to, &options, ret_totals);
	c->result->copied += ret_totals->copied;
	c->result->octets += ret_totals->octets;
	c->result->passes++;
	return r;
}

static uint64_t changes_of(const struct ps_sync_totals *t)
{
	return t->copied + t->flagged + t->expunged + t->mailboxes_made + t->mailboxes_removed + t->mailboxes_renamed;
}

/* Until what is left is little. PS_E_AGAIN: it is to end here. */
static int copy_most(struct change *c)
{
	for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
		struct ps_sync_totals totals;
		uint64_t began = now_ms();
		int r = copy(c, PS_SYNC_MIRROR, &totals);

		if (r < 0)
			return r;
		if (totals.stopped)
			return ps_fail(PS_E_AGAIN, "stopped; run it again to go on from here");
		if (changes_of(&totals) <= FEW_CHANGES && now_ms() - began < SHORT_PASS_MS)
			break;
	}
	return 0;
}

/* ---- the moment in which nobody writes ---------------------------------------------------------- */

static int shut(struct change *c)
{
	uint64_t generation;
	int r;

	c->shut = true;
	c->record.paused = true;
	if ((r = ps_place_write(c->info, &c->record)) < 0 ||
	    (r = c->from.ops->generation(c->from.store, &generation)) < 0)
		return r;
	if ((r = c->from.ops->set_generation(c->from.store, generation + 1)) == 0)
		c->record.now.generation = generation + 1;
	return r;
}

static int copy_rest(struct change *c)
{
	struct ps_sync_totals totals;
	int r = copy(c, PS_SYNC_MIRROR, &totals);

	if (r < 0 || (r = ps_sync_compare(&c->from, &c->to)) < 0)
		return r;
	return c->to.ops->generation(c->to.store, &c->record.target.generation);
}

static int change_place(struct change *c)
{
	struct ps_place_record next = {.now = c->record.target, .before = c->record.now, .moved = time(NULL)};

	return ps_place_write(c->info, &next);
}

/* Whatever went wrong, the mail is where it was. */
static int reopen(struct change *c, int error)
{
	char why[400];

	snprintf(why, sizeof why, "%s", ps_last_error());
	c->record.paused = false;
	if (c->from.ops->generation(c->from.store, &c->record.now.generation) < 0)
		c->record.now.generation = 0;
	if (ps_place_write(c->info, &c->record) < 0)
		return ps_fail(error, "%s; and %s", why, ps_last_error());
	return ps_fail(error, "%s", why);
}

static int move(struct change *c)
{
	uint64_t began = now_ms();
	int r;

	if ((r = shut(c)) < 0 || (r = copy_rest(c)) < 0 || (r = change_place(c)) < 0)
		return reopen(c, r);
	c->result->pause_ms = now_ms() - began;
	return 0;
}

/* Mail that others delivered into the old Maildir meanwhile. */
static int fetch_late(struct change *c)
{
	struct ps_sync_totals totals;
	int r = copy(c, PS_SYNC_LATE, &totals);

	c->result->copied -= totals.copied;
	c->result->octets -= totals.octets;
	c->result->late += totals.copied;
	return r;
}

static int between_stores(struct change *c)
{
	int r = copy_most(c);

	if (r < 0 || (r = move(c)) < 0)
		return r;
	c->result->outcome = SWITCH_DONE;
	/* The mail has moved: what may still have come to the old place is fetched again when that is purged. */
	(void)fetch_late(c);
	return 0;
}

static int with_stores(struct change *c)
{
	int r;

	if ((r = open_store(c, &c->record.now, false, &c->from)) < 0)
		return r;
	if ((r = make_place(c, c->record.target.name)) == 0 &&
	    (r = open_store(c, &c->record.target, true, &c->to)) == 0) {
		r = cli_check_keeps(c->record.target.backend, ps_place_root(c->info, c->record.target.name, c->pool));
		if (r == 0)
			r = between_stores(c);
		ps_sync_end_close(&c->to);
	}
	ps_sync_end_close(&c->from);
	return r;
}

/* ---- removing what was left ------------------------------------------------------------------- */

/* In the mail location itself lie the other stores, too. */
static int remove_entries(struct change *c, const char *path, const char *const *kept)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int r = 0;

	if (!dir)
		return errno == ENOENT ? 0 : ps_fail_errno("%s", path);
	while (r == 0 && (entry = readdir(dir))) {
		bool keep = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;

		for (const char *const *name = kept; *name; name++)
			keep = keep || strcmp(entry->d_name, *name) == 0;
		if (!keep)
			r = cli_remove_tree(ps_pool_printf(c->pool, "%s/%s", path, entry->d_name));
	}
	closedir(dir);
	return r;
}

static int remove_store(struct change *c, const struct ps_place_store *store)
{
	static const char *const in_root[] = {"postern-control", NULL};
	static const char *const in_control[] = {"place", "place.lock", "places", "mounts", NULL};
	const char *root = ps_place_root(c->info, store->name, c->pool);
	int r;

	if (strcmp(store->name, ".") != 0)
		return cli_remove_tree(root);
	r = remove_entries(c, root, in_root);
	return r < 0 ? r : remove_entries(c, ps_pool_printf(c->pool, "%s/postern-control", root), in_control);
}

/* ---- moving ------------------------------------------------------------------------------------ */

static int check_order(struct change *c)
{
	const struct ps_place_record *record = &c->record;

	if (c->order->what == SWITCH_UNDO) {
		if (!record->before.backend)
			return ps_fail(PS_E_NOTFOUND, "there is no former place to go back to");
	} else if (strcmp(record->now.backend, c->order->backend) == 0) {
		c->result->outcome = SWITCH_NOTHING;
	} else if (record->before.backend) {
		return ps_fail(PS_E_CONFLICT,
			       "the mail is still kept where it was before, in %s: --undo or --purge first",
			       record->before.backend);
	}
	return 0;
}

/* A move to another backend was begun, and is not to be gone on with. */
static int drop_other_target(struct change *c)
{
	const struct ps_place_store *target = &c->record.target;

	if (!target->backend || !is_free(&c->record, target->name) || c->order->what != SWITCH_TO ||
	    strcmp(target->backend, c->order->backend) == 0)
		return 0;
	return remove_store(c, target);
}

/* Writes down where it is copied to, and copies. */
static int copy_to_target(struct change *c)
{
	int r;

	choose_target(c);
	/* Who was killed while the store was shut may have raised its generation after noting it. */
	if (c->record.paused)
		c->record.now.generation = 0;
	c->record.paused = false;
	snprintf(c->result->from, sizeof c->result->from, "%s", c->record.now.backend);
	snprintf(c->result->to, sizeof c->result->to, "%s", c->record.target.backend);
	if ((r = ps_place_write(c->info, &c->record)) < 0)
		return r;
	return with_stores(c);
}

/* What was begun cannot be gone on with: somebody used the new place, or a crash left too little there. */
static int begin_anew(struct change *c)
{
	int r = remove_store(c, &c->record.target);

	if (r < 0)
		return r;
	c->record.target = (struct ps_place_store){0};
	c->result->copied = c->result->octets = c->result->passes = 0;
	c->shut = false;
	return copy_to_target(c);
}

static int change_store(struct change *c)
{
	bool begun_before = c->record.target.backend != NULL;
	int r = check_order(c);

	if (r < 0 || c->result->outcome == SWITCH_NOTHING || (r = drop_other_target(c)) < 0)
		return r;
	r = copy_to_target(c);
	return r == PS_E_CONFLICT && begun_before && c->order->what == SWITCH_TO ? begin_anew(c) : r;
}

/* ---- purging ----------------------------------------------------------------------------------- */

static int fetch_before_purge(struct change *c)
{
	int r;

	c->record.target = c->record.now; /* where it is copied to */
	if ((r = open_store(c, &c->record.before, false, &c->from)) < 0)
		return r == PS_E_NOTFOUND ? 0 : r;
	if ((r = open_store(c, &c->record.now, false, &c->to)) == 0) {
		r = fetch_late(c);
		ps_sync_end_close(&c->to);
	}
	ps_sync_end_close(&c->from);
	c->record.target = (struct ps_place_store){0};
	return r;
}

/* Sessions that wait notice within seconds that the store has moved, and read in the old one until then. */
static int wait_for_sessions(const struct change *c)
{
	int64_t began = time(NULL);

	for (;;) {
		int64_t now = time(NULL);

		if (now - began >= SESSIONS_SECONDS || now - c->record.moved >= SESSIONS_SECONDS || now < began)
			return 0;
		if (switch_interrupted)
			return ps_fail(PS_E_AGAIN, "stopped; nothing was removed");
		sleep(1);
	}
}

static int purge(struct change *c)
{
	struct ps_place_record *record = &c->record;
	int r;

	if (record->before.backend) {
		if ((r = wait_for_sessions(c)) < 0 || (r = fetch_before_purge(c)) < 0)
			return r;
		record->purged = record->before;
		record->before = (struct ps_place_store){0};
		if ((r = ps_place_write(c->info, record)) < 0)
			return r;
	}
	if (!record->purged.backend) {
		c->result->outcome = SWITCH_NOTHING;
		return 0;
	}
	snprintf(c->result->from, sizeof c->result->from, "%s", record->purged.backend);
	snprintf(c->result->to, sizeof c->result->to, "%s", record->now.backend);
	if ((r = remove_store(c, &record->purged)) < 0)
		return r;
	record->purged = (struct ps_place_store){0};
	if ((r = ps_place_write(c->info, record)) == 0)
		c->result->outcome = SWITCH_DONE;
	return r;
}

/* ---- all ------------------------------------------------------------------------------------- */

/* One who never logged in has no mail location yet. */
static int lock(struct change *c)
{
	struct ps_user *user;
	int r = ps_place_lock(c->info, &c->lock_fd);

	if (r != PS_E_NOTFOUND)
		return r;
	if ((r = ps_user_open(ps_config_root(c->cli->config), c->info, &user)) < 0)
		return r;
	ps_user_close(user);
	return ps_place_lock(c->info, &c->lock_fd);
}

static int run(struct change *c)
{
	int r = lock(c);

	if (r < 0 || (r = ps_place_read(c->info, c->pool, &c->record)) < 0)
		return r;
	return c->order->what == SWITCH_PURGE ? purge(c) : change_store(c);
}

void switch_user(struct cli *cli, const struct ps_user_info *info, const struct switch_order *order,
		 struct switch_result *ret_result)
{
	struct change c = {.cli = cli, .info = info, .order = order, .result = ret_result, .lock_fd = -1};
	uint64_t began = now_ms();
	int r;

	*ret_result = (struct switch_result){.outcome = SWITCH_FAILED};
	c.pool = ps_pool_create("switch");
	cli_progress_start(&c.progress, "messages", 0);
	r = run(&c);
	cli_progress_break(&c.progress);
	if (r < 0 && ret_result->outcome != SWITCH_DONE) {
		ret_result->outcome = r == PS_E_AGAIN ? SWITCH_STOPPED : SWITCH_FAILED;
		snprintf(ret_result->error, sizeof ret_result->error, "%s", ps_last_error());
	}
	ret_result->took_ms = now_ms() - began;
	ps_closep(&c.lock_fd);
	ps_pool_destroy(c.pool);
}
