/* SPDX-License-Identifier: MIT */
/*
 * Storage calls that fail: each of those of a run once, with each error; and a disk that is full. What is said to be stored is, and
 * what is refused leaves nothing.
 */
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include "postern/io.h"
#include "tests/delivery/queue.h"
#include "tests/lmdb_calls.h"

/* ---- one call fails ------------------------------------------------------------------------------ */

static struct ps_io real;
static atomic_int calls_left;
static int fault;

static bool fails(void)
{
	if (atomic_fetch_sub(&calls_left, 1) != 0)
		return false;
	errno = fault;
	return true;
}

static int fail_open(int dirfd, const char *path, int flags, mode_t mode)
{
	return fails() ? -1 : real.open(dirfd, path, flags, mode);
}
static ssize_t fail_pread(int fd, void *data, size_t len, off_t offset)
{
	return fails() ? -1 : real.pread(fd, data, len, offset);
}
static ssize_t fail_write(int fd, const void *data, size_t len)
{
	return fails() ? -1 : real.write(fd, data, len);
}
static int fail_fsync(int fd)
{
	return fails() ? -1 : real.fsync(fd);
}
static int fail_link_file(int fd, int to_dir, const char *to)
{
	return fails() ? -1 : real.link_file(fd, to_dir, to);
}
static int fail_allocate(int fd, off_t offset, off_t len)
{
	return fails() ? -1 : real.allocate(fd, offset, len);
}
static int fail_unlink(int dirfd, const char *name, int flags)
{
	return fails() ? -1 : real.unlink(dirfd, name, flags);
}

static void arm(int n, int error)
{
	calls_left = n;
	fault = error;
	ps_io.open = fail_open;
	ps_io.pread = fail_pread;
	ps_io.write = fail_write;
	ps_io.fsync = fail_fsync;
	ps_io.link_file = fail_link_file;
	ps_io.allocate = fail_allocate;
	ps_io.unlink = fail_unlink;
}

static void disarm(void)
{
	ps_io = real;
}

static bool is_there(const char *id)
{
	char request[128];

	snprintf(request, sizeof request, "{\"what\": \"show\", \"id\": \"%s\"}", id);
	return json_is_true(json_object_get(ask(request), "ok"));
}

static struct ps_queue_message report_message(struct ps_queue_recipient *recipient)
{
	*recipient = (struct ps_queue_recipient){.address = "ann@example.com", .destination = "mx:example.com"};
	return (struct ps_queue_message){.id = "REPORT",
					 .reverse_path = "",
					 .recipients = recipient,
					 .count = 1,
					 .size = 5,
					 .file = make_body("sorry")};
}

static bool finish_is_over(void)
{
	/* What did not work is tried again: the timer is not waited for. */
	if (!TAILQ_EMPTY(&queue->stuck))
		ps_timer_set(queue->again_timer, 0, 0);
	return was_done && is_idle();
}

/* The first that was added fails for good, with a report. */
static void fail_with_report(struct ps_queue_attempt *attempt)
{
	struct ps_queue_recipient back;
	struct ps_queue_message report = report_message(&back);
	struct ps_queue_result result = {PS_QUEUE_FAILED, 550, "5.1.1", "nobody", "mx"};
	struct ps_queue_finish done = {
		.results = &result, .verdict = PS_QUEUE_REACHED, .reports = &report, .report_count = 1};

	was_done = false;
	ps_queue_finish(queue, attempt, &done, on_done, NULL);
	run_until(finish_is_over);
	ck_assert_int_eq(last_error, 0);
	close(report.file);
}

static const struct {
	bool lmdb; /* a call of LMDB; else one of storage */
	int error;
} faults[] = {{false, EIO}, {false, ENOSPC}, {false, EDQUOT},     {false, EMFILE},
	      {true, EIO},  {true, ENOSPC},  {true, MDB_MAP_FULL}};

