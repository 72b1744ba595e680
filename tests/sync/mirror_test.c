/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <glob.h>
#include <sys/file.h>
#include "tests/sync/sync.h"

static void set_up(void)
{
	open_ends();
	fill(&from);
}

START_TEST(a_copy_is_what_the_source_is)
{
	ck_assert_ok(sync_ends());
	ck_assert_same_content();
	ck_assert_same_modseqs();
	ck_assert_uint_eq(totals.copied, digest(&from).messages);
	ck_assert_uint_ge(info_of(&to, "INBOX").highest_modseq, info_of(&from, "INBOX").highest_modseq);
	ck_assert_uint_eq(info_of(&to, "Work").uid_next, info_of(&from, "Work").uid_next);
}
END_TEST

START_TEST(the_second_run_finds_nothing_to_do)
{
	ck_assert_ok(sync_ends());
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.copied + totals.flagged + totals.expunged, 0);
	ck_assert_uint_eq(totals.mailboxes_made + totals.mailboxes_renamed + totals.mailboxes_removed, 0);
}
END_TEST

/* Each is done to the source after a first copy; then as many as told are copied, changed and removed. */
static void nothing(void)
{
}
static void deliver(void)
{
	append(&from, "INBOX", "Subject: new\r\n\r\n1\r\n", PS_FLAG_SEEN, "new");
	append(&from, "Empty", "Subject: new\r\n\r\n2\r\n", 0, NULL);
}
static void flag(void)
{
	set_flags(&from, "Work", 1, PS_FLAG_SEEN, "fresh");
	set_flags(&from, "INBOX", 1, PS_FLAG_SEEN, NULL);
}
static void flag_twice(void)
{
	flag();
	set_flags(&from, "Work", 1, 0, NULL);
}
static void remove_some(void)
{
	expunge(&from, "INBOX", 1, 2);
	expunge(&from, "Work", 1, 1);
}
static void remove_the_last(void)
{
	expunge(&from, "INBOX", append(&from, "INBOX", "x", 0, NULL), UINT32_MAX - 1);
}
static void flag_and_back(void)
{
	set_flags(&from, "INBOX", 2, PS_FLAG_SEEN, "passing");
	set_flags(&from, "INBOX", 2, PS_FLAG_DRAFT, NULL);
}
static void come_and_go(void)
{
	deliver();
	flag();
	remove_some();
}
static void rename_one(void)
{
	rename_box(&from, "Work", "Play");
	append(&from, "Play", "x", 0, NULL);
}
static void exchange_names(void)
{
	rename_box(&from, "Work", "X");
	rename_box(&from, "Sent", "Work");
	rename_box(&from, "X", "Sent");
}
static void turn_round_three(void)
{
	exchange_names();
	rename_box(&from, "Empty", "X");
	rename_box(&from, "Work", "Empty");
	rename_box(&from, "X", "Work");
}
static void delete_one(void)
{
	delete_box(&from, "Work");
}
static void make_anew(void)
{
	delete_box(&from, "Work");
	create(&from, "Work", 0);
	append(&from, "Work", "Subject: other\r\n\r\n", 0, NULL);
}
static void make_another(void)
{
	create(&from, "Neu \xc3\xa4", PS_MBOX_JUNK);
	append(&from, "Neu \xc3\xa4", "x\r\n", 0, NULL);
}
static void move_within(void)
{
	struct ps_mbox *work = open_box(&from, "Work");

	on_uids(&from, "INBOX", (struct ps_op){.kind = PS_OP_MOVE, .target = work}, 1, 3);
	from.ops->mailbox_close(work);
}
static void other_use(void)
{
	commit(&from, (struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "Work", .attributes = PS_MBOX_ARCHIVE}, NULL);
	subscribe(&from, "INBOX", false);
	subscribe(&from, "Sent", true);
	subscribe(&from, "No such", false);
}

static const struct {
	void (*change)(void);
	unsigned copied, flagged, expunged, mailboxes;
} changes[] = {
	{nothing, 0, 0, 0, 0},          {deliver, 2, 0, 0, 0},     {flag, 0, 2, 0, 0},
	{flag_twice, 0, 2, 0, 0},       {remove_some, 0, 0, 3, 0}, {remove_the_last, 0, 0, 1, 0},
	{come_and_go, 2, 0, 3, 0},      {rename_one, 1, 0, 0, 1},  {exchange_names, 0, 0, 0, 2},
	{turn_round_three, 0, 0, 0, 3}, {delete_one, 0, 0, 0, 1},  {make_anew, 1, 0, 0, 2},
	{make_another, 1, 0, 0, 1},     {move_within, 3, 0, 3, 0}, {other_use, 0, 0, 0, 1},
	{flag_and_back, 0, 1, 0, 0},
};

