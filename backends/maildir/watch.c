/* SPDX-License-Identifier: MIT */
/*
 * What others do, noticed by inotify: one instance per process, watching cur and new of the mailboxes that are open, and the root
 * of each store whose mailboxes all lie in it. Of a root only directories count: files come and go there that are no mailboxes.
 *
 * The kernel queues an event before the call that causes it returns. So each of our own changes is announced first
 * (watch_expect()), and after it the queue is read: what was announced is ours, and all else is somebody else's and
 * makes the folder dirty. Anybody may read the queue at any time. A thread does, from the first watch() until no folder
 * is left: it calls those who wait. Nobody waits for a root.
 *
 * LOCKS. `lock` guards everything here and is held for moments. `calls` is held while callbacks run, so that none is
 * running any more when maildir_unwatch() returns; it is taken before `lock`.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"

enum {
	EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR,
	FOLDER_PARTS = 2,
	BUCKETS = 1024,
	PAUSE_MS = 10,
	DRAIN_AT = 1024, /* announced: the kernel's queue holds 16,384 by default */
};

struct expected {
	uint32_t event;
	enum place place;
	char *name;
};

struct waiter {
	struct waiter *next;
	struct folder_watch *watch;
	void (*changed)(void *arg);
	void *arg;
};

struct folder_watch {
	struct folder_watch *next[2]; /* in the buckets of their wd */
	int wd[2];                    /* cur, new; or the root */
	int parts;                    /* how many of them */
	bool known;                   /* the index was as the directories are, and this says whether it still is */
	bool dirty;
	bool pending; /* waiters are to be called */
	struct waiter *waiters;
	struct expected *expected;
	size_t first, count, cap;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t calls = PTHREAD_MUTEX_INITIALIZER;
static struct {
	pid_t pid;
	int fd;
	int wake;           /* eventfd, for the thread */
	bool running, stop; /* the thread */
	size_t waiters, folders;
	pthread_t thread;
	struct folder_watch *buckets[2][BUCKETS];
} hub = {.fd = -1, .wake = -1};

static struct folder_watch **bucket(int part, int wd)
{
	return &hub.buckets[part][(unsigned)wd % BUCKETS];
}

/* ---- events ---------------------------------------------------------------------------------- */

static void make_dirty(struct folder_watch *watch)
{
	if (!watch->dirty && watch->waiters) {
		uint64_t one = 1;

		watch->pending = true;
		if (write(hub.wake, &one, sizeof one) < 0)
			watch->pending = true; /* its counter is full: the thread is awake */
	}
	watch->dirty = true;
}

static void forget_expected(struct folder_watch *watch)
{
	while (watch->first < watch->count)
		free(watch->expected[watch->first++].name);
	watch->first = watch->count = 0;
}

/* Ours come in the order in which they were announced. */
static bool was_expected(struct folder_watch *watch, int part, const struct inotify_event *event)
{
	if (event->len == 0)
		return false;
	for (size_t i = watch->first; i < watch->count; i++) {
		struct expected *e = &watch->expected[i];

		if (!(e->event & event->mask) || (e->place == PLACE_NEW) != part || strcmp(e->name, event->name) != 0)
			continue;
		free(e->name);
		memmove(&watch->expected[watch->first + 1], &watch->expected[watch->first],
			(i - watch->first) * sizeof *e);
		if (++watch->first == watch->count)
			watch->first = watch->count = 0;
		return true;
	}
	return false;
}

/* One without a name is about the directory itself. */
static bool concerns(const struct folder_watch *watch, const struct inotify_event *event)
{
	return watch->parts == FOLDER_PARTS || event->len == 0 || event->mask & IN_ISDIR;
}

static void dispatch(const struct inotify_event *event)
{
	for (int part = 0; part < FOLDER_PARTS; part++)
		for (struct folder_watch *w = *bucket(part, event->wd); w; w = w->next[part])
			if (w->wd[part] == event->wd && concerns(w, event) && !was_expected(w, part, event))
				make_dirty(w);
}

static void all_dirty(void)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct folder_watch *w = hub.buckets[0][i]; w; w = w->next[0])
			make_dirty(w);
}

static void drain(void)
{
	union {
		struct inotify_event event;
		char octets[16384];
	} buf;
	ssize_t n;

	while (hub.fd >= 0 && (n = read(hub.fd, &buf, sizeof buf)) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *event = (const void *)(buf.octets + at);

			if (event->mask & IN_Q_OVERFLOW)
				all_dirty();
			else
				dispatch(event);
			at += (ssize_t)(sizeof *event + event->len);
		}
	}
}

/* ---- folders --------------------------------------------------------------------------------- */

