/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include "postern/plugin.h"
#include "tests/conformance/deeds.h"

extern const struct ps_plugin postern_plugin; /* the reference is built in */

static const struct ps_id new_ids[3] = {{{0xaa, 1}}, {{0xbb, 2}}, {{0xcc, 3}}};
static const char *const words[] = {"known", "new-word", NULL};

/* ---- plans --------------------------------------------------------------------------------- */

static void stage(struct scene *scene, struct ps_mbox *mbox, unsigned n, struct ps_op *op)
{
	static const char *const known[] = {"known", NULL};
	struct kit_message message = {
		.octets = kit_text(scene->kit, "Subject: new %u\r\n\r\n%0*d\r\n", n, 100 + (int)n * 900, 7),
		.flags = n % 2 ? PS_FLAG_SEEN : 0,
		.keywords = n % 2 ? known : NULL,
		.email_id = new_ids[n]};

	int r = kit_try_stage(scene->kit, scene->store, mbox, &message, op);

	if (r < 0) {
		scene->stage_err = r;
		op->staged = NULL;
	}
}

static size_t plan_append(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	stage(scene, scene->inbox, 0, &ops[0]);
	return 1;
}

static size_t plan_appends(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	for (unsigned i = 0; i < 3; i++)
		stage(scene, i == 1 ? scene->other : scene->inbox, i, &ops[i]);
	return 3;
}

static size_t on_messages(struct scene *scene, struct ps_op *ops, struct ps_op op, const struct ps_range *uids)
{
	op.mbox = scene->inbox;
	op.target = scene->other;
	op.uids = uids;
	op.uid_count = 1;
	op.unchanged_since = UINT64_MAX;
	ops[0] = op;
	return 1;
}

static const struct ps_range one = {2, 2}, some = {2, 4}, all = {1, UINT32_MAX};

static size_t plan_flag(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	return on_messages(scene, ops,
			   (struct ps_op){.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .flags = PS_FLAG_DRAFT},
			   &one);
}

static size_t plan_flags(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	return on_messages(scene, ops,
			   (struct ps_op){.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_SET, .flags = PS_FLAG_DRAFT},
			   &all);
}

static size_t plan_keywords(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	return on_messages(scene, ops,
			   (struct ps_op){.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .keywords = words}, &some);
}

static size_t plan_expunge(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	return on_messages(scene, ops, (struct ps_op){.kind = PS_OP_EXPUNGE}, &one);
}

static size_t plan_expunges(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	return on_messages(scene, ops, (struct ps_op){.kind = PS_OP_EXPUNGE}, &all);
}

static size_t plan_copy(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	return on_messages(scene, ops, (struct ps_op){.kind = PS_OP_COPY}, &some);
}

static size_t plan_move_one(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	return on_messages(scene, ops, (struct ps_op){.kind = PS_OP_MOVE}, &one);
}

static size_t plan_move(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	return on_messages(scene, ops, (struct ps_op){.kind = PS_OP_MOVE}, &some);
}

static size_t plan_create(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	(void)scene;
	ops[0] = (struct ps_op){.kind = PS_OP_CREATE, .name = "New/Box", .attributes = PS_MBOX_JUNK};
	return 1;
}

static size_t plan_rename(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	(void)scene;
	ops[0] = (struct ps_op){.kind = PS_OP_RENAME, .name = "Other", .new_name = "Renamed"};
	return 1;
}

static size_t plan_rename_tree(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	(void)scene;
	ops[0] = (struct ps_op){.kind = PS_OP_RENAME, .name = "Tree", .new_name = "Wood"};
	ops[1] = (struct ps_op){.kind = PS_OP_RENAME, .name = "Tree/Leaf", .new_name = "Wood/Leaf"};
	return 2;
}

static size_t plan_delete(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	(void)scene;
	ops[0] = (struct ps_op){.kind = PS_OP_DELETE, .name = "Other"};
	return 1;
}

static size_t plan_subscribe(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	(void)scene;
	ops[0] = (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "Wanted", .subscribed = true};
	return 1;
}

static size_t plan_attributes(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	(void)scene;
	ops[0] = (struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "Other", .attributes = PS_MBOX_ARCHIVE};
	return 1;
}

static size_t plan_identity(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	(void)scene;
	ops[0] = (struct ps_op){.kind = PS_OP_IDENTITY, .name = "Other", .uid_next = 1000};
	ops[1] = (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "Wanted", .subscribed = true};
	return 2;
}

