/* SPDX-License-Identifier: MIT */
/*
 * What others do meanwhile, as stale(), sync() and watch() tell it: another who opened the store, in this process and in
 * another one; and other programs, that write to the disk by themselves.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/conformance/conform.h"

/* ---- by others who opened the store -------------------------------------------------------- */

static void theirs_append(struct kit *kit)
{
	kit_fill(kit, kit->store, kit->inbox, 2);
}

static void theirs_flags(struct kit *kit)
{
	kit_flags(kit, kit->store, kit->inbox, UIDS(2, 3), PS_FLAGS_ADD, PS_FLAG_SEEN | PS_FLAG_DRAFT, NULL);
}

static void theirs_keywords(struct kit *kit)
{
	kit_flags(kit, kit->store, kit->inbox, UIDS(1, 2), PS_FLAGS_ADD, 0, WORDS("theirs", "new"));
}

static void theirs_expunge(struct kit *kit)
{
	kit_expunge(kit, kit->store, kit->inbox, UIDS(2, 3));
}

static void theirs_move(struct kit *kit)
{
	kit_copy(kit, kit->store, kit->inbox, UIDS(1, 2), kit_mbox(kit, kit->store, "Other"), true);
}

static void theirs_copy(struct kit *kit)
{
	kit_copy(kit, kit->store, kit->inbox, ALL, kit->inbox, false);
}

static void theirs_create(struct kit *kit)
{
	must_ok(kit_create(kit, kit->store, "New"));
	kit_fill(kit, kit->store, kit_mbox(kit, kit->store, "New"), 1);
}

static void theirs_rename(struct kit *kit)
{
	must_ok(kit_rename(kit, kit->store, "Other", "Renamed"));
}

static void theirs_delete(struct kit *kit)
{
	must_ok(kit_delete(kit, kit->store, "Other"));
}

static void theirs_subscribe(struct kit *kit)
{
	must_ok(kit_subscribe(kit, kit->store, "Wanted", true));
}

static void theirs_use(struct kit *kit)
{
	must_ok(kit_try(kit, kit->store,
			&(struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "Other", .attributes = PS_MBOX_JUNK}, NULL));
}

static const struct doing {
	const char *name;
	void (*run)(struct kit *kit);
} doings[] = {
	{"append", theirs_append},
	{"change flags", theirs_flags},
	{"give keywords", theirs_keywords},
	{"expunge", theirs_expunge},
	{"move", theirs_move},
	{"copy", theirs_copy},
	{"create", theirs_create},
	{"rename", theirs_rename},
	{"delete", theirs_delete},
	{"subscribe", theirs_subscribe},
	{"change a special use", theirs_use},
};

static void set_out(struct kit *kit)
{
	kit_begin(kit, 4);
	must_ok(kit_create(kit, kit->store, "Other"));
	kit_fill(kit, kit->store, kit_mbox(kit, kit->store, "Other"), 1);
	must_ok(kit->ops->sync(kit->store, NULL));
	must_ok(kit->ops->sync(kit->store, kit->inbox));
}

/* The mailboxes that are stale are synced, as core does it. */
static void bring_up(struct kit *kit)
{
	struct names names;

	if (kit->ops->stale(kit->store, NULL) > 0)
		must_ok(kit->ops->sync(kit->store, NULL));
	names = kit_list(kit, kit->store);
	for (size_t i = 0; i < names.count; i++) {
		struct ps_mbox *mbox;

		if (!(names.infos[i].attributes & PS_MBOX_EXISTS))
			continue;
		mbox = kit_mbox(kit, kit->store, names.infos[i].name);
		if (kit->ops->stale(kit->store, mbox) > 0)
			must_ok(kit->ops->sync(kit->store, mbox));
	}
}

static void by_another_handle(struct kit *kit)
{
	struct kit theirs;
	struct picture before;
	const char *mine, *other;

	set_out(kit);
	before = kit_picture(kit, kit->store, kit->inbox);
	theirs = *kit;
	kit_begin(&theirs, 0);
	doings[kit->row].run(&theirs);
	bring_up(kit);
	mine = kit_describe(kit, kit->store);
	other = kit_describe(&theirs, theirs.store);
	must(strcmp(mine, other) == 0, "one sees\n%sthe other\n%s", mine, other);
	kit_catch_up(kit, kit->store, kit->inbox, &before);
	kit_end(&theirs);
	kit_end(kit);
}

