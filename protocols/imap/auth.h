/* SPDX-License-Identifier: MIT */
#ifndef PROTOCOLS_IMAP_AUTH_H
#define PROTOCOLS_IMAP_AUTH_H

#include "protocols/imap/imap.h"

/* What has become of the exchange under way: hands the session over, answers, or waits on. PS_AUTH_CONTINUE is not for
 * this function. */
enum imap_next imap_auth_outcome(struct imap_cmd *cmd, struct ps_auth_reply reply);
enum imap_next imap_wait_reply(struct imap_cmd *cmd);

#endif