/* An instance that came over a fork() is the parent's: its events are not ours to take. */
static bool hub_ready(void)
{
	if (hub.pid == getpid())
		return hub.fd >= 0;
	memset(hub.buckets, 0, sizeof hub.buckets);
	hub.pid = getpid();
	hub.waiters = hub.folders = 0;
	hub.running = false;
	hub.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	hub.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return hub.fd >= 0 && hub.wake >= 0;
}

struct watched {
	int fd;
	char path[4096];
};

/* By the descriptor, which cannot be swapped for another directory; by the path where there is no /proc. */
static int add_watch(const struct watched *dir)
{
	char link[32];
	int wd;

	snprintf(link, sizeof link, "/proc/self/fd/%d", dir->fd);
	wd = inotify_add_watch(hub.fd, link, EVENTS);
	return wd >= 0 || errno != ENOENT ? wd : inotify_add_watch(hub.fd, dir->path, EVENTS | IN_DONT_FOLLOW);
}

static bool is_watched(int wd)
{
	for (int part = 0; part < FOLDER_PARTS; part++)
		for (struct folder_watch *w = *bucket(part, wd); w; w = w->next[part])
			if (w->wd[part] == wd)
				return true;
	return false;
}

static void link_watch(struct folder_watch *watch)
{
	for (int part = 0; part < watch->parts; part++) {
		watch->next[part] = *bucket(part, watch->wd[part]);
		*bucket(part, watch->wd[part]) = watch;
	}
}

static void unlink_watch(struct folder_watch *watch)
{
	for (int part = 0; part < watch->parts; part++) {
		struct folder_watch **link = bucket(part, watch->wd[part]);

		while (*link && *link != watch)
			link = &(*link)->next[part];
		if (*link)
			*link = watch->next[part];
		/* One directory has one descriptor, however many watch it. */
		if (!is_watched(watch->wd[part]))
			inotify_rm_watch(hub.fd, watch->wd[part]);
	}
}

static struct folder_watch *make_watch(const struct watched *dirs, int parts)
{
	int wd[FOLDER_PARTS] = {-1, -1};
	struct folder_watch *watch;

	for (int part = 0; part < parts; part++) {
		if ((wd[part] = add_watch(&dirs[part])) >= 0)
			continue;
		if (part > 0 && !is_watched(wd[0]))
			inotify_rm_watch(hub.fd, wd[0]);
		return NULL;
	}
	watch = ps_zalloc(sizeof *watch);
	memcpy(watch->wd, wd, sizeof wd);
	watch->parts = parts;
	link_watch(watch);
	hub.folders += parts == FOLDER_PARTS;
	return watch;
}

static void attach(struct folder_watch **at, const struct watched *dirs, int parts)
{
	pthread_mutex_lock(&lock);
	if (!*at && hub_ready())
		*at = make_watch(dirs, parts);
	pthread_mutex_unlock(&lock);
}

void watch_attach(struct ps_folder *folder)
{
	struct watched dirs[FOLDER_PARTS] = {{.fd = folder->cur_fd}, {.fd = folder->new_fd}};

	for (int part = 0; part < FOLDER_PARTS; part++)
		snprintf(dirs[part].path, sizeof dirs[part].path, "%s/%s/%s", folder->store->cat.root, folder->dir,
			 part ? "new" : "cur");
	attach(&folder->watch, dirs, FOLDER_PARTS);
}

void watch_attach_root(struct ps_store *store)
{
	struct watched dir = {.fd = store->cat.root_fd};

	snprintf(dir.path, sizeof dir.path, "%s", store->cat.root);
	attach(&store->watch, &dir, 1);
}

void watch_expect(struct folder_watch **at, enum place place, uint32_t event, const char *name)
{
	struct folder_watch *watch;

	pthread_mutex_lock(&lock);
	if ((watch = *at) != NULL) {
		if (watch->count - watch->first >= DRAIN_AT)
			drain();
		if (watch->count == watch->cap) {
			watch->cap = watch->cap ? watch->cap * 2 : 16;
			watch->expected = ps_realloc(watch->expected, watch->cap * sizeof *watch->expected);
		}
		watch->expected[watch->count++] = (struct expected){event, place, ps_strdup(name)};
	}
	pthread_mutex_unlock(&lock);
}

int watch_changed(struct folder_watch **at)
{
	int changed = -1;

	pthread_mutex_lock(&lock);
	if (*at) {
		drain();
		if ((*at)->known)
			changed = (*at)->dirty;
	}
	pthread_mutex_unlock(&lock);
	return changed;
}

void watch_settle(struct folder_watch **at)
{
	pthread_mutex_lock(&lock);
	if (*at) {
		drain();
		if ((*at)->first < (*at)->count)
			make_dirty(*at);
		forget_expected(*at);
	}
	pthread_mutex_unlock(&lock);
}

static void set_known(struct folder_watch **at, bool dirty)
{
	pthread_mutex_lock(&lock);
	if (*at) {
		drain();
		(*at)->known = true;
		(*at)->dirty = (*at)->dirty && dirty;
		forget_expected(*at);
	}
	pthread_mutex_unlock(&lock);
}

