/* SPDX-License-Identifier: MIT */
/* Compaction while the store is in use, and what a crash in it leaves. */
#include "tests/backends/lmdb/kit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

enum {
	MESSAGES = 40,
	SIZE = 60000
};

static uint64_t total; /* octets that compact() gave back */

static bool is_there(const char *name)
{
	return faccessat(kit.store->root_fd, name, F_OK, 0) == 0;
}

/* Forty messages, of which every fourth stays. */
static void setup(void)
{
	kit_setup();
	for (unsigned i = 1; i <= MESSAGES; i++)
		kit_append(kit_octets(SIZE, i));
	for (uint32_t uid = 1; uid <= MESSAGES; uid++)
		if (uid % 4)
			kit_expunge(uid, uid);
}

static void all_there(void)
{
	ck_assert_uint_ge(kit_messages(), MESSAGES / 4);
	for (uint32_t uid = 4; uid <= MESSAGES; uid += 4)
		kit_body_must_be(uid, kit_octets(SIZE, uid));
	kit_sound();
}

static void compact(void)
{
	uint64_t octets;

	ck_assert_ok(be->compact(kit.store, &octets));
	total += octets;
}

START_TEST(room_is_given_back_and_all_is_there)
{
	compact();
	ck_assert_uint_gt(total, (uint64_t)MESSAGES / 2 * SIZE);
	ck_assert(is_there("mail-2.mdb") && !is_there("mail-1.mdb") && !is_there("mail-1.mdb-lock"));
	all_there();
	ck_assert_uint_eq(kit_append(kit_text(10)), MESSAGES + 1);
	kit_again();
	all_there();
}
END_TEST

START_TEST(where_nothing_is_to_be_won_nothing_is_done)
{
	compact();
	compact();
	ck_assert(is_there("mail-2.mdb") && !is_there("mail-3.mdb"));
}
END_TEST

START_TEST(readers_go_on_in_what_they_have_open)
{
	struct ps_bytes piece, octets = kit_octets(SIZE, 4);
	struct ps_read *read;
	struct ps_body body;
	struct ps_mailbox_info info;

	ck_assert_ok(be->body(kit.inbox, 4, &body));
	ck_assert_ok(be->read_begin(kit.store, &read));
	compact();
	kit_expunge(4, 4);
	kit_nudge();
	ck_assert_ok(be->info(read, kit.inbox, &info));
	ck_assert_uint_eq(info.messages, MESSAGES / 4);
	be->read_end(read);
	be->body_rest(&body);
	ck_assert_ok(body.read(&body, 0, &piece));
	ck_assert_mem_eq(piece.ptr, octets.ptr, piece.len);
	be->body_close(&body);
	kit_nudge();
	ck_assert_uint_eq(kit_entries("graves"), 0);
	kit_sound();
}
END_TEST

static void append_one(void)
{
	kit_append(kit_text(1000));
}

START_TEST(another_process_follows_and_nothing_is_lost)
{
	struct kit_process other = kit_start(append_one);
	uint32_t messages = kit_messages();

	for (int i = 0; i < 3; i++) {
		kit_append(kit_octets(1000000, 1));
		kit_expunge(kit_messages() ? MESSAGES + 1 : 1, UINT32_MAX);
		compact();
		ck_assert_ok(be->sync(kit.store, kit.inbox));
		messages = kit_messages();
		kit_more(&other); /* it has the old file open */
		ck_assert_int_eq(be->stale(kit.store, kit.inbox), 1);
		ck_assert_uint_eq(kit_messages(), messages + 1);
	}
	kit_end(&other);
	all_there();
}
END_TEST

START_TEST(who_is_compacted_by_another_process_sees_it)
{
	struct kit_process other = kit_start(compact);

	/* It did so before we opened. Again, now: */
	kit_append(kit_octets(2000000, 1));
	kit_expunge(MESSAGES + 1, MESSAGES + 1);
	kit_nudge();
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
	kit_more(&other);
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 1);
	ck_assert(is_there("mail-3.mdb"));
	ck_assert_uint_eq(kit_append(kit_text(10)), MESSAGES + 2);
	kit_end(&other);
	all_there();
}
END_TEST

