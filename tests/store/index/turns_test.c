/* SPDX-License-Identifier: MIT */
/*
 * Indexes of several stores that are opened and closed at once, while a disk does not answer. Nothing is measured: what must not wait is
 * waited for before the disk answers.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "core/store/index/renew.h"
#include "postern/index.h"
#include "postern/io.h"
#include "tests/unit.h"

static char top[64], alice[80], bob[80];

/* The disk of one thread: a sync says that it has come, and waits. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t news;
	bool waits, answers;
	int error; /* what it answers; 0: done */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};
static _Thread_local bool on_the_disk;

static int sync_slowly(int fd)
{
	int error;

	(void)fd;
	if (!on_the_disk)
		return 0;
	pthread_mutex_lock(&disk.lock);
	disk.waits = true;
	pthread_cond_broadcast(&disk.news);
	while (!disk.answers)
		pthread_cond_wait(&disk.news, &disk.lock);
	error = disk.error;
	pthread_mutex_unlock(&disk.lock);
	errno = error;
	return error ? -1 : 0;
}

static void await_disk(void)
{
	pthread_mutex_lock(&disk.lock);
	while (!disk.waits)
		pthread_cond_wait(&disk.news, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

static void let_disk_answer(int error)
{
	pthread_mutex_lock(&disk.lock);
	disk.answers = true;
	disk.error = error;
	pthread_cond_broadcast(&disk.news);
	pthread_mutex_unlock(&disk.lock);
}

static void setup(void)
{
	snprintf(top, sizeof top, "/tmp/postern-turns-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(alice, sizeof alice, "%s/alice", top);
	snprintf(bob, sizeof bob, "%s/bob", top);
	ps_io.fsync = ps_io.fdatasync = sync_slowly;
}

static void teardown(void)
{
	unit_remove(top);
}

static struct ps_index *open_at(const char *path)
{
	struct ps_index *index;
	bool fresh;

	ck_assert_ok(ps_index_open(path, &index, &fresh));
	return index;
}

static void put(struct ps_index *index, uint64_t number)
{
	struct ps_index_txn *txn;

	ck_assert_ok(ps_index_write(index, &txn));
	ck_assert_ok(ps_index_number_put(txn, "number", number));
	ck_assert_ok(ps_index_commit(txn));
}

static uint64_t get(struct ps_index *index)
{
	struct ps_index_txn *txn;
	uint64_t number;

	ck_assert_ok(ps_index_read(index, &txn));
	ck_assert_ok(ps_index_number(txn, "number", &number));
	ps_index_end(txn);
	return number;
}

static void serve_bob(void)
{
	struct ps_index *index = open_at(bob);

	put(index, 7);
	ck_assert_uint_eq(get(index), 7);
	ps_index_close(index);
}

/* What a thread does, and what came of it. */
struct visit {
	pthread_t thread;
	bool slow;
	struct ps_index *index; /* opened; or to be closed */
	int r;
	atomic_bool over;
};

static void *visit_open(void *arg)
{
	struct visit *visit = arg;
	bool fresh;

	on_the_disk = visit->slow;
	visit->r = ps_index_open(alice, &visit->index, &fresh);
	atomic_store(&visit->over, true);
	return NULL;
}

static void *visit_close(void *arg)
{
	struct visit *visit = arg;

	on_the_disk = visit->slow;
	ps_index_close(visit->index);
	atomic_store(&visit->over, true);
	return NULL;
}

static void start(struct visit *visit, void *(*fn)(void *arg))
{
	ck_assert_int_eq(pthread_create(&visit->thread, NULL, fn, visit), 0);
}

/* The disk lets `slow` wait for its answer, and bob does not wait; `other` (NULL: nobody), who opens meanwhile, comes after that. */
static void come(struct visit *slow, void *(*fn)(void *arg), struct visit *other, int answer)
{
	slow->slow = true;
	start(slow, fn);
	await_disk();
	if (other)
		start(other, visit_open);
	serve_bob();
	ck_assert(!atomic_load(&slow->over));
	ck_assert(!other || !atomic_load(&other->over));
	let_disk_answer(answer);
	pthread_join(slow->thread, NULL);
	if (other)
		pthread_join(other->thread, NULL);
}

START_TEST(others_are_served_while_one_opens)
{
	struct visit slow = {0};

	come(&slow, visit_open, NULL, 0);
	ck_assert_ok(slow.r);
	ps_index_close(slow.index);
}
END_TEST

START_TEST(others_are_served_while_one_closes)
{
	struct visit slow = {.index = open_at(alice)};

	put(slow.index, 1);
	come(&slow, visit_close, NULL, 0);
}
END_TEST

START_TEST(two_who_open_it_share_it)
{
	struct visit slow = {0}, other = {0};

	come(&slow, visit_open, &other, 0);
	ck_assert_ok(slow.r);
	ck_assert_ok(other.r);
	ck_assert_ptr_eq(slow.index, other.index);
	ps_index_close(slow.index);
	put(other.index, 2);
	ps_index_close(other.index);
}
END_TEST

START_TEST(who_waited_for_one_that_failed_tries_it_anew)
{
	struct visit slow = {0}, other = {0};

	come(&slow, visit_open, &other, EIO);
	ck_assert_int_eq(slow.r, PS_E_STORAGE);
	ck_assert_ok(other.r);
	put(other.index, 3);
	ps_index_close(other.index);
}
END_TEST

START_TEST(who_opens_what_is_being_closed_comes_after_that)
{
	struct visit slow = {.index = open_at(alice)}, other = {0};

	put(slow.index, 4);
	come(&slow, visit_close, &other, 0);
	ck_assert_ok(other.r);
	ck_assert_uint_eq(get(other.index), 4);
	ps_index_close(other.index);
}
END_TEST

/* One that lies in a folder with others, by a name without one, and where there is none. */
START_TEST(a_durable_one_is_found_by_its_folder)
{
	const struct ps_index_how how = {.map = 1 << 20};
	struct ps_index *one, *other;

	ck_assert_int_eq(chdir(top), 0);
	ck_assert_ok(ps_index_open_durable("mail.mdb", &how, &one));
	ck_assert_ok(ps_index_open_durable("./mail.mdb", &how, &other));
	ck_assert_ptr_eq(one, other);
	ps_index_close(one);
	ck_assert_ok(ps_index_open_durable("other.mdb", &how, &one));
	ck_assert_ptr_ne(one, other);
	ps_index_close(one);
	ps_index_close(other);
	ck_assert_int_lt(ps_index_open_durable("nowhere/mail.mdb", &how, &one), 0);
	ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

enum {
	GUESTS = 4,
	ROUNDS = 60
};

static void *come_and_go(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		struct ps_index *index = open_at(i % 3 ? alice : bob);

		put(index, i);
		ck_assert_uint_gt(get(index), 0);
		ps_index_close(index);
		if (i % 8 == 0)
			ps_indexes_renew(0);
	}
	return NULL;
}

START_TEST(many_come_and_go_while_they_are_opened_anew)
{
	unit_threads(GUESTS, come_and_go, NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("turns");
	TCase *tc = tcase_create("turns");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, others_are_served_while_one_opens);
	tcase_add_test(tc, others_are_served_while_one_closes);
	tcase_add_test(tc, two_who_open_it_share_it);
	tcase_add_test(tc, who_waited_for_one_that_failed_tries_it_anew);
	tcase_add_test(tc, who_opens_what_is_being_closed_comes_after_that);
	tcase_add_test(tc, a_durable_one_is_found_by_its_folder);
	tcase_add_test(tc, many_come_and_go_while_they_are_opened_anew);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
