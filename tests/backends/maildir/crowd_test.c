/* SPDX-License-Identifier: MIT */
/*
 * Many at one Maildir: another MDA delivers, another mail program sets flags and moves new mail to cur, another process
 * of ours appends. Each delivery is seen exactly once, under one UID, for as long as it is there.
 */
#include "tests/backends/maildir/kit.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	DELIVERIES = 2000,
	APPENDS = 100,
	IDS = DELIVERIES + APPENDS
};

static struct kit kit;

static pid_t start(void (*work)(void))
{
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		work();
		_exit(0);
	}
	return child;
}

static void deliver_all(void)
{
	char name[64], text[128];

	for (int i = 0; i < DELIVERIES; i++) {
		snprintf(name, sizeof name, "%d.foreign%d", 1700000000 + i / 7, i);
		snprintf(text, sizeof text, "Subject: %d\n\n", i);
		kit_deliver(&kit, "", name, text);
	}
}

/* As mutt does it: new to cur, and another set of flags by renaming. */
static void change_flags(const char *place, unsigned round)
{
	char dir[512], from[1024], to[1024];
	struct dirent *entry;
	DIR *list;

	snprintf(dir, sizeof dir, "%s/%s", kit.root, place);
	list = opendir(dir);
	while ((entry = readdir(list)) != NULL) {
		size_t base = strcspn(entry->d_name, ":");

		if (entry->d_name[0] == '.' || strstr(entry->d_name, "P="))
			continue;
		snprintf(from, sizeof from, "%s/%s", dir, entry->d_name);
		snprintf(to, sizeof to, "%s/cur/%.*s:2,%s", kit.root, (int)base, entry->d_name,
			 round % 3 == 0   ? "S"
			 : round % 3 == 1 ? "FS"
					  : "");
		rename(from, to);
	}
	closedir(list);
}

static void flag_for_ever(void)
{
	for (unsigned round = 0;; round++) {
		change_flags("new", round);
		change_flags("cur", round);
	}
}

static void append_all(void)
{
	char text[128];

	kit_again(&kit);
	for (int i = 0; i < APPENDS; i++) {
		snprintf(text, sizeof text, "Subject: %d\r\n\r\n", DELIVERIES + i);
		ck_assert_ok(kit_append(&kit, kit.inbox, text, 0, NULL));
	}
	kit_close(&kit);
}

/* Which UID each message has, by the number in its subject. */
struct seen {
	uint32_t uid_of[IDS];
	uint32_t count;
	uint64_t modseq;
};

static int note(void *arg, const struct ps_row *row)
{
	struct seen *seen = arg;
	const char *text = kit_body(&kit, kit.inbox, row->uid);
	int id = -1;

	ck_assert_msg(text != NULL, "UID %u is in the index and has no file", row->uid);
	ck_assert_int_eq(sscanf(text, "Subject: %d", &id), 1);
	ck_assert(id >= 0 && id < IDS);
	if (seen->uid_of[id] == 0)
		seen->count++;
	ck_assert_msg(seen->uid_of[id] == 0 || seen->uid_of[id] == row->uid, "message %d has UIDs %u and %u", id,
		      seen->uid_of[id], row->uid);
	seen->uid_of[id] = row->uid;
	return 0;
}

static void look(struct seen *seen)
{
	struct ps_mailbox_info info;
	struct ps_read *read;

	if (be->stale(kit.store, kit.inbox))
		ck_assert_ok(be->sync(kit.store, kit.inbox));
	ck_assert_ok(be->read_begin(kit.store, &read));
	ck_assert_ok(be->info(read, kit.inbox, &info));
	ck_assert_ok(be->scan(read, kit.inbox, (struct ps_range){1, UINT32_MAX}, seen->modseq, note, seen));
	be->read_end(read);
	seen->modseq = info.highest_modseq;
}

START_TEST(each_delivery_is_seen_exactly_once)
{
	struct seen *seen = ps_zalloc(sizeof *seen);
	pid_t mda, flags, other;
	int status;

	kit_open(&kit);
	kit_close(&kit);
	mda = start(deliver_all);
	flags = start(flag_for_ever);
	other = start(append_all);
	kit_again(&kit);
	while (seen->count < IDS)
		look(seen);
	ck_assert_int_eq(waitpid(mda, &status, 0), mda);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(waitpid(other, &status, 0), other);
	ck_assert_int_eq(status, 0);
	kill(flags, SIGKILL);
	waitpid(flags, &status, 0);
	for (int i = 0; i < 3; i++)
		look(seen);
	ck_assert_uint_eq(kit_info(&kit, kit.inbox).messages, IDS);
	ck_assert_str_eq(kit_vanished(&kit, kit.inbox, 0), "");
	kit_close(&kit);
	kit_drop_index(&kit);
	kit_again(&kit);
	seen->modseq = 0;
	look(seen);
	ck_assert_uint_eq(kit_info(&kit, kit.inbox).messages, IDS);
	kit_remove(&kit);
	free(seen);
}
END_TEST

