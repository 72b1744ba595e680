/* SPDX-License-Identifier: MIT */
/*
 * names.h - mailbox names on the wire and in the API.
 *
 * The API has UTF-8 with '/' between levels. The wire has modified UTF-7 (RFC 3501 section 5.1.3), or UTF-8 with a client
 * that has enabled it, and then '&' is a character like any other; the namespace's
 * prefix in front of all but INBOX, and the namespace's separator. Where that is '.', a '.' inside an API level is
 * '/' on the wire: the two characters change places, so that every mailbox has a name and no two have the same.
 */
#ifndef PROTOCOLS_IMAP_NAMES_H
#define PROTOCOLS_IMAP_NAMES_H

#include <stdbool.h>
#include "postern/buf.h"
#include "postern/pool.h"

struct imap_names {
	const char *prefix; /* as on the wire, UTF-8: "", "INBOX." */
	char separator;
	bool utf8; /* on the wire, too: RFC 9755 */
};

/* PS_E_INVALID: no mailbox can have that name. A separator at the end is left out (CREATE, RFC 3501 section 6.3.3). */
int imap_name_from_wire(const struct imap_names *names, struct ps_bytes wire, struct ps_pool *pool,
			const char **ret_name);
/* A prefix, say: as it is, in the wire's encoding. */
void imap_text_to_wire(const struct imap_names *names, const char *text, struct ps_buf *out);
void imap_name_to_wire(const struct imap_names *names, const char *name, struct ps_buf *out);
/* The name as LIST matches it: UTF-8, with the prefix, '/' between levels. A pattern is brought into the same form. */
const char *imap_name_to_match(const struct imap_names *names, const char *name, struct ps_pool *pool);
int imap_pattern_to_match(const struct imap_names *names, struct ps_bytes reference, struct ps_bytes pattern,
			  struct ps_pool *pool, const char **ret_pattern);
/* The name, of the API, that each mailbox which matches is or is below; NULL: there is none. */
const char *imap_pattern_top(const struct imap_names *names, const char *pattern, struct ps_pool *pool);

#endif
