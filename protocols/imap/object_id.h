/* SPDX-License-Identifier: MIT */
/*
 * object_id.h - object ids on the wire, RFC 8474: a letter that says what of, and 32 hexadecimal digits.
 */
#ifndef PROTOCOLS_IMAP_OBJECT_ID_H
#define PROTOCOLS_IMAP_OBJECT_ID_H

#include "postern/backend.h"

enum {
	IMAP_MAILBOX_ID = 'F',
	IMAP_EMAIL_ID = 'M'
};

void imap_put_object_id(struct ps_buf *out, char prefix, const struct ps_id *id);
/* False: not of our making. */
bool imap_object_id_parse(struct ps_bytes text, char prefix, struct ps_id *ret_id);

#endif
