/* SPDX-License-Identifier: MIT */
/*
 * Every storage call of every operation is made to fail once, in each way a disk can fail. Nothing that was refused may
 * be half there, nothing that was acknowledged may be missing, with the index or without; and the store goes on working.
 */
#include "tests/backends/maildir/kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "postern/io.h"
#include "postern/log.h"
#include "tests/lmdb_calls.h"

/* ---- the table ------------------------------------------------------------------------------- */

enum {
	SHORT = -1,
	DEATH = -2
}; /* no errno: write half of it; die */

enum {
	DIED = 42,
	REFUSED = 43,
	COPIED = 12345 /* a UIDVALIDITY */
};

static const struct ps_id copied_id = {{1, 2, 3}};

static struct ps_io real;
static unsigned calls, fail_at, trying;
static int fail_with;
static bool in_index;   /* the calls that fail are LMDB's */
static bool goes_after; /* and after one of them all that are the disk's */

static bool fails(void)
{
	if (goes_after && lmdb_calls_left < 0) {
		errno = EIO;
		return true;
	}
	if (++calls != fail_at || fail_with == SHORT)
		return false;
	if (fail_with == DEATH)
		_exit(DIED);
	errno = fail_with;
	return true;
}

static size_t length(size_t len)
{
	return calls == fail_at && fail_with == SHORT && len > 1 ? len / 2 : len;
}

static int io_open(int dirfd, const char *path, int flags, mode_t mode)
{
	return fails() ? -1 : real.open(dirfd, path, flags, mode);
}

static ssize_t io_pread(int fd, void *data, size_t len, off_t offset)
{
	return fails() ? -1 : real.pread(fd, data, len, offset);
}

static ssize_t io_write(int fd, const void *data, size_t len)
{
	return fails() ? -1 : real.write(fd, data, length(len));
}

static ssize_t io_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return fails() ? -1 : real.pwrite(fd, data, length(len), offset);
}

static int io_truncate(int fd, off_t len)
{
	return fails() ? -1 : real.truncate(fd, len);
}

/* What is synced cannot be told apart here from what is not, so the disk need not be troubled. */
static int io_sync(int fd)
{
	(void)fd;
	return fails() ? -1 : 0;
}

static int io_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return fails() ? -1 : real.rename(from_dir, from, to_dir, to, flags);
}

static int io_link(int from_dir, const char *from, int to_dir, const char *to)
{
	return fails() ? -1 : real.link(from_dir, from, to_dir, to);
}

static int io_unlink(int dirfd, const char *name, int flags)
{
	return fails() ? -1 : real.unlink(dirfd, name, flags);
}

static int io_mkdir(int dirfd, const char *name, mode_t mode)
{
	return fails() ? -1 : real.mkdir(dirfd, name, mode);
}

static const struct ps_io failing = {
	.open = io_open,
	.pread = io_pread,
	.write = io_write,
	.pwrite = io_pwrite,
	.truncate = io_truncate,
	.fdatasync = io_sync,
	.fsync = io_sync,
	.rename = io_rename,
	.link = io_link,
	.unlink = io_unlink,
	.mkdir = io_mkdir,
};

/* ---- what is done ---------------------------------------------------------------------------- */

static struct kit kit;
static struct ps_mbox *archive;

static struct ps_bytes token; /* of each batch; empty: none */
static uint64_t batch_modseq; /* 0: the next */
static bool repeated;

static int run_batch(struct ps_op *ops, size_t count)
{
	struct ps_op_result results[4] = {0};
	struct ps_batch batch = {.ops = ops,
				 .count = count,
				 .pool = kit.pool,
				 .results = results,
				 .token = token,
				 .modseq = batch_modseq};
	struct ps_batch *batches[] = {&batch};
	int r = be->commit(kit.store, batches, 1);

	repeated = batch.repeated;
	return r;
}

static int one(struct ps_op op)
{
	return run_batch(&op, 1);
}

