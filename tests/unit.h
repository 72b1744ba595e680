/* SPDX-License-Identifier: MIT */
/*
 * What every unit test program shares: a main() that runs one suite and prints TAP. libcheck forks per test, so
 * a crash is one failed test. CK_FORK=no and CK_RUN_CASE=name help in a debugger.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "postern/buf.h"
#include "postern/error.h"
#include "postern/pool.h"

#define ck_assert_bytes_eq(bytes, text)                                                                                \
	do {                                                                                                           \
		struct ps_bytes ck_b = (bytes);                                                                        \
		ck_assert_uint_eq(ck_b.len, strlen(text));                                                             \
		ck_assert_mem_eq(ck_b.ptr, (text), ck_b.len);                                                          \
	} while (0)

#define ck_assert_ok(expr)                                                                                             \
	do {                                                                                                           \
		int ck_r = (expr);                                                                                     \
		ck_assert_msg(ck_r == 0, "%s: %s: %s", #expr, ps_err_name(ck_r), ps_last_error());                     \
	} while (0)

/* libcheck ends a test after 4 seconds unless told otherwise: too little on a busy machine with sanitizers. A test that
 * hangs is ended all the same. */
__attribute__((constructor)) static void unit_patience(void)
{
	setenv("CK_DEFAULT_TIMEOUT", "120", 0);
}

static inline int unit_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* Removes a folder with all that is in it. What is not there is fine. */
static inline void unit_remove(const char *path)
{
	nftw(path, unit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* All of them do the same, and have done it. */
static inline void unit_threads(size_t count, void *(*fn)(void *arg), void *arg)
{
	pthread_t threads[16];

	ck_assert_uint_le(count, 16);
	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, fn, arg), 0);
	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

static inline int unit_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
