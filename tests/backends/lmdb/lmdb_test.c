/* SPDX-License-Identifier: MIT */
#include "tests/backends/lmdb/kit.h"

#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- bodies ---------------------------------------------------------------------------------------- */

/* Around the borders of a chunk, of memory, and of what is written ahead. */
static const size_t sizes[] = {0,
			       1,
			       4095,
			       CHUNK_PLAIN - 1,
			       CHUNK_PLAIN,
			       CHUNK_PLAIN + 1,
			       3 * CHUNK_PLAIN,
			       AHEAD_CHUNKS *CHUNK_PLAIN,
			       AHEAD_CHUNKS *CHUNK_PLAIN + 1,
			       LARGE};

START_TEST(a_message_of_any_size_is_its_octets)
{
	kit.store->zstd = _i % 2;
	for (size_t i = 0; i < PS_ARRAY_LEN(sizes); i++) {
		struct ps_bytes octets = _i < 2 ? kit_text(sizes[i]) : kit_octets(sizes[i], (unsigned)i);

		kit_body_must_be(kit_append(octets), octets);
	}
	kit_again(); /* without the setting: what is compressed is read all the same */
	for (size_t i = 0; i < PS_ARRAY_LEN(sizes); i++)
		kit_body_must_be((uint32_t)i + 1, _i < 2 ? kit_text(sizes[i]) : kit_octets(sizes[i], (unsigned)i));
	kit_sound();
}
END_TEST

static uint64_t file_octets(void)
{
	struct stat st;

	ck_assert_int_eq(fstatat(kit.store->root_fd, "mail-1.mdb", &st, 0), 0);
	return (uint64_t)st.st_size;
}

START_TEST(compression_makes_the_file_smaller)
{
	uint64_t before = file_octets();

	kit.store->zstd = true;
	kit_append(kit_text(2000000));
#ifdef HAVE_ZSTD
	ck_assert_uint_lt(file_octets() - before, 400000);
#else
	ck_assert_uint_gt(file_octets() - before, 1999999);
#endif
}
END_TEST

static int count_busy(const char *line, void *arg)
{
	unsigned pid;
	char thread[32], txn[32];

	/* "pid thread txnid", "-" for a place without a transaction; the first line is a heading */
	if (sscanf(line, "%u %31s %31s", &pid, thread, txn) == 3 && strcmp(txn, "-") != 0)
		++*(unsigned *)arg;
	return 0;
}

static unsigned open_reads(void)
{
	struct ps_index *index = ps_ledger_index(kit.store->ledger, NULL);
	unsigned busy = 0;

	ck_assert_int_ge(mdb_reader_list(ps_index_env(index), count_busy, &busy), 0);
	ps_index_close(index);
	return busy;
}

START_TEST(a_resting_body_holds_no_transaction_and_keeps_its_octets)
{
	struct ps_bytes octets = kit_octets(LARGE, 1), piece;
	struct ps_body body;

	kit_append(octets);
	ck_assert_ok(be->body(kit.inbox, 1, &body));
	ck_assert_ok(body.read(&body, 0, &piece));
	ck_assert_uint_eq(open_reads(), 1);
	be->body_rest(&body);
	ck_assert_uint_eq(open_reads(), 0);
	kit_expunge(1, 1);
	for (int i = 0; i < 5; i++)
		kit_append(kit_octets(200000, 2));
	for (uint64_t at = 0; at < body.length; at += piece.len) {
		ck_assert_ok(body.read(&body, at, &piece));
		ck_assert_mem_eq(piece.ptr, octets.ptr + at, piece.len);
		be->body_rest(&body);
	}
	ck_assert_uint_eq(kit_entries("graves"), 1);
	be->body_close(&body);
	kit_nudge();
	ck_assert_uint_eq(kit_entries("graves"), 0);
	ck_assert_uint_eq(kit_entries("bodies"), 5);
	kit_sound();
}
END_TEST

static struct ps_body held;

static void hold_body(void)
{
	struct ps_bytes piece;

	if (!held.priv)
		ck_assert_ok(be->body(kit.inbox, 1, &held));
	ck_assert_ok(held.read(&held, held.length - 1, &piece));
	be->body_rest(&held);
}