static struct ps_range all = {1, UINT32_MAX};

static int do_append(void)
{
	return kit_append(&kit, kit.inbox, MESSAGE, PS_FLAG_SEEN, NULL);
}

/* An append as core makes it, in one step, and one of another store's message, which is dated. */
static int append_dated(int64_t save_date)
{
	struct ps_op op = {.kind = PS_OP_APPEND, .mbox = kit.inbox, .save_date = save_date};
	int r = kit_stage(&kit, MESSAGE, &op.staged);

	return r < 0 ? r : one(op);
}

static int do_append_one(void)
{
	return append_dated(0);
}

static int do_append_old(void)
{
	return append_dated(1000000000);
}

static int do_append_two(void)
{
	struct ps_op ops[2] = {{.kind = PS_OP_APPEND, .mbox = kit.inbox}, {.kind = PS_OP_APPEND, .mbox = archive}};
	int r = kit_stage(&kit, MESSAGE, &ops[0].staged);

	if (r < 0)
		return r;
	if ((r = kit_stage(&kit, MESSAGE, &ops[1].staged)) < 0) {
		be->stage_drop(ops[0].staged);
		return r;
	}
	return run_batch(ops, 2);
}

static int do_flags(void)
{
	static const char *const keywords[] = {"new-one", NULL};

	return one((struct ps_op){.kind = PS_OP_FLAGS,
				  .mbox = kit.inbox,
				  .uids = &all,
				  .uid_count = 1,
				  .flag_mode = PS_FLAGS_ADD,
				  .flags = PS_FLAG_FLAGGED,
				  .keywords = keywords,
				  .unchanged_since = UINT64_MAX});
}

static int do_expunge(void)
{
	return kit_expunge(&kit, kit.inbox, 2);
}

static int do_expunge_all(void)
{
	return one((struct ps_op){.kind = PS_OP_EXPUNGE, .mbox = kit.inbox, .uids = &all, .uid_count = 1});
}

static int do_copy(void)
{
	return one(
		(struct ps_op){.kind = PS_OP_COPY, .mbox = kit.inbox, .target = archive, .uids = &all, .uid_count = 1});
}

static int do_move(void)
{
	return one(
		(struct ps_op){.kind = PS_OP_MOVE, .mbox = kit.inbox, .target = archive, .uids = &all, .uid_count = 1});
}

static int do_mixed(void)
{
	struct ps_op ops[3] = {
		{.kind = PS_OP_FLAGS,
		 .mbox = archive,
		 .uids = &all,
		 .uid_count = 1,
		 .flag_mode = PS_FLAGS_SET,
		 .flags = PS_FLAG_DRAFT,
		 .unchanged_since = UINT64_MAX},
		{.kind = PS_OP_COPY, .mbox = kit.inbox, .target = archive, .uids = &all, .uid_count = 1},
		{.kind = PS_OP_SUBSCRIBE, .name = "Other", .subscribed = true},
	};

	return run_batch(ops, 3);
}

static int do_create(void)
{
	return kit_create(&kit, "New", PS_MBOX_SENT);
}

static int do_rename(void)
{
	return one((struct ps_op){.kind = PS_OP_RENAME, .name = "Old", .new_name = "Newer"});
}

static int do_delete(void)
{
	return one((struct ps_op){.kind = PS_OP_DELETE, .name = "Old"});
}

static int do_subscribe(void)
{
	return one((struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "Archive", .subscribed = true});
}

static int do_attributes(void)
{
	return one((struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "Archive", .attributes = PS_MBOX_JUNK});
}

static int do_identity(void)
{
	struct ps_op ops[2] = {
		{.kind = PS_OP_IDENTITY,
		 .name = "Old",
		 .uid_validity = COPIED,
		 .uid_next = 77,
		 .mailbox_id = copied_id},
		{.kind = PS_OP_SUBSCRIBE, .name = "Old", .subscribed = true},
	};

	return run_batch(ops, 2);
}

