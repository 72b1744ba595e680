/* SPDX-License-Identifier: MIT */
/*
 * A process changes a store and says, through a pipe, what it is about to do and what was acknowledged; it is killed
 * at a moment that chance picks. Then everything acknowledged must be there, and what was in flight wholly or not.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "postern/io.h"
#include "tests/conformance/calls.h"
#include "tests/conformance/deeds.h"

enum {
	MAX_MESSAGES = 1 << 17
};

enum act {
	ACT_APPEND,
	ACT_FLAG,
	ACT_EXPUNGE,
	ACT_MOVE,
	ACT_PAIR,
	ACTS
};

/* One line of the journal. A message is known by its number, which its octets hold. */
struct entry {
	enum act act;
	uint32_t number; /* ACT_PAIR: this and the next, in one batch */
	bool done;
};

/* What must be true of a message. */
enum where {
	NOWHERE,
	INBOX,
	OTHER
};
struct fate {
	enum where where;
	bool flagged;
};

/* ---- the process that is killed ------------------------------------------------------------ */

struct worker {
	struct kit *kit;
	struct ps_store *store;
	struct ps_mbox *inbox, *other;
	int journal;
};

static void tell(const struct worker *w, struct entry entry)
{
	must(write(w->journal, &entry, sizeof entry) == (ssize_t)sizeof entry, "journal: %s", strerror(errno));
}

static void stage_number(struct worker *w, uint32_t number, struct ps_op *op)
{
	kit_stage(w->kit, w->store, w->inbox,
		  &(struct kit_message){
			  .octets = kit_text(w->kit, "Number: %u\r\n\r\n%*c\r\n", number, (int)(number % 2000), '.')},
		  op);
}

/* The UID of a message in INBOX; 0: it is not there. */
static uint32_t find_number(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, uint32_t number)
{
	struct picture p = kit_picture(kit, store, mbox);
	unsigned n;

	for (size_t i = 0; i < p.count; i++) {
		if (sscanf(kit_body_text(kit, mbox, p.rows[i].uid), "Number: %u", &n) == 1 && n == number)
			return p.rows[i].uid;
	}
	return 0;
}

static void act(struct worker *w, enum act what, uint32_t number)
{
	struct ps_range one = {0, 0};
	struct ps_op ops[2];
	size_t count = 1;

	if (what == ACT_APPEND || what == ACT_PAIR) {
		count = what == ACT_PAIR ? 2 : 1;
		for (size_t i = 0; i < count; i++)
			stage_number(w, number + (uint32_t)i, &ops[i]);
	} else {
		one.first = one.last = find_number(w->kit, w->store, w->inbox, number);
		if (one.first == 0)
			return;
		ops[0] = (struct ps_op){.kind = what == ACT_FLAG      ? PS_OP_FLAGS
						: what == ACT_EXPUNGE ? PS_OP_EXPUNGE
								      : PS_OP_MOVE,
					.mbox = w->inbox,
					.target = w->other,
					.uids = &one,
					.uid_count = 1,
					.flag_mode = PS_FLAGS_ADD,
					.flags = PS_FLAG_FLAGGED,
					.unchanged_since = UINT64_MAX};
	}
	tell(w, (struct entry){what, number, false});
	must_ok(kit_try_all(w->kit, w->store, ops, count, NULL));
	tell(w, (struct entry){what, number, true});
}

static _Noreturn void work(struct kit *kit, int journal, uint32_t number)
{
	struct worker w = {.kit = kit, .journal = journal};

	w.store = kit_open(kit);
	w.inbox = kit_mbox(kit, w.store, "INBOX");
	w.other = kit_mbox(kit, w.store, "Other");
	for (;;) {
		enum act what = pick(kit, 2) ? ACT_APPEND : (enum act)pick(kit, ACTS);
		bool comes = what == ACT_APPEND || what == ACT_PAIR;

		act(&w, what, comes ? number : 1 + pick(kit, number));
		number += what == ACT_PAIR ? 2 : comes;
		ps_pool_reset(kit->pool);
	}
}

