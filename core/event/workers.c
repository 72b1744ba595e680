/* SPDX-License-Identifier: MIT */
/*
 * Some lanes of jobs, and some threads. The loop's thread puts in; a thread takes out of the lane whose turn it is, runs, and posts
 * the second half back to the loop, whose queue is first come, first served. A lane that has as many threads as it may waits for one of them.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "core/event/workers.h"
#include "postern/error.h"
#include "postern/pool.h"

struct job {
	struct job *next;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

enum {
	LANES = 1024, /* two who share one share their turns */
};

/* Jobs of somebody, in the order they came. */
struct lane {
	struct lane *next; /* whose turn comes after this one's */
	bool queued;       /* it has jobs, and may have one more thread */
	unsigned running;
	struct job *first;
	struct job **last;
};

struct ps_workers {
	struct ps_loop *loop;
	pthread_mutex_t lock; /* guards all below but threads, count, size and tending */
	pthread_cond_t some;  /* there is a job, or the end has come */
	struct lane *first;   /* those that are queued */
	struct lane **last;
	struct lane lanes[LANES], nobodys;
	bool ending;
	unsigned idle;    /* threads that wait for a job */
	unsigned waiting; /* jobs */
	pthread_t *threads;
	unsigned count, size; /* started; asked for */
	struct tending {
		struct ps_timer *timer; /* NULL: nothing is tended */
		void (*work)(void *arg);
		void *arg;
		atomic_bool under_way; /* the thread clears it */
	} tending;
};

/* Somebody's are never all: who waits for a slow disk with each of theirs has left one to the others. */
static unsigned threads_of(const struct ps_workers *workers, const struct lane *lane)
{
	return lane == &workers->nobodys || workers->size == 1 ? workers->size : workers->size - 1;
}

/* Where it is not already, and there is a reason. */
static void queue_lane(struct ps_workers *workers, struct lane *lane)
{
	if (lane->queued || !lane->first || lane->running >= threads_of(workers, lane))
		return;
	lane->queued = true;
	lane->next = NULL;
	*workers->last = lane;
	workers->last = &lane->next;
}

static void add_job(struct ps_workers *workers, struct lane *lane, struct job *job)
{
	if (!lane->first)
		lane->last = &lane->first;
	*lane->last = job;
	lane->last = &job->next;
	workers->waiting++;
	queue_lane(workers, lane);
}

/* Of the lane whose turn it is, which then is the last. NULL: nothing is queued. */
static struct job *take_job(struct ps_workers *workers, struct lane **ret_lane)
{
	struct lane *lane = workers->first;
	struct job *job;

	if (!lane)
		return NULL;
	workers->first = lane->next;
	if (!workers->first)
		workers->last = &workers->first;
	job = lane->first;
	lane->first = job->next;
	lane->queued = false;
	lane->running++;
	workers->waiting--;
	queue_lane(workers, lane);
	*ret_lane = lane;
	return job;
}

/* `lane`: of the job that this thread has done, or NULL; becomes that of the next one. NULL: the end has come and nothing is queued. */
static struct job *next_job(struct ps_workers *workers, struct lane **lane)
{
	struct job *job;

	pthread_mutex_lock(&workers->lock);
	if (*lane) {
		(*lane)->running--;
		queue_lane(workers, *lane);
	}
	workers->idle++;
	while (!workers->first && !workers->ending)
		pthread_cond_wait(&workers->some, &workers->lock);
	workers->idle--;
	job = take_job(workers, lane);
	pthread_mutex_unlock(&workers->lock);
	return job;
}

static void *worker_main(void *arg)
{
	struct ps_workers *workers = arg;
	struct lane *lane = NULL;
	struct job *job;

	while ((job = next_job(workers, &lane)) != NULL) {
		job->work(job->arg);
		ps_loop_post(workers->loop, job->done, job->arg);
		free(job);
	}
	return NULL;
}

