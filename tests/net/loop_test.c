/* SPDX-License-Identifier: MIT */
/* The event loop and the worker threads. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/event/loop.h"
#include "core/event/workers.h"
#include "tests/unit.h"

enum {
	POSTERS = 4,
	POSTS = 2000
};

static struct ps_loop *loop;

static void setup(void)
{
	ck_assert_ok(ps_loop_create(&loop));
}

static void teardown(void)
{
	ps_loop_destroy(loop);
}

struct poster {
	pthread_t thread;
	unsigned sent, seen; /* seen: by the loop's thread alone */
	unsigned *left;
	struct numbered {
		struct poster *from;
		unsigned number;
	} posts[POSTS];
};

static void on_post(void *arg)
{
	struct numbered *post = arg;

	ck_assert_uint_eq(post->number, post->from->seen); /* in the order posted */
	post->from->seen++;
	if (--*post->from->left == 0)
		ps_loop_stop(loop);
}

static void *poster_main(void *arg)
{
	struct poster *poster = arg;

	for (; poster->sent < POSTS; poster->sent++) {
		poster->posts[poster->sent] = (struct numbered){poster, poster->sent};
		ps_loop_post(loop, on_post, &poster->posts[poster->sent]);
	}
	return NULL;
}

START_TEST(posts_of_many_threads_all_come_and_keep_their_order)
{
	static struct poster posters[POSTERS];
	unsigned left = POSTERS * POSTS;

	for (int i = 0; i < POSTERS; i++) {
		posters[i].left = &left;
		ck_assert_int_eq(pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]), 0);
	}
	ps_loop_run(loop);
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(posters[i].thread, NULL);
		ck_assert_uint_eq(posters[i].seen, POSTS);
	}
}
END_TEST

struct ticks {
	struct ps_timer *timer;
	char *log;
	char name;
	unsigned count, stop_after;
};

static void on_tick(void *arg)
{
	struct ticks *ticks = arg;
	size_t len = strlen(ticks->log);

	ticks->log[len] = ticks->name;
	ticks->log[len + 1] = '\0';
	if (++ticks->count == ticks->stop_after)
		ps_loop_stop(loop);
}

START_TEST(timers_fire_in_the_order_of_their_times_and_stopped_ones_never)
{
	char log[32] = "";
	struct ticks ticks[] = {{.log = log, .name = 'c', .stop_after = 1},
				{.log = log, .name = 'a'},
				{.log = log, .name = 'b'},
				{.log = log, .name = 'x'}};
	static const unsigned after[] = {30, 1, 2, 1};

	for (size_t i = 0; i < PS_ARRAY_LEN(ticks); i++) {
		ck_assert_ok(ps_timer_open(loop, on_tick, &ticks[i], &ticks[i].timer));
		ps_timer_set(ticks[i].timer, after[i], 0);
	}
	ps_timer_stop(ticks[3].timer);
	ps_loop_run(loop);
	ck_assert_str_eq(log, "abc");
	for (size_t i = 0; i < PS_ARRAY_LEN(ticks); i++)
		ps_timer_close(ticks[i].timer);
}
END_TEST

START_TEST(a_repeating_timer_goes_on)
{
	char log[32] = "";
	struct ticks ticks = {.log = log, .name = 't', .stop_after = 3};

	ck_assert_ok(ps_timer_open(loop, on_tick, &ticks, &ticks.timer));
	ps_timer_set(ticks.timer, 1, 1);
	ps_loop_run(loop);
	ck_assert_str_eq(log, "ttt");
	ps_timer_close(ticks.timer);
}
END_TEST

static void stop_loop(void *arg)
{
	ps_loop_stop(arg);
}

struct pair {
	struct ps_watch *watch[2];
	int fds[2];
	unsigned calls;
};

static void close_both(void *arg, unsigned events)
{
	struct pair *pair = arg;

	ck_assert(events & PS_READABLE);
	pair->calls++;
	ps_watch_close(pair->watch[0]);
	ps_watch_close(pair->watch[1]);
	ps_loop_post(loop, stop_loop, loop);
}

