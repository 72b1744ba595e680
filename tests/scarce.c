/* SPDX-License-Identifier: MIT */
/*
 * A program's own malloc() is found before libc's, and before a sanitizer's, by all that is loaded; free() stays theirs, as
 * what it is given is. clang links a sanitizer into the program: there the next one is its interceptor, by name.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "tests/scarce.h"

/* A sanitizer's own start allocates, when its shadow is not there yet. */
#ifdef __clang__
#define BARE __attribute__((disable_sanitizer_instrumentation))
#else
#define BARE __attribute__((no_sanitize("address", "thread", "undefined")))
#endif
#define FOR_ALL __attribute__((visibility("default"))) BARE

static atomic_bool is_scarce;
static atomic_uint count, first, last;

void scarce_begin(unsigned n, bool lasting)
{
	count = 0;
	first = n;
	last = lasting ? UINT_MAX : n;
	is_scarce = true;
}

unsigned scarce_end(void)
{
	is_scarce = false;
	return count;
}

BARE static bool fails(void)
{
	unsigned n;

	if (!is_scarce)
		return false;
	n = ++count;
	if (first == 0 || n < first || n > last)
		return false;
	errno = ENOMEM;
	return true;
}

#define NEXT(type, name, ...)                                                                                          \
	extern type __interceptor_##name(__VA_ARGS__) __attribute__((weak));                                           \
	static type (*next_##name)(__VA_ARGS__);                                                                       \
	BARE static void find_##name(void)                                                                             \
	{                                                                                                              \
		if (!next_##name)                                                                                      \
			next_##name = __interceptor_##name ? __interceptor_##name                                      \
							   : (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);            \
	}

NEXT(void *, malloc, size_t size)
NEXT(void *, calloc, size_t count_, size_t size)
NEXT(void *, realloc, void *old, size_t size)

FOR_ALL void *malloc(size_t size)
{
	find_malloc();
	return fails() ? NULL : next_malloc(size);
}

FOR_ALL void *calloc(size_t n, size_t size)
{
	find_calloc();
	return fails() ? NULL : next_calloc(n, size);
}

FOR_ALL void *realloc(void *old, size_t size)
{
	find_realloc();
	return fails() ? NULL : next_realloc(old, size);
}
