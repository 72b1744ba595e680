/* SPDX-License-Identifier: MIT */
/*
 * Memory that cannot be had, at each allocation in its turn: an error and nothing changed, or the process ends as ps_malloc()
 * ends it, and the batch is whole or absent.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "postern/io.h"
#include "postern/message.h"
#include "tests/conformance/calls.h"
#include "tests/conformance/deeds.h"
#include "tests/scarce.h"

enum {
	TRIES = 3, /* of each case, without --thorough */
	LOG_MAX = 4096
};

/* What is done while memory is scarce, and what must come of it. */
struct scarcity {
	void (*work)(struct kit *kit, struct scarcity *s);
	const struct deed *deed; /* NULL: looking */
	struct expected expected;
	uint32_t seen; /* a hash of all that was there to look at */
	unsigned nth;  /* allocation; 0: none fails */
	bool lasting;
	int log;
	char what[64];
	unsigned descriptors; /* that are left open where memory is not scarce: for the process, not for the store */
	struct {
		unsigned allocations, descriptors;
		uint32_t seen;
	} * told; /* by the process that has no memory */
};

/* ---- looking at all there is --------------------------------------------------------------------- */

struct look {
	struct kit *kit;
	struct ps_store *store;
	struct ps_mbox *inbox;
	uint32_t seen; /* in any order */
};

__attribute__((format(printf, 2, 3))) static int saw(struct look *l, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	l->seen += ps_crc32c(0, text, (size_t)len);
	return 0;
}

static int see_mailbox(void *arg, const struct ps_mailbox_info *info)
{
	return saw(arg, "%s: 0x%x %u %u %u %" PRIu64, info->name, info->attributes, info->messages, info->unseen,
		   info->uid_next, info->highest_modseq);
}

static int see_row(void *arg, const struct ps_row *row)
{
	return saw(arg, "%u: 0x%x 0x%" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRId64, row->uid, row->flags, row->keywords,
		   row->modseq, row->size, row->internal_date);
}

static int see_vanished(void *arg, struct ps_range uids)
{
	return saw(arg, "%u:%u", uids.first, uids.last);
}

static int see_body(struct look *l, uint32_t uid)
{
	const struct ps_backend *ops = l->kit->ops;
	struct ps_bytes octets;
	struct ps_body body;
	uint8_t space[256];
	int r = ops->body(l->inbox, uid, &body);

	if (r < 0)
		return r;
	for (uint64_t at = 0; r == 0 && at < body.length; at += octets.len) {
		r = ps_body_piece(&body, at, space, sizeof space, &octets);
		if (r == 0)
			saw(l, "%" PRIu64 ": %08x", at, ps_crc32c(0, octets.ptr, octets.len));
	}
	ops->body_close(&body);
	return r;
}

static int see_keywords(struct look *l, struct ps_read *read)
{
	const char *const *names;
	size_t count;
	int r = l->kit->ops->keywords(read, l->inbox, &names, &count);

	for (size_t i = 0; r == 0 && i < count; i++)
		saw(l, "keyword %zu: %s", i, names[i]);
	return r;
}

static int see_cache(struct look *l, struct ps_read *read, uint32_t uid)
{
	struct ps_bytes cache;
	int r = l->kit->ops->cache(read, l->inbox, uid, &cache);

	return r < 0 ? r : saw(l, "cache %08x", ps_crc32c(0, cache.ptr, cache.len));
}

static int see_all(struct look *l)
{
	const struct ps_backend *ops = l->kit->ops;
	struct ps_mailbox_info info;
	struct ps_read *read;
	int r = ops->read_begin(l->store, &read);

	if (r < 0)
		return r;
	if ((r = ops->list(read, see_mailbox, l)) == 0 && (r = ops->info(read, l->inbox, &info)) == 0 &&
	    (r = see_mailbox(l, &info)) == 0 && (r = see_keywords(l, read)) == 0 &&
	    (r = ops->scan(read, l->inbox, ALL, 0, see_row, l)) == 0 &&
	    (r = ops->scan(read, l->inbox, ALL, 1, see_row, l)) == 0 &&
	    (r = ops->vanished(read, l->inbox, 1, see_vanished, l)) == 0)
		r = see_cache(l, read, 3);
	ops->read_end(read);
	return r;
}

static void complain(void *arg, const char *sentence)
{
	(void)arg;
	fail_at(__FILE__, __LINE__, "check() finds fault where there is none: %s", sentence);
}