START_TEST(only_what_has_changed_is_copied)
{
	ck_assert_ok(sync_ends());
	changes[_i].change();
	ck_assert_ok(sync_ends());
	ck_assert_same_content();
	ensure_nothing_is_missed("INBOX");
	ck_assert_uint_eq(totals.copied, changes[_i].copied);
	ck_assert_uint_eq(totals.flagged, changes[_i].flagged);
	ck_assert_uint_eq(totals.expunged, changes[_i].expunged);
	ck_assert_uint_eq(totals.mailboxes_made + totals.mailboxes_renamed + totals.mailboxes_removed +
				  totals.mailboxes_changed,
			  changes[_i].mailboxes);
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.copied + totals.flagged + totals.expunged, 0);
}
END_TEST

START_TEST(a_dry_run_changes_nothing_and_tells_the_same)
{
	struct ps_sync_digest before;
	struct ps_sync_totals told;

	if (_i % 2)
		ck_assert_ok(sync_ends());
	changes[_i].change();
	before = digest(&to);
	options.dry_run = true;
	ck_assert_ok(sync_ends());
	told = totals;
	ck_assert_mem_eq(digest(&to).content, before.content, sizeof before.content);
	options.dry_run = false;
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(told.copied, totals.copied);
	ck_assert_uint_eq(told.expunged, totals.expunged);
	ck_assert_uint_eq(told.mailboxes_made, totals.mailboxes_made);
	ck_assert_uint_eq(told.mailboxes_removed, totals.mailboxes_removed);
}
END_TEST

/* ---- a target that is not the source's copy --------------------------------------------------- */

static void others_deliver(void)
{
	append(&to, "INBOX", "Subject: theirs\r\n\r\n", 0, NULL);
}
static void others_flag(void)
{
	set_flags(&to, "INBOX", 1, PS_FLAG_ANSWERED, NULL);
}
static void others_remove(void)
{
	expunge(&to, "Work", 1, 1);
}
static void others_create(void)
{
	create(&to, "Theirs", 0);
}
static void others_rename(void)
{
	rename_box(&to, "Sent", "Gone");
}
static void others_delete(void)
{
	delete_box(&to, "Sent");
}
static void others_subscribe(void)
{
	subscribe(&to, "Sent", true);
}

static void (*const others[])(void) = {
	others_deliver, others_flag, others_remove, others_create, others_rename, others_delete, others_subscribe,
};

START_TEST(a_target_that_others_changed_is_left_alone_unless_forced)
{
	ck_assert_ok(sync_ends());
	others[_i]();
	come_and_go();
	ck_assert_int_eq(sync_ends(), PS_E_CONFLICT);
	ck_assert_uint_eq(totals.copied + totals.flagged + totals.expunged, 0);
	options.force = true;
	if (others[_i] == others_deliver) { /* INBOX gave a UID that the source gives, too */
		ck_assert_int_eq(sync_ends(), PS_E_CONFLICT);
		return;
	}
	ck_assert_ok(sync_ends());
	ck_assert_same_content();
	options.force = false;
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.copied + totals.flagged + totals.expunged, 0);
}
END_TEST

START_TEST(a_place_with_mail_of_its_own_is_refused)
{
	append(&to, "INBOX", "Subject: theirs\r\n\r\n", 0, NULL);
	ck_assert_int_eq(sync_ends(), PS_E_CONFLICT);
	ck_assert_uint_eq(info_of(&to, "INBOX").messages, 1);
}
END_TEST

/* ---- interruptions --------------------------------------------------------------------------- */

static struct {
	struct ps_backend ops;
	int left;   /* commits that go well */
	bool after; /* the one that fails was done all the same */
} failing;

static int fail_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	const struct ps_backend *ops = postern_plugin.ops;
	int r;

	if (failing.left-- > 0)
		return ops->commit(store, batches, count);
	if (failing.after && (r = ops->commit(store, batches, count)) < 0)
		return r;
	for (size_t i = 0; !failing.after && i < count; i++)
		for (size_t j = 0; j < batches[i]->count; j++)
			ops->stage_drop(batches[i]->ops[j].staged);
	return ps_fail(PS_E_STORAGE, "killed");
}

/* Killed in each commit, before or after it is done; the next run finishes it. */
static void survive(int commits, bool after)
{
	const struct ps_backend *ops = to.ops;

	failing.ops = *ops;
	failing.ops.commit = fail_commit;
	failing.left = commits;
	failing.after = after;
	to.ops = &failing.ops;
	ck_assert_int_eq(sync_ends(), PS_E_STORAGE);
	to.ops = ops;
	ck_assert_ok(sync_ends());
	ck_assert_same_content();
	ensure_nothing_is_missed("INBOX");
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.copied + totals.flagged + totals.expunged, 0);
}

