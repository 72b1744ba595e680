/* SPDX-License-Identifier: MIT */
#include "tests/backends/maildir/kit.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include "postern/io.h"

static struct kit kit;

static void setup(void)
{
	kit_open(&kit);
	kit_sync(&kit, kit.inbox); /* what was made a moment ago may change unnoticed, so it counts as stale once */
}

static void teardown(void)
{
	kit_remove(&kit);
}

/* Opens the store again with nothing but the mail to go by. */
static void reopen_without_index(void)
{
	kit_close(&kit);
	kit_drop_index(&kit);
	kit_again(&kit);
}

START_TEST(a_message_comes_back_as_it_was)
{
	uint32_t uid;
	struct ps_row row;

	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, PS_FLAG_SEEN | PS_FLAG_DRAFT, &uid));
	ck_assert_uint_eq(uid, 1);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:SD");
	ck_assert_str_eq(kit_body(&kit, kit.inbox, 1), MESSAGE);
	row = kit_row(&kit, kit.inbox, 1);
	ck_assert_uint_eq(row.size, strlen(MESSAGE));
	ck_assert_int_eq(row.internal_date, 1234567890);
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
}
END_TEST

/* With LF on disk, not every octet string can be had back from LF: those stay as they are. */
static const char *const octets[] = {
	"",           "\r\n",     "a",
	"a\r\nb\r\n", "a\r\r\n",  "a\r\n\r\r\nb\r\n",
	"a\rb\r\n",   "a\nb\r\n", "a\r\nb\nc\r\n",
	"\r",         "\r\r",     "a\r\n\r",
	"\n",         "\r\n\n",   "a\r\nb\r\nc\r\r\r\nd",
};

START_TEST(any_octets_come_back_however_they_are_cut)
{
	const char *text = octets[_i];
	uint32_t uid = 0;

	for (size_t cut = 0; cut <= strlen(text); cut++) {
		struct ps_op op = {.kind = PS_OP_APPEND, .mbox = kit.inbox};

		ck_assert_ok(be->stage(kit.store, 0, &op.staged));
		ck_assert_ok(be->stage_write(op.staged, ps_bytes(text, cut)));
		ck_assert_ok(be->stage_write(op.staged, ps_bytes_str(text + cut)));
		ck_assert_ok(be->stage_finish(op.staged));
		ck_assert_ok(kit_do(&kit, &op, NULL));
		ck_assert_str_eq(kit_body(&kit, kit.inbox, ++uid), text);
		ck_assert_uint_eq(kit_row(&kit, kit.inbox, uid).size, strlen(text));
	}
}
END_TEST

START_TEST(flags_and_keywords_live_in_the_name)
{
	uint64_t modseq;

	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	modseq = kit_row(&kit, kit.inbox, 1).modseq;
	ck_assert_ok(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_ADD, PS_FLAG_FLAGGED, "$Forwarded"));
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:F $Forwarded");
	ck_assert_uint_gt(kit_row(&kit, kit.inbox, 1).modseq, modseq);
	kit_shell(&kit, "ls cur | grep -q ':2,Fa$'");
	modseq = kit_row(&kit, kit.inbox, 1).modseq;
	ck_assert_ok(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_ADD, PS_FLAG_FLAGGED, "$forwarded"));
	ck_assert_uint_eq(kit_row(&kit, kit.inbox, 1).modseq, modseq);
	ck_assert_ok(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_SET, PS_FLAG_SEEN, NULL));
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:S");
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
}
END_TEST

START_TEST(more_keywords_than_letters_survive_the_index)
{
	char name[16], before[4096];

	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	for (int i = 0; i < PS_KEYWORDS_MAX; i++) {
		snprintf(name, sizeof name, "kw%02d", i);
		ck_assert_ok(kit_flags(&kit, kit.inbox, 1 + (uint32_t)i % 2, PS_FLAGS_ADD, 0, name));
	}
	ck_assert_int_eq(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_ADD, 0, "one-too-many"), PS_E_LIMIT);
	ck_assert_ok(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_REMOVE, 0, "kw30"));
	ck_assert_ok(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_ADD, 0, "fits-now"));
	snprintf(before, sizeof before, "%s", kit_rows(&kit, kit.inbox));
	ck_assert_ptr_nonnull(strstr(before, "fits-now"));
	reopen_without_index();
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), before);
}
END_TEST

