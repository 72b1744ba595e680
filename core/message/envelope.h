/* SPDX-License-Identifier: MIT */
#ifndef CORE_MESSAGE_ENVELOPE_H
#define CORE_MESSAGE_ENVELOPE_H

#include "core/message/fields.h"

enum {
	ENVELOPE_ADDRESSES_MAX = 1000
};

/* Appends what follows ENVELOPE, RFC 3501 section 7.4.2. */
void envelope_write(const struct header *header, struct ps_buf *out);

#endif
