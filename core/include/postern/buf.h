/* SPDX-License-Identifier: MIT */
/*
 * postern/buf.h - octets: a slice somebody else owns, and a buffer that grows.   [stable]
 */
#ifndef POSTERN_BUF_H
#define POSTERN_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "postern/error.h"

/* A slice. Owns nothing; not NUL-terminated. {NULL, 0} is "absent", {"", 0} is "empty". */
struct ps_bytes {
	const uint8_t *ptr;
	size_t len;
};

static inline struct ps_bytes ps_bytes(const void *ptr, size_t len)
{
	return (struct ps_bytes){(const uint8_t *)ptr, len};
}

static inline struct ps_bytes ps_bytes_str(const char *s)
{
	return ps_bytes(s, s ? strlen(s) : 0);
}

bool ps_bytes_eq(struct ps_bytes a, struct ps_bytes b);
bool ps_bytes_eq_str(struct ps_bytes a, const char *s);
bool ps_bytes_caseeq_str(struct ps_bytes a, const char *s); /* ASCII letters only */
/* Index of the first `c`, or -1. */
inline ptrdiff_t ps_bytes_find(struct ps_bytes a, uint8_t c)
{
	const uint8_t *at = a.len ? (const uint8_t *)memchr(a.ptr, c, a.len) : NULL;

	return at ? at - a.ptr : -1;
}
/* Drops the first n (n <= len) octets. */
inline struct ps_bytes ps_bytes_skip(struct ps_bytes a, size_t n)
{
	if (n == 0)
		return a; /* an absent slice has no place to count from */
	a.ptr += n;
	a.len -= n;
	return a;
}
/* Decimal without sign or leading blanks, the whole slice; 0 or PS_E_SYNTAX (also on overflow). */
int ps_bytes_u64(struct ps_bytes a, uint64_t *ret_n);
int ps_bytes_u32(struct ps_bytes a, uint32_t *ret_n);

/*
 * A buffer. A zeroed one is valid and empty; `limit` 0 means none. Data starts at `ptr` and is
 * `len` long. An append that would pass the limit sets `failed`, changes nothing else and returns
 * PS_E_LIMIT; later appends do the same, so a writer may check once at the end. So it is where there is no
 * memory to grow beyond 64 KiB and there is a limit; else the process ends as ps_malloc() ends it, so
 * that nobody takes for all what was cut short.
 */
struct ps_buf {
	uint8_t *ptr;
	size_t len;
	size_t cap;
	size_t limit;
	bool failed;
};

void ps_buf_finish(struct ps_buf *buf); /* wipes nothing, frees, zeroes all but the limit */
void ps_buf_wipe(struct ps_buf *buf);   /* zeroes the octets, then finish */
void ps_buf_reset(struct ps_buf *buf);  /* len = 0, failed = false; keeps the memory */
/* Makes room for `len` more and returns where they go; the caller then adds to buf->len. NULL as above. */
uint8_t *ps_buf_reserve(struct ps_buf *buf, size_t len);
/* What there is room for is copied where the caller stands: answers are made of thousands of small pieces. */
inline int ps_buf_append(struct ps_buf *buf, const void *data, size_t len)
{
	if (len > buf->cap - buf->len || buf->failed || (buf->limit && buf->len + len > buf->limit))
		if (!ps_buf_reserve(buf, len))
			return PS_E_LIMIT;
	if (len)
		memcpy(buf->ptr + buf->len, data, len);
	buf->len += len;
	return 0;
}
int ps_buf_str(struct ps_buf *buf, const char *s);
inline int ps_buf_bytes(struct ps_buf *buf, struct ps_bytes b)
{
	return ps_buf_append(buf, b.ptr, b.len);
}
inline int ps_buf_char(struct ps_buf *buf, char c)
{
	return ps_buf_append(buf, &c, 1);
}
int ps_buf_u64(struct ps_buf *buf, uint64_t n); /* decimal; the quick way to print a number */
int ps_buf_printf(struct ps_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int ps_buf_vprintf(struct ps_buf *buf, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Drops the first n octets, moving the rest down. */
void ps_buf_consume(struct ps_buf *buf, size_t n);
/* NUL-terminates without counting it and returns the text; "" when empty. */
const char *ps_buf_cstr(struct ps_buf *buf);

static inline struct ps_bytes ps_buf_view(const struct ps_buf *buf)
{
	return ps_bytes(buf->ptr, buf->len);
}

/* ASCII, whatever the locale. */
static inline bool ps_isdigit(int c)
{
	return c >= '0' && c <= '9';
}
static inline bool ps_isalpha(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static inline int ps_tolower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}
static inline int ps_toupper(int c)
{
	return c >= 'a' && c <= 'z' ? c - 32 : c;
}
int ps_strcasecmp(const char *a, const char *b); /* ASCII */

/* Base64 (RFC 4648 section 4, padding required, no line ends). Decode: PS_E_SYNTAX on any other octet. */
int ps_base64_encode(struct ps_buf *out, struct ps_bytes in);
int ps_base64_decode(struct ps_buf *out, struct ps_bytes in);
int ps_hex_encode(struct ps_buf *out, struct ps_bytes in);

/* True where the octets are UTF-8 as RFC 3629 defines it (no surrogates, nothing overlong). */
bool ps_utf8_valid(struct ps_bytes text);

#endif
