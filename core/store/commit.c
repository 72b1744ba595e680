/* SPDX-License-Identifier: MIT */
#include "core/store/commit.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "core/store/pending.h"
#include "core/store/place.h"
#include "postern/log.h"

enum {
	GROUP_MAX = 64,
	LOOK_SECONDS = 2, /* strangers can ask, and looking at many mailboxes costs */
};

/* Lives on the stack of the thread that waits for it. */
struct ps_commit_entry {
	struct ps_commit_entry *next;
	struct ps_batch *batch;
	bool done;
	int result;
	char error[256]; /* what the leader's thread knows of a failure */
};

void ps_commit_queue_init(struct ps_commit_queue *queue)
{
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->turn, NULL);
	queue->first = NULL;
	queue->end = &queue->first;
	queue->busy = queue->syncing = queue->looking = queue->unsettled = false;
}

void ps_commit_queue_finish(struct ps_commit_queue *queue)
{
	pthread_cond_destroy(&queue->turn);
	pthread_mutex_destroy(&queue->lock);
}

/* What a client can do again at any time. A batch with a token or a modseq of its own is somebody's who counts on it. */
static bool may_be_relaxed(const struct ps_user *user, const struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->ops[i].kind != PS_OP_FLAGS)
			return false;
	return user->relaxed && user->ops->settle && batch->token.len == 0 && batch->modseq == 0;
}

static size_t take_group(struct ps_commit_queue *queue, struct ps_commit_entry **group)
{
	size_t n = 0;

	while (queue->first && n < GROUP_MAX) {
		group[n++] = queue->first;
		queue->first = queue->first->next;
	}
	if (!queue->first)
		queue->end = &queue->first;
	return n;
}

static void set_unsettled(struct ps_commit_queue *queue, bool unsettled)
{
	pthread_mutex_lock(&queue->lock);
	queue->unsettled = unsettled;
	pthread_mutex_unlock(&queue->lock);
}

bool ps_commit_is_unsettled(struct ps_user *user)
{
	bool unsettled;

	pthread_mutex_lock(&user->commits.lock);
	unsettled = user->commits.unsettled;
	pthread_mutex_unlock(&user->commits.lock);
	return unsettled;
}

static void commit_group(struct ps_user *user, struct ps_commit_entry **group, size_t count)
{
	struct ps_batch *batches[GROUP_MAX] = {NULL};
	bool unsettled = false, left = false;
	int r;

	for (size_t i = 0; i < count; i++) {
		batches[i] = group[i]->batch;
		batches[i]->relaxed = may_be_relaxed(user, batches[i]);
		unsettled = unsettled || batches[i]->relaxed;
	}
	if (unsettled)
		set_unsettled(&user->commits, true);
	r = user->ops->commit(user->store, batches, count);
	for (size_t i = 0; i < count; i++) {
		group[i]->result = batches[i]->err ? batches[i]->err : r;
		if (group[i]->result)
			strncpy(group[i]->error, ps_last_error(), sizeof group[i]->error - 1);
		left = left || batches[i]->unsettled;
	}
	if (left)
		set_unsettled(&user->commits, true);
}

/* ---- extensions ------------------------------------------------------------------------------ */

/* In the leader's turn, so without waiting for one. */
static int look(struct ps_user *user, struct ps_mbox *mbox)
{
	int r = user->ops->stale(user->store, mbox);

	return r > 0 ? user->ops->sync(user->store, mbox) : r;
}

static void set_looking(struct ps_commit_queue *queue, bool looking)
{
	pthread_mutex_lock(&queue->lock);
	queue->looking = looking;
	pthread_cond_broadcast(&queue->turn);
	pthread_mutex_unlock(&queue->lock);
}

static int64_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void look_again(struct ps_user *user)
{
	user->commits.looked_at = seconds_now();
	set_looking(&user->commits, true);
	if (ps_usage_look(user, look) < 0)
		ps_log(PS_LOG_WARNING, "look_failed", "user", user->name, "error", ps_last_error(), NULL);
	set_looking(&user->commits, false);
}

