/* SPDX-License-Identifier: MIT */
/*
 * special_use.h - the special uses of mailboxes on the wire, RFC 6154.
 */
#ifndef PROTOCOLS_IMAP_SPECIAL_USE_H
#define PROTOCOLS_IMAP_SPECIAL_USE_H

#include "protocols/imap/args.h"

/* " \Drafts" for each that `attributes` (PS_MBOX_*) has. */
void imap_put_special_uses(struct ps_buf *out, uint32_t attributes);
/* "(\Drafts \Sent)". PS_E_UNSUPPORTED: of the grammar, but none that a client can give a mailbox here. */
int imap_special_uses_parse(struct imap_args *args, uint32_t *ret_attributes);

#endif
