/* SPDX-License-Identifier: MIT */
/*
 * core/event/loop.h - the event loop. libuv is below, and seen by loop.c alone.
 *
 * THREADS. A loop belongs to the thread that runs it; all functions are called there, except
 * ps_loop_post(), which any thread may call.
 */
#ifndef CORE_EVENT_LOOP_H
#define CORE_EVENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct ps_loop;
struct ps_watch;
struct ps_timer;

int ps_loop_create(struct ps_loop **ret_loop);
void ps_loop_destroy(struct ps_loop *loop); /* everything on it was closed */
/* Runs until ps_loop_stop(). */
void ps_loop_run(struct ps_loop *loop);
void ps_loop_stop(struct ps_loop *loop);
/* CLOCK_MONOTONIC, milliseconds, as of this turn of the loop. */
uint64_t ps_loop_now(const struct ps_loop *loop);

/* Calls fn(arg) on the loop's thread, soon; in the order posted. Any thread. */
void ps_loop_post(struct ps_loop *loop, void (*fn)(void *arg), void *arg);

/* Watches a descriptor (it stays the caller's, and is closed after ps_watch_close()). Level-triggered. */
enum {
	PS_READABLE = 1,
	PS_WRITABLE = 2,
	PS_HANGUP = 4
};
typedef void (*ps_watch_fn)(void *arg, unsigned events);
int ps_watch_open(struct ps_loop *loop, int fd, ps_watch_fn fn, void *arg, struct ps_watch **ret_watch);
void ps_watch_set(struct ps_watch *watch, unsigned events); /* 0: nothing for now */
/* The function is not called any more, even for events already gathered. close(NULL) does nothing. */
void ps_watch_close(struct ps_watch *watch);

typedef void (*ps_timer_fn)(void *arg);
int ps_timer_open(struct ps_loop *loop, ps_timer_fn fn, void *arg, struct ps_timer **ret_timer);
void ps_timer_set(struct ps_timer *timer, uint64_t after_ms, uint64_t every_ms); /* every 0: once */
void ps_timer_stop(struct ps_timer *timer);
void ps_timer_close(struct ps_timer *timer); /* close(NULL) does nothing */

/* A signal as an event. Blocked ones of other threads are the caller's matter. */
int ps_signal_watch(struct ps_loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg);

#endif