START_TEST(what_is_expunged_vanishes)
{
	uint64_t modseq;

	for (int i = 0; i < 3; i++)
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	modseq = kit_info(&kit, kit.inbox).highest_modseq;
	ck_assert_ok(kit_expunge(&kit, kit.inbox, 2));
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1: 3:");
	ck_assert_str_eq(kit_vanished(&kit, kit.inbox, modseq), "2");
	ck_assert_ptr_null(kit_body(&kit, kit.inbox, 2));
	ck_assert_uint_gt(kit_info(&kit, kit.inbox).highest_modseq, modseq);
	ck_assert_uint_eq(kit_info(&kit, kit.inbox).uid_next, 4);
}
END_TEST

static void copy(enum ps_op_kind kind, struct ps_mbox *to, struct ps_op_result *ret_result)
{
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op op = {.kind = kind, .mbox = kit.inbox, .target = to, .uids = &all, .uid_count = 1};

	ck_assert_ok(kit_do(&kit, &op, ret_result));
}

START_TEST(copies_keep_what_a_message_is)
{
	struct ps_op_result result;
	struct ps_mbox *to;
	struct ps_row a, b;

	ck_assert_ok(kit_create(&kit, "Archive", 0));
	to = kit_mailbox(&kit, "Archive");
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, PS_FLAG_SEEN, NULL));
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_ok(kit_flags(&kit, to, 1, PS_FLAGS_ADD, 0, "other"));
	ck_assert_ok(kit_flags(&kit, kit.inbox, 2, PS_FLAGS_ADD, 0, "kw"));
	copy(PS_OP_COPY, to, &result);
	ck_assert_uint_eq(result.old_count, 1);
	ck_assert_uint_eq(result.new_uids[0].last, 2);
	a = kit_row(&kit, kit.inbox, 1);
	copy(PS_OP_MOVE, to, NULL);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "");
	ck_assert_str_eq(kit_rows(&kit, to), "1:S 2: kw 3:S 4: kw");
	for (uint32_t uid = 1; uid <= 3; uid += 2) {
		b = kit_row(&kit, to, uid);
		ck_assert_mem_eq(&a.email_id, &b.email_id, sizeof a.email_id);
		ck_assert_int_eq(a.internal_date, b.internal_date);
		ck_assert_str_eq(kit_body(&kit, to, uid), MESSAGE);
	}
	be->mailbox_close(to);
	kit_close(&kit);
	kit_drop_index(&kit);
	kit_again(&kit);
	to = kit_mailbox(&kit, "Archive");
	ck_assert_str_eq(kit_rows(&kit, to), "1:S 2: kw 3:S 4: kw");
	b = kit_row(&kit, to, 1);
	ck_assert_mem_eq(&a.email_id, &b.email_id, sizeof a.email_id);
	be->mailbox_close(to);
}
END_TEST

START_TEST(mailboxes_have_maildirs_names)
{
	struct ps_op rename = {.kind = PS_OP_RENAME, .name = "Lists/a.b", .new_name = "Entw\xc3\xbcrfe & co"};
	struct ps_op delete = {.kind = PS_OP_DELETE, .name = "Entw\xc3\xbcrfe & co"};
	struct ps_op subscribe = {.kind = PS_OP_SUBSCRIBE, .name = "Nowhere", .subscribed = true};
	struct ps_mailbox_info before, after;
	struct ps_read *read;
	struct ps_mbox *mbox;

	ck_assert_ok(kit_create(&kit, "Lists/a.b", PS_MBOX_JUNK));
	ck_assert_int_eq(kit_create(&kit, "Lists/a.b", 0), PS_E_EXISTS);
	kit_shell(&kit, "test -d '.Lists.a&AC4-b/cur'");
	mbox = kit_mailbox(&kit, "Lists/a.b");
	ck_assert_ok(kit_append(&kit, mbox, MESSAGE, 0, NULL));
	before = kit_info(&kit, mbox);
	ck_assert_ok(kit_do(&kit, &rename, NULL));
	ck_assert_ok(kit_do(&kit, &subscribe, NULL));
	ck_assert_str_eq(kit_list(&kit), "Entw\xc3\xbcrfe & co INBOX Nowhere(n)");
	kit_shell(&kit, "test -d '.Entw&APw-rfe &- co/cur'");
	after = kit_info(&kit, mbox);
	ck_assert_mem_eq(&before.id, &after.id, sizeof before.id);
	ck_assert_uint_eq(before.uid_validity, after.uid_validity);
	ck_assert(after.attributes & PS_MBOX_JUNK);
	ck_assert_str_eq(kit_body(&kit, mbox, 1), MESSAGE);
	ck_assert_ok(kit_do(&kit, &delete, NULL));
	ck_assert_int_eq(kit_do(&kit, &delete, NULL), PS_E_NOTFOUND);
	ck_assert_ok(be->read_begin(kit.store, &read));
	ck_assert_int_eq(be->info(read, mbox, &after), PS_E_GONE);
	be->read_end(read);
	ck_assert_int_eq(kit_append(&kit, mbox, MESSAGE, 0, NULL), PS_E_GONE);
	be->mailbox_close(mbox);
	ck_assert_ok(kit_create(&kit, "Entw\xc3\xbcrfe & co", 0));
	mbox = kit_mailbox(&kit, "Entw\xc3\xbcrfe & co");
	ck_assert_uint_gt(kit_info(&kit, mbox).uid_validity, before.uid_validity);
	be->mailbox_close(mbox);
	kit_shell(&kit, "test -z \"$(ls postern-control/aside)\"");
}
END_TEST

