/* SPDX-License-Identifier: MIT */
/*
 * append.h - messages on their way in: what APPEND and REPLACE share.
 */
#ifndef PROTOCOLS_IMAP_APPEND_H
#define PROTOCOLS_IMAP_APPEND_H

#include "protocols/imap/imap.h"

/* Takes what is left of the arguments, [SP flag-list] [SP date-time] SP literal, and the message. `replaces`: a UID of the
 * selected mailbox that goes at the same moment, or 0. */
enum imap_next imap_append_begin(struct imap_cmd *cmd, const char *mailbox, uint32_t replaces);
/* When it is run again, that is, as soon as there is a cmd->state. */
enum imap_next imap_append_go_on(struct imap_cmd *cmd);

#endif
