/* SPDX-License-Identifier: MIT */
/*
 * postern/pool.h - memory that goes together.                                [stable]
 *
 * What a session or a command allocates belongs to its pool and goes with it. A pool is used by
 * one thread at a time. Allocation does not fail: a process that is out of memory logs so and
 * ends (it is restarted). Sizes an outsider chooses go into a ps_buf, which has a limit and refuses.
 */
#ifndef POSTERN_POOL_H
#define POSTERN_POOL_H

#include <stddef.h>
#include <stdarg.h>

struct ps_pool;

/* `name` (static) shows in diagnostics. The first chunk is taken at the first allocation. */
struct ps_pool *ps_pool_create(const char *name);

/* Wipes and frees everything. destroy(NULL) does nothing. */
void ps_pool_destroy(struct ps_pool *pool);

/* Wipes all allocations with zeros and makes the pool empty; keeps one small chunk for the next use. */
void ps_pool_reset(struct ps_pool *pool);

/* Aligned for any type; contents undefined (alloc) or zero (zalloc). Size 0 gives a valid pointer. */
void *ps_pool_alloc(struct ps_pool *pool, size_t size) __attribute__((malloc, alloc_size(2)));
void *ps_pool_zalloc(struct ps_pool *pool, size_t size) __attribute__((malloc, alloc_size(2)));
void *ps_pool_memdup(struct ps_pool *pool, const void *data, size_t size);
char *ps_pool_strdup(struct ps_pool *pool, const char *s);               /* NULL gives NULL */
char *ps_pool_strndup(struct ps_pool *pool, const char *s, size_t size); /* adds the NUL */
char *ps_pool_printf(struct ps_pool *pool, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Grows an array of `*cap` elements of `size` octets, of which `used` are in use, so that one more
 * fits; returns where it is now and updates *cap. Start with NULL and 0. */
void *ps_pool_grow(struct ps_pool *pool, void *array, size_t used, size_t *cap, size_t size);

/* Octets in use, for limits and diagnostics. */
size_t ps_pool_used(const struct ps_pool *pool);

/* Heap memory under the same rule: ends the process rather than return NULL. */
void *ps_malloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *ps_zalloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *ps_realloc(void *old, size_t size);
char *ps_strdup(const char *s);

#define PS_NEW(pool, type)     ((type *)ps_pool_zalloc((pool), sizeof(type)))
#define PS_NEWV(pool, type, n) ((type *)ps_pool_zalloc((pool), sizeof(type) * (size_t)(n)))
#define PS_ARRAY_LEN(a)        (sizeof(a) / sizeof((a)[0]))

/* PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ...; frees it when the block is left. */
#define PS_CLEANUP(fn) __attribute__((cleanup(fn)))
void ps_pool_destroyp(struct ps_pool **pool);
void ps_freep(void *pointer_to_pointer);
void ps_closep(int *fd); /* closes when >= 0, keeps errno */

#endif
