/* SPDX-License-Identifier: MIT */
/* quota.h - what GETQUOTA, GETQUOTAROOT and SETQUOTA share (RFC 9208). */
#ifndef PROTOCOLS_IMAP_QUOTA_H
#define PROTOCOLS_IMAP_QUOTA_H

#include "protocols/imap/imap.h"

/* A root's name as it is on the wire; from the command's pool. */
struct ps_bytes imap_quota_root(struct imap_cmd *cmd, const char *root);
/* The QUOTA response. */
void imap_put_quota(struct imap_cmd *cmd, const struct ps_quota *quota);

#endif