START_TEST(the_mail_alone_brings_everything_back)
{
	struct ps_mailbox_info before, after;
	struct ps_row row, again;
	struct ps_op uses = {.kind = PS_OP_ATTRIBUTES, .name = "Sent", .attributes = PS_MBOX_SENT};
	struct ps_mbox *sent;

	for (int i = 0; i < 3; i++)
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, PS_FLAG_ANSWERED, NULL));
	ck_assert_ok(kit_flags(&kit, kit.inbox, 2, PS_FLAGS_ADD, 0, "Later"));
	ck_assert_ok(kit_expunge(&kit, kit.inbox, 3));
	kit_deliver(&kit, "", "1700000000.foreign", "Subject: x\n\nforeign\n");
	kit_sync(&kit, kit.inbox);
	ck_assert_ok(kit_create(&kit, "Sent", 0));
	ck_assert_ok(kit_do(&kit, &uses, NULL));
	row = kit_row(&kit, kit.inbox, 2);
	before = kit_info(&kit, kit.inbox);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:R 2:R Later 4:");
	reopen_without_index();
	after = kit_info(&kit, kit.inbox);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:R 2:R Later 4:");
	again = kit_row(&kit, kit.inbox, 2);
	ck_assert_uint_eq(after.uid_validity, before.uid_validity);
	ck_assert_uint_ge(after.uid_next, before.uid_next);
	ck_assert_uint_gt(after.highest_modseq, before.highest_modseq);
	ck_assert_uint_ge(after.vanished_since, before.highest_modseq);
	ck_assert_mem_eq(&before.id, &after.id, sizeof before.id);
	ck_assert_uint_gt(again.modseq, before.highest_modseq);
	again.modseq = row.modseq;
	ck_assert_mem_eq(&row, &again, sizeof row);
	ck_assert_str_eq(kit_body(&kit, kit.inbox, 4), "Subject: x\r\n\r\nforeign\r\n");
	sent = kit_mailbox(&kit, "Sent");
	ck_assert(kit_info(&kit, sent).attributes & PS_MBOX_SENT);
	be->mailbox_close(sent);
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_uint_gt(kit_info(&kit, kit.inbox).uid_next, before.uid_next);
}
END_TEST

START_TEST(what_others_do_is_noticed)
{
	uint64_t modseq;

	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
	kit_deliver(&kit, "", "1700000001.b", "Subject: b\n\nb\n");
	kit_deliver(&kit, "", "1700000000.a", "Subject: a\r\n\r\na\r\n");
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 1);
	kit_sync(&kit, kit.inbox);
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1: 2: 3: 4:");
	ck_assert_str_eq(kit_body(&kit, kit.inbox, 3), "Subject: a\r\n\r\na\r\n");
	ck_assert_str_eq(kit_body(&kit, kit.inbox, 4), "Subject: b\r\n\r\nb\r\n");
	modseq = kit_info(&kit, kit.inbox).highest_modseq;
	kit_shell(&kit,
		  "mv new/1700000001.b cur/1700000001.b:2,S; f=$(ls cur | grep 'P=.*[.]1:'); mv cur/$f cur/${f}T");
	kit_shell(&kit, "rm cur/*.2:2,");
	/* The index does not know yet; the message is found all the same. */
	ck_assert_str_eq(kit_body(&kit, kit.inbox, 4), "Subject: b\r\n\r\nb\r\n");
	kit_sync(&kit, kit.inbox);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:T 3: 4:S");
	ck_assert_str_eq(kit_vanished(&kit, kit.inbox, modseq), "2");
}
END_TEST