/* A copy of another store's: a message with its modseq, flags that get the batch's, flags that are the same in the end. */
static int do_copied(void)
{
	static const struct ps_range last = {2, 2};
	struct ps_op ops[4] = {{.kind = PS_OP_APPEND, .mbox = archive, .modseq = 123456}};
	int r = kit_stage(&kit, MESSAGE, &ops[0].staged);

	for (size_t i = 1; i < PS_ARRAY_LEN(ops); i++)
		ops[i] = (struct ps_op){.kind = PS_OP_FLAGS,
					.mbox = kit.inbox,
					.uids = i == 1 ? &all : &last,
					.uid_count = 1,
					.flag_mode = i == 3 ? PS_FLAGS_REMOVE : PS_FLAGS_ADD,
					.flags = i == 1 ? PS_FLAG_FLAGGED : PS_FLAG_DRAFT,
					.unchanged_since = UINT64_MAX};
	if (r < 0)
		return r;
	batch_modseq = 234567;
	r = run_batch(ops, PS_ARRAY_LEN(ops));
	batch_modseq = 0;
	return r;
}

static int do_sync(void)
{
	kit_deliver(&kit, "", "1700000000.x", "Subject: x\n\nx\n");
	return be->sync(kit.store, kit.inbox);
}

static const struct {
	const char *name;
	int (*run)(void);
	bool arrives; /* what is not taken in at once is taken in later */
} operations[] = {
	{"append", do_append, false},
	{"append two", do_append_two, false},
	{"flags", do_flags, false},
	{"expunge", do_expunge, false},
	{"copy", do_copy, false},
	{"move", do_move, false},
	{"mixed", do_mixed, false},
	{"create", do_create, false},
	{"rename", do_rename, false},
	{"delete", do_delete, false},
	{"subscribe", do_subscribe, false},
	{"attributes", do_attributes, false},
	{"identity", do_identity, false},
	{"copied", do_copied, false},
	{"sync", do_sync, true},
};

static const int failures[] = {EIO, ENOSPC, EDQUOT, EMFILE, SHORT};
static const int index_failures[] = {ENOSPC, MDB_MAP_FULL, MDB_CORRUPTED};

/* ---- the check ------------------------------------------------------------------------------- */

static void furnish(void)
{
	calls = fail_at = 0;
	kit_open(&kit);
	ck_assert_ok(kit_create(&kit, "Archive", 0));
	ck_assert_ok(kit_create(&kit, "Old", 0));
	archive = kit_mailbox(&kit, "Archive");
	for (int i = 0; i < 2; i++)
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_ok(kit_append(&kit, archive, MESSAGE, 0, NULL));
	kit_sync(&kit, kit.inbox);
	kit_sync(&kit, archive);
}

/* All three of it, or nothing. */
static const char *old_identity(void)
{
	struct ps_mailbox_info info;
	struct ps_mbox *old;

	if (be->mailbox_open(kit.store, "Old", &old) < 0)
		return "gone";
	info = kit_info(&kit, old);
	be->mailbox_close(old);
	if (info.uid_validity != COPIED)
		return info.id.octets[0] == 1 && info.id.octets[1] == 2 ? "half a copy" : "its own";
	return info.uid_next >= 77 && info.id.octets[2] == 3 ? "a copy" : "half a copy";
}

/* All that a client can see, but for modseqs and the UIDs that a refused attempt used up. */
static const char *picture(void)
{
	static char texts[4][4096];
	static unsigned next;
	char *text = texts[next++ % 4];
	struct ps_mailbox_info info;

	kit_sync(&kit, kit.inbox);
	kit_sync(&kit, archive);
	if (be->stale(kit.store, NULL))
		ck_assert_ok(be->sync(kit.store, NULL));
	info = kit_info(&kit, archive);
	snprintf(text, sizeof texts[0], "%s | %s | %s | %x | %u | %s", kit_list(&kit), kit_rows(&kit, kit.inbox),
		 kit_rows(&kit, archive), info.attributes, kit_info(&kit, kit.inbox).messages, old_identity());
	return text;
}

