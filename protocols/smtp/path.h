/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/path.h - the arguments of MAIL and RCPT, RFC 5321 section 4.1.2.
 */
#ifndef PROTOCOLS_SMTP_PATH_H
#define PROTOCOLS_SMTP_PATH_H

#include "postern/buf.h"

/* Takes "FROM:" or "TO:" (any case), given in lower case, off. PS_E_SYNTAX. */
int smtp_take_word(struct ps_bytes *argument, const char *word);
/*
 * Takes "<path>" off `argument` and appends it to `out` without brackets, source route and needless quotes: "local@domain". The null
 * path and a local part without a domain are for the caller: `out` is empty then, or has no '@' outside quotes. Octets above 127 are
 * lawful with `utf8` only, and must be UTF-8. PS_E_SYNTAX, PS_E_LIMIT.
 */
int smtp_take_path(struct ps_bytes *argument, bool utf8, struct ps_buf *out);
/* Where the domain of such a path begins; NULL: it has none. */
const char *smtp_path_domain(const char *path);
/* Takes the next parameter, "KEYWORD" or "KEYWORD=value". False: there is none. What is none is a PS_E_SYNTAX in *ret_error. */
bool smtp_take_parameter(struct ps_bytes *argument, struct ps_bytes *ret_keyword, struct ps_bytes *ret_value,
			 int *ret_error);
/* A domain, or an address literal in brackets. */
bool smtp_is_domain(struct ps_bytes domain, bool utf8);
bool smtp_is_ascii(struct ps_bytes text);
/* Appends what xtext (RFC 3461 section 4) stands for; with `utf8`, octets above 127 stand for themselves (RFC 6533 section 3).
 * PS_E_SYNTAX, also when it stands for a control octet. */
int smtp_xtext_decode(struct ps_bytes text, bool utf8, struct ps_buf *out);

#endif
