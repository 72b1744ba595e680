/* SPDX-License-Identifier: MIT */
/*
 * The registry of open stores. A store is opened by the first who asks and closed when the last goes, or, where
 * ps_users_keep() says so, some time later: clients log in and out all day, and opening costs more than all the rest
 * of a short session. Who asks while a store is being opened or closed waits, since two handles on one store in one
 * process are not for every backend.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include "core/config/config.h"
#include "core/process/plugins.h"
#include "core/store/mailbox.h"
#include "core/store/mount.h"
#include "core/store/pending.h"
#include "core/store/place.h"
#include "core/store/user.h"
#include "postern/log.h"

enum {
	REGISTRY_SLOTS = 1024
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t settled; /* a store was opened or closed */
	struct ps_user *slots[REGISTRY_SLOTS];
	/* Open, and nobody's; the one that was left first is first. */
	TAILQ_HEAD(, ps_user) kept;
	unsigned kept_count, keep_max, keep_seconds;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER,
	      .settled = PTHREAD_COND_INITIALIZER,
	      .kept = TAILQ_HEAD_INITIALIZER(registry.kept)};

static uint32_t hash_of(const char *key)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *key; key++)
		hash = (hash ^ (uint8_t)*key) * 16777619u;
	return hash;
}

static struct ps_user **slot_of(const char *key)
{
	return &registry.slots[hash_of(key) % REGISTRY_SLOTS];
}

/* Two names with one mail location are one store. */
static char *make_key(const char *backend, const struct ps_user_info *info)
{
	struct ps_buf key = {0};
	const char *text;

	ps_buf_printf(&key, "%s:%s", backend, info->root && *info->root ? info->root : info->name);
	text = ps_buf_cstr(&key);
	text = ps_strdup(text);
	ps_buf_finish(&key);
	return (char *)text;
}

static char *copy(const char *text)
{
	return text ? ps_strdup(text) : NULL;
}

static void origin_finish(struct ps_origin *origin)
{
	free(origin->name);
	free(origin->home);
	free(origin->backend);
	free(origin->root);
	free(origin->fields);
	free(origin->mount);
}

static struct ps_user *user_create(const struct ps_backend *ops, const struct ps_user_info *info, char *key)
{
	struct ps_user *user = ps_zalloc(sizeof *user);

	user->key = key;
	user->refs = 1;
	user->name = ps_strdup(info->name);
	user->ops = ops;
	ps_commit_queue_init(&user->commits);
	pthread_mutex_init(&user->lock, NULL);
	return user;
}

static void user_destroy(struct ps_user *user)
{
	pthread_mutex_destroy(&user->lock);
	ps_commit_queue_finish(&user->commits);
	origin_finish(&user->origin);
	free(user->fields);
	free(user->root);
	free(user->name);
	free(user->key);
	free(user);
}

static void unlink_user(struct ps_user *user)
{
	struct ps_user **at = slot_of(user->key);

	if (user->moved)
		return;
	while (*at != user)
		at = &(*at)->next;
	*at = user->next;
}

static struct ps_user *find_user(const char *key)
{
	struct ps_user *user = *slot_of(key);

	while (user && strcmp(user->key, key) != 0)
		user = user->next;
	return user;
}

/* ---- stores that are kept; all with the registry's lock -------------------------------------- */

static int64_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void keep(struct ps_user *user)
{
	user->left_at = seconds_now();
	TAILQ_INSERT_TAIL(&registry.kept, user, kept);
	registry.kept_count++;
}

static void unkeep(struct ps_user *user)
{
	TAILQ_REMOVE(&registry.kept, user, kept);
	registry.kept_count--;
}

/* Takes out one that is kept too long, or one too many, for the caller to close. NULL: there is none. */
static struct ps_user *take_expired(bool all)
{
	struct ps_user *user = TAILQ_FIRST(&registry.kept);