/* True: so many calls there are not. */
static bool survive(int n, bool lmdb, int error)
{
	struct ps_queue_attempt *attempt;
	bool over;
	int first, second;

	if (lmdb)
		lmdb_arm(n, error);
	else
		arm(n, error);
	first = add_to("FIRST", "ann@example.com", "mx:example.org", 1);
	second = add_to("SECOND", "ann@example.com", "mx:example.net", 1);
	settle();
	attempt = attempt_of("FIRST") ? pick_id("FIRST") : NULL;
	if (attempt)
		fail_with_report(attempt);
	over = lmdb ? lmdb_disarm() : calls_left >= 0;
	disarm();
	ck_assert_int_eq(is_there("SECOND"), second == 0);
	ck_assert_int_eq(is_there("FIRST"), first == 0 && !attempt);
	ck_assert_int_eq(is_there("REPORT"), attempt != NULL);
	reopen();
	ck_assert_int_eq(is_there("SECOND"), second == 0);
	ck_assert_int_eq(is_there("FIRST"), first == 0 && !attempt);
	ck_assert_int_eq(is_there("REPORT"), attempt != NULL);
	/* What was there can be sent, and nothing else lies about. */
	ck_assert_uint_eq(bodies(), stats()->messages);
	ck_assert_uint_eq(out_count, stats()->messages);
	while (out_count)
		deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, 0);
	ck_assert_uint_eq(bodies(), 0);
	return over;
}

START_TEST(any_call_may_fail)
{
	int n = 0;

	real = ps_io;
	while (!survive(n, faults[_i].lmdb, faults[_i].error))
		ck_assert_int_lt(n++, 200);
	ck_assert_int_gt(n, 10);
}
END_TEST

START_TEST(an_open_that_fails_is_an_error_and_no_loss)
{
	int n = 0, r;

	real = ps_io;
	add("A", "ann@example.com", "mx:example.org");
	do {
		close_queue();
		arm(n++, EIO);
		r = try_open();
		disarm();
		if (r < 0)
			open_queue();
		start_queue();
		ck_assert(is_there("A"));
	} while (calls_left < 0);
	ck_assert_int_gt(n, 3);
}
END_TEST

/* As on a file system that goes read-only meanwhile. */
static int link_half_way(int fd, int to_dir, const char *to)
{
	ck_assert_int_eq(real.link_file(fd, to_dir, to), 0);
	errno = EROFS;
	return -1;
}

START_TEST(a_link_that_fails_half_way_does_not_say_that_the_message_is_there)
{
	real = ps_io;
	ps_io.link_file = link_half_way;
	ck_assert_int_eq(add_to("A", "ann@example.com", "mx:example.org", 1), PS_E_STORAGE);
	disarm();
	ck_assert(!is_there("A"));
	ck_assert_uint_eq(bodies(), 0);
	ck_assert_ok(add_to("A", "ann@example.com", "mx:example.org", 1));
}
END_TEST

static int writes;
static bool then_full;

static int no_link(int fd, int to_dir, const char *to)
{
	(void)fd, (void)to_dir, (void)to;
	errno = EXDEV; /* so that it is copied */
	return -1;
}

static ssize_t write_half(int fd, const void *data, size_t len)
{
	if (writes++ == 0)
		return real.write(fd, data, len / 2);
	errno = ENOSPC;
	return then_full ? -1 : real.write(fd, data, len);
}

START_TEST(half_a_write_is_gone_on_with_or_refused)
{
	char text[24] = "";
	int r;

	real = ps_io;
	then_full = _i;
	ps_io.link_file = no_link;
	ps_io.write = write_half;
	r = add_to("HALVES", "ann@example.com", "mx:example.org", 1);
	disarm();
	ck_assert_int_eq(r, then_full ? PS_E_FULL : 0);
	ck_assert_int_eq(writes, 2);
	settle();
	ck_assert_int_eq(is_there("HALVES"), !then_full);
	ck_assert_uint_eq(bodies(), !then_full);
	if (!then_full) {
		ck_assert_int_ge(pread(out[0]->message.file, text, sizeof text - 1, 0), 1);
		ck_assert_str_eq(text, "HALVES");
	}
}
END_TEST

