/* SPDX-License-Identifier: MIT */
/*
 * A Maildir of another server is adopted whole or not yet: whichever storage call of its first opening fails, or is the
 * last one of a process, the next opening finds what the other server had told.
 */
#include "tests/backends/maildir/kit.h"

#include <errno.h>
#include <sys/wait.h>
#include "postern/io.h"
#include "postern/log.h"

enum {
	DEATH = -1,
	DIED = 42,
	REFUSED = 43
};

static struct ps_io real;
static unsigned calls, fail_at;
static int fail_with;

static bool fails(void)
{
	if (++calls != fail_at)
		return false;
	if (fail_with == DEATH)
		_exit(DIED);
	errno = fail_with;
	return true;
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
	return fails() ? -1 : real.write(fd, data, len);
}

static ssize_t io_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return fails() ? -1 : real.pwrite(fd, data, len, offset);
}

static int io_sync(int fd)
{
	(void)fd;
	return fails() ? -1 : 0;
}

static int io_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return fails() ? -1 : real.rename(from_dir, from, to_dir, to, flags);
}

static void be_failing(void)
{
	ps_log_set_level(PS_LOG_ERROR);
	real = ps_io;
	ps_io.open = io_open;
	ps_io.pread = io_pread;
	ps_io.write = io_write;
	ps_io.pwrite = io_pwrite;
	ps_io.fdatasync = io_sync;
	ps_io.fsync = io_sync;
	ps_io.rename = io_rename;
}

/* ---- Maildirs -------------------------------------------------------------------------------- */

static const char dovecot[] =
	"mkdir -p %s/cur %s/new %s/tmp && cd ./%s && "
	"printf '3 V77 N12 Gabc\\n3 W9 :1700000001.a:2,S\\n9 :1700000002.b,S=14\\n' >dovecot-uidlist && "
	"printf '0 $Forwarded\\n3 later\\n' >dovecot-keywords && "
	"printf 'Subject: a\\n\\na\\n' >cur/1700000001.a:2,Sad && "
	"printf 'Subject: b\\n\\nb\\n' >'cur/1700000002.b,S=14:2,F' && "
	"printf 'Subject: c\\n\\nc\\n' >new/1700000000.c";
static const char courier[] = "mkdir -p %s/cur %s/new %s/tmp && cd ./%s && mkdir courierimapkeywords && "
			      "printf '1 77 12\\n3 1700000001.a\\n9 1700000002.b,S=14\\n' >courierimapuiddb && "
			      "printf '$Forwarded\\nlater\\n\\n1700000001.a:0 1\\n' >courierimapkeywords/:list && "
			      "printf 'Subject: a\\n\\na\\n' >cur/1700000001.a:2,S && "
			      "printf 'Subject: b\\n\\nb\\n' >'cur/1700000002.b,S=14:2,F' && "
			      "printf 'Subject: c\\n\\nc\\n' >new/1700000000.c";
static const char *const writers[] = {dovecot, courier};

static struct kit kit;

static void new_root(void)
{
	const char *tmp = getenv("TMPDIR");

	kit = (struct kit){0};
	snprintf(kit.root, sizeof kit.root, "%s/postern-adopt-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(kit.root));
}

static void write_mailbox(const char *writer, const char *dir)
{
	char command[2048];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(command, sizeof command, writer, dir, dir, dir, dir);
#pragma GCC diagnostic pop
	kit_shell(&kit, "%s", command);
}

static const char *picture(const char *name)
{
	static char text[1024];
	struct ps_mbox *mbox = kit_mailbox(&kit, name);
	struct ps_mailbox_info info;

	kit_sync(&kit, mbox);
	info = kit_info(&kit, mbox);
	snprintf(text, sizeof text, "%u %s", info.uid_validity, kit_rows(&kit, mbox));
	be->mailbox_close(mbox);
	return text;
}

/* The message that the other server did not know may skip UIDs that were reserved before a death. */
static void must_be_adopted(const char *name, unsigned n, int error)
{
	static const char expected[] = "77 3:S $Forwarded later 9:F ";
	const char *now = picture(name);
	unsigned third;

	ck_assert_msg(strncmp(now, expected, strlen(expected)) == 0, "call %u, %d: %s", n, error, now);
	third = (unsigned)strtoul(now + strlen(expected), NULL, 10);
	ck_assert_msg(third == 12 || (n > 0 && third > 12), "call %u, %d: %s", n, error, now);
	ck_assert_ptr_null(strchr(now + strlen(expected), ' '));
}

/* In a process of its own, which may die. What it ended with. */
static int open_and_fail(unsigned n, int error)
{
	pid_t child = fork();
	int status;

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct ps_store_args args = {.user = "alice", .root = kit.root, .create = true};

		calls = 0;
		fail_at = n;
		fail_with = error;
		if (be->open(&args, &kit.store) < 0)
			_exit(REFUSED);
		be->close(kit.store);
		_exit(calls < n ? 0 : REFUSED);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void try_all(const char *writer, const char *dir, const char *name, bool store_is_there, int error)
{
	int said = DIED;
	unsigned n;

	for (n = 1; said != 0; n++) {
		new_root();
		if (store_is_there) {
			fail_at = 0;
			kit_again(&kit);
			kit_close(&kit);
		}
		write_mailbox(writer, dir);
		said = open_and_fail(n, error);
		fail_at = 0;
		kit_again(&kit);
		must_be_adopted(name, said == 0 ? 0 : n, error);
		kit_close(&kit);
		kit_drop_index(&kit);
		kit_again(&kit);
		must_be_adopted(name, n, error);
		kit_remove(&kit);
	}
	ck_assert_uint_gt(n, 20);
}

START_TEST(adopted_whole_or_again)
{
	static const int errors[] = {DEATH, EIO};
	size_t writer = (size_t)_i / PS_ARRAY_LEN(errors);
	int error = errors[(size_t)_i % PS_ARRAY_LEN(errors)];

	be_failing();
	try_all(writers[writer], ".", "INBOX", false, error);
	if (error == DEATH)
		try_all(writers[writer], ".Other", "Other", true, error);
}
END_TEST

START_TEST(a_state_that_was_taken_away_is_not_adopted_again)
{
	ps_log_set_level(PS_LOG_ERROR);
	new_root();
	write_mailbox(dovecot, ".");
	kit_again(&kit);
	ck_assert_ok(kit_expunge(&kit, kit.inbox, 12));
	kit_close(&kit);
	kit_shell(&kit, "rm -r postern-index postern-mailbox");
	kit_again(&kit);
	ck_assert_uint_gt(kit_info(&kit, kit.inbox).uid_validity, 77);
	kit_remove(&kit);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maildir");
	TCase *tc = tcase_create("adoption");

	/* Hundreds of stores are made: on a disk that takes minutes. */
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tcase_add_loop_test(tc, adopted_whole_or_again, 0, 4);
	tcase_add_test(tc, a_state_that_was_taken_away_is_not_adopted_again);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