	if (!user ||
	    (!all && registry.kept_count <= registry.keep_max && seconds_now() - user->left_at < registry.keep_seconds))
		return NULL;
	unkeep(user);
	user->state = PS_USER_CLOSING;
	return user;
}

/* Somebody may have taken the folder away meanwhile, or put another in its place. */
static bool is_where_it_was(const struct ps_user *user)
{
	struct stat st;

	return !user->root ||
	       (stat(user->root, &st) == 0 && st.st_dev == user->root_dev && st.st_ino == user->root_ino);
}

static void remember_place(struct ps_user *user, const char *root)
{
	struct stat st;

	if (!root || !*root || stat(root, &st) < 0)
		return;
	user->root = ps_strdup(root);
	user->root_dev = st.st_dev;
	user->root_ino = st.st_ino;
}

/* ---- what is to be done now and then ----------------------------------------------------------- */

/* When stores that are closed are due again. Of a fixed size: one that comes to another's place is due sooner. */
static struct {
	uint32_t hash;
	int64_t due_at;
} remembered[4 * REGISTRY_SLOTS];

/* With the registry's lock. */
static void remember_due(const struct ps_user *user)
{
	uint32_t hash = hash_of(user->key);

	remembered[hash % PS_ARRAY_LEN(remembered)].hash = hash;
	remembered[hash % PS_ARRAY_LEN(remembered)].due_at = user->due_at;
}

static int64_t recall_due(const char *key)
{
	uint32_t hash = hash_of(key);
	size_t at = hash % PS_ARRAY_LEN(remembered);

	return remembered[at].hash == hash ? remembered[at].due_at : 0;
}

static struct ps_user *find_due(int64_t now)
{
	for (size_t i = 0; i < REGISTRY_SLOTS; i++)
		for (struct ps_user *user = registry.slots[i]; user; user = user->next)
			if (user->state == PS_USER_OPEN && !user->origin.mount && user->due_at <= now)
				return user;
	return NULL;
}

struct ps_user *ps_users_take_due(int64_t now, unsigned seconds)
{
	struct ps_user *user;

	pthread_mutex_lock(&registry.lock);
	user = find_due(now);
	if (user) {
		if (user->refs++ == 0)
			unkeep(user);
		user->due_at = now + seconds;
		remember_due(user);
	}
	pthread_mutex_unlock(&registry.lock);
	return user;
}

static struct ps_user *find_unsettled(unsigned round)
{
	for (size_t i = 0; i < REGISTRY_SLOTS; i++)
		for (struct ps_user *user = registry.slots[i]; user; user = user->next)
			if (user->state == PS_USER_OPEN && user->settle_round != round && ps_commit_is_unsettled(user))
				return user;
	return NULL;
}

/* With a reference; each once in a round. */
static struct ps_user *take_unsettled(unsigned round)
{
	struct ps_user *user;

	pthread_mutex_lock(&registry.lock);
	if ((user = find_unsettled(round)) != NULL) {
		if (user->refs++ == 0)
			unkeep(user);
		user->settle_round = round;
	}
	pthread_mutex_unlock(&registry.lock);
	return user;
}

static void settle_left(struct ps_user *user)
{
	if (ps_commit_settle(user) < 0)
		ps_log(PS_LOG_ERROR, "settle_failed", "user", user->name, "error", ps_last_error(), NULL);
}

void ps_users_settle(void)
{
	static unsigned round; /* of the one timer that calls this */
	struct ps_user *user;

	round++;
	while ((user = take_unsettled(round)) != NULL) {
		settle_left(user);
		ps_user_close(user);
	}
}

/* ---- opening --------------------------------------------------------------------------------- */

static void user_close_store(struct ps_user *user);

/* One that nobody uses and that is not what lies on disk is closed first. Who wants it waits for the answer of that disk, and nobody else. */
static void drop_misplaced(const char *key)
{
	struct ps_user *user = find_user(key);
	bool right;

	if (!user || user->state != PS_USER_OPEN || user->refs > 0)
		return;
	unkeep(user);
	user->state = PS_USER_CLOSING;
	pthread_mutex_unlock(&registry.lock);
	right = is_where_it_was(user);
	if (!right)
		user_close_store(user);
	pthread_mutex_lock(&registry.lock);
	if (right) {
		user->state = PS_USER_OPEN;
		keep(user);
		pthread_cond_broadcast(&registry.settled);
	}
}