/* A process that waits, then opens the store, does it, and ends. Forked before the store is open here. */
static pid_t another_process(struct kit *kit, void (*run)(struct kit *kit), int *ret_go)
{
	int go[2];
	pid_t pid;
	char c;

	must(pipe(go) == 0 && (pid = fork()) >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) != 1)
			_exit(EXIT_FAILURE);
		kit_begin(kit, 0);
		run(kit);
		kit_end(kit);
		_exit(EXIT_SUCCESS);
	}
	close(go[0]);
	*ret_go = go[1];
	return pid;
}

static void let_go(pid_t pid, int go)
{
	int status;

	must(write(go, "g", 1) == 1, "write: %s", strerror(errno));
	must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0,
	     "the other process ended with status 0x%x", (unsigned)status);
	close(go);
}

static void by_another_process(struct kit *kit)
{
	struct picture before;
	const char *open_all_the_time, *opened_now;
	int go;
	pid_t pid = another_process(kit, doings[kit->row].run, &go);

	set_out(kit);
	before = kit_picture(kit, kit->store, kit->inbox);
	let_go(pid, go);
	bring_up(kit);
	open_all_the_time = kit_describe(kit, kit->store);
	kit_catch_up(kit, kit->store, kit->inbox, &before);
	kit_again(kit);
	opened_now = kit_describe(kit, kit->store);
	must(strcmp(open_all_the_time, opened_now) == 0, "who had it open sees\n%swho opens it\n%s", open_all_the_time,
	     opened_now);
	kit_end(kit);
}

/* ---- watching ------------------------------------------------------------------------------ */

static void note_change(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
}

static bool comes_true(atomic_bool *flag, int seconds)
{
	for (int i = 0; i < seconds * 100 && !atomic_load(flag); i++)
		poll(NULL, 0, 10);
	return atomic_load(flag);
}

static void watched(struct kit *kit)
{
	atomic_bool changed = false;
	void *watch;
	int go;
	pid_t pid = another_process(kit, doings[kit->row].run, &go);

	if (!kit->ops->watch)
		skip("it has no watch()");
	set_out(kit);
	must_ok(kit->ops->watch(kit->inbox, note_change, &changed, &watch));
	let_go(pid, go);
	must(comes_true(&changed, 60), "nothing was told");
	kit->ops->unwatch(watch);
	bring_up(kit);
	kit_end(kit);
}

static void not_watched_any_more(struct kit *kit)
{
	atomic_bool changed = false;
	void *watch;
	int go;
	pid_t pid = another_process(kit, theirs_append, &go);

	if (!kit->ops->watch)
		skip("it has no watch()");
	set_out(kit);
	must_ok(kit->ops->watch(kit->inbox, note_change, &changed, &watch));
	kit->ops->unwatch(watch);
	atomic_store(&changed, false);
	let_go(pid, go);
	bring_up(kit);
	must(!atomic_load(&changed), "it was told behind unwatch()");
	kit_end(kit);
}

/* ---- by other programs -------------------------------------------------------------------- */

static void deliver(struct kit *kit)
{
	kit->outside->deliver(kit, 5, false);
}

static void deliver_seen(struct kit *kit)
{
	kit->outside->deliver(kit, 5, true);
}

static void flag(struct kit *kit)
{
	kit->outside->flag(kit, 2);
}

static void take_away(struct kit *kit)
{
	kit->outside->remove(kit, 2);
}

static void deliver_and_take_away(struct kit *kit)
{
	deliver(kit);
	take_away(kit);
}

static const struct foreign {
	const char *name;
	void (*run)(struct kit *kit);
	const char *flags; /* of messages 1 to 5, in hex; '-': it is not there */
} foreigns[] = {
	{"delivered", deliver, "00000"},
	{"delivered as seen", deliver_seen, "00001"},
	{"flagged", flag, "0500-"},
	{"removed", take_away, "0-00-"},
	{"delivered and removed", deliver_and_take_away, "0-000"},
};

/* The message with `Subject: n`, or NULL. */
static const struct ps_row *message(struct kit *kit, const struct picture *p, unsigned n)
{
	struct ps_bytes wanted = kit_text(kit, "Subject: %u\r\n\r\nbody %u\r\n", n, n), octets;

	for (size_t i = 0; i < p->count; i++) {
		must_ok(kit_body(kit, kit->inbox, p->rows[i].uid, &octets));
		if (ps_bytes_eq(octets, wanted))
			return &p->rows[i];
	}
	return NULL;
}