START_TEST(a_change_meets_what_others_did)
{
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	kit_shell(&kit, "f=$(ls cur); mv cur/$f cur/${f}RS");
	ck_assert_ok(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_ADD, PS_FLAG_FLAGGED, NULL));
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:SRF");
	kit_shell(&kit, "f=$(ls cur); mv cur/$f cur/${f}T");
	ck_assert_ok(kit_expunge(&kit, kit.inbox, 1));
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "");
	kit_shell(&kit, "test -z \"$(ls cur)\"");
}
END_TEST

/* Of several removals one has been done when the next file turns out to have another name, or none. */
START_TEST(removals_follow_a_file_that_was_renamed)
{
	struct ps_range all = {1, 4};
	struct ps_op op = {
		.kind = PS_OP_EXPUNGE, .mbox = kit.inbox, .uids = &all, .uid_count = 1, .only_deleted = true};

	for (uint32_t uid = 1; uid <= 4; uid++)
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, uid == 4 ? 0 : PS_FLAG_DELETED, NULL));
	kit_shell(&kit, "f=$(ls cur | grep '[.]2:2,'); mv cur/$f new/${f}S; rm cur/*.3:2,*");
	ck_assert_ok(kit_do(&kit, &op, NULL));
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "4:");
	kit_shell(&kit, "test $(ls cur new | grep -c 2,) = 1");
	kit_sync(&kit, kit.inbox);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "4:");
}
END_TEST

/* The first file of a batch gets another name by a mail reader, the second cannot be made. */
static struct ps_io real;
static unsigned made;

static int meet_reader(int r, int dirfd, const char *name)
{
	char other[300];

	snprintf(other, sizeof other, "%sS", name);
	return r < 0 ? r : renameat(dirfd, name, dirfd, other);
}

static int link_beside_reader(int from_dir, const char *from, int to_dir, const char *to)
{
	errno = EIO;
	return made++ > 0 ? -1 : meet_reader(real.link(from_dir, from, to_dir, to), to_dir, to);
}

static int rename_beside_reader(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	if (!strstr(to, ":2,")) /* back, or no message */
		return real.rename(from_dir, from, to_dir, to, flags);
	errno = EIO;
	return made++ > 0 ? -1 : meet_reader(real.rename(from_dir, from, to_dir, to, flags), to_dir, to);
}

static int commit_beside_reader(struct ps_op *ops, size_t count)
{
	struct ps_op_result results[2] = {0};
	struct ps_batch batch = {.ops = ops, .count = count, .pool = kit.pool, .results = results},
			*batches[] = {&batch};
	int r;

	real = ps_io;
	made = 0;
	ps_io.link = link_beside_reader;
	ps_io.rename = rename_beside_reader;
	r = be->commit(kit.store, batches, 1);
	ps_io = real;
	return r;
}

START_TEST(a_refused_batch_leaves_nothing_under_another_name)
{
	struct ps_range all = {1, 2};
	struct ps_op copy = {.kind = PS_OP_COPY, .mbox = kit.inbox, .uids = &all, .uid_count = 1};
	struct ps_op appends[2] = {{.kind = PS_OP_APPEND}, {.kind = PS_OP_APPEND}};
	struct ps_mbox *box;

	ck_assert_ok(kit_create(&kit, "Box", 0));
	box = kit_mailbox(&kit, "Box");
	copy.target = appends[0].mbox = appends[1].mbox = box;
	for (int i = 0; i < 2; i++)
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	if (_i == 0) {
		ck_assert_int_eq(commit_beside_reader(&copy, 1), PS_E_STORAGE);
	} else {
		for (int i = 0; i < 2; i++)
			ck_assert_ok(kit_stage(&kit, MESSAGE, &appends[i].staged));
		ck_assert_int_eq(commit_beside_reader(appends, 2), PS_E_STORAGE);
	}
	kit_sync(&kit, box);
	ck_assert_str_eq(kit_rows(&kit, box), "");
	kit_sync(&kit, kit.inbox);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1: 2:");
	be->mailbox_close(box);
}
END_TEST

