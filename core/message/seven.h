/* SPDX-License-Identifier: MIT */
/* core/message/seven.h - messages for those who take 7 bits only, RFC 6152 section 3. */
#ifndef CORE_MESSAGE_SEVEN_H
#define CORE_MESSAGE_SEVEN_H

#include "postern/message.h"

/* As ps_unbinary_create(), and leaves whose Content-Transfer-Encoding is "8bit" become base64 too, what is round them 7bit. Octets above 127
 * where the message says there are none stay. */
struct ps_unbinary *ps_unbinary_create_seven(int (*write)(void *arg, struct ps_bytes octets), void *arg);

#endif
