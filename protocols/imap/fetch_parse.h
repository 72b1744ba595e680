/* SPDX-License-Identifier: MIT */
/*
 * fetch_parse.h - what a FETCH asks for, RFC 3501 section 6.4.5. Pure.
 */
#ifndef PROTOCOLS_IMAP_FETCH_PARSE_H
#define PROTOCOLS_IMAP_FETCH_PARSE_H

#include "postern/message.h"
#include "protocols/imap/args.h"
#include "protocols/imap/partial.h"

enum {
	IMAP_FETCH_UID = 1,
	IMAP_FETCH_FLAGS = 2,
	IMAP_FETCH_DATE = 4,
	IMAP_FETCH_SIZE = 8,
	IMAP_FETCH_ENVELOPE = 16,
	IMAP_FETCH_BODY = 32,
	IMAP_FETCH_STRUCTURE = 64,
	IMAP_FETCH_MODSEQ = 128,      /* RFC 7162 */
	IMAP_FETCH_EMAILID = 1 << 16, /* RFC 8474 */
	IMAP_FETCH_THREADID = 1 << 17,
	IMAP_FETCH_SAVEDATE = 1 << 18,   /* RFC 8514 */
	IMAP_FETCH_PREVIEW = 1 << 19,    /* RFC 8970 */
	IMAP_FETCH_NO_PREVIEW = 1 << 20, /* its answer where there is none yet */
	/* Those that need the cache of a message. */
	IMAP_FETCH_CACHED = IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY | IMAP_FETCH_STRUCTURE | IMAP_FETCH_PREVIEW,
};

enum {
	IMAP_PART_DEPTH_MAX = 100
};

/* BODY[...], RFC822 and their like. */
struct imap_section {
	struct imap_section *next;
	bool decoded;   /* BINARY, RFC 3516 */
	bool size_only; /* BINARY.SIZE; with `decoded` */
	const uint32_t *part;
	size_t depth;
	enum ps_section what;
	bool fields; /* HEADER.FIELDS: of `what`, a header, those named */
	bool except; /* HEADER.FIELDS.NOT */
	const char *const *names;
	size_t name_count;
	bool peek;
	bool partial;
	uint64_t from, length;
	struct ps_bytes label; /* as it is answered: "BODY[HEADER]<0>" */
};

struct imap_fetch {
	unsigned items; /* IMAP_FETCH_* */
	struct imap_section *sections;
	bool sets_seen;
	bool lazy;              /* PREVIEW (LAZY): only where it costs nothing */
	uint64_t changed_since; /* RFC 7162; 0: not asked for */
	bool vanished;          /* what vanished since then is asked for, too */
	struct imap_partial partial;
};

/* Takes all that follows the sequence set: items, then modifiers (RFC 4466). */
int imap_fetch_parse(struct imap_args *args, struct ps_pool *pool, struct imap_fetch *ret_fetch);

#endif