/* isync adds U= to the name, Dovecot S= and W=: it stays the same message. A copy of a file is another one. */
START_TEST(a_name_that_was_extended_is_the_same_message)
{
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	kit_deliver(&kit, "", "1700000000.x", "x\n");
	kit_sync(&kit, kit.inbox);
	kit_shell(&kit,
		  "f=$(ls cur); mv cur/$f cur/${f%%:*},U=7:2,S; mv new/1700000000.x cur/1700000000.x,S=2,W=3:2,F");
	kit_sync(&kit, kit.inbox);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:S 2:F");
	kit_shell(&kit, "f=$(ls cur | grep U=7); cp cur/$f cur/1700000009.y,${f#*,}");
	kit_sync(&kit, kit.inbox);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:S 2:F 3:S");
	reopen_without_index();
	ck_assert_uint_eq(kit_info(&kit, kit.inbox).messages, 3);
	ck_assert_uint_eq(kit_row(&kit, kit.inbox, 2).flags, PS_FLAG_FLAGGED);
}
END_TEST

START_TEST(an_expunged_message_put_back_is_a_new_one)
{
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	kit_shell(&kit, "cp -r cur saved");
	ck_assert_ok(kit_expunge(&kit, kit.inbox, 1));
	kit_shell(&kit, "mv saved/* cur/");
	kit_sync(&kit, kit.inbox);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "2:");
}
END_TEST

START_TEST(directories_of_others_are_mailboxes_too)
{
	struct ps_mbox *mbox;
	uint32_t validity;

	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	kit_shell(&kit, "for d in .Work .Work.Old '.Ent&APw-' .bad..name '.raw\xc3\xbc' .INBOX; do "
			"mkdir -p \"$d/cur\" \"$d/new\" \"$d/tmp\"; done; mkdir .config; cp cur/* .Work/cur/");
	ck_assert_int_eq(be->stale(kit.store, NULL), 1);
	ck_assert_ok(be->sync(kit.store, NULL));
	ck_assert_str_eq(kit_list(&kit), "Ent\xc3\xbc INBOX Work Work/Old");
	mbox = kit_mailbox(&kit, "Work");
	ck_assert_str_eq(kit_rows(&kit, mbox), "1:");
	validity = kit_info(&kit, mbox).uid_validity;
	kit_shell(&kit, "cp -r .Work .Copy; mv .Work .Moved");
	ck_assert_ok(be->sync(kit.store, NULL));
	ck_assert_str_eq(kit_list(&kit), "Copy Ent\xc3\xbc INBOX Moved Work/Old");
	ck_assert_str_eq(kit_body(&kit, mbox, 1), MESSAGE);
	be->mailbox_close(mbox);
	mbox = kit_mailbox(&kit, "Moved");
	ck_assert_str_eq(kit_rows(&kit, mbox), "1:");
	be->mailbox_close(mbox);
	mbox = kit_mailbox(&kit, "Copy");
	ck_assert_uint_ne(kit_info(&kit, mbox).uid_validity, validity);
	be->mailbox_close(mbox);
	kit_shell(&kit, "rm -rf .Copy");
	ck_assert_ok(be->sync(kit.store, NULL));
	ck_assert_str_eq(kit_list(&kit), "Ent\xc3\xbc INBOX Moved Work/Old");
}
END_TEST

/* A root that has just changed is looked at once more. */
static void await_known_list(void)
{
	for (int i = 0; i < 6000 && be->stale(kit.store, NULL) == 1; i++) {
		ck_assert_ok(be->sync(kit.store, NULL));
		usleep(10000);
	}
	ck_assert_int_eq(be->stale(kit.store, NULL), 0);
}

static int rename_mailbox(const char *from, const char *to)
{
	return kit_do(&kit, &(struct ps_op){.kind = PS_OP_RENAME, .name = from, .new_name = to}, NULL);
}

