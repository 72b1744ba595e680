/* SPDX-License-Identifier: MIT */
/*
 * Flags whose names follow: what is seen meanwhile, what a crash, a full disk and other programs do to them.
 */
#include "tests/backends/maildir/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "backends/maildir/maildir_private.h"

static struct kit kit;
static struct ps_io real;

static void open_store(void)
{
	kit_again(&kit);
	kit.store->rename_at_once = 1;
}

/* Four messages in INBOX, the second of them flagged. */
static void set_up(void)
{
	real = ps_io;
	kit_open(&kit);
	kit.store->rename_at_once = 1;
	for (unsigned i = 0; i < 4; i++)
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, i == 1 ? PS_FLAG_FLAGGED : 0, NULL));
}

static void tear_down(void)
{
	ps_io = real;
	kit_remove(&kit);
}

static int change(struct ps_mbox *mbox, enum ps_flag_mode mode, uint32_t flags, bool *ret_unsettled)
{
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .mbox = mbox,
			   .uids = &all,
			   .uid_count = 1,
			   .flag_mode = mode,
			   .flags = flags,
			   .unchanged_since = UINT64_MAX};
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = kit.pool, .results = &result}, *all_batches = &batch;
	int r = be->commit(kit.store, &all_batches, 1);

	if (ret_unsettled)
		*ret_unsettled = batch.unsettled;
	return r;
}

static void add(uint32_t flags)
{
	bool unsettled;

	ck_assert_ok(change(kit.inbox, PS_FLAGS_ADD, flags, &unsettled));
	ck_assert(unsettled);
}

static void take_flags(uint32_t flags)
{
	ck_assert_ok(change(kit.inbox, PS_FLAGS_REMOVE, flags, NULL));
}

static void rows_must_be(const char *rows)
{
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), rows);
}

static off_t journal(void)
{
	struct stat st;
	char path[300];

	snprintf(path, sizeof path, "%s/postern-control/later", kit.root);
	return stat(path, &st) == 0 ? st.st_size : 0;
}

/* How many names in cur end in these letters. */
static void names_must_end(const char *letters, int count)
{
	kit_shell(&kit, "test \"$(ls cur | grep -c ':2,%s$')\" = %d", letters, count);
}

static void bring_up(void)
{
	ck_assert_ok(be->settle(kit.store));
	ck_assert_int_eq(journal(), 0);
}

START_TEST(flags_are_there_before_the_names)
{
	uint64_t modseq;

	set_up();
	add(PS_FLAG_SEEN);
	modseq = kit_info(&kit, kit.inbox).highest_modseq;
	rows_must_be("1:S 2:SF 3:S 4:S");
	names_must_end("", 3);
	ck_assert_int_gt(journal(), 0);
	ck_assert_str_eq(kit_body(&kit, kit.inbox, 3), MESSAGE);
	bring_up();
	names_must_end("S", 3);
	names_must_end("FS", 1);
	rows_must_be("1:S 2:SF 3:S 4:S");
	ck_assert_str_eq(kit_body(&kit, kit.inbox, 3), MESSAGE);
	/* Nobody is told anything: it was told. */
	kit_sync(&kit, kit.inbox);
	ck_assert_uint_eq(kit_info(&kit, kit.inbox).highest_modseq, modseq);
	tear_down();
}
END_TEST

START_TEST(one_message_is_renamed_at_once)
{
	set_up();
	ck_assert_ok(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL));
	ck_assert_int_eq(journal(), 0);
	names_must_end("S", 1);
	tear_down();
}
END_TEST

static unsigned renames;

static int count_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	renames++;
	return real.rename(from_dir, from, to_dir, to, flags);
}

START_TEST(what_is_taken_back_costs_no_rename)
{
	set_up();
	renames = 0;
	ps_io.rename = count_rename;
	add(PS_FLAG_SEEN);
	add(PS_FLAG_DRAFT);
	take_flags(PS_FLAG_SEEN);
	take_flags(PS_FLAG_DRAFT);
	rows_must_be("1: 2:F 3: 4:");
	bring_up();
	ck_assert_uint_eq(renames, 0);
	add(PS_FLAG_SEEN);
	add(PS_FLAG_ANSWERED);
	bring_up();
	ck_assert_uint_eq(renames, 4);
	rows_must_be("1:SR 2:SRF 3:SR 4:SR");
	names_must_end("RS", 3);
	tear_down();
}
END_TEST

/* ---- crashes ------------------------------------------------------------------------------------- */

