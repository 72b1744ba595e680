/* SPDX-License-Identifier: MIT */
#ifndef PROTOCOLS_IMAP_AUTH_H
#define PROTOCOLS_IMAP_AUTH_H

#include "postern/login.h"
#include "protocols/imap/imap.h"

/* The exchange of this command, which is its state from now on. */
struct ps_login *imap_login(struct imap_cmd *cmd);
/* What has become of it: hands the session over, answers, or waits. */
enum imap_next imap_login_go_on(struct imap_cmd *cmd);

#endif
