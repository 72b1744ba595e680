/* SPDX-License-Identifier: MIT */
/* Counts of several processes, all in this one: what they share is memory. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/net/counts.h"
#include "tests/unit.h"

enum {
	FRONTS = 3
};

static struct counts *fronts[FRONTS];

static int make_table(void)
{
	int fd = memfd_create("counts", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, counts_table_size), 0);
	return fd;
}

/* As master introduces a new one to all. */
static void introduce(uint32_t index)
{
	int fd = make_table();

	for (uint32_t i = 0; i < FRONTS; i++)
		if (fronts[i])
			ck_assert_ok(counts_share(fronts[i], index, i == index, 12345, fd));
	close(fd);
}

static void setup(void)
{
	for (uint32_t i = 0; i < FRONTS; i++)
		fronts[i] = counts_create();
	for (uint32_t i = 0; i < FRONTS; i++)
		introduce(i);
}

static void teardown(void)
{
	for (uint32_t i = 0; i < FRONTS; i++)
		counts_destroy(fronts[i]);
}

static struct address address(uint32_t n)
{
	struct address a = {.counted = true};

	memcpy(a.octets + 12, &n, sizeof n);
	return a;
}

START_TEST(an_address_has_so_many_in_all_of_them)
{
	struct address one = address(1), two = address(2), unix_socket = {.counted = false};

	for (int i = 0; i < 5; i++)
		ck_assert(counts_add(fronts[i % FRONTS], &one, 5));
	for (int i = 0; i < FRONTS; i++) {
		ck_assert(!counts_add(fronts[i], &one, 5));
		ck_assert(counts_add(fronts[i], &two, 5));
		for (int n = 0; n < 10; n++)
			ck_assert(counts_add(fronts[i], &unix_socket, 5));
	}
	counts_drop(fronts[1], &one);
	counts_drop(fronts[2], &unix_socket);
	ck_assert(counts_add(fronts[2], &one, 5));
	ck_assert(!counts_add(fronts[0], &one, 5));
	ck_assert(counts_add(fronts[0], &one, 0)); /* no limit; it counts */
	counts_drop(fronts[0], &one);
	ck_assert(!counts_add(fronts[0], &one, 5));
	ck_assert(counts_add(fronts[0], &one, 6));
}
END_TEST

START_TEST(what_a_dead_one_had_is_over)
{
	struct address one = address(1);

	ck_assert(counts_add(fronts[0], &one, 3));
	ck_assert(counts_add(fronts[1], &one, 3));
	ck_assert(counts_add(fronts[1], &one, 3));
	ck_assert(!counts_add(fronts[2], &one, 3));
	counts_destroy(fronts[1]);
	fronts[1] = counts_create();
	introduce(1);
	ck_assert(counts_add(fronts[2], &one, 3));
	ck_assert(counts_add(fronts[0], &one, 3));
	ck_assert(!counts_add(fronts[2], &one, 3));
}
END_TEST

START_TEST(one_alone_counts_too_and_takes_it_along_when_it_shares)
{
	struct counts *alone = counts_create();
	struct address one = address(1);
	int fd = make_table();

	ck_assert(counts_add(alone, &one, 2));
	ck_assert(counts_add(alone, &one, 2));
	ck_assert(!counts_add(alone, &one, 2));
	ck_assert_ok(counts_share(alone, 7, true, 12345, fd));
	ck_assert(!counts_add(alone, &one, 2));
	ck_assert_ok(counts_share(fronts[0], 7, false, 12345, fd));
	ck_assert(!counts_add(fronts[0], &one, 2));
	counts_drop(alone, &one);
	ck_assert(counts_add(fronts[0], &one, 2));
	close(fd);
	counts_destroy(alone);
}
END_TEST

START_TEST(many_addresses_come_and_go)
{
	enum {
		MANY = 20000
	};

	for (int round = 0; round < 3; round++) {
		for (uint32_t n = 0; n < MANY; n++) {
			struct address a = address(n * 7919 + (uint32_t)round);

			ck_assert(counts_add(fronts[n % FRONTS], &a, 1));
			ck_assert(!counts_add(fronts[n % FRONTS], &a, 1));
			ck_assert(!counts_add(fronts[(n + 1) % FRONTS], &a, 1));
		}
		for (uint32_t n = 0; n < MANY; n++) {
			struct address a = address(n * 7919 + (uint32_t)round);

			counts_drop(fronts[n % FRONTS], &a);
		}
	}
}
END_TEST

/* Each as a process of its own would: adds and drops; together they never have more than the limit. */
static _Atomic int held, most_held;

static void *come_and_go(void *arg)
{
	struct address one = address(1);

	for (int i = 0; i < 20000; i++) {
		int now, most;

		if (!counts_add(arg, &one, 2))
			continue;
		now = ++held;
		most = most_held;
		while (now > most && !__atomic_compare_exchange_n((int *)&most_held, &most, now, false,
								  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		held--;
		counts_drop(arg, &one);
	}
	return NULL;
}

START_TEST(at_one_moment_never_more_than_the_limit)
{
	pthread_t threads[FRONTS];

	for (int i = 0; i < FRONTS; i++)
		pthread_create(&threads[i], NULL, come_and_go, fronts[i]);
	for (int i = 0; i < FRONTS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_le(most_held, 2);
	ck_assert_int_ge(most_held, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("counts");
	TCase *tc = tcase_create("counts");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_address_has_so_many_in_all_of_them);
	tcase_add_test(tc, what_a_dead_one_had_is_over);
	tcase_add_test(tc, one_alone_counts_too_and_takes_it_along_when_it_shares);
	tcase_add_test(tc, many_addresses_come_and_go);
	tcase_add_test(tc, at_one_moment_never_more_than_the_limit);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