/* In a process that dies without closing the store. */
static void die_after(void (*work)(void))
{
	pid_t pid;
	int status;

	kit_close(&kit);
	pid = fork();
	if (pid == 0) {
		open_store();
		work();
		_exit(EXIT_SUCCESS);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

static void add_twice(void)
{
	add(PS_FLAG_SEEN);
	add(PS_FLAG_DRAFT);
}

static void add_and_take(void)
{
	add_twice();
	take_flags(PS_FLAG_SEEN);
}

static void cut(void)
{
	kit_shell(&kit, "truncate -s -3 postern-control/later");
}

static void tear(void)
{
	kit_shell(&kit, "printf 'x' | dd of=postern-control/later conv=notrunc bs=1 seek=%ld 2>/dev/null",
		  (long)journal() - 30);
}

static void waste(void)
{
	kit_shell(&kit, "printf 'waste, and more of it' >>postern-control/later");
}

static void replace(void)
{
	kit_shell(&kit, "head -c 500 /dev/zero >postern-control/later");
}

static void nothing(void)
{
}

static const struct crash {
	void (*work)(void), (*damage)(void);
	const char *rows;
} crashes[] = {
	{add_twice, nothing, "1:SD 2:SFD 3:SD 4:SD"},
	{add_and_take, nothing, "1:D 2:FD 3:D 4:D"},
	{add_twice, waste, "1:SD 2:SFD 3:SD 4:SD"},
};

static const struct crash torn[] = {
	{add_twice, cut, "1:S 2:SF 3:S 4:S"},
	{add_twice, tear, "1:S 2:SF 3:S 4:S"},
	{add_and_take, cut, "1:SD 2:SFD 3:SD 4:SD"},
	{add_twice, replace, "1: 2:F 3: 4:"},
};

static void crash_must_leave(const struct crash *crash, bool index)
{
	uint64_t modseq;

	set_up();
	modseq = kit_info(&kit, kit.inbox).highest_modseq;
	die_after(crash->work);
	crash->damage();
	if (!index)
		kit_drop_index(&kit);
	open_store();
	rows_must_be(crash->rows);
	ck_assert_int_eq(journal(), 0);
	ck_assert_uint_gt(kit_info(&kit, kit.inbox).highest_modseq, modseq);
	/* And the names say it. */
	kit_close(&kit);
	kit_drop_index(&kit);
	open_store();
	rows_must_be(crash->rows);
	tear_down();
}

START_TEST(a_crash_loses_nothing)
{
	crash_must_leave(&crashes[_i / 2], _i % 2);
}
END_TEST

/* What was not synced whole was not acknowledged; the index did not outlive that crash of the machine. */
START_TEST(a_torn_record_is_none)
{
	crash_must_leave(&torn[_i], false);
}
END_TEST

static void die_in_rename(void)
{
	add_twice();
	ps_io.rename = real.rename;
	be->settle(kit.store);
}

static int die_later(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	if (++renames == 3)
		_exit(EXIT_SUCCESS);
	return real.rename(from_dir, from, to_dir, to, flags);
}

static void die_between(void)
{
	add_twice();
	renames = 0;
	ps_io.rename = die_later;
	be->settle(kit.store);
	_exit(EXIT_FAILURE);
}

START_TEST(a_crash_between_names_loses_nothing)
{
	crash_must_leave(&(struct crash){_i < 2 ? die_in_rename : die_between, nothing, "1:SD 2:SFD 3:SD 4:SD"},
			 _i % 2);
}
END_TEST

/* The record of a batch that was done lies there, and may be what it was when the batch began once the power has failed. */
START_TEST(a_record_of_before_is_not_done_again_on_top)
{
	set_up();
	kit.store->rename_at_once = 10;
	ck_assert_ok(change(kit.inbox, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL));
	ck_assert_int_eq(journal(), 0);
	kit_shell(&kit, "test $(od -An -N4 -tu4 postern-control/intent) != 0");
	kit.store->rename_at_once = 1;
	take_flags(PS_FLAG_SEEN);
	ck_assert_int_gt(journal(), 0);
	kit_shell(&kit, "test $(od -An -N4 -tu4 postern-control/intent) = 0");
	tear_down();
}
END_TEST

/* ---- steps as octets ------------------------------------------------------------------------------ */

static void take_steps(struct ps_bytes text)
{
	struct steps steps;
	struct ps_pool *pool = ps_pool_create("steps");
	uint8_t *exact = ps_malloc(text.len + 1); /* for sanitizers: whoever reads behind it is seen */

	memcpy(exact, text.ptr, text.len);
	exact = ps_realloc(exact, text.len ? text.len : 1);
	steps_init(&steps, NULL, pool);
	if (steps_take(ps_bytes(exact, text.len), &steps))
		for (size_t i = 0; i < steps.count; i++) {
			const struct step *step = &steps.steps[i];

			ck_assert_uint_lt(step->from_dir, steps.dir_count);
			ck_assert_uint_lt(step->to_dir, steps.dir_count);
			ck_assert_uint_le(strlen(step->from) + strlen(step->to), 2 * text.len);
		}
	steps_finish(&steps);
	ps_pool_destroy(pool);
	free(exact);
}

/* The checksum keeps accidents off, not those who can write the file. */
START_TEST(any_octets_are_steps_or_none)
{
	struct ps_pool *pool = ps_pool_create("steps");
	struct ps_buf text = {0};
	struct steps steps;
	uint32_t cur, new;

	steps_init(&steps, NULL, pool);
	cur = steps_dir(&steps, ".Box/cur", NULL, PLACE_CUR);
	new = steps_dir(&steps, ".Box/new", NULL, PLACE_NEW);
	later_mark(&steps, steps_add(&steps, STEP_RENAME, cur, "1.one:2,", cur, "1.one:2,S"), 77, 1);
	later_mark(&steps, steps_add(&steps, STEP_RENAME, new, "2.two", cur, "2.two:2,FS"), 77, 2);
	steps_put(&text, &steps);
	for (size_t at = 0; at < text.len; at++) {
		take_steps(ps_bytes(text.ptr, at));
		for (unsigned bit = 0; bit < 8; bit++) {
			text.ptr[at] ^= (uint8_t)(1u << bit);
			take_steps(ps_buf_view(&text));
			text.ptr[at] ^= (uint8_t)(1u << bit);
		}
	}
	steps_finish(&steps);
	ps_buf_finish(&text);
	ps_pool_destroy(pool);
}
END_TEST

/* ---- others --------------------------------------------------------------------------------------- */

/* $1 is the file of UID 1, $2 that of UID 2, which is flagged. */
static const struct foreign {
	const char *what, *rows;
} foreigns[] = {
	{"mv cur/$1 cur/$1R", "1:SR 2:SF 3:S 4:S"},
	{"mv cur/$1 cur/$1S", "1:S 2:SF 3:S 4:S"},
	{"mv cur/$2 cur/${2%%F}", "1:S 2:S 3:S 4:S"},
	{"mv cur/$1 cur/${1%%:*},U=77:2,", "1:S 2:SF 3:S 4:S"},
	{"mv cur/$1 new/${1%%:*}", "1:S 2:SF 3:S 4:S"},
	{"rm cur/$1", "2:SF 3:S 4:S"},
	{"rm cur/*", ""},
};

static void meddle(const char *what)
{
	kit_shell(&kit, "set -- $(ls cur | grep '\\.1:') $(ls cur | grep '\\.2:') && %s", what);
}

static void others_must_leave(const char *rows)
{
	rows_must_be(rows);
	kit_shell(&kit, "test $(ls cur new | grep -c P=) = %d", (int)(strlen(rows) ? 1 : 0) * 3 + (rows[0] == '1'));
	kit_close(&kit);
	kit_drop_index(&kit);
	open_store();
	rows_must_be(rows);
	tear_down();
}

START_TEST(what_others_do_meanwhile_stays)
{
	set_up();
	add(PS_FLAG_SEEN);
	meddle(foreigns[_i].what);
	bring_up();
	kit_sync(&kit, kit.inbox);
	others_must_leave(foreigns[_i].rows);
}
END_TEST

START_TEST(what_others_do_is_taken_in_while_names_wait)
{
	set_up();
	add(PS_FLAG_SEEN);
	meddle(foreigns[_i].what);
	kit_sync(&kit, kit.inbox);
	others_must_leave(foreigns[_i].rows);
}
END_TEST

START_TEST(what_others_do_after_a_crash_stays)
{
	set_up();
	die_after(add_twice);
	meddle("mv cur/$1 cur/$1R");
	kit_drop_index(&kit);
	open_store();
	others_must_leave("1:SRD 2:SFD 3:SD 4:SD");
}
END_TEST

static void add_in_folder(void)
{
	struct ps_mbox *mbox = kit_mailbox(&kit, "Old");

	ck_assert_ok(change(mbox, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL));
	be->mailbox_close(mbox);
}

START_TEST(a_folder_that_others_rename_keeps_them)
{
	struct ps_mbox *mbox;

	set_up();
	ck_assert_ok(kit_create(&kit, "Old", 0));
	mbox = kit_mailbox(&kit, "Old");
	for (int i = 0; i < 2; i++)
		ck_assert_ok(kit_append(&kit, mbox, MESSAGE, 0, NULL));
	be->mailbox_close(mbox);
	die_after(add_in_folder);
	kit_shell(&kit, "mv .Old .New");
	if (_i)
		kit_drop_index(&kit);
	open_store();
	kit_sync(&kit, NULL);
	mbox = kit_mailbox(&kit, "New");
	kit_sync(&kit, mbox);
	ck_assert_str_eq(kit_rows(&kit, mbox), "1:S 2:S");
	be->mailbox_close(mbox);
	tear_down();
}
END_TEST

START_TEST(another_handle_finds_the_names)
{
	struct kit other;

	set_up();
	add(PS_FLAG_SEEN);
	other = kit;
	kit_again(&other);
	ck_assert_str_eq(kit_rows(&other, other.inbox), "1:S 2:SF 3:S 4:S");
	ck_assert_int_eq(journal(), 0);
	ck_assert_ok(kit_flags(&other, other.inbox, 1, PS_FLAGS_REMOVE, PS_FLAG_SEEN, NULL));
	kit_close(&other);
	kit_sync(&kit, kit.inbox);
	rows_must_be("1: 2:SF 3:S 4:S");
	take_flags(PS_FLAG_SEEN);
	bring_up();
	rows_must_be("1: 2:F 3: 4:");
	names_must_end("", 3);
	tear_down();
}
END_TEST

/* ---- a disk that is full ----------------------------------------------------------------------------- */

static int no_room_to_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	if (strchr(to, ':')) {
		errno = ENOSPC;
		return -1;
	}
	return real.rename(from_dir, from, to_dir, to, flags);
}

START_TEST(where_names_find_no_room_removing_works)
{
	set_up();
	add(PS_FLAG_SEEN);
	ps_io.rename = no_room_to_rename;
	ck_assert_int_eq(be->settle(kit.store), PS_E_FULL);
	ck_assert_int_eq(kit_flags(&kit, kit.inbox, 3, PS_FLAGS_ADD, PS_FLAG_DRAFT, NULL), PS_E_FULL);
	rows_must_be("1:S 2:SF 3:S 4:S");
	ck_assert_ok(kit_expunge(&kit, kit.inbox, 1));
	ps_io.rename = real.rename;
	bring_up();
	kit_sync(&kit, kit.inbox);
	rows_must_be("2:SF 3:S 4:S");
	names_must_end("S", 2);
	tear_down();
}
END_TEST

static unsigned writes;

static ssize_t no_room_to_write(int fd, const void *data, size_t len, off_t offset)
{
	if (len < 200)
		return real.pwrite(fd, data, len, offset);
	if (++writes == 1)
		return real.pwrite(fd, data, len / 2, offset);
	errno = ENOSPC;
	return -1;
}

/* One record that could not be written must not hide the next. */
START_TEST(what_finds_no_room_leaves_nothing)
{
	set_up();
	add(PS_FLAG_SEEN);
	writes = 0;
	ps_io.pwrite = no_room_to_write;
	ck_assert_int_eq(change(kit.inbox, PS_FLAGS_ADD, PS_FLAG_DELETED, NULL), PS_E_FULL);
	ps_io.pwrite = real.pwrite;
	add(PS_FLAG_DRAFT);
	rows_must_be("1:SD 2:SFD 3:SD 4:SD");
	bring_up();
	names_must_end("DS", 3);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maildir: names that follow");
	TCase *tcase = tcase_create("later");

	tcase_add_test(tcase, flags_are_there_before_the_names);
	tcase_add_test(tcase, one_message_is_renamed_at_once);
	tcase_add_test(tcase, what_is_taken_back_costs_no_rename);
	tcase_add_loop_test(tcase, a_crash_loses_nothing, 0, 2 * (int)PS_ARRAY_LEN(crashes));
	tcase_add_loop_test(tcase, a_torn_record_is_none, 0, (int)PS_ARRAY_LEN(torn));
	tcase_add_loop_test(tcase, a_crash_between_names_loses_nothing, 0, 4);
	tcase_add_test(tcase, a_record_of_before_is_not_done_again_on_top);
	tcase_add_test(tcase, any_octets_are_steps_or_none);
	tcase_add_loop_test(tcase, what_others_do_meanwhile_stays, 0, (int)PS_ARRAY_LEN(foreigns));
	tcase_add_loop_test(tcase, what_others_do_is_taken_in_while_names_wait, 0, (int)PS_ARRAY_LEN(foreigns));
	tcase_add_test(tcase, what_others_do_after_a_crash_stays);
	tcase_add_loop_test(tcase, a_folder_that_others_rename_keeps_them, 0, 2);
	tcase_add_test(tcase, another_handle_finds_the_names);
	tcase_add_test(tcase, where_names_find_no_room_removing_works);
	tcase_add_test(tcase, what_finds_no_room_leaves_nothing);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