START_TEST(a_first_copy_that_was_killed_is_finished)
{
	survive(_i / 2, _i % 2);
}
END_TEST

START_TEST(a_later_run_that_was_killed_is_finished)
{
	ck_assert_ok(sync_ends());
	come_and_go();
	flag_and_back();
	make_another();
	exchange_names();
	survive(_i / 2, _i % 2);
}
END_TEST

START_TEST(a_run_that_was_killed_is_finished_after_the_source_has_gone_on)
{
	const struct ps_backend *ops = to.ops;

	failing.ops = *ops;
	failing.ops.commit = fail_commit;
	failing.left = _i / 2;
	failing.after = _i % 2;
	to.ops = &failing.ops;
	ck_assert_int_eq(sync_ends(), PS_E_STORAGE);
	to.ops = ops;
	come_and_go();
	flag_and_back();
	make_anew();
	expunge(&from, "Empty", 1, 1);
	ck_assert_ok(sync_ends());
	ck_assert_same_content();
	ensure_nothing_is_missed("INBOX");
}
END_TEST

static int stops_left;

static bool stop(void *arg)
{
	(void)arg;
	return stops_left-- <= 0;
}

START_TEST(a_run_that_is_stopped_goes_on_later)
{
	options.stop = stop;
	stops_left = _i;
	ck_assert_ok(sync_ends());
	ck_assert(totals.stopped);
	options.stop = NULL;
	ck_assert_ok(sync_ends());
	ck_assert_same_content();
}
END_TEST

/* ---- the record ------------------------------------------------------------------------------ */

static int open_record(const char *suffix)
{
	const char *pattern = ps_pool_printf(pool, "%s/sync-????????????????????????%s", options.record_dir, suffix);
	glob_t found;
	int fd;

	ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
	fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	globfree(&found);
	return fd;
}

START_TEST(a_damaged_record_is_not_believed)
{
	struct stat st;
	off_t at;
	uint8_t octet;
	int fd;

	ck_assert_ok(sync_ends());
	fd = open_record("");
	ck_assert_int_eq(fstat(fd, &st), 0);
	at = st.st_size * _i / 40;
	ck_assert_int_eq(pread(fd, &octet, 1, at), 1);
	octet ^= 1;
	ck_assert_int_eq(pwrite(fd, &octet, 1, at), 1);
	close(fd);
	come_and_go();
	ck_assert_int_eq(sync_ends(), PS_E_CONFLICT);
	options.force = true;
	ck_assert_ok(sync_ends());
	ck_assert_same_content();
	ck_assert_uint_eq(totals.copied, 2);
}
END_TEST

/* Its modseqs say nothing: it has reached those that the record knows once more, by another way. */
START_TEST(force_compares_all_as_after_an_older_state_of_the_source_was_put_back)
{
	struct ps_sync_end older = open_end("older"), newer;

	ck_assert_ok(ps_sync_run(&from, &older, &options, &totals));
	deliver();
	flag();
	ck_assert_ok(sync_ends());
	newer = from;
	from = older;
	from.name = newer.name;
	while (info_of(&from, "INBOX").highest_modseq < info_of(&newer, "INBOX").highest_modseq)
		set_flags(&from, "INBOX", 3, (uint32_t)info_of(&from, "INBOX").highest_modseq % 8, NULL);
	options.force = true;
	ck_assert_ok(sync_ends());
	ck_assert_same_mail();
	ps_sync_end_close(&newer);
}
END_TEST

static const struct ps_backend *uncounted;
static struct ps_backend counted_from, counted_to;
static unsigned rows_told;

struct telling {
	ps_row_fn fn;
	void *arg;
};

static int tell(void *arg, const struct ps_row *row)
{
	const struct telling *telling = arg;

	rows_told++;
	return telling->fn(telling->arg, row);
}

static int count_rows(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t since, ps_row_fn fn,
		      void *arg)
{
	struct telling telling = {fn, arg};

	return uncounted->scan(read, mbox, uids, since, tell, &telling);
}