START_TEST(a_body_open_in_another_process_is_not_removed)
{
	struct kit_process other;

	kit_append(kit_octets(300000, 1));
	other = kit_start(hold_body);
	kit_expunge(1, 1);
	kit_nudge();
	ck_assert_uint_eq(kit_entries("graves"), 1);
	kit_more(&other);
	kit_kill(&other);
	kit_nudge();
	ck_assert_uint_eq(kit_entries("graves"), 0);
	ck_assert_uint_eq(kit_entries("chunks"), 0);
	kit_sound();
}
END_TEST

START_TEST(copies_share_a_body_and_the_last_takes_it_along)
{
	struct ps_range one = {1, 1};

	kit_append(kit_octets(100000, 1));
	ck_assert_ok(kit_do(
		&(struct ps_op){
			.kind = PS_OP_COPY, .mbox = kit.inbox, .target = kit.inbox, .uids = &one, .uid_count = 1},
		NULL));
	ck_assert_uint_eq(kit_entries("bodies"), 1);
	kit_expunge(1, 1);
	kit_nudge();
	kit_body_must_be(2, kit_octets(100000, 1));
	kit_sound();
	kit_expunge(2, 2);
	ck_assert_uint_eq(kit_entries("graves"), 1);
	kit_nudge();
	ck_assert_uint_eq(kit_entries("bodies"), 0);
	kit_sound();
}
END_TEST

/* ---- staging ---------------------------------------------------------------------------------------- */

START_TEST(what_was_written_ahead_and_dropped_leaves_nothing)
{
	struct ps_staged *staged;

	ck_assert_ok(kit_stage(kit_octets(LARGE, 1), &staged));
	ck_assert_uint_eq(kit_entries("graves"), 1);
	kit_nudge(); /* it is ours, and not to be removed */
	ck_assert_uint_eq(kit_entries("bodies"), 1);
	be->stage_drop(staged);
	kit_nudge();
	ck_assert_uint_eq(kit_entries("bodies"), 0);
	ck_assert_uint_eq(kit_entries("chunks"), 0);
	kit_sound();
}
END_TEST

static void stage_large(void)
{
	struct ps_staged *staged;

	ck_assert_ok(kit_stage(kit_octets(LARGE, 1), &staged));
}

START_TEST(what_a_dead_process_wrote_ahead_goes_when_the_store_is_opened)
{
	struct kit_process other = kit_start(stage_large);

	ck_assert_uint_eq(kit_entries("graves"), 1);
	kit_again(); /* it is alive */
	ck_assert_uint_eq(kit_entries("graves"), 1);
	kit_kill(&other);
	kit_again();
	ck_assert_uint_eq(kit_entries("graves"), 0);
	ck_assert_uint_eq(kit_entries("chunks"), 0);
	kit_sound();
}
END_TEST

START_TEST(many_staged_messages_are_written_ahead)
{
	enum {
		COUNT = 100
	};
	struct ps_op ops[COUNT];
	struct ps_op_result results[COUNT] = {0};
	struct ps_batch batch = {.ops = ops, .count = COUNT, .pool = kit.pool, .results = results}, *batches = &batch;

	for (unsigned i = 0; i < COUNT; i++) {
		ops[i] = (struct ps_op){.kind = PS_OP_APPEND, .mbox = kit.inbox};
		ck_assert_ok(kit_stage(kit_octets(300000, i), &ops[i].staged));
	}
	ck_assert_uint_ge(kit_entries("graves"), 30);
	ck_assert_ok(be->commit(kit.store, &batches, 1));
	ck_assert_uint_eq(kit_entries("graves"), 0);
	ck_assert_uint_eq(atomic_load(&kit.store->staged), 0);
	for (unsigned i = 0; i < COUNT; i += 9)
		kit_body_must_be(i + 1, kit_octets(300000, i));
	kit_sound();
}
END_TEST

/* ---- the map, and writes that fail -------------------------------------------------------------------- */

static void small_setup(void)
{
	file_first_map = 1 << 20;
	kit_setup();
}

static uint32_t read_upto;

/* Reads while another process makes the file larger than its map. */
static void read_all(void)
{
	struct ps_read *read;
	struct ps_body body;

	be->sync(kit.store, kit.inbox);
	ck_assert_ok(be->read_begin(kit.store, &read));
	be->read_end(read);
	read_upto += 10;
	ck_assert_ok(be->body(kit.inbox, read_upto, &body));
	be->body_close(&body);
	kit_body_must_be(read_upto, kit_octets(100000, read_upto));
}

