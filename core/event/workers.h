/* SPDX-License-Identifier: MIT */
/*
 * core/event/workers.h - a small pool of threads for work that blocks.
 */
#ifndef CORE_EVENT_WORKERS_H
#define CORE_EVENT_WORKERS_H

#include "core/event/loop.h"

struct ps_workers;

/* All signals are blocked in the threads. */
int ps_workers_create(struct ps_loop *loop, unsigned threads, struct ps_workers **ret_workers);
/* Waits for what runs; what is queued is run too. */
void ps_workers_destroy(struct ps_workers *workers);
/* Runs work(arg) on a thread, then done(arg) on the loop. First come, first served. Loop thread only. */
void ps_workers_run(struct ps_workers *workers, void (*work)(void *arg), void (*done)(void *arg), void *arg);
/* The same on behalf of somebody: those who have work waiting take turns, and each has theirs done in the order it came, so who has
 * much does not hold up who has little. Nobody has all threads at once, if there are several. */
void ps_workers_run_for(struct ps_workers *workers, const char *whose, void (*work)(void *arg), void (*done)(void *arg),
			void *arg);
/* Runs it as soon as the loop does, and then so often, for as long as there are workers; not while the last time is not over. Loop thread only,
 * once. */
int ps_workers_tend(struct ps_workers *workers, unsigned every_ms, void (*work)(void *arg), void *arg);
/* Whether a thread waits for work and no work waits. Any thread. */
bool ps_workers_spare(struct ps_workers *workers);

#endif
