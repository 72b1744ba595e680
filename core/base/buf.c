/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include "postern/buf.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	SMALL = 64 * 1024 /* always to be had, as what ps_malloc() gives */
};

bool ps_bytes_eq(struct ps_bytes a, struct ps_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool ps_bytes_eq_str(struct ps_bytes a, const char *s)
{
	return ps_bytes_eq(a, ps_bytes_str(s));
}

bool ps_bytes_caseeq_str(struct ps_bytes a, const char *s)
{
	for (size_t i = 0; i < a.len; i++)
		if (s[i] == '\0' || ps_tolower(a.ptr[i]) != ps_tolower((unsigned char)s[i]))
			return false;
	return s[a.len] == '\0';
}

/* For those who were built when they were no inline functions. */
extern inline ptrdiff_t ps_bytes_find(struct ps_bytes a, uint8_t c);
extern inline struct ps_bytes ps_bytes_skip(struct ps_bytes a, size_t n);
extern inline int ps_buf_append(struct ps_buf *buf, const void *data, size_t len);
extern inline int ps_buf_bytes(struct ps_buf *buf, struct ps_bytes b);
extern inline int ps_buf_char(struct ps_buf *buf, char c);

int ps_bytes_u64(struct ps_bytes a, uint64_t *ret_n)
{
	uint64_t n = 0;

	if (a.len == 0)
		return ps_fail(PS_E_SYNTAX, "a number is missing");
	for (size_t i = 0; i < a.len; i++) {
		if (!ps_isdigit(a.ptr[i]) || __builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, a.ptr[i] - (unsigned)'0', &n))
			return ps_fail(PS_E_SYNTAX, "not a number");
	}
	*ret_n = n;
	return 0;
}

int ps_bytes_u32(struct ps_bytes a, uint32_t *ret_n)
{
	uint64_t n;

	if (ps_bytes_u64(a, &n) < 0 || n > UINT32_MAX)
		return ps_fail(PS_E_SYNTAX, "not a 32-bit number");
	*ret_n = (uint32_t)n;
	return 0;
}

int ps_strcasecmp(const char *a, const char *b)
{
	while (*a && ps_tolower((unsigned char)*a) == ps_tolower((unsigned char)*b))
		a++, b++;
	return ps_tolower((unsigned char)*a) - ps_tolower((unsigned char)*b);
}

void ps_buf_finish(struct ps_buf *buf)
{
	free(buf->ptr);
	*buf = (struct ps_buf){.limit = buf->limit};
}

void ps_buf_wipe(struct ps_buf *buf)
{
	if (buf->cap)
		explicit_bzero(buf->ptr, buf->cap);
	ps_buf_finish(buf);
}

void ps_buf_reset(struct ps_buf *buf)
{
	buf->len = 0;
	buf->failed = false;
}

static uint8_t *refuse(struct ps_buf *buf)
{
	buf->failed = true;
	ps_fail(PS_E_LIMIT, "buffer limit of %zu octets", buf->limit);
	return NULL;
}

uint8_t *ps_buf_reserve(struct ps_buf *buf, size_t len)
{
	size_t need, cap;
	uint8_t *larger;

	if (buf->failed || __builtin_add_overflow(buf->len, len, &need) || need > SIZE_MAX / 2 ||
	    (buf->limit && need > buf->limit))
		return refuse(buf);
	if (need > buf->cap) {
		cap = buf->cap ? buf->cap : 64;
		while (cap < need)
			cap *= 2;
		larger = buf->limit && cap > SMALL ? realloc(buf->ptr, cap) : ps_realloc(buf->ptr, cap);
		if (!larger)
			return refuse(buf);
		buf->ptr = larger;
		buf->cap = cap;
	}
	return buf->ptr ? buf->ptr + buf->len : (uint8_t *)"";
}

int ps_buf_str(struct ps_buf *buf, const char *s)
{
	return ps_buf_append(buf, s, strlen(s));
}

/* How many decimal digits, at least one. */
static unsigned count_digits(uint64_t n)
{
	/* clang-format off */
	static const uint64_t powers[] = {
		0 /* has a digit, too */, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u, 1000000000u,
		10000000000u, 100000000000u, 1000000000000u, 10000000000000u, 100000000000000u, 1000000000000000u,
		10000000000000000u, 100000000000000000u, 1000000000000000000u, 10000000000000000000u};
	/* clang-format on */
	unsigned bits = 64 - (unsigned)__builtin_clzll(n | 1);
	unsigned guess = bits * 1233 >> 12; /* log 2 / log 10 of it: right, or one too few */

	return guess + (n >= powers[guess]);
}

int ps_buf_u64(struct ps_buf *buf, uint64_t n)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	unsigned left = count_digits(n);
	uint8_t *at = ps_buf_reserve(buf, left);

	if (!at)
		return PS_E_LIMIT;
	buf->len += left;
	for (; left >= 2; n /= 100)
		memcpy(at + (left -= 2), pairs + n % 100 * 2, 2);
	if (left)
		*at = (uint8_t)('0' + n);
	return 0;
}

int ps_buf_vprintf(struct ps_buf *buf, const char *fmt, va_list ap)
{
	va_list again;
	uint8_t *at;
	int len;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	at = len < 0 ? refuse(buf) : ps_buf_reserve(buf, (size_t)len + 1);
	if (at) {
		vsnprintf((char *)at, (size_t)len + 1, fmt, again);
		buf->len += (size_t)len;
	}
	va_end(again);
	return at ? 0 : PS_E_LIMIT;
}

int ps_buf_printf(struct ps_buf *buf, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = ps_buf_vprintf(buf, fmt, ap);
	va_end(ap);
	return r;
}

void ps_buf_consume(struct ps_buf *buf, size_t n)
{
	buf->len -= n;
	if (buf->len && n)
		memmove(buf->ptr, buf->ptr + n, buf->len);
}

const char *ps_buf_cstr(struct ps_buf *buf)
{
	uint8_t *end;

	if (buf->failed)
		return "";
	end = ps_buf_reserve(buf, 1);
	if (!end)
		return "";
	*end = '\0';
	return (const char *)buf->ptr;
}