/* Whether it is a delivery that was tried before and succeeded: only the backend knows. It is asked with a batch that
 * cannot be applied, as there is always an INBOX. */
static bool came_before(struct ps_user *user, const struct ps_batch *refused)
{
	struct ps_op op = {.kind = PS_OP_CREATE, .name = "INBOX"};
	struct ps_op_result result = {0};
	struct ps_batch batch = {
		.ops = &op, .count = 1, .pool = refused->pool, .results = &result, .token = refused->token};
	struct ps_batch *all = &batch;

	return refused->token.len > 0 && user->ops->commit(user->store, &all, 1) == 0 && batch.err == 0 &&
	       batch.repeated;
}

static void refuse(struct ps_user *user, struct ps_commit_entry *entry, int error)
{
	struct ps_batch *batch = entry->batch;

	strncpy(entry->error, ps_last_error(), sizeof entry->error - 1);
	batch->repeated = came_before(user, batch);
	batch->err = entry->result = batch->repeated ? 0 : error;
	for (size_t i = 0; i < batch->count; i++)
		if (batch->ops[i].kind == PS_OP_APPEND)
			user->ops->stage_drop(batch->ops[i].staged);
}

static void ask_again(struct ps_user *user, struct ps_commit_entry *entry)
{
	struct ps_tally tally = {0};
	int r = ps_pending_ask(user, entry->batch, false, &tally);

	if (r < 0)
		refuse(user, entry, r);
	else
		commit_group(user, &entry, 1);
}

static void commit_asked(struct ps_user *user, struct ps_commit_entry **group, size_t count)
{
	struct ps_commit_entry *agreed[GROUP_MAX], *refused[GROUP_MAX];
	size_t agreed_count = 0, refused_count = 0;
	struct ps_tally tally = {0};

	for (size_t i = 0; i < count; i++) {
		if (ps_pending_ask(user, group[i]->batch, false, &tally) < 0)
			refused[refused_count++] = group[i];
		else
			agreed[agreed_count++] = group[i];
	}
	if (agreed_count > 0)
		commit_group(user, agreed, agreed_count);
	if (refused_count > 0)
		look_again(user);
	for (size_t i = 0; i < refused_count; i++)
		ask_again(user, refused[i]);
}

/* With the queue's lock, which is let go meanwhile. */
static void lead(struct ps_user *user)
{
	struct ps_commit_queue *queue = &user->commits;
	struct ps_commit_entry *group[GROUP_MAX];
	size_t count = take_group(queue, group);

	queue->busy = true;
	pthread_mutex_unlock(&queue->lock);
	if (user->attached)
		commit_asked(user, group, count);
	else
		commit_group(user, group, count);
	pthread_mutex_lock(&queue->lock);
	queue->busy = false;
	for (size_t i = 0; i < count; i++)
		group[i]->done = true;
	pthread_cond_broadcast(&queue->turn);
}

int ps_commit(struct ps_user *user, struct ps_batch *batch)
{
	struct ps_commit_queue *queue = &user->commits;
	struct ps_commit_entry entry = {.batch = batch};

	pthread_mutex_lock(&queue->lock);
	*queue->end = &entry;
	queue->end = &entry.next;
	while (!entry.done) {
		if (queue->busy)
			pthread_cond_wait(&queue->turn, &queue->lock);
		else
			lead(user);
	}
	pthread_mutex_unlock(&queue->lock);
	if (entry.result == PS_E_MOVED)
		return ps_user_move(user);
	return entry.result ? ps_fail(entry.result, "%s", entry.error) : 0;
}

/* ---- turns without a batch --------------------------------------------------------------------- */

static void take_turn(struct ps_commit_queue *queue, bool syncing, struct ps_mbox *mbox)
{
	pthread_mutex_lock(&queue->lock);
	while (queue->busy)
		pthread_cond_wait(&queue->turn, &queue->lock);
	queue->busy = true;
	queue->syncing = syncing;
	queue->syncing_mbox = mbox;
	pthread_mutex_unlock(&queue->lock);
}

