/* SPDX-License-Identifier: MIT */
#include "tests/sync/sync.h"

static void set_up(void)
{
	open_ends();
	options.mode = PS_SYNC_BOTH;
	fill(&from);
}

static void same(void)
{
	ck_assert_ok(sync_ends());
	ck_assert_same_mail();
}

static void nothing_to_do(void)
{
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.copied + totals.flagged + totals.expunged, 0);
	ck_assert_uint_eq(totals.mailboxes_made + totals.mailboxes_renamed + totals.mailboxes_removed +
				  totals.mailboxes_changed,
			  0);
}

static uint32_t flags_of(const struct ps_sync_end *end, const char *mailbox, uint32_t uid);

static int take_flags(void *arg, const struct ps_row *row)
{
	*(uint32_t *)arg = row->flags;
	return 0;
}

static uint32_t flags_of(const struct ps_sync_end *end, const char *mailbox, uint32_t uid)
{
	struct ps_mbox *mbox = open_box(end, mailbox);
	uint32_t flags = UINT32_MAX;
	struct ps_read *read;

	ck_assert_ok(end->ops->read_begin(end->store, &read));
	ck_assert_ok(end->ops->scan(read, mbox, (struct ps_range){uid, uid}, 0, take_flags, &flags));
	end->ops->read_end(read);
	end->ops->mailbox_close(mbox);
	return flags;
}

START_TEST(an_empty_end_becomes_a_copy)
{
	same();
	ck_assert_uint_eq(totals.copied, digest(&from).messages);
	nothing_to_do();
}
END_TEST

START_TEST(what_both_have_is_put_together)
{
	create(&to, "Theirs", 0);
	append(&to, "Theirs", "Subject: t\r\n\r\n", 0, NULL);
	append(&to, "INBOX", "Subject: i\r\n\r\n", PS_FLAG_SEEN, "k");
	create(&to, "Work", 0);
	append(&to, "Work", "Subject: w\r\n\r\n", 0, NULL);
	subscribe(&to, "Theirs", true);
	same();
	ck_assert_uint_eq(info_of(&from, "Theirs").messages, 1);
	ck_assert_uint_eq(info_of(&from, "Theirs").uid_validity, info_of(&to, "Theirs").uid_validity);
	ck_assert(info_of(&from, "Theirs").attributes & PS_MBOX_SUBSCRIBED);
	nothing_to_do();
}
END_TEST

/* After a first sync, at each end something; then all of it at both. */
static void new_at_both(void)
{
	append(&from, "INBOX", "Subject: from\r\n\r\n", 0, NULL);
	append(&to, "INBOX", "Subject: to, 1\r\n\r\n", PS_FLAG_SEEN, "a");
	append(&to, "INBOX", "Subject: to, 2\r\n\r\n", 0, "b");
	append(&to, "Empty", "Subject: e\r\n\r\n", 0, NULL);
}
static void flags_at_either(void)
{
	set_flags(&from, "INBOX", 1, PS_FLAG_FLAGGED, NULL);
	set_flags(&to, "INBOX", 2, PS_FLAG_SEEN, "fresh");
	set_flags(&to, "Work", 1, 0, NULL);
}
static void gone_at_either(void)
{
	expunge(&from, "INBOX", 1, 1);
	expunge(&to, "INBOX", 2, 2);
	expunge(&to, "Work", 1, 2);
}
static void gone_and_flagged(void)
{
	expunge(&from, "INBOX", 1, 1);
	set_flags(&to, "INBOX", 1, PS_FLAG_FLAGGED, NULL);
	set_flags(&from, "INBOX", 2, PS_FLAG_FLAGGED, NULL);
	expunge(&to, "INBOX", 2, 2);
}
static void gone_at_both(void)
{
	expunge(&from, "INBOX", 1, 2);
	expunge(&to, "INBOX", 1, 1);
}
static void other_names(void)
{
	rename_box(&from, "Work", "Play");
	rename_box(&to, "Sent", "Posted");
	append(&to, "Work", "x", 0, NULL);
}
static void names_exchanged(void)
{
	rename_box(&to, "Work", "X");
	rename_box(&to, "Sent", "Work");
	rename_box(&to, "X", "Sent");
}
static void deleted_at_either(void)
{
	delete_box(&from, "Work");
	delete_box(&to, "Sent");
}
static void deleted_and_used(void)
{
	delete_box(&from, "Work");
	append(&to, "Work", "Subject: late\r\n\r\n", 0, NULL);
}
static void made_at_both(void)
{
	create(&from, "One", 0);
	append(&from, "One", "Subject: 1\r\n\r\n", 0, NULL);
	create(&to, "One", 0);
	append(&to, "One", "Subject: 2\r\n\r\n", 0, NULL);
	create(&to, "Two", PS_MBOX_JUNK);
}
static void uses_and_subscriptions(void)
{
	commit(&to, (struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "Work", .attributes = PS_MBOX_ARCHIVE}, NULL);
	subscribe(&to, "INBOX", false);
	subscribe(&from, "Sent", true);
	subscribe(&to, "No such", false);
	subscribe(&to, "Another", true);
}
static void all_of_it(void)
{
	new_at_both();
	flags_at_either();
	gone_at_either();
	other_names();
	made_at_both();
	uses_and_subscriptions();
}

