/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <ftw.h>
#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>
#include "tests/conformance/conform.h"

/* Something of everything. */
static void furnish(struct kit *kit, struct ps_store *store)
{
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX"), *work;
	struct ps_op use = {.kind = PS_OP_ATTRIBUTES, .name = "Work/Now", .attributes = PS_MBOX_ARCHIVE};
	struct ps_op subscribe = {.kind = PS_OP_SUBSCRIBE, .name = "Work/Now", .subscribed = true};

	kit_fill(kit, store, inbox, 20);
	kit_flags(kit, store, inbox, (struct ps_range){2, 7}, PS_FLAGS_ADD, PS_FLAG_SEEN | PS_FLAG_ANSWERED, NULL);
	kit_flags(kit, store, inbox, (struct ps_range){5, 9}, PS_FLAGS_ADD, PS_FLAG_FLAGGED, WORDS("$Junk", "mine"));
	kit_expunge(kit, store, inbox, (struct ps_range){6, 8});
	must_ok(kit_create(kit, store, "Work/Now"));
	must_ok(kit_try(kit, store, &use, NULL));
	must_ok(kit_try(kit, store, &subscribe, NULL));
	work = kit_mbox(kit, store, "Work/Now");
	kit_copy(kit, store, inbox, (struct ps_range){1, 5}, work, false);
	kit_copy(kit, store, inbox, (struct ps_range){9, 12}, work, true);
	kit_flags(kit, store, work, (struct ps_range){1, 3}, PS_FLAGS_SET, PS_FLAG_DRAFT, WORDS("other"));
	kit_expunge(kit, store, work, (struct ps_range){9, 9}); /* the last: its UID lies in no message */
	must_ok(kit_create(kit, store, "Empty"));
	must_ok(kit_create(kit, store, "Gone"));
	must_ok(kit_delete(kit, store, "Gone"));
}

/* All of a store. */
struct state {
	struct names names;
	struct picture *pictures; /* of those that exist */
};

static struct state state_of(struct kit *kit, struct ps_store *store)
{
	struct state state = {.names = kit_list(kit, store)};

	state.pictures = PS_NEWV(kit->pool, struct picture, state.names.count);
	for (size_t i = 0; i < state.names.count; i++)
		if (state.names.infos[i].attributes & PS_MBOX_EXISTS)
			state.pictures[i] = kit_picture(kit, store, kit_mbox(kit, store, state.names.infos[i].name));
	return state;
}

static void states_must_agree(struct kit *kit, const struct state *a, const struct state *b, bool modseq)
{
	must(a->names.count == b->names.count, "%zu mailboxes, were %zu", b->names.count, a->names.count);
	for (size_t i = 0; i < a->names.count; i++) {
		const struct ps_mailbox_info *left = &a->names.infos[i], *right = &b->names.infos[i];

		must(strcmp(left->name, right->name) == 0, "mailbox %s where %s was", right->name, left->name);
		must(left->attributes == right->attributes, "%s: attributes 0x%x, were 0x%x", left->name,
		     right->attributes, left->attributes);
		must(memcmp(&left->id, &right->id, sizeof left->id) == 0, "%s: another id", left->name);
		if (left->attributes & PS_MBOX_EXISTS)
			pictures_must_agree(kit, &a->pictures[i], &b->pictures[i], modseq);
	}
}

static void bodies_must_be_there(struct kit *kit, struct ps_store *store, const struct state *state)
{
	for (size_t i = 0; i < state->names.count; i++) {
		struct ps_mbox *mbox;

		if (!(state->names.infos[i].attributes & PS_MBOX_EXISTS))
			continue;
		mbox = kit_mbox(kit, store, state->names.infos[i].name);
		for (size_t n = 0; n < state->pictures[i].count; n++) {
			struct ps_bytes octets;

			must_ok(kit_body(kit, mbox, state->pictures[i].rows[n].uid, &octets));
			must(octets.len == state->pictures[i].rows[n].size, "UID %u: %zu octets",
			     state->pictures[i].rows[n].uid, octets.len);
		}
	}
}

static void all_is_there(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct state before, after;

	furnish(kit, store);
	before = state_of(kit, store);
	kit_close(kit, store);
	for (int i = 0; i < 3; i++) {
		store = kit_open(kit);
		after = state_of(kit, store);
		states_must_agree(kit, &before, &after, true);
		bodies_must_be_there(kit, store, &after);
		kit_close(kit, store);
	}
}