/* Finds the open store, or puts one in that is to be opened by the caller. */
static struct ps_user *acquire(const struct ps_backend *ops, const struct ps_user_info *info, char *key,
			       bool *ret_created)
{
	struct ps_user *user;

	pthread_mutex_lock(&registry.lock);
	drop_misplaced(key);
	while ((user = find_user(key)) && user->state != PS_USER_OPEN)
		pthread_cond_wait(&registry.settled, &registry.lock);
	*ret_created = !user;
	if (user) {
		if (user->refs++ == 0)
			unkeep(user);
		free(key);
	} else {
		user = user_create(ops, info, key);
		user->due_at = recall_due(key);
		user->next = *slot_of(key);
		*slot_of(key) = user;
	}
	pthread_mutex_unlock(&registry.lock);
	return user;
}

static void settle(struct ps_user *user, bool open)
{
	pthread_mutex_lock(&registry.lock);
	if (open)
		user->state = PS_USER_OPEN;
	else
		unlink_user(user);
	pthread_cond_broadcast(&registry.settled);
	pthread_mutex_unlock(&registry.lock);
	if (!open)
		user_destroy(user);
}

/* What makes a store a user's whole mail. */
static int furnish(struct ps_user *user, const struct ps_conf *core_conf)
{
	int r = ps_mounts_create(user, core_conf);

	return r < 0 ? r : ps_user_make_defaults(user, core_conf);
}

/* A place of a store, and what to open it with. */
struct opening {
	const struct ps_backend *ops;
	const struct ps_conf *backend_conf, *core_conf;
	const struct ps_user_info *info;
	uint64_t generation;
	const char *mount; /* NULL: it is not mounted in another */
	bool exists;       /* it is not to be made */
	/* What the user database said, if the place is another. */
	const struct opening *origin;
};

static void origin_init(struct ps_origin *origin, const struct opening *o)
{
	*origin = (struct ps_origin){.name = copy(o->info->name),
				     .home = copy(o->info->home),
				     .backend = copy(o->info->backend),
				     .root = copy(o->info->root),
				     .uid = o->info->uid,
				     .gid = o->info->gid,
				     .ops = o->ops,
				     .core_conf = o->core_conf,
				     .backend_conf = o->backend_conf,
				     .fields = copy(o->info->fields),
				     .mount = copy(o->mount)};
}

static int open_store(struct ps_user *user, const struct opening *o)
{
	struct ps_store_args args = {.user = user->name,
				     .root = o->info->root ? o->info->root : "",
				     .conf = o->backend_conf,
				     .create = !o->exists,
				     .generation = o->generation};
	int r;

	if (o->core_conf) {
		user->message_limit = (uint64_t)ps_conf_int(ps_conf_section(o->core_conf, "limits", 0), "message_size");
		user->relaxed = strcmp(ps_conf_str(o->core_conf, "durability"), "relaxed") == 0;
	}
	if ((r = user->ops->open(&args, &user->store)) < 0)
		return r;
	if (user->ops->generation)
		r = user->ops->generation(user->store, &user->generation);
	if (r == 0)
		r = ps_commit_fit(user, o->info);
	if (r == 0 && !o->mount)
		r = furnish(user, o->core_conf);
	if (r < 0) {
		ps_extensions_detach(user);
		ps_mounts_destroy(user);
		user->ops->close(user->store);
		return r;
	}
	remember_place(user, o->info->root);
	return 0;
}