static void close_all(void)
{
	be->mailbox_close(archive);
	kit_close(&kit);
}

static void open_again(bool with_index)
{
	close_all();
	if (!with_index)
		kit_drop_index(&kit);
	kit_again(&kit);
	archive = kit_mailbox(&kit, "Archive");
}

static void state_must_be(int r, const char *before, const char *after, const char *now, const char *when)
{
	ck_assert_msg(strcmp(now, after) == 0 || (r < 0 && strcmp(now, before) == 0),
		      "call %u, %d: said %s, %s it is\n  %s, not\n  %s or\n  %s", trying, fail_with, ps_err_name(r),
		      when, now, after, before);
}

/* One failing call; false when there were not so many. */
static bool try_one(size_t operation, unsigned n, int error, const char *before, const char *after)
{
	bool over;
	int r;

	furnish();
	fail_with = error;
	fail_at = in_index ? 0 : n;
	calls = 0;
	if (in_index)
		lmdb_arm((int)n - 1, error);
	r = operations[operation].run();
	over = in_index ? lmdb_disarm() : calls < n;
	if (over) {
		ck_assert_ok(r);
		close_all();
		kit_remove(&kit);
		return false;
	}
	fail_at = 0;
	if (error == ENOSPC || error == EDQUOT)
		ck_assert_msg(r == 0 || r == (error == ENOSPC ? PS_E_FULL : PS_E_QUOTA), "call %u: a full disk is %s",
			      n, ps_err_name(r));
	if (operations[operation].arrives)
		before = after;
	state_must_be(r, before, after, picture(), "now");
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_ok(kit_expunge(&kit, kit.inbox, kit_info(&kit, kit.inbox).uid_next - 1));
	open_again(n % 2);
	state_must_be(r, before, after, picture(), n % 2 ? "opened again" : "without its index");
	close_all();
	kit_remove(&kit);
	return true;
}

/* What a client sees before and after an operation; the store is gone then. */
static void take_pictures(size_t operation, char before[4096], char after[4096])
{
	ps_log_set_level(PS_LOG_ERROR);
	if (!real.open)
		real = ps_io;
	ps_io = failing;
	furnish();
	snprintf(before, 4096, "%s", picture());
	ck_assert_ok(operations[operation].run());
	snprintf(after, 4096, "%s", picture());
	ck_assert_str_ne(before, after);
	close_all();
	kit_remove(&kit);
}

START_TEST(a_failing_call_is_a_refusal)
{
	size_t operation = (size_t)_i / PS_ARRAY_LEN(failures);
	char before[4096], after[4096];

	take_pictures(operation, before, after);
	trying = 1;
	while (try_one(operation, trying, failures[(size_t)_i % PS_ARRAY_LEN(failures)], before, after))
		trying++;
	ck_assert_uint_gt(trying, 3);
}
END_TEST

/* What is done and cannot be noted is found by the next look at the folders; what is said to be refused is undone. */
START_TEST(a_failing_call_of_the_index_is_no_loss)
{
	size_t operation = (size_t)_i / PS_ARRAY_LEN(index_failures);
	char before[4096], after[4096];

	if (operations[operation].arrives && index_failures[(size_t)_i % PS_ARRAY_LEN(index_failures)] == MDB_CORRUPTED)
		return; /* a new index gives what arrives another UID */
	take_pictures(operation, before, after);
	in_index = true;
	trying = 1;
	while (try_one(operation, trying, index_failures[(size_t)_i % PS_ARRAY_LEN(index_failures)], before, after))
		trying++;
	ck_assert_uint_gt(trying, 3);
}
END_TEST