START_TEST(a_closed_watch_is_not_called_even_for_gathered_events)
{
	struct pair pair = {.calls = 0};

	/* Both ends are readable in one turn; the first to be called closes both. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair.fds), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(write(pair.fds[i], "x", 1), 1);
		ck_assert_ok(ps_watch_open(loop, pair.fds[i], close_both, &pair, &pair.watch[i]));
		ps_watch_set(pair.watch[i], PS_READABLE);
	}
	ps_loop_run(loop);
	ck_assert_uint_eq(pair.calls, 1);
	close(pair.fds[0]);
	close(pair.fds[1]);
}
END_TEST

static void note_events(void *arg, unsigned events)
{
	*(unsigned *)arg = events;
	ps_loop_stop(loop);
}

START_TEST(a_hangup_is_told)
{
	struct ps_watch *watch;
	unsigned events = 0;
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_ok(ps_watch_open(loop, fds[0], note_events, &events, &watch));
	ps_watch_set(watch, PS_HANGUP);
	close(fds[1]);
	ps_loop_run(loop);
	ck_assert(events & PS_HANGUP);
	ps_watch_close(watch);
	close(fds[0]);
}
END_TEST

static void note_signal(void *arg, int signum)
{
	*(int *)arg = signum;
	ps_loop_stop(loop);
}

START_TEST(a_signal_is_an_event)
{
	int seen = 0;

	ck_assert_ok(ps_signal_watch(loop, SIGUSR1, note_signal, &seen));
	raise(SIGUSR1);
	ps_loop_run(loop);
	ck_assert_int_eq(seen, SIGUSR1);
}
END_TEST

struct task {
	struct tasks *all;
	pthread_t worker;
	bool worked, signals_blocked;
};

struct tasks {
	pthread_t loop_thread;
	unsigned left;
	struct task list[200];
};

static void task_work(void *arg)
{
	struct task *task = arg;
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	task->signals_blocked = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGPIPE);
	task->worker = pthread_self();
	task->worked = true;
}

static void task_done(void *arg)
{
	struct task *task = arg;

	ck_assert(task->worked && task->signals_blocked);
	ck_assert(pthread_equal(pthread_self(), task->all->loop_thread));
	ck_assert(!pthread_equal(task->worker, task->all->loop_thread));
	if (--task->all->left == 0)
		ps_loop_stop(loop);
}

START_TEST(work_runs_on_a_thread_and_ends_on_the_loop)
{
	static struct tasks tasks;
	struct ps_workers *workers;

	ck_assert_ok(ps_workers_create(loop, 3, &workers));
	tasks.loop_thread = pthread_self();
	tasks.left = PS_ARRAY_LEN(tasks.list);
	for (size_t i = 0; i < PS_ARRAY_LEN(tasks.list); i++) {
		tasks.list[i].all = &tasks;
		ps_workers_run(workers, task_work, task_done, &tasks.list[i]);
	}
	ps_loop_run(loop);
	ps_workers_destroy(workers);
}
END_TEST

START_TEST(what_is_queued_is_worked_off_before_the_end)
{
	static struct tasks tasks;
	struct ps_workers *workers;

	ck_assert_ok(ps_workers_create(loop, 2, &workers));
	for (size_t i = 0; i < PS_ARRAY_LEN(tasks.list); i++)
		ps_workers_run(workers, task_work, task_done, &tasks.list[i]);
	ps_workers_destroy(workers);
	for (size_t i = 0; i < PS_ARRAY_LEN(tasks.list); i++)
		ck_assert(tasks.list[i].worked);
}
END_TEST

/* The third time is begun when the second is over, and that waits until the time for it has come often. */
static atomic_uint tended, tending;
static unsigned passed;

static void tend(void *arg)
{
	const atomic_bool *enough = arg;

	ck_assert_uint_eq(atomic_fetch_add(&tending, 1), 0);
	while (atomic_load(&tended) == 1 && !atomic_load(enough))
		sched_yield();
	atomic_fetch_sub(&tending, 1);
	atomic_fetch_add(&tended, 1);
}

static void count_passed(void *arg)
{
	atomic_store((atomic_bool *)arg, ++passed >= 10);
	if (atomic_load(&tended) >= 3)
		ps_loop_stop(loop);
}

START_TEST(what_is_tended_is_tended_again_and_not_twice_at_once)
{
	static atomic_bool enough;
	struct ps_workers *workers;
	struct ps_timer *timer;

	ck_assert_ok(ps_workers_create(loop, 3, &workers));
	ck_assert_ok(ps_workers_tend(workers, 1, tend, &enough));
	ck_assert_ok(ps_timer_open(loop, count_passed, &enough, &timer));
	ps_timer_set(timer, 2, 2);
	ps_loop_run(loop);
	ps_timer_close(timer);
	ps_workers_destroy(workers);
	ck_assert_uint_ge(tended, 3);
}
END_TEST

struct look {
	struct ps_workers *workers;
	atomic_bool spare, queued, over;
};

/* It never ends where a thread without work is not spare, or one that works is. */
static void look_for_the_other(void *arg)
{
	struct look *look = arg;

	while (!ps_workers_spare(look->workers))
		sched_yield();
	atomic_store(&look->spare, true);
	while (!atomic_load(&look->queued) || ps_workers_spare(look->workers))
		sched_yield();
	atomic_store(&look->over, true);
}

static void keep_busy(void *arg)
{
	struct look *look = arg;

	while (!atomic_load(&look->over))
		sched_yield();
}

static void ignore_done(void *arg)
{
	(void)arg;
}

struct turns {
	atomic_bool queued;
	char order[8];
	size_t count;
};

struct turn {
	struct turns *all;
	char name;
};

static void wait_for_the_others(void *arg)
{
	struct turns *turns = arg;

	while (!atomic_load(&turns->queued))
		sched_yield();
}

static void take_turn(void *arg)
{
	struct turn *turn = arg;

	turn->all->order[turn->all->count++] = turn->name;
}

START_TEST(who_has_much_to_do_does_not_hold_up_who_has_little)
{
	struct turns turns = {0};
	struct turn much = {&turns, 'm'}, little = {&turns, 'l'};
	struct ps_workers *workers;

	ck_assert_ok(ps_workers_create(loop, 1, &workers));
	ps_workers_run_for(workers, "much", wait_for_the_others, ignore_done, &turns);
	for (int i = 0; i < 4; i++)
		ps_workers_run_for(workers, "much", take_turn, ignore_done, &much);
	ps_workers_run_for(workers, "little", take_turn, ignore_done, &little);
	ps_workers_run_for(workers, "little", take_turn, ignore_done, &little);
	atomic_store(&turns.queued, true);
	ps_workers_destroy(workers);
	ck_assert(strcmp(turns.order, "mlmlmm") == 0 ||
		  strcmp(turns.order, "lmlmmm") == 0); /* whether the first was begun */
}
END_TEST

static void let_them_go(void *arg)
{
	struct turns *turns = arg;

	atomic_store(&turns->queued, true);
}

START_TEST(who_waits_with_all_they_have_leaves_one_to_others)
{
	struct turns turns = {0};
	struct turn last = {&turns, 's'};
	struct ps_workers *workers;

	ck_assert_ok(ps_workers_create(loop, 3, &workers));
	for (int i = 0; i < 6; i++)
		ps_workers_run_for(workers, "slow", wait_for_the_others, ignore_done, &turns);
	ps_workers_run_for(workers, "slow", take_turn, ignore_done, &last);
	ps_workers_run_for(workers, "other", let_them_go, ignore_done, &turns);
	ps_workers_destroy(workers);
	ck_assert_str_eq(turns.order, "s");
}
END_TEST

START_TEST(a_thread_is_spare_when_it_has_nothing_to_do)
{
	struct look look = {0};

	ck_assert_ok(ps_workers_create(loop, 2, &look.workers));
	ps_workers_run(look.workers, look_for_the_other, ignore_done, &look);
	while (!atomic_load(&look.spare))
		sched_yield();
	ps_workers_run(look.workers, keep_busy, ignore_done, &look);
	atomic_store(&look.queued, true);
	ps_workers_destroy(look.workers);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop");
	TCase *tcase = tcase_create("loop");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, posts_of_many_threads_all_come_and_keep_their_order);
	tcase_add_test(tcase, timers_fire_in_the_order_of_their_times_and_stopped_ones_never);
	tcase_add_test(tcase, a_repeating_timer_goes_on);
	tcase_add_test(tcase, a_closed_watch_is_not_called_even_for_gathered_events);
	tcase_add_test(tcase, a_hangup_is_told);
	tcase_add_test(tcase, a_signal_is_an_event);
	tcase_add_test(tcase, work_runs_on_a_thread_and_ends_on_the_loop);
	tcase_add_test(tcase, what_is_queued_is_worked_off_before_the_end);
	tcase_add_test(tcase, what_is_tended_is_tended_again_and_not_twice_at_once);
	tcase_add_test(tcase, who_has_much_to_do_does_not_hold_up_who_has_little);
	tcase_add_test(tcase, who_waits_with_all_they_have_leaves_one_to_others);
	tcase_add_test(tcase, a_thread_is_spare_when_it_has_nothing_to_do);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
