/* SPDX-License-Identifier: MIT */
/*
 * core/message/subject.h - what messages are sorted and threaded by, RFC 5256 and RFC 5957.
 */
#ifndef CORE_MESSAGE_SUBJECT_H
#define CORE_MESSAGE_SUBJECT_H

#include "postern/message.h"

/* RFC 5256 section 2.1: appends the base subject of decoded UTF-8 text. *ret_reply: something says that it is a reply
 * or was forwarded. */
void ps_subject_base(struct ps_bytes text, struct ps_buf *out, bool *ret_reply);
/* The same of a message; nothing is appended when it has no subject. */
void ps_cache_base_subject(const struct ps_cache *cache, struct ps_buf *out, bool *ret_reply);
/* The mailbox of the first address of a field or, `display`, its name, or else the address whole. */
void ps_cache_first_address(const struct ps_cache *cache, const char *field, bool display, struct ps_buf *out);
/* The value of the first field of that name; the cache must keep it. False: there is none. */
bool ps_cache_first_field(const struct ps_cache *cache, const char *name, struct ps_buf *text,
			  struct ps_bytes *ret_value);

#endif
