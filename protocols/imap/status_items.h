/* SPDX-License-Identifier: MIT */
/*
 * status_items.h - what STATUS can tell of a mailbox; LIST-STATUS (RFC 5819) tells the same.
 */
#ifndef PROTOCOLS_IMAP_STATUS_ITEMS_H
#define PROTOCOLS_IMAP_STATUS_ITEMS_H

#include "protocols/imap/imap.h"

/* "(MESSAGES UNSEEN)" as a mask over the table. */
int imap_status_items_parse(struct imap_args *args, unsigned *ret_items);
/* "* STATUS "work" (MESSAGES 2)"; info->name is the name to be told. HIGHESTMODSEQ enables CONDSTORE (RFC 7162). */
void imap_put_status(struct imap_cmd *cmd, const struct ps_mailbox_info *info, unsigned items);

#endif
