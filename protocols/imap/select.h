/* SPDX-License-Identifier: MIT */
#ifndef PROTOCOLS_IMAP_SELECT_H
#define PROTOCOLS_IMAP_SELECT_H

#include "protocols/imap/imap.h"

/* SELECT and EXAMINE. */
enum imap_next imap_select(struct imap_cmd *cmd, bool read_only);

#endif
