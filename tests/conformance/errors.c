/* SPDX-License-Identifier: MIT */
/*
 * Storage calls that fail, each in its turn: the batch is refused and absent, or done; the store goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/conformance/calls.h"
#include "tests/conformance/deeds.h"

struct failing {
	const struct kit *kit;
	const struct deed *deed;
	const struct expected *expected;
	int error; /* or CALL_HALF */
	int then;  /* error of the next such call; 0: none */
	unsigned at, calls;
	int64_t room; /* on a disk that stays full */
	struct {
		bool armed, hit, done;
		char what[64];
	} * told;
};

/* Calls that need room have failed for want of it already; the others fail as on a broken disk. Files are made with descriptors. */
static bool is_meant(const struct failing *f, const struct call *call)
{
	if (f->error == EMFILE)
		return call->kind == CALL_CREATE;
	if (f->error == CALL_HALF)
		return call->kind == CALL_WRITE && call_length(call) > 1 && (!f->then || call->needs_room);
	return f->error == EIO ? f->kit->thorough || !call->needs_room : call->needs_room;
}

static int fail_at_call(void *arg, const struct call *call)
{
	struct failing *f = arg;

	if (!f->told->armed || !is_meant(f, call))
		return CALL_GO;
	if (++f->calls != f->at)
		return f->calls == f->at + 1 ? f->then : CALL_GO;
	f->told->hit = true;
	snprintf(f->told->what, sizeof f->told->what, "%s at call %u, %s",
		 f->error < 0 ? "half a write" : strerror(f->error), f->calls, call->name);
	return f->error;
}

/* What a backend says of ENOSPC is of no room; of a broken disk, anything but "done". */
static void must_be_refusal(const struct failing *f, int r)
{
	if (f->error == ENOSPC || f->error == EDQUOT)
		must(ps_no_room(r), "%s: %s: %s", f->told->what, ps_err_name(r), ps_last_error());
}

/* A full disk hinders nothing but what needs room; done again, the batch is done. */
static void go_on(struct failing *f, struct scene *scene, bool done)
{
	scene_sync(scene);
	scene_must_be(scene, f->expected, done, !done, f->told->what);
	if (!done)
		must_ok(deed_do(scene, f->deed));
	f->told->done = scene_must_be(scene, f->expected, true, false, "done again");
}

static void meet_the_error(struct kit *kit, void *arg)
{
	struct failing *f = arg;
	struct scene scene = scene_open(kit);
	int r;

	f->told->armed = true;
	r = deed_do(&scene, f->deed);
	f->told->armed = false;
	if (r < 0)
		must_be_refusal(f, r);
	must(r == 0 || f->told->hit, "refused without an error: %s: %s", ps_err_name(r), ps_last_error());
	f->told->done = r == 0;
	if (r == 0 || (f->error != EIO && f->error != CALL_HALF))
		go_on(f, &scene, r == 0);
	scene_close(&scene);
}

static void each_call_fails(struct kit *kit, int error, int then)
{
	const struct deed *deed = &deeds[kit->row];
	struct kit template = *kit, copy = *kit;
	struct expected expected = deed_expect(kit, deed);
	struct failing f = {.kit = kit, .deed = deed, .expected = &expected, .error = error, .then = then};
	struct scene scene;

	f.told = calls_shared(sizeof *f.told);
	must(mkdir(kit->root, 0700) == 0, "mkdir: %s", strerror(errno));
	template.root = ps_pool_printf(kit->pool, "%s/template", kit->root);
	scene_furnish(&template);
	for (f.at = 1, f.told->hit = true; f.told->hit; f.at++) {
		f.calls = 0;
		f.told->hit = f.told->armed = false;
		copy.root = ps_pool_printf(kit->pool, "%s/%u", kit->root, f.at);
		copy_tree(template.root, copy.root);
		calls_watch_ok(&copy, meet_the_error, &f, fail_at_call, &f);
		scene = scene_open(&copy);
		scene_sync(&scene);
		/* When a broken disk kept it from saying which, it may be either. */
		if (!scene_must_be(&scene, &expected, f.told->done, false, f.told->what))
			must_ok(deed_do(&scene, deed));
		scene_must_be(&scene, &expected, true, false, "done again");
		scene_close(&scene);
	}
}

static void full(struct kit *kit)
{
	each_call_fails(kit, ENOSPC, 0);
}

static void quota(struct kit *kit)
{
	each_call_fails(kit, EDQUOT, 0);
}

static void broken(struct kit *kit)
{
	each_call_fails(kit, EIO, 0);
}

static void no_descriptor(struct kit *kit)
{
	each_call_fails(kit, EMFILE, 0);
}

/* What is not written is to be written next. */
static void half_written(struct kit *kit)
{
	each_call_fails(kit, CALL_HALF, 0);
}

static void half_then_full(struct kit *kit)
{
	each_call_fails(kit, CALL_HALF, ENOSPC);
}

/* Or an accident of it would be tried nowhere. */
static void each_kind_is_a_deed(struct kit *kit)
{
	bool seen[PS_OP_IDENTITY + 1] = {false};
	struct ps_op ops[DEED_OPS];

	scene_furnish(kit);
	for (size_t i = 0; i < DEED_ROWS; i++) {
		struct scene scene = scene_open(kit);
		size_t count = deeds[i].plan(&scene, ops);

		for (size_t k = 0; k < count; k++) {
			seen[ops[k].kind] = true;
			if (ops[k].kind == PS_OP_APPEND)
				kit->ops->stage_drop(ops[k].staged);
		}
		scene_close(&scene);
	}
	for (size_t kind = 0; kind < PS_ARRAY_LEN(seen); kind++)
		must(seen[kind], "no deed has operation %zu", kind);
}