/* ---- crashes ----------------------------------------------------------------------------------------- */

START_TEST(a_copy_that_was_not_finished_goes)
{
	kit_close();
	kit_shell("head -c 5000 mail-1.mdb >mail-compact.tmp");
	kit_open();
	ck_assert(!is_there("mail-compact.tmp"));
	all_there();
	compact();
	all_there();
}
END_TEST

START_TEST(of_two_files_the_newer_counts)
{
	kit_close();
	kit_shell("cp mail-1.mdb mail-2.mdb && head -c 5000 mail-2.mdb >mail-1.mdb && touch mail-1.mdb-lock");
	kit_open();
	ck_assert(!is_there("mail-1.mdb") && !is_there("mail-1.mdb-lock"));
	all_there();
}
END_TEST

static unsigned fail_at, calls;

static int failing_fsync(int fd)
{
	if (++calls == fail_at) {
		errno = EIO;
		return -1;
	}
	return fsync(fd);
}

static int failing_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	(void)flags;
	if (++calls == fail_at) {
		errno = EIO;
		return -1;
	}
	return renameat(from_dir, from, to_dir, to);
}

START_TEST(what_fails_in_it_loses_nothing)
{
	uint64_t octets;
	unsigned failed = 0;
	int r = -1;

	ps_io.fsync = failing_fsync;
	ps_io.rename = failing_rename;
	while (r < 0) {
		calls = 0;
		fail_at = failed + 1;
		r = be->compact(kit.store, &octets);
		failed += r < 0;
		fail_at = 0;
		all_there();
		kit_again();
		all_there();
		kit_append(kit_octets(2000000, 1));
		kit_expunge(MESSAGES + 1, UINT32_MAX);
		kit_nudge();
	}
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(failed, 4); /* the copy's sync, the rename, the directory's, and that of who opens it */
}
END_TEST

/* ---- at once ------------------------------------------------------------------------------------------- */

static void *read_on(void *arg)
{
	atomic_bool *stop = arg;

	while (!atomic_load(stop)) {
		struct ps_bytes piece;
		struct ps_body body;

		if (be->body(kit.inbox, 8, &body) < 0 || body.read(&body, 0, &piece) < 0 || piece.len != SIZE)
			return arg;
		be->body_rest(&body);
		if (body.read(&body, SIZE - 1, &piece) < 0 || piece.len != 1)
			return arg;
		be->body_close(&body);
		if (be->stale(kit.store, kit.inbox) < 0)
			return arg;
	}
	return NULL;
}

START_TEST(threads_read_while_it_is_compacted)
{
	atomic_bool stop = false;
	pthread_t threads[3];
	void *failed;

	for (size_t i = 0; i < PS_ARRAY_LEN(threads); i++)
		pthread_create(&threads[i], NULL, read_on, &stop);
	for (int i = 0; i < 5; i++) {
		kit_append(kit_octets(2000000, 1));
		kit_expunge(MESSAGES + 1, UINT32_MAX);
		compact();
	}
	atomic_store(&stop, true);
	for (size_t i = 0; i < PS_ARRAY_LEN(threads); i++) {
		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	all_there();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lmdb_compact");
	TCase *tc = tcase_create("compact");

	tcase_add_checked_fixture(tc, setup, kit_teardown);
	tcase_add_test(tc, room_is_given_back_and_all_is_there);
	tcase_add_test(tc, where_nothing_is_to_be_won_nothing_is_done);
	tcase_add_test(tc, readers_go_on_in_what_they_have_open);
	tcase_add_test(tc, another_process_follows_and_nothing_is_lost);
	tcase_add_test(tc, who_is_compacted_by_another_process_sees_it);
	tcase_add_test(tc, a_copy_that_was_not_finished_goes);
	tcase_add_test(tc, of_two_files_the_newer_counts);
	tcase_add_test(tc, what_fails_in_it_loses_nothing);
	tcase_add_test(tc, threads_read_while_it_is_compacted);
	suite_add_tcase(s, tc);
	return unit_main(s);
}
