/* SPDX-License-Identifier: MIT */
/*
 * postern/message.h - what core knows of a message: structure, envelope, headers.   [in-tree]
 *
 * One bounded pass over a message (struct ps_derive, postern/backend.h) gives its CRLF size and a
 * cache: a self-contained block of octets that is kept with the message, so that metadata is answered
 * without opening it. Malformed mail is never refused: limits (depth 100, 10,000 parts, header field
 * 10 MB, all headers 50 MB) turn what is beyond them into a leaf, or leave it out.
 */
#ifndef POSTERN_MESSAGE_H
#define POSTERN_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include "postern/backend.h"
#include "postern/buf.h"
#include "postern/pool.h"

/* Where something lies, both as sent (CRLF) and as kept (bare LF perhaps). */
struct ps_span {
	uint64_t offset;     /* in CRLF form, from the start of the message */
	uint64_t length;     /* in CRLF form */
	uint64_t raw_offset; /* in the octets of struct ps_body */
	uint64_t raw_length;
	uint64_t lines; /* line ends within */
};

/* A cache that was read; points into the octets it was opened from. */
struct ps_cache {
	struct ps_bytes octets;
};

/* PS_E_CORRUPT when the octets are not a whole cache of this version (then derive it anew). */
int ps_cache_open(struct ps_cache *cache, struct ps_bytes octets);

/* What a reader is shown of the message before it is opened: UTF-8 on one line, at most 200 characters; empty when there is
 * nothing to be said. RFC 8970. */
struct ps_bytes ps_cache_preview(const struct ps_cache *cache);

/* Whether the message has NUL octets, which must not be sent as they are. */
bool ps_cache_has_nul(const struct ps_cache *cache);

/* Ready to send, RFC 3501 section 7.4.2: the parenthesised text behind ENVELOPE, BODYSTRUCTURE and
 * BODY. 8-bit octets occur in literals or quoted strings as they stand in the header; no NUL, CR, LF outside literals. */
struct ps_bytes ps_cache_envelope(const struct ps_cache *cache);
struct ps_bytes ps_cache_bodystructure(const struct ps_cache *cache);
int ps_cache_body(const struct ps_cache *cache, struct ps_buf *out); /* made from the above: without extension data */

/* Parts. RFC 3501 section 6.4.5. */
enum ps_section {
	PS_SECTION_ALL,    /* "" or "1.2": the whole, or the part's body */
	PS_SECTION_HEADER, /* "HEADER": of the message, or of a message/rfc822 part; with its blank line */
	PS_SECTION_TEXT,
	PS_SECTION_MIME, /* needs a part number */
};
/* `part`: numbers as in "1.2.3" and their count. PS_E_NOTFOUND when the message has no such part. */
int ps_cache_section(const struct ps_cache *cache, const uint32_t *part, size_t depth, enum ps_section what,
		     struct ps_span *ret_span);

/* How a part is encoded, in lower case; empty for one that has parts itself, and for the whole message. Valid as long as the cache.
 * PS_E_NOTFOUND. */
int ps_cache_encoding(const struct ps_cache *cache, const uint32_t *part, size_t depth, struct ps_bytes *ret_encoding);

/* What a leaf is, for BINARY, search and preview. Strings in the pool, lower case where case is not significant. */
struct ps_part_info {
	const char *type, *subtype; /* "text", "plain" */
	const char *charset;        /* NULL when none is given */
	const char *encoding;       /* "7bit", "base64", ... */
	struct ps_span header;      /* its MIME header, with the blank line */
	struct ps_span body;
	const uint32_t *part; /* its number */
	size_t depth;
};
/* Leaves in order; non-zero from fn ends the walk. A message/rfc822 part comes as type "message" with the header of the
 * message within as its body, ahead of that message's leaves. */
int ps_cache_leaves(const struct ps_cache *cache, struct ps_pool *pool,
		    int (*fn)(void *arg, const struct ps_part_info *), void *arg);

/* Header fields of the message that the cache keeps verbatim (the common ones: ps_cache_has_field), as CRLF text
 * with the terminating blank line left out, in the message's order. `names` without colon; ASCII case
 * ignored. Returns PS_E_NOTFOUND when a name is not among those the cache keeps: then read the header
 * itself and use ps_header_filter(). `except`: all fields but the names: never from the cache. */
bool ps_cache_has_field(const char *name);
int ps_cache_fields(const struct ps_cache *cache, const char *const *names, size_t count, struct ps_buf *out);
/* All that the cache keeps, if the names are among it, to be walked without a copy; valid as long as the cache. PS_E_NOTFOUND. */
int ps_cache_kept(const struct ps_cache *cache, const char *const *names, size_t count, struct ps_bytes *ret_fields);

/* From a whole header block (CRLF), the fields named (or all but them), folded lines and all, in order; the
 * blank line is left out. */
int ps_header_filter(struct ps_bytes header, const char *const *names, size_t count, bool except, struct ps_buf *out);

/* Walks the fields of a header block (CRLF or LF). `name` without colon and trailing blanks; `value` raw, with
 * folding, without the last line end. */
struct ps_header_walk {
	struct ps_bytes rest;
};
bool ps_header_next(struct ps_header_walk *walk, struct ps_bytes *ret_name, struct ps_bytes *ret_value);

/* How many mailboxes there are in the value of an address field (RFC 5322 section 3.4), read leniently. PS_E_SYNTAX when one of them
 * is not local-part@domain. */
int ps_addresses_count(struct ps_bytes value, size_t *ret_count);

/* The Date: field as seconds since 1970 and its zone in minutes east; PS_E_SYNTAX. RFC 5322 section 3.3 and 4.3,
 * leniently (missing day name, two-digit years, obsolete zones, comments). */