static void foreign_must_be(struct kit *kit, const char *flags)
{
	struct picture p = kit_picture(kit, kit->store, kit->inbox);

	for (unsigned n = 1; n <= 5; n++) {
		const struct ps_row *row = message(kit, &p, n);

		must((row == NULL) == (flags[n - 1] == '-'), "message %u is %sthere", n, row ? "" : "not ");
		must(!row || row->flags == (uint32_t)(flags[n - 1] - '0'), "message %u has flags 0x%x", n, row->flags);
		must(!row || n == 5 || row->uid == n, "message %u has UID %u", n, row->uid);
		must(!row || n < 5 || row->uid > 4, "message 5 has UID %u", row->uid);
	}
}

static void by_another_program(struct kit *kit)
{
	struct picture before;

	kit_begin(kit, 4);
	before = kit_picture(kit, kit->store, kit->inbox);
	foreigns[kit->row].run(kit);
	bring_up(kit);
	for (int again = 0; again < 2; again++) {
		foreign_must_be(kit, foreigns[kit->row].flags);
		kit_catch_up(kit, kit->store, kit->inbox, &before);
		kit_again(kit);
	}
	kit_end(kit);
}

static void while_closed(struct kit *kit)
{
	kit_begin(kit, 4);
	kit_end(kit);
	foreigns[kit->row].run(kit);
	kit_begin(kit, 0);
	bring_up(kit);
	foreign_must_be(kit, foreigns[kit->row].flags);
	kit_end(kit);
}

enum {
	DELIVERIES = 40
};

static void deliver_many(struct kit *kit)
{
	for (unsigned n = 0; n < DELIVERIES; n++)
		kit->outside->deliver(kit, 1000 + n, n % 2);
}

/* Ours are 1 to 4 and what is appended meanwhile; of those each second one is expunged again. */
static void while_we_write(struct kit *kit)
{
	unsigned there[DELIVERIES] = {0}, ours = 0, kept = 4;
	struct picture before, p;
	int go, status = 0;
	pid_t pid;

	kit_begin(kit, 4);
	before = kit_picture(kit, kit->store, kit->inbox);
	pid = fork();
	must(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		deliver_many(kit);
		_exit(EXIT_SUCCESS);
	}
	for (go = 0; waitpid(pid, &status, WNOHANG) == 0; go++) {
		uint32_t uid = kit_append(kit, kit->store, kit->inbox,
					  &(struct kit_message){.octets = kit_text(kit, "Subject: ours\r\n\r\n")});

		kept++;
		kit_flags(kit, kit->store, kit->inbox, UIDS(uid, uid), PS_FLAGS_ADD, PS_FLAG_FLAGGED, NULL);
		if (go % 2) {
			kit_expunge(kit, kit->store, kit->inbox, UIDS(uid, uid));
			kept--;
		}
		bring_up(kit);
	}
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "who delivers ended with status 0x%x", (unsigned)status);
	bring_up(kit);
	p = kit_picture(kit, kit->store, kit->inbox);
	for (size_t i = 0; i < p.count; i++) {
		unsigned n = 0;

		sscanf(kit_body_text(kit, kit->inbox, p.rows[i].uid), "Subject: %u", &n);
		if (n < 1000)
			ours++;
		else
			there[n - 1000]++;
	}
	for (unsigned n = 0; n < DELIVERIES; n++)
		must(there[n] == 1, "delivery %u is there %u times", n, there[n]);
	must(ours == kept, "of our messages there are %u, not %u", ours, kept);
	kit_catch_up(kit, kit->store, kit->inbox, &before);
	kit_end(kit);
}

static const struct check checks[] = {
	{"sync: what another in this process did is taken in: they", by_another_handle, ROWS(doings)},
	{"sync: what another process did is taken in, and seen by who opens later: they", by_another_process,
	 NEEDS_DISK, ROWS(doings)},
	{"watch: tells of another process's change: they", watched, NEEDS_DISK, .table = doings, .row_count = 4,
	 .row_size = sizeof doings[0]},
	{"unwatch: nothing is told afterwards", not_watched_any_more, NEEDS_DISK},
	{"sync: what another program did is taken in, a message", by_another_program, NEEDS_OUTSIDE | NEEDS_DISK,
	 ROWS(foreigns)},
	{"open: what another program did meanwhile is taken in, a message", while_closed, NEEDS_OUTSIDE | NEEDS_DISK,
	 ROWS(foreigns)},
	{"law 5: what another program delivers while we append and expunge is there, once", while_we_write,
	 NEEDS_OUTSIDE | NEEDS_DISK},
};
GROUP(outside, "outside changes: what others do is noticed and taken in", checks);