/* What is on disk and not in the index, when neither can be read any more, is not shown as it was before: a sync is due, which fails. */
START_TEST(a_disk_that_goes_away_shows_nothing_old)
{
	unsigned said_yes = 0;

	ps_log_set_level(PS_LOG_ERROR);
	real = ps_io;
	ps_io = failing;
	for (int n = 0; !goes_after; n++) {
		furnish();
		lmdb_arm(n, EIO);
		goes_after = true;
		if (do_flags() == 0 && lmdb_calls_left < 0) {
			ck_assert_msg(be->stale(kit.store, kit.inbox) ||
					      kit_row(&kit, kit.inbox, 1).flags & PS_FLAG_FLAGGED,
				      "call %d of the index", n);
			said_yes++;
		}
		goes_after = lmdb_disarm();
		close_all();
		kit_remove(&kit);
	}
	ck_assert_uint_gt(said_yes, 0);
}
END_TEST

/* Runs it in a process of its own, which dies at the n-th call. What it said, or DIED. */
static int run_and_die(int (*run)(void), unsigned n)
{
	pid_t child = fork();
	int status;

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		kit_again(&kit);
		archive = kit_mailbox(&kit, "Archive");
		calls = 0;
		fail_at = n;
		_exit(run() == 0 ? 0 : REFUSED);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != REFUSED);
	return WEXITSTATUS(status);
}

/* Modseqs of another store's messages come with the batch, whoever ends it. A lost index knows none of them. */
static void modseqs_must_be_brought(void)
{
	uint64_t flags = kit_row(&kit, kit.inbox, 1).modseq, added = kit_row(&kit, archive, 2).modseq;

	if (added == 0)
		return;
	ck_assert_msg(added == 123456 && flags == 234567 && kit_row(&kit, kit.inbox, 2).modseq == 234567,
		      "call %u: the copy has modseqs %llu and %llu", trying, (unsigned long long)added,
		      (unsigned long long)flags);
	ck_assert_uint_ge(kit_info(&kit, archive).highest_modseq, 234567);
	ck_assert_uint_ge(kit_info(&kit, kit.inbox).highest_modseq, 234567);
}

START_TEST(a_copy_that_died_has_the_modseqs_it_brought)
{
	int said = DIED;

	ps_log_set_level(PS_LOG_ERROR);
	real = ps_io;
	ps_io = failing;
	fail_with = DEATH;
	for (trying = 1; said == DIED; trying++) {
		furnish();
		close_all();
		said = run_and_die(do_copied, trying);
		kit_again(&kit);
		archive = kit_mailbox(&kit, "Archive");
		modseqs_must_be_brought();
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
		close_all();
		kit_remove(&kit);
	}
	ck_assert_uint_gt(trying, 3);
}
END_TEST

START_TEST(a_death_leaves_whole_batches)
{
	char before[4096], after[4096];
	int said = DIED;

	take_pictures((size_t)_i, before, after);
	fail_with = DEATH;
	for (trying = 1; said == DIED; trying++) {
		furnish();
		close_all();
		said = run_and_die(operations[_i].run, trying);
		if (trying % 2)
			kit_drop_index(&kit);
		kit_again(&kit);
		archive = kit_mailbox(&kit, "Archive");
		if (said == DIED && operations[_i].arrives) /* before it came, or with a UID of another block */
			ck_assert_uint_eq(kit_info(&kit, kit.inbox).messages & ~1u, 2);
		else
			state_must_be(said == DIED ? PS_E_STORAGE : 0, before, after, picture(), "after a death");
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
		close_all();
		kit_remove(&kit);
	}
	ck_assert_uint_gt(trying, 3);
}
END_TEST

/* ---- a reader comes before the server does --------------------------------------------------------- */