/* ---- a disk that stays full ---------------------------------------------------------------- */

enum {
	BLOCK = 4096
};

static int64_t blocks(uint64_t octets)
{
	return (int64_t)((octets + BLOCK - 1) / BLOCK * BLOCK);
}

/* What a call gives back to the disk. */
static int64_t room_made(const struct call *call)
{
	struct stat st;

	if (call->kind != CALL_REMOVE && call->kind != CALL_SIZE)
		return 0;
	if (lstat(call->path, &st) < 0)
		return 0;
	if (call->kind == CALL_SIZE)
		return (int64_t)call->args[1] < st.st_size ? blocks((uint64_t)st.st_size - call->args[1]) : 0;
	return st.st_nlink == 1 ? blocks((uint64_t)st.st_blocks * 512) : 0;
}

static int64_t room_taken(const struct call *call)
{
	if (!call->needs_room || call->kind == CALL_RENAME)
		return 0;
	return call->kind == CALL_WRITE  ? blocks(call_length(call))
	       : call->kind == CALL_SIZE ? blocks(call->args[3])
					 : BLOCK;
}

/* A full disk, which takes again what was given back. */
static int no_room(void *arg, const struct call *call)
{
	struct failing *f = arg;

	if (!f->told->armed)
		return CALL_GO;
	f->room += room_made(call);
	if (room_taken(call) > f->room)
		return ENOSPC;
	f->room -= room_taken(call);
	return CALL_GO;
}

/* As core looks: what is stale is synced. */
static struct picture look(struct scene *scene)
{
	if (scene->kit->ops->stale(scene->store, scene->inbox) > 0)
		must_ok(scene->kit->ops->sync(scene->store, scene->inbox));
	return kit_picture(scene->kit, scene->store, scene->inbox);
}

/* A message that does not fit into what is left of a file's last block, and cannot be compressed so that it would. */
static int append_large(struct scene *scene)
{
	uint8_t *octets = ps_pool_alloc(scene->kit->pool, 4 * BLOCK);
	struct kit_message message = {.octets = ps_bytes(octets, 4 * BLOCK)};
	struct ps_op_result result;
	struct ps_op op;
	int r;

	for (size_t i = 0; i < message.octets.len; i++)
		octets[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : (uint8_t)('!' + pick(scene->kit, 90));
	r = kit_try_stage(scene->kit, scene->store, scene->inbox, &message, &op);
	return r < 0 ? r : kit_try(scene->kit, scene->store, &op, &result);
}

/* A message is refused; then room is made, of what was there. */
static void live_without_room(struct kit *kit, void *arg)
{
	struct failing *f = arg;
	struct scene scene = scene_open(kit);
	size_t left = look(&scene).count;
	int r;

	f->told->armed = true;
	r = append_large(&scene);
	must(ps_no_room(r), "APPEND on a full disk: %s: %s", ps_err_name(r), ps_last_error());
	must(look(&scene).count == left, "it lost something");
	if (kit->row)
		kit_expunge(kit, scene.store, scene.inbox, ALL);
	while (!kit->row && left-- > 0) {
		uint32_t uid = look(&scene).rows[0].uid;

		kit_expunge(kit, scene.store, scene.inbox, UIDS(uid, uid));
		must(look(&scene).count == left, "UID %u is still there", uid);
	}
	must(look(&scene).count == 0, "it could not be emptied");
	f->told->armed = false;
	must_ok(deed_do(&scene, &deeds[0]));
	scene_close(&scene);
}

static void stays_full(struct kit *kit)
{
	struct failing f = {.kit = kit};

	f.told = calls_shared(sizeof *f.told);
	scene_furnish(kit);
	calls_watch_ok(kit, live_without_room, &f, no_room, &f);
	kit_begin(kit, 0);
	must(kit_picture(kit, kit->store, kit->inbox).count == 1, "what came in the end is not there alone");
	kit_end(kit);
}

static void full_rows(size_t row, char name[ROW_NAME])
{
	strcpy(name, row ? "all messages at once" : "messages one by one");
}

static const struct check checks[] = {
	{"law 6: ENOSPC at any call refuses the batch with no room, or does it", full, NEEDS_CALLS, DEEDS},
	{"law 6: EDQUOT at any call refuses the batch with no room, or does it", quota, NEEDS_CALLS, .table = deeds,
	 .row_count = 1, .row_size = sizeof deeds[0]},
	{"law 6: on a disk that stays full APPEND is refused, and EXPUNGE works, of", stays_full, NEEDS_CALLS,
	 ROWS_NAMED(2, full_rows)},
	{"each kind of operation is among the deeds that accidents happen to", each_kind_is_a_deed},
	{"EMFILE where a file is made does not tear the batch, and never says it is done when it is not", no_descriptor,
	 NEEDS_CALLS, DEEDS},
	{"half a write at any call does not tear the batch, and never says it is done when it is not", half_written,
	 NEEDS_CALLS, DEEDS},
	{"half a write at any call, and then no room, does not tear the batch", half_then_full, NEEDS_CALLS, DEEDS},
	{"EIO at any call does not tear the batch, and never says it is done when it is not", broken, NEEDS_CALLS,
	 DEEDS},
};
GROUP(errors, "laws 4 and 6: storage calls that fail", checks);