/* ---- a full disk --------------------------------------------------------------------------------- */

static unsigned taken;

/* Adds until there is no room. */
static void fill_up(const char *prefix, size_t size)
{
	char *text = ps_zalloc(size + 1), id[32];
	int r = 0;

	memset(text, 'x', size);
	for (taken = 0; r == 0; taken += r == 0) {
		struct ps_queue_recipient recipient = {.address = "joe@example.org", .destination = "mx:example.org"};
		struct ps_queue_message message = {.id = id,
						   .reverse_path = "ann@example.com",
						   .recipients = &recipient,
						   .count = 1,
						   .size = size,
						   .file = open("/tmp", O_TMPFILE | O_RDWR, 0600)};

		snprintf(id, sizeof id, "%s%u", prefix, taken);
		ck_assert_int_eq(write(message.file, text, size), (ssize_t)size);
		r = add_message(&message);
		close(message.file);
	}
	ck_assert_msg(r == PS_E_FULL || r == PS_E_QUOTA, "%s: %s", ps_err_name(r), ps_last_error());
	free(text);
}

/* Not an octet is left, even for others. */
static void fill_rest(void)
{
	char path[128], octets[4096] = "";
	int fd;

	snprintf(path, sizeof path, "%s/rest", test_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	while (write(fd, octets, sizeof octets) > 0)
		;
	close(fd);
}

START_TEST(a_full_disk_refuses_loses_nothing_and_can_be_emptied)
{
	unsigned before;

	fill_up("A", _i ? 10 : 20000);
	before = taken;
	fill_rest();
	ck_assert_uint_gt(before, 10);
	ck_assert_uint_eq(stats()->messages, before);
	reopen();
	ck_assert_uint_eq(stats()->messages, before);
	ck_assert_uint_gt(out_count, 0);
	deliver(pick(0));
	ck_assert_uint_eq(stats()->messages, before - 1);
	defer(pick(0));
	while (stats()->messages > before / 2) {
		ck_assert_uint_gt(out_count, 0);
		deliver(pick(0));
	}
	ck_assert(json_is_true(json_object_get(ask("{\"what\": \"hold\"}"), "ok")));
	for (int i = 0; i < 100 && stats()->messages; i++)
		ck_assert(json_is_true(json_object_get(ask("{\"what\": \"remove\"}"), "ok")));
	ck_assert_uint_eq(stats()->messages, 0);
	ck_assert_uint_eq(bodies(), 0);
	fill_up("B", 20000);
	ck_assert_uint_gt(taken, _i ? 0 : before / 2);
}
END_TEST

static bool may_mount(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		      mount("none", "/mnt", "tmpfs", 0, "size=1m") < 0);
	waitpid(pid, &status, 0);
	return status == 0;
}

/* A disk of 12 MB of the test's own. */
static void set_up_small(void)
{
	set_up();
	close_queue();
	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	ck_assert_int_eq(mount("none", test_dir, "tmpfs", 0, "size=12m"), 0);
	open_queue();
	start_queue();
}

static void tear_down_small(void)
{
	if (queue)
		close_queue();
	umount2(test_dir, MNT_DETACH);
	tear_down();
}

int main(void)
{
	Suite *suite = suite_create("queue_faults");
	TCase *tc = tcase_create("calls"), *full = tcase_create("full");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, any_call_may_fail, 0, PS_ARRAY_LEN(faults));
	tcase_add_test(tc, a_link_that_fails_half_way_does_not_say_that_the_message_is_there);
	tcase_add_loop_test(tc, half_a_write_is_gone_on_with_or_refused, 0, 2);
	tcase_add_test(tc, an_open_that_fails_is_an_error_and_no_loss);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(full, set_up_small, tear_down_small);
	tcase_add_loop_test(full, a_full_disk_refuses_loses_nothing_and_can_be_emptied, 0, 2);
	if (may_mount())
		suite_add_tcase(suite, full);
	return unit_main(suite);
}