static void (*const changes[])(void) = {
	new_at_both,     flags_at_either,   gone_at_either,   gone_and_flagged, gone_at_both, other_names,
	names_exchanged, deleted_at_either, deleted_and_used, made_at_both,     all_of_it,
};

START_TEST(changes_go_both_ways)
{
	same();
	changes[_i]();
	same();
	nothing_to_do();
	changes[0] == changes[_i] ? (void)0 : new_at_both();
	same();
	nothing_to_do();
}
END_TEST

START_TEST(uses_and_subscriptions_go_both_ways)
{
	same();
	uses_and_subscriptions();
	same();
	ck_assert(info_of(&from, "Work").attributes & PS_MBOX_ARCHIVE);
	ck_assert(!(info_of(&from, "INBOX").attributes & PS_MBOX_SUBSCRIBED));
	ck_assert(info_of(&to, "Sent").attributes & PS_MBOX_SUBSCRIBED);
	ck_assert_uint_eq(info_of(&from, "No such").attributes, 0);
	ck_assert_uint_eq(info_of(&from, "Another").attributes, PS_MBOX_SUBSCRIBED);
	nothing_to_do();
}
END_TEST

START_TEST(flags_changed_at_both_ends_are_united)
{
	same();
	set_flags(&from, "INBOX", 1, PS_FLAG_FLAGGED, "one");
	set_flags(&to, "INBOX", 1, PS_FLAG_SEEN, "two");
	same();
	ck_assert_uint_eq(flags_of(&from, "INBOX", 1), PS_FLAG_FLAGGED | PS_FLAG_SEEN);
	nothing_to_do();
}
END_TEST

START_TEST(a_deletion_wins_over_flags)
{
	same();
	gone_and_flagged();
	same();
	ck_assert_uint_eq(flags_of(&from, "INBOX", 2), UINT32_MAX);
	ck_assert_uint_eq(flags_of(&to, "INBOX", 1), UINT32_MAX);
}
END_TEST

START_TEST(a_mailbox_deleted_here_and_used_there_stays)
{
	same();
	deleted_and_used();
	same();
	ck_assert_uint_eq(info_of(&from, "Work").messages, info_of(&to, "Work").messages);
	ck_assert_uint_gt(info_of(&from, "Work").messages, 1);
}
END_TEST

START_TEST(the_source_decides_about_two_new_names)
{
	same();
	rename_box(&from, "Work", "A");
	rename_box(&to, "Work", "B");
	same();
	ck_assert_uint_ne(info_of(&to, "A").attributes, 0);
	ck_assert_uint_eq(info_of(&to, "B").attributes, 0);
}
END_TEST

/* ---- interruptions --------------------------------------------------------------------------- */

static struct {
	struct ps_backend ops;
	int left;
	bool after;
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

static void be_killed(int commits, bool after)
{
	const struct ps_backend *ops = to.ops;

	failing.ops = *ops;
	failing.ops.commit = fail_commit;
	failing.left = commits;
	failing.after = after;
	to.ops = from.ops = &failing.ops;
	ck_assert_int_eq(sync_ends(), PS_E_STORAGE);
	to.ops = from.ops = ops;
}

START_TEST(a_first_run_that_was_killed_is_finished)
{
	uint64_t messages = digest(&from).messages + 1;

	append(&to, "INBOX", "Subject: theirs\r\n\r\n", 0, NULL);
	be_killed(_i / 2, _i % 2);
	same();
	ck_assert_uint_eq(digest(&to).messages, messages);
	nothing_to_do();
}
END_TEST

START_TEST(a_later_run_that_was_killed_is_finished)
{
	uint64_t messages;

	same();
	messages = digest(&from).messages;
	all_of_it(); /* 4 and 1 and 2 new ones, 4 expunged */
	be_killed(_i / 2, _i % 2);
	same();
	ck_assert_uint_eq(digest(&to).messages, messages + 7 - 4);
	nothing_to_do();
}
END_TEST

/* ---- adding ---------------------------------------------------------------------------------- */

START_TEST(adding_adds_what_is_missing_and_nothing_twice)
{
	uint64_t messages = digest(&from).messages;

	options.mode = PS_SYNC_ADD;
	append(&to, "INBOX", "Subject: theirs\r\n\r\n", 0, NULL);
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.copied, messages);
	ck_assert_uint_eq(digest(&to).messages, messages + 1);
	expunge(&from, "INBOX", 1, 1);
	set_flags(&from, "INBOX", 2, PS_FLAG_ALL, NULL);
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.copied, 0);
	ck_assert_uint_eq(totals.there, messages - 1);
	ck_assert_uint_eq(digest(&to).messages, messages + 1);
}
END_TEST

