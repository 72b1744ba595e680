/* SPDX-License-Identifier: MIT */
/*
 * Generations: who opened a store before it moved can change nothing any more.
 */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/conformance/conform.h"

static int open_as(struct kit *kit, uint64_t generation, struct ps_store **ret_store)
{
	struct ps_store_args args = {
		.user = kit->root, .root = kit->root, .conf = kit->conf, .create = true, .generation = generation};

	return kit->ops->open(&args, ret_store);
}

static void must_be_at(struct kit *kit, struct ps_store *store, uint64_t generation)
{
	uint64_t now = 0;

	must_ok(kit->ops->generation(store, &now));
	must(now == generation, "generation %llu, expected %llu", (unsigned long long)now,
	     (unsigned long long)generation);
}

/* Each of the two ways in which a store changes. */
static void must_be_shut_out(struct kit *kit, struct ps_store *store)
{
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture before = kit_picture(kit, store, inbox), after;
	struct ps_op op;

	kit_stage(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	must_be(kit_try(kit, store, &op, NULL), PS_E_MOVED);
	op = (struct ps_op){.kind = PS_OP_CREATE, .name = "New"};
	must_be(kit_try(kit, store, &op, NULL), PS_E_MOVED);
	must_be(kit->ops->sync(store, inbox), PS_E_MOVED);
	must_be(kit->ops->sync(store, NULL), PS_E_MOVED);
	must_be(kit->ops->set_generation(store, 100), PS_E_MOVED);
	after = kit_picture(kit, store, inbox);
	pictures_must_agree(kit, &before, &after, true);
}

static void needs_generations(const struct kit *kit)
{
	if (!kit->ops->generation || !kit->ops->set_generation)
		fail_at(__FILE__, __LINE__, "generation() and set_generation() are not optional");
}

static void counted(struct kit *kit)
{
	struct ps_store *store, *again;

	needs_generations(kit);
	store = kit_open(kit);
	must_be_at(kit, store, 1);
	must_be(kit->ops->set_generation(store, 1), PS_E_INVALID);
	must_be(kit->ops->set_generation(store, 0), PS_E_INVALID);
	must_ok(kit->ops->set_generation(store, 2));
	must_ok(kit->ops->set_generation(store, UINT64_C(1) << 40));
	must_be_at(kit, store, UINT64_C(1) << 40);
	must_be(kit->ops->set_generation(store, 2), PS_E_INVALID);
	kit_close(kit, store);
	must_be(open_as(kit, 2, &again), PS_E_MOVED);
	must_be(open_as(kit, 1, &again), PS_E_MOVED);
	must_ok(open_as(kit, UINT64_C(1) << 40, &again));
	kit_close(kit, again);
	store = kit_open(kit); /* any */
	must_be_at(kit, store, UINT64_C(1) << 40);
	kit_fill(kit, store, kit_mbox(kit, store, "INBOX"), 1);
	kit_close(kit, store);
}

static void not_made(struct kit *kit)
{
	struct ps_store *store;

	needs_generations(kit);
	must_be(open_as(kit, 7, &store), PS_E_MOVED);
	must_ok(open_as(kit, 1, &store));
	must_be_at(kit, store, 1);
	kit_close(kit, store);
}

static void shut_out(struct kit *kit)
{
	struct ps_store *old, *now, *later;
	struct ps_mbox *inbox;

	needs_generations(kit);
	old = kit_open(kit);
	now = kit_open(kit);
	kit_fill(kit, old, kit_mbox(kit, old, "INBOX"), 2);
	must_ok(kit->ops->sync(now, NULL));
	must_ok(kit->ops->set_generation(now, 2));
	must_be_shut_out(kit, old);
	must_be_at(kit, old, 2);
	inbox = kit_mbox(kit, now, "INBOX");
	must_ok(kit->ops->sync(now, inbox));
	kit_fill(kit, now, inbox, 1);
	later = kit_open(kit);
	inbox = kit_mbox(kit, later, "INBOX");
	must_ok(kit->ops->sync(later, inbox));
	must(kit_picture(kit, later, inbox).count == 3, "%zu messages, expected 3",
	     kit_picture(kit, later, inbox).count);
	kit_fill(kit, later, inbox, 1);
	kit_close(kit, later);
	kit_close(kit, now);
	kit_close(kit, old);
}

/* The same, set by another process. */
static void two_processes(struct kit *kit)
{
	struct ps_store *store;
	int status;
	pid_t pid;

	needs_generations(kit);
	store = kit_open(kit);
	kit_fill(kit, store, kit_mbox(kit, store, "INBOX"), 1);
	pid = fork();
	must(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		struct ps_store *mine = kit_open(kit);

		must_ok(kit->ops->set_generation(mine, 2));
		kit_fill(kit, mine, kit_mbox(kit, mine, "INBOX"), 1);
		_exit(EXIT_SUCCESS);
	}
	must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0,
	     "the other process failed");
	must_be_at(kit, store, 2);
	must_be_shut_out(kit, store);
	kit_close(kit, store);
	store = kit_open(kit);
	must_ok(kit->ops->sync(store, kit_mbox(kit, store, "INBOX")));
	must(kit_picture(kit, store, kit_mbox(kit, store, "INBOX")).count == 2, "expected 2 messages");
	kit_close(kit, store);
}

static void without_index(struct kit *kit)
{
	struct ps_store *store;

	needs_generations(kit);
	store = kit_open(kit);
	must_ok(kit->ops->set_generation(store, 5));
	kit_close(kit, store);
	kit_remove_index(kit);
	store = kit_open(kit);
	must_be_at(kit, store, 5);
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"generation: it grows, and open() minds them", counted},
	{"open: a store that is not there has no later generation", not_made},
	{"set_generation: who opened before is shut out, who set it goes on", shut_out},
	{"set_generation: who opened before in another process is shut out", two_processes, NEEDS_DISK},
	{"law 7: the generation stays without the index", without_index, NEEDS_INDEX | NEEDS_DISK},
};
GROUP(generation, "stores that move", checks);
