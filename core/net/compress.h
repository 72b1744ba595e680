/* SPDX-License-Identifier: MIT */
/*
 * core/net/compress.h - DEFLATE (RFC 1951) in both directions of a session, for RFC 4978. zlib is below; only compress.c
 * knows it.
 *
 * Either one can rest: while nothing moves it gives its tables back and keeps what the other side may still refer to,
 * which is nothing for what we send, and the last 32 KiB at most of what we received.
 */
#ifndef CORE_NET_COMPRESS_H
#define CORE_NET_COMPRESS_H

#include <stdbool.h>
#include "postern/buf.h"

/* ---- what is sent */

struct deflater;

/* `level` 1 (quick) to 9 (small). */
struct deflater *deflater_create(int level);
void deflater_destroy(struct deflater *deflater); /* destroy(NULL) does nothing */
/* Compresses octets; what comes of it waits in deflater_ready(). PS_E_LIMIT: no memory. */
int deflater_feed(struct deflater *deflater, struct ps_bytes octets);
/* Makes all that was fed readable for the other side, up to a whole octet. */
int deflater_sync(struct deflater *deflater);
/* The same, and it is the end of the stream: nothing is fed after it. */
int deflater_end(struct deflater *deflater);
bool deflater_has_ended(const struct deflater *deflater);
/* Fed, and not readable for the other side yet. */
bool deflater_is_dirty(const struct deflater *deflater);
struct ps_bytes deflater_ready(const struct deflater *deflater);
void deflater_sent(struct deflater *deflater, size_t octets); /* of what was ready */
void deflater_rest(struct deflater *deflater);

/* ---- what is received */

struct inflater;

struct inflater *inflater_create(void);
void inflater_destroy(struct inflater *inflater); /* destroy(NULL) does nothing */
/* Takes compressed octets; they are kept until they are inflated. */
int inflater_put(struct inflater *inflater, struct ps_bytes octets);
/* Whether inflater_take() may give something without another inflater_put(). */
bool inflater_has_more(const struct inflater *inflater);
/* The other side has ended its stream, and all of it was taken. */
bool inflater_has_ended(const struct inflater *inflater);
/* Inflates at most `len` octets. 0: more must be put, if it has not ended; PS_E_SYNTAX: this is not DEFLATE; PS_E_LIMIT: no
 * memory. */
ssize_t inflater_take(struct inflater *inflater, void *ret_octets, size_t len);
void inflater_rest(struct inflater *inflater);
/*
 * The other side's stream is over with what was taken last: what is put after its end is not compressed. Takes the end off: what
 * makes the last octets readable (RFC 1951 has no one way: an end, or an empty block up to a whole octet). 1: the rest is in *ret_rest;
 * 0: more must be put; PS_E_SYNTAX: there is more in the stream.
 */
int inflater_end(struct inflater *inflater, struct ps_bytes *ret_rest);

#endif