void watch_clean(struct folder_watch **at)
{
	set_known(at, false);
}

void watch_known(struct folder_watch **at)
{
	set_known(at, true);
}

void watch_dirty(struct folder_watch **at)
{
	pthread_mutex_lock(&lock);
	if (*at)
		make_dirty(*at);
	pthread_mutex_unlock(&lock);
}

/* ---- those who wait -------------------------------------------------------------------------- */

struct call {
	void (*changed)(void *arg);
	void *arg;
};

static size_t collect_calls(struct call **ret_list)
{
	struct call *list = ps_malloc(hub.waiters * sizeof *list);
	size_t count = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct folder_watch *w = hub.buckets[0][i]; w; w = w->next[0]) {
			if (!w->pending)
				continue;
			w->pending = false;
			for (struct waiter *waiter = w->waiters; waiter; waiter = waiter->next)
				list[count++] = (struct call){waiter->changed, waiter->arg};
		}
	}
	*ret_list = list;
	return count;
}

static void *serve(void *arg)
{
	struct pollfd fds[2] = {{.fd = hub.fd, .events = POLLIN}, {.fd = hub.wake, .events = POLLIN}};
	bool stop = false;

	(void)arg;
	while (!stop) {
		struct call *list;
		uint64_t counter;
		size_t count;

		poll(fds, 2, -1);
		pthread_mutex_lock(&calls);
		pthread_mutex_lock(&lock);
		drain();
		if (read(hub.wake, &counter, sizeof counter) < 0)
			counter = 0;
		stop = hub.stop;
		count = collect_calls(&list);
		pthread_mutex_unlock(&lock);
		for (size_t i = 0; i < count; i++)
			list[i].changed(list[i].arg);
		pthread_mutex_unlock(&calls);
		free(list);
		/* Thousands of renames, mostly our own, should not wake it thousands of times. */
		poll(&fds[1], 1, PAUSE_MS);
	}
	return NULL;
}

/* With `starting` and `lock`. */
static int start_thread(void)
{
	sigset_t all, old;
	int rc;

	if (hub.running)
		return 0;
	hub.stop = false;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&hub.thread, NULL, serve, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	hub.running = rc == 0;
	errno = rc;
	return rc ? ps_fail_errno("start the thread that watches mailboxes") : 0;
}

/* Starting and stopping the thread must not overlap. */
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;

/* With `lock`: whether the thread has nothing left to watch, and was told to end. */
static bool end_thread(void)
{
	uint64_t one = 1;

	if (!hub.running || hub.folders > 0)
		return false;
	hub.running = false;
	hub.stop = true;
	if (write(hub.wake, &one, sizeof one) < 0)
		hub.stop = true; /* awake already */
	return true;
}

void watch_detach(struct folder_watch **at)
{
	struct folder_watch *watch = *at;
	bool ends = false;

	if (!watch)
		return;
	pthread_mutex_lock(&starting);
	pthread_mutex_lock(&lock);
	if (hub.pid == getpid()) {
		unlink_watch(watch);
		hub.folders -= watch->parts == FOLDER_PARTS;
		ends = end_thread();
	}
	forget_expected(watch);
	pthread_mutex_unlock(&lock);
	if (ends)
		pthread_join(hub.thread, NULL);
	pthread_mutex_unlock(&starting);
	free(watch->expected);
	free(watch);
	*at = NULL;
}

int maildir_watch(struct ps_mbox *mbox, void (*changed)(void *arg), void *arg, void **ret_watch)
{
	struct waiter *waiter = ps_zalloc(sizeof *waiter);
	struct folder_watch *watch;
	int r;

	pthread_mutex_lock(&starting);
	pthread_mutex_lock(&lock);
	watch = mbox->folder->watch;
	r = watch ? start_thread() : ps_fail(PS_E_UNSUPPORTED, "inotify cannot watch the mailbox");
	if (r == 0) {
		*waiter = (struct waiter){watch->waiters, watch, changed, arg};
		watch->waiters = waiter;
		hub.waiters++;
		if (watch->dirty) {
			watch->dirty = false;
			make_dirty(watch);
		}
	}
	pthread_mutex_unlock(&lock);
	pthread_mutex_unlock(&starting);
	if (r < 0)
		free(waiter);
	else
		*ret_watch = waiter;
	return r;
}

void maildir_unwatch(void *handle)
{
	struct waiter *waiter = handle, **link;

	pthread_mutex_lock(&calls);
	pthread_mutex_lock(&lock);
	for (link = &waiter->watch->waiters; *link != waiter;)
		link = &(*link)->next;
	*link = waiter->next;
	hub.waiters--;
	pthread_mutex_unlock(&lock);
	pthread_mutex_unlock(&calls);
	free(waiter);
}
