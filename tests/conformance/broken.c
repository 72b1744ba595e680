/* SPDX-License-Identifier: MIT */
/*
 * A backend that breaks one law, which $POSTERN_FAULT names, over the reference: the kit must see it.
 */
#include <stdlib.h>
#include <string.h>
#include "postern/plugin.h"

/* The reference, under another name. */
#define postern_plugin reference_plugin
#include "backends/memory/memory.c"
#undef postern_plugin

static const struct ps_backend *sound(void)
{
	return &memory_backend;
}

static bool fault(const char *name)
{
	const char *chosen = getenv("POSTERN_FAULT");

	return chosen && strcmp(chosen, name) == 0;
}

static int broken_info(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info)
{
	int r = sound()->info(read, mbox, ret_info);

	if (r == 0 && fault("uidnext") && ret_info->uid_next > 1)
		ret_info->uid_next--;
	if (r == 0 && fault("modseq"))
		ret_info->highest_modseq = 1000;
	if (r == 0 && fault("count"))
		ret_info->unseen = 0;
	return r;
}

static int broken_scan(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since,
		       ps_row_fn fn, void *arg)
{
	if (fault("changed") && changed_since > 0)
		return 0;
	return sound()->scan(read, mbox, uids, changed_since, fn, arg);
}

static int broken_vanished(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg)
{
	return fault("vanished") ? 0 : sound()->vanished(read, mbox, since, fn, arg);
}

static int broken_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	int r = sound()->body(mbox, uid, ret_body);

	if (r == 0 && fault("octets") && ret_body->length > 0)
		ret_body->length--;
	return r;
}

struct listing {
	ps_mailbox_fn fn;
	void *arg;
};

static int only_existing(void *arg, const struct ps_mailbox_info *info)
{
	struct listing *listing = arg;

	return info->attributes & PS_MBOX_EXISTS ? listing->fn(listing->arg, info) : 0;
}

static int broken_list(struct ps_read *read, ps_mailbox_fn fn, void *arg)
{
	struct listing listing = {fn, arg};

	return fault("subscribed") ? sound()->list(read, only_existing, &listing) : sound()->list(read, fn, arg);
}

/* Each operation is done on its own, so that a batch may be half there. */
static void commit_apart(struct ps_store *store, struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct ps_batch one = {
			.ops = &batch->ops[i], .count = 1, .pool = batch->pool, .results = &batch->results[i]};
		struct ps_batch *list = &one;

		sound()->commit(store, &list, 1);
		if (one.err != 0)
			batch->err = one.err;
	}
}

/* Keeps the token of a batch whatever becomes of it. True when it had come before. */
static bool token_is_kept(struct ps_store *store, struct ps_batch *batch)
{
	struct ps_batch alone = {.pool = batch->pool, .token = batch->token}, *list = &alone;

	sound()->commit(store, &list, 1);
	if (batch->token.len <= PS_TOKEN_MAX)
		batch->token.len = 0;
	batch->repeated = alone.repeated;
	return alone.repeated;
}

static void commit_changed(struct ps_store *store, struct ps_batch *batch)
{
	struct ps_op *ops = PS_NEWV(batch->pool, struct ps_op, batch->count);
	const struct ps_op *given = batch->ops;

	memcpy(ops, given, batch->count * sizeof *ops);
	for (size_t i = 0; i < batch->count; i++) {
		if (fault("keywords") && ops[i].kind == PS_OP_FLAGS)
			ops[i].keywords = NULL;
		if (fault("deleted"))
			ops[i].only_deleted = false;
		if (fault("condition"))
			ops[i].unchanged_since = UINT64_MAX;
		if (fault("identity") && ops[i].kind == PS_OP_IDENTITY)
			ops[i].uid_next = 0;
		if (fault("own-modseq"))
			ops[i].modseq = 0;
	}
	batch->ops = ops;
	if (fault("batch-modseq"))
		batch->modseq = 0;
	if (fault("token"))
		batch->token.len = 0;
	if (!fault("token-kept") || !token_is_kept(store, batch))
		sound()->commit(store, &batch, 1);
	batch->ops = given;
}

/* Lets in who was shut out. */
static void follow(struct ps_store *store)
{
	pthread_mutex_lock(&store->mail->commit_lock);
	store->generation = store->mail->generation;
	pthread_mutex_unlock(&store->mail->commit_lock);
}

static int broken_sync(struct ps_store *store, struct ps_mbox *mbox)
{
	return fault("moved-sync") ? 0 : sound()->sync(store, mbox);
}

static int broken_set_generation(struct ps_store *store, uint64_t generation)
{
	return fault("generation") ? 0 : sound()->set_generation(store, generation);
}

static int broken_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	if (fault("moved"))
		follow(store);
	for (size_t i = 0; i < count; i++) {
		if (fault("batch"))
			commit_apart(store, batches[i]);
		else
			commit_changed(store, batches[i]);
	}
	return 0;
}

static struct ps_backend broken;

__attribute__((constructor)) static void borrow(void)
{
	broken = *sound();
	broken.info = broken_info;
	broken.scan = broken_scan;
	broken.vanished = broken_vanished;
	broken.body = broken_body;
	broken.list = broken_list;
	broken.commit = broken_commit;
	broken.sync = broken_sync;
	broken.set_generation = broken_set_generation;
}

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_BACKEND,
	.ops_size = sizeof(struct ps_backend),
	.name = "broken",
	.summary = "breaks a law, to see that the kit notices",
	.ops = &broken,
};
