/* SPDX-License-Identifier: MIT */
#include "core/store/commit.h"
#include "core/store/user.h"

enum {
	GROUP_MAX = 64
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
	queue->busy = queue->syncing = false;
}

void ps_commit_queue_finish(struct ps_commit_queue *queue)
{
	pthread_cond_destroy(&queue->turn);
	pthread_mutex_destroy(&queue->lock);
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

static void commit_group(struct ps_user *user, struct ps_commit_entry **group, size_t count)
{
	struct ps_batch *batches[GROUP_MAX];
	int r;

	for (size_t i = 0; i < count; i++)
		batches[i] = group[i]->batch;
	r = user->ops->commit(user->store, batches, count);
	for (size_t i = 0; i < count; i++) {
		group[i]->result = batches[i]->err ? batches[i]->err : r;
		if (group[i]->result)
			strncpy(group[i]->error, ps_last_error(), sizeof group[i]->error - 1);
	}
}

/* With the queue's lock, which is let go meanwhile. */
static void lead(struct ps_user *user)
{
	struct ps_commit_queue *queue = &user->commits;
	struct ps_commit_entry *group[GROUP_MAX];
	size_t count = take_group(queue, group);

	queue->busy = true;
	pthread_mutex_unlock(&queue->lock);
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

int ps_commit_sync(struct ps_user *user, struct ps_mbox *mbox)
{
	struct ps_commit_queue *queue = &user->commits;
	int r;

	pthread_mutex_lock(&queue->lock);
	while (queue->busy)
		pthread_cond_wait(&queue->turn, &queue->lock);
	queue->busy = queue->syncing = true;
	queue->syncing_mbox = mbox;
	pthread_mutex_unlock(&queue->lock);
	r = user->ops->sync(user->store, mbox);
	pthread_mutex_lock(&queue->lock);
	queue->busy = queue->syncing = false;
	pthread_cond_broadcast(&queue->turn);
	pthread_mutex_unlock(&queue->lock);
	return r == PS_E_MOVED ? ps_user_move(user) : r;
}

void ps_commit_wait_sync(struct ps_user *user, struct ps_mbox *mbox)
{
	struct ps_commit_queue *queue = &user->commits;

	pthread_mutex_lock(&queue->lock);
	while (queue->syncing && queue->syncing_mbox == mbox)
		pthread_cond_wait(&queue->turn, &queue->lock);
	pthread_mutex_unlock(&queue->lock);
}