static int look_at_store(struct look *l)
{
	const struct ps_backend *ops = l->kit->ops;
	uint64_t octets;
	int r = ops->mailbox_open(l->store, "INBOX", &l->inbox);

	if (r < 0)
		return r;
	if ((r = ops->stale(l->store, l->inbox)) >= 0 && (r = ops->sync(l->store, NULL)) == 0 &&
	    (r = ops->sync(l->store, l->inbox)) == 0 && (r = see_all(l)) == 0 && (r = see_body(l, 3)) == 0 &&
	    (r = see_body(l, 5)) == 0 && ops->check)
		r = ops->check(l->store, complain, NULL);
	if (r == 0 && ops->compact)
		r = ops->compact(l->store, &octets);
	ops->mailbox_close(l->inbox);
	return r;
}

static int look(struct kit *kit, uint32_t *ret_seen)
{
	struct ps_store_args args = {.user = kit->root, .root = kit->root, .conf = kit->conf};
	struct look l = {.kit = kit};
	int r = kit->ops->open(&args, &l.store);

	if (r < 0)
		return r;
	r = look_at_store(&l);
	kit->ops->close(l.store);
	*ret_seen = l.seen;
	return r;
}

/* ---- in a process of its own -------------------------------------------------------------------- */

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static void end_scarcity(struct scarcity *s, int r)
{
	s->told->allocations = scarce_end();
	must(r == 0 || (s->nth && s->told->allocations >= s->nth), "refused without a reason: %s: %s", ps_err_name(r),
	     ps_last_error());
}

static void do_the_deed(struct kit *kit, struct scarcity *s)
{
	struct scene scene = scene_open(kit);
	int r;

	scarce_begin(s->nth, s->lasting);
	r = deed_do(&scene, s->deed);
	end_scarcity(s, r);
	scene_sync(&scene);
	scene_must_be(&scene, &s->expected, r == 0, r < 0, s->what);
	if (r < 0)
		must_ok(deed_do(&scene, s->deed));
	scene_must_be(&scene, &s->expected, true, false, "done again");
	scene_close(&scene);
}

static void take_a_look(struct kit *kit, struct scarcity *s)
{
	uint32_t seen;
	int r;

	scarce_begin(s->nth, s->lasting);
	r = look(kit, &seen);
	end_scarcity(s, r);
	if (r < 0)
		must_ok(look(kit, &seen));
	must(!s->nth || seen == s->seen, "%s, not all was seen%s", s->what, r < 0 ? ", not even again" : "");
	s->told->seen = seen;
}

static _Noreturn void be_scarce(struct kit *kit, struct scarcity *s)
{
	dup2(s->log, STDERR_FILENO);
	if (kit->volatile_store)
		scene_furnish(kit);
	s->work(kit, s);
	s->told->descriptors = open_descriptors();
	must(!s->nth || s->told->descriptors <= s->descriptors, "%s, a descriptor is left open", s->what);
	exit(EXIT_SUCCESS); /* so that a sanitizer may have its say */
}

/* ---- outside of it ------------------------------------------------------------------------------- */

