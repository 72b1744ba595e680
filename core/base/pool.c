/* SPDX-License-Identifier: MIT */
/*
 * A pool is a list of chunks, the newest first. An allocation is cut from the newest; one that is larger
 * than half of the largest chunk gets a chunk of its own behind it, so that the room left in the newest is not lost.
 * Chunks begin small, as most pools stay: each session that waits has one.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "postern/log.h"
#include "postern/pool.h"

enum {
	CHUNK_MIN = 512 - 16, /* with its head; 16 are malloc()'s own */
	CHUNK_MAX = 8 * CHUNK_MIN
};

struct chunk {
	struct chunk *next;
	size_t size; /* of data */
	size_t used;
	alignas(max_align_t) unsigned char data[];
};

struct ps_pool {
	const char *name;
	struct chunk *chunks;
	size_t next; /* size of the next chunk, with its head */
	size_t used;
};

static _Noreturn void out_of_memory(size_t size)
{
	ps_log(PS_LOG_ERROR, "out_of_memory", "octets", ps_num((long long)size), NULL);
	abort();
}

void *ps_malloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		out_of_memory(size);
	return p;
}

void *ps_zalloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		out_of_memory(size);
	return p;
}

void *ps_realloc(void *old, size_t size)
{
	void *p = realloc(old, size ? size : 1);

	if (!p)
		out_of_memory(size);
	return p;
}

char *ps_strdup(const char *s)
{
	size_t size = strlen(s) + 1;

	return memcpy(ps_malloc(size), s, size);
}

struct ps_pool *ps_pool_create(const char *name)
{
	struct ps_pool *pool = ps_zalloc(sizeof *pool);

	pool->name = name;
	pool->next = CHUNK_MIN;
	return pool;
}

static void chunk_wipe(struct chunk *chunk)
{
	explicit_bzero(chunk->data, chunk->used);
	chunk->used = 0;
}

static void chunks_free(struct chunk *chunk)
{
	while (chunk) {
		struct chunk *next = chunk->next;

		chunk_wipe(chunk);
		free(chunk);
		chunk = next;
	}
}

void ps_pool_destroy(struct ps_pool *pool)
{
	if (!pool)
		return;
	chunks_free(pool->chunks);
	free(pool);
}

void ps_pool_reset(struct ps_pool *pool)
{
	struct chunk *kept = pool->chunks;

	if (kept && kept->size > CHUNK_MAX) { /* one that was made for something large would never be given back */
		chunks_free(kept);
		pool->chunks = NULL;
	} else if (kept) {
		chunks_free(kept->next);
		kept->next = NULL;
		chunk_wipe(kept);
	}
	pool->used = 0;
}

/* Twice as large as the one before, and more where that helps to have `need` not in a chunk of its own. */
static size_t next_size(struct ps_pool *pool, size_t need)
{
	size_t size;

	while (need > pool->next / 2 && pool->next < CHUNK_MAX)
		pool->next *= 2;
	size = pool->next - sizeof(struct chunk);
	if (pool->next < CHUNK_MAX)
		pool->next *= 2;
	return size;
}

static struct chunk *chunk_add(struct ps_pool *pool, size_t need)
{
	bool large = need > CHUNK_MAX / 2;
	size_t size = large ? need : next_size(pool, need);
	struct chunk *chunk = ps_malloc(sizeof *chunk + size);

	chunk->size = size;
	chunk->used = 0;
	if (pool->chunks && large) {
		chunk->next = pool->chunks->next;
		pool->chunks->next = chunk;
	} else {
		chunk->next = pool->chunks;
		pool->chunks = chunk;
	}
	return chunk;
}

void *ps_pool_alloc(struct ps_pool *pool, size_t size)
{
	struct chunk *chunk = pool->chunks;
	size_t need;
	void *p;

	if (size > SIZE_MAX / 2)
		out_of_memory(size);
	need = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!chunk || chunk->size - chunk->used < need)
		chunk = chunk_add(pool, need);
	p = chunk->data + chunk->used;
	chunk->used += need;
	pool->used += need;
	return p;
}

void *ps_pool_zalloc(struct ps_pool *pool, size_t size)
{
	return memset(ps_pool_alloc(pool, size), 0, size);
}

void *ps_pool_memdup(struct ps_pool *pool, const void *data, size_t size)
{
	void *copy = ps_pool_alloc(pool, size);

	return size ? memcpy(copy, data, size) : copy;
}

char *ps_pool_strdup(struct ps_pool *pool, const char *s)
{
	return s ? ps_pool_strndup(pool, s, strlen(s)) : NULL;
}

char *ps_pool_strndup(struct ps_pool *pool, const char *s, size_t size)
{
	char *copy = ps_pool_alloc(pool, size + 1);

	if (size)
		memcpy(copy, s, size);
	copy[size] = '\0';
	return copy;
}

char *ps_pool_printf(struct ps_pool *pool, const char *fmt, ...)
{
	va_list ap, again;
	char *text;
	int len;

	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	text = ps_pool_alloc(pool, (size_t)(len < 0 ? 0 : len) + 1);
	text[0] = '\0';
	if (len > 0)
		vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	return text;
}

void *ps_pool_grow(struct ps_pool *pool, void *array, size_t used, size_t *cap, size_t size)
{
	size_t more = *cap ? *cap * 2 : 8;
	void *larger;

	if (used < *cap)
		return array;
	if (more > SIZE_MAX / 2 / size)
		out_of_memory(more);
	larger = ps_pool_alloc(pool, more * size);
	if (*cap) /* `used` may count what is about to be used */
		memcpy(larger, array, *cap * size);
	*cap = more;
	return larger;
}

size_t ps_pool_used(const struct ps_pool *pool)
{
	return pool->used;
}

void ps_pool_destroyp(struct ps_pool **pool)
{
	ps_pool_destroy(*pool);
}

void ps_freep(void *pointer_to_pointer)
{
	free(*(void **)pointer_to_pointer);
}

void ps_closep(int *fd)
{
	int error = errno;

	if (*fd >= 0)
		close(*fd);
	errno = error;
}
