/* SPDX-License-Identifier: MIT */
/*
 * args.h - a cursor over one whole command.
 *
 * The command lies in one piece, as it came: a literal is its "{n}" CRLF and its n octets. Each function takes one
 * token of RFC 3501 section 9 and moves on, or returns PS_E_SYNTAX. Pure functions: no I/O, and no octet is read
 * outside at..end.
 */
#ifndef PROTOCOLS_IMAP_ARGS_H
#define PROTOCOLS_IMAP_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include "postern/buf.h"
#include "postern/pool.h"

struct imap_args {
	const uint8_t *at, *end;
	bool utf8; /* quoted strings may have UTF-8 (RFC 9755); what is not UTF-8 is PS_E_SYNTAX */
};

struct imap_args imap_args(struct ps_bytes text);
bool imap_args_done(const struct imap_args *args);
struct ps_bytes imap_args_rest(const struct imap_args *args);
/* The next octet, or -1 at the end. */
int imap_args_peek(const struct imap_args *args);
/* Takes `c` if it comes next. */
bool imap_args_take(struct imap_args *args, char c);
/* Takes `word` if it comes next in any case and no atom character follows. */
bool imap_args_take_word(struct imap_args *args, const char *word);
int imap_args_space(struct imap_args *args);
/* Nothing may follow. */
int imap_args_end(const struct imap_args *args);

int imap_args_tag(struct imap_args *args, struct ps_bytes *ret_tag);
int imap_args_atom(struct imap_args *args, struct ps_bytes *ret_atom);
int imap_args_astring(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_string);
int imap_args_string(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_string);
int imap_args_nstring(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_string); /* NIL: {NULL, 0} */
/* list-mailbox: as astring, with wildcards in the atom. */
int imap_args_pattern(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_pattern);
int imap_args_number(struct imap_args *args, uint32_t *ret_number);
/* RFC 9051 section 9, and mod-sequence-valzer of RFC 7162: up to 2^63 - 1. */
int imap_args_number64(struct imap_args *args, uint64_t *ret_number);
/* The characters that a sequence-set can have; what they mean is seen by ps_set_parse(). Or "$", RFC 5182. */
int imap_args_set(struct imap_args *args, struct ps_bytes *ret_set);

/* "{12}", "{12+}", or "~{12}" (literal8, RFC 3516) at the end of a line (without line end): 1, and what it says; 0: there is none. PS_E_LIMIT: there
 * is, with a number beyond 2^63. */
struct imap_literal {
	uint64_t octets;
	bool synchronising;
	bool binary;   /* literal8: it may have NUL */
	size_t header; /* octets of "{...}" or "~{...}" */
};
int imap_literal_at_end(struct ps_bytes line, struct imap_literal *ret_literal);

bool imap_is_atom_char(int c);

#endif
