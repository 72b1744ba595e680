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

static struct ps_user **slot_of(const char *key)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *key; key++)
		hash = (hash ^ (uint8_t)*key) * 16777619u;
	return &registry.slots[hash % REGISTRY_SLOTS];
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
	free(user->root);
	free(user->name);
	free(user->key);
	free(user);
}

static void unlink_user(struct ps_user *user)
{
	struct ps_user **at = slot_of(user->key);

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

/* ---- opening --------------------------------------------------------------------------------- */

static void user_close_store(struct ps_user *user);

/* One that nobody uses and that is not what lies on disk is closed first. */
static void drop_misplaced(const char *key)
{
	struct ps_user *user = find_user(key);

	if (!user || user->state != PS_USER_OPEN || user->refs > 0 || is_where_it_was(user))
		return;
	unkeep(user);
	user->state = PS_USER_CLOSING;
	pthread_mutex_unlock(&registry.lock);
	user_close_store(user);
	pthread_mutex_lock(&registry.lock);
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

static int open_store(struct ps_user *user, const struct ps_conf *backend_conf, const struct ps_conf *core_conf,
		      const struct ps_user_info *info, bool mounted)
{
	struct ps_store_args args = {
		.user = user->name, .root = info->root ? info->root : "", .conf = backend_conf, .create = true};
	int r;

	if (core_conf)
		user->message_limit = (uint64_t)ps_conf_int(ps_conf_section(core_conf, "limits", 0), "message_size");
	if ((r = user->ops->open(&args, &user->store)) < 0)
		return r;
	if (!mounted && (r = furnish(user, core_conf)) < 0) {
		ps_mounts_destroy(user);
		user->ops->close(user->store);
	}
	if (r == 0)
		remember_place(user, info->root);
	return r;
}

static int open_shared(const struct ps_backend *ops, const struct ps_conf *backend_conf,
		       const struct ps_conf *core_conf, const struct ps_user_info *info, bool mounted,
		       struct ps_user **ret_user)
{
	bool created;
	struct ps_user *user = acquire(ops, info, make_key(info->backend, info), &created);
	int r;

	if (created) {
		r = open_store(user, backend_conf, core_conf, info, mounted);
		settle(user, r == 0);
		if (r < 0)
			return r;
	}
	*ret_user = user;
	return 0;
}

int ps_user_open_with(const struct ps_backend *ops, const struct ps_conf *backend_conf, const struct ps_conf *core_conf,
		      const struct ps_user_info *info, struct ps_user **ret_user)
{
	return open_shared(ops, backend_conf, core_conf, info, false, ret_user);
}

int ps_user_open_mounted(const struct ps_backend *ops, const struct ps_conf *backend_conf,
			 const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_user **ret_user)
{
	return open_shared(ops, backend_conf, core_conf, info, true, ret_user);
}

int ps_user_open(const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_user **ret_user)
{
	const struct ps_backend *ops = ps_backend_find(info->backend);

	if (!ops)
		return ps_fail(PS_E_NOTFOUND, "user %s: no backend %s is loaded", info->name, info->backend);
	return ps_user_open_with(ops, ps_conf_plugin(core_conf, "backend", info->backend), core_conf, info, ret_user);
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
	ps_mounts_destroy(user);
	ps_mailboxes_destroy(user);
	user->ops->close(user->store);
	settle(user, false);
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
	if (!user)
		return;
	pthread_mutex_lock(&registry.lock);
	if (--user->refs == 0)
		keep(user);
	pthread_mutex_unlock(&registry.lock);
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