START_TEST(a_later_run_asks_for_changes_and_walks_over_nothing)
{
	for (int i = 0; i < 200; i++)
		append(&from, "Empty", "x\r\n", 0, NULL);
	ck_assert_ok(sync_ends());
	uncounted = from.ops;
	counted_from = *from.ops;
	counted_to = *to.ops;
	counted_from.scan = counted_to.scan = count_rows;
	from.ops = &counted_from;
	to.ops = &counted_to;
	rows_told = 0;
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(rows_told, 0);
	set_flags(&from, "Empty", 100, PS_FLAG_FLAGGED, NULL);
	append(&from, "Empty", "y\r\n", 0, NULL);
	expunge(&from, "Empty", 50, 60);
	ck_assert_ok(sync_ends());
	ck_assert_uint_gt(rows_told, 2);
	ck_assert_uint_lt(rows_told, 10); /* the flagged one at both ends, and the new one; twice */
	from.ops = to.ops = uncounted;
	ck_assert_same_content();
}
END_TEST

/* Of a backend that keeps one; UIDNEXT must come back as it was, or the source's next message could not have its UID. */
START_TEST(a_copy_whose_index_was_removed_is_gone_on_with)
{
	const char *index = ps_pool_printf(pool, "%s/%s/postern-index", test_dir, to.name);

	ck_assert_ok(sync_ends());
	if (access(index, F_OK) != 0)
		return;
	ps_sync_end_close(&to);
	unit_remove(index);
	to = open_end("to");
	ck_assert_same_content();
	come_and_go();
	options.force = true;
	ck_assert_ok(sync_ends());
	ck_assert_same_content();
	ensure_nothing_is_missed("INBOX");
}
END_TEST

START_TEST(two_at_once_are_refused)
{
	int fd;

	ck_assert_ok(sync_ends());
	fd = open_record(".lock");
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_eq(sync_ends(), PS_E_BUSY);
	close(fd);
	ck_assert_ok(sync_ends());
}
END_TEST

/* ---- messages that cannot be read ------------------------------------------------------------ */

static int fail_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	const struct ps_backend *ops = postern_plugin.ops;

	if (uid == 3)
		return ps_fail(PS_E_STORAGE, "the disk is broken here");
	return ops->body(mbox, uid, ret_body);
}

START_TEST(what_cannot_be_read_is_told_and_costs_nothing_else)
{
	const struct ps_backend *ops = from.ops;
	struct ps_backend broken = *ops;

	broken.body = fail_body;
	from.ops = &broken;
	ck_assert_int_eq(sync_ends(), PS_E_CORRUPT);
	ck_assert_uint_eq(totals.failed, 2); /* INBOX and Work have one each */
	ck_assert_uint_eq(info_of(&to, "INBOX").messages, 2);
	ck_assert_uint_eq(info_of(&to, "Sent").messages, 1);
	ck_assert_uint_eq(info_of(&to, "Work/2026").messages, 1);
	if (_i == 0) {
		from.ops = ops;
		ck_assert_ok(sync_ends());
		ck_assert_same_content();
		return;
	}
	options.pass_broken = true;
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.failed, 2);
	ck_assert_uint_eq(info_of(&to, "INBOX").messages, info_of(&from, "INBOX").messages - 1);
	from.ops = ops;
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sync, one way");
	TCase *tests = tcase_create("mirror");

	tcase_add_checked_fixture(tests, set_up, close_ends);
	tcase_add_test(tests, a_copy_is_what_the_source_is);
	tcase_add_test(tests, the_second_run_finds_nothing_to_do);
	tcase_add_loop_test(tests, only_what_has_changed_is_copied, 0, PS_ARRAY_LEN(changes));
	tcase_add_loop_test(tests, a_dry_run_changes_nothing_and_tells_the_same, 0, PS_ARRAY_LEN(changes));
	tcase_add_loop_test(tests, a_target_that_others_changed_is_left_alone_unless_forced, 0, PS_ARRAY_LEN(others));
	tcase_add_test(tests, a_place_with_mail_of_its_own_is_refused);
	tcase_add_loop_test(tests, a_first_copy_that_was_killed_is_finished, 0, 12);
	tcase_add_loop_test(tests, a_later_run_that_was_killed_is_finished, 0, 10);
	tcase_add_loop_test(tests, a_run_that_was_killed_is_finished_after_the_source_has_gone_on, 0, 12);
	tcase_add_loop_test(tests, a_run_that_is_stopped_goes_on_later, 0, 4);
	tcase_add_loop_test(tests, a_damaged_record_is_not_believed, 0, 40);
	tcase_add_test(tests, force_compares_all_as_after_an_older_state_of_the_source_was_put_back);
	tcase_add_test(tests, a_later_run_asks_for_changes_and_walks_over_nothing);
	tcase_add_test(tests, a_copy_whose_index_was_removed_is_gone_on_with);
	tcase_add_test(tests, two_at_once_are_refused);
	tcase_add_loop_test(tests, what_cannot_be_read_is_told_and_costs_nothing_else, 0, 2);
	suite_add_tcase(suite, tests);
	return test_main(suite);
}