/* ---- what must be there -------------------------------------------------------------------- */

struct ledger {
	struct fate is[MAX_MESSAGES];
	struct entry in_flight;
	bool has_in_flight;
	uint32_t next;
	unsigned acknowledged;
};

static void apply_entry(struct ledger *ledger, const struct entry *entry)
{
	struct fate *e = &ledger->is[entry->number];

	switch (entry->act) {
	case ACT_PAIR:
		e[1].where = INBOX;
		e->where = INBOX;
		break;
	case ACT_APPEND: e->where = INBOX; break;
	case ACT_FLAG: e->flagged = true; break;
	case ACT_EXPUNGE: e->where = NOWHERE; break;
	default: e->where = OTHER; break;
	}
}

static void read_journal(int fd, struct ledger *ledger)
{
	struct entry entry;

	ledger->has_in_flight = false;
	while (read(fd, &entry, sizeof entry) == (ssize_t)sizeof entry) {
		uint32_t beyond = entry.number + (entry.act == ACT_PAIR ? 2 : 1);

		must(beyond < MAX_MESSAGES, "too many rounds: the ledger is full");
		if (beyond > ledger->next)
			ledger->next = beyond;
		ledger->has_in_flight = !entry.done;
		ledger->in_flight = entry;
		if (entry.done) {
			apply_entry(ledger, &entry);
			ledger->acknowledged++;
		}
	}
}

static void find_all(struct kit *kit, struct ps_store *store, const char *name, enum where where, struct fate *found)
{
	static uint32_t uid_next[OTHER + 1];
	static uint64_t modseq[OTHER + 1];
	struct ps_mbox *mbox = kit_mbox(kit, store, name);
	struct picture p;

	if (kit->ops->stale(store, mbox) > 0)
		must_ok(kit->ops->sync(store, mbox));
	p = kit_picture(kit, store, mbox);
	must(p.info.uid_next >= uid_next[where] && p.info.highest_modseq >= modseq[where],
	     "%s: UIDNEXT or HIGHESTMODSEQ went back", name);
	uid_next[where] = p.info.uid_next;
	modseq[where] = p.info.highest_modseq;
	for (size_t i = 0; i < p.count; i++) {
		struct ps_bytes octets;
		unsigned n;

		must_ok(kit_body(kit, mbox, p.rows[i].uid, &octets));
		must(octets.len == p.rows[i].size, "UID %u is cut short", p.rows[i].uid);
		must(sscanf(ps_pool_strndup(kit->pool, (const char *)octets.ptr, octets.len), "Number: %u", &n) == 1 &&
			     n < MAX_MESSAGES,
		     "UID %u is none of the messages", p.rows[i].uid);
		must(found[n].where == NOWHERE, "message %u is there twice", n);
		found[n].where = where;
		found[n].flagged = p.rows[i].flags & PS_FLAG_FLAGGED;
	}
}

static bool same(const struct fate *a, const struct fate *b)
{
	return a->where == b->where && (a->where == NOWHERE || a->flagged == b->flagged);
}

/* What was in flight has happened, or it has not; and then that is how it is. */
static void settle(struct ledger *ledger, const struct fate *found)
{
	struct ledger *with;
	uint32_t n = ledger->in_flight.number;

	if (!ledger->has_in_flight)
		return;
	with = ps_malloc(sizeof *with);
	*with = *ledger;
	apply_entry(with, &ledger->in_flight);
	if (same(&with->is[n], &found[n]) &&
	    (ledger->in_flight.act != ACT_PAIR || same(&with->is[n + 1], &found[n + 1])))
		*ledger = *with;
	free(with);
}

static void check_round(struct kit *kit, struct ledger *ledger)
{
	static struct fate found[MAX_MESSAGES];
	struct ps_store *store = kit_open(kit);

	memset(found, 0, sizeof found);
	find_all(kit, store, "INBOX", INBOX, found);
	find_all(kit, store, "Other", OTHER, found);
	settle(ledger, found);
	for (uint32_t n = 0; n < MAX_MESSAGES; n++)
		must(same(&ledger->is[n], &found[n]),
		     "message %u: in %d with flagged %d, acknowledged was in %d with %d", n, found[n].where,
		     found[n].flagged, ledger->is[n].where, ledger->is[n].flagged);
	kit_close(kit, store);
}