START_TEST(the_map_grows_also_when_another_process_grows_it)
{
	struct kit_process other;
	uint32_t uid = 0;

	while (uid < 10)
		uid = kit_append(kit_octets(100000, uid + 1));
	other = kit_start(read_all);
	for (int i = 0; i < 10; i++) {
		while (uid < 10u * (unsigned)i + 20)
			uid = kit_append(kit_octets(100000, uid + 1));
		kit_more(&other);
	}
	kit_end(&other);
	kit_append(kit_octets(LARGE, 1));
	kit_sound();
}
END_TEST

START_TEST(the_map_grows_while_others_read)
{
	struct ps_body body;
	struct ps_bytes piece, octets = kit_octets(200000, 0);

	kit_append(octets);
	ck_assert_ok(be->body(kit.inbox, 1, &body));
	for (unsigned i = 1; i < 40; i++) {
		be->body_rest(&body);
		kit_append(kit_octets(200000, i));
		ck_assert_ok(body.read(&body, 100000, &piece));
		ck_assert_mem_eq(piece.ptr, octets.ptr + 100000, piece.len);
	}
	be->body_close(&body);
	kit_sound();
}
END_TEST

/* A limit on the size of files is what fails here as a full disk does, without a file system of our own. */
START_TEST(a_write_that_fails_changes_nothing)
{
	struct rlimit limit, was;
	int r = 0;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	limit = (struct rlimit){3 << 20, was.rlim_max};
	setrlimit(RLIMIT_FSIZE, &limit);
	for (unsigned i = 1; r == 0 && i < 100; i++)
		r = kit_try_append(kit_octets(100000, i));
	ck_assert_int_lt(r, 0);
	ck_assert_uint_gt(kit_messages(), 10);
	for (uint32_t uid = 1; uid <= kit_messages(); uid++)
		kit_body_must_be(uid, kit_octets(100000, uid));
	kit_expunge(1, 5);
	kit_nudge();
	kit_nudge();
	setrlimit(RLIMIT_FSIZE, &was);
	ck_assert_uint_gt(kit_append(kit_octets(100000, 1)), 5);
	kit_again();
	kit_sound();
}
END_TEST

/* ---- files ------------------------------------------------------------------------------------------- */

START_TEST(a_link_is_not_followed)
{
	struct ps_store_args args = {.user = "alice", .root = kit.root, .create = true};
	struct ps_store *store;

	kit_close();
	kit_shell("mv mail-1.mdb elsewhere && ln -s elsewhere mail-1.mdb");
	ck_assert_int_eq(be->open(&args, &store), PS_E_CORRUPT);
}
END_TEST

START_TEST(a_file_that_is_no_store_is_refused_and_left_alone)
{
	struct ps_store_args args = {.user = "alice", .root = kit.root, .create = true};
	struct ps_store *store;

	kit_close();
	kit_shell("head -c 100000 /dev/zero | tr '\\0' x >mail-1.mdb && cp mail-1.mdb copy");
	ck_assert_int_eq(be->open(&args, &store), PS_E_CORRUPT);
	kit_shell("cmp mail-1.mdb copy");
}
END_TEST

static uint64_t last_txn(void)
{
	struct ps_index *index = ps_ledger_index(kit.store->ledger, NULL);
	uint64_t last = ps_index_last_txn(index);

	ps_index_close(index);
	return last;
}

START_TEST(what_changes_nothing_is_no_transaction)
{
	struct ps_range one = {1, 1};
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .mbox = kit.inbox,
			   .uids = &one,
			   .uid_count = 1,
			   .flag_mode = PS_FLAGS_ADD,
			   .flags = PS_FLAG_SEEN,
			   .unchanged_since = UINT64_MAX};
	uint64_t before;

	kit_append(kit_text(10));
	ck_assert_ok(kit_do(&op, NULL));
	ck_assert_ok(kit_do(&(struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "y", .subscribed = true}, NULL));
	before = last_txn();
	ck_assert_ok(kit_do(&op, NULL));
	ck_assert_ok(kit_do(&(struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "x"}, NULL));
	ck_assert_ok(kit_do(&(struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "y", .subscribed = true}, NULL));
	ck_assert_uint_eq(last_txn(), before);
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
}
END_TEST

static void nudge_all(void)
{
	kit_nudge();
}