static const struct check reopen_checks[] = {
	{"law 4: everything is there after reopening", all_is_there},
};
const struct group group_reopen = {"reopen", "law 4: what was said is stored", reopen_checks, 1};

/* ---- the index ----------------------------------------------------------------------------- */

static const char *index_pattern, *index_root;
static unsigned index_removed;

static int remove_index(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *below = path + strlen(index_root);

	(void)st;
	(void)ftw;
	if (*below != '/' || type == FTW_D || type == FTW_DP || fnmatch(index_pattern, below + 1, FNM_PATHNAME) != 0)
		return 0;
	must(unlink(path) == 0, "cannot remove %s", path);
	index_removed++;
	return 0;
}

void kit_remove_index(struct kit *kit)
{
	index_pattern = kit->index;
	index_root = kit->root;
	nftw(kit->root, remove_index, 16, FTW_PHYS | FTW_DEPTH);
	must(index_removed > 0, "nothing below the root matches %s", kit->index);
}

static void without_index(struct kit *kit)
{
	struct ps_store *store;
	struct state before, after;

	store = kit_open(kit);
	furnish(kit, store);
	before = state_of(kit, store);
	kit_close(kit, store);
	kit_remove_index(kit);
	store = kit_open(kit);
	for (size_t i = 0; i < before.names.count; i++)
		if (before.names.infos[i].attributes & PS_MBOX_EXISTS)
			must_ok(kit->ops->sync(store, kit_mbox(kit, store, before.names.infos[i].name)));
	after = state_of(kit, store);
	states_must_agree(kit, &before, &after, false);
	bodies_must_be_there(kit, store, &after);
	kit_fill(kit, store, kit_mbox(kit, store, "INBOX"), 1);
	kit_close(kit, store);
}

static const struct check index_checks[] = {
	{"law 7: without its index the store is what it was", without_index, NEEDS_INDEX | NEEDS_DISK},
};
const struct group group_index = {"index", "law 7: the index is disposable", index_checks, 1};

/* ---- a full disk --------------------------------------------------------------------------- */

/* Appends until it is refused; the number that was not. */
static unsigned fill_up(struct kit *kit, struct ps_store *store, struct ps_mbox *inbox, struct ps_bytes octets)
{
	for (unsigned n = 0; n < 100000; n++) {
		struct ps_op op = {.kind = PS_OP_APPEND, .mbox = inbox, .size = octets.len};
		int r = kit->ops->stage(store, octets.len, &op.staged);

		if (r == 0) {
			r = kit->ops->stage_write(op.staged, octets);
			if (r == 0)
				r = kit->ops->stage_finish(op.staged);
			if (r < 0)
				kit->ops->stage_drop(op.staged);
			else
				r = kit_try(kit, store, &op, NULL);
		}
		if (r == 0)
			continue;
		must(ps_no_room(r), "a full disk is %s: %s", ps_err_name(r), ps_last_error());
		return n;
	}
	fail_at(__FILE__, __LINE__, "%s never was full", kit->small);
}

static void full_disk(struct kit *kit)
{
	static char body[20000];
	struct ps_bytes octets = ps_bytes(body, sizeof body);
	struct ps_store *store;
	struct ps_mbox *inbox;
	unsigned n;

	for (size_t i = 0; i < sizeof body; i++) /* little for a backend that compresses */
		body[i] = (char)('0' + pick(kit, 64));
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	n = fill_up(kit, store, inbox, octets);
	must(kit_picture(kit, store, inbox).count == n, "%zu messages, %u were stored",
	     kit_picture(kit, store, inbox).count, n);
	kit_close(kit, store);
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	must(kit_picture(kit, store, inbox).count == n, "after reopening %zu messages, %u were stored",
	     kit_picture(kit, store, inbox).count, n);
	kit_body_must_be(kit, inbox, kit_picture(kit, store, inbox).rows[n - 1].uid, octets);
	for (unsigned i = 0; i < n; i++) {
		uint32_t uid = kit_picture(kit, store, inbox).rows[0].uid;

		kit_expunge(kit, store, inbox, (struct ps_range){uid, uid});
	}
	must(kit_picture(kit, store, inbox).count == 0, "expunging does not empty it");
	kit_fill(kit, store, inbox, 1);
	kit_close(kit, store);
}

static const struct check full_checks[] = {
	{"law 6: a full disk refuses, loses nothing, and can be emptied", full_disk, NEEDS_SMALL},
};
const struct group group_full = {"full", "law 6: a full disk refuses with a clear error", full_checks, 1};
