/* SPDX-License-Identifier: MIT */
/*
 * The header fields that a cache is made from, and how one header block is collected, line by line.
 */
#ifndef CORE_MESSAGE_FIELDS_H
#define CORE_MESSAGE_FIELDS_H

#include "postern/buf.h"

enum {
	/* Octets of all headers of a message; what follows is not looked at. */
	PS_HEADER_MAX = 50 * 1024 * 1024,
	FIELD_NAME_MAX = 128,
	FIELD_TEXT_MAX = 32 * 1024,     /* of a field that ENVELOPE or BODYSTRUCTURE gives as text */
	FIELD_PARAMS_MAX = 128 * 1024,  /* of a field with parameters */
	FIELD_ADDRESS_MAX = 256 * 1024, /* of all address fields of one name */
	KEPT_FIELD_MAX = 32 * 1024,     /* verbatim in the cache; a larger one is left out */
	KEPT_FIELDS_MAX = 64 * 1024,    /* all of them */
};

/* Fields with a meaning here; each has one value per entity. */
enum field {
	FIELD_CONTENT_TYPE,
	FIELD_CONTENT_TRANSFER_ENCODING,
	FIELD_CONTENT_ID,
	FIELD_CONTENT_DESCRIPTION,
	FIELD_CONTENT_DISPOSITION,
	FIELD_CONTENT_LANGUAGE,
	FIELD_CONTENT_LOCATION,
	FIELD_CONTENT_MD5,
	FIELD_DATE,
	FIELD_SUBJECT,
	FIELD_FROM,
	FIELD_SENDER,
	FIELD_REPLY_TO,
	FIELD_TO,
	FIELD_CC,
	FIELD_BCC,
	FIELD_IN_REPLY_TO,
	FIELD_MESSAGE_ID,
	FIELD_COUNT,
	FIELD_OTHER, /* only kept verbatim */
};

/* The row of a field name in the table, or -1. Rows go into caches, as bits: at most 64, and a
 * change of the table is a change of the cache's version. */
int field_row(struct ps_bytes name);
bool field_row_kept(int row);

/*
 * One header block. header_text() gets what a line holds in any number of pieces, without the line
 * end; header_line_end() ends it and tells whether it was blank, that is, the last.
 */
struct header {
	struct ps_buf values[FIELD_COUNT]; /* behind the colon, CRLF folds, no NUL; valid where
					      `present` has the bit */
	uint32_t present;
	bool keep;          /* the message's own: fields are kept verbatim */
	struct ps_buf kept; /* whole fields, CRLF */
	uint64_t not_kept;  /* rows of which some did not fit */
	uint64_t octets;    /* of all header blocks */

	struct ps_buf field; /* the field being read */
	size_t name_len;     /* of it; 0: not known yet */
	size_t max;
	int row;
	bool open, wanted, cut;
	bool in_line;
};

void header_finish(struct header *header);
/* For the next header block. */
void header_begin(struct header *header);
void header_text(struct header *header, struct ps_bytes text);
bool header_line_end(struct header *header);
/* Takes in the last field. */
void header_end(struct header *header);

static inline struct ps_bytes header_value(const struct header *header, enum field field)
{
	if (!(header->present & UINT32_C(1) << field))
		return ps_bytes(NULL, 0);
	return ps_bytes(header->values[field].len ? header->values[field].ptr : (const uint8_t *)"",
			header->values[field].len);
}

#endif