static void run_round(struct kit *kit, struct ledger *ledger)
{
	unsigned after_us = 1000 + pick(kit, 60000);
	int fds[2], status;
	pid_t pid;

	must(pipe(fds) == 0 && (pid = fork()) >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(fds[0]);
		kit->seed ^= after_us;
		work(kit, fds[1], ledger->next);
	}
	close(fds[1]);
	usleep(after_us);
	kill(pid, SIGKILL);
	must(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	must(WIFSIGNALED(status), "the process ended by itself, with status 0x%x", status);
	read_journal(fds[0], ledger);
	close(fds[0]);
	check_round(kit, ledger);
}

static void killed(struct kit *kit)
{
	static struct ledger ledger = {.next = 1};
	struct ps_store *store;

	store = kit_open(kit);
	must_ok(kit_create(kit, store, "Other"));
	kit_close(kit, store);
	/* Where a busy machine has acknowledged nothing by then, the rounds go on. */
	for (unsigned i = 0; i < kit->rounds || ledger.acknowledged == 0; i++)
		run_round(kit, &ledger);
}

/* ---- killed before each storage call ------------------------------------------------------- */

struct killing {
	unsigned at, calls;
	struct {
		bool armed, done; /* told by the process that is killed */
	} * told;
	char what[64];
};

static int kill_at(void *arg, const struct call *call)
{
	struct killing *k = arg;

	if (!k->told->armed || ++k->calls < k->at)
		return CALL_GO;
	snprintf(k->what, sizeof k->what, "killed before call %u, %s", k->calls, call->name);
	return CALL_KILL;
}

static void do_and_tell(struct kit *kit, void *arg)
{
	struct killing *k = arg;
	struct scene scene = scene_open(kit);

	k->told->armed = true;
	must_ok(deed_do(&scene, &deeds[kit->row]));
	k->told->armed = false;
	k->told->done = true;
	scene_close(&scene);
}

/* What is found: whole or absent, and the store goes on. */
static void check_survivor(struct kit *kit, const struct expected *expected, bool done, const char *when)
{
	struct scene scene = scene_open(kit);
	uint64_t highest;
	bool after;

	scene_sync(&scene);
	after = scene_must_be(&scene, expected, done, false, when);
	if (after && deeds[kit->row].copies)
		scene_must_have_modseqs(&scene, when);
	highest = kit_highest(kit, scene.store, scene.inbox);
	kit_fill(kit, scene.store, scene.inbox, 1);
	must(kit_highest(kit, scene.store, scene.inbox) > highest, "HIGHESTMODSEQ stands still");
	if (!after)
		must_ok(deed_do(&scene, &deeds[kit->row]));
	scene_close(&scene);
}

static void killed_at_each_call(struct kit *kit)
{
	const struct deed *deed = &deeds[kit->row];
	struct kit template = *kit, copy = *kit;
	struct killing k = {.told = calls_shared(sizeof *k.told)};
	struct expected expected = deed_expect(kit, deed);

	must(mkdir(kit->root, 0700) == 0, "mkdir: %s", strerror(errno));
	template.root = ps_pool_printf(kit->pool, "%s/template", kit->root);
	scene_furnish(&template);
	for (k.at = 1; !k.told->done; k.at++) {
		k.calls = 0;
		k.told->armed = false;
		copy.root = ps_pool_printf(kit->pool, "%s/%u", kit->root, k.at);
		copy_tree(template.root, copy.root);
		calls_watch(&copy, do_and_tell, &k, kill_at, &k);
		check_survivor(&copy, &expected, k.told->done, k.what);
	}
	must(k.at > 2, "it made no storage call at all");
}

/* ---- and others come before the store is opened again -------------------------------------------- */

/* How often a message is there, by its id and octets. */
static unsigned count_of(const char *description, const char *message)
{
	unsigned count = 0;

	for (const char *at = description; (at = strstr(at, message)); at += strlen(message))
		count++;
	return count;
}

/* Each message of `description` is in `other` at least, or at most, as often as here. */
static void must_compare(struct kit *kit, const char *description, const char *lawful, const char *other, bool is_all,
			 const char *when)
{
	for (const char *line = strstr(description, " id "); line; line = strstr(line + 1, " id ")) {
		const char *message = ps_pool_strndup(kit->pool, line, strcspn(line, "\n") + 1);
		unsigned least = count_of(description, message), most = count_of(lawful, message), is;

		is = count_of(other, message);
		if (is_all)
			must(is >= (least < most ? least : most), "%s, of%s there are %u:\n%s", when, message, is,
			     other);
		else
			must(is <= (least > most ? least : most), "%s, of%s there are %u:\n%s", when, message, is,
			     other);
	}
}

void nothing_is_lost(struct kit *kit, const struct expected *expected, const char *when)
{
	struct scene scene = scene_open(kit);
	struct ps_bytes theirs = kit_text(kit, "Subject: %u\r\n\r\nbody %u\r\n", THEIRS, THEIRS);
	const char *is;

	scene_sync(&scene);
	is = kit_describe(kit, scene.store);
	must(count_of(is, ps_pool_printf(kit->pool, "%zu octets %08x\n", theirs.len,
					 ps_crc32c(0, theirs.ptr, theirs.len))) == 1,
	     "%s, what was delivered meanwhile is not there once:\n%s", when, is);
	must_compare(kit, expected->before, expected->after, is, true, when);
	must_compare(kit, expected->before, expected->after, is, false, when);
	must_compare(kit, expected->after, expected->before, is, false, when);
	kit_fill(kit, scene.store, scene.inbox, 1);
	scene_close(&scene);
}

/* Of several steps each: removing one message is one rename. */
static const char *const torn[TORN_ROWS] = {"EXPUNGE of all messages", "MOVE of three",
					    "APPEND of three, into two mailboxes", "a batch of all kinds"};

void torn_rows(size_t row, char name[ROW_NAME])
{
	snprintf(name, ROW_NAME, "%s", torn[row]);
}

size_t torn_deed(size_t row)
{
	size_t deed = 0;

	while (strcmp(deeds[deed].name, torn[row]) != 0)
		deed++;
	return deed;
}

static void others_come_first(struct kit *kit)
{
	struct kit template = *kit, copy = *kit;
	struct killing k = {.told = calls_shared(sizeof *k.told)};
	struct expected expected;

	kit->row = torn_deed(kit->row);
	template.row = copy.row = kit->row;
	expected = deed_expect(kit, &deeds[kit->row]);
	must(mkdir(kit->root, 0700) == 0, "mkdir: %s", strerror(errno));
	template.root = ps_pool_printf(kit->pool, "%s/template", kit->root);
	scene_furnish(&template);
	for (k.at = 1; !k.told->done; k.at++) {
		k.calls = 0;
		k.told->armed = false;
		copy.root = ps_pool_printf(kit->pool, "%s/%u", kit->root, k.at);
		copy_tree(template.root, copy.root);
		calls_watch(&copy, do_and_tell, &k, kill_at, &k);
		kit->outside->deliver(&copy, THEIRS, false);
		nothing_is_lost(&copy, &expected, k.what);
	}
}

static const struct check checks[] = {
	{"law 4: killed before any storage call, the batch is whole or absent", killed_at_each_call, NEEDS_CALLS,
	 DEEDS_AND_COPIES},
	{"law 4: killed before any storage call, and others deliver before it is opened: nothing is lost or doubled by",
	 others_come_first, NEEDS_CALLS | NEEDS_OUTSIDE, ROWS_NAMED(TORN_ROWS, torn_rows)},
	{"law 4: after kill -9 what was acknowledged is there, and each batch is whole or absent", killed, NEEDS_DISK},
};
GROUP(crash, "laws 1, 2 and 4: durable on return", checks);
