/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/store/index/renew.h"
#include "postern/index.h"
#include "postern/io.h"
#include "tests/unit.h"

static char path[64];
static struct ps_index *ix;

static bool open_index(void)
{
	bool fresh;

	ck_assert_ok(ps_index_open(path, &ix, &fresh));
	return fresh;
}

static struct ps_index_txn *begin(void)
{
	struct ps_index_txn *txn;

	ck_assert_ok(ps_index_write(ix, &txn));
	return txn;
}

static void complete(void)
{
	struct ps_index_txn *txn = begin();

	ck_assert_ok(ps_index_complete(txn));
	ck_assert_ok(ps_index_commit(txn));
}

static void setup(void)
{
	snprintf(path, sizeof path, "/tmp/postern-index-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
	ck_assert(open_index());
	complete();
}

static void teardown(void)
{
	ps_index_close(ix);
	unit_remove(path);
}

static struct ps_index_box make_box(struct ps_index_txn *txn, const char *name)
{
	struct ps_index_box box = {.uid_validity = 1, .uid_next = 1};

	snprintf(box.name, sizeof box.name, "%s", name);
	ck_assert_ok(ps_index_box_put(txn, &box));
	return box;
}

static void put_row(struct ps_index_txn *txn, struct ps_index_box *box, uint32_t uid, uint64_t modseq)
{
	struct ps_row row = {.uid = uid, .modseq = modseq, .size = uid * 10};

	ck_assert_ok(ps_index_row_put(txn, box, &row, ps_bytes_str("locator")));
}

static int list_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	ck_assert_bytes_eq(locator, "locator");
	return ps_buf_printf(arg, "%u ", row->uid);
}

static int list_range(void *arg, struct ps_range range)
{
	return ps_buf_printf(arg, "%u:%u ", range.first, range.last);
}