START_TEST(what_we_do_to_the_list_needs_no_look_and_what_others_do_does)
{
	await_known_list();
	ck_assert_ok(kit_create(&kit, "One", 0));
	ck_assert_ok(kit_create(&kit, "Two", 0));
	ck_assert_ok(rename_mailbox("Two", "Three"));
	ck_assert_ok(kit_do(&kit, &(struct ps_op){.kind = PS_OP_DELETE, .name = "One"}, NULL));
	ck_assert_int_eq(be->stale(kit.store, NULL), 0);
	kit_shell(&kit, "touch dovecot-uidlist.lock; rm dovecot-uidlist.lock");
	ck_assert_int_eq(be->stale(kit.store, NULL), 0);
	ck_assert_int_eq(rename_mailbox("Nothing", "Four"), PS_E_NOTFOUND);
	ck_assert_str_eq(kit_list(&kit), "INBOX Three");
	kit_shell(&kit, "mkdir -p .Theirs/cur .Theirs/new .Theirs/tmp");
	ck_assert_ok(kit_create(&kit, "Ours", 0));
	ck_assert_int_eq(be->stale(kit.store, NULL), 1);
	await_known_list();
	ck_assert_str_eq(kit_list(&kit), "INBOX Ours Theirs Three");
	kit_shell(&kit, "mv .Ours .Away");
	ck_assert_int_eq(be->stale(kit.store, NULL), 1);
	await_known_list();
	ck_assert_ok(rename_mailbox("Away", "Ours"));
	ck_assert_int_eq(be->stale(kit.store, NULL), 0);
	kit_shell(&kit, "rm -r .Ours");
	ck_assert_int_eq(be->stale(kit.store, NULL), 1);
	await_known_list();
	ck_assert_str_eq(kit_list(&kit), "INBOX Theirs Three");
}
END_TEST

/* The file that is in the way makes the step fail, which was announced. */
START_TEST(a_change_of_the_list_that_fails_is_looked_at)
{
	await_known_list();
	kit_shell(&kit, "touch .Taken");
	ck_assert_int_eq(be->stale(kit.store, NULL), 0);
	ck_assert_int_lt(kit_create(&kit, "Taken", 0), 0);
	kit_shell(&kit, "rm .Taken; mkdir -p .Taken/cur .Taken/new .Taken/tmp");
	ck_assert_int_eq(be->stale(kit.store, NULL), 1);
	await_known_list();
	ck_assert_str_eq(kit_list(&kit), "INBOX Taken");
}
END_TEST

/* Which of two directories with one id is the copy cannot be known when neither has the old name: names decide. */

START_TEST(links_are_not_followed)
{
	kit_shell(&kit, "echo secret >outside; ln -s ../outside new/1.link; mkdir new/2.dir; mkfifo new/3.fifo; "
			"mkdir -p real/cur real/new real/tmp; ln -s real .Linked");
	kit_sync(&kit, kit.inbox);
	ck_assert_ok(be->sync(kit.store, NULL));
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "");
	ck_assert_str_eq(kit_list(&kit), "INBOX");
	kit_deliver(&kit, "", "4.msg", "x\n");
	kit_sync(&kit, kit.inbox);
	kit_shell(&kit, "rm new/4.msg; ln -s ../outside new/4.msg");
	ck_assert_ptr_null(kit_body(&kit, kit.inbox, 1));
}
END_TEST

START_TEST(others_files_are_left_alone)
{
	struct ps_op subscribe = {.kind = PS_OP_SUBSCRIBE, .name = "a/b", .subscribed = true};

	kit_close(&kit);
	kit_shell(&kit, "echo 1 >dovecot-uidlist; echo 2 >courierimapuiddb; echo 3S >maildirsize; "
			"printf 'V\\t2\\n\\nINBOX\\nOld\\t\\377x\\n' >subscriptions");
	kit_again(&kit);
	ck_assert_str_eq(kit_list(&kit), "INBOX(s)");
	ck_assert_ok(kit_do(&kit, &subscribe, NULL));
	ck_assert_str_eq(kit_list(&kit), "INBOX(s) a/b(n)");
	subscribe.subscribed = false;
	ck_assert_ok(kit_do(&kit, &subscribe, NULL));
	kit_shell(&kit, "grep -q 1 dovecot-uidlist && grep -q 2 courierimapuiddb && grep -q 3S maildirsize && "
			"printf 'V\\t2\\n\\nOld\\t\\377x\\nINBOX\\n' | cmp - subscriptions");
}
END_TEST

