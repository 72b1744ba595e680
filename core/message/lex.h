/* SPDX-License-Identifier: MIT */
/*
 * Tokens of header fields (RFC 5322 section 3.2, RFC 2045 section 5.1), and strings as IMAP writes
 * them.
 *
 * A field's value is read as it lies in the message, folded: CR and LF count as blanks. Nothing
 * here refuses: what is malformed is read up to where it makes sense.
 */
#ifndef CORE_MESSAGE_LEX_H
#define CORE_MESSAGE_LEX_H

#include "postern/buf.h"

struct lex {
	const uint8_t *at, *end;
};

static inline struct lex lex_start(struct ps_bytes value)
{
	const uint8_t *start = value.ptr ? value.ptr : (const uint8_t *)"";

	return (struct lex){start, start + value.len};
}

static inline bool lex_done(const struct lex *lex)
{
	return lex->at == lex->end;
}

/* The octet ahead, or -1 at the end. */
static inline int lex_peek(const struct lex *lex)
{
	return lex->at < lex->end ? *lex->at : -1;
}

static inline bool lex_is_blank(int c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Takes the octet ahead if it is `c`. */
bool lex_take(struct lex *lex, int c);
/* Blanks and comments. The text of the last comment replaces that in `comment`, which may be NULL.
 * True if it moved. */
bool lex_skip_cfws(struct lex *lex, struct ps_buf *comment);
/* MIME token; 8-bit octets count as its characters. False when there is none. */
bool lex_token(struct lex *lex, struct ps_buf *out);
/* At '"': appends what is within, without quoting and folds. One that is not closed reaches to the
 * end. */
void lex_quoted(struct lex *lex, struct ps_buf *out);

/* Drops folds and outer blanks. */
void text_unfold(struct ps_bytes value, struct ps_buf *out);

/* IMAP: quoted where that is possible and short, else a literal. An absent slice (NULL) is NIL. */
void imap_nstring(struct ps_buf *out, struct ps_bytes text);

#endif