START_TEST(an_addition_that_was_killed_is_finished)
{
	uint64_t messages = digest(&from).messages;

	options.mode = PS_SYNC_ADD;
	be_killed(_i / 2, _i % 2);
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(digest(&to).messages, messages);
}
END_TEST

START_TEST(one_message_is_brought_back)
{
	struct ps_range range = {2, 2};
	struct ps_set uids = {&range, 1};

	options.mode = PS_SYNC_MIRROR;
	ck_assert_ok(sync_ends());
	expunge(&from, "INBOX", 1, 3);
	options.mode = PS_SYNC_ADD;
	options.mailbox = "INBOX";
	options.uids = &uids;
	ck_assert_ok(ps_sync_run(&to, &from, &options, &totals));
	ck_assert_uint_eq(totals.copied, 1);
	ck_assert_ok(ps_sync_run(&to, &from, &options, &totals));
	ck_assert_uint_eq(totals.copied, 0);
	ck_assert_uint_eq(totals.there, 1);
	range.first = range.last = 99;
	ck_assert_int_eq(ps_sync_run(&to, &from, &options, &totals), PS_E_NOTFOUND);
	options.mailbox = "Nowhere";
	ck_assert_int_eq(ps_sync_run(&to, &from, &options, &totals), PS_E_NOTFOUND);
}
END_TEST

/* Copies of one message in one mailbox have one id. */
START_TEST(as_many_copies_as_are_missing_are_added)
{
	struct ps_mbox *inbox = open_box(&from, "INBOX");

	for (int i = 0; i < 3; i++)
		on_uids(&from, "INBOX", (struct ps_op){.kind = PS_OP_COPY, .target = inbox}, 1, 1);
	from.ops->mailbox_close(inbox);
	options.mode = PS_SYNC_ADD;
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(info_of(&to, "INBOX").messages, info_of(&from, "INBOX").messages);
	expunge(&to, "INBOX", 1, 1);
	expunge(&to, "INBOX", info_of(&to, "INBOX").uid_next - 1, info_of(&to, "INBOX").uid_next - 1);
	ck_assert_ok(sync_ends());
	ck_assert_uint_eq(totals.copied, 2);
	ck_assert_uint_eq(info_of(&to, "INBOX").messages, info_of(&from, "INBOX").messages);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sync, two ways and adding");
	TCase *tests = tcase_create("both");

	tcase_add_checked_fixture(tests, set_up, close_ends);
	tcase_add_test(tests, an_empty_end_becomes_a_copy);
	tcase_add_test(tests, what_both_have_is_put_together);
	tcase_add_loop_test(tests, changes_go_both_ways, 0, PS_ARRAY_LEN(changes));
	tcase_add_test(tests, uses_and_subscriptions_go_both_ways);
	tcase_add_test(tests, flags_changed_at_both_ends_are_united);
	tcase_add_test(tests, a_deletion_wins_over_flags);
	tcase_add_test(tests, a_mailbox_deleted_here_and_used_there_stays);
	tcase_add_test(tests, the_source_decides_about_two_new_names);
	tcase_add_loop_test(tests, a_first_run_that_was_killed_is_finished, 0, 12);
	tcase_add_loop_test(tests, a_later_run_that_was_killed_is_finished, 0, 16);
	tcase_add_test(tests, adding_adds_what_is_missing_and_nothing_twice);
	tcase_add_loop_test(tests, an_addition_that_was_killed_is_finished, 0, 8);
	tcase_add_test(tests, one_message_is_brought_back);
	tcase_add_test(tests, as_many_copies_as_are_missing_are_added);
	suite_add_tcase(suite, tests);
	return test_main(suite);
}
