/* SPDX-License-Identifier: MIT */
/*
 * The event loop over libuv. Handles are closed in two steps there (uv_close(), then a callback),
 * so each object here is freed in that callback and its function is forgotten at once.
 */
#include <pthread.h>
#include <stdlib.h>
#include <uv.h>
#include "core/event/loop.h"
#include "postern/error.h"
#include "postern/pool.h"

struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

struct ps_loop {
	uv_loop_t uv;
	uv_async_t async;
	pthread_mutex_t lock; /* guards first and last, and nothing else */
	struct post *first;
	struct post **last;
};

struct ps_watch {
	uv_poll_t poll;
	ps_watch_fn fn; /* NULL: closed */
	void *arg;
	unsigned events; /* as libuv has them now */
};

struct ps_timer {
	uv_timer_t timer;
	ps_timer_fn fn;
	void *arg;
};

struct signal_watch {
	uv_signal_t signal;
	void (*fn)(void *arg, int signum);
	void *arg;
};

static const struct {
	unsigned ours;
	int uvs;
} event_bits[] = {
	{PS_READABLE, UV_READABLE},
	{PS_WRITABLE, UV_WRITABLE},
	{PS_HANGUP, UV_DISCONNECT},
};

static void free_handle(uv_handle_t *handle)
{
	free(handle->data);
}

static struct post *take_posts(struct ps_loop *loop)
{
	struct post *first;

	pthread_mutex_lock(&loop->lock);
	first = loop->first;
	loop->first = NULL;
	loop->last = &loop->first;
	pthread_mutex_unlock(&loop->lock);
	return first;
}

static void run_posts(uv_async_t *async)
{
	struct post *post = take_posts(async->data);

	while (post) {
		struct post *next = post->next;

		post->fn(post->arg);
		free(post);
		post = next;
	}
}

int ps_loop_create(struct ps_loop **ret_loop)
{
	struct ps_loop *loop = ps_zalloc(sizeof *loop);
	int r = uv_loop_init(&loop->uv);

	if (r < 0) {
		free(loop);
		return ps_fail(PS_E_LIMIT, "event loop: %s", uv_strerror(r));
	}
	r = uv_async_init(&loop->uv, &loop->async, run_posts);
	if (r < 0) {
		uv_loop_close(&loop->uv);
		free(loop);
		return ps_fail(PS_E_LIMIT, "event loop: %s", uv_strerror(r));
	}
	loop->async.data = loop;
	loop->last = &loop->first;
	pthread_mutex_init(&loop->lock, NULL);
	*ret_loop = loop;
	return 0;
}

static void close_left(uv_handle_t *handle, void *arg)
{
	struct ps_loop *loop = arg;

	if (!uv_is_closing(handle))
		uv_close(handle, handle == (uv_handle_t *)&loop->async ? NULL : free_handle);
}

void ps_loop_destroy(struct ps_loop *loop)
{
	struct post *post;

	if (!loop)
		return;
	uv_walk(&loop->uv, close_left, loop); /* signals have no close of their own */
	/* A stop that no run has seen yet ends the first of these before the handles are closed. */
	do
		uv_run(&loop->uv, UV_RUN_DEFAULT);
	while (uv_loop_close(&loop->uv) == UV_EBUSY);
	/* What they would act on is gone already. */
	for (post = take_posts(loop); post;) {
		struct post *next = post->next;

		free(post);
		post = next;
	}
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

void ps_loop_run(struct ps_loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void ps_loop_stop(struct ps_loop *loop)
{
	uv_stop(&loop->uv);
}

uint64_t ps_loop_now(const struct ps_loop *loop)
{
	return uv_now(&loop->uv);
}

void ps_loop_post(struct ps_loop *loop, void (*fn)(void *arg), void *arg)
{
	struct post *post = ps_malloc(sizeof *post);

	*post = (struct post){.fn = fn, .arg = arg};
	pthread_mutex_lock(&loop->lock);
	*loop->last = post;
	loop->last = &post->next;
	pthread_mutex_unlock(&loop->lock);
	uv_async_send(&loop->async);
}

static int to_uv(unsigned events)
{
	int uvs = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(event_bits); i++)
		if (events & event_bits[i].ours)
			uvs |= event_bits[i].uvs;
	return uvs;
}

static unsigned from_uv(int uvs)
{
	unsigned events = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(event_bits); i++)
		if (uvs & event_bits[i].uvs)
			events |= event_bits[i].ours;
	return events;
}

