/* SPDX-License-Identifier: MIT */
#ifndef PROTOCOLS_IMAP_COPY_H
#define PROTOCOLS_IMAP_COPY_H

#include "protocols/imap/imap.h"

/* COPY and MOVE. */
enum imap_next imap_copy(struct imap_cmd *cmd, bool move);

#endif
