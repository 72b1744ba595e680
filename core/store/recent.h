/* SPDX-License-Identifier: MIT */
/*
 * core/store/recent.h - from which UID on messages are \Recent, RFC 3501 section 2.3.2.
 *
 * \Recent is kept in memory: the first session that selects a mailbox read-write, and each message is told it once while
 * this process lives. After a restart it is not known who has been told, and the RFC then says: all are recent.
 */
#ifndef CORE_STORE_RECENT_H
#define CORE_STORE_RECENT_H

#include <stdbool.h>
#include "postern/backend.h"

/* The first UID nobody was told of; with `claim`, those below uid_next are told of now. */
uint32_t ps_recent_from(const struct ps_id *id, uint32_t uid_next, bool claim);

#endif