static void end_turn(struct ps_commit_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->busy = queue->syncing = false;
	pthread_cond_broadcast(&queue->turn);
	pthread_mutex_unlock(&queue->lock);
}

int ps_commit_sync(struct ps_user *user, struct ps_mbox *mbox)
{
	int r;

	take_turn(&user->commits, true, mbox);
	r = user->ops->sync(user->store, mbox);
	end_turn(&user->commits);
	return r == PS_E_MOVED ? ps_user_move(user) : r;
}

int ps_commit_settle(struct ps_user *user)
{
	int r;

	if (!ps_commit_is_unsettled(user))
		return 0;
	take_turn(&user->commits, false, NULL);
	set_unsettled(&user->commits, false);
	if ((r = user->ops->settle(user->store)) < 0)
		set_unsettled(&user->commits, true);
	end_turn(&user->commits);
	return r;
}

int ps_commit_ask(struct ps_user *user, struct ps_batch *batch)
{
	struct ps_tally tally = {0};
	int r;

	if (!atomic_load(&user->is_asked))
		return 0;
	take_turn(&user->commits, false, NULL);
	r = ps_pending_ask(user, batch, true, &tally);
	if (r < 0 && seconds_now() - user->commits.looked_at >= LOOK_SECONDS) {
		look_again(user);
		tally = (struct ps_tally){0};
		r = ps_pending_ask(user, batch, true, &tally);
	}
	end_turn(&user->commits);
	return r;
}

bool ps_commit_limit(struct ps_user *user, struct ps_usage *ret_limit)
{
	bool set;

	take_turn(&user->commits, false, NULL);
	set = ps_extensions_limit(user, ret_limit);
	end_turn(&user->commits);
	return set;
}

int ps_commit_set_limit(struct ps_user *user, const struct ps_usage *limit)
{
	int r;

	take_turn(&user->commits, false, NULL);
	r = ps_extensions_set_limit(user, limit);
	end_turn(&user->commits);
	return r;
}

static bool says_the_same(struct ps_user *user, const struct ps_user_info *info)
{
	bool same;

	pthread_mutex_lock(&user->lock);
	same = strcmp(user->fields ? user->fields : "", info->fields ? info->fields : "") == 0;
	pthread_mutex_unlock(&user->lock);
	return same;
}

static void keep_fields(struct ps_user *user, const struct ps_user_info *info)
{
	pthread_mutex_lock(&user->lock);
	free(user->fields);
	user->fields = info->fields ? ps_strdup(info->fields) : NULL;
	pthread_mutex_unlock(&user->lock);
}

/* What it keeps is beside the record of where the store is, which stays where the user database says. */
int ps_commit_fit(struct ps_user *user, const struct ps_user_info *info)
{
	const char *root = user->origin.root;
	PS_CLEANUP(ps_buf_finish) struct ps_buf control = {0};
	struct ps_extension_args args = {.user = info, .mount = user->origin.mount};

	if (root && *root) {
		ps_buf_printf(&control, "%s/" PS_PLACE_CONTROL, root);
		args.control = ps_buf_cstr(&control);
	}
	keep_fields(user, info);
	return ps_extensions_attach(user, &args, user->origin.core_conf);
}

void ps_commit_refit(struct ps_user *user, const struct ps_user_info *info)
{
	if (says_the_same(user, info))
		return;
	take_turn(&user->commits, false, NULL);
	ps_extensions_detach(user);
	if (ps_commit_fit(user, info) < 0)
		ps_log(PS_LOG_ERROR, "extension_failed", "user", user->name, "error", ps_last_error(), NULL);
	end_turn(&user->commits);
}

void ps_commit_wait_sync(struct ps_user *user, struct ps_mbox *mbox)
{
	struct ps_commit_queue *queue = &user->commits;

	pthread_mutex_lock(&queue->lock);
	while (queue->looking || (queue->syncing && queue->syncing_mbox == mbox))
		pthread_cond_wait(&queue->turn, &queue->lock);
	pthread_mutex_unlock(&queue->lock);
}