static int start_threads(struct ps_workers *workers, unsigned threads)
{
	sigset_t all, before;
	int error = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* threads inherit it: signals go to the loop's thread */
	while (workers->count < threads && error == 0) {
		error = pthread_create(&workers->threads[workers->count], NULL, worker_main, workers);
		if (error == 0)
			workers->count++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error ? ps_fail(PS_E_LIMIT, "start a worker thread: %s", strerror(error)) : 0;
}

int ps_workers_create(struct ps_loop *loop, unsigned threads, struct ps_workers **ret_workers)
{
	struct ps_workers *workers = ps_zalloc(sizeof *workers);
	int r;

	workers->loop = loop;
	workers->last = &workers->first;
	workers->size = threads;
	pthread_mutex_init(&workers->lock, NULL);
	pthread_cond_init(&workers->some, NULL);
	workers->threads = ps_zalloc(threads * sizeof *workers->threads);
	r = start_threads(workers, threads);
	if (r < 0) {
		ps_workers_destroy(workers);
		return r;
	}
	*ret_workers = workers;
	return 0;
}

void ps_workers_destroy(struct ps_workers *workers)
{
	if (!workers)
		return;
	ps_timer_close(workers->tending.timer);
	pthread_mutex_lock(&workers->lock);
	workers->ending = true;
	pthread_cond_broadcast(&workers->some);
	pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->count; i++)
		pthread_join(workers->threads[i], NULL);
	pthread_cond_destroy(&workers->some);
	pthread_mutex_destroy(&workers->lock);
	free(workers->threads);
	free(workers);
}

/* FNV-1a: names are not chosen to meet. */
static uint32_t lane_of(const char *whose)
{
	uint32_t sum = 2166136261u;

	for (const char *c = whose; *c; c++)
		sum = (sum ^ (uint8_t)*c) * 16777619u;
	return sum % LANES;
}

static void run_in(struct ps_workers *workers, struct lane *lane, void (*work)(void *arg), void (*done)(void *arg),
		   void *arg)
{
	struct job *job = ps_malloc(sizeof *job);

	*job = (struct job){.work = work, .done = done, .arg = arg};
	pthread_mutex_lock(&workers->lock);
	add_job(workers, lane, job);
	pthread_mutex_unlock(&workers->lock);
	pthread_cond_signal(&workers->some); /* who wakes up finds the lock free */
}

void ps_workers_run_for(struct ps_workers *workers, const char *whose, void (*work)(void *arg), void (*done)(void *arg),
			void *arg)
{
	run_in(workers, &workers->lanes[lane_of(whose)], work, done, arg);
}

void ps_workers_run(struct ps_workers *workers, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	run_in(workers, &workers->nobodys, work, done, arg);
}

static void tend(void *arg)
{
	struct tending *tending = arg;

	tending->work(tending->arg);
	atomic_store(&tending->under_way, false);
}

/* The workers may be gone by now. */
static void tended(void *arg)
{
	(void)arg;
}

static void on_time_to_tend(void *arg)
{
	struct ps_workers *workers = arg;

	if (!atomic_exchange(&workers->tending.under_way, true))
		ps_workers_run(workers, tend, tended, &workers->tending);
}

int ps_workers_tend(struct ps_workers *workers, unsigned every_ms, void (*work)(void *arg), void *arg)
{
	int r = ps_timer_open(workers->loop, on_time_to_tend, workers, &workers->tending.timer);

	if (r < 0)
		return r;
	workers->tending.work = work;
	workers->tending.arg = arg;
	ps_timer_set(workers->tending.timer, 0, every_ms);
	return 0;
}

bool ps_workers_spare(struct ps_workers *workers)
{
	bool spare;

	pthread_mutex_lock(&workers->lock);
	spare = workers->idle > 0 && workers->waiting == 0;
	pthread_mutex_unlock(&workers->lock);
	return spare;
}
