/* SPDX-License-Identifier: MIT */
/* Each storage call fails once: the run says so or does without, and the next one finishes it. Over a backend that uses ps_io. */
#include <errno.h>
#include <fcntl.h>
#include "postern/io.h"
#include "tests/sync/sync.h"

static struct ps_io real;
static int calls_left, error;

static bool fails(void)
{
	if (calls_left-- != 0)
		return false;
	errno = error;
	return true;
}

static int fail_open(int dirfd, const char *path, int flags, mode_t mode)
{
	return (flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails() ? -1 : real.open(dirfd, path, flags, mode);
}
static ssize_t fail_write(int fd, const void *data, size_t len)
{
	return fails() ? -1 : real.write(fd, data, len);
}
static ssize_t fail_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return fails() ? -1 : real.pwrite(fd, data, len, offset);
}
static int fail_fdatasync(int fd)
{
	return fails() ? -1 : real.fdatasync(fd);
}
static int fail_fsync(int fd)
{
	return fails() ? -1 : real.fsync(fd);
}
static int fail_rename(int from_dir, const char *old, int to_dir, const char *new, unsigned flags)
{
	return fails() ? -1 : real.rename(from_dir, old, to_dir, new, flags);
}
static int fail_mkdir(int dirfd, const char *name, mode_t mode)
{
	return fails() ? -1 : real.mkdir(dirfd, name, mode);
}

static void arm(int n)
{
	calls_left = n;
	ps_io.open = fail_open;
	ps_io.write = fail_write;
	ps_io.pwrite = fail_pwrite;
	ps_io.fdatasync = fail_fdatasync;
	ps_io.fsync = fail_fsync;
	ps_io.rename = fail_rename;
	ps_io.mkdir = fail_mkdir;
}

static void set_up(void)
{
	open_ends();
	fill(&from);
	real = ps_io;
}

static const int errors[] = {EIO, ENOSPC, EDQUOT};

/* Every fifth call; which ones differs between the errors. True: there are not so many calls. */
static bool survive(int n, const char *name)
{
	bool over;
	int r;

	ps_sync_end_close(&to);
	to = open_end(name);
	options.record_dir = ps_pool_printf(pool, "%s/record.%s.%ld", test_dir, name, (long)getpid());
	arm(n);
	r = sync_ends();
	over = calls_left >= 0;
	ps_io = real;
	if (over)
		ck_assert_ok(r);
	ps_sync_end_close(&to); /* what failed once is opened anew, as by another run of the program */
	to = open_end(name);
	ck_assert_ok(sync_ends());
	if (options.mode == PS_SYNC_MIRROR)
		ck_assert_same_content();
	else
		ck_assert_same_mail();
	return over;
}

START_TEST(a_first_copy)
{
	int n = _i;

	error = errors[_i];
	options.mode = PS_SYNC_MIRROR;
	while (!survive(n, ps_pool_printf(pool, "first%d", n)))
		n += 5;
	ck_assert_int_gt(n, 60);
}
END_TEST

START_TEST(two_ways)
{
	int n = _i;

	error = errors[_i];
	options.mode = PS_SYNC_BOTH;
	while (!survive(n, ps_pool_printf(pool, "both%d", n)))
		n += 5;
	ck_assert_int_gt(n, 60);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sync, faults");
	TCase *tests = tcase_create("faults");

	tcase_add_checked_fixture(tests, set_up, close_ends);
	tcase_add_loop_test(tests, a_first_copy, 0, PS_ARRAY_LEN(errors));
	tcase_add_loop_test(tests, two_ways, 0, PS_ARRAY_LEN(errors));
	suite_add_tcase(suite, tests);
	return test_main(suite);
}
