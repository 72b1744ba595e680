/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/random.h>
#include "backends/memory/memory_private.h"

struct message *message_create(struct ps_buf *octets, struct ps_bytes cache)
{
	struct message *message = ps_zalloc(sizeof *message);

	atomic_init(&message->refs, 1);
	pthread_mutex_init(&message->lock, NULL);
	message->octets = octets->ptr;
	message->len = octets->len;
	*octets = (struct ps_buf){0};
	if (cache.len > 0) {
		message->cache = memcpy(ps_malloc(cache.len), cache.ptr, cache.len);
		message->cache_len = cache.len;
	}
	return message;
}

struct message *message_ref(struct message *message)
{
	atomic_fetch_add(&message->refs, 1);
	return message;
}

void message_unref(struct message *message)
{
	if (atomic_fetch_sub(&message->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&message->lock);
	free(message->octets);
	free(message->cache);
	free(message);
}

struct box *box_create(const char *name)
{
	struct box *box = ps_zalloc(sizeof *box);

	atomic_init(&box->refs, 1);
	box->name = ps_strdup(name);
	box->uid_next = 1;
	box->vanished_since = 1;
	while (getrandom(&box->id, sizeof box->id, 0) != (ssize_t)sizeof box->id)
		;
	return box;
}

struct box *box_copy(const struct box *box)
{
	struct box *copy = ps_malloc(sizeof *copy);

	memcpy(copy, box, sizeof *copy);
	atomic_init(&copy->refs, 1);
	copy->name = ps_strdup(box->name);
	copy->row_cap = box->row_count + 8;
	copy->rows = ps_malloc(copy->row_cap * sizeof *copy->rows);
	for (size_t i = 0; i < box->row_count; i++) {
		copy->rows[i] = box->rows[i];
		message_ref(copy->rows[i].message);
	}
	copy->gone_cap = box->gone_count + 8;
	copy->gone = ps_malloc(copy->gone_cap * sizeof *copy->gone);
	if (box->gone_count > 0)
		memcpy(copy->gone, box->gone, box->gone_count * sizeof *copy->gone);
	for (size_t i = 0; i < box->keyword_count; i++)
		copy->keywords[i] = ps_strdup(box->keywords[i]);
	return copy;
}

void box_unref(struct box *box)
{
	if (atomic_fetch_sub(&box->refs, 1) != 1)
		return;
	for (size_t i = 0; i < box->row_count; i++)
		message_unref(box->rows[i].message);
	for (size_t i = 0; i < box->keyword_count; i++)
		free(box->keywords[i]);
	free(box->rows);
	free(box->gone);
	free(box->name);
	free(box);
}

void box_count(struct box *box)
{
	box->unseen = box->deleted = 0;
	box->size = 0;
	for (size_t i = 0; i < box->row_count; i++) {
		box->unseen += !(box->rows[i].row.flags & PS_FLAG_SEEN);
		box->deleted += (box->rows[i].row.flags & PS_FLAG_DELETED) != 0;
		box->size += box->rows[i].row.size;
	}
}

const struct row *box_find(const struct box *box, uint32_t uid)
{
	size_t low = 0, high = box->row_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (box->rows[middle].row.uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < box->row_count && box->rows[low].row.uid == uid ? &box->rows[low] : NULL;
}

struct version *version_create(void)
{
	struct version *version = ps_zalloc(sizeof *version);

	atomic_init(&version->refs, 1);
	version->modseq = 1;
	return version;
}

struct version *version_copy(const struct version *version)
{
	struct version *copy = version_create();

	copy->modseq = version->modseq;
	copy->last_validity = version->last_validity;
	copy->box_count = version->box_count;
	copy->boxes = ps_malloc((version->box_count + 1) * sizeof(struct box *));
	for (size_t i = 0; i < version->box_count; i++) {
		copy->boxes[i] = version->boxes[i];
		atomic_fetch_add(&copy->boxes[i]->refs, 1);
	}
	copy->subscribed_count = version->subscribed_count;
	copy->subscribed = ps_malloc((version->subscribed_count + 1) * sizeof(char *));
	for (size_t i = 0; i < version->subscribed_count; i++)
		copy->subscribed[i] = ps_strdup(version->subscribed[i]);
	return copy;
}

void version_unref(struct version *version)
{
	if (atomic_fetch_sub(&version->refs, 1) != 1)
		return;
	for (size_t i = 0; i < version->box_count; i++)
		box_unref(version->boxes[i]);
	for (size_t i = 0; i < version->subscribed_count; i++)
		free(version->subscribed[i]);
	free(version->boxes);
	free(version->subscribed);
	free(version);
}

struct version *version_get(struct mail *mail)
{
	struct version *version;

	pthread_mutex_lock(&mail->lock);
	version = mail->version;
	atomic_fetch_add(&version->refs, 1);
	pthread_mutex_unlock(&mail->lock);
	return version;
}

ptrdiff_t version_find_name(const struct version *version, const char *name)
{
	for (size_t i = 0; i < version->box_count; i++)
		if (strcmp(version->boxes[i]->name, name) == 0)
			return (ptrdiff_t)i;
	return -1;
}

ptrdiff_t version_find_id(const struct version *version, const struct ps_id *id)
{
	for (size_t i = 0; i < version->box_count; i++)
		if (memcmp(&version->boxes[i]->id, id, sizeof *id) == 0)
			return (ptrdiff_t)i;
	return -1;
}

bool version_is_subscribed(const struct version *version, const char *name)
{
	for (size_t i = 0; i < version->subscribed_count; i++)
		if (strcmp(version->subscribed[i], name) == 0)
			return true;
	return false;
}
