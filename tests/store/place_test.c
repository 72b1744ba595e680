/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/store/place.h"
#include "tests/unit.h"

static char root[256];
static struct ps_user_info info = {.name = "alice@example.test", .backend = "maildir"};
static struct ps_pool *pool;

static void set_up(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof root, "%s/postern-place.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	info.root = root;
	pool = ps_pool_create("test");
}

static void tear_down(void)
{
	ps_pool_destroy(pool);
	unit_remove(root);
}

static void ensure_place(const char *backend, const char *below, uint64_t generation)
{
	struct ps_place place;

	ck_assert_ok(ps_place_find(NULL, &info, pool, &place));
	ck_assert_str_eq(place.backend, backend);
	ck_assert_str_eq(place.root, ps_pool_printf(pool, "%s%s", root, below));
	ck_assert_uint_eq(place.generation, generation);
}

START_TEST(without_a_record_it_is_where_the_user_database_says)
{
	ensure_place("maildir", "", 0);
	info.root = "/nowhere/at/all";
	ck_assert_ok(ps_place_find(NULL, &info, pool, &(struct ps_place){0}));
	info.root = NULL;
	ck_assert_ok(ps_place_find(NULL, &info, pool, &(struct ps_place){0}));
}
END_TEST

static const struct ps_place_record moved = {
	.now = {"lmdb", "2-lmdb", 7}, .before = {"maildir", ".", 3}, .moved = 1700000000};

START_TEST(a_record_is_read_as_it_was_written)
{
	struct ps_place_record record = moved, read;

	record.target = (struct ps_place_store){"mbox", "3-mbox", 0};
	ck_assert_ok(ps_place_write(&info, &record));
	ck_assert_ok(ps_place_read(&info, pool, &read));
	ck_assert_str_eq(read.now.backend, "lmdb");
	ck_assert_str_eq(read.now.name, "2-lmdb");
	ck_assert_uint_eq(read.now.generation, 7);
	ck_assert_str_eq(read.before.name, ".");
	ck_assert_str_eq(read.target.name, "3-mbox");
	ck_assert_ptr_null(read.purged.backend);
	ck_assert_int_eq(read.moved, 1700000000);
	ck_assert(!read.paused);
	ensure_place("lmdb", "/postern-control/places/2-lmdb", 7);
}
END_TEST

static int open_record(int flags)
{
	int fd = open(ps_pool_printf(pool, "%s/postern-control/place", root), flags | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* To guess would be to show somebody an old state of their mail. */
START_TEST(a_damaged_record_is_an_error)
{
	struct stat st;
	uint8_t octet;
	int fd;

	ck_assert_ok(ps_place_write(&info, &moved));
	fd = open_record(O_RDWR);
	ck_assert_int_eq(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size - 1; at++) { /* the last is the line end, which says nothing */
		struct ps_place place;

		ck_assert_int_eq(pread(fd, &octet, 1, at), 1);
		octet ^= 4;
		ck_assert_int_eq(pwrite(fd, &octet, 1, at), 1);
		ck_assert_int_eq(ps_place_find(NULL, &info, pool, &place), PS_E_CORRUPT);
		octet ^= 4;
		ck_assert_int_eq(pwrite(fd, &octet, 1, at), 1);
	}
	ck_assert_ok(ps_place_find(NULL, &info, pool, &(struct ps_place){0}));
	close(fd);
}
END_TEST

static const char *const bad_names[] = {"../x", "a/b", "..", ".x", "/etc"};

START_TEST(a_name_that_leads_elsewhere_is_an_error)
{
	struct ps_place_record record = moved;

	record.now.name = bad_names[_i];
	ck_assert_ok(ps_place_write(&info, &record));
	ck_assert_int_eq(ps_place_find(NULL, &info, pool, &(struct ps_place){0}), PS_E_CORRUPT);
}
END_TEST

/* Who moved it has died between shutting the old store and the end: the mail is where it was, in whatever generation. */
START_TEST(a_pause_that_nobody_holds_is_over)
{
	struct ps_place_record record = moved;

	record.paused = true;
	record.target = (struct ps_place_store){"mbox", "3-mbox", 0};
	ck_assert_ok(ps_place_write(&info, &record));
	ensure_place("lmdb", "/postern-control/places/2-lmdb", 0);
}
END_TEST

static void *find_in_thread(void *arg)
{
	struct ps_pool *own = ps_pool_create("thread");
	struct ps_place place;
	int *generation = arg;

	if (ps_place_find(NULL, &info, own, &place) == 0)
		*generation = (int)place.generation;
	ps_pool_destroy(own);
	return NULL;
}

START_TEST(who_asks_in_a_pause_gets_what_comes_after_it)
{
	struct ps_place_record record = moved;
	int lock, second, generation = -1;
	pthread_t thread;

	ck_assert_ok(ps_place_lock(&info, &lock));
	record.paused = true;
	ck_assert_ok(ps_place_write(&info, &record));
	ck_assert_int_eq(pthread_create(&thread, NULL, find_in_thread, &generation), 0);
	ck_assert_int_eq(ps_place_lock(&info, &second), PS_E_BUSY); /* waits a second meanwhile */
	record.paused = false;
	record.now.generation = 8;
	ck_assert_ok(ps_place_write(&info, &record));
	pthread_join(thread, NULL);
	ck_assert_int_eq(generation, 8);
	close(lock);
	ck_assert_ok(ps_place_lock(&info, &second));
	close(second);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("place");
	TCase *tests = tcase_create("place");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, without_a_record_it_is_where_the_user_database_says);
	tcase_add_test(tests, a_record_is_read_as_it_was_written);
	tcase_add_test(tests, a_damaged_record_is_an_error);
	tcase_add_loop_test(tests, a_name_that_leads_elsewhere_is_an_error, 0, PS_ARRAY_LEN(bad_names));
	tcase_add_test(tests, a_pause_that_nobody_holds_is_over);
	tcase_add_test(tests, who_asks_in_a_pause_gets_what_comes_after_it);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