/* As mutt and isync do: what is in `new` goes to `cur`, all is marked as seen, and every second name of ours is extended. */
static void read_one(const char *mailbox, const char *place, const char *name, unsigned n)
{
	const char *colon = strchrnul(name, ':');
	char from[1024], to[1024];

	snprintf(from, sizeof from, "%s/%s%s/%s", kit.root, mailbox, place, name);
	snprintf(to, sizeof to, "%s/%scur/%.*s%s:2,%sS", kit.root, mailbox, (int)(colon - name), name,
		 n % 2 && strstr(name, ",P=") ? ",U=1" : "", *colon ? colon + 3 : "");
	ck_assert_int_eq(rename(from, to), 0);
}

/* Gives how many files there are. */
static unsigned each_file(const char *place, void (*fn)(const char *, const char *, const char *, unsigned))
{
	static const char *const mailboxes[] = {"", ".Archive/"};
	struct dirent **names;
	unsigned count = 0;

	for (size_t m = 0; m < PS_ARRAY_LEN(mailboxes); m++) {
		char path[1024];
		int n;

		snprintf(path, sizeof path, "%s/%s%s", kit.root, mailboxes[m], place);
		n = scandir(path, &names, NULL, alphasort);
		ck_assert_int_ge(n, 0);
		for (int i = 0; i < n; i++) {
			if (names[i]->d_name[0] != '.' && ++count && fn)
				fn(mailboxes[m], place, names[i]->d_name, count);
			free(names[i]);
		}
		free(names);
	}
	return count;
}

static void somebody_reads(void)
{
	each_file("cur", read_one);
	each_file("new", read_one);
}

static int (*const read_meanwhile[])(void) = {do_flags, do_expunge_all, do_copy, do_move, do_mixed};

/* A message that others delivered lies in `new` still. */
static void furnish_to_be_read(void)
{
	furnish();
	kit_deliver(&kit, "", "1700000000.new", "Subject: x\n\nx\n");
	kit_sync(&kit, kit.inbox);
}

static void picture_read(int (*run)(void), char text[4096])
{
	furnish_to_be_read();
	if (run)
		ck_assert_ok(run());
	somebody_reads();
	snprintf(text, 4096, "%s", picture());
	close_all();
	kit_remove(&kit);
}

START_TEST(who_reads_between_a_death_and_the_start_doubles_and_tears_nothing)
{
	char before[4096], after[4096];
	int said = DIED;

	ps_log_set_level(PS_LOG_ERROR);
	real = ps_io;
	ps_io = failing;
	picture_read(NULL, before);
	picture_read(read_meanwhile[_i], after);
	fail_with = DEATH;
	for (trying = 1; said == DIED; trying++) {
		furnish_to_be_read();
		close_all();
		said = run_and_die(read_meanwhile[_i], trying);
		somebody_reads();
		kit_again(&kit);
		archive = kit_mailbox(&kit, "Archive");
		state_must_be(said == DIED ? PS_E_STORAGE : 0, before, after, picture(), "read after a death");
		ck_assert_uint_eq(each_file("cur", NULL),
				  kit_info(&kit, kit.inbox).messages + kit_info(&kit, archive).messages);
		close_all();
		kit_remove(&kit);
	}
	ck_assert_uint_gt(trying, 3);
}
END_TEST

/* ---- tokens ---------------------------------------------------------------------------------- */

static int (*const deliveries[])(void) = {do_append_one, do_append_old, do_append_two, do_copy, do_move, do_mixed};

static const char *counts(void)
{
	static char texts[4][64];
	static unsigned next;
	char *text = texts[next++ % 4];

	kit_sync(&kit, kit.inbox);
	kit_sync(&kit, archive);
	snprintf(text, sizeof texts[0], "%u in INBOX, %u in Archive", kit_info(&kit, kit.inbox).messages,
		 kit_info(&kit, archive).messages);
	return text;
}

