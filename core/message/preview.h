/* SPDX-License-Identifier: MIT */
/*
 * The text a reader is shown of a message before it is opened (RFC 8970), found while the message goes by.
 *
 * The first text of the message that says something is taken; of alternatives, plain text is preferred. Quoted text only
 * counts if there is nothing else.
 */
#ifndef CORE_MESSAGE_PREVIEW_H
#define CORE_MESSAGE_PREVIEW_H

#include <stdbool.h>
#include <stdint.h>
#include "postern/buf.h"

enum {
	PREVIEW_CHARS = 200, /* RFC 8970 section 3.3 */
	PREVIEW_OCTETS = 4 * PREVIEW_CHARS,
	PREVIEW_PART_MAX = 256 * 1024, /* of a part, encoded: some HTML has a long style sheet ahead of its text */
	PREVIEW_MESSAGE_MAX = 1 << 20, /* of all parts: that many parts say nothing is no reason to read them all */
};

struct preview;

struct preview_part {
	bool html;
	const char *encoding;  /* as ps_decode_create() takes it */
	const char *charset;   /* or NULL */
	uint32_t alternatives; /* the parts of one multipart/alternative have the same number here; 0: it is of none */
};

struct preview *preview_create(void);
void preview_destroy(struct preview *preview); /* destroy(NULL) does nothing */

/* The octets of a part follow, up to preview_end(). */
void preview_begin(struct preview *preview, const struct preview_part *part);
/* Costs nothing where no part was begun or it has said enough. */
void preview_feed(struct preview *preview, struct ps_bytes octets);
void preview_end(struct preview *preview);
/* UTF-8, at most PREVIEW_CHARS characters, on one line. */
struct ps_bytes preview_text(const struct preview *preview);

#endif