/* Whether the process lived. What else it may do is to end as ps_malloc() does, which says so. */
static bool run_scarce(struct kit *kit, struct scarcity *s)
{
	char log[LOG_MAX];
	ssize_t len;
	int status;
	pid_t pid;

	memset(s->told, 0, sizeof *s->told);
	snprintf(s->what, sizeof s->what, "no memory at allocation %u%s", s->nth, s->lasting ? " and after it" : "");
	must(ftruncate(s->log, 0) == 0 && lseek(s->log, 0, SEEK_SET) == 0, "empty the log: %s", strerror(errno));
	fflush(NULL);
	must((pid = fork()) >= 0, "fork: %s", strerror(errno));
	if (pid == 0)
		be_scarce(kit, s);
	must(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
		return true;
	len = pread(s->log, log, sizeof log - 1, 0);
	log[len > 0 ? len : 0] = '\0';
	if (strstr(log, "Sanitizer: CHECK failed"))
		return false; /* it is a sanitizer itself that has no memory, for a thread's stack */
	must(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(log, "event=out_of_memory"),
	     "\n%s: the process ended with status 0x%x, and not by out_of_memory:\n%s", s->what, (unsigned)status, log);
	return false;
}

/* Those who come later find the deed done, unless nobody lived to do it again. */
static void look_after_it(struct kit *kit, struct scarcity *s, bool lived)
{
	struct scene scene = scene_open(kit);

	scene_sync(&scene);
	if (!scene_must_be(&scene, &s->expected, lived && s->deed, !s->deed, s->what) && s->deed)
		must_ok(deed_do(&scene, s->deed));
	scene_must_be(&scene, &s->expected, s->deed, !s->deed, "done again");
	scene_close(&scene);
}

static void try_once(struct kit *kit, struct scarcity *s)
{
	struct kit copy = *kit;
	bool lived;

	copy.root = ps_pool_printf(kit->pool, "%s/%u", kit->root, s->nth);
	if (!kit->volatile_store)
		copy_tree(ps_pool_printf(kit->pool, "%s/template", kit->root), copy.root);
	lived = run_scarce(&copy, s);
	if (!kit->volatile_store)
		look_after_it(&copy, s, lived);
}

/* At each allocation, or at some of them. */
static void try_all(struct kit *kit, struct scarcity *s)
{
	unsigned count, step;

	s->told = calls_shared(sizeof *s->told);
	s->log = memfd_create("log", MFD_CLOEXEC);
	try_once(kit, s);
	count = s->told->allocations;
	s->descriptors = s->told->descriptors;
	s->seen = s->told->seen;
	must(count > 0, "it allocates nothing");
	step = kit->thorough || count < TRIES ? 1 : count / TRIES;
	for (s->nth = 1 + pick(kit, step); s->nth <= count; s->nth += step)
		try_once(kit, s);
}

static void furnish_template(struct kit *kit)
{
	struct kit template = *kit;

	if (kit->volatile_store)
		return; /* each process furnishes its own */
	must(mkdir(kit->root, 0700) == 0, "mkdir: %s", strerror(errno));
	template.root = ps_pool_printf(kit->pool, "%s/template", kit->root);
	scene_furnish(&template);
}

static void in_a_deed(struct kit *kit, bool lasting)
{
	const struct deed *deed = &deeds[kit->row];
	struct scarcity s = {.work = do_the_deed, .deed = deed, .expected = deed_expect(kit, deed), .lasting = lasting};

	furnish_template(kit);
	try_all(kit, &s);
}

static void once(struct kit *kit)
{
	in_a_deed(kit, false);
}

static void from_then_on(struct kit *kit)
{
	in_a_deed(kit, true);
}

static void looking(struct kit *kit)
{
	struct scarcity s = {.work = take_a_look, .expected = deed_expect(kit, &deeds[0]), .lasting = kit->row};

	furnish_template(kit);
	try_all(kit, &s);
}

/* ---- on what a crash left ------------------------------------------------------------------------ */

struct killing {
	unsigned at, calls;
	bool *armed;
};

static int kill_at(void *arg, const struct call *call)
{
	struct killing *k = arg;

	(void)call;
	return *k->armed && ++k->calls == k->at ? CALL_KILL : CALL_GO;
}

static void do_all_kinds(struct kit *kit, void *arg)
{
	struct killing *k = arg;
	struct scene scene = scene_open(kit);

	*k->armed = true;
	must_ok(deed_do(&scene, &deeds[DEED_ROWS - 1]));
	*k->armed = false;
	scene_close(&scene);
}

static const char *describe(struct kit *kit, const char *root)
{
	struct kit other = *kit;
	struct scene scene;
	const char *text;

	other.root = root;
	scene = scene_open(&other);
	text = kit_describe(&other, scene.store);
	scene_close(&scene);
	return text;
}

/* A batch of all kinds is killed somewhere: who looks then finds it whole or absent, but always the same. */
static void recovering(struct kit *kit)
{
	struct killing k = {.armed = calls_shared(sizeof *k.armed)};
	struct scarcity s = {.work = take_a_look, .lasting = kit->row};
	const char *path = ps_pool_printf(kit->pool, "%s/template", kit->root);
	struct kit whole = *kit, killed = *kit;

	furnish_template(kit);
	whole.root = ps_pool_printf(kit->pool, "%s/whole", kit->root);
	copy_tree(path, whole.root);
	calls_watch(&whole, do_all_kinds, &k, kill_at, &k); /* to count them */
	k = (struct killing){.at = 1 + pick(kit, k.calls), .armed = k.armed};
	*k.armed = false;
	killed.root = path;
	calls_watch(&killed, do_all_kinds, &k, kill_at, &k);
	copy_tree(path, ps_pool_printf(kit->pool, "%s/recovered", kit->root));
	s.expected.before = s.expected.after = describe(kit, ps_pool_printf(kit->pool, "%s/recovered", kit->root));
	try_all(kit, &s);
}

static void how_long(size_t row, char name[ROW_NAME])
{
	strcpy(name, row ? "from then on" : "once");
}

static const struct check checks[] = {
	{"no memory at any allocation: an error, or the process ends and says so; the batch is whole or absent", once,
	 0, DEEDS},
	{"no memory from any allocation on: an error, or the process ends and says so; the batch is whole or absent",
	 from_then_on, 0, DEEDS},
	{"no memory at any allocation in opening and reading: an error, or the process ends and says so; it fails",
	 looking, 0, ROWS_NAMED(2, how_long)},
	{"no memory at any allocation in opening what a crash left: an error, or the process ends and says so; it "
	 "fails",
	 recovering, NEEDS_CALLS, ROWS_NAMED(2, how_long)},
};
GROUP(scarce, "law 4: memory that cannot be had", checks);