START_TEST(rows_are_told_by_uid_and_by_change)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_box box = make_box(txn, "INBOX"), other = make_box(txn, "Other"), again;
	struct ps_range all = {1, UINT32_MAX};
	struct ps_buf out = {0};

	for (uint32_t uid = 1; uid <= 5; uid++)
		put_row(txn, &box, uid, uid);
	put_row(txn, &other, 9, 100);
	put_row(txn, &box, 4, 6);
	put_row(txn, &box, 2, 7);
	ck_assert_ok(ps_index_changed(txn, box.key, all, 4, list_row, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "2 4 5 ");
	ps_buf_reset(&out);
	ck_assert_ok(ps_index_rows(txn, box.key, (struct ps_range){2, 3}, list_row, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "2 3 ");
	ck_assert_uint_eq(box.messages, 5);
	ck_assert_uint_eq(box.unseen, 5);
	ck_assert_uint_eq(box.size, 150);
	ck_assert_uint_eq(box.highest_modseq, 7);
	ck_assert_ok(ps_index_box_put(txn, &box));
	ck_assert_ok(ps_index_box_find(txn, "INBOX", &again));
	ck_assert_mem_eq(&box, &again, offsetof(struct ps_index_box, name));
	ck_assert_ok(ps_index_box_remove(txn, box.key));
	ps_buf_reset(&out);
	ck_assert_ok(ps_index_rows(txn, box.key, all, list_row, &out));
	ck_assert_ok(ps_index_rows(txn, other.key, all, list_row, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "9 ");
	ck_assert_int_eq(ps_index_box_find(txn, "INBOX", &again), PS_E_NOTFOUND);
	ps_index_end(txn);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(what_vanishes_together_is_one_range)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_box box = make_box(txn, "INBOX");
	struct ps_buf out = {0};

	for (uint32_t uid = 1; uid <= 6; uid++)
		put_row(txn, &box, uid, uid);
	for (uint32_t uid = 2; uid <= 4; uid++)
		ck_assert_ok(ps_index_row_vanish(txn, &box, uid, 7));
	ck_assert_ok(ps_index_row_vanish(txn, &box, 5, 8));
	ck_assert_int_eq(ps_index_row_vanish(txn, &box, 5, 9), PS_E_NOTFOUND);
	ck_assert_ok(ps_index_vanished(txn, box.key, 0, list_range, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "2:4 5:5 ");
	ps_buf_reset(&out);
	ck_assert_ok(ps_index_vanished(txn, box.key, 7, list_range, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "5:5 ");
	ck_assert_uint_eq(box.messages, 2);
	ps_index_end(txn);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(a_copy_keeps_its_place_in_the_order_of_changes)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_box box = make_box(txn, "INBOX");
	struct ps_range all = {1, UINT32_MAX};
	struct ps_buf out = {0};

	put_row(txn, &box, 1, 50);
	put_row(txn, &box, 2, 20);
	put_row(txn, &box, 3, 40);
	ck_assert_uint_eq(box.highest_modseq, 50);
	ck_assert_ok(ps_index_changed(txn, box.key, all, 20, list_row, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "1 3 ");
	put_row(txn, &box, 2, 60);
	ps_buf_reset(&out);
	ck_assert_ok(ps_index_changed(txn, box.key, all, 40, list_row, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "1 2 ");
	ps_index_end(txn);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(what_vanished_is_forgotten_on_demand)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_box box = make_box(txn, "INBOX"), other = make_box(txn, "Other");
	struct ps_buf out = {0};

	for (uint32_t uid = 1; uid <= 3; uid++) {
		put_row(txn, &box, uid, uid);
		put_row(txn, &other, uid, uid);
	}
	ck_assert_ok(ps_index_row_vanish(txn, &box, 2, 4));
	ck_assert_ok(ps_index_row_vanish(txn, &other, 2, 4));
	ck_assert_ok(ps_index_vanished_forget(txn, &box, 9));
	ck_assert_uint_eq(box.vanished_since, 9);
	ck_assert_uint_eq(box.highest_modseq, 9);
	ck_assert_uint_eq(box.vanished_count, 0);
	ck_assert_ok(ps_index_vanished(txn, box.key, 0, list_range, &out));
	ck_assert_ok(ps_index_vanished(txn, other.key, 0, list_range, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "2:2 ");
	ps_index_end(txn);
	ps_buf_finish(&out);
}
END_TEST

static void put_token(struct ps_index_txn *txn, const char *octets, int64_t time, uint32_t note)
{
	struct ps_index_token token = {.octets = ps_bytes_str(octets), .time = time, .note = note};

	ck_assert_ok(ps_index_token_put(txn, &token));
}

static int list_token(void *arg, const struct ps_index_token *token)
{
	return ps_buf_printf(arg, "%.*s:%u ", (int)token->octets.len, (const char *)token->octets.ptr, token->note);
}

START_TEST(tokens_are_kept_in_the_order_of_time)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_token found;
	struct ps_buf out = {0};

	put_token(txn, "b", 1000, 1);
	put_token(txn, "a", 2000, 0);
	put_token(txn, "ab", 1500, 0);
	put_token(txn, "b", 1700, 2);
	ck_assert_ok(ps_index_tokens(txn, list_token, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "a:0 b:2 ab:0 ");
	ck_assert_ok(ps_index_token(txn, ps_bytes_str("b"), &found));
	ck_assert_int_eq(found.time, 1700);
	ck_assert_int_eq(ps_index_token(txn, ps_bytes_str("c"), &found), PS_E_NOTFOUND);
	ck_assert_ok(ps_index_token_remove(txn, ps_bytes_str("b")));
	ck_assert_ok(ps_index_token_remove(txn, ps_bytes_str("c")));
	ps_buf_reset(&out);
	ck_assert_ok(ps_index_tokens(txn, list_token, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "a:0 ab:0 ");
	ps_index_end(txn);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(old_tokens_are_forgotten)
{
	struct ps_index_txn *txn = begin();
	struct ps_buf out = {0};
	char name[] = "a";

	for (int i = 0; i < 6; i++, name[0]++)
		put_token(txn, name, 1000 + i, 0);
	put_token(txn, "x", 1004 + PS_TOKEN_SECONDS, 0); /* a few with each */
	put_token(txn, "y", 1004 + PS_TOKEN_SECONDS, 0);
	put_token(txn, "z", 1004 + PS_TOKEN_SECONDS, 0);
	ck_assert_ok(ps_index_tokens(txn, list_token, &out));
	ck_assert_str_eq(ps_buf_cstr(&out), "z:0 y:0 x:0 f:0 e:0 ");
	ps_index_end(txn);
	ps_buf_finish(&out);
}
END_TEST

START_TEST(two_mailboxes_change_places)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_box a = make_box(txn, "A"), b = make_box(txn, "B"), found;

	snprintf(a.name, sizeof a.name, "B");
	snprintf(b.name, sizeof b.name, "A");
	ck_assert_ok(ps_index_box_put(txn, &a));
	ck_assert_ok(ps_index_box_put(txn, &b));
	ck_assert_ok(ps_index_box_find(txn, "B", &found));
	ck_assert_uint_eq(found.key, a.key);
	ck_assert_ok(ps_index_box_find(txn, "A", &found));
	ck_assert_uint_eq(found.key, b.key);
	ps_index_end(txn);
}
END_TEST

static void cache_is(struct ps_index_txn *txn, uint32_t uid, bool there)
{
	struct ps_bytes octets;
	int r = ps_index_cache(txn, 1, uid, &octets);

	ck_assert_int_eq(r, there ? 0 : PS_E_NOTFOUND);
	if (there) {
		ck_assert_uint_eq(octets.len, 100 + uid);
		ck_assert_uint_eq(octets.ptr[0], uid);
	}
}

/* In order, backwards, and asking for what is not there in between. */
START_TEST(caches_are_read_in_any_order)
{
	struct ps_index_txn *txn = begin(), *read;
	uint8_t block[200];

	for (uint32_t uid = 2; uid <= 80; uid += 2) {
		memset(block, (int)uid, sizeof block);
		ck_assert_ok(ps_index_cache_put(txn, 1, uid, ps_bytes(block, 100 + uid)));
	}
	cache_is(txn, 2, true);
	ck_assert_ok(ps_index_cache_put(txn, 2, 1, ps_bytes("other", 5)));
	ck_assert_ok(ps_index_commit(txn));
	ck_assert_ok(ps_index_read(ix, &read));
	for (uint32_t uid = 2; uid <= 80; uid += 2)
		cache_is(read, uid, true);
	for (uint32_t uid = 0; uid <= 90; uid++)
		cache_is(read, uid, uid >= 2 && uid <= 80 && uid % 2 == 0);
	for (uint32_t uid = 90; uid > 0; uid--)
		cache_is(read, uid, uid >= 2 && uid <= 80 && uid % 2 == 0);
	for (uint32_t n = 0; n < 89; n++)
		cache_is(read, n * 37 % 89, n * 37 % 89 >= 2 && n * 37 % 89 <= 80 && n * 37 % 89 % 2 == 0);
	ps_index_end(read);
}
END_TEST

START_TEST(a_full_map_grows)
{
	static uint8_t block[1 << 20];
	unsigned grown = 0, put = 0;

	while (put < 64) {
		struct ps_index_txn *txn = begin();
		int r = 0;

		for (unsigned i = 0; r == 0 && i < 32; i++)
			r = ps_index_cache_put(txn, 1, ++put, ps_bytes(block, sizeof block));
		if (r == 0)
			r = ps_index_commit(txn);
		else
			ps_index_end(txn);
		if (r == 0)
			continue;
		ck_assert_int_eq(r, PS_E_AGAIN);
		ck_assert_ok(ps_index_grow(ix));
		put -= put % 32 ? put % 32 : 32;
		grown++;
	}
	ck_assert_uint_gt(grown, 0);
}
END_TEST

static int take_first(void *arg, struct ps_range range)
{
	*(struct ps_range *)arg = range;
	return 1;
}

/* Half of 65,536 records, the oldest, when there is one more. */
START_TEST(the_oldest_of_what_vanished_is_forgotten)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_box box = make_box(txn, "Busy");
	struct ps_range first = {0};

	for (uint32_t uid = 1; uid <= 65537; uid++) {
		put_row(txn, &box, uid, uid);
		ck_assert_ok(ps_index_row_vanish(txn, &box, uid, 65537 + uid));
		if (uid == 65536)
			ck_assert_uint_eq(box.vanished_since, 0);
		if (uid % 1024 == 0) {
			ck_assert_ok(ps_index_box_put(txn, &box));
			ck_assert_ok(ps_index_commit(txn));
			txn = begin();
		}
	}
	ck_assert_uint_eq(box.vanished_count, 32769);
	ck_assert_uint_eq(box.vanished_since, 65537 + 32768);
	ck_assert_int_eq(ps_index_vanished(txn, box.key, box.vanished_since, take_first, &first), 1);
	ck_assert_uint_eq(first.first, 32769);
	ps_index_end(txn);
}
END_TEST

static atomic_bool reading;

static void *read_a_while(void *arg)
{
	struct ps_index_txn *txn;

	(void)arg;
	ck_assert_ok(ps_index_read(ix, &txn));
	atomic_store(&reading, true);
	usleep(50 * 1000);
	ps_index_end(txn);
	return NULL;
}

START_TEST(who_makes_it_larger_waits_for_readers)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, read_a_while, NULL), 0);
	while (!atomic_load(&reading))
		sched_yield();
	ck_assert_ok(ps_index_grow(ix));
	pthread_join(thread, NULL);
}
END_TEST

static atomic_uint asked;
static atomic_bool over;

static void *ask(void *arg)
{
	(void)arg;
	while (!atomic_load(&over))
		atomic_fetch_add(&asked, ps_index_last_txn(ix) > 0);
	return NULL;
}

/* As who asks whether something is new does it, without a transaction. */
START_TEST(it_grows_while_others_ask_for_news)
{
	for (int round = 0; round < 20; round++) {
		pthread_t thread;

		atomic_store(&over, false);
		ck_assert_int_eq(pthread_create(&thread, NULL, ask, NULL), 0);
		for (int i = 0; i < 12; i++) {
			unsigned before = atomic_load(&asked);

			while (atomic_load(&asked) == before)
				sched_yield();
			ck_assert_ok(ps_index_grow(ix));
		}
		atomic_store(&over, true);
		pthread_join(thread, NULL);
		ps_index_close(ix);
		open_index();
	}
}
END_TEST

START_TEST(a_read_sees_one_moment)
{
	struct ps_index_txn *txn = begin(), *read;
	uint64_t n;

	ck_assert_ok(ps_index_number_put(txn, "n", 1));
	ck_assert_ok(ps_index_commit(txn));
	ck_assert_ok(ps_index_read(ix, &read));
	txn = begin();
	ck_assert_ok(ps_index_number_put(txn, "n", 2));
	ck_assert_ok(ps_index_commit(txn));
	ck_assert_ok(ps_index_number(read, "n", &n));
	ck_assert_uint_eq(n, 1);
	ps_index_end(read);
}
END_TEST

/* ---- when it is trusted ---------------------------------------------------------------------- */

static void edit_file(const char *name, long at, const char *text)
{
	char file[128];
	FILE *f;

	snprintf(file, sizeof file, "%s/%s", path, name);
	f = fopen(file, "r+");
	ck_assert_ptr_nonnull(f);
	fseek(f, at, SEEK_SET);
	fputs(text, f);
	fclose(f);
}

/* In a process of its own that ends without closing. */
static void use_and_die(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		_exit(open_index() ? 1 : 0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}

START_TEST(a_clean_close_is_trusted)
{
	ps_index_close(ix);
	ck_assert(!open_index());
}
END_TEST

START_TEST(a_killed_process_does_not_hurt)
{
	ps_index_close(ix);
	use_and_die();
	ck_assert(!open_index());
}
END_TEST

START_TEST(a_crash_of_the_machine_does)
{
	ps_index_close(ix);
	use_and_die();
	edit_file("mark", 22, "another-boot"); /* the kernel's id of this boot stands there */
	ck_assert(open_index());
	complete();
}
END_TEST

START_TEST(a_clean_close_outlives_the_boot)
{
	ps_index_close(ix);
	edit_file("mark", 22, "another-boot");
	ck_assert(!open_index());
}
END_TEST

/* ---- what a power cut may leave beside the mark ------------------------------------------------ */

static struct ps_io real_io;
static bool names_synced;
static int clean_marks;

static int note_fsync(int fd)
{
	names_synced = true;
	return real_io.fsync(fd);
}

static int note_fdatasync(int fd)
{
	char line[80] = "";

	ck_assert_int_gt(pread(fd, line, sizeof line - 1, 0), 0);
	if (strncmp(line, "postern-index 2 clean", 21) == 0) {
		ck_assert(names_synced);
		clean_marks++;
	}
	return real_io.fdatasync(fd);
}

START_TEST(names_are_on_disk_before_the_mark_says_clean)
{
	real_io = ps_io;
	ps_io.fsync = note_fsync;
	ps_io.fdatasync = note_fdatasync;
	ps_index_close(ix);
	ck_assert_int_eq(clean_marks, 1);
	use_and_die();
	edit_file("mark", 22, "another-boot");
	names_synced = false;
	ck_assert(open_index());
	ck_assert_int_eq(clean_marks, 2);
	ps_io = real_io;
}
END_TEST

/* Whether an index that is opened, and not closed, is begun anew within `times`. */
static bool is_begun_anew_within(int times)
{
	bool fresh = false;

	for (int i = 0; i < times && !fresh; i++) {
		pid_t child = fork();
		int status;

		if (child == 0)
			_exit(open_index());
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		fresh = WEXITSTATUS(status) == 1;
	}
	return fresh;
}

START_TEST(many_deaths_do_not_end_the_trust_in_what_is_sound)
{
	ps_index_close(ix);
	ck_assert(!is_begun_anew_within(100));
	ck_assert(!open_index());
}
END_TEST

START_TEST(many_deaths_end_the_trust_in_what_is_not)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_box box = {.key = 7, .uid_validity = 1, .uid_next = 3, .highest_modseq = 9, .messages = 2};

	strcpy(box.name, "Two messages, it says");
	ck_assert_ok(ps_index_box_put(txn, &box));
	ck_assert_ok(ps_index_commit(txn));
	ps_index_close(ix);
	ck_assert(is_begun_anew_within(40));
	open_index();
}
END_TEST

/* As if it had died while it looked whether it can be trusted. */
START_TEST(a_death_in_reading_it_whole_ends_the_trust)
{
	char name[128], line[80] = "";
	FILE *f;

	ps_index_close(ix);
	use_and_die();
	snprintf(name, sizeof name, "%s/mark", path);
	f = fopen(name, "r+");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(line, sizeof line, f));
	fseek(f, (long)strlen(line) - 4, SEEK_SET);
	fputs(" 16", f);
	fclose(f);
	ck_assert(open_index());
	complete();
}
END_TEST

START_TEST(what_is_no_index_is_begun_anew)
{
	ps_index_close(ix);
	edit_file("data.mdb", 0, "this is not what LMDB writes at the start of its files, not at all");
	edit_file("data.mdb", 4096, "nor this");
	ck_assert(open_index());
	complete();
}
END_TEST

START_TEST(a_removed_index_is_noticed)
{
	struct ps_index *old = ix;

	ck_assert(ps_index_is_at(ix, path));
	ps_index_discard(path);
	ck_assert(!ps_index_is_at(ix, path));
	ck_assert(open_index());
	ck_assert_ptr_ne(old, ix);
	ps_index_close(old);
}
END_TEST

/* ---- core/store/index/renew.h ---------------------------------------------------------------- */

static size_t octets_allocated(void)
{
	return mallinfo2().uordblks;
}

/* A sanitizer has a heap of its own. */
static bool is_counted(void)
{
	size_t before = octets_allocated();
	void *volatile block = malloc(100000);
	bool counted = octets_allocated() >= before + 100000;

	free(block);
	return counted;
}

static void change_much(void)
{
	struct ps_index_txn *txn = begin();
	struct ps_index_box box = make_box(txn, "Many");

	for (uint32_t uid = 1; uid <= 5000; uid++)
		put_row(txn, &box, uid, uid);
	ck_assert_ok(ps_index_box_put(txn, &box));
	ck_assert_ok(ps_index_commit(txn));
}

static void is_there(void)
{
	struct ps_index_box box;
	struct ps_index_txn *txn;

	ck_assert_ok(ps_index_read(ix, &txn));
	ck_assert_ok(ps_index_box_find(txn, "Many", &box));
	ck_assert_uint_eq(box.messages, 5000);
	ps_index_end(txn);
}

static size_t before_change;

static void change_much_anew(void)
{
	ps_indexes_renew(0);
	before_change = octets_allocated();
	change_much();
}

static void check_kept(bool kept)
{
	size_t more = octets_allocated() - before_change;

	if (is_counted())
		ck_assert_msg(kept ? more > 400 * 1024 : more < 40 * 1024, "%zu octets are kept", more);
}

START_TEST(memory_of_a_large_change_is_given_back)
{
	change_much_anew();
	check_kept(true);
	ps_indexes_renew(0);
	check_kept(false);
	is_there();
	change_much();
}
END_TEST

static void change_little(void)
{
	struct ps_index_txn *txn = begin();

	ck_assert_ok(ps_index_number_put(txn, "count", 1));
	ck_assert_ok(ps_index_commit(txn));
}

START_TEST(it_is_given_back_sooner_when_no_other_change_follows)
{
	change_much_anew();
	for (int i = 0; i < 3; i++) {
		ps_indexes_renew(3600);
		check_kept(true);
		change_little();
	}
	ps_indexes_renew(3600);
	check_kept(true);
	ps_indexes_renew(3600);
	check_kept(false);
	is_there();
}
END_TEST

START_TEST(who_reads_is_not_disturbed)
{
	struct ps_index_txn *txn;
	uint64_t complete;
	size_t kept;

	change_much();
	kept = octets_allocated();
	ck_assert_ok(ps_index_read(ix, &txn));
	ps_indexes_renew(0);
	ck_assert_uint_ge(octets_allocated(), kept);
	ck_assert_ok(ps_index_number(txn, "complete", &complete));
	ck_assert_uint_eq(complete, 1);
	ps_index_end(txn);
	is_there();
}
END_TEST

START_TEST(a_removed_index_is_left_as_it_is)
{
	change_much();
	ps_index_discard(path);
	ps_indexes_renew(0);
	is_there();
}
END_TEST

/* Nothing of it fails for good. */
START_TEST(it_is_opened_when_there_are_descriptors_again)
{
	struct rlimit limit, none;
	struct ps_index_txn *txn;

	change_much();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ps_indexes_renew(0);
	ck_assert_uint_eq(ps_index_last_txn(ix), 0);
	ck_assert_int_eq(ps_index_read(ix, &txn), PS_E_SCARCE);
	ck_assert_int_eq(ps_index_write(ix, &txn), PS_E_SCARCE);
	ck_assert_int_eq(ps_index_grow(ix), PS_E_SCARCE);
	ps_indexes_renew(0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	is_there();
	ck_assert_uint_gt(ps_index_last_txn(ix), 0);
}
END_TEST

static void *renew_on(void *arg)
{
	(void)arg;
	while (!atomic_load(&over))
		ps_indexes_renew(0);
	return NULL;
}

START_TEST(it_is_used_while_it_is_opened_anew)
{
	struct ps_index_txn *txn;
	pthread_t thread;
	uint64_t count;

	change_much();
	atomic_store(&over, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, renew_on, NULL), 0);
	for (uint64_t i = 1; i <= 300; i++) {
		txn = begin();
		ck_assert_ok(ps_index_number_put(txn, "count", i));
		ck_assert_ok(ps_index_commit(txn));
		ck_assert_ok(ps_index_read(ix, &txn));
		ck_assert_ok(ps_index_number(txn, "count", &count));
		ck_assert_uint_eq(count, i);
		ps_index_end(txn);
		ck_assert_uint_gt(ps_index_last_txn(ix), i);
	}
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	is_there();
}
END_TEST

/* ---- postern/io.h ---------------------------------------------------------------------------- */

START_TEST(a_path_cannot_leave_its_directory)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY);
	char link[128];

	snprintf(link, sizeof link, "%s/link", path);
	ck_assert_int_eq(symlink("/etc", link), 0);
	ck_assert_int_lt(ps_io.open(dir, "link/passwd", O_RDONLY, 0), 0);
	ck_assert_int_lt(ps_io.open(dir, "../../etc/passwd", O_RDONLY, 0), 0);
	ck_assert_int_lt(ps_io.open(dir, "/etc/passwd", O_RDONLY, 0), 0);
	close(dir);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("index");
	TCase *tc = tcase_create("index");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rows_are_told_by_uid_and_by_change);
	tcase_add_test(tc, what_vanishes_together_is_one_range);
	tcase_add_test(tc, a_copy_keeps_its_place_in_the_order_of_changes);
	tcase_add_test(tc, what_vanished_is_forgotten_on_demand);
	tcase_add_test(tc, tokens_are_kept_in_the_order_of_time);
	tcase_add_test(tc, old_tokens_are_forgotten);
	tcase_add_test(tc, two_mailboxes_change_places);
	tcase_add_test(tc, caches_are_read_in_any_order);
	tcase_add_test(tc, a_full_map_grows);
	tcase_add_test(tc, it_grows_while_others_ask_for_news);
	tcase_add_test(tc, the_oldest_of_what_vanished_is_forgotten);
	tcase_add_test(tc, who_makes_it_larger_waits_for_readers);
	tcase_add_test(tc, a_read_sees_one_moment);
	tcase_add_test(tc, a_clean_close_is_trusted);
	tcase_add_test(tc, a_killed_process_does_not_hurt);
	tcase_add_test(tc, a_crash_of_the_machine_does);
	tcase_add_test(tc, a_clean_close_outlives_the_boot);
	tcase_add_test(tc, names_are_on_disk_before_the_mark_says_clean);
	tcase_add_test(tc, many_deaths_do_not_end_the_trust_in_what_is_sound);
	tcase_add_test(tc, many_deaths_end_the_trust_in_what_is_not);
	tcase_add_test(tc, a_death_in_reading_it_whole_ends_the_trust);
	tcase_add_test(tc, what_is_no_index_is_begun_anew);
	tcase_add_test(tc, a_removed_index_is_noticed);
	tcase_add_test(tc, memory_of_a_large_change_is_given_back);
	tcase_add_test(tc, it_is_given_back_sooner_when_no_other_change_follows);
	tcase_add_test(tc, who_reads_is_not_disturbed);
	tcase_add_test(tc, a_removed_index_is_left_as_it_is);
	tcase_add_test(tc, it_is_opened_when_there_are_descriptors_again);
	tcase_add_test(tc, it_is_used_while_it_is_opened_anew);
	tcase_add_test(tc, a_path_cannot_leave_its_directory);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