int ps_date_parse(struct ps_bytes text, int64_t *ret_time, int *ret_zone);
/* The same from the cache: the message's Date, or PS_E_NOTFOUND. For SENTBEFORE and friends and SORT. */
int ps_cache_date(const struct ps_cache *cache, int64_t *ret_time, int *ret_zone);
/* "17-Jul-1996 02:44:25 -0700", RFC 3501 date-time, both ways. Format appends without quotes, as "+0000". */
int ps_imap_date_parse(struct ps_bytes text, int64_t *ret_time);
void ps_imap_date_format(struct ps_buf *out, int64_t time);
/* "1-Feb-1994" as the day's first second, UTC. */
int ps_imap_day_parse(struct ps_bytes text, int64_t *ret_time);

/* Decoding. RFC 2047 encoded words of a header value, unfolded, to UTF-8; what cannot be decoded stays as it is,
 * with invalid octets replaced by U+FFFD. */
int ps_header_decode(struct ps_bytes value, struct ps_buf *out);

/* Streaming transfer decoding and charset conversion to UTF-8, for SEARCH BODY/TEXT and BINARY. */
struct ps_decode;
/* encoding: "base64", "quoted-printable", else identity. charset NULL: no conversion. An unknown charset reads as
 * windows-1252 where it is not valid UTF-8. */
struct ps_decode *ps_decode_create(const char *encoding, const char *charset);
void ps_decode_destroy(struct ps_decode *d);
int ps_decode_feed(struct ps_decode *d, struct ps_bytes in, struct ps_buf *out);
int ps_decode_finish(struct ps_decode *d, struct ps_buf *out);

/*
 * BINARYMIME (RFC 3030) made into what every program can keep and send: leaves whose Content-Transfer-Encoding is "binary"
 * become base64, and multiparts and messages round them 8bit. All else passes as it is. A header is held until it is whole, up to
 * 1 MiB; what is in a part with a longer one passes as it is, too. What `write` returns, if not 0, is passed on.
 */
struct ps_unbinary;
struct ps_unbinary *ps_unbinary_create(int (*write)(void *arg, struct ps_bytes octets), void *arg);
void ps_unbinary_destroy(struct ps_unbinary *u); /* destroy(NULL) does nothing */
int ps_unbinary_feed(struct ps_unbinary *u, struct ps_bytes in);
int ps_unbinary_finish(struct ps_unbinary *u);

/* Messages that are kept with LF: each CRLF goes to `put` as LF, as long as LF to CRLF is the way back. A bare LF, or a CR before a CRLF,
 * ends that: `expand` makes CRLF of each LF that was put so far, and octets go out as they come in from then on. What these two
 * return, if not 0, is passed on. They and `arg` are set first, the rest to zero. One thread at a time. */
struct ps_line_ends {
	int (*put)(void *arg, struct ps_bytes octets);
	int (*expand)(void *arg);
	void *arg;
	bool as_they_are; /* set first: nothing is changed at all */
	bool after_cr;    /* a CR waits for what follows it; its own, as is the next */
	bool bare_cr;     /* the last octet that was put is a CR */
};
int ps_line_ends_feed(struct ps_line_ends *ends, struct ps_bytes octets);
int ps_line_ends_finish(struct ps_line_ends *ends); /* a CR at the very end */

/* i;unicode-casemap (RFC 5051): appends the folded form of UTF-8 text. */
int ps_casefold(struct ps_bytes utf8, struct ps_buf *out);
/* Converts text in `charset` to UTF-8; PS_E_UNSUPPORTED for a charset unknown to iconv, PS_E_SYNTAX for octets it
 * cannot have. For SEARCH CHARSET. */
int ps_charset_to_utf8(const char *charset, struct ps_bytes in, struct ps_buf *out);
/* Loads the converters that confinement would keep from being loaded. Before confining. */
void ps_charset_preload(void);

/* The octets of a body from `at` on as they lie, at least one and at most `room`, wherever they are; in `space` (of `room`
 * octets) where they are read from a file. `at` is below the body's length. Valid while the body is neither asked again
 * nor rests. */
int ps_body_piece(const struct ps_body *body, uint64_t at, uint8_t *space, size_t room, struct ps_bytes *ret_octets);

/* Reads octets of a message in CRLF form, whatever lies on disk: the span's octets [from, from+len) go to `write` in
 * pieces of at most 64 KiB; non-zero from it ends the reading and is returned. NUL octets become 0x80
 * (RFC 9051 section 9 forbids them in literals). A span of a cache that was made from the CRLF form serves a body with bare
 * LFs too, but then reading starts with the message. */
int ps_body_read(const struct ps_body *body, const struct ps_span *span, uint64_t from, uint64_t len,
		 int (*write)(void *arg, struct ps_bytes octets), void *arg);

/* Whether octets [from, from+len) of a span can be sent from the body's file as they lie there, and from which place in it: a
 * file in wire form, of a message without NUL. */
bool ps_body_lies_as_sent(const struct ps_body *body, const struct ps_cache *cache, const struct ps_span *span,
			  uint64_t from, uint64_t len, uint64_t *ret_offset);

/* The same, a piece at a time, for those who must wait in between. `body` stays open meanwhile. next() gives at most
 * 128 KiB, valid until it is called again; no octets: that was all. */
struct ps_body_stream;
struct ps_body_stream *ps_body_stream_create(const struct ps_body *body, const struct ps_span *span, uint64_t from,
					     uint64_t len);
/* From now on NUL octets come as they are: for those who have a way to send them. */
void ps_body_stream_keep_nul(struct ps_body_stream *stream);
int ps_body_stream_next(struct ps_body_stream *stream, struct ps_bytes *ret_octets);
void ps_body_stream_destroy(struct ps_body_stream *stream); /* destroy(NULL) does nothing */

#endif