static size_t plan_everything(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	stage(scene, scene->inbox, 0, &ops[0]);
	on_messages(scene, ops + 1, (struct ps_op){.kind = PS_OP_FLAGS, .flags = PS_FLAG_DRAFT, .keywords = words},
		    &some);
	on_messages(scene, ops + 2, (struct ps_op){.kind = PS_OP_MOVE}, &one);
	ops[3] = (struct ps_op){.kind = PS_OP_CREATE, .name = "New"};
	ops[4] = (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "New", .subscribed = true};
	ops[5] = (struct ps_op){.kind = PS_OP_DELETE, .name = "Tree/Leaf"};
	return 6;
}

/* Above all that a store would give by itself. UIDs are given too: where the batch is absent, they can be had by the next. */
#define COPY_MODSEQ (UINT64_C(1) << 60)
#define COPY_UID    1000

static size_t plan_copied(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	for (unsigned i = 0; i < 2; i++) {
		stage(scene, i ? scene->other : scene->inbox, i, &ops[i]);
		ops[i].modseq = COPY_MODSEQ - 2 + i;
		ops[i].uid = COPY_UID;
	}
	on_messages(scene, ops + 2,
		    (struct ps_op){.kind = PS_OP_FLAGS, .flag_mode = PS_FLAGS_ADD, .flags = PS_FLAG_DRAFT}, &some);
	return 3;
}

static size_t plan_copied_expunge(struct scene *scene, struct ps_op ops[DEED_OPS])
{
	static const struct ps_range last = {5, 5};
	size_t n = plan_copied(scene, ops);

	return n + on_messages(scene, ops + n, (struct ps_op){.kind = PS_OP_EXPUNGE}, &last);
}

const struct deed deeds[] = {
	{"APPEND of one message", plan_append},
	{"APPEND of three, into two mailboxes", plan_appends},
	{"FLAGS of one message", plan_flag},
	{"FLAGS of all messages", plan_flags},
	{"FLAGS with a new keyword, of three", plan_keywords},
	{"EXPUNGE of one message", plan_expunge, true},
	{"EXPUNGE of all messages", plan_expunges, true},
	{"COPY of three", plan_copy},
	{"MOVE of one message", plan_move_one},
	{"MOVE of three", plan_move},
	{"CREATE", plan_create},
	{"RENAME", plan_rename},
	{"RENAME of a tree", plan_rename_tree},
	{"DELETE", plan_delete},
	{"SUBSCRIBE", plan_subscribe},
	{"ATTRIBUTES", plan_attributes},
	{"IDENTITY", plan_identity},
	{"a batch of all kinds", plan_everything},
	{"a copy of another store's messages and flags", plan_copied, .copies = true},
	{"such a copy that expunges too", plan_copied_expunge, .copies = true},
};
_Static_assert(PS_ARRAY_LEN(deeds) == DEED_ROWS + COPY_ROWS, "the header says how many there are");

/* ---- scenes -------------------------------------------------------------------------------- */

static void put_message(struct kit *kit, struct ps_mbox *mbox, unsigned n)
{
	struct ps_id id = {{(uint8_t)n, [15] = 0x10}};

	kit_append(kit, kit->store, mbox,
		   &(struct kit_message){.octets = kit_text(kit, "Subject: old %u\r\n\r\nbody %u\r\n", n, n),
					 .flags = n * 3 % 32,
					 .keywords = n % 2 ? words + 2 : (const char *const[]){"known", NULL},
					 .internal_date = 1000000000 + n,
					 .email_id = id});
}

void scene_furnish(struct kit *kit)
{
	static const char *const names[] = {"Other", "Tree", "Tree/Leaf"};

	kit_begin(kit, 0);
	for (unsigned n = 1; n <= 5; n++)
		put_message(kit, kit->inbox, n);
	for (unsigned i = 0; i < PS_ARRAY_LEN(names); i++) {
		must_ok(kit_create(kit, kit->store, names[i]));
		put_message(kit, kit_mbox(kit, kit->store, names[i]), 10 + i);
	}
	must_ok(kit_subscribe(kit, kit->store, "Other", true));
	kit_end(kit);
}

struct scene scene_open(struct kit *kit)
{
	struct scene scene = {.kit = kit, .store = kit_open(kit)};

	scene.inbox = kit_mbox(kit, scene.store, "INBOX");
	if (kit_attributes(kit, scene.store, "Other") & PS_MBOX_EXISTS)
		scene.other = kit_mbox(kit, scene.store, "Other");
	return scene;
}

void scene_close(struct scene *scene)
{
	kit_close(scene->kit, scene->store);
}

void scene_sync(struct scene *scene)
{
	struct names names;

	must_ok(scene->kit->ops->sync(scene->store, NULL));
	names = kit_list(scene->kit, scene->store);
	for (size_t i = 0; i < names.count; i++)
		if (names.infos[i].attributes & PS_MBOX_EXISTS)
			must_ok(scene->kit->ops->sync(scene->store,
						      kit_mbox(scene->kit, scene->store, names.infos[i].name)));
}