/* ---- watching -------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static unsigned calls;

static void changed(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	calls++;
	pthread_cond_signal(&told);
	pthread_mutex_unlock(&lock);
}

static void wait_for_call(unsigned n)
{
	pthread_mutex_lock(&lock);
	while (calls < n)
		pthread_cond_wait(&told, &lock);
	pthread_mutex_unlock(&lock);
}

START_TEST(who_watches_hears_of_others_and_not_of_itself)
{
	void *watch;

	kit_open(&kit);
	kit_sync(&kit, kit.inbox);
	ck_assert_ok(be->watch(kit.inbox, changed, NULL, &watch));
	for (int i = 0; i < 20; i++)
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
	kit_deliver(&kit, "", "1.x", "x\n");
	wait_for_call(1);
	kit_sync(&kit, kit.inbox);
	kit_deliver(&kit, "", "2.x", "x\n");
	wait_for_call(2);
	be->unwatch(watch);
	ck_assert_uint_eq(calls, 2);
	kit_deliver(&kit, "", "3.x", "x\n");
	kit_sync(&kit, kit.inbox);
	ck_assert_uint_eq(kit_info(&kit, kit.inbox).messages, 23);
	kit_remove(&kit);
}
END_TEST

/* ---- files that rot -------------------------------------------------------------------------- */

static const char *const small_files[] = {"postern-mailbox", "postern-keywords", "postern-uidlist",
					  "postern-control/state", "postern-control/intent"};

static void flip(const char *file, long at)
{
	char path[1024];
	FILE *f;
	int c;

	snprintf(path, sizeof path, "%s/%s", kit.root, file);
	f = fopen(path, "r+");
	ck_assert_ptr_nonnull(f);
	fseek(f, at, SEEK_SET);
	c = fgetc(f);
	fseek(f, at, SEEK_SET);
	fputc(c ^ 0x10, f);
	fclose(f);
}

static long size_of(const char *file)
{
	char path[1024];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", kit.root, file);
	return stat(path, &st) == 0 ? (long)st.st_size : 0;
}

/* With the index there, nothing is lost at all; without it, UIDs are never given to another message. */
START_TEST(a_flipped_bit_is_found)
{
	const char *file = small_files[_i];
	struct ps_mailbox_info before, after;
	struct ps_range both = {1, 2};
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .uids = &both,
			   .uid_count = 1,
			   .flags = PS_FLAG_SEEN,
			   .flag_mode = PS_FLAGS_ADD,
			   .unchanged_since = UINT64_MAX};
	long size;

	if (access("/dev/shm", W_OK) == 0) /* hundreds of stores */
		setenv("TMPDIR", "/dev/shm", 1);
	kit_open(&kit);
	ck_assert_ok(kit_append(&kit, kit.inbox, "1\r\n", 0, NULL));
	kit_deliver(&kit, "", "1.x", "2\n");
	kit_sync(&kit, kit.inbox);
	ck_assert_ok(kit_flags(&kit, kit.inbox, 1, PS_FLAGS_ADD, 0, "word"));
	op.mbox = kit.inbox;
	ck_assert_ok(kit_do(&kit, &op, NULL));
	before = kit_info(&kit, kit.inbox);
	kit_close(&kit);
	kit_shell(&kit, "cp -a . ../saved.$$ && mv ../saved.$$ saved");
	size = size_of(file);
	ck_assert_int_gt(size, 0);
	for (long at = 0; at<size; at += size> 600 && at % 512 > 100 ? 37 : 1) {
		bool with_index = at % 2;

		flip(file, at);
		if (!with_index)
			kit_drop_index(&kit);
		kit_again(&kit);
		kit_sync(&kit, kit.inbox);
		after = kit_info(&kit, kit.inbox);
		ck_assert_uint_eq(after.messages, 2);
		ck_assert_uint_gt(after.highest_modseq + with_index, before.highest_modseq);
		if (after.uid_validity == before.uid_validity) {
			ck_assert_str_eq(kit_body(&kit, kit.inbox, 1), "1\r\n");
			ck_assert(!kit_body(&kit, kit.inbox, 2) || strcmp(kit_body(&kit, kit.inbox, 2), "2\r\n") == 0);
			ck_assert_uint_ge(after.uid_next, before.uid_next);
		} else {
			ck_assert_uint_gt(after.uid_validity, before.uid_validity);
		}
		ck_assert_ok(kit_append(&kit, kit.inbox, MESSAGE, 0, NULL));
		kit_close(&kit);
		kit_shell(
			&kit,
			"for f in cur new postern-*; do rm -rf $f; done; cp -a saved/cur saved/new saved/postern-* .");
	}
	kit_remove(&kit);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maildir");
	TCase *tc = tcase_create("crowd");

	tcase_add_test(tc, each_delivery_is_seen_exactly_once);
	tcase_add_test(tc, who_watches_hears_of_others_and_not_of_itself);
	tcase_add_loop_test(tc, a_flipped_bit_is_found, 0, PS_ARRAY_LEN(small_files));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
