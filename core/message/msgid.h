/* SPDX-License-Identifier: MIT */
/*
 * core/message/msgid.h - message ids of Message-ID, In-Reply-To and References.
 */
#ifndef CORE_MESSAGE_MSGID_H
#define CORE_MESSAGE_MSGID_H

#include "postern/buf.h"

/* Takes the next valid id from a field's value, raw, and puts it in *ret_id without its brackets and in one way of
 * writing (RFC 5256 section 3): without quoting, comments and blanks. False: there is none any more. */
bool ps_msgid_next(struct ps_bytes *rest, struct ps_buf *ret_id);

#endif