static void on_poll(uv_poll_t *poll, int status, int uvs)
{
	struct ps_watch *watch = poll->data;

	if (!watch->fn)
		return;
	if (status < 0) {
		/* An error is pending on the descriptor and libuv has stopped polling it; whoever
		 * reads or writes now is told which. */
		watch->events = 0;
		watch->fn(watch->arg, PS_READABLE | PS_WRITABLE | PS_HANGUP);
		return;
	}
	watch->fn(watch->arg, from_uv(uvs));
}

int ps_watch_open(struct ps_loop *loop, int fd, ps_watch_fn fn, void *arg, struct ps_watch **ret_watch)
{
	struct ps_watch *watch = ps_zalloc(sizeof *watch);
	int r = uv_poll_init(&loop->uv, &watch->poll, fd);

	if (r < 0) {
		free(watch);
		return ps_fail(PS_E_LIMIT, "watch a descriptor: %s", uv_strerror(r));
	}
	watch->poll.data = watch;
	watch->fn = fn;
	watch->arg = arg;
	*ret_watch = watch;
	return 0;
}

void ps_watch_set(struct ps_watch *watch, unsigned events)
{
	/* Each change costs two system calls in libuv. */
	if (watch->events == events)
		return;
	watch->events = events;
	if (events == 0)
		uv_poll_stop(&watch->poll);
	else
		uv_poll_start(&watch->poll, to_uv(events), on_poll);
}

void ps_watch_close(struct ps_watch *watch)
{
	if (!watch)
		return;
	watch->fn = NULL;
	uv_close((uv_handle_t *)&watch->poll, free_handle);
}

static void on_timer(uv_timer_t *timer)
{
	struct ps_timer *t = timer->data;

	if (t->fn)
		t->fn(t->arg);
}

int ps_timer_open(struct ps_loop *loop, ps_timer_fn fn, void *arg, struct ps_timer **ret_timer)
{
	struct ps_timer *t = ps_zalloc(sizeof *t);
	int r = uv_timer_init(&loop->uv, &t->timer);

	if (r < 0) {
		free(t);
		return ps_fail(PS_E_LIMIT, "timer: %s", uv_strerror(r));
	}
	t->timer.data = t;
	t->fn = fn;
	t->arg = arg;
	*ret_timer = t;
	return 0;
}

void ps_timer_set(struct ps_timer *timer, uint64_t after_ms, uint64_t every_ms)
{
	uv_timer_start(&timer->timer, on_timer, after_ms, every_ms);
}

void ps_timer_stop(struct ps_timer *timer)
{
	uv_timer_stop(&timer->timer);
}

void ps_timer_close(struct ps_timer *timer)
{
	if (!timer)
		return;
	timer->fn = NULL;
	uv_close((uv_handle_t *)&timer->timer, free_handle);
}

static void on_signal(uv_signal_t *signal, int signum)
{
	struct signal_watch *watch = signal->data;

	watch->fn(watch->arg, signum);
}

int ps_signal_watch(struct ps_loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg)
{
	struct signal_watch *watch = ps_zalloc(sizeof *watch);
	int r = uv_signal_init(&loop->uv, &watch->signal);

	if (r < 0) {
		free(watch);
		return ps_fail(PS_E_LIMIT, "signal %d: %s", signum, uv_strerror(r));
	}
	watch->signal.data = watch;
	watch->fn = fn;
	watch->arg = arg;
	r = uv_signal_start(&watch->signal, on_signal, signum);
	if (r < 0) {
		uv_close((uv_handle_t *)&watch->signal, free_handle);
		return ps_fail(PS_E_INVALID, "signal %d: %s", signum, uv_strerror(r));
	}
	return 0;
}