static int open_shared(const struct opening *o, struct ps_user **ret_user)
{
	bool created;
	struct ps_user *user = acquire(o->ops, o->info, make_key(o->info->backend, o->info), &created);
	int r;

	if (created) {
		origin_init(&user->origin, o->origin ? o->origin : o);
		r = open_store(user, o);
		settle(user, r == 0);
		if (r < 0)
			return r;
	} else {
		ps_commit_refit(user, o->info);
	}
	*ret_user = user;
	return 0;
}

int ps_user_open_with(const struct ps_backend *ops, const struct ps_conf *backend_conf, const struct ps_conf *core_conf,
		      const struct ps_user_info *info, struct ps_user **ret_user)
{
	struct opening o = {.ops = ops, .backend_conf = backend_conf, .core_conf = core_conf, .info = info};

	return open_shared(&o, ret_user);
}

int ps_user_open_mounted(const struct ps_backend *ops, const struct ps_conf *backend_conf,
			 const struct ps_conf *core_conf, const struct ps_user_info *info, const char *mount,
			 struct ps_user **ret_user)
{
	struct opening o = {
		.ops = ops, .backend_conf = backend_conf, .core_conf = core_conf, .info = info, .mount = mount};

	return open_shared(&o, ret_user);
}

/* A store that was shut between the question and the opening does not refuse who opened it after that. */
static bool is_still_there(const struct opening *from, const struct ps_place *place, struct ps_pool *pool)
{
	struct ps_place now;

	if (ps_place_find(from->core_conf, from->info, pool, &now) < 0)
		return false;
	return strcmp(now.backend, place->backend) == 0 && (!now.root || strcmp(now.root, place->root) == 0);
}

/* Opens the store where ps_place_find() says it is. PS_E_MOVED: it moved just then. */
static int open_place(const struct opening *from, struct ps_user **ret_user)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("place");
	struct ps_user_info info = *from->info;
	struct opening o = *from;
	struct ps_place place;
	int r = ps_place_find(o.core_conf, &info, pool, &place);

	if (r < 0)
		return r;
	if (!o.ops || strcmp(place.backend, info.backend) != 0) {
		o.ops = ps_backend_find(place.backend);
		o.backend_conf = ps_conf_plugin(o.core_conf, "backend", place.backend);
	}
	if (!o.ops)
		return ps_fail(PS_E_NOTFOUND, "user %s: no backend %s is loaded", info.name, place.backend);
	info.backend = place.backend;
	info.root = place.root;
	o.info = &info;
	o.origin = from;
	o.generation = place.generation;
	o.exists = place.exists;
	if ((r = open_shared(&o, ret_user)) < 0)
		return r;
	if (atomic_load(&(*ret_user)->is_found))
		return 0;
	if (is_still_there(from, &place, pool)) {
		atomic_store(&(*ret_user)->is_found, true);
		return 0;
	}
	ps_user_close(*ret_user);
	return ps_fail(PS_E_MOVED, "user %s: the store has moved meanwhile", info.name);
}

static int open_present(const struct opening *from, struct ps_user **ret_user)
{
	int r = open_place(from, ret_user);

	return r == PS_E_MOVED ? open_place(from, ret_user) : r;
}

int ps_user_open(const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_user **ret_user)
{
	struct opening o = {.core_conf = core_conf, .info = info};

	return open_present(&o, ret_user);
}

/* ---- stores that move ------------------------------------------------------------------------ */

struct ps_user *ps_user_now(struct ps_user *user)
{
	struct ps_user *next;

	while ((next = atomic_load(&user->moved_to)) != NULL)
		user = next;
	return user;
}

/* True: the caller is to open it where it is now. */
static bool begin_move(struct ps_user *user)
{
	bool mine;

	pthread_mutex_lock(&registry.lock);
	while (user->moving)
		pthread_cond_wait(&registry.settled, &registry.lock);
	mine = user->state == PS_USER_OPEN && !atomic_load(&user->moved_to);
	if (mine) {
		unlink_user(user);
		user->moving = user->moved = true;
	}
	pthread_mutex_unlock(&registry.lock);
	return mine;
}