int deed_do(struct scene *scene, const struct deed *deed)
{
	struct ps_op ops[DEED_OPS] = {{0}};
	struct ps_batch batch = {.ops = ops, .pool = scene->kit->pool, .modseq = deed->copies ? COPY_MODSEQ : 0};
	struct ps_batch *batches = &batch;
	int r;

	scene->stage_err = 0;
	batch.count = deed->plan(scene, ops);
	if (scene->stage_err < 0) {
		for (size_t i = 0; i < batch.count; i++)
			scene->kit->ops->stage_drop(ops[i].staged);
		return scene->stage_err;
	}
	batch.results = PS_NEWV(scene->kit->pool, struct ps_op_result, batch.count);
	r = scene->kit->ops->commit(scene->store, &batches, 1);
	return batch.err ? batch.err : r;
}

static void must_have_modseq(struct scene *scene, struct ps_mbox *mbox, const char *when, uint64_t own)
{
	struct picture p = kit_picture(scene->kit, scene->store, mbox);

	must(p.info.highest_modseq >= COPY_MODSEQ, "%s, HIGHESTMODSEQ is %llu, below the batch's", when,
	     (unsigned long long)p.info.highest_modseq);
	for (size_t i = 0; i < p.count; i++) {
		const struct ps_row *row = &p.rows[i];
		bool flagged = mbox == scene->inbox && row->uid >= some.first && row->uid <= some.last;
		uint64_t wanted = i + 1 == p.count ? own : flagged ? COPY_MODSEQ : row->modseq;

		must(row->modseq == wanted, "%s, UID %u has the modseq %llu, and was given %llu", when, row->uid,
		     (unsigned long long)row->modseq, (unsigned long long)wanted);
	}
}

void scene_must_have_modseqs(struct scene *scene, const char *when)
{
	must_have_modseq(scene, scene->inbox, when, COPY_MODSEQ - 2);
	must_have_modseq(scene, scene->other, when, COPY_MODSEQ - 1);
}

struct expected deed_expect(struct kit *kit, const struct deed *deed)
{
	struct kit reference = *kit;
	struct expected expected;
	struct scene scene;

	reference.ops = postern_plugin.ops;
	scene_furnish(&reference);
	scene = scene_open(&reference);
	expected.before = kit_describe(&reference, scene.store);
	must_ok(deed_do(&scene, deed));
	expected.after = kit_describe(&reference, scene.store);
	must(strcmp(expected.before, expected.after) != 0, "the deed changes nothing");
	scene_close(&scene);
	return expected;
}

bool scene_must_be(struct scene *scene, const struct expected *expected, bool done, bool refused, const char *when)
{
	const char *is = kit_describe(scene->kit, scene->store);

	if (!done && strcmp(is, expected->before) == 0)
		return false;
	if (!refused && strcmp(is, expected->after) == 0)
		return true;
	fail_at(__FILE__, __LINE__, "%s, the store is\n%sexpected was\n%s%s%s", when, is, done ? "" : expected->before,
		done || refused ? "" : "or\n", refused ? "" : expected->after);
}

/* ---- copies -------------------------------------------------------------------------------- */

static void copy_file(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 07777);
	off_t left = st->st_size;

	must(from >= 0 && to >= 0, "copy %s: %s", name, strerror(errno));
	while (left > 0) {
		ssize_t n = sendfile(to, from, NULL, (size_t)left);

		must(n > 0, "copy %s: %s", name, strerror(errno));
		left -= n;
	}
	futimens(to, (struct timespec[2]){st->st_atim, st->st_mtim});
	close(from);
	close(to);
}

static void copy_into(int from_dir, int to_dir)
{
	DIR *dir = fdopendir(from_dir);
	struct dirent *entry;
	struct stat st;

	must(dir, "list a folder: %s", strerror(errno));
	while ((entry = readdir(dir))) {
		int from, to;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		must(fstatat(from_dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0, "stat: %s", strerror(errno));
		if (S_ISREG(st.st_mode))
			copy_file(from_dir, to_dir, entry->d_name, &st);
		if (!S_ISDIR(st.st_mode))
			continue;
		must(mkdirat(to_dir, entry->d_name, 0700) == 0, "mkdir: %s", strerror(errno));
		from = openat(from_dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		to = openat(to_dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		copy_into(from, to);
		futimens(to, (struct timespec[2]){st.st_atim, st.st_mtim});
		close(to);
	}
	closedir(dir);
}

void copy_tree(const char *from, const char *to)
{
	int from_fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to_fd;

	must(mkdir(to, 0700) == 0, "mkdir %s: %s", to, strerror(errno));
	to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(from_fd >= 0 && to_fd >= 0, "copy %s: %s", from, strerror(errno));
	copy_into(from_fd, to_fd);
	close(to_fd);
}