START_TEST(a_batch_is_whole_or_absent)
{
	struct ps_op_result results[3] = {0};
	struct ps_range all = {1, 9};
	struct ps_op ops[3] = {
		{.kind = PS_OP_APPEND, .mbox = kit.inbox},
		{.kind = PS_OP_FLAGS,
		 .mbox = kit.inbox,
		 .uids = &all,
		 .uid_count = 1,
		 .flag_mode = PS_FLAGS_ADD,
		 .flags = PS_FLAG_SEEN,
		 .unchanged_since = UINT64_MAX},
		{.kind = PS_OP_DELETE, .name = "absent"},
	};
	struct ps_batch batch = {.ops = ops, .count = 3, .pool = kit.pool, .results = results};
	struct ps_batch *batches[] = {&batch};

	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_ok(kit_stage(&kit, MESSAGE, &ops[0].staged));
	ck_assert_int_eq(be->commit(kit.store, batches, 1), PS_E_NOTFOUND);
	ck_assert_uint_eq(batch.err_op, 2);
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:");
	ck_assert_ok(kit_stage(&kit, MESSAGE, &ops[0].staged));
	batch.count = 2;
	ck_assert_ok(be->commit(kit.store, batches, 1));
	ck_assert_str_eq(kit_rows(&kit, kit.inbox), "1:S 2:S");
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
	kit_shell(&kit, "test -z \"$(ls tmp)\"");
}
END_TEST

START_TEST(one_bad_batch_does_not_hinder_the_others)
{
	struct ps_op ops[3] = {{.kind = PS_OP_CREATE, .name = "A"},
			       {.kind = PS_OP_DELETE, .name = "absent"},
			       {.kind = PS_OP_CREATE, .name = "B"}};
	struct ps_op_result results[3] = {0};
	struct ps_batch batch[3], *batches[3];

	for (int i = 0; i < 3; i++) {
		batch[i] = (struct ps_batch){.ops = &ops[i], .count = 1, .pool = kit.pool, .results = &results[i]};
		batches[i] = &batch[i];
	}
	ck_assert_ok(be->commit(kit.store, batches, 3));
	ck_assert_int_eq(batch[0].err, 0);
	ck_assert_int_eq(batch[1].err, PS_E_NOTFOUND);
	ck_assert_int_eq(batch[2].err, 0);
	ck_assert_str_eq(kit_list(&kit), "A B INBOX");
}
END_TEST

START_TEST(a_store_opened_again_is_not_stale)
{
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	kit_shell(&kit, "touch -d '1 hour ago' cur new");
	kit_sync(&kit, kit.inbox);
	kit_close(&kit);
	kit_again(&kit);
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 0);
	kit_close(&kit);
	kit_deliver(&kit, "", "1.x", "x\n");
	kit_again(&kit);
	ck_assert_int_eq(be->stale(kit.store, kit.inbox), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maildir");
	TCase *tc = tcase_create("maildir");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_message_comes_back_as_it_was);
	tcase_add_loop_test(tc, any_octets_come_back_however_they_are_cut, 0, PS_ARRAY_LEN(octets));
	tcase_add_test(tc, flags_and_keywords_live_in_the_name);
	tcase_add_test(tc, more_keywords_than_letters_survive_the_index);
	tcase_add_test(tc, what_is_expunged_vanishes);
	tcase_add_test(tc, copies_keep_what_a_message_is);
	tcase_add_test(tc, mailboxes_have_maildirs_names);
	tcase_add_test(tc, the_mail_alone_brings_everything_back);
	tcase_add_test(tc, what_others_do_is_noticed);
	tcase_add_test(tc, a_change_meets_what_others_did);
	tcase_add_test(tc, removals_follow_a_file_that_was_renamed);
	tcase_add_loop_test(tc, a_refused_batch_leaves_nothing_under_another_name, 0, 2);
	tcase_add_test(tc, a_name_that_was_extended_is_the_same_message);
	tcase_add_test(tc, an_expunged_message_put_back_is_a_new_one);
	tcase_add_test(tc, directories_of_others_are_mailboxes_too);
	tcase_add_test(tc, what_we_do_to_the_list_needs_no_look_and_what_others_do_does);
	tcase_add_test(tc, a_change_of_the_list_that_fails_is_looked_at);
	tcase_add_test(tc, links_are_not_followed);
	tcase_add_test(tc, others_files_are_left_alone);
	tcase_add_test(tc, a_batch_is_whole_or_absent);
	tcase_add_test(tc, one_bad_batch_does_not_hinder_the_others);
	tcase_add_test(tc, a_store_opened_again_is_not_stale);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