START_TEST(a_change_of_another_process_makes_each_handle_stale_once)
{
	struct kit_process other = kit_start(nudge_all);
	struct ps_mbox *again;

	ck_assert_ok(be->mailbox_open(kit.store, "INBOX", &again));
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
	kit_more(&other);
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 1);
	kit_nudge(); /* ours does not hide theirs */
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 1);
	ck_assert_ok(be->sync(kit.store, kit.inbox));
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
	ck_assert_int_eq(be->stale(kit.store, again), 1);
	ck_assert_int_eq(be->stale(kit.store, NULL), 1);
	ck_assert_ok(be->sync(kit.store, again));
	ck_assert_ok(be->sync(kit.store, NULL));
	ck_assert_int_eq(be->stale(kit.store, again), 0);
	ck_assert_int_eq(be->stale(kit.store, NULL), 0);
	/* And theirs between two of ours. */
	kit_nudge();
	kit_more(&other);
	kit_nudge();
	ck_assert_int_eq(be->stale(kit.store, again), 1);
	be->mailbox_close(again);
	kit_end(&other);
}
END_TEST

START_TEST(late_caches_do_not_wait_when_they_are_many)
{
	struct ps_bytes got;
	struct ps_read *read;

	for (uint32_t uid = 1; uid <= 64; uid++)
		kit_append(kit_text(10));
	for (uint32_t uid = 1; uid <= 64; uid++)
		ck_assert_ok(be->cache_put(kit.inbox, uid, ps_bytes_str("a cache")));
	kit_again(); /* what waits is forgotten */
	ck_assert_ok(be->read_begin(kit.store, &read));
	for (uint32_t uid = 1; uid <= 64; uid++) {
		ck_assert_ok(be->cache(read, kit.inbox, uid, &got));
		ck_assert_bytes_eq(got, "a cache");
	}
	be->read_end(read);
	kit_sound();
}
END_TEST

START_TEST(late_caches_come_with_the_next_commit)
{
	struct ps_bytes cache = ps_bytes_str("a cache"), got;
	struct ps_read *read;

	kit_append(kit_text(10));
	ck_assert_ok(be->cache_put(kit.inbox, 1, cache));
	for (int i = 0; i < 2; i++) {
		ck_assert_ok(be->read_begin(kit.store, &read));
		ck_assert_ok(be->cache(read, kit.inbox, 1, &got));
		ck_assert_bytes_eq(got, "a cache");
		be->read_end(read);
		kit_nudge();
	}
	kit_again();
	ck_assert_ok(be->read_begin(kit.store, &read));
	ck_assert_ok(be->cache(read, kit.inbox, 1, &got));
	be->read_end(read);
	kit_sound();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("lmdb");
	TCase *tc = tcase_create("store"), *small = tcase_create("map");

	tcase_add_checked_fixture(tc, kit_setup, kit_teardown);
	tcase_add_loop_test(tc, a_message_of_any_size_is_its_octets, 0, 4);
	tcase_add_test(tc, compression_makes_the_file_smaller);
	tcase_add_test(tc, a_resting_body_holds_no_transaction_and_keeps_its_octets);
	tcase_add_test(tc, a_body_open_in_another_process_is_not_removed);
	tcase_add_test(tc, copies_share_a_body_and_the_last_takes_it_along);
	tcase_add_test(tc, what_was_written_ahead_and_dropped_leaves_nothing);
	tcase_add_test(tc, what_a_dead_process_wrote_ahead_goes_when_the_store_is_opened);
	tcase_add_test(tc, many_staged_messages_are_written_ahead);
	tcase_add_test(tc, a_link_is_not_followed);
	tcase_add_test(tc, a_file_that_is_no_store_is_refused_and_left_alone);
	tcase_add_test(tc, what_changes_nothing_is_no_transaction);
	tcase_add_test(tc, a_change_of_another_process_makes_each_handle_stale_once);
	tcase_add_test(tc, late_caches_come_with_the_next_commit);
	tcase_add_test(tc, late_caches_do_not_wait_when_they_are_many);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(small, small_setup, kit_teardown);
	tcase_add_test(small, the_map_grows_also_when_another_process_grows_it);
	tcase_add_test(small, the_map_grows_while_others_read);
	tcase_add_test(small, a_write_that_fails_changes_nothing);
	suite_add_tcase(s, small);
	return s;
}

int main(void)
{
	return unit_main(suite());
}