/* Whatever became of the first try, after the second it is there once; and it stays so. */
static void try_again(size_t delivery, bool done, unsigned n, const char *after)
{
	if (n % 3 > 0)
		open_again(n % 3 == 1);
	ck_assert_ok(deliveries[delivery]());
	ck_assert_msg(repeated || !done, "call %u, %d: done before, and again", n, fail_with);
	ck_assert_msg(strcmp(counts(), after) == 0, "call %u, %d: %s, not %s", n, fail_with, counts(), after);
	ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	ck_assert_ok(kit_expunge(&kit, kit.inbox, kit_info(&kit, kit.inbox).uid_next - 1));
	open_again(n % 2);
	ck_assert_ok(deliveries[delivery]());
	ck_assert(repeated);
	ck_assert_str_eq(counts(), after);
	close_all();
	kit_remove(&kit);
}

static void prepare_delivery(size_t delivery, char after[64])
{
	ps_log_set_level(PS_LOG_ERROR);
	if (!real.open)
		real = ps_io;
	ps_io = failing;
	token = ps_bytes_str("delivery");
	furnish();
	ck_assert_ok(deliveries[delivery]());
	snprintf(after, 64, "%s", counts());
	close_all();
	kit_remove(&kit);
}

START_TEST(a_refused_delivery_can_be_tried_again)
{
	size_t delivery = (size_t)_i / PS_ARRAY_LEN(failures);
	char after[64];
	int r;

	prepare_delivery(delivery, after);
	fail_with = failures[(size_t)_i % PS_ARRAY_LEN(failures)];
	for (trying = 1;; trying++) {
		furnish();
		calls = 0;
		fail_at = trying;
		r = deliveries[delivery]();
		fail_at = 0;
		if (calls < trying)
			break;
		try_again(delivery, r == 0, trying, after);
	}
	ck_assert_uint_gt(trying, 3);
	close_all();
	kit_remove(&kit);
}
END_TEST

START_TEST(a_delivery_that_died_can_be_tried_again)
{
	char after[64];
	int status = DIED << 8;

	prepare_delivery((size_t)_i, after);
	for (trying = 1; WEXITSTATUS(status) == DIED; trying++) {
		pid_t child;

		furnish();
		close_all();
		if ((child = fork()) == 0) {
			kit_again(&kit);
			archive = kit_mailbox(&kit, "Archive");
			fail_with = DEATH;
			calls = 0;
			fail_at = trying;
			_exit(deliveries[_i]() == 0 ? 0 : REFUSED);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != REFUSED);
		if (trying % 2)
			kit_drop_index(&kit);
		kit_again(&kit);
		archive = kit_mailbox(&kit, "Archive");
		try_again((size_t)_i, WEXITSTATUS(status) == 0, trying, after);
	}
	ck_assert_uint_gt(trying, 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maildir");
	TCase *tc = tcase_create("faults");

	/* Thousands of stores are made: on a disk that takes minutes. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tcase_add_loop_test(tc, a_failing_call_is_a_refusal, 0, PS_ARRAY_LEN(operations) * PS_ARRAY_LEN(failures));
	tcase_add_loop_test(tc, a_failing_call_of_the_index_is_no_loss, 0,
			    PS_ARRAY_LEN(operations) * PS_ARRAY_LEN(index_failures));
	tcase_add_test(tc, a_disk_that_goes_away_shows_nothing_old);
	tcase_add_loop_test(tc, a_death_leaves_whole_batches, 0, PS_ARRAY_LEN(operations));
	tcase_add_loop_test(tc, who_reads_between_a_death_and_the_start_doubles_and_tears_nothing, 0,
			    PS_ARRAY_LEN(read_meanwhile));
	tcase_add_test(tc, a_copy_that_died_has_the_modseqs_it_brought);
	tcase_add_loop_test(tc, a_refused_delivery_can_be_tried_again, 0,
			    PS_ARRAY_LEN(deliveries) * PS_ARRAY_LEN(failures));
	tcase_add_loop_test(tc, a_delivery_that_died_can_be_tried_again, 0, PS_ARRAY_LEN(deliveries));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
