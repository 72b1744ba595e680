/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include "core/store/mailbox.h"
#include "core/store/watch.h"
#include "postern/log.h"

enum {
	LOOK_EVERY_SECONDS = 2,
	LOOK_AT_ALL_EVERY = 5 /* turns: a store that has moved does not call */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t news; /* a backend has called */
	struct ps_mailbox *mailboxes;
	bool running; /* the thread; it ends when there was no mailbox for a while */
} watcher = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_once(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&watcher.news, &attr);
	pthread_condattr_destroy(&attr);
}

/* Mailboxes to look at in one turn, each with a reference to it and its user. */
struct turn {
	struct ps_mailbox **mailboxes;
	size_t count, cap;
	unsigned number; /* of those that were not called for */
};

static void turn_add(struct turn *turn, struct ps_mailbox *mailbox)
{
	if (turn->count == turn->cap) {
		turn->cap = turn->cap ? turn->cap * 2 : 16;
		turn->mailboxes = ps_realloc(turn->mailboxes, turn->cap * sizeof(struct ps_mailbox *));
	}
	ps_user_ref(mailbox->user);
	turn->mailboxes[turn->count++] = ps_mailbox_ref(mailbox);
}

/* With the lock. `all`: the two seconds are over. */
static void turn_gather(struct turn *turn, bool all)
{
	bool watched = all && ++turn->number % LOOK_AT_ALL_EVERY == 0;

	turn->count = 0;
	for (struct ps_mailbox *m = watcher.mailboxes; m; m = m->watch_next) {
		if (m->outside || (all && !m->watch) || watched)
			turn_add(turn, m);
		m->outside = false;
	}
}

/* With the lock. */
static bool somebody_called(void)
{
	for (const struct ps_mailbox *m = watcher.mailboxes; m; m = m->watch_next)
		if (m->outside)
			return true;
	return false;
}

/* A view follows its store in its own thread. */
static void look(struct ps_mailbox *mailbox)
{
	int r = ps_user_check_moved(mailbox->user) ? PS_E_MOVED : ps_user_look(mailbox->user, mailbox->mbox);

	if (r == PS_E_MOVED)
		ps_mailbox_notify(mailbox, NULL);
	else if (r < 0 && r != PS_E_GONE)
		ps_log(PS_LOG_WARNING, "mailbox_look_failed", "user", mailbox->user->name, "error", ps_last_error(),
		       NULL);
	else
		ps_mailbox_refresh(mailbox, NULL);
}

static void turn_run(struct turn *turn)
{
	for (size_t i = 0; i < turn->count; i++) {
		struct ps_mailbox *mailbox = turn->mailboxes[i];
		struct ps_user *user = mailbox->user;

		look(mailbox);
		ps_mailbox_close(mailbox);
		ps_user_close(user);
	}
}

static void *watch_thread(void *arg)
{
	struct turn turn = {0};
	struct timespec next;
	bool all;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &next);
	next.tv_sec += LOOK_EVERY_SECONDS;
	pthread_mutex_lock(&watcher.lock);
	do {
		all = !somebody_called() && pthread_cond_timedwait(&watcher.news, &watcher.lock, &next) == ETIMEDOUT;
		turn_gather(&turn, all);
		pthread_mutex_unlock(&watcher.lock);
		turn_run(&turn);
		if (all) {
			clock_gettime(CLOCK_MONOTONIC, &next);
			next.tv_sec += LOOK_EVERY_SECONDS;
		}
		pthread_mutex_lock(&watcher.lock);
	} while (watcher.mailboxes || !all); /* clients select one mailbox after the other */
	watcher.running = false;
	pthread_mutex_unlock(&watcher.lock);
	free(turn.mailboxes);
	return NULL;
}

/* With the lock. */
static void start_thread(void)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	if (watcher.running)
		return;
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attr, watch_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	watcher.running = error == 0;
	if (error)
		ps_log(PS_LOG_WARNING, "watch_thread_failed", "error", strerror(error), NULL);
}

/* From any thread of the backend's. */
static void on_outside(void *arg)
{
	struct ps_mailbox *mailbox = arg;

	pthread_mutex_lock(&watcher.lock);
	mailbox->outside = true;
	pthread_cond_signal(&watcher.news);
	pthread_mutex_unlock(&watcher.lock);
}

void ps_watch_add(struct ps_mailbox *mailbox)
{
	const struct ps_backend *ops = mailbox->user->ops;
	void *watch = NULL;
	bool first;

	pthread_once(&once, init_once);
	pthread_mutex_lock(&watcher.lock);
	first = mailbox->watchers++ == 0;
	if (first) {
		mailbox->watch_next = watcher.mailboxes;
		watcher.mailboxes = mailbox;
		start_thread();
	}
	pthread_mutex_unlock(&watcher.lock);
	/* Without the lock: the backend may call at once. If it cannot watch, it is asked. */
	if (!first || !ops->watch || ops->watch(mailbox->mbox, on_outside, mailbox, &watch) < 0)
		return;
	pthread_mutex_lock(&watcher.lock);
	if (mailbox->watchers > 0 && !mailbox->watch) {
		mailbox->watch = watch;
		watch = NULL;
	}
	pthread_mutex_unlock(&watcher.lock);
	if (watch)
		ops->unwatch(watch);
}

void ps_watch_remove(struct ps_mailbox *mailbox)
{
	struct ps_mailbox **at = &watcher.mailboxes;
	void *watch = NULL;

	pthread_mutex_lock(&watcher.lock);
	if (--mailbox->watchers == 0) {
		while (*at != mailbox)
			at = &(*at)->watch_next;
		*at = mailbox->watch_next;
		watch = mailbox->watch;
		mailbox->watch = NULL;
	}
	pthread_mutex_unlock(&watcher.lock);
	if (watch)
		mailbox->user->ops->unwatch(watch);
}