static void end_move(struct ps_user *user, struct ps_user *to)
{
	pthread_mutex_lock(&registry.lock);
	user->moving = false;
	if (to)
		atomic_store(&user->moved_to, to);
	pthread_cond_broadcast(&registry.settled);
	pthread_mutex_unlock(&registry.lock);
}

int ps_user_move(struct ps_user *user)
{
	const struct ps_origin *origin = &user->origin;
	struct ps_user_info info = {.name = origin->name,
				    .uid = origin->uid,
				    .gid = origin->gid,
				    .home = origin->home,
				    .backend = origin->backend,
				    .root = origin->root,
				    .fields = origin->fields};
	struct opening o = {.ops = origin->ops,
			    .core_conf = origin->core_conf,
			    .backend_conf = origin->backend_conf,
			    .info = &info,
			    .mount = origin->mount};
	struct ps_user *to = NULL;
	int r = PS_E_MOVED;

	if (begin_move(user)) {
		r = open_present(&o, &to);
		end_move(user, to);
		ps_log(r == 0 ? PS_LOG_INFO : PS_LOG_ERROR, r == 0 ? "store_moved" : "store_lost", "user", user->name,
		       "to", to ? to->key : "", "error", r == 0 ? "" : ps_last_error(), NULL);
	}
	if (to)
		ps_mailboxes_notify(user); /* they wait where nothing happens any more */
	if (!atomic_load(&user->moved_to))
		return r == PS_E_MOVED ? ps_fail(PS_E_BUSY, "the store of %s is being moved", user->name) : r;
	return ps_fail(PS_E_MOVED, "the store of %s has moved", user->name);
}

bool ps_user_check_moved(struct ps_user *user)
{
	uint64_t generation = user->generation;

	if (atomic_load(&user->moved_to))
		return true;
	/* One that cannot say is perhaps not there any more. */
	if (!user->ops->generation ||
	    (user->ops->generation(user->store, &generation) == 0 && generation == user->generation))
		return false;
	return ps_user_move(user) == PS_E_MOVED;
}

struct ps_user *ps_user_ref(struct ps_user *user)
{
	pthread_mutex_lock(&registry.lock);
	user->refs++;
	pthread_mutex_unlock(&registry.lock);
	return user;
}

/* ---- closing --------------------------------------------------------------------------------- */

/* One that is PS_USER_CLOSING, without the lock. */
static void user_close_store(struct ps_user *user)
{
	struct ps_user *next = atomic_load(&user->moved_to);

	ps_mounts_destroy(user);
	ps_mailboxes_destroy(user);
	settle_left(user);
	ps_extensions_detach(user);
	user->ops->close(user->store);
	settle(user, false);
	ps_user_close(next);
}

static void close_expired(bool all)
{
	struct ps_user *user;

	do {
		pthread_mutex_lock(&registry.lock);
		user = take_expired(all);
		pthread_mutex_unlock(&registry.lock);
		if (user)
			user_close_store(user);
	} while (user);
}

void ps_user_close(struct ps_user *user)
{
	bool last, outlived;

	if (!user)
		return;
	pthread_mutex_lock(&registry.lock);
	last = --user->refs == 0;
	outlived = last && user->moved;
	if (outlived)
		user->state = PS_USER_CLOSING;
	else if (last)
		keep(user);
	pthread_mutex_unlock(&registry.lock);
	if (outlived)
		user_close_store(user);
	close_expired(false);
}

void ps_users_keep(unsigned count, unsigned seconds)
{
	pthread_mutex_lock(&registry.lock);
	registry.keep_max = count;
	registry.keep_seconds = seconds;
	pthread_mutex_unlock(&registry.lock);
}

void ps_users_close_kept(bool all)
{
	close_expired(all);
}

int ps_user_look(struct ps_user *user, struct ps_mbox *mbox)
{
	int r = user->ops->stale(user->store, mbox);

	if (r > 0)
		return ps_commit_sync(user, mbox);
	if (r == 0)
		ps_commit_wait_sync(user, mbox);
	return r;
}
